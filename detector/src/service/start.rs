//! From nothing to live, in the order that the protocol fixes: lease, producer, confirmation, O, base, load, second look, replay.

use super::position::{self, Detail};
use super::pulse::Pulse;
use super::{Around, Begin, Settings, Stop, names, rebuild};
use crate::health::State;
use crate::kafka::client::{self, QuietConsumer, Trouble};
use crate::kafka::journal::{self, Offsets, Tp};
use crate::kafka::publish::{Committed, Prepared};
use crate::kafka::source::{self, Batch};
use crate::kafka::topics::Topics;
use crate::store::redis::{Position, RedisShards, RedisStoreError, Shards, Start, Store};
use engine::effects::Effects;
use engine::{Engine, Wanted};
use rdkafka::Message;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use serde::Deserialize;
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// Longest silence of the brokers while messages are to be replayed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything that an instance needs to go live.
pub struct Ready<S> {
    /// The state at O.
    pub engine: Engine,
    /// The store, with its base.
    pub store: Store<S>,
    /// The producer.
    pub producer: Prepared,
    /// O, and where new partitions begin.
    pub at: Offsets,
    /// Where outputs stand.
    pub outputs: Committed,
    /// The epoch held.
    pub epoch: u32,
    /// Messages replayed in silence.
    pub replayed: u64,
    /// Signs of life.
    pub pulse: Pulse,
}

impl From<RedisStoreError> for Trouble {
    fn from(error: RedisStoreError) -> Self {
        if error.is_lost() || error.is_unavailable() {
            Self::StartOver(error.to_string())
        } else {
            Self::Fatal(error.to_string())
        }
    }
}

/// Takes the lease and makes the state.
///
/// # Errors
/// What is in the way; whether a person is needed is part of it.
pub fn start<S: Shards>(
    settings: &Settings,
    mut store: Store<S>,
    around: &Around,
    stop: &Stop,
) -> Result<Ready<S>, Trouble> {
    let section = &settings.kafka;
    let epoch = store.claim()?;
    around.health.lease_epoch(epoch.into());
    tracing::info!(epoch, "holds the lease");
    let heart = store.heart(RedisShards::open(&settings.redis)?)?;
    let pulse = Pulse::start(heart, settings.redis.lease_ttl())
        .map_err(|e| Trouble::Fatal(format!("cannot start a thread: {e}")))?;
    let producer = Prepared::new(section)?;
    let durable = store.confirm()?;
    tracing::debug!(?durable, "the lease is confirmed");

    let topics = Topics::new(section)?;
    let inputs = topics.inputs()?;
    let committed = topics.committed(&inputs)?;
    let mut begins = Offsets::new();
    for tp in &inputs {
        begins.insert(tp.clone(), topics.bounds(tp)?.0);
    }
    if settings.asked() != Begin::Checkpoint {
        let (engine, at, outputs) =
            rebuild::begin(settings, &mut store, &topics, &begins, committed, around, stop)?;
        settings.begun.store(true, std::sync::atomic::Ordering::Relaxed);
        return Ok(Ready { engine, store, producer, at, outputs, epoch, replayed: 0, pulse });
    }
    // A partition with a commit began at 0 as far as anybody can tell: what retention left says nothing about it, and an empty
    // Redis beside a group that has worked is never a new start.
    let began = begins
        .iter()
        .map(|(tp, low)| (tp.clone(), if committed.contains_key(tp) { 0 } else { *low }));
    let began: Offsets = began.collect();
    let base = match store.recover(&position::named(&committed), &position::named(&began))? {
        Start::From { position, .. } => position,
        Start::New => {
            let engine = settings.engine()?;
            let outputs = ends(&topics, settings)?;
            let first = position::position(
                &begins,
                &outputs,
                engine.versions(),
                engine.privacy_fingerprint(),
            );
            tracing::info!("nothing is there yet: beginning at the earliest messages");
            store.first_checkpoint(&first)?
        }
    };
    let mut engine = settings.engine()?;
    let detail = detail(&base, &engine)?;
    load(&mut store, &mut engine)?;
    store.look_again()?;

    // Partitions that came since begin at their first message.
    let mut from = position::offsets(&base.offsets);
    for (tp, begin) in &begins {
        from.entry(tp.clone()).or_insert(*begin);
    }
    let mut until = from.clone();
    until.extend(committed);
    around.health.set_state(State::Replaying);
    let replayed = replay(settings, &topics, &mut engine, &detail, &from, &until, around, stop)?;
    let outputs = published(settings, &topics, &mut engine, &detail)?;
    store.look_again()?;
    Ok(Ready { engine, store, producer, at: until, outputs, epoch, replayed, pulse })
}

