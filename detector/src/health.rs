//! How the service is: told by the service, read by `/healthz`, `/readyz` and `/metrics`.
//!
//! All but the lags are atomics: telling costs nothing, and nobody waits for a reader.

use engine::MemoryUse;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Connecting, loading.
    Starting,
    /// Moving the state up to where outputs had gone, in silence.
    Replaying,
    /// Scoring and publishing.
    Live,
    /// Following, ready to take over.
    Standby,
    /// Finishing what was begun, then ending.
    Draining,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Starting, Self::Replaying, Self::Live, Self::Standby, Self::Draining];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Replaying => "replaying",
            Self::Live => "live",
            Self::Standby => "standby",
            Self::Draining => "draining",
        }
    }
}

/// What is still good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The engine's thread shows that it works at least this often.
    pub heartbeat_max: Duration,
    /// The newest durable checkpoint is not older than this.
    pub checkpoint_age_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self { heartbeat_max: minute, checkpoint_age_max: 10 * minute }
    }
}

/// Where a standby stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Following {
    /// Next offset of the journal: everything before it is in its state.
    pub journal: i64,
    /// Messages that the journal names beyond that.
    pub behind: u64,
}

/// Stopped partitions that `/readyz` names, each with its reason.
const NAMED_MAX: usize = 16;

/// Which partitions are stopped, and why.
fn stopped(all: &BTreeMap<(String, i32), String>) -> String {
    if all.is_empty() {
        return "none is stopped".into();
    }
    let named = all.iter().take(NAMED_MAX);
    let named = named.map(|((topic, partition), why)| format!("{topic}-{partition}: {why}"));
    let named: Vec<String> = named.collect();
    let more = all.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    format!("{} stopped: {}{more}", all.len(), named.join("; "))
}

/// Milliseconds of a clock that only goes forward.
type Clock = Box<dyn Fn() -> u64 + Send + Sync>;

/// A moment that has not come.
const NEVER: u64 = u64::MAX;
const NO_EVENT: i64 = i64::MIN;
const UNKNOWN: u8 = 2;

/// How the service is.
pub struct Health {
    clock: Clock,
    limits: Limits,
    state: AtomicU8,
    heartbeat_ms: AtomicU64,
    checkpoint_ms: AtomicU64,
    /// Newest event time applied, and that of the newest durable checkpoint.
    applied_ts_ms: AtomicI64,
    durable_ts_ms: AtomicI64,
    /// 0 no, 1 yes, 2 not known yet.
    source: AtomicU8,
    store: AtomicU8,
    lease_epoch: AtomicU64,
    /// `None`: the partition is ours, its lag is not known yet.
    lags: Mutex<BTreeMap<(String, i32), Option<i64>>>,
    following: Mutex<Option<Following>>,
    /// Partitions that cannot be read on, and why.
    stopped: Mutex<BTreeMap<(String, i32), String>>,
    /// Bytes of state and their bound, 0 as long as nothing is known.
    memory_bytes: AtomicU64,
    memory_max: AtomicU64,
    /// 0 there is room, 1 near the bound, 2 full.
    memory_level: AtomicU8,
}

/// Percent of the bound below which a state that was near it has room again.
const MEMORY_EASED_PERCENT: u64 = 85;

/// What the use of memory means, and what to do.
fn memory(found: MemoryUse) -> String {
    let MemoryUse { bytes, max } = found;
    if max == 0 {
        return "there is no state yet".into();
    }
    let of = format!("{bytes} of {max} bytes");
    let hint = "hint: raise state.memory_max and the limits above it, or shorten time.account_ttl and the ttl of kinds";
    if found.is_full() {
        format!("{of}; new keys are not kept, new accounts are scored and not kept; {hint}")
    } else if found.is_near() {
        format!("{of}; new keys of accounts with many links are not kept; {hint}")
    } else {
        of
    }
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health").field("state", &self.state()).finish_non_exhaustive()
    }
}

