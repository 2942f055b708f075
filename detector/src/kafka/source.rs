//! Messages out of Kafka, decoded, in batches, by a thread of their own.

use super::bell::{self, Bell, RingsAtEnd};
use super::client::{QuietConsumer, Trouble};
use super::journal::{self, Offsets, Run, Tp};
use super::stands::Stands;
use crate::registry::{NoJson, Registry};
use crate::telemetry::{Queue, Telemetry};
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded, unbounded};
use engine::Input;
use engine::effects::SourceRef;
use engine::limits::DEAD_LETTER_BYTES_MAX;
use engine::wire::{Decoder, Reject};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Timestamp};
use rdkafka::{Message, Offset, TopicPartitionList};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Messages decoded and stepped together.
pub const BATCH_MESSAGES: usize = 512;
/// Decoded batches that may wait for the engine; beyond that the consumer is not polled, and its own queue fills to its bound.
const BATCHES_MAX: usize = 16;
/// With nothing to read, changes and the stop are looked for this often.
const LOOK_AROUND: Duration = Duration::from_millis(50);
/// One message in so many is timed: looking at the clock costs as much as a good part of one.
const TIMED: usize = 16;

/// A message that could not be read.
#[derive(Debug)]
pub struct DeadMessage {
    /// Why.
    pub reject: Reject,
    /// Where it stood.
    pub tp: Tp,
    /// Where it stood.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its bytes, or their start.
    pub original: Vec<u8>,
    /// Its full length.
    pub size: u64,
    /// SHA-256 of all its bytes.
    pub sha256: [u8; 32],
}

/// Original bytes of the messages that were decoded, for rejects of the engine. One after the other in the same memory: they are seldom
/// looked at, and thrown away by another thread.
#[derive(Debug, Default)]
pub struct Originals {
    bytes: Vec<u8>,
    places: Vec<Place>,
}

/// Where a message's bytes are: its key, if it has one, and behind it its payload.
#[derive(Debug)]
struct Place {
    source: SourceRef,
    from: usize,
    key_bytes: Option<usize>,
    to: usize,
}

impl Originals {
    fn push(&mut self, source: SourceRef, key: Option<&[u8]>, payload: &[u8]) {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(key.unwrap_or_default());
        self.bytes.extend_from_slice(payload);
        let (key_bytes, to) = (key.map(<[u8]>::len), self.bytes.len());
        self.places.push(Place { source, from, key_bytes, to });
    }

    /// Takes those of other messages up, too.
    pub fn append(&mut self, other: &Self) {
        for place in &other.places {
            let (key, payload) = other.of(place);
            self.push(place.source, key, payload);
        }
    }

    fn of(&self, place: &Place) -> (Option<&[u8]>, &[u8]) {
        let (key, payload) =
            self.bytes[place.from..place.to].split_at(place.key_bytes.unwrap_or_default());
        (place.key_bytes.map(|_| key), payload)
    }

    /// The dead letter that a message of the batch becomes.
    pub fn dead(
        &self,
        source: SourceRef,
        topics: &[String],
        reject: Reject,
    ) -> Option<DeadMessage> {
        let place = self.places.iter().find(|place| place.source == source)?;
        let topic = topics.get(usize::from(source.topic).checked_sub(1)?)?.clone();
        let tp = Tp { topic, partition: source.partition };
        let (key, payload) = self.of(place);
        Some(dead(reject, tp, source.offset, key, payload))
    }
}

fn dead(reject: Reject, tp: Tp, offset: i64, key: Option<&[u8]>, payload: &[u8]) -> DeadMessage {
    DeadMessage {
        reject,
        tp,
        offset,
        key: key.map(<[u8]>::to_vec),
        original: payload[..payload.len().min(DEAD_LETTER_BYTES_MAX)].to_vec(),
        size: payload.len() as u64,
        sha256: Sha256::digest(payload).into(),
    }
}

/// What is stepped together.
#[derive(Debug, Default)]
pub struct Batch {
    /// For the engine, in the order taken.
    pub inputs: Vec<Input>,
    /// What was not read.
    pub dead: Vec<DeadMessage>,
    /// Messages with no bytes, which mean nothing here, and what else was passed over.
    pub skipped: u64,
    /// The order taken.
    pub runs: Vec<Run>,
    /// Bytes of the events among `inputs`.
    pub originals: Originals,
    /// When the first message of it was handed out by the client.
    pub begun: Option<Instant>,
    /// How long those took to decode that were timed, and how many that were.
    timed: (Duration, u32),
}

