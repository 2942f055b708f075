//! The counters behind [`super::Telemetry`], each found once.

use super::names::{self, Kind, Metric};
use super::{Queue, Stage};
use crate::health::State;
use engine::policy::ActionKind;
use engine::wire::RejectCode;
use metrics::{
    Counter, Gauge, Histogram, Key, Label, Level, Metadata, Recorder, SharedString, Unit,
};

/// Kinds of actions, as published.
pub(super) const ACTIONS: [&str; 7] = [
    ActionKind::Observe.as_str(),
    ActionKind::Challenge.as_str(),
    ActionKind::RateLimit.as_str(),
    ActionKind::Review.as_str(),
    ActionKind::Suspend.as_str(),
    ActionKind::Ban.as_str(),
    "reverse",
];

const METADATA: Metadata<'static> = Metadata::new("detector", Level::INFO, None);

pub(super) struct Meters {
    pub events: Counter,
    pub labels: Counter,
    pub labels_unjoined: Counter,
    /// By code.
    pub rejects: Vec<Counter>,
    pub redelivered: Counter,
    pub event_id_conflicts: Counter,
    pub too_late: Counter,
    pub ahead: Counter,
    /// By kind: live, shadow.
    pub actions: Vec<[Counter; 2]>,
    pub degraded: Counter,
    /// Accounts, entities.
    pub expired: [Counter; 2],
    pub forgotten: Counter,
    pub malformed: Counter,
    pub keys_not_kept: Counter,
    pub accounts_not_kept: Counter,
    pub ignored: Counter,
    pub suspected: Counter,
    pub erased: Counter,
    pub stages: [Histogram; 4],
    pub end_to_end: Histogram,
    pub queues: [Gauge; Queue::ALL.len()],
    pub back_pressure: [Counter; Queue::WAITED_FOR.len()],
    pub transaction_failures: Counter,
    pub start_overs: Counter,
    pub source_up: Gauge,
    pub store_up: Gauge,
    pub lease_epoch: Gauge,
    /// Ok, failed.
    pub checkpoints: [Counter; 2],
    pub checkpoint_age: Gauge,
    pub checkpoint_seconds: Gauge,
    pub checkpoint_bytes: Gauge,
    pub checkpoint_records: Gauge,
    pub freshness: Gauge,
    pub replay_length: Gauge,
    pub replay_done: Gauge,
    /// Accounts, entities, links.
    pub graph: [Gauge; 3],
    pub state_bytes: Gauge,
    pub counted_bytes: Gauge,
    pub counted_bytes_max: Gauge,
    pub resident_bytes: Gauge,
    pub huge_bytes: Gauge,
    pub states: [Gauge; 5],
    pub heartbeat: Gauge,
    pub queries: Counter,
    /// Taken, refused.
    pub reloads: [Counter; 2],
}

