//! What is counted, most telling first, until the feature vector is full.
//!
//! One block costs very differently from stream to stream: what is kept of accounts is also read of the
//! account on the other side, for every way in which events name one. So blocks are added one by one,
//! and every addition is compiled to see what it really costs.

use super::{COLUMNS_MAX, LabelProposal, LabelUnit, Seen, columns, names};
use crate::survey::durations::text;
use features::config::{
    AttributeConfig, CounterConfig, EventsConfig, FeatureConfig, ProfileConfig,
};
use std::collections::BTreeSet;

/// Attributes that are declared in any case; each is one column.
const ATTRIBUTES_FIRST: usize = 24;
/// Attributes that are declared, at most.
const ATTRIBUTES_MAX: usize = 64;
/// Kinds whose profiles count more than events.
const KINDS_RICH: usize = 8;
/// A key that is used less often than this (median) has no rhythm worth keeping.
const RHYTHM_USES_MIN: u64 = 4;
/// Numbers about accounts that are worth a mean over the accounts on a key, or over those met.
const OF_ACCOUNT_FIRST: usize = 4;

/// The declarations so far.
struct Grow {
    features: FeatureConfig,
    has_target: bool,
    left_out: usize,
}

impl Grow {
    /// Makes a change if the declarations still compile and the vector still has room.
    fn add(&mut self, change: impl FnOnce(&mut FeatureConfig)) {
        let mut changed = self.features.clone();
        change(&mut changed);
        match columns(&changed, self.has_target) {
            Some(width) if width <= COLUMNS_MAX => self.features = changed,
            _ => self.left_out += 1,
        }
    }

    fn in_profile(&mut self, role: &str, change: impl FnOnce(&mut ProfileConfig)) {
        self.add(|features| {
            change(features.profiles.entry(role.to_owned()).or_insert_with(nothing))
        });
    }

    fn numeric(&mut self, role: &str, name: &str) {
        if self.features.attributes.contains_key(name) {
            self.in_profile(role, |profile| push(&mut profile.numeric, name));
        }
    }

    fn distinct(&mut self, role: &str, what: &str) {
        self.in_profile(role, |profile| push(&mut profile.distinct, what));
    }

    fn neighbour(&mut self, role: &str, name: &str) {
        self.in_profile(role, |profile| push(&mut profile.neighbours, name));
    }

    /// Has a role keep a counter, which is declared at its first role.
    fn count(&mut self, counter: &CounterConfig, role: &str) {
        self.add(|features| {
            let place = features.counters.iter().position(|known| known.name == counter.name);
            let place = place.unwrap_or_else(|| {
                features.counters.push(counter.clone());
                features.counters.len() - 1
            });
            push(&mut features.counters[place].on, role);
        });
    }

    fn window(&mut self, counter: &str, window_ms: u64) {
        self.add(|features| {
            if let Some(known) = features.counters.iter_mut().find(|known| known.name == counter) {
                push(&mut known.windows, &text(window_ms));
            }
        });
    }
}

fn push(list: &mut Vec<String>, name: &str) {
    if !list.iter().any(|known| known == name) {
        list.push(name.to_owned());
    }
}

fn nothing() -> ProfileConfig {
    ProfileConfig { rhythm: false, labels: false, ..ProfileConfig::default() }
}

/// Everything that could be counted of events, by name.
struct Candidates {
    events: CounterConfig,
    sums: Vec<CounterConfig>,
    types: Vec<CounterConfig>,
    received: Vec<CounterConfig>,
    flags: Vec<CounterConfig>,
    values: Vec<CounterConfig>,
}

