//! Outputs into Kafka, behind the engine, by a thread of their own: actions, scores, dead letters, the journal, and how far all of
//! it goes, in one transaction per commit interval. At least once: the journal first, then what it led to, then how far that goes
//! (`fence`).

use super::client::{self, Quiet, QuietConsumer, Trouble};
use super::config::{Delivery, KafkaSection};
use super::fence::{self, Chain};
use super::journal::{Entry, Offsets, Record, Run, Stood, Tp};
use super::source::{DeadMessage, list};
use crate::telemetry::{Stage, Telemetry};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded};
use engine::Finisher;
use engine::effects::Effects;
use engine::wire::write_score;
use rdkafka::Message;
use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Batches that may wait to be published; beyond that the engine waits.
const BATCHES_MAX: usize = 64;
/// Longest wait for the brokers; a transaction of unknown outcome is one that was not committed in this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// With nothing to publish, the clients are served this often.
const SERVED_EVERY: Duration = Duration::from_secs(1);
/// Acknowledgements are looked for this often.
const LOOK_FOR_ACKS: Duration = Duration::from_micros(200);
/// How long a producer that failed is listened to.
const HEARING: Duration = Duration::from_millis(50);

/// A batch's outputs.
#[derive(Debug)]
pub struct Outputs {
    /// What the engine asked for.
    pub effects: Effects,
    /// What could not be read.
    pub dead: Vec<DeadMessage>,
    /// The order in which its messages were taken. None: the journal has it, and how far they go is said by
    /// [`Publisher::reached`].
    pub runs: Vec<Run>,
}

/// What is durable once a cut was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Next offset of the journal.
    pub journal: i64,
    /// Next offset of the actions, by partition.
    pub actions: BTreeMap<i32, i64>,
}

enum Message1 {
    Publish(Box<Outputs>),
    /// Others decide from here on.
    DecideBy(Arc<Finisher>),
    /// What was handed over so far goes to here.
    Reached(Offsets),
    /// Commit what was handed over so far, and say where outputs stand.
    Cut(Sender<Committed>),
}

/// The running publisher.
pub struct Publisher {
    to: Option<Sender<Message1>>,
    spare: Receiver<Effects>,
    failed: Receiver<Trouble>,
    thread: Option<JoinHandle<()>>,
}

/// Notes where messages came to lie.
#[derive(Default)]
struct Deliveries {
    next: Mutex<BTreeMap<(String, i32), i64>>,
    /// The first message that did not arrive: its topic, and why.
    failed: Mutex<Option<(String, KafkaError)>>,
    /// The topic of the journal, and where it came to lie in it.
    journal: String,
    chain: Mutex<Chain>,
}

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
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        match result {
            Ok(message) => {
                if let Ok(mut next) = self.deliveries.next.lock() {
                    let next =
                        next.entry((message.topic().to_owned(), message.partition())).or_insert(0);
                    *next = (*next).max(message.offset() + 1);
                }
                if message.topic() == self.deliveries.journal
                    && let Ok(mut chain) = self.deliveries.chain.lock()
                {
                    chain.delivered(message.offset());
                }
            }
            Err((error, message)) => {
                if let Ok(mut failed) = self.deliveries.failed.lock() {
                    failed.get_or_insert((message.topic().to_owned(), error.clone()));
                }
            }
        }
    }
}

/// Where a publisher begins.
pub struct Beginning<'a> {
    /// The state does not come from what was taken before.
    pub anew: bool,
    /// What is committed with the mark.
    pub start: Offsets,
    /// What the journal has up to here is to be published again.
    pub at: &'a Offsets,
    /// Where outputs stand.
    pub committed: &'a Committed,
}

/// A producer that has ended its predecessor's last transaction; not publishing yet.
pub struct Prepared {
    producer: BaseProducer<Context>,
    deliveries: Arc<Deliveries>,
    group: QuietConsumer,
    section: KafkaSection,
    /// As the journal names this publisher.
    writer: String,
    epoch: u64,
}

