//! The source's thread: polls, decodes, and hands batches to the engine. Nothing about one partition holds back another: one that cannot
//! be read stops, and one that waits for a schema is kept aside.

use super::bell::RingsAtEnd;
use super::client::Trouble;
use super::fetcher::{FetchError, Fetcher};
use super::held::Held;
use super::journal::{Offsets, Tp};
use super::outcome::Outcome;
use super::source::{Batch, Change, FromSource, Incoming, Reader, Stop, Why};
use super::stands::Stands;
use crate::registry::Pending;
use crate::telemetry::{Queue, Telemetry};
use crossbeam_channel::{Receiver, Sender, TrySendError};
use rdkafka::error::KafkaResult;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// With nothing to read, changes and the stop are checked this often.
const CHECK_EVERY: Duration = Duration::from_millis(50);
/// While a partition waits for a schema, its answer is looked for this often.
const ANSWER_EVERY: Duration = Duration::from_millis(5);
/// A partition that waits for a schema counts as stopped after this.
const SCHEMA_WAIT_MAX: Duration = Duration::from_secs(10);
/// While the client retries, the log says so this often.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// The way to the engine.
pub(super) struct ToEngine {
    send: Sender<FromSource>,
    /// Behind the sender: dropped after it.
    bell: RingsAtEnd,
    telemetry: Telemetry,
}

/// Nobody takes anything any more.
struct Ended;

impl ToEngine {
    pub(super) fn new(send: Sender<FromSource>, bell: RingsAtEnd, telemetry: Telemetry) -> Self {
        Self { send, bell, telemetry }
    }

    /// Waits for room where there is none.
    fn send(&self, said: FromSource) -> Result<(), Ended> {
        let sent = match self.send.try_send(said) {
            Ok(()) => Ok(()),
            Err(TrySendError::Disconnected(_)) => Err(Ended),
            Err(TrySendError::Full(said)) => {
                let begun = Instant::now();
                let sent = self.send.send(said).map_err(|_| Ended);
                self.telemetry.back_pressure(Queue::Decoded, begun.elapsed());
                sent
            }
        };
        self.bell.ring();
        sent
    }
}

/// What the thread has.
pub(super) struct Polling {
    fetcher: Fetcher,
    reader: Reader,
    /// Partitions that are read, with the offset to fetch next.
    stands: Stands,
    /// Partitions of these that wait for a schema, with what was fetched of them.
    held: BTreeMap<Tp, Held>,
    /// Answers of the registry when the held ones were tried last.
    answers: u64,
    batch: Batch,
    to: ToEngine,
    changes: Receiver<Change>,
    stop: Arc<AtomicBool>,
    said: Option<Instant>,
}

impl Polling {
    pub(super) fn new(
        fetcher: Fetcher,
        reader: Reader,
        at: Offsets,
        to: ToEngine,
        changes: Receiver<Change>,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let (stands, held) = (Stands::new(at), BTreeMap::new());
        let batch = Batch::default();
        Self { fetcher, reader, stands, held, answers: 0, batch, to, changes, stop, said: None }
    }

    pub(super) fn run(mut self) {
        while !self.stop.load(Ordering::Relaxed) {
            if self.turn().is_err() {
                return;
            }
        }
    }

    fn turn(&mut self) -> Result<(), Ended> {
        self.change()?;
        self.release()?;
        // What the client has at hand is stepped together; a batch that has begun waits for nothing.
        let wait = match (self.batch.begun, self.held.is_empty()) {
            (Some(_), _) => Duration::ZERO,
            (None, true) => CHECK_EVERY,
            (None, false) => ANSWER_EVERY,
        };
        let idle = match self.fetcher.poll(wait) {
            Some(Ok(message)) => {
                let incoming = Incoming::of(&message);
                let kept = match self.stands.next(incoming.topic, incoming.partition) {
                    // Of a partition that stopped or was dropped.
                    Some(next) if incoming.offset >= *next => {
                        *next = incoming.offset + 1;
                        keep(&self.reader, &mut self.held, &incoming, &mut self.batch)
                    }
                    _ => false,
                };
                let tp = kept.then(|| incoming.tp());
                drop(message);
                let paused = tp.map_or(Ok(()), |tp| self.pause_if_full(&tp));
                self.or_failed("cannot hold a partition back", paused)?;
                false
            }
            Some(Err(error)) => {
                self.error(error)?;
                false
            }
            None => true,
        };
        if self.batch.is_full() || idle && self.batch.begun.is_some() {
            flush(&self.to, &mut self.batch)?;
        }
        Ok(())
    }

    /// Says that the source has failed, if it has.
    fn or_failed(&self, what: &str, outcome: KafkaResult<()>) -> Result<(), Ended> {
        outcome.or_else(|e| self.fail(Trouble::of(what, &e)))
    }

    fn fail(&self, trouble: Trouble) -> Result<(), Ended> {
        self.to.send(FromSource::Failed(trouble))?;
        Err(Ended)
    }

