//! A state that is not that of a checkpoint, on a person's word: empty, or made anew from what the topics still hold.

use super::position::Detail;
use super::published::Actions;
use super::start::ends;
use super::{Around, Begin, Settings, Stop, names, position};
use crate::kafka::client::{self, Trouble};
use crate::kafka::fetcher::{FetchError, Fetched, Fetcher};
use crate::kafka::journal::{Entry, Offsets, Record, Run, Tp};
use crate::kafka::outcome::Outcome;
use crate::kafka::passage;
use crate::kafka::publish::Committed;
use crate::kafka::signature::Signing;
use crate::kafka::source::{Batch, Incoming, Reader};
use crate::kafka::tail::Tail;
use crate::kafka::topics::Topics;
use crate::store::redis::{Shards, Store};
use engine::effects::Effects;
use engine::{Engine, Input, Wanted};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

/// Messages of one partition that may wait for those of another; beyond that it is paused.
const WAITING_MAX: usize = 4096;
/// A partition's next message comes no later than the earliest of this many: one whose time is ahead does not hold back those
/// behind it.
const IN_TIME: usize = 16;
/// While a message waits for its schema, the answer is looked for this often.
const ANSWER_EVERY: Duration = Duration::from_millis(20);
/// Longest silence of the brokers.
const PATIENCE: Duration = Duration::from_secs(30);

/// Removes what Redis holds, makes the state that was asked for, and makes it a checkpoint at O. Before that, a checkpoint says what is
/// going on: whoever is ended in between leaves no empty state that the next one takes for good.
///
/// # Errors
/// When Kafka or Redis fail; then it is to be asked for again.
#[expect(clippy::too_many_arguments, reason = "each is another thing")]
pub fn begin<S: Shards>(
    settings: &Settings,
    (begin, before): (Begin, Option<Signing>),
    store: &mut Store<S>,
    topics: &Topics,
    begins: &Offsets,
    committed: Offsets,
    of: Detail,
    around: &Around,
    stop: &Stop,
) -> Result<(Engine, Offsets, Committed), Trouble> {
    let erased = store.erase_all()?;
    tracing::warn!(records = erased, "the state in Redis was removed, as asked for");
    let mut at = begins.clone();
    at.extend(committed);
    for (tp, next) in &mut at {
        let (low, high) = topics.bounds(tp)?;
        if *next < low || *next > high {
            let from = if *next < low { low } else { high };
            tracing::warn!(
                partition = %tp,
                "was committed up to {next} and holds {low} to {high}: going on at {from}; what is gone is gone"
            );
            *next = from;
        }
    }
    let mut engine = settings.engine()?;
    engine.look_up_by(rand::random());
    engine.name_forgotten();
    let said = |engine: &Engine, outputs: &Committed, unfinished| {
        let (born, writer, signing) = (of.born, of.writer.clone(), of.signing.clone());
        let detail = Detail { born, writer, signing, unfinished, ..Detail::of(engine) };
        position::position(&at, outputs, detail)
    };
    store.first_checkpoint(&said(&engine, &ends(topics, settings)?, begin == Begin::Rebuild))?;
    if begin == Begin::Rebuild {
        let passed = passed_over(settings, topics)?;
        let messages = take(settings, &mut engine, begins, &at, &passed, around, stop)?;
        tracing::info!(messages, "the state is made anew from what the topics hold");
        let mut actions =
            Actions::from_the_first(settings, topics, before.as_ref(), &around.telemetry)?;
        if actions.verifier().is_blind() {
            tracing::warn!(
                event = "unchecked_actions",
                "actions restored without a check: the secret that signed them is not in Redis"
            );
        }
        actions.take_all(&mut engine, topics, None)?;
    }
    let outputs = ends(topics, settings)?;
    let position = said(&engine, &outputs, false);
    let mut records = Vec::new();
    engine.save_named(&mut |name, value| records.push((names::of_store(&name), value)));
    store.checkpoint(&position, records)?;
    Ok((engine, at, outputs))
}