impl Prepared {
    /// Connects, and with transactions waits for the predecessor's last one to be decided or ends it.
    ///
    /// # Errors
    /// When the brokers refuse, or cannot be reached for a minute.
    pub fn new(section: &KafkaSection, epoch: u32) -> Result<Self, Trouble> {
        let journal = section.journal.clone();
        let deliveries = Arc::new(Deliveries { journal, ..Deliveries::default() });
        let notes = deliveries.clone();
        let wrap = |quiet| Context { deliveries: notes, quiet };
        let producer: BaseProducer<Context> = client::create(&client::producer(section), wrap)?;
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
        Ok(Self { producer, deliveries, group, section, writer, epoch })
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
            self.checked("cannot take the journal over", acknowledged(&self.producer))?;
        }
        Ok(())
    }

    /// An outcome, if no message failed either; else the error that was first. Of a transaction the client tells that one only
    /// with the next call that it refuses.
    fn checked(&self, what: &str, outcome: Result<(), KafkaError>) -> Result<(), Trouble> {
        let Self { producer, deliveries, .. } = self;
        producer.poll(if outcome.is_ok() { Duration::ZERO } else { HEARING });
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

    fn journal(&self, entry: Entry, actions: Stood) -> Result<(), Trouble> {
        let record = Record { writer: Some(self.writer.clone()), actions, entry };
        let bytes = serde_json::to_vec(&record).map_err(|e| Trouble::Fatal(e.to_string()))?;
        let record =
            BaseRecord::<[u8], [u8]>::to(&self.section.journal).partition(0).payload(&bytes);
        send_record(&self.producer, record)
    }

    /// Begins to publish; a mark goes to the journal first.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start(
        self,
        finisher: Arc<Finisher>,
        beginning: Beginning<'_>,
        commit_interval: Duration,
        telemetry: Telemetry,
    ) -> Result<Publisher, Trouble> {
        let Beginning { anew, start, at, committed } = beginning;
        if let Ok(mut next) = self.deliveries.next.lock() {
            next.insert((self.section.journal.clone(), 0), committed.journal);
            next.extend(
                committed.actions.iter().map(|(p, o)| ((self.section.actions.clone(), *p), *o)),
            );
        }
        let (to, queue) = bounded(BATCHES_MAX);
        let (give_back, spare) = bounded(BATCHES_MAX);
        let (fail, failed) = bounded(1);
        let at = at.iter().map(|(tp, o)| (tp.topic.clone(), tp.partition, *o)).collect();
        let epoch = self.epoch;
        let mut work = Work {
            prepared: self,
            finisher,
            pending: start,
            buffer: Vec::new(),
            give_back,
            commit_interval,
            first: Some(Entry::Live { epoch, at, anew }),
            stood: Stood::new(),
            produced_ms: Vec::new(),
            telemetry,
        };
        let body = move || {
            if let Err(trouble) = work.run(&queue) {
                // Whatever it was, the transaction that was open is not committed by this process any more.
                work.telemetry.transaction_failed();
                let _ = fail.send(trouble);
            }
        };
        let thread = std::thread::Builder::new().name("publisher".into()).spawn(body);
        let thread = thread.map_err(|e| Trouble::Fatal(format!("cannot start a thread: {e}")))?;
        Ok(Publisher { to: Some(to), spare, failed, thread: Some(thread) })
    }
}

impl Publisher {
    /// An empty set of effects, with memory used before if possible.
    pub fn effects(&self) -> Effects {
        self.spare.try_recv().unwrap_or_default()
    }

    /// Hands a batch over; waits while the publisher is too far behind.
    ///
    /// # Errors
    /// What stopped the publisher.
    pub fn publish(&self, outputs: Outputs) -> Result<(), Trouble> {
        self.send(Message1::Publish(Box::new(outputs)))
    }

    /// From the next batch on, others decide.
    ///
    /// # Errors
    /// What stopped the publisher.
    pub fn decide_by(&self, finisher: Arc<Finisher>) -> Result<(), Trouble> {
        self.send(Message1::DecideBy(finisher))
    }

    /// What was handed over so far without its order goes to here, and is committed as one.
    ///
    /// # Errors
    /// What stopped the publisher.
    pub fn reached(&self, at: Offsets) -> Result<(), Trouble> {
        self.send(Message1::Reached(at))
    }

    /// Asks for a commit of all that was handed over; the answer comes when it is done. A closed channel is a failed publisher.
    ///
    /// # Errors
    /// What stopped the publisher.
    pub fn cut(&self) -> Result<Receiver<Committed>, Trouble> {
        let (reply, answer) = bounded(1);
        self.send(Message1::Cut(reply))?;
        Ok(answer)
    }

