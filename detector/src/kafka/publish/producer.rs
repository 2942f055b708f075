//! The producer of all outputs: what became of its messages, and whose the journal is.

use super::PATIENCE;
use super::records::{acknowledged, send_record};
use crate::kafka::bell::Bell;
use crate::kafka::client::{self, Quiet, QuietConsumer, Trouble};
use crate::kafka::config::{Delivery, KafkaSection};
use crate::kafka::fence::{Chain, Gaps};
use crate::kafka::journal::{Entry, Record, Stood, Tp};
use crate::kafka::signature::{Content, Of, SIGNATURE, Signer};
use rdkafka::Message;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How long a producer that failed is listened to.
const HEARING: Duration = Duration::from_millis(50);

/// Notes where messages came to lie.
#[derive(Default)]
pub(super) struct Deliveries {
    pub(super) next: Mutex<BTreeMap<(String, i32), i64>>,
    /// The first message that did not arrive: its topic, and why.
    pub(super) failed: Mutex<Option<(String, KafkaError)>>,
    /// The topic of the journal, and where this publisher's records came to lie in it.
    pub(super) journal: String,
    pub(super) chain: Mutex<Chain>,
    /// The topic of the actions, and what lies between this publisher's records in both.
    pub(super) actions: String,
    pub(super) gaps: Mutex<Gaps>,
    /// Messages that were handed to the client, and those of them that arrived or failed. Counted here: the client counts a message
    /// until all of those acknowledged with it are told, and the bell rings before.
    pub(super) sent: AtomicU64,
    pub(super) told: AtomicU64,
    /// Records that were sent to the journal, and those of them that arrived. They arrive in their order.
    pub(super) journalled: AtomicU64,
    pub(super) arrived: AtomicU64,
    /// Rings when something has arrived, or failed, and when there is a task, or will be none any more.
    pub(super) bell: Arc<Bell>,
    /// How long actions took to arrive since their event was produced, where that was asked for.
    pub(super) end_to_end: Mutex<Vec<Duration>>,
}

/// What a message carries back with its delivery: when the event behind it was produced, in milliseconds since the epoch. 0: nobody asks.
pub(super) type ProducedMs = usize;

/// Shared with the client.
pub struct Context {
    deliveries: Arc<Deliveries>,
    quiet: Quiet,
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = Quiet::ENABLE_REFRESH_OAUTH_TOKEN;

    fn error(&self, error: KafkaError, reason: &str) {
        self.quiet.error(error, reason);
    }

    fn generate_oauth_token(
        &self,
        config: Option<&str>,
    ) -> Result<OAuthToken, Box<dyn std::error::Error>> {
        self.quiet.generate_oauth_token(config)
    }
}

impl ProducerContext for Context {
    type DeliveryOpaque = ProducedMs;

    fn delivery(&self, result: &DeliveryResult<'_>, produced_ms: ProducedMs) {
        match result {
            Ok(message) => {
                if let Ok(mut next) = self.deliveries.next.lock() {
                    let next =
                        next.entry((message.topic().to_owned(), message.partition())).or_insert(0);
                    *next = (*next).max(message.offset() + 1);
                }
                let topic = message.topic();
                if (topic == self.deliveries.journal || topic == self.deliveries.actions)
                    && let Ok(mut gaps) = self.deliveries.gaps.lock()
                {
                    let tp = Tp { topic: topic.into(), partition: message.partition() };
                    gaps.delivered(tp, message.offset());
                }
                if topic == self.deliveries.journal
                    && let Ok(mut chain) = self.deliveries.chain.lock()
                {
                    chain.delivered(message.offset());
                    // Behind the chain: whoever sees that it arrived sees what lay before it, too.
                    self.deliveries.arrived.fetch_add(1, Ordering::Release);
                }
                if produced_ms > 0
                    && let Ok(mut end_to_end) = self.deliveries.end_to_end.lock()
                {
                    end_to_end.push(since(produced_ms as u64));
                }
            }
            Err((error, message)) => {
                if let Ok(mut failed) = self.deliveries.failed.lock() {
                    failed.get_or_insert((message.topic().to_owned(), error.clone()));
                }
            }
        }
        self.deliveries.told.fetch_add(1, Ordering::Release);
        self.deliveries.bell.ring();
    }
}

