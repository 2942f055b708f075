//! A state that is not that of a checkpoint, on a person's word: empty, or made anew from what the topics still hold.

use super::position::Detail;
use super::published::Actions;
use super::start::ends;
use super::{Around, Begin, Settings, Stop, names, position};
use crate::kafka::client::{self, QuietConsumer, Trouble};
use crate::kafka::journal::{Offsets, Tp};
use crate::kafka::publish::Committed;
use crate::kafka::source::{self, Batch};
use crate::kafka::topics::Topics;
use crate::store::redis::{Shards, Store};
use engine::effects::Effects;
use engine::{Engine, Input, Wanted};
use rdkafka::Message;
use rdkafka::consumer::Consumer;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Messages of one partition that may wait for those of another; beyond that it is paused.
const WAITING_MAX: usize = 4096;
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
    begin: Begin,
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
    engine.name_forgotten();
    let said = |engine: &Engine, outputs: &Committed, unfinished| {
        let (born, writer) = (of.born, of.writer.clone());
        let detail = Detail { born, writer, unfinished, ..Detail::of(engine) };
        position::position(&at, outputs, detail)
    };
    store.first_checkpoint(&said(&engine, &ends(topics, settings)?, begin == Begin::Rebuild))?;
    if begin == Begin::Rebuild {
        let messages = take(settings, &mut engine, begins, &at, around, stop)?;
        tracing::info!(messages, "the state is made anew from what the topics hold");
        Actions::from_the_first(settings, topics)?.take_all(&mut engine, topics, None)?;
    }
    let outputs = ends(topics, settings)?;
    let position = said(&engine, &outputs, false);
    let mut records = Vec::new();
    engine.save_named(&mut |name, value| records.push((names::of_store(&name), value)));
    store.checkpoint(&position, records)?;
    Ok((engine, at, outputs))
}

/// Takes all messages from `from` to `until`, of all partitions in the order of their times.
fn take(
    settings: &Settings,
    engine: &mut Engine,
    from: &Offsets,
    until: &Offsets,
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
    let consumer: QuietConsumer = client::make(&client::reader(&settings.kafka))?;
    let assigned = source::list(&open).and_then(|list| consumer.assign(&list));
    assigned.map_err(|e| Trouble::of("cannot read again", &e))?;
    let reader = settings.reader(engine).until(stop.flag());
    let mut waiting: BTreeMap<Tp, VecDeque<Batch>> = BTreeMap::new();
    let mut paused: Offsets = Offsets::new();
    let (mut effects, mut done, mut heard) = (Effects::default(), 0u64, Instant::now());
    loop {
        if stop.asked() {
            return Err(Trouble::Fatal(
                "stopped while the state was made anew; the next start goes on with it".into(),
            ));
        }
        // The next in time is known once every partition that is not at its end shows a message.
        while open.keys().all(|tp| waiting.get(tp).is_some_and(|queue| !queue.is_empty())) {
            let next = waiting
                .iter_mut()
                .filter(|(_, q)| !q.is_empty())
                .min_by_key(|(_, q)| q.front().map(time));
            let Some((tp, queue)) = next else { break };
            let Some(batch) = queue.pop_front() else { break };
            let resume = queue.len() < WAITING_MAX / 2 && paused.contains_key(tp);
            let tp = tp.clone();
            engine.step(batch.inputs, &mut effects);
            effects.clear();
            done += 1;
            if done.is_multiple_of(4096) {
                around.health.beat();
                around.telemetry.replay(done, done);
            }
            if resume {
                paused.remove(&tp);
                let list = source::list(&[(tp, 0)].into())
                    .map_err(|e| Trouble::of("cannot read on", &e))?;
                consumer.resume(&list).map_err(|e| Trouble::of("cannot read on", &e))?;
            }
        }
        if open.is_empty() && waiting.values().all(VecDeque::is_empty) {
            break;
        }
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                heard = Instant::now();
                let tp = Tp { topic: message.topic().into(), partition: message.partition() };
                let Some(end) = until.get(&tp).copied() else { continue };
                if message.offset() < end {
                    let mut batch = Batch::default();
                    if !reader.read(&message, &mut batch) {
                        continue;
                    }
                    let queue = waiting.entry(tp.clone()).or_default();
                    queue.push_back(batch);
                    if queue.len() > WAITING_MAX && !paused.contains_key(&tp) {
                        let list = source::list(&[(tp.clone(), 0)].into())
                            .map_err(|e| Trouble::of("cannot pause", &e))?;
                        consumer.pause(&list).map_err(|e| Trouble::of("cannot pause", &e))?;
                        paused.insert(tp.clone(), 0);
                    }
                }
                if message.offset() + 1 >= end {
                    open.remove(&tp);
                }
            }
            // Behind the last message there may be only marks of transactions.
            Some(Err(rdkafka::error::KafkaError::PartitionEOF(_))) => {
                heard = Instant::now();
                let stands =
                    consumer.position().map_err(|e| Trouble::of("cannot read again", &e))?;
                for element in stands.elements() {
                    let tp = Tp { topic: element.topic().into(), partition: element.partition() };
                    let reached = element.offset().to_raw().zip(until.get(&tp).copied());
                    if reached.is_some_and(|(stands, end)| stands >= end) {
                        open.remove(&tp);
                    }
                }
            }
            Some(Err(error)) => return Err(Trouble::of("cannot read again", &error)),
            None if heard.elapsed() > PATIENCE
                && open.keys().any(|tp| !paused.contains_key(tp)) =>
            {
                return Err(Trouble::StartOver(
                    "the brokers sent nothing for 30 s while the state was made anew".into(),
                ));
            }
            None => {}
        }
    }
    engine.want(wanted);
    Ok(done)
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
