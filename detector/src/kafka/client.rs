//! Clients as the protocol needs them, and errors as a person needs them.

use super::config::{Delivery, KafkaSection};
use super::heard::Heard;
use super::outcome::Outcome;
use super::token::{self, Tokens};
use crate::rights::{self, Resource};
use rdkafka::admin::AdminClient;
use rdkafka::client::OAuthToken;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::{ClientConfig, ClientContext, TopicPartitionList};
use std::sync::Arc;
use std::time::{Duration, Instant};

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
        match code.map(|code| (Outcome::of(code), code)) {
            // The brokers do not all learn of a new partition at the same time.
            Some((_, RDKafkaErrorCode::UnknownPartition)) => Self::StartOver(said),
            Some((Outcome::Refused | Outcome::Unusable, _)) => Self::Fatal(said),
            Some((_, RDKafkaErrorCode::MessageSizeTooLarge)) => Self::Fatal(said),
            _ => Self::StartOver(said),
        }
    }
}

pub(crate) fn hint(code: RDKafkaErrorCode) -> Option<&'static str> {
    Some(match code {
        RDKafkaErrorCode::SSL => {
            "\nhint: is ca_file in [kafka.security] that of the brokers, do their certificates name the hosts in bootstrap, and is the port one with TLS?"
        }
        RDKafkaErrorCode::UnsupportedSASLMechanism => {
            "\nhint: set mechanism in [kafka.security] to one that the brokers have enabled on this port"
        }
        RDKafkaErrorCode::SaslAuthenticationFailed | RDKafkaErrorCode::Authentication => {
            "\nhint: check mechanism, username and password in [kafka.security] (or sasl.* in [kafka] properties)"
        }
        RDKafkaErrorCode::TopicAuthorizationFailed => rights::hint(Resource::Topic),
        RDKafkaErrorCode::ClusterAuthorizationFailed => rights::cluster_hint(),
        RDKafkaErrorCode::GroupAuthorizationFailed => rights::hint(Resource::Group),
        RDKafkaErrorCode::TransactionalIdAuthorizationFailed => {
            rights::hint(Resource::TransactionalId)
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

/// A client's settings, and where its tokens come from.
#[derive(Clone)]
pub struct Settings {
    config: ClientConfig,
    tokens: Result<Option<Arc<Tokens>>, String>,
}

fn base(section: &KafkaSection, own: &std::collections::BTreeMap<String, String>) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("client.id", "detector");
    for (name, value) in section.security.properties() {
        config.set(name, value);
    }
    for (name, value) in section.properties.iter().chain(own) {
        config.set(name, value);
    }
    // OpenSSL is part of the program: it does not know where this system keeps its authorities.
    let tls = config.get("security.protocol").is_some_and(|p| p.to_lowercase().ends_with("ssl"));
    if tls && config.get("ssl.ca.location").is_none() && config.get("ssl.ca.pem").is_none() {
        config.set("ssl.ca.location", "probe");
    }
    config.set("bootstrap.servers", &section.bootstrap);
    config
}

fn with_tokens(section: &KafkaSection, config: ClientConfig) -> Settings {
    let tokens = Tokens::new(&section.security).map(|tokens| tokens.map(Arc::new));
    Settings { config, tokens }
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
pub fn consumer(section: &KafkaSection) -> Settings {
    let mut config = base(section, &section.consumer);
    for (name, value) in [
        // A consumer that fills its queue must not pause for a second (librdkafka's default).
        ("fetch.queue.backoff.ms", "20"),
        // Answers are gathered for a moment: thousands of them with a message or two each, or with none, would cost broker and client
        // more than all the rest.
        ("fetch.wait.max.ms", "5"),
        ("fetch.min.bytes", "8192"),
        ("queued.min.messages", "100000"),
        ("queued.max.messages.kbytes", "65536"),
        // One answer may hold 1 MB of each partition, up to this: the memory of a replay does not grow with the partitions.
        ("fetch.max.bytes", "16777216"),
        // A batch that a disk or a network has changed is an error, not other messages.
        ("check.crcs", "true"),
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
    with_tokens(section, config)
}

/// A client for questions about topics, with its token.
///
/// # Errors
/// When a property is refused, or no token can be had.
pub fn admin(section: &KafkaSection) -> Result<AdminClient<Quiet>, Trouble> {
    let settings = with_tokens(section, base(section, &std::collections::BTreeMap::new()));
    let client: AdminClient<Quiet> = create(&settings, |quiet| quiet)?;
    if let Ok(Some(tokens)) = &settings.tokens {
        let given = tokens.fetch().and_then(|token| token::give(client.inner(), token));
        given.map_err(Trouble::StartOver)?;
    }
    Ok(client)
}

/// A consumer that also says when a partition's end is reached.
pub fn reader(section: &KafkaSection) -> Settings {
    let mut settings = consumer(section);
    settings.config.set("enable.partition.eof", "true");
    settings
}

/// What the client says by itself goes to the log, and its errors are remembered; the end of a partition is nothing to be said.
pub struct Quiet {
    heard: Heard,
    tokens: Option<Arc<Tokens>>,
}

impl Quiet {
    /// What went wrong lately.
    pub fn heard(&self) -> &Heard {
        &self.heard
    }
}

impl ClientContext for Quiet {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn error(&self, error: KafkaError, reason: &str) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::PartitionEOF) => {}
            code => {
                self.heard.failed(code, reason);
                if let Some(repeats) = self.heard.is_to_be_logged(reason, Instant::now()) {
                    let event = "kafka_client_error";
                    tracing::warn!(event, repeats, "kafka: {error}: {reason}");
                }
            }
        }
    }

    fn generate_oauth_token(
        &self,
        _: Option<&str>,
    ) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        let tokens = self.tokens.as_ref().ok_or(
            "OAUTHBEARER is set among properties, but no token\nhint: set mechanism and token_file or token_url in [kafka.security]",
        );
        let fetched = tokens.map_err(Into::into).and_then(|t| t.fetch().map_err(Into::into));
        self.heard.token_served();
        fetched
    }
}

