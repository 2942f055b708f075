//! `[kafka]`: where events come from and actions go.

use super::security::{SET_HERE, Security};
use crate::registry::RegistrySection;
use features::duration::parse_ms;
use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaConfRes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Topics of events that are read at most.
const EVENT_TOPICS_MAX: usize = 1000;

/// Connection, topics and delivery.
#[derive(Clone, Serialize, Deserialize, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaSection {
    /// Brokers to begin with, `host:port`, comma-separated.
    pub bootstrap: String,
    /// The consumer group: the store of how far outputs have gone. All instances of one detector share it, and its name is the
    /// transactional id.
    pub group: String,
    /// Topics of events.
    pub events: Vec<String>,
    /// Topics of labels; partitioned by account as the events are.
    pub labels: Vec<String>,
    /// Topic of actions.
    pub actions: String,
    /// Topic of the score of every event; absent: none are written.
    pub scores: Option<String>,
    /// Topic of messages that could not be read.
    pub dead_letters: String,
    /// Topic of the order in which messages were taken, with one partition. A restarted or a standby instance takes them in the
    /// same order and so comes to the same state, byte for byte.
    pub journal: String,
    /// Whether an output may be published a second time after a crash; it is the same then.
    pub delivery: Delivery,
    /// Outputs are gathered for so long before they are committed. At least once nothing waits for that: the commit waits for a moment
    /// in which everything is acknowledged, for up to ten times as long.
    pub commit_interval: String,
    /// An event's `ts` may be ahead of the moment at which Kafka took it by so much; beyond, it counts as of then, or of the newest
    /// event time taken where that is earlier.
    pub clock_ahead_max: String,
    /// Whether new partitions exist is asked this often.
    pub partitions_every: String,
    /// Encryption, and who the service is to the brokers.
    pub security: Security,
    /// Where the schemas of messages in Avro and Protobuf are.
    pub registry: RegistrySection,
    /// librdkafka's properties for all clients: timeouts, compression, and whatever else it knows.
    pub properties: BTreeMap<String, String>,
    /// Properties for consumers only; stronger than `properties`.
    pub consumer: BTreeMap<String, String>,
    /// Properties for the producer only; stronger than `properties`.
    pub producer: BTreeMap<String, String>,
}

/// What a subscriber of the actions may count on.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Delivery {
    /// Outputs and positions are one transaction: a subscriber that reads committed messages sees each action once.
    #[default]
    ExactlyOnce,
    /// Outputs first, positions after the acknowledgement: sooner there, and after a crash perhaps a second time under the same
    /// `action_id`.
    AtLeastOnce,
}

impl Default for KafkaSection {
    fn default() -> Self {
        Self {
            bootstrap: "127.0.0.1:9092".into(),
            group: "detector".into(),
            events: vec!["events".into()],
            labels: vec!["labels".into()],
            actions: "actions".into(),
            scores: None,
            dead_letters: "dead-letters".into(),
            journal: "journal".into(),
            delivery: Delivery::ExactlyOnce,
            commit_interval: "20ms".into(),
            clock_ahead_max: "5m".into(),
            partitions_every: "30s".into(),
            security: Security::default(),
            registry: RegistrySection::default(),
            properties: BTreeMap::new(),
            consumer: BTreeMap::new(),
            producer: BTreeMap::new(),
        }
    }
}

/// Values of properties may be passwords.
impl std::fmt::Debug for KafkaSection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names = |p: &BTreeMap<String, String>| p.keys().cloned().collect::<Vec<_>>();
        f.debug_struct("KafkaSection")
            .field("bootstrap", &self.bootstrap)
            .field("group", &self.group)
            .field("events", &self.events)
            .field("labels", &self.labels)
            .field("actions", &self.actions)
            .field("scores", &self.scores)
            .field("dead_letters", &self.dead_letters)
            .field("journal", &self.journal)
            .field("delivery", &self.delivery)
            .field("commit_interval", &self.commit_interval)
            .field("security", &self.security)
            .field("registry", &self.registry)
            .field("properties", &names(&self.properties))
            .field("consumer", &names(&self.consumer))
            .field("producer", &names(&self.producer))
            .finish_non_exhaustive()
    }
}

