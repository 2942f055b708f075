//! A burst of events before a slow sink: the service takes no more than it can hand on, and loses nothing.

use crate::chaos::proxy::Proxy;
use crate::instance::{Instance, Setup, free_port};
use crate::process::resident_bytes;
use crate::stack::Stack;
use crate::support::{Scratch, stream};
use detector::simulate::{Plan, write_stream};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use std::collections::HashMap;
use std::io::Write;
use std::time::{Duration, Instant};

const PREFIX: &str = "burst-";
const PARTITIONS: u32 = 4;
const SCORE_PARTITIONS: i32 = 2;
const ACCOUNTS: u32 = 5000;
/// What the sink takes while it is slow, bytes per second on each connection.
const SLOW: u64 = 50_000;
/// Longest silence while the scores are read.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Longest wait for the whole burst.
const PATIENCE: Duration = Duration::from_secs(3600);

/// What came of it.
#[derive(Debug, Default)]
pub struct Burst {
    /// Events produced.
    pub events: u64,
    /// Event ids without a score.
    pub lost: u64,
    /// Event ids with more than one.
    pub duplicated: u64,
    /// The most memory that the process had while the sink was slow, and in all.
    pub slow_bytes: u64,
    /// The most memory that the process had.
    pub peak_bytes: u64,
    /// Events that were scored while the sink was slow.
    pub slow_events: u64,
    /// How long it took.
    pub seconds: f64,
}

/// Produces so many events at once; the sink is slow for so long, and then as fast as it can be.
pub fn run(events: u64, slow_for: Duration, say: &mut dyn FnMut(String)) -> Burst {
    let scratch = Scratch::new();
    stream().put_config(&scratch);
    let proxy = Proxy::start();
    let port = proxy.port().to_string();
    let stack = Stack::up_with(&["--behind", &port]);
    stack.topics(PREFIX, PARTITIONS);
    proxy.lead_to(stack.variable(&format!("KAFKA_BEHIND_{port}")).parse().expect("a port"));
    let topic = format!("{PREFIX}events");
    produce(&stack, &topic, events);
    say(format!("{events} events are in the topic"));

    let setup =
        Setup { stack: &stack, scratch: &scratch, prefix: PREFIX, delivery: "exactly_once" };
    let http = free_port();
    let mut command = setup.command(&[], http);
    command.env("DETECTOR__KAFKA__BOOTSTRAP", format!("127.0.0.1:{port}"));
    let mut service = Instance::start(command, http, scratch.path("log"));
    service.wait("live", |found| found["state"] == "live");
    let mut result = Burst { events, ..Burst::default() };
    let begun = Instant::now();
    proxy.upload(SLOW);
    let mut slow = true;
    loop {
        std::thread::sleep(Duration::from_millis(50));
        let bytes = resident_bytes(service.id()).expect("the service runs");
        result.peak_bytes = result.peak_bytes.max(bytes);
        if slow {
            result.slow_bytes = result.peak_bytes;
            if begun.elapsed() > slow_for {
                slow = false;
                result.slow_events = service.metric("detector_events_total").unwrap_or(0.0) as u64;
                proxy.upload(0);
                say(format!(
                    "slow for {} s: {} events taken, {} MB at most",
                    slow_for.as_secs(),
                    result.slow_events,
                    result.slow_bytes >> 20
                ));
            }
        } else if service.metric("detector_consumer_lag") == Some(0.0) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{}", service.log());
    }
    result.seconds = begun.elapsed().as_secs_f64();
    service.stop();

    let times = scored(&stack);
    result.lost = events - (times.len() as u64).min(events);
    result.duplicated = times.values().filter(|n| **n > 1).count() as u64;
    result
}

/// How often each event id stands among the scores.
fn scored(stack: &Stack) -> HashMap<String, u32> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", stack.bootstrap())
        .set("group.id", "burst")
        .set("isolation.level", "read_committed")
        .create()
        .expect("a consumer can be made");
    let topic = format!("{PREFIX}scores");
    let mut list = TopicPartitionList::new();
    let mut ends = Vec::new();
    for partition in 0..SCORE_PARTITIONS {
        let (low, end) =
            consumer.fetch_watermarks(&topic, partition, SILENCE_MAX).expect("Kafka answers");
        list.add_partition_offset(&topic, partition, Offset::Offset(low)).expect("it is valid");
        ends.push(end);
    }
    consumer.assign(&list).expect("the partitions can be taken");
    let (mut times, mut heard) = (HashMap::new(), Instant::now());
    loop {
        match consumer.poll(Duration::from_millis(200)) {
            Some(message) => {
                heard = Instant::now();
                let message = message.expect("Kafka sends");
                let score: serde_json::Value =
                    serde_json::from_slice(message.payload().unwrap_or_default()).expect("JSON");
                let id = score["event_id"].as_str().expect("an id").to_owned();
                *times.entry(id).or_default() += 1;
            }
            // Behind the last message there are only marks of transactions.
            None => {
                let at = consumer.position().expect("it is assigned");
                let at: Vec<_> = at.elements().iter().map(|e| e.offset().to_raw()).collect();
                let reached = |(at, end): (&Option<i64>, &i64)| {
                    at.is_some_and(|at| at >= *end - 1) || *end == 0
                };
                if at.iter().zip(&ends).all(reached) {
                    return times;
                }
                assert!(heard.elapsed() < SILENCE_MAX, "the scores stand at {at:?} of {ends:?}");
            }
        }
    }
}

fn produce(stack: &Stack, topic: &str, events: u64) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", stack.bootstrap())
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "50")
        .create()
        .expect("a producer can be made");
    let plan = Plan { accounts: ACCOUNTS, events, seed: 3, ..Plan::default() };
    let mut lines = Lines { producer: &producer, topic, rest: Vec::new() };
    write_stream(&plan, &mut lines, None, None, &mut |_| {}).expect("all can be produced");
    producer.flush(Duration::from_secs(120)).expect("all is delivered");
}

/// Makes a message of each line.
struct Lines<'a> {
    producer: &'a BaseProducer,
    topic: &'a str,
    rest: Vec<u8>,
}

impl Write for Lines<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.rest.extend_from_slice(bytes);
        let Some(end) = self.rest.iter().rposition(|b| *b == b'\n') else { return Ok(bytes.len()) };
        let rest = self.rest.split_off(end + 1);
        for line in self.rest.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            let value: serde_json::Value = serde_json::from_slice(line)?;
            let key = value["account"].as_str().expect("an event has an account");
            let mut record = BaseRecord::to(self.topic).key(key.as_bytes()).payload(line);
            while let Err((_, back)) = self.producer.send(record) {
                record = back;
                self.producer.poll(Duration::from_millis(10));
            }
        }
        self.rest = rest;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
