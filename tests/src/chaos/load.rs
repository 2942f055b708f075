//! What comes in: a simulated platform that never ends, at a steady pace, with damaged and repeated messages between.

use crate::support::Chance;
use detector::simulate::{Plan, write_stream};
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Accounts, events and days of one season; another one follows with other accounts.
const SEASON: (u32, u64, u32) = (3000, 30_000, 12);
/// Longest time that a message may be on its way: Kafka is killed and stalled meanwhile.
const DELIVERY_MAX_MS: &str = "600000";

/// What is to become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// An event that is scored.
    Scored,
    /// It cannot be read.
    Damaged,
    /// A label, or an event that was there before.
    Silent,
}

struct Item {
    label: bool,
    account: String,
    line: Vec<u8>,
    class: Class,
}

/// The platform, season after season.
struct Platform {
    seed: u64,
    season: u64,
    ready: VecDeque<Item>,
    number: u64,
}

impl Platform {
    fn next(&mut self) -> Item {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return item;
            }
            self.grow();
        }
    }

    fn grow(&mut self) {
        let (accounts, events, days) = SEASON;
        let start = Plan::default().start_ms + self.season as i64 * i64::from(days) * 86_400_000;
        let seed = self.seed.wrapping_mul(1000) + self.season;
        let plan = Plan { accounts, events, days, seed, start_ms: start, ..Plan::default() };
        let (mut lines, mut labels) = (Vec::new(), Vec::new());
        write_stream(&plan, &mut lines, Some(&mut labels), None, &mut |_| {})
            .expect("the plan is sound and memory takes all");
        let mut items: Vec<(i64, Item)> = Vec::new();
        let read = |bytes: &[u8]| -> Vec<Value> {
            let lines = bytes.split(|b| *b == b'\n').filter(|l| !l.is_empty());
            lines.map(|l| serde_json::from_slice(l).expect("it is JSON")).collect()
        };
        let item = |value: &Value, label, class| {
            let account = value["account"].as_str().unwrap_or_default().to_owned();
            let line = serde_json::to_vec(value).expect("it is JSON");
            let ts = value["ts"].as_i64().expect("it has a time");
            (ts, Item { label, account, line, class })
        };
        for mut value in read(&lines) {
            self.number += 1;
            value["event_id"] = json!(format!("{}-{}", self.season, self.number));
            let (ts, whole) = item(&value, false, Class::Scored);
            let other = |line: Vec<u8>, class| {
                (ts, Item { label: false, account: whole.account.clone(), line, class })
            };
            let beside = match self.number % 89 {
                3 => Some(other(whole.line[..whole.line.len() / 2].to_vec(), Class::Damaged)),
                11 => Some(other(b"[1, 2, 3]".to_vec(), Class::Damaged)),
                23 => Some(other(whole.line.clone(), Class::Silent)),
                40 => {
                    let late = json!({"event_id": value["event_id"], "account": value["account"],
                        "label": u8::from(self.number.is_multiple_of(2)), "ts": ts + 3_600_000});
                    Some(item(&late, true, Class::Silent))
                }
                _ => None,
            };
            items.push((ts, whole));
            items.extend(beside);
        }
        items.extend(read(&labels).iter().map(|label| item(label, true, Class::Silent)));
        items.sort_by_key(|(ts, _)| *ts);
        self.ready.extend(items.into_iter().map(|(_, item)| item));
        self.season += 1;
    }
}

/// What was acknowledged by Kafka.
#[derive(Debug, Default)]
pub struct Acknowledged {
    /// Messages that are events to be scored.
    pub scored: AtomicU64,
    /// Messages that cannot be read.
    pub damaged: AtomicU64,
    /// All others.
    pub silent: AtomicU64,
    failed: AtomicU64,
}

struct Count(Arc<Acknowledged>);