/// What was told, as of one moment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub state: State,
    pub heartbeat_age: Duration,
    pub checkpoint_age: Option<Duration>,
    pub freshness: Option<Duration>,
    pub source: Option<bool>,
    pub store: Option<bool>,
    pub lease_epoch: u64,
    pub lags: BTreeMap<(String, i32), Option<i64>>,
    pub following: Option<Following>,
    pub stopped: BTreeMap<(String, i32), String>,
    pub memory: MemoryUse,
}

/// One condition of being ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// Its name.
    pub name: &'static str,
    /// Whether it holds.
    pub ok: bool,
    /// What was found.
    pub detail: String,
}

/// Whether the service is ready, and if not, why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// All conditions hold.
    pub ready: bool,
    /// What the process is doing.
    pub state: State,
    /// Each condition.
    pub conditions: Vec<Condition>,
    /// Of a standby that has loaded the state: where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standby: Option<Following>,
}

impl Health {
    /// Starting, with nothing known.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let start = Instant::now();
        Self::with_clock(limits, move || {
            u64::try_from(start.elapsed().as_millis()).unwrap_or(NEVER)
        })
    }

    /// As [`Health::new`], by another clock: milliseconds, only forward.
    #[must_use]
    pub fn with_clock(limits: Limits, clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        let now_ms = clock();
        Self {
            clock: Box::new(clock),
            limits,
            state: AtomicU8::new(State::Starting as u8),
            heartbeat_ms: AtomicU64::new(now_ms),
            checkpoint_ms: AtomicU64::new(NEVER),
            applied_ts_ms: AtomicI64::new(NO_EVENT),
            durable_ts_ms: AtomicI64::new(NO_EVENT),
            source: AtomicU8::new(UNKNOWN),
            store: AtomicU8::new(UNKNOWN),
            lease_epoch: AtomicU64::new(0),
            lags: Mutex::new(BTreeMap::new()),
            following: Mutex::new(None),
            stopped: Mutex::new(BTreeMap::new()),
            memory_bytes: AtomicU64::new(0),
            memory_max: AtomicU64::new(0),
            memory_level: AtomicU8::new(0),
        }
    }

    /// Tells what the process is doing.
    pub fn set_state(&self, state: State) {
        self.state.store(state as u8, Relaxed);
        self.beat();
    }

    /// What the process is doing.
    pub fn state(&self) -> State {
        State::ALL.get(usize::from(self.state.load(Relaxed))).copied().unwrap_or(State::Starting)
    }

    /// The engine's thread works: once per batch, and at least every second when idle.
    pub fn beat(&self) {
        self.heartbeat_ms.store((self.clock)(), Relaxed);
    }

    /// The newest event time that was applied (`Engine::watermark_ms`).
    pub fn applied(&self, ts_ms: i64) {
        self.applied_ts_ms.store(ts_ms, Relaxed);
    }

    /// A checkpoint that reaches `ts_ms` of event time is durable; also told when a checkpoint was loaded.
    pub fn checkpoint_durable(&self, ts_ms: i64) {
        self.durable_ts_ms.store(ts_ms, Relaxed);
        self.checkpoint_ms.store((self.clock)(), Relaxed);
    }

    /// Whether the source answers.
    pub fn source_up(&self, up: bool) {
        self.source.store(u8::from(up), Relaxed);
    }

    /// Whether the store answers.
    pub fn store_up(&self, up: bool) {
        self.store.store(u8::from(up), Relaxed);
    }

    /// The lease's epoch.
    pub fn lease_epoch(&self, epoch: u64) {
        self.lease_epoch.store(epoch, Relaxed);
    }

    /// Where a standby stands; `None`: it has no state yet, or it is no standby.
    pub fn following(&self, following: Option<Following>) {
        *self.following.lock().unwrap_or_else(PoisonError::into_inner) = following;
    }

    /// A partition cannot be read on; the others are.
    pub fn stopped(&self, topic: &str, partition: i32, why: &str) {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        stopped.insert((topic.to_owned(), partition), why.to_owned());
    }

    /// A partition is read again.
    pub fn resumed(&self, topic: &str, partition: i32) {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        stopped.remove(&(topic.to_owned(), partition));
    }

    /// All partitions are read again.
    pub fn none_stopped(&self) {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Bytes of state and their bound. True when it came near the bound, or reached it, since it last had room: once for each.
    pub fn memory(&self, found: MemoryUse) -> bool {
        self.memory_bytes.store(found.bytes, Relaxed);
        self.memory_max.store(found.max, Relaxed);
        let level = u8::from(found.is_near()) + u8::from(found.is_full());
        let risen = level > self.memory_level.load(Relaxed);
        // A state that is held near its bound passes it up and down all the time.
        if risen || found.bytes < found.max / 100 * MEMORY_EASED_PERCENT {
            self.memory_level.store(level, Relaxed);
        }
        risen
    }

    /// The partitions that are read; lags of those that stay are kept.
    pub fn assigned(&self, partitions: impl IntoIterator<Item = (String, i32)>) {
        let mut lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *lags);
        lags.extend(partitions.into_iter().map(|of| {
            let lag = before.get(&of).copied().flatten();
            (of, lag)
        }));
    }

    /// Messages of a partition that are not taken yet.
    pub fn lag(&self, topic: &str, partition: i32, messages: i64) {
        let mut lags = self.lags.lock().unwrap_or_else(PoisonError::into_inner);
        lags.insert((topic.to_string(), partition), Some(messages));
    }

    pub(crate) fn seen(&self) -> Seen {
        let now_ms = (self.clock)();
        let since = |at_ms: u64| Duration::from_millis(now_ms.saturating_sub(at_ms));
        let known =
            |flag: &AtomicU8| Some(flag.load(Relaxed)).filter(|f| *f != UNKNOWN).map(|f| f == 1);
        let checkpoint_ms = self.checkpoint_ms.load(Relaxed);
        let (applied, durable) =
            (self.applied_ts_ms.load(Relaxed), self.durable_ts_ms.load(Relaxed));
        let behind_ms = applied.saturating_sub(durable).max(0).unsigned_abs();
        Seen {
            state: self.state(),
            heartbeat_age: since(self.heartbeat_ms.load(Relaxed)),
            checkpoint_age: (checkpoint_ms != NEVER).then(|| since(checkpoint_ms)),
            freshness: (checkpoint_ms != NEVER).then(|| match applied {
                NO_EVENT => Duration::ZERO,
                _ => Duration::from_millis(behind_ms),
            }),
            source: known(&self.source),
            store: known(&self.store),
            lease_epoch: self.lease_epoch.load(Relaxed),
            lags: self.lags.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            following: *self.following.lock().unwrap_or_else(PoisonError::into_inner),
            stopped: self.stopped.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            memory: MemoryUse {
                bytes: self.memory_bytes.load(Relaxed),
                max: self.memory_max.load(Relaxed),
            },
        }
    }

    /// Whether the process works: the engine's thread was heard of within the limit.
    pub fn alive(&self) -> Condition {
        let age = self.seen().heartbeat_age;
        Condition {
            name: "heartbeat",
            ok: age <= self.limits.heartbeat_max,
            detail: format!(
                "the engine's thread was last heard of {:.1} s ago, the limit is {:.1} s",
                age.as_secs_f64(),
                self.limits.heartbeat_max.as_secs_f64()
            ),
        }
    }

    /// Whether the service does what it is for. A standby is not ready, and says so.
    pub fn ready(&self) -> Readiness {
        let seen = self.seen();
        let unknown = seen.lags.values().filter(|lag| lag.is_none()).count();
        let lag: i64 = seen.lags.values().flatten().sum();
        let limit = self.limits.checkpoint_age_max;
        let answers = |name, up: Option<bool>| Condition {
            name,
            ok: up == Some(true),
            detail: match up {
                Some(true) => "it answers".into(),
                Some(false) => "it does not answer".into(),
                None => "it was not asked yet".into(),
            },
        };
        let conditions = vec![
            Condition {
                name: "live",
                ok: seen.state == State::Live,
                detail: match seen.state {
                    State::Live => "events are scored and actions published".into(),
                    State::Standby => match seen.following {
                        Some(Following { journal, behind }) => format!(
                            "this is a standby, at position {journal} of the journal, {behind} messages behind: another process holds the lease"
                        ),
                        None => {
                            "this is a standby that has no state yet: another process holds the lease".into()
                        }
                    },
                    other => format!("it is {}", other.as_str()),
                },
            },
            self.alive(),
            Condition {
                name: "lag",
                ok: unknown == 0 && !seen.lags.is_empty(),
                detail: match (seen.lags.len(), unknown) {
                    (0, _) => "no partition is read yet".into(),
                    (n, 0) => format!("{lag} messages over {n} partitions"),
                    (n, unknown) => format!("not known for {unknown} of {n} partitions"),
                },
            },
            Condition {
                name: "partitions",
                ok: seen.stopped.is_empty(),
                detail: stopped(&seen.stopped),
            },
            Condition {
                name: "checkpoint",
                ok: seen.checkpoint_age.is_some_and(|age| age <= limit),
                detail: seen.checkpoint_age.map_or("there is none yet".into(), |age| {
                    format!(
                        "the newest is {:.1} s old, the limit is {:.1} s",
                        age.as_secs_f64(),
                        limit.as_secs_f64()
                    )
                }),
            },
            answers("source", seen.source),
            answers("store", seen.store),
            // Near the bound known accounts are scored as ever: only what is full is not ready.
            Condition {
                name: "memory",
                ok: !seen.memory.is_full(),
                detail: memory(seen.memory),
            },
        ];
        let ready = conditions.iter().all(|c| c.ok);
        Readiness { ready, state: seen.state, conditions, standby: seen.following }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_near_its_bound_is_said_and_full_memory_is_not_ready() {
        let health = Health::new(Limits::default());
        let memory = || {
            let all = health.ready().conditions;
            all.into_iter().find(|c| c.name == "memory").expect("it is one of them")
        };
        assert!(memory().ok && memory().detail == "there is no state yet");
        let told = |bytes| health.memory(MemoryUse { bytes, max: 1000 });
        assert!(!told(899));
        assert_eq!(memory().detail, "899 of 1000 bytes");
        assert!(told(900), "near, for the first time");
        assert!(memory().ok && memory().detail.contains("many links"));
        assert!(!told(870) && !told(910), "it had no room in between");
        assert!(told(980), "full, for the first time");
        assert!(!memory().ok && memory().detail.contains("new accounts"));
        assert!(!told(849), "there is room");
        assert!(memory().ok && told(900));
    }

    #[test]
    fn stopped_partitions_are_named_with_their_reasons_until_they_are_read_again() {
        let health = Health::new(Limits::default());
        let partitions = || {
            let all = health.ready().conditions;
            all.into_iter().find(|c| c.name == "partitions").expect("it is one of them")
        };
        assert!(partitions().ok && partitions().detail == "none is stopped");
        health.stopped("events", 3, "offset 7 cannot be read");
        health.stopped("labels", 0, "it is gone");
        let found = partitions();
        assert!(!found.ok);
        let named = "2 stopped: events-3: offset 7 cannot be read; labels-0: it is gone";
        assert_eq!(found.detail, named);
        health.resumed("events", 3);
        health.resumed("events", 4);
        assert_eq!(partitions().detail, "1 stopped: labels-0: it is gone");
        health.none_stopped();
        assert!(partitions().ok);
        for partition in 0..18 {
            health.stopped("events", partition, "why");
        }
        let found = partitions().detail;
        assert!(found.starts_with("18 stopped: events-0: why; events-1: why; "), "{found}");
        assert!(found.ends_with("events-15: why; and 2 more"), "{found}");
    }
}