    fn send(&self, message: Message1) -> Result<(), Trouble> {
        let sent = self.to.as_ref().is_some_and(|to| to.send(message).is_ok());
        if sent { Ok(()) } else { Err(self.trouble()) }
    }

    /// Batches that wait to be published.
    pub fn waiting(&self) -> usize {
        self.to.as_ref().map_or(0, Sender::len)
    }

    /// Whether the next batch has to wait for room.
    pub fn is_full(&self) -> bool {
        self.to.as_ref().is_some_and(Sender::is_full)
    }

    /// What stopped it.
    pub fn trouble(&self) -> Trouble {
        let ended = || Trouble::StartOver("the publisher ended".into());
        self.failed.recv_timeout(Duration::from_secs(1)).unwrap_or_else(|_| ended())
    }

    /// What stopped it, if something has.
    pub fn has_failed(&self) -> Option<Trouble> {
        self.failed.try_recv().ok()
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.to = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Work {
    prepared: Prepared,
    finisher: Arc<Finisher>,
    /// Next offsets to commit: with transactions those that moved since the last commit; else all, so that one commit mends what a
    /// paused publisher set back.
    pending: Offsets,
    buffer: Vec<u8>,
    give_back: Sender<Effects>,
    commit_interval: Duration,
    first: Option<Entry>,
    /// Where the actions stood when this commit began, until the journal has it.
    stood: Stood,
    /// When the events of the open transaction's actions were produced.
    produced_ms: Vec<i64>,
    telemetry: Telemetry,
}

impl Work {
    fn run(&mut self, queue: &Receiver<Message1>) -> Result<(), Trouble> {
        // The first transaction says where this instance begins, even if no message ever comes.
        self.begin()?;
        if let Some(live) = self.first.take() {
            if self.transactional() {
                self.journal(Entry::Begins { epoch: self.prepared.epoch })?;
            }
            self.journal(live)?;
            self.decides()?;
        }
        self.commit(CommitMode::Sync)?;
        loop {
            let first = match queue.recv_timeout(SERVED_EVERY) {
                Err(RecvTimeoutError::Timeout) => {
                    self.serve();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Ok(first) => first,
            };
            let mut message = match first {
                Message1::Cut(reply) => {
                    let _ = reply.send(self.committed());
                    continue;
                }
                publish => Some(publish),
            };
            self.begin()?;
            let until = Instant::now() + self.commit_interval;
            let mut cut = None;
            loop {
                let mut behind = None;
                match message.take() {
                    Some(Message1::Publish(outputs)) if self.transactional() => {
                        self.produce(*outputs)?;
                    }
                    Some(Message1::Publish(outputs)) => {
                        behind = self.produce_after_the_journal(*outputs, queue)?;
                    }
                    Some(Message1::DecideBy(finisher)) => {
                        self.finisher = finisher;
                        self.decides()?;
                    }
                    Some(Message1::Reached(at)) => {
                        // What comes next says where the actions stand, and that is behind all of these.
                        self.pending.extend(at);
                        break;
                    }
                    Some(Message1::Cut(reply)) => {
                        cut = Some(reply);
                        break;
                    }
                    None => break,
                }
                if behind.is_some() {
                    message = behind;
                    continue;
                }
                // What waits is handed out after the deadline, too, and a backlog would have no end.
                if Instant::now() >= until {
                    break;
                }
                match queue.recv_deadline(until) {
                    Ok(next) => message = Some(next),
                    Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
                }
            }
            // At least once, an answer is waited for only where somebody builds on it: the next commit says more.
            self.commit(if cut.is_some() { CommitMode::Sync } else { CommitMode::Async })?;
            if let Some(reply) = cut {
                let _ = reply.send(self.committed());
            }
        }
    }

    /// Clients that only publish and commit are served here: errors told, tokens renewed.
    fn serve(&self) {
        self.prepared.producer.poll(Duration::ZERO);
        drop(self.prepared.group.poll(Duration::ZERO));
    }

    fn transactional(&self) -> bool {
        self.prepared.section.delivery == Delivery::ExactlyOnce
    }

    fn begin(&mut self) -> Result<(), Trouble> {
        self.serve();
        if self.transactional() {
            let begun = self.prepared.producer.begin_transaction();
            begun.map_err(|e| Trouble::of("cannot begin a transaction", &e))?;
        } else {
            self.stood = self.committed().actions.into_iter().collect();
        }
        Ok(())
    }

    fn commit(&mut self, mode: CommitMode) -> Result<(), Trouble> {
        let begun = Instant::now();
        let Prepared { producer, group, .. } = &self.prepared;
        let trouble = |what: &'static str| move |e: KafkaError| Trouble::of(what, &e);
        let offsets = list(&self.pending).map_err(trouble("cannot name offsets"))?;
        self.arrived()?;
        if self.transactional() {
            if !self.pending.is_empty() {
                let group = group.group_metadata();
                let group = group
                    .ok_or_else(|| Trouble::Fatal("no consumer group is configured".into()))?;
                let sent = producer.send_offsets_to_transaction(&offsets, &group, PATIENCE);
                self.prepared.checked("cannot put offsets into the transaction", sent)?;
            }
            self.prepared.checked("cannot commit", producer.commit_transaction(PATIENCE))?;
            self.pending.clear();
        } else if !self.pending.is_empty() {
            group.commit(&offsets, mode).map_err(trouble("cannot commit offsets"))?;
        }
        self.telemetry.latency(Stage::Publish, begun.elapsed());
        if !self.produced_ms.is_empty() {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            for produced_ms in self.produced_ms.drain(..) {
                let produced = Duration::from_millis(u64::try_from(produced_ms).unwrap_or(0));
                self.telemetry.end_to_end(now.saturating_sub(produced));
            }
        }
        Ok(())
    }

    /// Waits until everything that was sent has arrived; at least once it also sees to it that the journal is still this publisher's.
    fn arrived(&self) -> Result<(), Trouble> {
        let Prepared { producer, deliveries, section, writer, .. } = &self.prepared;
        self.prepared.checked("cannot publish", acknowledged(producer))?;
        if self.transactional() {
            return Ok(());
        }
        let strange = deliveries.chain.lock().ok().and_then(|mut chain| chain.take_strange());
        strange.map_or(Ok(()), |from| fence::look(section, from, writer))
    }

    /// At least once: writes the order of a batch, and of those that wait behind it, and publishes what they led to once that order
    /// is there for good. Whoever takes over publishes the same again, since it takes them in this order. Returns what came behind them.
    fn produce_after_the_journal(
        &mut self,
        first: Outputs,
        queue: &Receiver<Message1>,
    ) -> Result<Option<Message1>, Trouble> {
        let (mut group, mut behind) = (vec![first], None);
        while group.len() < BATCHES_MAX {
            match queue.try_recv() {
                Ok(Message1::Publish(outputs)) => group.push(*outputs),
                Ok(other) => {
                    behind = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        let mut written = false;
        for outputs in &mut group {
            let runs = std::mem::take(&mut outputs.runs);
            if !runs.is_empty() {
                written = true;
                self.took(runs)?;
            }
        }
        if written {
            self.arrived()?;
        }
        group.into_iter().try_for_each(|outputs| self.produce(outputs))?;
        Ok(behind)
    }

    fn took(&mut self, runs: Vec<Run>) -> Result<(), Trouble> {
        for run in &runs {
            self.pending.insert(run.tp(), run.to + 1);
        }
        self.prepared.journal(Entry::Took(runs), std::mem::take(&mut self.stood))
    }

    /// Where outputs stand; right after a commit.
    fn committed(&self) -> Committed {
        let mut committed = Committed::default();
        if let Ok(next) = self.prepared.deliveries.next.lock() {
            for ((topic, partition), offset) in next.iter() {
                if *topic == self.prepared.section.journal {
                    committed.journal = *offset;
                } else if *topic == self.prepared.section.actions {
                    committed.actions.insert(*partition, *offset);
                }
            }
        }
        committed
    }

    fn produce(&mut self, outputs: Outputs) -> Result<(), Trouble> {
        let begun = Instant::now();
        let Outputs { mut effects, dead, runs } = outputs;
        for draft in effects.actions.drain(..) {
            let produced_ms = draft.source().produced_ms;
            if produced_ms > 0 {
                self.produced_ms.push(produced_ms);
            }
            let action = self.finisher.finish(draft);
            self.buffer.clear();
            action.write(&mut self.buffer);
            let headers = cloud_event(&action.action_id, "detector.action.v1", action.at);
            let topic = &self.prepared.section.actions;
            send(
                &self.prepared.producer,
                topic,
                action.account.as_bytes(),
                line(&self.buffer),
                Some(headers),
            )?;
        }
        if let Some(topic) = &self.prepared.section.scores {
            for s in &effects.scores {
                self.buffer.clear();
                write_score(&mut self.buffer, &s.event_id, &s.account, s.ts_ms, s.score);
                send(
                    &self.prepared.producer,
                    topic,
                    s.account.as_bytes(),
                    line(&self.buffer),
                    None,
                )?;
            }
        }
        for letter in &dead {
            let topic = &self.prepared.section.dead_letters;
            let key = letter.key.as_deref().unwrap_or_default();
            send(&self.prepared.producer, topic, key, &letter.original, Some(reasons(letter)))?;
        }
        if !runs.is_empty() {
            self.took(runs)?;
        }
        self.telemetry.latency(Stage::Finish, begun.elapsed());
        effects.clear();
        let _ = self.give_back.try_send(effects);
        Ok(())
    }

    /// Says in the journal what decides.
    fn decides(&self) -> Result<(), Trouble> {
        let versions = self.finisher.versions();
        self.journal(Entry::Decides {
            model: versions.model.clone(),
            policy: versions.policy.clone(),
        })
    }

    fn journal(&self, entry: Entry) -> Result<(), Trouble> {
        self.prepared.journal(entry, Stood::new())
    }
}

/// Waits until every message has arrived, or failed. The client's own `flush` always takes a tenth of a second.
fn acknowledged(producer: &BaseProducer<Context>) -> Result<(), KafkaError> {
    let until = Instant::now() + PATIENCE;
    loop {
        let before = producer.in_flight_count();
        producer.poll(Duration::ZERO);
        match producer.in_flight_count() {
            0 => return Ok(()),
            _ if Instant::now() > until => {
                return Err(KafkaError::Flush(RDKafkaErrorCode::OperationTimedOut));
            }
            now if now == before => std::thread::sleep(LOOK_FOR_ACKS),
            _ => {}
        }
    }
}

fn line(bytes: &[u8]) -> &[u8] {
    bytes.strip_suffix(b"\n").unwrap_or(bytes)
}

fn send(
    producer: &BaseProducer<Context>,
    topic: &str,
    key: &[u8],
    payload: &[u8],
    headers: Option<OwnedHeaders>,
) -> Result<(), Trouble> {
    let mut record = BaseRecord::<[u8], [u8]>::to(topic).payload(payload);
    if !key.is_empty() {
        record = record.key(key);
    }
    if let Some(headers) = headers {
        record = record.headers(headers);
    }
    send_record(producer, record)
}

/// Sends, making room in the client's queue when it is full.
fn send_record(
    producer: &BaseProducer<Context>,
    mut record: BaseRecord<'_, [u8], [u8]>,
) -> Result<(), Trouble> {
    let until = Instant::now() + PATIENCE;
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back))
                if Instant::now() < until =>
            {
                record = back;
                producer.poll(Duration::from_millis(5));
            }
            Err((error, _)) => return Err(Trouble::of("cannot publish", &error)),
        }
    }
}

fn cloud_event(id: &str, kind: &str, at_ms: i64) -> OwnedHeaders {
    let time = jiff::Timestamp::from_millisecond(at_ms).map(|t| t.to_string()).unwrap_or_default();
    [
        ("ce_specversion", "1.0"),
        ("ce_id", id),
        ("ce_type", kind),
        ("ce_source", "detector"),
        ("ce_time", &time),
        ("content-type", "application/json"),
    ]
    .into_iter()
    .fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value) })
    })
}

fn reasons(letter: &DeadMessage) -> OwnedHeaders {
    let Tp { topic, partition } = &letter.tp;
    let truncated = (letter.original.len() as u64) < letter.size;
    let hex: String = letter.sha256.iter().map(|byte| format!("{byte:02x}")).collect();
    [
        ("reason", letter.reject.code.as_str().to_owned()),
        ("detail", letter.reject.detail.clone()),
        ("topic", topic.clone()),
        ("partition", partition.to_string()),
        ("offset", letter.offset.to_string()),
        ("truncated", truncated.to_string()),
        ("size", letter.size.to_string()),
        ("sha256", hex),
    ]
    .iter()
    .fold(OwnedHeaders::new(), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(value) })
    })
}