/// Where the outputs end now.
pub(super) fn ends(topics: &Topics, settings: &Settings) -> Result<Committed, Trouble> {
    let end =
        |topic: &str, partition| topics.bounds(&Tp { topic: topic.into(), partition }).map(|b| b.1);
    let mut outputs =
        Committed { journal: end(&settings.kafka.journal, 0)?, actions: BTreeMap::new() };
    for partition in 0..topics.partitions(&settings.kafka.actions)? {
        outputs.actions.insert(partition, end(&settings.kafka.actions, partition)?);
    }
    Ok(outputs)
}

fn detail(base: &Position, engine: &Engine) -> Result<Detail, Trouble> {
    let detail: Detail = serde_json::from_str(&base.detail)
        .map_err(|e| Trouble::Fatal(format!("the checkpoint's position cannot be read: {e}")))?;
    let features = &engine.versions().features;
    if detail.features != *features {
        return Err(Trouble::Fatal(format!(
            "the state in Redis was made with feature set {}, the configuration declares {features}\nhint: start with the configuration that it was made with, or `--rebuild-from earliest`",
            detail.features
        )));
    }
    if detail.privacy != engine.privacy_fingerprint() {
        return Err(Trouble::Fatal(
            "the state in Redis was made with another privacy.key\nhint: put the old key back; with another one no key in it can be found".into(),
        ));
    }
    Ok(detail)
}

fn load<S: Shards>(store: &mut Store<S>, engine: &mut Engine) -> Result<(), Trouble> {
    let begun = Instant::now();
    // A state before its first event has no records, not even the global ones.
    let mut loading = engine.loading();
    let count = store.load(
        |name, value| loading.named(&names::of_engine(name), value).map_err(|e| e.to_string()),
        |_| {},
    )?;
    if count > 0 {
        loading.finish().map_err(|e| Trouble::Fatal(format!("the state in Redis: {e}")))?;
    }
    engine.name_forgotten();
    tracing::info!(records = count, seconds = begun.elapsed().as_secs_f64(), "state loaded");
    Ok(())
}

