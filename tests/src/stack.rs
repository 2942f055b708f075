//! A Kafka and a Redis of one test, and what the test puts in and takes out.

use crate::support::Scratch;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message, Offset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// A message as it lies in a topic.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Where it lies.
    pub partition: i32,
    /// Where it lies there.
    pub offset: i64,
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
    /// Of the environment of `scripts/stack`.
    variables: Vec<(&'static str, PathBuf)>,
    _scratch: Scratch,
}

impl Stack {
    /// Starts both, and waits until they answer.
    pub fn up() -> Self {
        Self::up_with(&[])
    }

    /// As [`Self::up`], with more options of `scripts/stack up`.
    pub fn up_with(options: &[&str]) -> Self {
        Self::up_where(Vec::new(), options)
    }

    /// As [`Self::up_with`], with variables of the environment.
    pub fn up_where(variables: Vec<(&'static str, PathBuf)>, options: &[&str]) -> Self {
        let scratch = Scratch::new();
        let folder = scratch.path("stack");
        let mut stack = Self { folder, env: BTreeMap::new(), variables, _scratch: scratch };
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
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .output()
            .expect("scripts/stack can be run");
        let said = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "scripts/stack {words:?}\n{said}");
    }

    /// What `up` wrote about the stack.
    pub fn env(&self, name: &str) -> &str {
        &self.env[name]
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

    /// Removes a topic and all that is in it.
    pub fn delete(&self, name: &str) {
        let out = Command::new(format!("{ROOT}/scripts/topics"))
            .args(["--bootstrap", self.bootstrap(), "delete", name])
            .output()
            .expect("scripts/topics can be run");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    }

    /// Takes the messages of a topic from a broker that does not run.
    pub fn lose(&self, topic: &str) {
        let data = self.folder.join("kafka/data");
        let mut lost = 0;
        for entry in std::fs::read_dir(data).expect("the broker's data is there").flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.rsplit_once('-').is_some_and(|(named, _)| named == topic) {
                for file in std::fs::read_dir(entry.path()).expect("a partition").flatten() {
                    if file.file_name() != "partition.metadata" {
                        std::fs::remove_file(file.path()).expect("it can be removed");
                        lost += 1;
                    }
                }
            }
        }
        assert!(lost > 0, "nothing was lost");
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
        self.produce_with(topic, lines, "none");
    }

    /// Puts one message into a partition, with headers.
    pub fn put(
        &self,
        topic: &str,
        partition: i32,
        (key, value): (&str, &str),
        headers: &BTreeMap<String, String>,
    ) {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            .create()
            .expect("a producer can be made");
        let headers = headers.iter().fold(OwnedHeaders::new(), |all, (key, value)| {
            all.insert(Header { key, value: Some(value) })
        });
        let record = BaseRecord::to(topic).partition(partition).headers(headers);
        producer.send(record.key(key).payload(value)).map_err(|(e, _)| e).expect("there is room");
        producer.flush(Duration::from_secs(30)).expect("the broker takes it");
    }

    /// As `produce`, compressed.
    pub fn produce_with(&self, topic: &str, lines: &[String], codec: &str) {
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            .set("enable.idempotence", "true")
            .set("compression.type", codec)
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

    /// Asks the broker for something.
    fn admin<T>(&self, ask: impl AsyncFnOnce(&AdminClient<DefaultClientContext>) -> T) -> T {
        let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
            .set("bootstrap.servers", self.bootstrap())
            .create()
            .expect("a client can be made");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime can be made").block_on(ask(&admin))
    }

    /// Removes everything that a partition holds now.
    pub fn remove_records(&self, topic: &str, partition: i32) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::End).expect("a valid offset");
        let done = self
            .admin(async |admin| admin.delete_records(&list, &AdminOptions::new()).await)
            .expect("the broker answers");
        for element in done.elements() {
            element.error().expect("the records are removed");
        }
    }

    /// Sets properties of a topic.
    pub fn configure(&self, topic: &str, properties: &[(&str, &str)]) {
        let entries = properties.iter().copied().collect();
        let wanted = AlterConfig { specifier: ResourceSpecifier::Topic(topic), entries };
        let done = self
            .admin(async |admin| admin.alter_configs([&wanted], &AdminOptions::new()).await)
            .expect("the broker answers");
        assert!(done.iter().all(Result::is_ok), "{done:?}");
    }

    /// The ids of the events that a partition holds.
    pub fn keys_of(&self, topic: &str, partition: i32) -> BTreeSet<String> {
        let id = |r: &Record| {
            let event: serde_json::Value = serde_json::from_str(&r.value).ok()?;
            event["event_id"].as_str().map(str::to_owned)
        };
        self.consume(topic).iter().filter(|r| r.partition == partition).filter_map(id).collect()
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
                        partition: message.partition(),
                        offset: message.offset(),
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