impl Batch {
    /// How long all of them took to decode, going by those that were timed.
    pub fn decoded(&self) -> Duration {
        let (took, timed) = self.timed;
        let messages = u32::try_from(self.inputs.len() + self.dead.len()).unwrap_or(u32::MAX);
        took.checked_div(timed).unwrap_or_default() * messages
    }
}

/// Turns messages into inputs.
pub struct Reader {
    decoder: Arc<Decoder>,
    /// Topics; the first `events` of them carry events, the others labels.
    pub topics: Vec<String>,
    events: usize,
    clock_ahead_max_ms: i64,
    registry: Option<Arc<Registry>>,
    /// Any of these ends a wait for the registry.
    stops: Vec<Arc<AtomicBool>>,
}

impl Reader {
    /// A reader of these topics.
    pub fn new(
        decoder: Arc<Decoder>,
        events: &[String],
        labels: &[String],
        clock_ahead_max_ms: i64,
        registry: Option<Arc<Registry>>,
    ) -> Self {
        let topics = events.iter().chain(labels).cloned().collect();
        let (events, stops) = (events.len(), Vec::new());
        Self { decoder, topics, events, clock_ahead_max_ms, registry, stops }
    }

    /// Gives up a wait for the schema registry once `stop` is set.
    #[must_use]
    pub fn until(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stops.push(stop);
        self
    }

    /// Whether reading this message may have to wait.
    pub fn may_wait(&self, message: &BorrowedMessage<'_>) -> bool {
        let registry = self.registry.as_ref().zip(message.payload());
        registry.is_some_and(|(registry, payload)| registry.asks_for(payload))
    }

    /// Adds a message to a batch. False: it was not added, because its schema was waited for and the wait was given up.
    #[must_use]
    pub fn read(&self, message: &BorrowedMessage<'_>, batch: &mut Batch) -> bool {
        let is_timed = (batch.inputs.len() + batch.dead.len()).is_multiple_of(TIMED);
        let begun = is_timed.then(Instant::now);
        let stop = || self.stops.iter().any(|stop| stop.load(Ordering::Relaxed));
        let json = match (message.payload(), &self.registry) {
            (Some(payload), Some(registry)) => match registry.json(payload, &stop) {
                Ok(json) => Ok(json),
                Err(NoJson::Reject(reject)) => Err(reject),
                Err(NoJson::Stopped) => return false,
            },
            (payload, _) => Ok(Cow::Borrowed(payload.unwrap_or_default())),
        };
        self.take(message, json, batch);
        if let Some(begun) = begun {
            let (took, timed) = batch.timed;
            batch.timed = (took + begun.elapsed(), timed + 1);
        }
        true
    }

    fn take(
        &self,
        message: &BorrowedMessage<'_>,
        json: Result<Cow<'_, [u8]>, Reject>,
        batch: &mut Batch,
    ) {
        let (topic, partition, offset) = (message.topic(), message.partition(), message.offset());
        journal::push(&mut batch.runs, topic, partition, offset);
        batch.begun.get_or_insert_with(Instant::now);
        let Some(payload) = message.payload() else {
            batch.skipped += 1;
            return;
        };
        let number = self.topics.iter().position(|t| t == topic).unwrap_or(usize::MAX);
        let taken_ms = match message.timestamp() {
            Timestamp::CreateTime(ms) | Timestamp::LogAppendTime(ms) if ms >= 0 => Some(ms),
            _ => None,
        };
        let latest_ms = taken_ms.map_or(i64::MAX, |ms| ms.saturating_add(self.clock_ahead_max_ms));
        let json = match json {
            Ok(json) => json,
            Err(reject) => {
                let tp = Tp { topic: topic.into(), partition };
                batch.dead.push(dead(reject, tp, offset, message.key(), payload));
                return;
            }
        };
        let reject = if number < self.events {
            let id = || compact_str::format_compact!("{topic}-{partition}-{offset}");
            match self.decoder.event(&json, id) {
                Ok(mut event) => {
                    let topic = u16::try_from(number + 1).unwrap_or(0);
                    let produced_ms = taken_ms.unwrap_or(0);
                    let source = SourceRef { topic, partition, offset, produced_ms };
                    batch.inputs.push(if event.ts_ms > latest_ms {
                        event.ts_ms = latest_ms;
                        Input::Ahead(event, source)
                    } else {
                        Input::Event(event, source)
                    });
                    batch.originals.push(source, message.key(), payload);
                    return;
                }
                Err(reject) => reject,
            }
        } else {
            match self.decoder.label(&json) {
                Ok(mut label) => {
                    label.ts_ms = label.ts_ms.min(latest_ms);
                    batch.inputs.push(Input::Label(label));
                    return;
                }
                Err(reject) => reject,
            }
        };
        let tp = Tp { topic: topic.into(), partition };
        batch.dead.push(dead(reject, tp, offset, message.key(), payload));
    }
}