/// Label values, beside the names that the metric declares.
pub(super) type Of<'a> = &'a [(&'static str, String)];

fn key(metric: &Metric, of: Of<'_>) -> Key {
    debug_assert!(of.iter().map(|(name, _)| name).eq(metric.labels), "labels of {}", metric.name);
    let labels: Vec<Label> =
        of.iter().map(|(name, value)| Label::new(*name, value.clone())).collect();
    Key::from_parts(metric.name, labels)
}

pub(super) fn counter(recorder: &dyn Recorder, metric: &Metric, of: Of<'_>) -> Counter {
    recorder.register_counter(&key(metric, of), &METADATA)
}

pub(super) fn gauge(recorder: &dyn Recorder, metric: &Metric, of: Of<'_>) -> Gauge {
    recorder.register_gauge(&key(metric, of), &METADATA)
}

fn histogram(recorder: &dyn Recorder, metric: &Metric, of: Of<'_>) -> Histogram {
    recorder.register_histogram(&key(metric, of), &METADATA)
}

/// Tells a recorder what a metric means.
pub(super) fn describe(recorder: &dyn Recorder, metric: &Metric) {
    let unit = match metric.unit {
        "seconds" => Some(Unit::Seconds),
        "milliseconds" => Some(Unit::Milliseconds),
        "bytes" => Some(Unit::Bytes),
        _ => Some(Unit::Count),
    };
    let (name, help) = (metric.name.into(), SharedString::const_str(metric.help));
    match metric.kind {
        Kind::Counter => recorder.describe_counter(name, unit, help),
        Kind::Gauge => recorder.describe_gauge(name, unit, help),
        Kind::Histogram => recorder.describe_histogram(name, unit, help),
    }
}

impl Meters {
    pub fn new(recorder: &dyn Recorder) -> Self {
        let count = |metric| counter(recorder, metric, &[]);
        let show = |metric| gauge(recorder, metric, &[]);
        let count_of =
            |metric, name, value: &str| counter(recorder, metric, &[(name, value.to_string())]);
        let show_of =
            |metric, name, value: &str| gauge(recorder, metric, &[(name, value.to_string())]);
        let action = |kind: &str, shadow: bool| {
            let of = [("action", kind.to_string()), ("shadow", shadow.to_string())];
            counter(recorder, &names::ACTIONS, &of)
        };
        let new = Self {
            events: count(&names::EVENTS),
            labels: count(&names::LABELS),
            labels_unjoined: count(&names::LABELS_UNJOINED),
            rejects: RejectCode::ALL
                .iter()
                .map(|code| count_of(&names::REJECTS, "code", code.as_str()))
                .collect(),
            redelivered: count(&names::REDELIVERED),
            event_id_conflicts: count(&names::EVENT_ID_CONFLICTS),
            too_late: count(&names::TOO_LATE),
            ahead: count(&names::AHEAD),
            actions: ACTIONS.iter().map(|kind| [false, true].map(|s| action(kind, s))).collect(),
            degraded: count(&names::DEGRADED),
            expired: ["accounts", "entities"].map(|what| count_of(&names::EXPIRED, "what", what)),
            forgotten: count(&names::FORGOTTEN),
            malformed: count(&names::MALFORMED),
            keys_not_kept: count(&names::KEYS_NOT_KEPT),
            accounts_not_kept: count(&names::ACCOUNTS_NOT_KEPT),
            ignored: count(&names::IGNORED),
            suspected: count(&names::SUSPECTED),
            erased: count(&names::ERASED),
            stages: Stage::ALL.map(|stage| {
                histogram(recorder, &names::STAGE, &[("stage", stage.as_str().to_string())])
            }),
            end_to_end: histogram(recorder, &names::END_TO_END, &[]),
            queues: Queue::ALL.map(|queue| show_of(&names::QUEUE_DEPTH, "queue", queue.as_str())),
            back_pressure: Queue::WAITED_FOR
                .map(|queue| count_of(&names::BACK_PRESSURE, "queue", queue.as_str())),
            transaction_failures: count(&names::TRANSACTION_FAILURES),
            start_overs: count(&names::START_OVERS),
            source_up: show(&names::SOURCE_UP),
            store_up: show(&names::STORE_UP),
            lease_epoch: show(&names::LEASE_EPOCH),
            checkpoints: ["ok", "failed"].map(|how| count_of(&names::CHECKPOINTS, "result", how)),
            checkpoint_age: show(&names::CHECKPOINT_AGE),
            checkpoint_seconds: show(&names::CHECKPOINT_SECONDS),
            checkpoint_bytes: show(&names::CHECKPOINT_BYTES),
            checkpoint_records: show(&names::CHECKPOINT_RECORDS),
            freshness: show(&names::FRESHNESS),
            replay_length: show(&names::REPLAY_LENGTH),
            replay_done: show(&names::REPLAY_DONE),
            graph: ["accounts", "entities", "links"]
                .map(|what| show_of(&names::GRAPH, "what", what)),
            state_bytes: show(&names::STATE_BYTES),
            counted_bytes: show(&names::COUNTED_BYTES),
            counted_bytes_max: show(&names::COUNTED_BYTES_MAX),
            resident_bytes: show(&names::RESIDENT_BYTES),
            huge_bytes: show(&names::HUGE_BYTES),
            states: State::ALL.map(|state| show_of(&names::STATE, "state", state.as_str())),
            heartbeat: show(&names::HEARTBEAT),
            queries: count(&names::QUERIES),
            reloads: ["taken", "refused"].map(|how| count_of(&names::RELOADS, "result", how)),
        };
        // What was never set is not shown.
        for gauge in new.queues.iter().chain(&new.graph).chain([
            &new.checkpoint_seconds,
            &new.checkpoint_bytes,
            &new.checkpoint_records,
            &new.replay_length,
            &new.replay_done,
            &new.state_bytes,
        ]) {
            gauge.set(0.0);
        }
        for unknown in [&new.resident_bytes, &new.huge_bytes] {
            unknown.set(-1.0);
        }
        new
    }
}
