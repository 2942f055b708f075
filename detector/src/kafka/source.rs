//! Messages out of Kafka, decoded, in batches, by a thread of their own.

use super::bell::{self, Bell, RingsAtEnd};
use super::client::Trouble;
use super::fetcher::{FetchError, Fetched, Fetcher};
use super::journal::{self, Offsets, Run, Tp};
use super::polling::{Polling, ToEngine};
use crate::registry::{NoJson, Pending, Registry};
use crate::telemetry::Telemetry;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use engine::Input;
use engine::effects::SourceRef;
use engine::limits::DEAD_LETTER_BYTES_MAX;
use engine::wire::{Decoder, Faults, Reject};
use rdkafka::error::KafkaError;
use rdkafka::{Offset, TopicPartitionList};
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

/// What becomes of a message that could not be read.
pub fn dead(
    reject: Reject,
    tp: Tp,
    offset: i64,
    key: Option<&[u8]>,
    payload: &[u8],
) -> DeadMessage {
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
    /// What could not be read of messages that were taken; see [`Batch::place`].
    pub faults: Faults,
    /// When the first message of it was handed out by the client.
    pub begun: Option<Instant>,
    /// How long those took to decode that were timed, and how many that were.
    timed: (Duration, u32),
}

impl Batch {
    /// The message that a place among its faults stands for: its run, and its offset.
    pub fn place(&self, place: u64) -> Option<(&Run, i64)> {
        let run = self.runs.get((place >> 32) as usize)?;
        Some((run, run.from + (place & u64::from(u32::MAX)) as i64))
    }

    /// The next message begins; it is the last one of the runs.
    fn begin_faults(&mut self, offset: i64) {
        let run = self.runs.len().saturating_sub(1);
        let from = self.runs.get(run).map_or(offset, |run| run.from);
        let behind = u64::try_from(offset - from).unwrap_or(0);
        self.faults.begin((run as u64) << 32 | behind.min(u32::MAX.into()));
    }

    /// Whether it is to be stepped before more is added.
    pub fn is_full(&self) -> bool {
        let messages = self.inputs.len() + self.dead.len();
        messages as u64 + self.skipped >= BATCH_MESSAGES as u64
    }

    /// How long all of them took to decode, going by those that were timed.
    pub fn decoded(&self) -> Duration {
        let (took, timed) = self.timed;
        let messages = u32::try_from(self.inputs.len() + self.dead.len()).unwrap_or(u32::MAX);
        took.checked_div(timed).unwrap_or_default() * messages
    }
}

/// A message, in the memory of the client or a copy.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Topic.
    pub topic: &'a str,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Key, if it has one.
    pub key: Option<&'a [u8]>,
    /// Payload, if it has one.
    pub payload: Option<&'a [u8]>,
    /// Its time as Kafka has it, in milliseconds since the epoch.
    pub taken_ms: Option<i64>,
}

impl<'a> Incoming<'a> {
    /// A message in the client's memory.
    pub fn of(message: &'a Fetched<'_>) -> Self {
        Self {
            topic: message.topic(),
            partition: message.partition(),
            offset: message.offset(),
            key: message.key(),
            payload: message.payload(),
            taken_ms: message.timestamp_ms(),
        }
    }

    /// Topic and partition.
    pub fn tp(&self) -> Tp {
        Tp { topic: self.topic.into(), partition: self.partition }
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
        let events = events.len();
        Self { decoder, topics, events, clock_ahead_max_ms, registry }
    }

    /// Counts the answers of the schema registry: after another one, what waited may be read.
    pub fn answers(&self) -> u64 {
        self.registry.as_ref().map_or(0, |registry| registry.answers())
    }

    /// Has the schema of a message asked for that has to wait for others before it.
    pub fn announce(&self, message: &Incoming<'_>) {
        if let (Some(payload), Some(registry)) = (message.payload, &self.registry) {
            registry.announce(payload);
        }
    }

