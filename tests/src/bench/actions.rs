//! A subscriber to the actions, which notes when each of them came.

use crate::stack::Stack;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

const ACTION_PARTITIONS: i32 = 2;

/// The subscriber, on a thread of its own.
pub struct Actions {
    /// Serial number of an event, and microseconds after [`Actions::begins`].
    pub seen: Arc<std::sync::Mutex<Vec<(u64, u64)>>>,
    count: Arc<AtomicU64>,
    twice: Arc<AtomicU64>,
    begun: Arc<std::sync::Mutex<Instant>>,
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Actions {
    /// Watches from the end of the topic on.
    pub fn watch(stack: &Stack) -> Self {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", stack.bootstrap())
            .set("group.id", "bench")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", "5")
            .create()
            .expect("a consumer can be made");
        let mut list = TopicPartitionList::new();
        for partition in 0..ACTION_PARTITIONS {
            let (_, end) = consumer
                .fetch_watermarks("actions", partition, Duration::from_secs(30))
                .expect("Kafka answers");
            list.add_partition_offset("actions", partition, Offset::Offset(end)).expect("valid");
        }
        consumer.assign(&list).expect("the partitions can be taken");
        let (seen, count, twice) =
            <(Arc<std::sync::Mutex<Vec<_>>>, Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let stop = Arc::new(AtomicBool::new(false));
        let begun = Arc::new(std::sync::Mutex::new(Instant::now()));
        let (s, c, t, e, b) =
            (seen.clone(), count.clone(), twice.clone(), stop.clone(), begun.clone());
        let thread = std::thread::spawn(move || {
            let mut ids: HashSet<String> = HashSet::new();
            while !e.load(SeqCst) {
                let Some(found) = consumer.poll(Duration::from_millis(50)) else { continue };
                let message = found.expect("Kafka sends");
                let at = b.lock().expect("nobody panicked").elapsed().as_micros() as u64;
                let action: serde_json::Value =
                    serde_json::from_slice(message.payload().unwrap_or_default()).expect("JSON");
                c.fetch_add(1, SeqCst);
                if !ids.insert(action["action_id"].as_str().expect("an id").to_owned()) {
                    t.fetch_add(1, SeqCst);
                }
                let id = action["event"]["id"].as_str().and_then(|id| id.strip_prefix("e-"));
                if let Some(serial) = id.and_then(|id| id.parse().ok()) {
                    s.lock().expect("nobody panicked").push((serial, at));
                }
            }
        });
        Self { seen, count, twice, begun, stop, thread }
    }

    /// Times count from here.
    pub fn begins(&self, at: Instant) {
        *self.begun.lock().expect("nobody panicked") = at;
    }

    /// How many came, and how many of them twice; waits until no more come.
    pub fn ended(self) -> (u64, u64) {
        loop {
            let before = self.count.load(SeqCst);
            std::thread::sleep(Duration::from_millis(1000));
            if self.count.load(SeqCst) == before {
                break;
            }
        }
        self.stop.store(true, SeqCst);
        self.thread.join().expect("it does not panic");
        (self.count.load(SeqCst), self.twice.load(SeqCst))
    }
}
