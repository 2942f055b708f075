//! Clients as the protocol needs them, and errors as a person needs them.

use super::config::{Delivery, KafkaSection};
use rdkafka::consumer::{BaseConsumer, ConsumerContext};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientConfig, ClientContext};

/// What went wrong with Kafka.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Nothing helps but a person.
    #[error("kafka: {0}")]
    Fatal(String),
    /// Another instance has taken over, or the outcome of a commit is not known: start over from the lease.
    #[error("kafka: {0}; starting over")]
    StartOver(String),
}

impl Trouble {
    /// Turns an error of the client into what is to be done about it. `what` is what was being done.
    pub fn of(what: &str, error: &KafkaError) -> Self {
        let code = error.rdkafka_error_code();
        let hint = code.and_then(hint).unwrap_or_default();
        let said = format!("{what}: {error}{hint}");
        match code {
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::GroupAuthorizationFailed
                | RDKafkaErrorCode::ClusterAuthorizationFailed
                | RDKafkaErrorCode::TransactionalIdAuthorizationFailed
                | RDKafkaErrorCode::SaslAuthenticationFailed
                | RDKafkaErrorCode::Authentication
                | RDKafkaErrorCode::UnsupportedSASLMechanism
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::MessageSizeTooLarge,
            ) => Self::Fatal(said),
            _ => Self::StartOver(said),
        }
    }
}

fn hint(code: RDKafkaErrorCode) -> Option<&'static str> {
    Some(match code {
        RDKafkaErrorCode::SaslAuthenticationFailed | RDKafkaErrorCode::Authentication => {
            "\nhint: check user and password in [kafka] properties (sasl.username, sasl.password, sasl.mechanism)"
        }
        RDKafkaErrorCode::TopicAuthorizationFailed => {
            "\nhint: the user needs READ and DESCRIBE on events, labels, actions and journal, and WRITE on actions, scores, dead letters and journal"
        }
        RDKafkaErrorCode::GroupAuthorizationFailed => {
            "\nhint: the user needs READ on the group named in [kafka] group"
        }
        RDKafkaErrorCode::TransactionalIdAuthorizationFailed => {
            "\nhint: the user needs WRITE and DESCRIBE on the transactional id, which is the group's name; or set delivery = \"at_least_once\""
        }
        RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic => {
            "\nhint: create the topic first; the detector makes none"
        }
        RDKafkaErrorCode::BrokerTransportFailure
        | RDKafkaErrorCode::AllBrokersDown
        | RDKafkaErrorCode::Resolve => {
            "\nhint: is [kafka] bootstrap right, and are the brokers up?"
        }
        RDKafkaErrorCode::MessageSizeTooLarge => {
            "\nhint: raise max.message.bytes of the topic, or lower the detector's caps"
        }
        _ => return None,
    })
}

fn base(section: &KafkaSection, own: &std::collections::BTreeMap<String, String>) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("client.id", "detector");
    for (name, value) in section.properties.iter().chain(own) {
        config.set(name, value);
    }
    config.set("bootstrap.servers", &section.bootstrap);
    config
}

/// Defaults that a property of the user's may change.
fn set_default(
    config: &mut ClientConfig,
    section: &KafkaSection,
    own: &std::collections::BTreeMap<String, String>,
    name: &str,
    value: &str,
) {
    if !section.properties.contains_key(name) && !own.contains_key(name) {
        config.set(name, value);
    }
}

/// A consumer that is assigned its partitions by hand, sees committed messages only, and never resets a position.
pub fn consumer(section: &KafkaSection) -> ClientConfig {
    let mut config = base(section, &section.consumer);
    for (name, value) in [
        // A consumer that fills its queue must not pause for a second (librdkafka's default).
        ("fetch.queue.backoff.ms", "20"),
        ("fetch.wait.max.ms", "20"),
        ("queued.min.messages", "100000"),
        ("queued.max.messages.kbytes", "65536"),
        // A broker that comes back is met again within a second; ten is librdkafka's default.
        ("reconnect.backoff.max.ms", "1000"),
    ] {
        set_default(&mut config, section, &section.consumer, name, value);
    }
    config
        .set("group.id", &section.group)
        .set("isolation.level", "read_committed")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error");
    config
}

/// A consumer that also says when a partition's end is reached.
pub fn reader(section: &KafkaSection) -> ClientConfig {
    let mut config = consumer(section);
    config.set("enable.partition.eof", "true");
    config
}

/// What the client says by itself goes to the log; the end of a partition is nothing to be said.
pub struct Quiet;

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::PartitionEOF) => {}
            _ => tracing::warn!("kafka: {error}: {reason}"),
        }
    }
}

impl ConsumerContext for Quiet {}

/// A consumer as it is used here.
pub type QuietConsumer = BaseConsumer<Quiet>;

/// Makes a consumer.
///
/// # Errors
/// When a property is refused.
pub fn make(config: &ClientConfig) -> Result<QuietConsumer, Trouble> {
    config.create_with_context(Quiet).map_err(|e| {
        Trouble::Fatal(format!(
            "the consumer's settings: {e}\nhint: see [kafka] properties and consumer"
        ))
    })
}

/// The producer of all outputs.
pub fn producer(section: &KafkaSection) -> ClientConfig {
    let mut config = base(section, &section.producer);
    for (name, value) in [
        ("linger.ms", "2"),
        ("compression.type", "lz4"),
        ("transaction.timeout.ms", "30000"),
        ("queue.buffering.max.messages", "500000"),
        ("reconnect.backoff.max.ms", "1000"),
    ] {
        set_default(&mut config, section, &section.producer, name, value);
    }
    config.set("enable.idempotence", "true").set("acks", "all");
    if section.delivery == Delivery::ExactlyOnce {
        config.set("transactional.id", &section.group);
    }
    config
}