    /// Adds a message to a batch; it is not added while its schema is not known. Never waits.
    ///
    /// # Errors
    /// Since when its schema is asked for, and why there is no answer.
    pub fn read(&self, message: &Incoming<'_>, batch: &mut Batch) -> Result<(), Pending> {
        let is_timed = (batch.inputs.len() + batch.dead.len()).is_multiple_of(TIMED);
        let begun = is_timed.then(Instant::now);
        let json = match (message.payload, &self.registry) {
            (Some(payload), Some(registry)) => match registry.json(payload) {
                Ok(json) => Ok(json),
                Err(NoJson::Reject(reject)) => Err(reject),
                Err(NoJson::Pending(pending)) => return Err(pending),
            },
            (payload, _) => Ok(Cow::Borrowed(payload.unwrap_or_default())),
        };
        self.take(message, json, batch);
        if let Some(begun) = begun {
            let (took, timed) = batch.timed;
            batch.timed = (took + begun.elapsed(), timed + 1);
        }
        Ok(())
    }

    fn take(&self, message: &Incoming<'_>, json: Result<Cow<'_, [u8]>, Reject>, batch: &mut Batch) {
        let Incoming { topic, partition, offset, key, taken_ms, .. } = *message;
        journal::push(&mut batch.runs, topic, partition, offset);
        batch.begun.get_or_insert_with(Instant::now);
        batch.begin_faults(offset);
        let Some(payload) = message.payload else {
            batch.skipped += 1;
            return;
        };
        let number = self.topics.iter().position(|t| t == topic).unwrap_or(usize::MAX);
        let latest_ms = taken_ms.map_or(i64::MAX, |ms| ms.saturating_add(self.clock_ahead_max_ms));
        let json = match json {
            Ok(json) => json,
            Err(reject) => {
                let tp = Tp { topic: topic.into(), partition };
                batch.dead.push(dead(reject, tp, offset, key, payload));
                return;
            }
        };
        let reject = if number < self.events {
            let id = || compact_str::format_compact!("{topic}-{partition}-{offset}");
            match self.decoder.count_event(&json, id, &mut batch.faults) {
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
                    batch.originals.push(source, key, payload);
                    return;
                }
                Err(reject) => reject,
            }
        } else {
            match self.decoder.count_label(&json, &mut batch.faults) {
                Ok(mut label) => {
                    label.ts_ms = label.ts_ms.min(latest_ms);
                    batch.inputs.push(Input::Label(label));
                    return;
                }
                Err(reject) => reject,
            }
        };
        let tp = Tp { topic: topic.into(), partition };
        batch.dead.push(dead(reject, tp, offset, key, payload));
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

/// A partition that cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// Which.
    pub tp: Tp,
    /// The offset that cannot be read. Everything before it was taken.
    pub at: i64,
    /// Why.
    pub why: Why,
}

/// Why a partition cannot be read on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// The client says so; it sends nothing of the partition any more.
    Kafka(FetchError),
    /// The message's schema is asked for and there is no answer. It is read once there is one.
    Schema(String),
}

/// Something the source wants to be known.
#[derive(Debug)]
pub enum FromSource {
    /// Messages.
    Batch(Batch),
    /// A partition stopped; the others are read. Once a batch has messages of it, it is read on.
    Stopped(Stop),
    /// Nothing of these partitions comes any more, as asked for.
    Dropped(Vec<Tp>),
    /// It ended.
    Failed(Trouble),
}

/// What is to be read otherwise from now on.
#[derive(Debug)]
pub enum Change {
    /// Partitions that are new or stopped, with the offset to take next. Those that are read already are asked for once more.
    Add(Offsets),
    /// Partitions that are not to be read any more. [`FromSource::Dropped`] says when nothing of them is on its way.
    Drop(Vec<Tp>),
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
        mut fetcher: Fetcher,
        reader: Reader,
        at: &Offsets,
        telemetry: Telemetry,
    ) -> Result<Self, Trouble> {
        fetcher.assign(at)?;
        let (send, out) = bounded(BATCHES_MAX);
        let (change, changes) = unbounded();
        let stop = Arc::new(AtomicBool::new(false));
        let bell = Arc::new(Bell::default());
        let to = ToEngine::new(send, RingsAtEnd(bell.clone()), telemetry);
        let polling = Polling::new(fetcher, reader, at.clone(), to, changes, stop.clone());
        let thread = std::thread::Builder::new().name("source".into()).spawn(|| polling.run());
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