/// A producer that has ended its predecessor's last transaction; not publishing yet.
pub struct Prepared {
    /// Serves what the client has to say on a thread of its own.
    pub(super) producer: ThreadedProducer<Context>,
    pub(super) deliveries: Arc<Deliveries>,
    pub(super) group: QuietConsumer,
    pub(super) section: KafkaSection,
    /// As the journal names this publisher.
    pub(super) writer: String,
    pub(super) epoch: u64,
    /// Of what is read back. Set before anything of that is written.
    pub(super) signer: Option<Arc<Signer>>,
    /// Partitions of the actions, unless the user's partitioner chooses among them.
    pub(super) action_partitions: Option<u32>,
}

impl Prepared {
    /// Connects, and with transactions waits for the predecessor's last one to be decided or ends it.
    ///
    /// # Errors
    /// When the brokers refuse, or cannot be reached for a minute.
    pub fn new(section: &KafkaSection, epoch: u32) -> Result<Self, Trouble> {
        let (journal, actions) = (section.journal.clone(), section.actions.clone());
        let deliveries = Arc::new(Deliveries { journal, actions, ..Deliveries::default() });
        let notes = deliveries.clone();
        let wrap = |quiet| Context { deliveries: notes, quiet };
        let producer: ThreadedProducer<Context> = client::create(&client::producer(section), wrap)?;
        if section.security.has_tokens() {
            let heard = producer.context().quiet.heard();
            client::await_token(heard, || producer.poll(Duration::from_millis(20)));
        }
        if section.delivery == Delivery::ExactlyOnce {
            producer
                .init_transactions(PATIENCE)
                .map_err(|e| Trouble::of("cannot begin to publish", &e))?;
        }
        let group = client::make(&client::consumer(section))?;
        let writer = format!("{epoch}-{:016x}", rand::random::<u64>());
        let (section, epoch) = (section.clone(), epoch.into());
        let (signer, action_partitions) = (None, None);
        Ok(Self { producer, deliveries, group, section, writer, epoch, signer, action_partitions })
    }

    /// Signs what is read back. The number of partitions of the actions: a signature names the one that an action is sent to.
    pub fn sign_by(&mut self, signer: Signer, action_partitions: i32) {
        self.signer = Some(Arc::new(signer));
        let KafkaSection { properties, producer, .. } = &self.section;
        let is_chosen = [properties, producer].iter().any(|own| own.contains_key("partitioner"));
        let partitions = u32::try_from(action_partitions).ok();
        self.action_partitions = partitions.filter(|n| *n > 0 && !is_chosen);
    }

    /// The partition of an account's actions: that of librdkafka's default partitioner.
    pub(super) fn partition_of(&self, key: &[u8]) -> Option<i32> {
        let partitions = self.action_partitions?;
        i32::try_from(crc32fast::hash(key) % partitions).ok()
    }

    pub(super) fn signer(&self) -> Result<&Arc<Signer>, Trouble> {
        let unsigned = || Trouble::Fatal("nothing is published before its signer is known".into());
        self.signer.as_ref().ok_or_else(unsigned)
    }

    /// As the journal names this publisher.
    pub fn writer(&self) -> &str {
        &self.writer
    }

