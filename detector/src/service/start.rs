//! From nothing to live, in the order that the protocol fixes: lease, producer, confirmation, O, base, load, second look, replay.

use super::follow::{Again, Finished, Follower, raise};
use super::layout::Layout;
use super::position::Detail;
use super::pulse::Pulse;
use super::{Around, Begin, Settings, Stop, names, position, rebuild};
use crate::health::State;
use crate::kafka::client::Trouble;
use crate::kafka::config::Delivery;
use crate::kafka::journal::{Offsets, Tp};
use crate::kafka::publish::{Committed, Prepared};
use crate::kafka::signature::{Signer, Signing};
use crate::kafka::topics::Topics;
use crate::store::redis::{Name, Position, RedisShards, RedisStoreError, Shards, Start, Store};
use engine::{Carry, Engine};
use std::time::Instant;

/// Everything that an instance needs to go live.
pub struct Ready<S> {
    /// The state.
    pub engine: Engine,
    /// The store, with its base.
    pub store: Store<S>,
    /// The producer.
    pub producer: Prepared,
    /// Where the state stands: O, and where new partitions begin.
    pub at: Offsets,
    /// At least once: what is to be taken and published before anything else.
    pub again: Option<Again>,
    /// Where outputs stand.
    pub outputs: Committed,
    /// The epoch held.
    pub epoch: u32,
    /// Messages replayed in silence.
    pub replayed: u64,
    /// Signs of life.
    pub pulse: Pulse,
    /// The state does not come from what was taken before.
    pub anew: bool,
    /// The store's records were not read by this process.
    pub unread: bool,
    /// Accounts erased before the checkpoint that it came from.
    pub erased: u64,
    /// See [`Detail`].
    pub born: u32,
    /// See [`Detail`].
    pub signing: Signing,
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

/// Takes the lease and makes the state, from `following` if that has one that fits.
///
/// # Errors
/// What is in the way; whether a person is needed is part of it.
pub fn start<S: Shards>(
    settings: &Settings,
    mut store: Store<S>,
    following: Option<Follower>,
    around: &Around,
    stop: &Stop,
) -> Result<Ready<S>, Trouble> {
    let span = tracing::info_span!("start", epoch = tracing::field::Empty).entered();
    let section = &settings.kafka;
    let epoch = store.claim()?;
    span.record("epoch", epoch);
    around.health.lease_epoch(epoch.into());
    tracing::info!(epoch, "holds the lease");
    let heart = store.heart(RedisShards::open(&settings.redis)?)?;
    let pulse = Pulse::start(heart, settings.redis.lease_ttl())
        .map_err(|e| Trouble::Fatal(format!("cannot start a thread: {e}")))?;
    let mut producer = Prepared::new(section, epoch)?;
    let durable = store.confirm()?;
    tracing::debug!(?durable, "the lease is confirmed");

    let topics = Topics::new(section)?;
    let inputs = topics.inputs()?;
    let action_partitions = topics.partitions(&section.actions)?;
    let mut committed = topics.committed(&inputs)?;
    let mut begins = Offsets::new();
    for tp in &inputs {
        begins.insert(tp.clone(), topics.bounds(tp)?.0);
    }
    // What is to be started from, as far as there is anything; `recover` says what is wrong with it.
    let found = match settings.asked() {
        Begin::Checkpoint => store.peek_base()?,
        Begin::Cold | Begin::Rebuild => None,
    };
    let unfinished = match &found {
        Some((_, base)) => position::read(base)?.unfinished,
        None => false,
    };
    let begin = if unfinished { Begin::Rebuild } else { settings.asked() };
    if unfinished {
        tracing::warn!(
            "the state was being made anew, and that did not come to its end: going on with it"
        );
    }
    if begin != Begin::Checkpoint {
        // What is read back is still checked by the secret that the state had, if Redis has not lost it.
        let before =
            store.peek_base().ok().flatten().and_then(|(_, base)| position::read(&base).ok());
        let before = before.and_then(|detail| detail.signing);
        let signing = match before.clone() {
            Some(signing) => signing.unread(),
            None => Signing::of(ends(&topics, settings)?),
        };
        producer.sign_by(Signer::behind(signing.secret.clone(), signing.number), action_partitions);
        producer.take_over()?;
        let writer = Some(producer.writer().to_owned());
        let of =
            Detail { born: epoch, writer, signing: Some(signing.clone()), ..Detail::default() };
        let (engine, at, outputs) = rebuild::begin(
            settings,
            (begin, before),
            &mut store,
            &topics,
            &begins,
            committed,
            of,
            around,
            stop,
        )?;
        settings.begun.store(true, std::sync::atomic::Ordering::Relaxed);
        let (replayed, anew, unread) = (0, true, false);
        let (erased, born) = (engine.counts().erased, epoch);
        return Ok(Ready {
            engine,
            store,
            producer,
            at,
            again: None,
            outputs,
            epoch,
            replayed,
            pulse,
            anew,
            unread,
            erased,
            born,
            signing,
        });
    }
    // A partition with a commit began at 0 as far as anybody can tell: what retention left says nothing about it, and an empty
    // Redis beside a group that has worked is never a new start.
    let began = begins
        .iter()
        .map(|(tp, low)| (tp.clone(), if committed.contains_key(tp) { 0 } else { *low }));
    let began: Offsets = began.collect();
    // At least once, a publisher that was paused may have set O back since. What is in a checkpoint was published.
    if section.delivery == Delivery::AtLeastOnce
        && let Some((_, base)) = &found
    {
        let mut state = position::offsets(&base.offsets);
        state.retain(|tp, _| committed.contains_key(tp));
        raise(&mut committed, &state);
    }
    let base = match store.recover(&position::named(&committed), &position::named(&began))? {
        Start::From { position, .. } => position,
        Start::New => {
            let mut engine = settings.engine()?;
            engine.look_up_by(rand::random());
            let outputs = ends(&topics, settings)?;
            let first = position::position(&begins, &outputs, position::Detail::of(&engine));
            tracing::info!("nothing is there yet: beginning at the earliest messages");
            store.first_checkpoint(&first)?
        }
    };
    let detail = position::read(&base)?;
    if detail.older_to_go {
        store.keep_one_version_of_all();
    }
    let (mut follower, unread) = match following.filter(|f| f.fits(&detail, &committed)) {
        Some(follower) => {
            tracing::info!(
                journal = follower.place(),
                "taking over with the state that followed the last instance"
            );
            (follower, true)
        }
        None => {
            let _load = tracing::info_span!("load").entered();
            let begun = Instant::now();
            let engine = settings.engine()?;
            position::same_privacy(&detail, &engine)?;
            let carry = carried(&mut store, &detail, &engine)?;
            let telemetry = &around.telemetry;
            let follower =
                Follower::begin(settings, &topics, &base, engine, telemetry, |engine| {
                    fill(engine, carry.as_ref(), |each| store.load(each, |_| around.health.beat()))
                })?;
            tracing::info!(seconds = begun.elapsed().as_secs_f64(), "state loaded");
            (follower, false)
        }
    };
    store.look_again()?;
    let signing = match detail.signing.clone() {
        Some(signing) => signing,
        None => {
            // Durable before anything is signed: the next leader has to know it.
            let signing = Signing::of(ends(&topics, settings)?);
            let detail = Detail { signing: Some(signing.clone()), ..detail.clone() };
            let offsets = base.offsets.clone();
            store.checkpoint(&Position { offsets, detail: position::text(&detail) }, [])?;
            tracing::info!(event = "signing_begins", "journal and actions are signed from now on");
            signing
        }
    };
    if section.delivery == Delivery::AtLeastOnce {
        // Behind the first checkpoint, which says where the journal begins, and before the journal is read to its end.
        follower.read_journal(&topics)?;
        let signer = Signer::behind(signing.secret.clone(), follower.number());
        producer.sign_by(signer, action_partitions);
        producer.take_over()?;
    }

    // Partitions that came since begin at their first message.
    let mut until = position::offsets(&base.offsets);
    for (tp, begin) in begins {
        until.entry(tp).or_insert(begin);
    }
    until.extend(committed);
    around.health.set_state(State::Replaying);
    let finished = {
        let span = tracing::info_span!("replay", messages = tracing::field::Empty).entered();
        let finished =
            follower.finish(&detail, &topics, &until, producer.writer(), around, stop)?;
        span.record("messages", finished.messages);
        finished
    };
    let Finished { engine, messages: replayed, at, again, number } = finished;
    if section.delivery == Delivery::ExactlyOnce {
        producer.sign_by(Signer::behind(signing.secret.clone(), number), action_partitions);
    }
    let outputs = ends(&topics, settings)?;
    store.look_again()?;
    Ok(Ready {
        engine,
        store,
        producer,
        at,
        again: Some(again).filter(|again| !again.order.is_empty()),
        outputs,
        epoch,
        replayed,
        pulse,
        anew: false,
        unread,
        erased: detail.erased,
        born: detail.born,
        signing,
    })
}

/// Where the outputs end now.
pub(super) fn ends(topics: &Topics, settings: &Settings) -> Result<Committed, Trouble> {
    let end =
        |topic: &str, partition| topics.bounds(&Tp { topic: topic.into(), partition }).map(|b| b.1);
    let mut outputs =
        Committed { journal: end(&settings.kafka.journal, 0)?, ..Committed::default() };
    for partition in 0..topics.partitions(&settings.kafka.actions)? {
        outputs.actions.insert(partition, end(&settings.kafka.actions, partition)?);
    }
    Ok(outputs)
}

/// How to take over a state of another feature set; `None` when it is the same.
fn carried<S: Shards>(
    store: &mut Store<S>,
    detail: &Detail,
    engine: &Engine,
) -> Result<Option<Carry>, Trouble> {
    let features = &engine.versions().features;
    if detail.features == *features {
        return Ok(None);
    }
    let refused = |why: String| {
        Trouble::Fatal(format!(
            "the state in Redis was made with feature set {}, the configuration declares {features}, and it cannot be carried over: {why}\nhint: start with the configuration that it was made with, or `--rebuild-from earliest`",
            detail.features
        ))
    };
    let json = store.layout(&detail.features)?;
    let json = json.ok_or_else(|| refused("its layout was not published in Redis".into()))?;
    let carry = Layout::carry(&json, engine).map_err(refused)?;
    tracing::warn!(
        from = detail.features,
        to = features,
        begin_empty = ?carry.begins_empty(),
        left_behind = ?carry.dropped(),
        "the state is of another feature set and is carried over: fields that mean the same keep their values"
    );
    Ok(Some(carry))
}

/// Fills an engine with the records that `records` hands over.
///
/// # Errors
/// When they cannot be read, or do not fit.
pub(super) fn fill(
    engine: &mut Engine,
    carry: Option<&Carry>,
    records: impl FnOnce(&mut Each<'_>) -> Result<u64, RedisStoreError>,
) -> Result<(), Trouble> {
    let mut loading = engine.loading();
    if let Some(carry) = carry {
        loading.carrying(carry);
    }
    let count = records(&mut |name, value| {
        loading.named(&names::of_engine(name), value).map_err(|e| e.to_string())
    })?;
    // A state before its first event has no records, not even the global ones.
    if count > 0 {
        loading.finish().map_err(|e| Trouble::Fatal(format!("the state in Redis: {e}")))?;
    }
    if let Some(carry) = carry {
        engine.carried_over(carry);
    }
    Ok(())
}

/// Takes each record.
type Each<'a> = dyn FnMut(&Name, &[u8]) -> Result<(), String> + 'a;