impl ClientContext for Count {
    // Kafka is killed on purpose: that it is away is no news.
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext for Count {
    type DeliveryOpaque = Box<Class>;

    fn delivery(&self, result: &DeliveryResult<'_>, class: Box<Class>) {
        let counter = match (result, *class) {
            (Err(_), _) => &self.0.failed,
            (Ok(_), Class::Scored) => &self.0.scored,
            (Ok(_), Class::Damaged) => &self.0.damaged,
            (Ok(_), Class::Silent) => &self.0.silent,
        };
        counter.fetch_add(1, SeqCst);
    }
}

/// The running producer.
pub struct Load {
    /// What Kafka has.
    pub acknowledged: Arc<Acknowledged>,
    /// How many partitions the inputs have: more may be told at any time, and accounts that are new then may go there.
    pub partitions: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Begins to produce `rate` messages per second; stops by itself after `most` of them.
    pub fn start(
        bootstrap: &str,
        prefix: &str,
        seed: u64,
        rate: u32,
        partitions: u32,
        most: u64,
    ) -> Self {
        let acknowledged = Arc::new(Acknowledged::default());
        let producer: ThreadedProducer<Count> = ClientConfig::new()
            .set("bootstrap.servers", bootstrap)
            .set("enable.idempotence", "true")
            .set("message.timeout.ms", DELIVERY_MAX_MS)
            // A partition that was added is to be known soon.
            .set("topic.metadata.refresh.interval.ms", "500")
            .set("linger.ms", "5")
            .set("reconnect.backoff.max.ms", "500")
            .create_with_context(Count(acknowledged.clone()))
            .expect("a producer can be made");
        let (partitions, stop) =
            (Arc::new(AtomicU32::new(partitions)), Arc::new(AtomicBool::new(false)));
        let mut work = Work {
            producer,
            platform: Platform { seed, season: 0, ready: VecDeque::new(), number: 0 },
            events: format!("{prefix}events"),
            labels: format!("{prefix}labels"),
            homes: HashMap::new(),
            chance: Chance(seed),
            partitions: partitions.clone(),
            stop: stop.clone(),
        };
        let thread = std::thread::spawn(move || work.run(rate, most));
        Self { acknowledged, partitions, stop, thread: Some(thread) }
    }

    /// Waits until the last message is produced and acknowledged.
    pub fn ended(mut self) -> Arc<Acknowledged> {
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the load does not panic");
        }
        assert_eq!(self.acknowledged.failed.load(SeqCst), 0, "Kafka took every message");
        self.acknowledged.clone()
    }

    /// Stops producing.
    pub fn stop(&self) {
        self.stop.store(true, SeqCst);
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Work {
    producer: ThreadedProducer<Count>,
    platform: Platform,
    events: String,
    labels: String,
    /// The partition of each account: an account stays where it began.
    homes: HashMap<String, i32>,
    chance: Chance,
    partitions: Arc<AtomicU32>,
    stop: Arc<AtomicBool>,
}

impl Work {
    fn run(&mut self, rate: u32, most: u64) {
        let begun = Instant::now();
        let mut sent = 0u64;
        while !self.stop.load(SeqCst) && sent < most {
            let due = (begun.elapsed().as_secs_f64() * f64::from(rate)) as u64;
            if sent >= due {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            while sent < due.min(most) {
                let item = self.platform.next();
                self.send(item);
                sent += 1;
            }
        }
        self.producer.flush(Duration::from_secs(600)).expect("all is delivered");
    }

    fn send(&mut self, item: Item) {
        let count = u64::from(self.partitions.load(SeqCst));
        let home = match self.homes.get(&item.account) {
            Some(home) => *home,
            None => {
                let home = self.chance.below(count) as i32;
                self.homes.insert(item.account.clone(), home);
                home
            }
        };
        let topic = if item.label { &self.labels } else { &self.events };
        let mut record = BaseRecord::with_opaque_to(topic, Box::new(item.class))
            .partition(home)
            .key(item.account.as_bytes())
            .payload(&item.line);
        while let Err((error, back)) = self.producer.send(record) {
            // A new partition is not known to this client at once.
            let code = error.rdkafka_error_code();
            let passing = [RDKafkaErrorCode::QueueFull, RDKafkaErrorCode::UnknownPartition];
            assert!(code.is_some_and(|code| passing.contains(&code)), "{error}");
            record = back;
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