/// Brings the state from `from` to `until` in the journal's order; nothing is scored and nothing published.
#[expect(clippy::too_many_arguments, reason = "each is another thing")]
fn replay(
    settings: &Settings,
    topics: &Topics,
    engine: &mut Engine,
    detail: &Detail,
    from: &Offsets,
    until: &Offsets,
    around: &Around,
    stop: &Stop,
) -> Result<u64, Trouble> {
    let (entries, _) = topics.journal(detail.journal)?;
    let runs = journal::runs_between(from, until, &entries).map_err(|e| {
        Trouble::Fatal(format!(
            "topic `{}` does not say in which order messages were taken: {e}\nhint: was it changed, or is its retention shorter than the time since the last checkpoint? `--rebuild-from earliest` makes the state anew",
            settings.kafka.journal
        ))
    })?;
    if runs.is_empty() {
        return Ok(0);
    }
    let wanted = engine.wanted();
    engine.want(Wanted { state_only: true, ..Wanted::default() });
    let consumer: QuietConsumer = client::make(&client::reader(&settings.kafka))?;
    let reader = settings.reader(engine);
    let open: Offsets = from
        .iter()
        .filter(|(tp, _)| runs.iter().any(|r| r.tp() == **tp))
        .map(|(tp, o)| (tp.clone(), *o))
        .collect();
    let assigned = source::list(&open).and_then(|list| consumer.assign(&list));
    assigned.map_err(|e| Trouble::of("cannot replay", &e))?;

    let total: u64 = runs.iter().map(|r| u64::from(r.n)).sum();
    tracing::info!(messages = total, "replaying in silence what was published already");
    let mut waiting: BTreeMap<Tp, VecDeque<(i64, Batch)>> = BTreeMap::new();
    let mut effects = Effects::default();
    let mut done = 0u64;
    let mut heard = Instant::now();
    for run in &runs {
        let tp = run.tp();
        let mut taken = 0;
        while taken < run.n {
            if stop.asked() {
                return Err(Trouble::Fatal("stopped while replaying".into()));
            }
            if let Some((offset, batch)) = waiting.get_mut(&tp).and_then(VecDeque::pop_front) {
                let fits =
                    offset >= run.from && offset <= run.to && (taken > 0 || offset == run.from);
                if !fits {
                    return Err(Trouble::Fatal(format!(
                        "{tp} has no message {} any more, and it was taken once (the next one is {offset})\nhint: its retention is shorter than the time since the last checkpoint, or the broker has lost data; `--rebuild-from earliest` makes the state anew from what is left",
                        run.from
                    )));
                }
                engine.step(batch.inputs, &mut effects);
                effects.clear();
                taken += 1;
                done += 1;
                if done.is_multiple_of(4096) {
                    around.health.beat();
                    around.telemetry.replay(total, done);
                }
                continue;
            }
            match consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let mut batch = Batch::default();
                    reader.read(&message, &mut batch);
                    let tp = Tp { topic: message.topic().into(), partition: message.partition() };
                    waiting.entry(tp).or_default().push_back((message.offset(), batch));
                }
                Some(Err(KafkaError::PartitionEOF(_))) => {}
                Some(Err(error)) => return Err(Trouble::of("cannot replay", &error)),
                None if heard.elapsed() > PATIENCE => {
                    return Err(Trouble::StartOver(format!(
                        "the brokers sent nothing of {tp} for 30 s while it was to be replayed"
                    )));
                }
                None => {}
            }
        }
    }
    around.telemetry.replay(total, done);
    engine.want(wanted);
    Ok(done)
}

/// What a published action did to the account's policy state: the fields of the contract that matter for it.
#[derive(Deserialize)]
struct Published {
    action_id: String,
    action: String,
    account: String,
    at: i64,
    expires_at: Option<i64>,
    rule: String,
    shadow: bool,
    degraded_from: Option<String>,
    reverses: Option<String>,
}

/// Puts back what the actions that were really published did; returns where the outputs end.
pub(super) fn published(
    settings: &Settings,
    topics: &Topics,
    engine: &mut Engine,
    detail: &Detail,
) -> Result<Committed, Trouble> {
    let topic = &settings.kafka.actions;
    let tp = |partition| Tp { topic: topic.clone(), partition };
    let mut from: Offsets = detail.actions.iter().map(|(p, o)| (tp(*p), *o)).collect();
    for partition in 0..topics.partitions(topic)? {
        if !detail.actions.contains_key(&partition) {
            from.insert(tp(partition), topics.bounds(&tp(partition))?.0);
        }
    }
    let mut unknown = 0u64;
    topics.read(&from, &mut |_, bytes| match serde_json::from_slice::<Published>(bytes) {
        Ok(p) => {
            engine.apply_published(&engine::PublishedAction {
                account: &p.account,
                action: &p.action,
                rule: &p.rule,
                at_ms: p.at,
                expires_at_ms: p.expires_at,
                action_id: &p.action_id,
                shadow: p.shadow,
                degraded: p.degraded_from.is_some(),
                reverses: p.reverses.as_deref(),
            });
        }
        Err(_) => unknown += 1,
    })?;
    if unknown > 0 {
        tracing::warn!(
            unknown,
            topic,
            "messages in the topic of actions are no actions; they were passed over"
        );
    }
    ends(topics, settings)
}