/// What was passed over on a person's word, as far as the journal still says so.
fn passed_over(settings: &Settings, topics: &Topics) -> Result<Vec<Run>, Trouble> {
    let tp = Tp { topic: settings.kafka.journal.clone(), partition: 0 };
    let (low, _) = topics.bounds(&tp)?;
    let mut passed = Vec::new();
    let mut each = |_: &Tp, message: &Fetched<'_>| {
        // What is no journal says nothing here: the order does not matter.
        if let Ok(Record { entry: Entry::Took(runs), .. }) =
            Record::read(message.payload().unwrap_or_default())
        {
            passed.extend(runs.into_iter().filter(Run::is_passed_over));
        }
    };
    let tail = Tail::start(&settings.kafka, topics, [(tp, low)].into());
    match tail.and_then(|mut tail| tail.to_end(topics, &mut each)) {
        // A damaged journal is a reason to rebuild, not one against it.
        Err(Trouble::Fatal(why)) => {
            tracing::error!(
                event = "journal_unreadable",
                error = why,
                "what was skipped behind this is not known"
            );
        }
        read => read?,
    }
    Ok(passed)
}

/// Reads all partitions, as far as they are to be read.
struct Taking<'a> {
    settings: &'a Settings,
    fetcher: Fetcher,
    /// Offset to fetch next, of partitions that are not at their end.
    open: Offsets,
    until: &'a Offsets,
    passed: &'a [Run],
    waiting: BTreeMap<Tp, VecDeque<Batch>>,
    paused: BTreeSet<Tp>,
    reader: Reader,
    heard: Instant,
}

/// Takes all messages from `from` to `until`, of all partitions in the order of their times. What cannot be read is passed over: the
/// state is made from what can.
fn take(
    settings: &Settings,
    engine: &mut Engine,
    from: &Offsets,
    until: &Offsets,
    passed: &[Run],
    around: &Around,
    stop: &Stop,
) -> Result<u64, Trouble> {
    let mut open: Offsets = from.clone();
    open.retain(|tp, next| until.get(tp).is_some_and(|end| *next < *end));
    if open.is_empty() {
        return Ok(0);
    }
    let wanted = engine.wanted();
    engine.want(Wanted { state_only: true, ..Wanted::default() });
    let mut fetcher = Fetcher::new(&client::reader(&settings.kafka))?;
    fetcher.assign(&open)?;
    let (reader, heard) = (settings.reader(engine), Instant::now());
    let (waiting, paused) = (BTreeMap::new(), BTreeSet::new());
    let mut taking =
        Taking { settings, fetcher, open, until, passed, waiting, paused, reader, heard };
    let (mut effects, mut done) = (Effects::default(), 0u64);
    loop {
        is_asked_to_stop(stop)?;
        while let Some(batch) = taking.next()? {
            engine.step(batch.inputs, &mut effects);
            effects.clear();
            done += 1;
            if done.is_multiple_of(4096) {
                around.health.beat();
                around.telemetry.replay(done, done);
            }
        }
        if taking.is_done() {
            break;
        }
        taking.poll(around, stop)?;
    }
    engine.want(wanted);
    Ok(done)
}

fn is_asked_to_stop(stop: &Stop) -> Result<(), Trouble> {
    match stop.asked() {
        true => Err(Trouble::Fatal(
            "stopped while the state was rebuilt; the next start continues".into(),
        )),
        false => Ok(()),
    }
}

