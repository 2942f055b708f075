//! Accounts: how many, how active, how long apart, and what they change.

use super::sketch::{Magnitudes, Members, Sample};
use serde::Serialize;

/// Collects what accounts do; per account for a sample of them.
#[derive(Clone, Debug)]
pub struct Accounts {
    /// The followed accounts.
    pub sample: Sample<Account>,
    gaps: Magnitudes,
    tied_gaps: u64,
}

/// One followed account.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its events.
    pub events: u32,
    /// Its first moment.
    pub first_ms: i64,
    /// Its last moment.
    pub last_ms: i64,
    kinds: Vec<Uses>,
    attributes: Vec<Last>,
}

#[derive(Clone, Debug, Default)]
struct Uses {
    distinct: Members,
    last: Last,
}

#[derive(Clone, Copy, Debug, Default)]
struct Last {
    value: u32,
    uses: u32,
    changes: u32,
}

/// What accounts do.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AccountsReport {
    /// Distinct accounts; exact while `complete`.
    pub distinct: u64,
    /// Every account was followed, not a sample.
    pub complete: bool,
    /// Events per account: half, 90 and 99 of 100 accounts have no more; then the most.
    pub events_per_account: [u64; 4],
    /// Time between two events of an account, over events: 10, 50, 90, 99 of 100 are shorter.
    pub gap_ms: [u64; 4],
    /// The longest of these times.
    pub gap_max_ms: u64,
    /// Share of an account's events with the same moment as its event before.
    pub tied_share: f64,
    /// From first to last event of an account: half, 90 of 100.
    pub life_ms: [u64; 2],
    /// The pause that parts sessions, where the times between events show one.
    pub session_gap_ms: Option<u64>,
    /// Share of the times between events that are shorter than that pause, or than half an hour.
    pub within_session_share: f64,
    /// Share of the events that come from accounts with at least four.
    pub regular_share: f64,
}

impl Accounts {
    /// Nobody yet; follows at most `accounts_max`.
    pub fn new(accounts_max: usize) -> Self {
        Self { sample: Sample::new(accounts_max), gaps: Magnitudes::default(), tied_gaps: 0 }
    }

    /// An event of an account; gives the account when it is followed.
    pub fn observe(&mut self, account: u64, ts_ms: i64) -> Option<&mut Account> {
        let first = || Account {
            events: 0,
            first_ms: ts_ms,
            last_ms: ts_ms,
            kinds: Vec::new(),
            attributes: Vec::new(),
        };
        let seen = self.sample.entry(account, first)?;
        if seen.events > 0 {
            match ts_ms.cmp(&seen.last_ms) {
                std::cmp::Ordering::Greater => self.gaps.add(ts_ms.abs_diff(seen.last_ms)),
                std::cmp::Ordering::Equal => self.tied_gaps += 1,
                std::cmp::Ordering::Less => {}
            }
        }
        seen.events = seen.events.saturating_add(1);
        seen.first_ms = seen.first_ms.min(ts_ms);
        seen.last_ms = seen.last_ms.max(ts_ms);
        Some(seen)
    }

    /// Distinct keys per account of one kind (half, 90 of 100, most), and how often it changes.
    pub fn kind(&self, place: usize) -> ([u64; 3], f64) {
        let mut distinct = Magnitudes::default();
        let (mut uses, mut changes) = (0_u64, 0_u64);
        for (_, account) in self.sample.sorted() {
            let Some(kind) = account.kinds.get(place).filter(|kind| kind.last.uses > 0) else {
                continue;
            };
            distinct.add(kind.distinct.count());
            uses += u64::from(kind.last.uses - 1);
            changes += u64::from(kind.last.changes);
        }
        let quantiles = [0.5, 0.9, 1.0].map(|q| distinct.quantile(q).unwrap_or(0));
        (quantiles, changes as f64 / uses.max(1) as f64)
    }

    /// Accounts that use a key of the kind at `place`; exact while all are followed.
    pub fn users(&self, place: usize) -> u64 {
        let sorted = self.sample.sorted();
        let uses = |account: &Account| account.kinds.get(place).is_some_and(|k| k.last.uses > 0);
        sorted.iter().filter(|(_, account)| uses(account)).count() as u64 * self.sample.scale()
    }

    /// How often an attribute's value differs from the account's value before, and out of how many.
    pub fn attribute(&self, place: usize) -> (f64, u64) {
        let (mut uses, mut changes) = (0_u64, 0_u64);
        for (_, account) in self.sample.sorted() {
            let Some(last) = account.attributes.get(place).filter(|last| last.uses > 0) else {
                continue;
            };
            uses += u64::from(last.uses - 1);
            changes += u64::from(last.changes);
        }
        (changes as f64 / uses.max(1) as f64, uses)
    }

