//! Labels: of events or of accounts, how late they come, what they cover.

use super::accounts::Account;
use super::sketch::{Magnitudes, Sample};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Collects labels and the marks of events that they may speak of. The order of the two does not matter.
#[derive(Clone, Debug)]
pub struct Labels {
    events: Sample<Mark>,
    by_event: Sample<Verdict>,
    by_account: Sample<Verdict>,
    labels: u64,
    bad: u64,
    with_event: u64,
    bad_with_event: u64,
    first_ms: i64,
    last_ms: i64,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    ts_ms: i64,
    account: u64,
    kind: u32,
}

#[derive(Clone, Copy, Debug)]
struct Verdict {
    ts_ms: i64,
    first_bad_ms: Option<i64>,
    bad: bool,
    /// Labels that said bad, and that said good.
    said: [u32; 2],
}

/// Labels of the events of one type.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LabelledType {
    /// The type.
    pub name: String,
    /// Events that could have a label by now.
    pub events: u64,
    /// Events that have one.
    pub labelled: u64,
    /// Events labelled bad.
    pub bad: u64,
}

/// What was seen of labels. Figures over joined events stand for a fair sample once events are many.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LabelsReport {
    /// All labels.
    pub labels: u64,
    /// Labels that say bad.
    pub bad: u64,
    /// Labels that name an event.
    pub with_event: u64,
    /// Labels that say bad and name an event.
    pub bad_with_event: u64,
    /// First and last moment at which one became known.
    pub known_ms: [i64; 2],
    /// Share of the labels that name an event whose event was seen.
    pub joined_share: f64,
    /// From event to label: 50, 95, 99, 99.9 of 100 are not later.
    pub lag_ms: [u64; 4],
    /// The same for bad events.
    pub bad_lag_ms: [u64; 4],
    /// Share of joined labels that are known at the moment of their event, or before it.
    pub at_once_share: f64,
    /// Per type of event with a label.
    pub types: Vec<LabelledType>,
    /// Share of the accounts with a bad event and a second labelled one that also have a good one.
    pub mixed_share: f64,
    /// Accounts with labels of their own that were seen, out of all that were followed.
    pub accounts_labelled_share: f64,
    /// From an account's first event to its first bad label: 50 and 90 of 100.
    pub bad_age_ms: [u64; 2],
    /// Share of accounts' labels that are known at their first event, or before it.
    pub accounts_at_once_share: f64,
}

impl Labels {
    /// Nothing yet; follows at most so many events, and as many labels.
    pub fn new(events_max: usize) -> Self {
        Self {
            events: Sample::new(events_max),
            by_event: Sample::new(events_max),
            by_account: Sample::new(events_max),
            labels: 0,
            bad: 0,
            with_event: 0,
            bad_with_event: 0,
            first_ms: i64::MAX,
            last_ms: i64::MIN,
        }
    }

    /// An event with an id of its own; the first of several with one id counts.
    pub fn mark(&mut self, event_id: u64, ts_ms: i64, account: u64, kind: usize) {
        self.events.entry(event_id, || Mark { ts_ms, account, kind: kind as u32 });
    }

    /// A label of an event (also when it names the account as well) or of an account.
    pub fn observe(&mut self, event_id: Option<u64>, account: Option<u64>, bad: bool, ts_ms: i64) {
        self.labels += 1;
        self.bad += u64::from(bad);
        self.first_ms = self.first_ms.min(ts_ms);
        self.last_ms = self.last_ms.max(ts_ms);
        let (sample, hash) = match (event_id, account) {
            (Some(event), _) => {
                self.with_event += 1;
                self.bad_with_event += u64::from(bad);
                (&mut self.by_event, event)
            }
            (None, Some(account)) => (&mut self.by_account, account),
            (None, None) => return,
        };
        let first = || Verdict { ts_ms, first_bad_ms: None, bad, said: [0; 2] };
        if let Some(verdict) = sample.entry(hash, first) {
            if ts_ms >= verdict.ts_ms {
                (verdict.ts_ms, verdict.bad) = (ts_ms, bad);
            }
            let said = &mut verdict.said[usize::from(!bad)];
            *said = said.saturating_add(1);
            if bad {
                verdict.first_bad_ms = Some(verdict.first_bad_ms.map_or(ts_ms, |ms| ms.min(ts_ms)));
            }
        }
    }