/// Durations of the section, read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// `commit_interval`.
    pub commit_interval_ms: i64,
    /// `clock_ahead_max`.
    pub clock_ahead_max_ms: i64,
    /// `partitions_every`.
    pub partitions_every_ms: i64,
}

/// Properties that the protocol rests on: nobody may set them otherwise.
const OURS: [&str; 10] = [
    "bootstrap.servers",
    "group.id",
    "transactional.id",
    "enable.idempotence",
    "isolation.level",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "enable.partition.eof",
    "acks",
];

impl KafkaSection {
    /// The files that it names.
    pub fn files(&mut self) -> [&mut Option<String>; 5] {
        let s = &mut self.security;
        [
            &mut s.ca_file,
            &mut s.certificate_file,
            &mut s.key_file,
            &mut s.token_file,
            &mut self.registry.ca_file,
        ]
    }

    /// Checks the section.
    ///
    /// # Errors
    /// Everything that is wrong with it, at once.
    pub fn check(&self) -> Result<Times, Vec<String>> {
        let mut problems = Vec::new();
        let mut say = |text: String| problems.push(format!("[kafka]: {text}"));
        for (name, value) in [
            ("bootstrap", &self.bootstrap),
            ("group", &self.group),
            ("actions", &self.actions),
            ("dead_letters", &self.dead_letters),
            ("journal", &self.journal),
        ] {
            if value.trim().is_empty() {
                say(format!(
                    "{name} is empty\n  hint: give it a value, or leave it out for the default"
                ));
            }
        }
        if self.events.is_empty() {
            say("events names no topic\n  hint: events = [\"events\"]".into());
        }
        if self.events.len() > EVENT_TOPICS_MAX {
            say(format!(
                "events names {} topics, and at most {EVENT_TOPICS_MAX} are read\n  hint: let several kinds of events share a topic",
                self.events.len()
            ));
        }
        let mut topics: Vec<&String> = self.events.iter().chain(&self.labels).collect();
        topics.extend([&self.actions, &self.dead_letters, &self.journal]);
        topics.extend(&self.scores);
        for (at, topic) in topics.iter().enumerate() {
            if topics[..at].contains(topic) {
                say(format!(
                    "topic `{topic}` stands for two things\n  hint: each stream has a topic of its own"
                ));
            }
        }
        let properties = [
            ("properties", &self.properties),
            ("consumer", &self.consumer),
            ("producer", &self.producer),
        ];
        for (table, properties) in properties {
            for name in properties.keys().filter(|name| OURS.contains(&name.as_str())) {
                say(format!(
                    "{table}.\"{name}\" is set by the detector itself\n  hint: leave it out"
                ));
            }
            for (name, value) in properties {
                if self.security.is_set() && SET_HERE.contains(&name.as_str()) {
                    say(format!(
                        "{table}.\"{name}\" is set by [kafka.security] as well\n  hint: set it in one place"
                    ));
                }
                if let Some(why) = refused(name, value) {
                    say(format!("{table}.\"{name}\" {why}"));
                }
            }
        }
        let mut times = [0; 3];
        for (time, (name, text)) in times.iter_mut().zip([
            ("commit_interval", &self.commit_interval),
            ("clock_ahead_max", &self.clock_ahead_max),
            ("partitions_every", &self.partitions_every),
        ]) {
            match parse_ms(text) {
                Ok(ms) => *time = ms,
                Err(e) => say(format!("{name}: {e}")),
            }
        }
        problems.extend(self.security.check());
        problems.extend(self.registry.check());
        if !problems.is_empty() {
            return Err(problems);
        }
        let [commit_interval_ms, clock_ahead_max_ms, partitions_every_ms] = times;
        Ok(Times { commit_interval_ms, clock_ahead_max_ms, partitions_every_ms })
    }
}