impl Taking<'_> {
    fn is_done(&self) -> bool {
        self.open.is_empty() && self.waiting.values().all(VecDeque::is_empty)
    }

    /// The next in time, which is known once every partition that is not at its end shows as many messages as are looked at: what was
    /// fetched by chance decides nothing.
    fn next(&mut self) -> Result<Option<Batch>, Trouble> {
        let shows = |tp| self.waiting.get(tp).is_some_and(|queue| queue.len() >= IN_TIME);
        if !self.open.keys().all(shows) {
            return Ok(None);
        }
        let shown = self.waiting.iter_mut().filter(|(_, queue)| !queue.is_empty());
        let next = shown.min_by_key(|(_, queue)| queue.iter().take(IN_TIME).map(time).min());
        let Some((tp, queue)) = next else { return Ok(None) };
        let batch = queue.pop_front();
        if queue.len() < WAITING_MAX / 2 && self.paused.remove(tp) {
            self.fetcher
                .resume(std::slice::from_ref(tp))
                .map_err(|e| Trouble::of("cannot read on", &e))?;
        }
        Ok(batch)
    }

    fn poll(&mut self, around: &Around, stop: &Stop) -> Result<(), Trouble> {
        match self.fetcher.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                self.heard = Instant::now();
                let incoming = Incoming::of(&message);
                let (tp, offset) = (incoming.tp(), incoming.offset);
                let Some(end) = self.until.get(&tp).copied() else { return Ok(()) };
                // At its end, and read on by the client.
                if !self.open.contains_key(&tp) {
                    return Ok(());
                }
                let is_passed = |run: &Run| {
                    run.p == tp.partition
                        && run.t == tp.topic
                        && (run.from..=run.to).contains(&offset)
                };
                if offset < end && !self.passed.iter().any(is_passed) {
                    let batch = read(&self.reader, &incoming, around, stop)?;
                    drop(message);
                    let queue = self.waiting.entry(tp.clone()).or_default();
                    queue.push_back(batch);
                    if queue.len() > WAITING_MAX && self.paused.insert(tp.clone()) {
                        let paused = self.fetcher.pause(std::slice::from_ref(&tp));
                        paused.map_err(|e| Trouble::of("cannot pause", &e))?;
                    }
                }
                self.reached(&tp, offset + 1);
                Ok(())
            }
            // Behind the last message there may be only marks of transactions.
            Some(Err(error)) if error.is_end() => {
                self.heard = Instant::now();
                if let Some((tp, Some(end))) = error.of {
                    self.reached(&tp, end);
                }
                Ok(())
            }
            Some(Err(error)) => self.failed(error),
            None if self.heard.elapsed() > PATIENCE
                && self.open.keys().any(|tp| !self.paused.contains(tp)) =>
            {
                Err(Trouble::StartOver(
                    "the brokers sent nothing for 30 s while the state was made anew".into(),
                ))
            }
            None => Ok(()),
        }
    }

    /// Everything of a partition before `next` was fetched.
    fn reached(&mut self, tp: &Tp, next: i64) {
        let end = self.until.get(tp).copied().unwrap_or(i64::MAX);
        if next >= end {
            self.open.remove(tp);
        } else if let Some(known) = self.open.get_mut(tp) {
            *known = (*known).max(next);
        }
    }

    fn failed(&mut self, error: FetchError) -> Result<(), Trouble> {
        match (error.outcome(), error.of.clone()) {
            (Outcome::Retried, _) => Ok(()),
            (Outcome::OutOfRange | Outcome::Unreadable, Some((tp, offset))) => {
                let Some(next) = self.open.get(&tp).copied() else { return Ok(()) };
                let at = self.fetcher.place(&tp, offset, next);
                let behind = passage::behind(&self.settings.kafka, &tp, at)?;
                tracing::error!(
                    event = "offsets_unreadable",
                    partition = %tp,
                    from = at,
                    to = behind - 1,
                    code = ?error.code,
                    reason = error.reason,
                    "the rebuilt state lacks what cannot be read"
                );
                self.reached(&tp, behind);
                self.heard = Instant::now();
                // A partition that is at its end is none that is read on.
                let from = self.open.get(&tp).map(|next| (tp, *next)).into_iter().collect();
                self.fetcher.read_from(&from, &self.open)
            }
            _ => Err(error.trouble("cannot read again")),
        }
    }
}

/// A message, decoded; its schema is waited for.
fn read(
    reader: &Reader,
    message: &Incoming<'_>,
    around: &Around,
    stop: &Stop,
) -> Result<Batch, Trouble> {
    let mut batch = Batch::default();
    while reader.read(message, &mut batch).is_err() {
        is_asked_to_stop(stop)?;
        around.health.beat();
        std::thread::sleep(ANSWER_EVERY);
    }
    Ok(batch)
}

/// The moment that a message stands for; what says nothing comes at once.
fn time(batch: &Batch) -> i64 {
    match batch.inputs.first() {
        Some(Input::Event(event, _)) => event.ts_ms,
        Some(Input::Label(label)) => label.ts_ms,
        // Its time says nothing of its place in the stream.
        Some(Input::Ahead(..)) | None => i64::MIN,
    }
}