    /// What was seen; `types` are the names of the types by place. `None` without labels.
    pub fn report(&self, accounts: &Sample<Account>, types: &[String]) -> Option<LabelsReport> {
        if self.labels == 0 {
            return None;
        }
        let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        let zeros = self.events.halvings().max(self.by_event.halvings());
        let both = |hash: u64| hash.leading_zeros() >= zeros;

        let (mut lags, mut bad_lags) = (Magnitudes::default(), Magnitudes::default());
        let (mut labels, mut joined, mut at_once) = (0_u64, 0_u64, 0_u64);
        let mut last_labelled_ms = i64::MIN;
        let mut said: BTreeMap<u64, [u64; 2]> = BTreeMap::new();
        for (hash, verdict) in self.by_event.sorted() {
            if !both(hash) {
                continue;
            }
            labels += 1;
            let Some(event) = self.events.get(hash) else { continue };
            joined += 1;
            let lag_ms = verdict.ts_ms.saturating_sub(event.ts_ms);
            at_once += u64::from(lag_ms <= 0);
            lags.add(lag_ms.max(0).unsigned_abs());
            if verdict.bad {
                bad_lags.add(lag_ms.max(0).unsigned_abs());
            }
            last_labelled_ms = last_labelled_ms.max(event.ts_ms);
            said.entry(event.account).or_default()[usize::from(!verdict.bad)] += 1;
        }
        let four =
            |sketch: &Magnitudes| [0.5, 0.95, 0.99, 0.999].map(|q| sketch.quantile(q).unwrap_or(0));
        let lag_ms = four(&lags);

        // What is too young for its label says nothing about what labels cover.
        let mature_ms = last_labelled_ms.min(self.last_ms.saturating_sub_unsigned(lag_ms[2]));
        let mut by_type: BTreeMap<u32, LabelledType> = BTreeMap::new();
        for (hash, event) in self.events.sorted() {
            if !both(hash) || event.ts_ms > mature_ms {
                continue;
            }
            let seen = by_type.entry(event.kind).or_insert_with(|| LabelledType {
                name: types.get(event.kind as usize).cloned().unwrap_or_default(),
                ..LabelledType::default()
            });
            seen.events += 1;
            if let Some(verdict) = self.by_event.get(hash) {
                seen.labelled += 1;
                seen.bad += u64::from(verdict.bad);
            }
        }
        let several = said.values().filter(|[bad, good]| *bad > 0 && bad + good > 1);
        let (mut with_several, mut mixed) = (0, 0);
        for [_, good] in several {
            with_several += 1;
            mixed += u64::from(*good > 0);
        }

        let zeros = accounts.halvings().max(self.by_account.halvings());
        let mut ages = Magnitudes::default();
        let (mut known, mut known_at_once) = (0_u64, 0_u64);
        let mut labelled: BTreeSet<u64> = BTreeSet::new();
        for (hash, verdict) in self.by_account.sorted() {
            if hash.leading_zeros() < zeros {
                continue;
            }
            let Some(account) = accounts.get(hash) else { continue };
            known += 1;
            labelled.insert(hash);
            let ms = verdict.first_bad_ms.unwrap_or(verdict.ts_ms);
            known_at_once += u64::from(ms <= account.first_ms);
            if let Some(bad_ms) = verdict.first_bad_ms {
                ages.add(bad_ms.saturating_sub(account.first_ms).max(0).unsigned_abs());
            }
        }
        let comparable =
            accounts.sorted().iter().filter(|(hash, _)| hash.leading_zeros() >= zeros).count();
        Some(LabelsReport {
            labels: self.labels,
            bad: self.bad,
            with_event: self.with_event,
            bad_with_event: self.bad_with_event,
            known_ms: [self.first_ms, self.last_ms],
            joined_share: share(joined, labels),
            lag_ms,
            bad_lag_ms: four(&bad_lags),
            at_once_share: share(at_once, joined),
            types: by_type.into_values().filter(|seen| seen.labelled > 0).collect(),
            mixed_share: share(mixed, with_several),
            accounts_labelled_share: share(labelled.len() as u64, comparable as u64),
            bad_age_ms: [0.5, 0.9].map(|q| ages.quantile(q).unwrap_or(0)),
            accounts_at_once_share: share(known_at_once, known),
        })
    }
}
