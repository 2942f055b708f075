//! A Kafka and a Redis of one test, and what the test puts in and takes out.

use crate::support::Scratch;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A message as it lies in a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Key, if it has one.
    pub key: Option<String>,
    /// Payload as text.
    pub value: String,
    /// Headers.
    pub headers: BTreeMap<String, String>,
}

/// Servers of their own, ended with the test.
pub struct Stack {
    folder: PathBuf,
    env: BTreeMap<String, String>,
    _scratch: Scratch,
}

impl Stack {
    /// Starts both, and waits until they answer.
    pub fn up() -> Self {
        Self::up_with(&[])
    }

    /// As [`Self::up`], with more options of `scripts/stack up`.
    pub fn up_with(options: &[&str]) -> Self {
        let scratch = Scratch::new();
        let mut stack =
            Self { folder: scratch.path("stack"), env: BTreeMap::new(), _scratch: scratch };
        let words: Vec<&str> = ["up"].iter().chain(options).copied().collect();
        stack.run(&words);
        let env = std::fs::read_to_string(stack.folder.join("env")).expect("`up` writes it");
        stack.env = env
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, value)| (name.to_owned(), value.trim_matches(['\'', '"']).to_owned()))
            .collect();
        stack
    }

    /// A command of `scripts/stack`.
    pub fn run(&self, words: &[&str]) {
        let out = Command::new(format!("{ROOT}/scripts/stack"))
            .args(words)
            .arg("--dir")
            .arg(&self.folder)
            .output()
            .expect("scripts/stack can be run");
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "scripts/stack {words:?}\n{said}");
    }

    /// Kafka's address.
    pub fn bootstrap(&self) -> &str {
        &self.env["KAFKA_BOOTSTRAP"]
    }

    /// Redis's address.
    pub fn redis(&self) -> &str {
        &self.env["REDIS_URL"]
    }

    /// The value of a name in the stack's `env`.
    pub fn variable(&self, name: &str) -> &str {
        self.env.get(name).unwrap_or_else(|| panic!("the stack has no {name}: {:?}", self.env))
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Makes a topic.
    pub fn topic(&self, name: &str, partitions: u32) {
        let out = Command::new(format!("{ROOT}/scripts/topics"))
            .args(["--bootstrap", self.bootstrap(), "create", name, &partitions.to_string()])
            .output()
            .expect("scripts/topics can be run");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }

    /// Empties Redis.
    pub fn forget_everything(&self) {
        let out = Command::new("redis-cli").args(["-u", self.redis(), "flushall"]).output();
        let out = out.expect("redis-cli can be run");
        assert!(out.status.success() && out.stdout.starts_with(b"OK"), "{out:?}");
    }

    /// The topics of one detector, under a prefix.
    pub fn topics(&self, prefix: &str, partitions: u32) {
        for (name, count) in [
            ("events", partitions),
            ("labels", partitions),
            ("actions", 2),
            ("scores", 2),
            ("dead-letters", 1),
            ("journal", 1),
        ] {
            self.topic(&format!("{prefix}{name}"), count);
        }
    }

    /// Produces lines, keyed by their account where they have one.
    pub fn produce(&self, topic: &str, lines: &[String]) {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            .set("enable.idempotence", "true")
            .create()
            .expect("a producer can be made");
        for line in lines {
            let account = serde_json::from_str::<serde_json::Value>(line)
                .ok()
                .and_then(|v| v["account"].as_str().map(str::to_owned))
                .unwrap_or_default();
            let mut record = BaseRecord::to(topic).key(account.as_bytes()).payload(line.as_bytes());
            while let Err((error, back)) = producer.send(record) {
                assert_eq!(
                    error.rdkafka_error_code(),
                    Some(rdkafka::types::RDKafkaErrorCode::QueueFull)
                );
                record = back;
                producer.poll(Duration::from_millis(10));
            }
        }
        producer.flush(Duration::from_secs(60)).expect("all is delivered");
    }

    /// Everything committed in a topic, partition by partition.
    pub fn consume(&self, topic: &str) -> Vec<Record> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            .set("group.id", "the-test")
            .set("isolation.level", "read_committed")
            .set("enable.partition.eof", "true")
            .create()
            .expect("a consumer can be made");
        let metadata = consumer
            .fetch_metadata(Some(topic), Duration::from_secs(20))
            .expect("the broker answers");
        let count = metadata.topics()[0].partitions().len();
        let mut list = TopicPartitionList::new();
        for partition in 0..count {
            list.add_partition_offset(topic, partition as i32, Offset::Beginning)
                .expect("a valid offset");
        }
        consumer.assign(&list).expect("the partitions can be taken");
        let (mut open, mut out) = (count, Vec::new());
        while open > 0 {
            match consumer.poll(Duration::from_secs(30)).expect("the broker sends") {
                Ok(message) => {
                    use rdkafka::message::Headers;
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    let headers = message.headers().map(|headers| {
                        headers
                            .iter()
                            .map(|h| (h.key.to_owned(), text(h.value.unwrap_or_default())))
                            .collect()
                    });
                    out.push(Record {
                        key: message.key().map(text),
                        value: text(message.payload().unwrap_or_default()),
                        headers: headers.unwrap_or_default(),
                    });
                }
                Err(KafkaError::PartitionEOF(_)) => open -= 1,
                Err(error) => panic!("{error}"),
            }
        }
        out
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let _ = Command::new(format!("{ROOT}/scripts/stack"))
            .args(["down", "--wipe", "--dir"])
            .arg(&self.folder)
            .output();
    }
}