impl ConsumerContext for Quiet {
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::warn!("kafka: offsets were not committed, the next commit says more: {error}");
        }
    }
}

/// A consumer as it is used here.
pub type QuietConsumer = BaseConsumer<Quiet>;

/// Makes a client; `wrap` puts what it says by itself where the client wants it.
///
/// # Errors
/// When a property is refused or the certificates of tokens cannot be read.
pub fn create<C: ClientContext, T: FromClientConfigAndContext<C>>(
    settings: &Settings,
    wrap: impl FnOnce(Quiet) -> C,
) -> Result<T, Trouble> {
    let fatal = |why: &str| {
        Trouble::Fatal(format!(
            "the client's settings: {why}\nhint: see [kafka.security], and properties, consumer and producer in [kafka]"
        ))
    };
    let tokens = settings.tokens.clone().map_err(|e| fatal(&e))?;
    let context = wrap(Quiet { heard: Heard::default(), tokens });
    settings.config.create_with_context(context).map_err(|e| match &e {
        // Its text shows the value, and that may be a secret.
        KafkaError::ClientConfig(_, _, name, _) => fatal(&format!("{name} is refused")),
        _ => fatal(&e.to_string()),
    })
}

/// Makes a consumer.
///
/// # Errors
/// When a property is refused.
pub fn make(settings: &Settings) -> Result<QuietConsumer, Trouble> {
    let consumer: QuietConsumer = create(settings, |quiet| quiet)?;
    if matches!(settings.tokens, Ok(Some(_))) {
        await_token(consumer.context().heard(), || drop(consumer.poll(TOKEN_TURN)));
    }
    Ok(consumer)
}

/// How long the client is served at a time while its first token is awaited, and in all.
const TOKEN_TURN: Duration = Duration::from_millis(20);
const TOKEN_WAIT: Duration = Duration::from_secs(2);

/// Serves a new client until it has asked for its first token: it does so from `poll` only, and some clients are not polled before
/// they are needed.
pub fn await_token(heard: &Heard, mut serve: impl FnMut()) {
    let until = Instant::now() + TOKEN_WAIT;
    while !heard.has_served_token() && Instant::now() < until {
        serve();
    }
}

/// The producer of all outputs.
pub fn producer(section: &KafkaSection) -> Settings {
    let mut config = base(section, &section.producer);
    for (name, value) in [
        ("linger.ms", "0"),
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
    with_tokens(section, config)
}