/// What librdkafka has against a property, without its value: that may be a secret.
fn refused(name: &str, value: &str) -> Option<&'static str> {
    match ClientConfig::new().set(name, value).create_native_config() {
        Ok(_) => None,
        Err(KafkaError::ClientConfig(RDKafkaConfRes::RD_KAFKA_CONF_UNKNOWN, ..)) => {
            Some("is no property of librdkafka\n  hint: its CONFIGURATION.md has the list")
        }
        Err(_) => Some(
            "has a value that librdkafka does not take\n  hint: its CONFIGURATION.md says which it does",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_good_and_everything_wrong_is_said() {
        assert!(KafkaSection::default().check().is_ok());
        let section = KafkaSection {
            events: vec![],
            group: " ".into(),
            actions: "journal".into(),
            commit_interval: "soon".into(),
            consumer: BTreeMap::from([("isolation.level".into(), "read_uncommitted".into())]),
            ..KafkaSection::default()
        };
        let problems = section.check().expect_err("five things are wrong");
        assert_eq!(problems.len(), 5, "{problems:#?}");
        let events = (0..=EVENT_TOPICS_MAX).map(|n| format!("events-{n}")).collect();
        let many = KafkaSection { events, ..KafkaSection::default() };
        let problems = many.check().expect_err("too many");
        assert!(problems.len() == 1 && problems[0].contains("1001 topics"), "{problems:#?}");
    }

    /// librdkafka leaves out what it does not find when it is built, without a word.
    #[test]
    fn the_client_is_built_with_what_the_documents_promise() {
        let built = ClientConfig::new().create_native_config().expect("the defaults are good");
        let built = built.get("builtin.features").expect("a property that it has");
        for feature in
            ["gzip", "snappy", "lz4", "zstd", "ssl", "sasl_plain", "sasl_scram", "sasl_oauthbearer"]
        {
            assert!(built.split(',').any(|f| f == feature), "{feature} is not in {built}");
        }
    }

    #[test]
    fn properties_are_those_of_librdkafka() {
        let table = |name: &str, value: &str| BTreeMap::from([(name.to_owned(), value.to_owned())]);
        let section = KafkaSection {
            properties: table("socket.keepalive.enable", "true"),
            consumer: table("sasl.pasword", "hunter2"),
            producer: table("compression.type", "hunter2"),
            ..KafkaSection::default()
        };
        let problems = section.check().expect_err("two are wrong");
        assert_eq!(problems.len(), 2, "{problems:#?}");
        assert!(problems[0].contains("sasl.pasword") && problems[1].contains("compression.type"));
        assert!(!problems.concat().contains("hunter2"), "{problems:#?}");
        for codec in ["none", "gzip", "lz4", "snappy", "zstd"] {
            let producer = table("compression.type", codec);
            let section = KafkaSection { producer, ..KafkaSection::default() };
            assert!(section.check().is_ok(), "{codec}");
        }
    }

    #[test]
    fn security_is_set_in_one_place() {
        let section = KafkaSection {
            security: Security { tls: true, ..Security::default() },
            properties: BTreeMap::from([("security.protocol".to_owned(), "ssl".to_owned())]),
            ..KafkaSection::default()
        };
        let problems = section.check().expect_err("it is set twice");
        assert!(problems[0].contains("security.protocol"), "{problems:#?}");
    }

    #[test]
    fn values_of_properties_are_never_shown() {
        let properties = BTreeMap::from([("sasl.password".to_owned(), "hunter2".to_owned())]);
        let section = KafkaSection { properties, ..KafkaSection::default() };
        let shown = format!("{section:?}");
        assert!(shown.contains("sasl.password") && !shown.contains("hunter2"), "{shown}");
    }
}
