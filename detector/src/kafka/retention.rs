//! Settings of topics that matter later: whether they reach back as far as a start may have to read again, and who sets the time of
//! their messages. Either would only be noticed when it is needed, so both are checked at the start.

use super::client::{self, Trouble};
use super::config::KafkaSection;
use rdkafka::admin::{AdminOptions, ConfigResource, ResourceSpecifier};
use std::time::Duration;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(15);
/// A stop may last so long without anybody having planned for it.
const STOP: Duration = Duration::from_secs(24 * 3600);

/// What a topic says of how long it keeps messages.
#[derive(Debug, Default)]
struct Kept {
    topic: String,
    time_ms: Option<i64>,
    bytes: Option<i64>,
    cleanup: String,
    compaction_lag_ms: Option<i64>,
    /// `message.timestamp.type`: who sets the time of a message.
    time_set_by: Option<String>,
    batch_bytes: Option<i64>,
}

impl Kept {
    fn of(topic: &str, found: &ConfigResource) -> Self {
        let value = |name: &str| found.get(name).and_then(|entry| entry.value.as_deref());
        let number = |name: &str| value(name).and_then(|value| value.parse().ok());
        Self {
            topic: topic.into(),
            time_ms: number("retention.ms"),
            bytes: number("retention.bytes"),
            cleanup: value("cleanup.policy").unwrap_or("delete").into(),
            compaction_lag_ms: number("min.compaction.lag.ms"),
            time_set_by: value("message.timestamp.type").map(str::to_owned),
            batch_bytes: number("max.message.bytes"),
        }
    }

    /// Whether a producer sets the time of messages, and with it, in an input, the time up to which events are taken.
    fn time_is_the_producers(&self) -> bool {
        self.time_set_by.as_deref().is_some_and(|set| set != "LogAppendTime")
    }

    fn deletes(&self) -> bool {
        self.cleanup.contains("delete")
    }

    /// What makes a start impossible some day, and what might.
    fn judge(&self, window: Duration, problems: &mut Vec<String>, warnings: &mut Vec<String>) {
        let topic = &self.topic;
        let ms = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let text = features::duration::format_ms;
        if let Some(kept_ms) = self.time_ms.filter(|kept| *kept >= 0 && self.deletes()) {
            if kept_ms < ms(window) {
                problems.push(format!(
                    "topic `{topic}` keeps messages for {} (retention.ms), and a start may have to read back {}\n  hint: raise retention.ms of the topic; it should cover the longest stop that you plan",
                    text(kept_ms),
                    text(ms(window))
                ));
            } else if kept_ms < ms(STOP) {
                warnings.push(format!(
                    "topic `{topic}` keeps messages for {} (retention.ms): after a longer stop a start refuses",
                    text(kept_ms)
                ));
            }
        }
        if self.bytes.is_some_and(|bytes| bytes >= 0) && self.deletes() {
            warnings.push(format!(
                "topic `{topic}` is also cut by its size (retention.bytes): under load it may reach back less far than its retention.ms says"
            ));
        }
        if self.cleanup.contains("compact")
            && self.compaction_lag_ms.is_none_or(|lag| lag < ms(window))
        {
            problems.push(format!(
                "topic `{topic}` is compacted (cleanup.policy), and a start reads every message again\n  hint: cleanup.policy = delete, or min.compaction.lag.ms of at least {}",
                ms(window)
            ));
        }
    }
}

/// The longest answer that the client takes from a broker, in bytes: librdkafka's default, or as configured.
fn answer_bytes_max(section: &KafkaSection) -> i64 {
    const NAME: &str = "receive.message.max.bytes";
    let configured = section.consumer.get(NAME).or_else(|| section.properties.get(NAME));
    configured.and_then(|value| value.parse().ok()).unwrap_or(100_000_000)
}

/// A batch that the client does not take would break its connection over and over, and with it all partitions that the broker leads.
fn too_large(kept: &Kept, answer_bytes_max: i64) -> Option<String> {
    let bytes = kept.batch_bytes.filter(|bytes| *bytes >= answer_bytes_max)?;
    Some(format!(
        "topic `{}` takes batches of up to {bytes} bytes (max.message.bytes), and the client takes answers of up to {answer_bytes_max} (receive.message.max.bytes)\n  hint: lower max.message.bytes of the topic, or raise \"receive.message.max.bytes\" in consumer of [kafka]",
        kept.topic
    ))
}