    /// Takes the changes that wait, all new offsets at once: each time a partition is read from another one, the client is replaced.
    fn change(&mut self) -> Result<(), Ended> {
        let mut more = BTreeSet::new();
        while let Ok(change) = self.changes.try_recv() {
            let all = self.stands.all();
            match change {
                Change::Add(at) => {
                    for (tp, at) in at {
                        // A partition that is read keeps its position: batches of it may be queued that the engine has not seen.
                        all.entry(tp.clone()).or_insert(at);
                        more.insert(tp);
                    }
                }
                Change::Drop(gone) => {
                    more.retain(|tp| !gone.contains(tp));
                    self.held.retain(|tp, _| !gone.contains(tp));
                    all.retain(|tp, _| !gone.contains(tp));
                    let paused = self.fetcher.pause(&gone);
                    self.or_failed("cannot hold a partition back", paused)?;
                    flush(&self.to, &mut self.batch)?;
                    self.to.send(FromSource::Dropped(gone))?;
                }
            }
        }
        if more.is_empty() {
            return Ok(());
        }
        let all = self.stands.all();
        // Of one that waits for a schema, what follows is read once that is known.
        let is_read = |tp: &Tp| more.contains(tp) && !self.held.contains_key(tp);
        let from = all.iter().filter(|(tp, _)| is_read(tp)).map(|(tp, at)| (tp.clone(), *at));
        let taken = self.fetcher.read_from(&from.collect(), all);
        taken.or_else(|trouble| self.fail(trouble))
    }

    fn pause_if_full(&mut self, tp: &Tp) -> KafkaResult<()> {
        let held = self.held.get_mut(tp);
        match held.is_some_and(Held::is_full_for_the_first_time) {
            true => self.fetcher.pause(std::slice::from_ref(tp)),
            false => Ok(()),
        }
    }

    /// Reads what waited and need not wait any more.
    fn release(&mut self) -> Result<(), Ended> {
        if self.held.is_empty() {
            return Ok(());
        }
        let answers = self.reader.answers();
        let is_answered = std::mem::replace(&mut self.answers, answers) != answers;
        let mut free = Vec::new();
        for (tp, held) in &mut self.held {
            if !is_answered && !held.is_due(SCHEMA_WAIT_MAX) {
                continue;
            }
            loop {
                let Some(message) = held.front(tp) else {
                    free.push(tp.clone());
                    break;
                };
                let at = message.offset;
                match self.reader.read(&message, &mut self.batch) {
                    Ok(()) => held.pop(),
                    Err(pending) => {
                        if let Some(why) = held.waits_too_long(at, &pending, SCHEMA_WAIT_MAX) {
                            flush(&self.to, &mut self.batch)?;
                            let stop = Stop { tp: tp.clone(), at, why };
                            self.to.send(FromSource::Stopped(stop))?;
                        }
                        break;
                    }
                }
                if self.batch.is_full() {
                    flush(&self.to, &mut self.batch)?;
                }
            }
        }
        for tp in free {
            let Some(held) = self.held.remove(&tp) else { continue };
            let resumed = if held.is_paused() {
                self.fetcher.resume(std::slice::from_ref(&tp))
            } else {
                Ok(())
            };
            self.or_failed("cannot read a partition on", resumed)?;
            if let Some(error) = held.into_end() {
                self.stopped(&tp, error)?;
            }
        }
        Ok(())
    }

    fn error(&mut self, error: FetchError) -> Result<(), Ended> {
        match (error.outcome(), error.of.clone()) {
            (Outcome::Retried, _) => {
                // What is about the client itself, it has said already.
                let is_due = self.said.is_none_or(|said| said.elapsed() > SAY_EVERY);
                if !error.is_end() && error.of.is_some() && is_due {
                    self.said = Some(Instant::now());
                    tracing::warn!(
                        event = "kafka_retried",
                        code = ?error.code,
                        reason = error.reason,
                        "kafka client retries"
                    );
                }
                Ok(())
            }
            (Outcome::OutOfRange | Outcome::Unreadable | Outcome::Unusable, Some((tp, offset))) => {
                let Some(next) = self.stands.next(&tp.topic, tp.partition) else { return Ok(()) };
                // Of an offset that was passed since: left over from before a new assignment.
                if error.outcome() == Outcome::OutOfRange && offset.is_some_and(|at| at < *next) {
                    return Ok(());
                }
                match self.held.get_mut(&tp) {
                    // What was fetched before it comes first.
                    Some(held) => {
                        held.ends(error);
                        let paused = self.fetcher.pause(&[tp]);
                        self.or_failed("cannot hold a partition back", paused)
                    }
                    None => self.stopped(&tp, error),
                }
            }
            _ => self.fail(error.trouble("cannot read")),
        }
    }

    /// A partition is not read on; what was read of it goes out first.
    fn stopped(&mut self, tp: &Tp, error: FetchError) -> Result<(), Ended> {
        let Some(next) = self.stands.all().remove(tp) else { return Ok(()) };
        let paused = self.fetcher.pause(std::slice::from_ref(tp));
        self.or_failed("cannot hold a partition back", paused)?;
        flush(&self.to, &mut self.batch)?;
        let named = error.of.as_ref().and_then(|(_, offset)| *offset);
        let at = self.fetcher.place(tp, named, next);
        let stop = Stop { tp: tp.clone(), at, why: Why::Kafka(error) };
        self.to.send(FromSource::Stopped(stop))
    }
}

/// Hands over what was read so far.
fn flush(to: &ToEngine, batch: &mut Batch) -> Result<(), Ended> {
    if batch.begun.is_none() {
        return Ok(());
    }
    to.send(FromSource::Batch(std::mem::take(batch)))
}

/// Reads a message, or keeps it until its schema is known. True: it was kept.
fn keep(
    reader: &Reader,
    held: &mut BTreeMap<Tp, Held>,
    message: &Incoming<'_>,
    batch: &mut Batch,
) -> bool {
    // Few partitions wait, most of the time none.
    let waits = (!held.is_empty()).then(|| held.get_mut(&message.tp())).flatten();
    if let Some(waits) = waits {
        reader.announce(message);
        waits.push(message);
        return true;
    }
    let Err(Pending { .. }) = reader.read(message, batch) else { return false };
    held.entry(message.tp()).or_default().push(message);
    true
}