    /// At least once: takes the journal over. What others write to it from here on means nothing. With transactions their producer
    /// is fenced already, and the first transaction says it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn take_over(&self) -> Result<(), Trouble> {
        if self.section.delivery == Delivery::AtLeastOnce {
            self.journal(Entry::Begins { epoch: self.epoch }, Stood::new())?;
            self.checked("cannot take the journal over", acknowledged(self))?;
        }
        Ok(())
    }

    /// An outcome, if no message failed either; else the error that was first. Of a transaction the client tells that one only
    /// with the next call that it refuses.
    pub(super) fn checked(
        &self,
        what: &str,
        outcome: Result<(), KafkaError>,
    ) -> Result<(), Trouble> {
        let Self { producer, deliveries, .. } = self;
        // The client's own thread alone hears what became of messages: two would tell it out of order.
        if outcome.is_err() {
            std::thread::sleep(HEARING);
        }
        let lost = deliveries.failed.lock().ok().and_then(|mut failed| failed.take());
        let (what, error) = match (lost, outcome) {
            (None, Ok(())) => return Ok(()),
            (None, Err(error)) => (what.to_owned(), error),
            (Some((topic, error)), _) => {
                (format!("a message for topic `{topic}` was not delivered"), error)
            }
        };
        let consequence = matches!(
            error.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::State
                    | RDKafkaErrorCode::PurgeQueue
                    | RDKafkaErrorCode::PurgeInflight
                    | RDKafkaErrorCode::Inconsistent
            )
        );
        if let Some((code, reason)) = producer.client().fatal_error() {
            return Err(Trouble::of(&format!("{what}: {reason}"), &KafkaError::Global(code)));
        }
        let ask = consequence && (self.section.delivery == Delivery::ExactlyOnce);
        let first = if ask { producer.begin_transaction().err() } else { None };
        Err(Trouble::of(&what, first.as_ref().unwrap_or(&error)))
    }

    pub(super) fn journal(&self, entry: Entry, actions: Stood) -> Result<(), Trouble> {
        let record = Record { writer: Some(self.writer.clone()), actions, entry };
        let bytes = serde_json::to_vec(&record).map_err(|e| Trouble::Fatal(e.to_string()))?;
        let content = Content { partition: Some(0), payload: &bytes, ..Content::default() };
        let signature = self.signer()?.sign(Of::Journal, &content);
        let header = Header { key: SIGNATURE, value: Some(&signature) };
        let record = BaseRecord::<[u8], [u8], _>::with_opaque_to(&self.section.journal, 0);
        let record = record.partition(0).payload(&bytes);
        let record = record.headers(OwnedHeaders::new().insert(header));
        self.deliveries.journalled.fetch_add(1, Ordering::Relaxed);
        send_record(self, record)
    }
}

impl Deliveries {
    /// Outputs that were sent and did not arrive yet, nor fail.
    pub(super) fn outputs_on_their_way(&self) -> u64 {
        let arrived = self.arrived.load(Ordering::Acquire);
        let told = self.told.load(Ordering::Acquire);
        let sent = self.sent.load(Ordering::Relaxed) - self.journalled.load(Ordering::Relaxed);
        sent.saturating_sub(told.saturating_sub(arrived))
    }

    /// Whether everything that was sent has arrived, or failed.
    pub(super) fn are_all_told(&self) -> bool {
        self.told.load(Ordering::Acquire) >= self.sent.load(Ordering::Relaxed)
    }
}

/// How long ago that was.
pub(super) fn since(produced_ms: u64) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_millis(produced_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_of_the_journal_are_no_outputs_on_their_way() {
        let deliveries = Deliveries::default();
        let count = |counter: &AtomicU64, n| counter.store(n, Ordering::Relaxed);
        // (sent, of them to the journal, told, of them of the journal): outputs on their way.
        let table = [
            ([0, 0, 0, 0], 0),
            ([3, 3, 0, 0], 0),
            ([8, 3, 0, 0], 5),
            ([8, 3, 2, 2], 5),
            ([8, 3, 6, 2], 1),
            ([8, 3, 8, 3], 0),
            // A record arrived, and is told in a moment.
            ([8, 3, 2, 3], 5),
        ];
        for ([sent, journalled, told, arrived], expected) in table {
            count(&deliveries.sent, sent);
            count(&deliveries.journalled, journalled);
            count(&deliveries.told, told);
            count(&deliveries.arrived, arrived);
            assert_eq!(deliveries.outputs_on_their_way(), expected, "{sent} {told}");
        }
    }
}