/// Looks at all topics that are read again at a start; `window` is how far back that may be. What is only doubtful goes to the log.
///
/// # Errors
/// Everything that does not reach back so far, at once.
pub fn check(section: &KafkaSection, window: Duration) -> Result<(), Trouble> {
    let cannot = |why: &str| {
        tracing::warn!(
            "how long topics keep messages cannot be looked at ({why}); see to it that they reach back further than the longest stop"
        );
    };
    let admin = match client::admin(section) {
        Ok(admin) => admin,
        Err(Trouble::StartOver(why)) => {
            cannot(&why);
            return Ok(());
        }
        Err(trouble) => return Err(trouble),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(|e| Trouble::Fatal(format!("cannot start a runtime: {e}")))?;
    let inputs = section.events.iter().chain(&section.labels).map(|topic| (topic, true));
    let own = [&section.actions, &section.journal].map(|topic| (topic, false));
    let (mut problems, mut warnings) = (Vec::new(), Vec::new());
    for (topic, input) in inputs.chain(own) {
        let options = AdminOptions::new().request_timeout(Some(PATIENCE));
        let asked = [ResourceSpecifier::Topic(topic)];
        let found = runtime.block_on(admin.describe_configs(&asked, &options));
        match found.map(|mut found| found.pop()) {
            Ok(Some(Ok(found))) => {
                let kept = Kept::of(topic, &found);
                kept.judge(window, &mut problems, &mut warnings);
                if input && kept.time_is_the_producers() {
                    tracing::warn!(
                        event = "topic_time_set_by_producers",
                        topic,
                        hint = format!(
                            "kafka-configs.sh --bootstrap-server HOST:PORT --alter --entity-type topics --entity-name {topic} --add-config message.timestamp.type=LogAppendTime"
                        ),
                        "producers set the time of messages, one ahead moves the clock"
                    );
                }
                problems.extend(too_large(&kept, answer_bytes_max(section)));
            }
            // The right to see it is not needed for anything else.
            Ok(Some(Err(code))) => {
                cannot(&format!("topic `{topic}`: {code}; the right is DescribeConfigs"));
                break;
            }
            Ok(None) => cannot(&format!("topic `{topic}`: no answer")),
            Err(error) => {
                cannot(&error.to_string());
                break;
            }
        }
    }
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    if problems.is_empty() { Ok(()) } else { Err(Trouble::Fatal(problems.join("\n  "))) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::admin::{ConfigEntry, ConfigSource, OwnedResourceSpecifier};

    /// What a broker says of a topic.
    fn said(settings: &[(&str, &str)]) -> ConfigResource {
        let entry = |(name, value): &(&str, &str)| ConfigEntry {
            name: (*name).into(),
            value: Some((*value).into()),
            source: ConfigSource::DynamicTopic,
            is_read_only: false,
            is_default: false,
            is_sensitive: false,
        };
        ConfigResource {
            specifier: OwnedResourceSpecifier::Topic("events".into()),
            entries: settings.iter().map(entry).collect(),
        }
    }

    #[test]
    fn time_is_the_producers_unless_the_broker_says_otherwise() {
        for (set, expected) in [
            (&[("message.timestamp.type", "CreateTime")][..], true),
            (&[("message.timestamp.type", "LogAppendTime")], false),
            // A broker that does not tell is not accused.
            (&[("retention.ms", "1")], false),
        ] {
            assert_eq!(Kept::of("events", &said(set)).time_is_the_producers(), expected, "{set:?}");
        }
    }

    const WINDOW: Duration = Duration::from_secs(600);
    const DAY_MS: i64 = 24 * 3_600_000;

    fn judged(kept: Kept) -> (usize, usize) {
        let (mut problems, mut warnings) = (Vec::new(), Vec::new());
        kept.judge(WINDOW, &mut problems, &mut warnings);
        (problems.len(), warnings.len())
    }

    fn kept(cleanup: &str, time_ms: i64) -> Kept {
        Kept { cleanup: cleanup.into(), time_ms: Some(time_ms), bytes: Some(-1), ..Kept::default() }
    }

    #[test]
    fn what_cannot_be_read_again_is_a_problem_and_what_may_be_gone_a_warning() {
        assert_eq!(judged(kept("delete", 7 * DAY_MS)), (0, 0));
        assert_eq!(judged(kept("delete", -1)), (0, 0));
        assert_eq!(judged(kept("delete", 3_600_000)), (0, 1));
        assert_eq!(judged(kept("delete", 60_000)), (1, 0));
        assert_eq!(judged(kept("compact", 60_000)), (1, 0));
        assert_eq!(judged(kept("compact,delete", 60_000)), (2, 0));
        let late = Kept { compaction_lag_ms: Some(DAY_MS), ..kept("compact", -1) };
        assert_eq!(judged(late), (0, 0));
        let small = Kept { bytes: Some(1 << 30), ..kept("delete", 7 * DAY_MS) };
        assert_eq!(judged(small), (0, 1));
    }

    #[test]
    fn batches_that_the_client_would_not_take_are_a_problem() {
        let mut section = KafkaSection::default();
        let of = |bytes| Kept { topic: "events".into(), batch_bytes: bytes, ..Kept::default() };
        assert_eq!(answer_bytes_max(&section), 100_000_000);
        for (bytes, is_good) in [
            (None, true),
            (Some(1_048_588), true),
            (Some(99_999_999), true),
            (Some(100_000_000), false),
        ] {
            assert_eq!(
                too_large(&of(bytes), answer_bytes_max(&section)).is_none(),
                is_good,
                "{bytes:?}"
            );
        }
        section.properties.insert("receive.message.max.bytes".into(), "200000000".into());
        assert!(too_large(&of(Some(150_000_000)), answer_bytes_max(&section)).is_none());
        section.consumer.insert("receive.message.max.bytes".into(), "120000000".into());
        let said =
            too_large(&of(Some(150_000_000)), answer_bytes_max(&section)).expect("a problem");
        assert!(said.contains("150000000") && said.contains("120000000"), "{said}");
    }
}
