//! What the service says of itself: metrics and logs.
//!
//! [`Telemetry`] is a handle with one method for each thing that happens; nobody else writes a metric's name. Its
//! metrics go through the `metrics` facade into a recorder of its own, so that two services in one process (tests)
//! do not mix. Calls cost some nanoseconds and are meant once a batch.

pub mod export;
pub mod logs;
pub mod names;

mod memory;
mod meters;
mod upkeep;

use crate::health::{Health, State};
use crate::kafka::signature::Foreign;
use engine::effects::Counts;
use engine::wire::RejectCode;
use engine::{Size, Versions};
use export::Export;
use meters::Meters;
use metrics::Recorder;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
pub use upkeep::Upkeep;

/// Upper bounds of the histograms' buckets, seconds.
const BUCKETS_S: [f64; 21] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025,
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// A stage of the line, of which the time is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Bytes to events.
    Decode,
    /// The engine's step.
    Step,
    /// Reasons and bytes of what is published, and handing it to the client.
    Finish,
    /// The commit: acknowledgements and offsets, in a transaction where there are some.
    Publish,
}

impl Stage {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Decode, Self::Step, Self::Finish, Self::Publish];

    /// Its name as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::Step => "step",
            Self::Finish => "finish",
            Self::Publish => "publish",
        }
    }
}

/// A queue between two threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Queue {
    /// From the source, decoded, to the engine.
    Decoded,
    /// From the engine to the publisher.
    Effects,
    /// From the engine to the store: the checkpoint that is not durable yet.
    Checkpoint,
    /// From HTTP to the engine. Nobody waits for room in it: a question that finds none is refused.
    Queries,
}

impl Queue {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Decoded, Self::Effects, Self::Checkpoint, Self::Queries];
    /// Those that somebody waits for when they are full; the first ones of all.
    pub const WAITED_FOR: [Self; 3] = [Self::Decoded, Self::Effects, Self::Checkpoint];

    /// Its name as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decoded => "decoded",
            Self::Effects => "effects",
            Self::Checkpoint => "checkpoint",
            Self::Queries => "queries",
        }
    }
}

/// A checkpoint that became durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CheckpointDone {
    /// How long it took to be written and durable.
    pub took: Duration,
    /// Bytes written.
    pub bytes: u64,
    /// Records written.
    pub records: u64,
}

/// The handle; clones are the same.
#[derive(Clone)]
pub struct Telemetry(Arc<Inner>);

struct Inner {
    recorder: Box<dyn Recorder + Send + Sync>,
    handle: PrometheusHandle,
    meters: Meters,
    /// What the engine had counted when it was last asked.
    counted: Mutex<Option<Counts>>,
    /// The labels of what decides now.
    told: Mutex<Option<Vec<(&'static str, String)>>>,
    /// Microseconds waited for room, by queue: most waits are shorter than the unit that is shown.
    waited_us: [AtomicU64; Queue::WAITED_FOR.len()],
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Telemetry")
    }
}