/// The declarations for a stream, and how many additions found no room.
pub fn propose(seen: &Seen<'_>, labels: &LabelProposal) -> (FeatureConfig, usize) {
    let feedback = !labels.no_feedback;
    let mut grow = Grow { features: base(seen), has_target: seen.has_target(), left_out: 0 };
    let candidates = candidates(seen);
    let time = seen.time;
    let meets = seen.meets_accounts();
    let accounts: &[&str] = if meets { &["account", "target"] } else { &["account"] };
    let shared: Vec<&super::kinds::Kind> =
        seen.kinds.iter().filter(|kind| !kind.config.is_account).take(KINDS_RICH).collect();
    let kinds: Vec<&str> = shared.iter().map(|kind| kind.name.as_str()).collect();
    let (of_event, of_account) = (&seen.fields.of_event, &seen.fields.of_account);
    // Where every meeting is told from both sides, what is received has the others' numbers already.
    let told_twice =
        seen.report.target.as_ref().is_some_and(|target| target.pairs.mutual_share >= 0.8);

    // How much, and by how many.
    for role in accounts.iter().chain(&kinds) {
        grow.count(&candidates.events, role);
    }
    for kind in seen.kinds.iter().take(KINDS_RICH * 2) {
        grow.distinct("account", &kind.name);
    }
    if seen.has_target() {
        grow.distinct("account", "target");
    }
    for role in accounts.iter().skip(1).chain(&kinds) {
        grow.distinct(role, "account");
    }
    // Labels of events tell of the keys they went through; labels of accounts do so through the graph.
    let labelled = labels.unit == LabelUnit::Event;
    if feedback {
        for role in
            ["account"].iter().chain(accounts.iter().skip(1).chain(&kinds).filter(|_| labelled))
        {
            grow.in_profile(role, |profile| profile.labels = true);
        }
    }
    // What is at stake, and when.
    if let Some(name) = of_event.first() {
        grow.numeric("account", name);
    }
    if let Some(sum) = candidates.sums.first() {
        grow.count(sum, "account");
    }
    if time.rhythm {
        grow.in_profile("account", |profile| profile.rhythm = true);
    }
    if time.sessions {
        grow.in_profile("account", |profile| profile.sessions = true);
    }
    for ms in time.windows_ms.iter().take(1) {
        grow.window(&candidates.events.name, *ms);
    }
    // What those are like who are met.
    let met: Vec<String> = ["account.age_s".to_owned(), "account.events".to_owned()]
        .into_iter()
        .chain(feedback.then(|| format!("account.labels.rate.{}", time.config.half_lives[3])))
        .collect();
    if meets {
        for name in of_account.iter().take(OF_ACCOUNT_FIRST) {
            grow.numeric("target", name);
        }
        grow.neighbour("target", &met[0]);
        grow.neighbour("account", &met[0]);
    }
    for kind in kinds.iter().take(3) {
        grow.neighbour(kind, &met[0]);
    }
    // What they do, and what is done to them.
    for counter in candidates.types.iter().take(8) {
        grow.count(counter, "account");
    }
    for counter in candidates.received.iter().take(3) {
        grow.count(counter, "target");
    }
    for counter in candidates.flags.iter().take(3) {
        grow.count(counter, "account");
    }
    for ms in &time.windows_ms {
        grow.window(&candidates.events.name, *ms);
    }
    if let Some(sum) = candidates.sums.first() {
        for kind in kinds.iter().take(3) {
            grow.count(sum, kind);
        }
        for ms in &time.windows_ms {
            grow.window(&sum.name, *ms);
        }
    }
    for counter in candidates.types.iter().filter(|counter| !is_frequent(counter, seen)).take(3) {
        for kind in kinds.iter().take(3) {
            grow.count(counter, kind);
        }
    }
    if feedback {
        for role in accounts.iter().chain(&kinds) {
            grow.in_profile(role, |profile| profile.labels = true);
        }
    }
    // The same, closer.
    if meets {
        for name in of_account {
            grow.numeric("target", name);
        }
        for name in met.iter().skip(1).map(String::as_str).chain(["target.events"]) {
            grow.neighbour("account", name);
            grow.neighbour("target", name);
        }
        if !told_twice {
            for name in of_account.iter().take(OF_ACCOUNT_FIRST) {
                grow.numeric("account", name);
                grow.neighbour("account", &format!("account.{name}.mean"));
            }
        }
    }
    for kind in &kinds {
        for name in met.iter().skip(1) {
            grow.neighbour(kind, name);
        }
        for name in of_event.iter().take(2).chain(of_account.iter().take(2)) {
            grow.numeric(kind, name);
        }
    }
    if time.hours {
        grow.in_profile("account", |profile| profile.hours = true);
    }
    if time.rhythm {
        for kind in shared.iter().filter(|kind| kind.uses_per_key >= RHYTHM_USES_MIN) {
            grow.in_profile(&kind.name, |profile| profile.rhythm = true);
        }
        if meets {
            grow.in_profile("target", |profile| profile.rhythm = true);
        }
    }
    for counter in candidates.types.iter().chain(&candidates.flags).chain(&candidates.values) {
        grow.count(counter, "account");
    }
    for name in of_event.iter().take(8) {
        grow.numeric("account", name);
        if meets {
            grow.numeric("target", name);
        }
    }
    for sum in &candidates.sums {
        for role in accounts.iter().chain(&kinds) {
            grow.count(sum, role);
        }
    }
    for field in seen.fields.known.iter().take(ATTRIBUTES_MAX) {
        grow.add(|features| {
            features.attributes.insert(field.name.clone(), field.config.clone());
        });
    }
    for counter in &candidates.received {
        grow.count(counter, "target");
    }
    for counter in candidates.flags.iter().chain(&candidates.types) {
        for kind in kinds.iter().take(3) {
            grow.count(counter, kind);
        }
    }
    (grow.features, grow.left_out)
}