/// A list for the client.
pub fn list(offsets: &Offsets) -> Result<TopicPartitionList, KafkaError> {
    let mut list = TopicPartitionList::with_capacity(offsets.len());
    for (tp, offset) in offsets {
        list.add_partition_offset(&tp.topic, tp.partition, Offset::Offset(*offset))?;
    }
    Ok(list)
}

/// Something the source wants to be known.
#[derive(Debug)]
pub enum FromSource {
    /// Messages.
    Batch(Batch),
    /// Some partition cannot be read on, and the client does not say which; the others go on.
    Lost,
    /// It ended.
    Failed(Trouble),
}

/// What is to be read otherwise from now on.
#[derive(Debug)]
pub enum Change {
    /// Partitions more, with the offset of their first message.
    Add(Offsets),
    /// Partitions that are not to be read any more.
    Drop(Vec<Tp>),
    /// The same partitions, taken up once more where they stand.
    Again,
}

/// The running source.
pub struct Source {
    out: Receiver<FromSource>,
    bell: Arc<Bell>,
    /// What is to be read otherwise. Few, and never waited for.
    pub change: Sender<Change>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Source {
    /// Starts to read at these positions.
    ///
    /// # Errors
    /// When the client refuses the assignment or no thread can be made.
    pub fn start(
        consumer: QuietConsumer,
        reader: Reader,
        at: &Offsets,
        telemetry: Telemetry,
    ) -> Result<Self, Trouble> {
        let assigned = list(at).and_then(|list| consumer.assign(&list));
        assigned.map_err(|e| Trouble::of("cannot take the partitions", &e))?;
        let (send, out) = bounded(BATCHES_MAX);
        let (change, changes) = unbounded();
        let stop = Arc::new(AtomicBool::new(false));
        let reader = reader.until(stop.clone());
        let (stopped, mut stands) = (stop.clone(), Stands::new(at.clone()));
        let bell = Arc::new(Bell::default());
        let to = ToEngine { send, bell: RingsAtEnd(bell.clone()), telemetry };
        let body = move || poll(&consumer, &reader, &mut stands, &to, &changes, &stopped);
        let thread = std::thread::Builder::new().name("source".into()).spawn(body);
        let thread = thread.map_err(|e| Trouble::Fatal(format!("cannot start a thread: {e}")))?;
        Ok(Self { out, bell, change, stop, thread: Some(thread) })
    }

    /// What it says next; waits for it for so long at most.
    ///
    /// # Errors
    /// When it says nothing, or has ended.
    pub fn next(&self, most: Duration) -> Result<FromSource, RecvTimeoutError> {
        bell::receive(&self.out, &self.bell, Instant::now() + most)
    }

    /// How much it has said that nobody has taken yet.
    pub fn waiting(&self) -> usize {
        self.out.len()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let (_, closed) = bounded(0);
        self.out = closed;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The way to the engine.
struct ToEngine {
    send: Sender<FromSource>,
    /// Behind the sender: dropped after it.
    bell: RingsAtEnd,
    telemetry: Telemetry,
}

impl ToEngine {
    /// Waits for room where there is none. False: nobody takes anything any more.
    fn send(&self, said: FromSource) -> bool {
        let sent = match self.send.try_send(said) {
            Ok(()) => true,
            Err(TrySendError::Disconnected(_)) => false,
            Err(TrySendError::Full(said)) => {
                let begun = Instant::now();
                let sent = self.send.send(said).is_ok();
                self.telemetry.back_pressure(Queue::Decoded, begun.elapsed());
                sent
            }
        };
        self.bell.ring();
        sent
    }
}

fn poll(
    consumer: &QuietConsumer,
    reader: &Reader,
    stands: &mut Stands,
    to: &ToEngine,
    changes: &Receiver<Change>,
    stop: &AtomicBool,
) {
    let mut batch = Batch::default();
    loop {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        if let Ok(change) = changes.try_recv() {
            let at = stands.all();
            match change {
                Change::Add(more) => at.extend(more),
                Change::Drop(gone) => at.retain(|tp, _| !gone.contains(tp)),
                Change::Again => {}
            }
            let assigned = list(at).and_then(|list| consumer.assign(&list));
            if let Err(e) = assigned {
                to.send(FromSource::Failed(Trouble::of("cannot take the partitions", &e)));
                return;
            }
        }
        // What the client has at hand goes on together; a batch that has begun waits for nothing.
        let wait = if batch.begun.is_none() { LOOK_AROUND } else { Duration::ZERO };
        let polled = consumer.poll(wait);
        let idle = polled.is_none();
        match polled {
            Some(Ok(message)) => {
                match stands.next(message.topic(), message.partition()) {
                    // Left over from before a new assignment.
                    Some(next) if message.offset() < *next => {}
                    Some(next) => {
                        *next = message.offset() + 1;
                        // What came before it waits for nothing.
                        if batch.begun.is_some()
                            && reader.may_wait(&message)
                            && !to.send(FromSource::Batch(std::mem::take(&mut batch)))
                        {
                            return;
                        }
                        if !reader.read(&message, &mut batch) {
                            return;
                        }
                    }
                    None => {}
                }
            }
            Some(Err(error)) => {
                if let Some(said) = failure(&error) {
                    let ends = matches!(said, FromSource::Failed(_));
                    if !to.send(said) || ends {
                        return;
                    }
                }
            }
            None => {}
        }
        let messages = batch.inputs.len() + batch.dead.len();
        let full = messages as u64 + batch.skipped >= BATCH_MESSAGES as u64;
        if (full || idle && batch.begun.is_some())
            && !to.send(FromSource::Batch(std::mem::take(&mut batch)))
        {
            return;
        }
    }
}

/// What an error of the client means; `None` when the client goes on by itself.
fn failure(error: &KafkaError) -> Option<FromSource> {
    match error {
        KafkaError::PartitionEOF(_) => None,
        error if is_out_of_range(error) => Some(FromSource::Lost),
        error if is_passing(error) => {
            tracing::warn!(error = %error, "kafka is not reachable; trying on");
            None
        }
        other => Some(FromSource::Failed(Trouble::of("cannot read", other))),
    }
}

/// Whether an offset that is to be read does not exist, or not any more.
pub fn is_out_of_range(error: &KafkaError) -> bool {
    matches!(
        error,
        KafkaError::MessageConsumption(
            RDKafkaErrorCode::AutoOffsetReset
                | RDKafkaErrorCode::OffsetOutOfRange
                | RDKafkaErrorCode::LogTruncation
        )
    )
}

/// Whether the client mends it by itself: the end of a partition, and brokers that cannot be reached now.
pub fn is_passing(error: &KafkaError) -> bool {
    match error {
        KafkaError::PartitionEOF(_) => true,
        KafkaError::MessageConsumption(code) => matches!(
            code,
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::CoordinatorLoadInProgress
                | RDKafkaErrorCode::CoordinatorNotAvailable
                | RDKafkaErrorCode::NotCoordinator
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine::wire::RejectCode;

    #[test]
    fn an_original_is_found_by_its_topic_too() {
        let topics = ["one".to_owned(), "two".to_owned()];
        let at = |topic| SourceRef { topic, partition: 3, offset: 7, produced_ms: 1 };
        let mut first = Originals::default();
        first.push(at(1), None, b"good");
        let mut originals = Originals::default();
        originals.push(at(2), Some(b"key"), b"bad");
        originals.append(&first);
        let reject = || Reject::new(RejectCode::TsJump, String::new());
        let dead = originals.dead(at(2), &topics, reject()).expect("it is there");
        assert_eq!((dead.tp.topic.as_str(), dead.offset, &*dead.original), ("two", 7, &b"bad"[..]));
        assert_eq!(dead.key.as_deref(), Some(&b"key"[..]));
        let dead = originals.dead(at(1), &topics, reject()).expect("it is there");
        assert_eq!((dead.key, &*dead.original), (None, &b"good"[..]));
        assert!(originals.dead(at(3), &topics, reject()).is_none());
    }
}