impl Telemetry {
    /// All metrics, at nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::exporting(None)
    }

    /// All metrics, at nothing; what becomes of them is exported as well.
    #[must_use]
    pub fn exporting(export: Option<&Export>) -> Self {
        // Neither list is empty and no name is refused, so the fallback (summaries) is never used.
        let plain = PrometheusBuilder::new;
        let builder =
            [names::STAGE, names::END_TO_END].iter().try_fold(plain(), |builder, metric| {
                builder.set_buckets_for_metric(Matcher::Full(metric.name.into()), &BUCKETS_S)
            });
        let recorder = builder.unwrap_or_else(|_| plain()).build_recorder();
        let handle = recorder.handle();
        let recorder: Box<dyn Recorder + Send + Sync> = match export {
            Some(export) => export.with(recorder),
            None => Box::new(recorder),
        };
        for metric in names::ALL {
            meters::describe(&*recorder, metric);
        }
        let meters = Meters::new(&*recorder);
        Self(Arc::new(Inner {
            recorder,
            handle,
            meters,
            counted: Mutex::new(None),
            told: Mutex::new(None),
            waited_us: Default::default(),
        }))
    }

    /// What decides, and the program's version.
    pub fn versions(&self, versions: &Versions) {
        let of = [
            ("version", env!("CARGO_PKG_VERSION").to_string()),
            ("model", versions.model.clone()),
            ("policy", versions.policy.clone()),
            ("features", versions.features.clone()),
        ];
        let info =
            |of: &[(&'static str, String)]| meters::gauge(&*self.0.recorder, &names::INFO, of);
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = told.replace(of.to_vec()) {
            info(&before).set(0.0);
        }
        info(&of).set(1.0);
    }

    /// A reload of policy and model was taken, or refused.
    pub fn reloaded(&self, taken: bool) {
        self.0.meters.reloads[usize::from(!taken)].increment(1);
    }

    /// What the engine has counted since the first event of its state: what is new since the last call is added.
    /// The first call, right after the state was loaded, only takes note. Once a batch.
    pub fn engine_counts(&self, now: &Counts) {
        let mut counted = self.0.counted.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = counted.replace(*now) else { return };
        let m = &self.0.meters;
        m.events.increment(now.events.saturating_sub(before.events));
        m.labels.increment(now.labels.saturating_sub(before.labels));
        m.labels_unjoined.increment(now.labels_unjoined.saturating_sub(before.labels_unjoined));
        m.redelivered.increment(now.redelivered.saturating_sub(before.redelivered));
        m.event_id_conflicts
            .increment(now.event_id_conflicts.saturating_sub(before.event_id_conflicts));
        m.too_late.increment(now.too_late.saturating_sub(before.too_late));
        m.ahead.increment(now.ahead.saturating_sub(before.ahead));
        m.degraded.increment(now.degraded.saturating_sub(before.degraded));
        m.forgotten.increment(now.forgotten_actions.saturating_sub(before.forgotten_actions));
        m.malformed.increment(now.malformed_keys.saturating_sub(before.malformed_keys));
        m.keys_not_kept.increment(now.keys_not_kept.saturating_sub(before.keys_not_kept));
        m.accounts_not_kept
            .increment(now.accounts_not_kept.saturating_sub(before.accounts_not_kept));
        m.ignored.increment(now.ignored_keys.saturating_sub(before.ignored_keys));
        m.suspected
            .increment(now.suspected_placeholders.saturating_sub(before.suspected_placeholders));
        m.erased.increment(now.erased.saturating_sub(before.erased));
        m.expired[0].increment(now.expired_accounts.saturating_sub(before.expired_accounts));
        m.expired[1].increment(now.expired_entities.saturating_sub(before.expired_entities));
    }

    /// Messages became dead letters.
    pub fn rejected(&self, code: RejectCode, n: u64) {
        // The field order of the enumeration is that of the list.
        if let Some(counter) = self.0.meters.rejects.get(code as usize) {
            counter.increment(n);
        }
    }

    /// Messages were taken without a field that could not be read. Fields and reasons are few: those that are declared.
    pub fn field_fault(&self, field: &str, reason: &str, messages: u64) {
        let of = [("field", field.to_owned()), ("reason", reason.to_owned())];
        meters::counter(&*self.0.recorder, &names::FIELD_FAULTS, &of).increment(messages);
    }

    /// An action was asked for: its kind, as the action says it (`suspend`, `reverse`).
    pub fn action(&self, kind: &str, shadow: bool) {
        let found = meters::ACTIONS.iter().position(|name| *name == kind);
        if let Some(counters) = found.and_then(|at| self.0.meters.actions.get(at)) {
            counters[usize::from(shadow)].increment(1);
        }
    }

    /// How long a stage had a batch.
    pub fn latency(&self, stage: Stage, took: Duration) {
        self.0.meters.stages[stage as usize].record(took);
    }

    /// How long after its production an event's action was acknowledged; once an action.
    pub fn end_to_end(&self, took: Duration) {
        self.0.meters.end_to_end.record(took);
    }

    /// What waits in a queue.
    pub fn queue_depth(&self, queue: Queue, waiting: usize) {
        self.0.meters.queues[queue as usize].set(waiting as f64);
    }

    /// A thread waited for room in a queue.
    pub fn back_pressure(&self, queue: Queue, waited: Duration) {
        let Some(all_us) = self.0.waited_us.get(queue as usize) else { return };
        let us = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        let all_us = all_us.fetch_add(us, Ordering::Relaxed).saturating_add(us);
        self.0.meters.back_pressure[queue as usize].absolute(all_us / 1000);
    }

    /// A Kafka transaction did not commit; or, at least once, messages were not acknowledged.
    pub fn transaction_failed(&self) {
        self.0.meters.transaction_failures.increment(1);
    }

    /// A record of somebody else lies in a topic that is read back.
    pub fn foreign(&self, topic: &str, reason: Foreign) {
        let of = [("topic", topic.to_owned()), ("reason", reason.as_str().to_owned())];
        meters::counter(&*self.0.recorder, &names::FOREIGN, &of).increment(1);
    }

    /// The service starts over from the lease.
    pub fn started_over(&self) {
        self.0.meters.start_overs.increment(1);
    }

    /// A checkpoint became durable. Its time and the event time it reaches are told to [`Health`].
    pub fn checkpoint_done(&self, done: &CheckpointDone) {
        let m = &self.0.meters;
        m.checkpoints[0].increment(1);
        m.checkpoint_seconds.set(done.took.as_secs_f64());
        m.checkpoint_bytes.set(done.bytes as f64);
        m.checkpoint_records.set(done.records as f64);
    }

    /// A checkpoint failed.
    pub fn checkpoint_failed(&self) {
        self.0.meters.checkpoints[1].increment(1);
    }

    /// Events between the state and the outputs: what a start has to replay, and how many of them it has.
    pub fn replay(&self, events: u64, done: u64) {
        self.0.meters.replay_length.set(events as f64);
        self.0.meters.replay_done.set(done as f64);
    }

    /// How much there is in memory; every few seconds.
    pub fn size(&self, size: &Size) {
        let m = &self.0.meters;
        for (gauge, n) in m.graph.iter().zip([size.accounts, size.entities, size.links]) {
            gauge.set(n as f64);
        }
        m.state_bytes.set(size.bytes as f64);
    }

    pub(crate) fn http_request(&self, status: u16) {
        let of = [("status", status.to_string())];
        meters::counter(&*self.0.recorder, &names::HTTP, &of).increment(1);
    }

    pub(crate) fn answered(&self, queries: u64) {
        self.0.meters.queries.increment(queries);
    }

    /// How much memory the process has; takes some milliseconds.
    fn look_at_memory(&self) {
        let memory = memory::Memory::now();
        let of =
            |bytes: fn(memory::Memory) -> u64| memory.map_or(-1.0, |memory| bytes(memory) as f64);
        self.0.meters.resident_bytes.set(of(|memory| memory.resident_bytes));
        self.0.meters.huge_bytes.set(of(|memory| memory.huge_bytes));
    }

    /// Takes what health knows as of now, and empties the histograms' buffers; every few seconds, whether or not somebody
    /// reads the metrics.
    pub fn upkeep(&self, health: &Health) {
        self.look(health);
        self.0.handle.run_upkeep();
    }

    /// All metrics in Prometheus' text format, with what health knows as of now.
    pub fn render(&self, health: &Health) -> String {
        self.look(health);
        self.0.handle.render()
    }

    fn look(&self, health: &Health) {
        let m = &self.0.meters;
        let seen = health.seen();
        for (gauge, state) in m.states.iter().zip(State::ALL) {
            gauge.set(f64::from(u8::from(seen.state == state)));
        }
        let seconds = |age: Option<Duration>| age.map_or(-1.0, |age| age.as_secs_f64());
        m.heartbeat.set(seen.heartbeat_age.as_secs_f64());
        m.checkpoint_age.set(seconds(seen.checkpoint_age));
        m.freshness.set(seconds(seen.freshness));
        m.lease_epoch.set(seen.lease_epoch as f64);
        m.source_up.set(f64::from(u8::from(seen.source == Some(true))));
        m.store_up.set(f64::from(u8::from(seen.store == Some(true))));
        m.counted_bytes.set(seen.memory.bytes as f64);
        m.counted_bytes_max.set(seen.memory.max as f64);
        for ((topic, partition), lag) in &seen.lags {
            let of = [("topic", topic.clone()), ("partition", partition.to_string())];
            meters::gauge(&*self.0.recorder, &names::LAG, &of).set(lag.unwrap_or(-1) as f64);
            let stopped = seen.stopped.contains_key(&(topic.clone(), *partition));
            let stopped = f64::from(u8::from(stopped));
            meters::gauge(&*self.0.recorder, &names::STOPPED, &of).set(stopped);
        }
    }

    /// The recorder behind the handle, for metrics of other libraries.
    pub fn recorder(&self) -> &dyn Recorder {
        &*self.0.recorder
    }
}

impl Default for Telemetry {
    fn default() -> Self {
        Self::new()
    }
}
