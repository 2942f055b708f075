//! What is still to happen, in order of time, and how fast the platform runs.

use super::DAY_MS;
use super::event::{LabelSource, SimEventRef};
use super::world::Account;
use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// Something that an account is about to do, or that is about to be found out.
#[derive(Clone, Copy, Debug)]
pub(super) enum Task {
    /// Begin a session (or sign up).
    Wake,
    /// Too far ahead to know: decide again then.
    Rest,
    /// The next step of the session.
    Step,
    /// Answer a message.
    Answer { to: u32, depth: u8 },
    /// Report or block somebody.
    Complain { about: u32, block: bool },
    /// Join a crowd around somebody.
    Join { around: u32, how: Crowd },
    /// The next step of a thief in this account.
    Intrude,
    /// A thief tries passwords; counts down.
    Probe { ring: u32, left: u16 },
    /// A label becomes known.
    Verdict(Verdict),
}

/// How a crowd acts on somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Crowd {
    View,
    Like,
    Follow,
    Review,
    Pay,
}

/// A label on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    pub(super) event: Option<SimEventRef>,
    pub(super) bad: bool,
    pub(super) source: LabelSource,
    pub(super) confidence_percent: u8,
}

#[derive(Debug)]
pub(super) struct Item {
    pub(super) ts_ms: i64,
    order: u64,
    pub(super) who: u32,
    pub(super) task: Task,
}

impl PartialEq for Item {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Item {}
impl PartialOrd for Item {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Item {
    /// Reversed, as the heap gives its greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.ts_ms, other.order).cmp(&(self.ts_ms, self.order))
    }
}

/// A heap of tasks: the earliest first, and among equals the one that was put first.
#[derive(Default)]
pub(super) struct Queue {
    heap: BinaryHeap<Item>,
    order: u64,
}

impl Queue {
    pub(super) fn put(&mut self, ts_ms: i64, who: u32, task: Task) {
        self.order += 1;
        self.heap.push(Item { ts_ms, order: self.order, who, task });
    }

    pub(super) fn take(&mut self) -> Option<Item> {
        self.heap.pop()
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }
}

/// Steers how often sessions begin, so that the planned number of events is reached at the planned end.
pub(super) struct Pace {
    start_ms: i64,
    events: f64,
    /// Sessions expected until the end of each day, at pace 1.
    planned: Vec<f64>,
    /// Sessions a day are multiplied by this.
    pub(super) factor: f64,
    /// Events that come of one planned session, smoothed; 0: not known yet.
    yielded: f64,
    checked_ms: i64,
    emitted: u64,
}

const CHECK_MS: i64 = DAY_MS / 4;

impl Pace {
    pub(super) fn new(start_ms: i64, days: u32, events: u64, accounts: &[Account]) -> Self {
        let days = days as usize;
        // Differences first: +rate where somebody comes, -rate where he leaves.
        let mut rate = vec![0.0; days + 2];
        let mut first = vec![0.0; days + 2];
        let day =
            |ts_ms: i64| ((ts_ms - start_ms).div_euclid(DAY_MS)).clamp(0, days as i64) as usize;
        for account in accounts {
            rate[day(account.signup_ms)] += f64::from(account.rate);
            rate[day(account.leaves_ms) + 1] -= f64::from(account.rate);
            if !account.signed_up {
                first[day(account.signup_ms)] += 1.0;
            }
        }
        let mut planned = Vec::with_capacity(days);
        let (mut now, mut sum) = (0.0, 0.0);
        for k in 0..days {
            now += rate[k];
            sum += (now + first[k]).max(1e-6);
            planned.push(sum);
        }
        Self {
            start_ms,
            events: events as f64,
            factor: (events as f64 / (sum * 8.0)).clamp(0.01, 500.0),
            planned,
            yielded: 0.0,
            checked_ms: start_ms,
            emitted: 0,
        }
    }

    /// Planned sessions until then; beyond the end it goes on as on the last day.
    fn until(&self, ts_ms: i64) -> f64 {
        let days = (ts_ms - self.start_ms).max(0) as f64 / DAY_MS as f64;
        let whole = days as usize;
        let at = |k: usize| if k == 0 { 0.0 } else { self.planned[k - 1] };
        let last = self.planned.len();
        if whole >= last {
            return at(last) + (days - last as f64) * (at(last) - at(last - 1));
        }
        at(whole) + (days - whole as f64) * (at(whole + 1) - at(whole))
    }

    /// Looks at how many events there are by now; to be called before each task.
    pub(super) fn check(&mut self, now_ms: i64, emitted: u64) {
        if now_ms < self.checked_ms + CHECK_MS {
            return;
        }
        let total = self.planned.last().copied().unwrap_or(1.0);
        let passed = self.until(now_ms) - self.until(self.checked_ms);
        let seen = (emitted - self.emitted) as f64 / (passed * self.factor).max(1e-9);
        self.yielded = if self.yielded == 0.0 { seen } else { 0.85 * self.yielded + 0.15 * seen };
        let ahead = self.until(now_ms + 2 * DAY_MS);
        let due = (self.events * (ahead / total) - emitted as f64).max(1.0);
        let wanted = due / (ahead - self.until(now_ms)).max(1e-9) / self.yielded.max(1e-3);
        self.factor = wanted.clamp(self.factor * 0.7, self.factor * 1.4).clamp(0.01, 2_000.0);
        self.checked_ms = now_ms;
        self.emitted = emitted;
    }
}
