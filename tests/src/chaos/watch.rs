//! A subscriber to the scores, as any other would be: what is committed, as soon as it is.

use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, ClientContext, Message, Offset, TopicPartitionList};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

struct Silent;

impl ClientContext for Silent {
    // Kafka is killed on purpose: that it is away is no news.
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Silent {}

#[derive(Default)]
struct Seen {
    /// Events, each once: at least once, a score may come again.
    scores: AtomicU64,
    /// What is being done to the service, and the longest silence under each.
    cause: Mutex<&'static str>,
    silences: Mutex<BTreeMap<&'static str, Duration>>,
    stop: AtomicBool,
}

/// The running subscriber.
pub struct Watch {
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Begins to watch partitions 0 to `partitions` of a topic.
    pub fn start(bootstrap: &str, topic: &str, partitions: i32) -> Self {
        let consumer: BaseConsumer<Silent> = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("group.id", "watch")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", "20")
            .set("reconnect.backoff.max.ms", "200")
            .create_with_context(Silent)
            .expect("a consumer can be made");
        let mut list = TopicPartitionList::new();
        for partition in 0..partitions {
            list.add_partition_offset(topic, partition, Offset::Beginning).expect("it is one");
        }
        consumer.assign(&list).expect("the partitions can be taken");
        let seen = Arc::new(Seen::default());
        let shared = seen.clone();
        let thread = std::thread::spawn(move || {
            let (mut last, mut ids) = (None::<Instant>, HashSet::new());
            while !shared.stop.load(SeqCst) {
                let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) else { continue };
                let now = Instant::now();
                let score: Value = serde_json::from_slice(message.payload().unwrap_or_default())
                    .expect("a score is JSON");
                if ids.insert(score["event_id"].to_string()) {
                    shared.scores.fetch_add(1, SeqCst);
                }
                let silence = last.replace(now).map_or(Duration::ZERO, |last| now - last);
                let cause = *shared.cause.lock().unwrap_or_else(PoisonError::into_inner);
                let mut silences = shared.silences.lock().unwrap_or_else(PoisonError::into_inner);
                let longest = silences.entry(cause).or_default();
                *longest = silence.max(*longest);
            }
        });
        Self { seen, thread: Some(thread) }
    }

    /// Events whose score was seen so far.
    pub fn scores(&self) -> u64 {
        self.seen.scores.load(SeqCst)
    }

    /// From now on a silence is laid to this.
    pub fn cause(&self, name: &'static str) {
        *self.seen.cause.lock().unwrap_or_else(PoisonError::into_inner) = name;
    }

    /// The longest time between two scores that came one after the other, by cause.
    pub fn silences(&self) -> BTreeMap<&'static str, Duration> {
        self.seen.silences.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.seen.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