    /// What was seen.
    pub fn report(&self) -> AccountsReport {
        let mut events = Magnitudes::default();
        let mut lives = Magnitudes::default();
        let (mut all, mut regular) = (0_u64, 0_u64);
        for (_, account) in self.sample.sorted() {
            events.add(u64::from(account.events));
            if account.events > 1 {
                lives.add(account.last_ms.abs_diff(account.first_ms));
            }
            all += u64::from(account.events);
            regular += if account.events >= 4 { u64::from(account.events) } else { 0 };
        }
        let session_gap_ms = session_gap(&self.gaps);
        let gaps = self.gaps.count() + self.tied_gaps;
        let below = self.gaps.share_below(session_gap_ms.unwrap_or(30 * super::durations::M));
        AccountsReport {
            distinct: self.sample.distinct(),
            complete: self.sample.is_complete(),
            events_per_account: [0.5, 0.9, 0.99, 1.0].map(|q| events.quantile(q).unwrap_or(0)),
            gap_ms: [0.1, 0.5, 0.9, 0.99].map(|q| self.gaps.quantile(q).unwrap_or(0)),
            gap_max_ms: self.gaps.max(),
            tied_share: self.tied_gaps as f64 / gaps.max(1) as f64,
            life_ms: [0.5, 0.9].map(|q| lives.quantile(q).unwrap_or(0)),
            session_gap_ms,
            within_session_share: (below * self.gaps.count() as f64 + self.tied_gaps as f64)
                / gaps.max(1) as f64,
            regular_share: regular as f64 / all.max(1) as f64,
        }
    }
}

impl Account {
    /// It used a key of the kind at `place`.
    pub fn use_key(&mut self, place: usize, key: u64) {
        if self.kinds.len() <= place {
            self.kinds.resize(place + 1, Uses::default());
        }
        self.kinds[place].distinct.add(key);
        self.kinds[place].last.observe(key);
    }

    /// Its event has this value of the attribute at `place`.
    pub fn use_value(&mut self, place: usize, value: u64) {
        if self.attributes.len() <= place {
            self.attributes.resize(place + 1, Last::default());
        }
        self.attributes[place].observe(value);
    }
}

impl Last {
    fn observe(&mut self, hash: u64) {
        let value = hash as u32;
        self.changes = self.changes.saturating_add(u32::from(self.uses > 0 && value != self.value));
        self.uses = self.uses.saturating_add(1);
        self.value = value;
    }
}

/// The valley between short and long times: the emptiest half octave with a peak of at least one and a
/// half times its height on both sides, each side holding a tenth of all.
fn session_gap(gaps: &Magnitudes) -> Option<u64> {
    if gaps.count() < 1000 {
        return None;
    }
    let bins = gaps.half_octaves();
    let smooth: Vec<u64> = (0..bins.len())
        .map(|at| {
            let near = &bins[at.saturating_sub(1)..(at + 2).min(bins.len())];
            near.iter().map(|(_, count)| count).sum::<u64>() / near.len() as u64
        })
        .collect();
    let mut best: Option<(f64, u64)> = None;
    let mut before = 0;
    for at in 1..bins.len() {
        before += bins[at - 1].1;
        let (low_ms, after) = (bins[at].0, gaps.count() - before);
        if low_ms < 10_000 || before * 10 < gaps.count() || after * 10 < gaps.count() {
            continue;
        }
        let left = smooth[..at].iter().copied().max().unwrap_or(0);
        let right = smooth[at + 1..].iter().copied().max().unwrap_or(0);
        let depth = left.min(right) as f64 / smooth[at].max(1) as f64;
        if depth >= 1.5 && best.is_none_or(|(deepest, _)| depth > deepest) {
            best = Some((depth, low_ms));
        }
    }
    best.map(|(_, low_ms)| low_ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::survey::durations::{H, M, S};
    use crate::survey::sketch::mix;

    #[test]
    fn sessions_are_parted_in_the_valley() {
        let mut accounts = Accounts::new(100);
        for account in 0..20_u64 {
            let mut ts_ms = 0;
            for event in 0..200_u64 {
                let noise = mix(account * 1000 + event);
                let pause =
                    if event % 10 == 9 { 5 * H + noise % (10 * H) } else { 5 * S + noise % M };
                ts_ms += pause as i64;
                accounts.observe(mix(account), ts_ms);
            }
        }
        let report = accounts.report();
        let gap_ms = report.session_gap_ms.expect("two peaks");
        assert!((65 * S..5 * H).contains(&gap_ms), "{gap_ms}");
        assert!((0.85..0.95).contains(&report.within_session_share));
        assert_eq!(
            (report.distinct, report.events_per_account[3], report.regular_share),
            (20, 200, 1.0)
        );
    }

    #[test]
    fn one_peak_has_no_valley() {
        let mut accounts = Accounts::new(100);
        for event in 0..5000_u64 {
            accounts.observe(1, (event * H + mix(event) % H) as i64);
        }
        assert_eq!(accounts.report().session_gap_ms, None);
    }

    #[test]
    fn keys_and_values_that_change() {
        let mut accounts = Accounts::new(10);
        for (at, key) in [1_u64, 1, 2, 2, 3].into_iter().enumerate() {
            let account = accounts.observe(mix(9), at as i64).expect("followed");
            account.use_key(2, key);
            account.use_value(0, 7);
        }
        assert_eq!(accounts.kind(2), ([3, 3, 3], 0.5));
        assert_eq!((accounts.users(2), accounts.users(1), accounts.users(3)), (1, 0, 0));
        assert_eq!(accounts.kind(0), ([0, 0, 0], 0.0));
        assert_eq!(accounts.attribute(0), (0.0, 4));
    }
}