/// What is declared whatever it costs: time, types, kinds, the most frequent attributes.
fn base(seen: &Seen<'_>) -> FeatureConfig {
    let roles = ["account", "target"].into_iter().map(str::to_owned);
    let shared = seen.kinds.iter().filter(|kind| !kind.config.is_account);
    let attribute = |field: &super::fields::Field| -> (String, AttributeConfig) {
        (field.name.clone(), field.config.clone())
    };
    FeatureConfig {
        time: seen.time.config.clone(),
        events: EventsConfig { types: seen.types.to_vec(), target: seen.has_target() },
        attributes: seen.fields.known.iter().take(ATTRIBUTES_FIRST).map(attribute).collect(),
        kinds: seen.kinds.iter().map(|kind| (kind.name.clone(), kind.config.clone())).collect(),
        counters: Vec::new(),
        profiles: roles
            .chain(shared.map(|kind| kind.name.clone()))
            .map(|role| (role, nothing()))
            .collect(),
    }
}

fn candidates(seen: &Seen<'_>) -> Candidates {
    let mut taken = BTreeSet::new();
    let mut counter = |name: &str| CounterConfig {
        name: names::plain(name, &mut taken),
        ..CounterConfig::default()
    };
    let events = counter("events");
    let sums =
        seen.fields.amounts.iter().take(4).map(|name| CounterConfig {
            sum: Some(name.clone()),
            ..counter(&format!("{name}_sum"))
        });
    let sums = sums.collect();
    let several = seen.report.types.len() > 1;
    let worth = |events: u64| several && events >= 5 && events * 10_000 >= seen.report.events;
    let by_count: Vec<_> = seen
        .report
        .types
        .iter()
        .filter(|kind| worth(kind.events) && seen.types.contains(&kind.name))
        .take(24)
        .map(|kind| (CounterConfig { types: vec![kind.name.clone()], ..counter(&kind.name) }, kind))
        .collect();
    // What most do says how much they do; what few do says who they are: one of each in turn.
    let mut types = Vec::with_capacity(by_count.len());
    let (mut front, mut back) = (0, by_count.len());
    while front < back {
        types.push(by_count[front].0.clone());
        front += 1;
        if front < back {
            back -= 1;
            types.push(by_count[back].0.clone());
        }
    }
    // Received: rare things first, such as reports. Without targets, accounts are met through kinds.
    let meets = |share: f64| seen.meets_accounts() && (share >= 0.05 || !seen.has_target());
    let received = by_count.iter().rev().filter(|(_, kind)| meets(kind.target_share));
    let received = received.map(|(counter, _)| counter.clone()).collect();
    let mut conditions = |list: &[(String, String)], count: usize| -> Vec<CounterConfig> {
        let of = |(name, condition): &(String, String)| CounterConfig {
            when: Some(condition.clone()),
            ..counter(name)
        };
        list.iter().take(count).map(of).collect()
    };
    let flags = conditions(&seen.fields.flags, 8);
    let values = conditions(&seen.fields.values, 6);
    Candidates { events, sums, types, received, flags, values }
}

/// Whether a type's counter counts more than a tenth of all events.
fn is_frequent(counter: &CounterConfig, seen: &Seen<'_>) -> bool {
    let types = seen.report.types.iter();
    types
        .into_iter()
        .any(|kind| counter.types.contains(&kind.name) && kind.events * 10 > seen.report.events)
}
