//! Keys of one kind: how many, how often, shared by how many accounts, and whether they bind.

use super::sketch::{FixedState, Magnitudes, Members, Sample, fingerprint, mix};
use features::limits::IGNORED_KEY_BYTES_MAX;
use features::placeholder::is_placeholder;
use serde::Serialize;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Above this many accounts, a key binds nobody: the default cap on joining components.
const UNION_DEGREE_MAX: u64 = 16;

const DAY_MS: i64 = 86_400_000;
/// Keys whose text is remembered, per kind.
const TEXTS_MAX: usize = 256;
/// Well-known placeholders that are followed, per kind: each has few spellings.
const KNOWN_MAX: usize = 32;
/// A well-known placeholder is one from this many accounts on: fewer may be one person's test.
const KNOWN_ACCOUNTS_MIN: u64 = 3;
/// Placeholders without a known spelling that are looked for, per kind.
const UNKNOWN_MAX: usize = 8;
/// Other keys that a kind must have, for one to be out of line with them.
const OTHERS_MIN: u64 = 20;

/// Collects the uses of one kind's keys.
#[derive(Clone, Debug)]
pub struct Keys {
    events: u64,
    uses: u64,
    lists: u64,
    self_uses: u64,
    number_uses: u64,
    number_max: u64,
    keys: Sample<Key>,
    reuse_gaps: Magnitudes,
    pairs: Sample<Pair>,
    texts: Option<Box<Texts>>,
}

#[derive(Clone, Debug)]
struct Key {
    uses: u32,
    last_ms: i64,
    accounts: Members,
}

/// An account and a key that were seen together, and the same read the other way.
#[derive(Clone, Copy, Debug)]
struct Pair {
    directions: [u32; 2],
    first_ms: i64,
    returned: bool,
}

/// The keys that may be placeholders, with their text: those of a known spelling, and those that are used most.
///
/// Every key with more than one in [`TEXTS_MAX`] of all uses is among the latter (Misra and Gries 1982), and all keys are
/// while they are that few. O(1) per use, amortised.
#[derive(Clone, Debug, Default)]
struct Texts {
    known: HashMap<u64, Text, FixedState>,
    frequent: HashMap<u64, Text, FixedState>,
}

#[derive(Clone, Debug)]
struct Text {
    key: String,
    /// Uses, less those of keys that found no room.
    weight: u64,
    /// Since it was remembered.
    accounts: Members,
}

/// A key that stands for no one thing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Placeholder {
    /// The key; it may be personal after all, and is for the configuration only.
    #[serde(skip)]
    pub key: String,
    /// Accounts that have it, about.
    pub accounts: u64,
    /// Its spelling says so; otherwise it is on far more accounts than the rest of its kind.
    pub known: bool,
}

/// Who meets whom: for `target` and for kinds whose keys may be accounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PairReport {
    /// Distinct pairs, whichever way they met.
    pub distinct: u64,
    /// Share of pairs that met more than once.
    pub repeated_share: f64,
    /// Share of pairs that met in both directions.
    pub mutual_share: f64,
    /// Share of pairs that met again a day or more after their first meeting.
    pub returned_share: f64,
}

/// What was seen of one kind.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct KeysReport {
    /// Its name.
    pub name: String,
    /// Events that name a key of it.
    pub events: u64,
    /// Keys named, over all events.
    pub uses: u64,
    /// Events that name several keys.
    pub lists: u64,
    /// Distinct keys; exact while `complete`.
    pub distinct: u64,
    /// Every key was followed, not a sample.
    pub complete: bool,
    /// Uses per key: half, 90 and 99 of 100 keys have no more; then the most.
    pub uses_per_key: [u64; 4],
    /// Accounts per key, likewise.
    pub accounts_per_key: [u64; 4],
    /// Share of keys with more than one account.
    pub shared_share: f64,
    /// Share of keys used exactly once.
    pub once_share: f64,
    /// Share of links (account, key) that lie on keys with more than 16 accounts.
    pub hub_link_share: f64,
    /// Of the accounts that share a key of at most 16 accounts, the share in the largest component.
    pub component_share: f64,
    /// Accounts in that component.
    pub component_accounts: u64,
    /// Time between two uses of a key: median and 99 of 100.
    pub reuse_gap_ms: [u64; 2],
    /// Share of the keys that are accounts as well.
    pub account_overlap: f64,
    /// Share of uses where the key is the acting account itself.
    pub self_share: f64,
    /// The keys are small whole numbers, which may be equal by accident.
    pub dense_numbers: bool,
    /// How the pairs (account, key) look when read as pairs of accounts.
    pub pairs: PairReport,
    /// Distinct keys per account: half, 90 of 100, and the most (up to the cap of the sample).
    pub keys_per_account: [u64; 3],
    /// Of an account's uses after its first, the share that name another key than the one before.
    pub change_share: f64,
    /// Accounts that name a key of it.
    pub accounts: u64,
    /// Keys that stand for no one thing. What is said of the kind's keys is said of the others, but for `events`, `uses`,
    /// `reuse_gap_ms`, `pairs` and what is said per account.
    pub placeholders: Vec<Placeholder>,
}

impl Keys {
    /// Nothing yet; follows at most `keys_max` keys and `pairs_max` pairs.
    pub fn new(keys_max: usize, pairs_max: usize) -> Self {
        Self {
            events: 0,
            uses: 0,
            lists: 0,
            self_uses: 0,
            number_uses: 0,
            number_max: 0,
            keys: Sample::new(keys_max),
            reuse_gaps: Magnitudes::default(),
            pairs: Sample::new(pairs_max),
            texts: None,
        }
    }

    /// Remembers the texts of keys that may be placeholders.
    #[must_use]
    pub fn with_texts(mut self) -> Self {
        self.texts = Some(Box::default());
        self
    }

    /// Follows fewer keys from now on.
    pub fn lower_cap(&mut self, keys_max: usize) {
        self.keys.lower_cap(keys_max);
    }

    /// An event names `keys` keys of this kind.
    pub fn count_event(&mut self, keys: usize) {
        self.events += 1;
        self.lists += u64::from(keys > 1);
    }

    /// One key of an event; gives its fingerprint.
    pub fn observe(&mut self, key: &str, account: u64, ts_ms: i64) -> u64 {
        let hash = fingerprint(key);
        self.uses += 1;
        self.self_uses += u64::from(hash == account);
        if let Some(number) = small_number(key) {
            self.number_uses += 1;
            self.number_max = self.number_max.max(number);
        }
        if let Some(texts) = &mut self.texts {
            texts.observe(hash, key, account);
        }
        let first = || Key { uses: 0, last_ms: ts_ms, accounts: Members::default() };
        if let Some(seen) = self.keys.entry(hash, first) {
            if seen.uses > 0 && ts_ms >= seen.last_ms {
                self.reuse_gaps.add(ts_ms.abs_diff(seen.last_ms));
            }
            seen.uses = seen.uses.saturating_add(1);
            seen.last_ms = seen.last_ms.max(ts_ms);
            seen.accounts.add(account);
        }
        let (low, high) = (hash.min(account), hash.max(account));
        let pair = mix(low ^ mix(high));
        let first = || Pair { directions: [0; 2], first_ms: ts_ms, returned: false };
        if let Some(pair) = self.pairs.entry(pair, first) {
            let direction = &mut pair.directions[usize::from(account > hash)];
            *direction = direction.saturating_add(1);
            pair.returned |= ts_ms.saturating_sub(pair.first_ms) >= DAY_MS;
        }
        hash
    }

    /// How many keys were used by more than one account, and how many were used more than once.
    pub fn repeats(&self) -> (u64, u64) {
        let (mut shared, mut repeated) = (0, 0);
        for (_, key) in self.keys.sorted() {
            shared += u64::from(key.accounts.count() > 1);
            repeated += u64::from(key.uses > 1);
        }
        (shared * self.keys.scale(), repeated * self.keys.scale())
    }

    /// Distinct keys.
    pub fn distinct(&self) -> u64 {
        self.keys.distinct()
    }

    /// Keys that stand for no one thing, of the `users` accounts that name the kind; those of a known spelling first, then by
    /// accounts.
    ///
    /// A spelling that is known needs a few accounts. Any other key has to be out of line with the rest of its kind. The keys
    /// are sorted by their accounts, and a gap is looked for behind one of the first eight: what is above it is a
    /// placeholder when the smallest of them is
    ///
    /// * on 50 accounts and a twentieth of all, and on ten times as many as the next key; or
    /// * on 500 accounts, and on fifty times as many as the next key.
    ///
    /// The gap is between neighbours, not to the median: where keys are shared by nature (addresses of carriers, large
    /// shops) the numbers fall by small steps, however far, and nothing is found. 50 accounts and a twentieth are more than a
    /// ring has on one device; a farm may have more, which is why people are asked to look. And the rest must be
    /// the greater part of the kind: of a kind of few large keys (browsers) none is a placeholder.
    pub fn placeholders(&self, users: u64) -> Vec<Placeholder> {
        let Some(texts) = &self.texts else { return Vec::new() };
        let found =
            |text: &Text, accounts, known| Placeholder { key: text.key.clone(), accounts, known };
        let known = texts.known.values().map(|text| found(text, text.accounts.count(), true));
        let mut all: Vec<Placeholder> =
            known.filter(|found| found.accounts >= KNOWN_ACCOUNTS_MIN).collect();
        all.sort_by(|a, b| b.accounts.cmp(&a.accounts).then_with(|| a.key.cmp(&b.key)));

        // Accounts, hash, and the part of it that is in the sum over the sample.
        let mut ranked: Vec<(u64, u64, u64)> = Vec::new();
        let mut links = 0;
        for (hash, key) in self.keys.sorted() {
            if texts.known.contains_key(&hash) {
                continue;
            }
            let degree = key.accounts.count();
            let remembered = texts.frequent.get(&hash).map_or(0, |text| text.accounts.count());
            let sampled = degree * self.keys.scale();
            links += sampled;
            ranked.push((degree.max(remembered), hash, sampled));
        }
        for (hash, text) in &texts.frequent {
            if self.keys.get(*hash).is_none() {
                ranked.push((text.accounts.count(), *hash, 0));
            }
        }
        ranked.sort_unstable_by_key(|(accounts, hash, _)| (Reverse(*accounts), *hash));
        let is_gap = |above: &usize| {
            let Some((top, rest)) = ranked.split_at_checked(*above) else { return false };
            let (Some((least, ..)), Some((next, ..))) = (top.last(), rest.first()) else {
                return false;
            };
            let is_far = (*least >= 50 && least * 20 >= users && *least >= next * 10)
                || (*least >= 500 && *least >= next * 50);
            let above: u64 = top.iter().map(|(accounts, ..)| accounts).sum();
            let of_sample: u64 = top.iter().map(|(.., sampled)| sampled).sum();
            is_far && above <= links.saturating_sub(of_sample)
        };
        let enough = self.keys.distinct() >= OTHERS_MIN + UNKNOWN_MAX as u64;
        let above = (1..=UNKNOWN_MAX).rev().find(is_gap).filter(|_| enough).unwrap_or(0);
        for (accounts, hash, _) in ranked.iter().take(above) {
            if let Some(text) = texts.frequent.get(hash) {
                all.push(found(text, *accounts, false));
            }
        }
        // The configuration takes no others.
        all.retain(|found| (1..=IGNORED_KEY_BYTES_MAX).contains(&found.key.len()));
        all
    }

    /// What was seen, except for what is known per account.
    pub fn report<V>(&self, name: &str, accounts: &Sample<V>) -> KeysReport {
        self.report_without(Vec::new(), name, accounts)
    }

    /// As [`Self::report`], as if the placeholders had not been named.
    pub fn report_without<V>(
        &self,
        placeholders: Vec<Placeholder>,
        name: &str,
        accounts: &Sample<V>,
    ) -> KeysReport {
        let left_out: BTreeSet<u64> =
            placeholders.iter().map(|found| fingerprint(&found.key)).collect();
        let mut keys = 0_u64;
        let mut uses_per_key = Magnitudes::default();
        let mut accounts_per_key = Magnitudes::default();
        let (mut shared, mut once, mut links, mut hub_links) = (0_u64, 0_u64, 0_u64, 0_u64);
        let (mut comparable, mut overlap) = (0_u64, 0_u64);
        for (hash, key) in self.keys.sorted() {
            if left_out.contains(&hash) {
                continue;
            }
            keys += 1;
            let degree = key.accounts.count();
            uses_per_key.add(u64::from(key.uses));
            accounts_per_key.add(degree);
            shared += u64::from(degree > 1);
            once += u64::from(key.uses == 1);
            links += degree;
            hub_links += if degree > UNION_DEGREE_MAX { degree } else { 0 };
            if accounts.holds(hash) {
                comparable += 1;
                overlap += u64::from(accounts.get(hash).is_some());
            }
        }
        let distinct = self.keys.distinct().saturating_sub(left_out.len() as u64);
        let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        let four =
            |sketch: &Magnitudes| [0.5, 0.9, 0.99, 1.0].map(|q| sketch.quantile(q).unwrap_or(0));
        let (component_accounts, component_share) = self.largest_component(&left_out);
        KeysReport {
            name: name.to_owned(),
            events: self.events,
            uses: self.uses,
            lists: self.lists,
            distinct,
            complete: self.keys.is_complete(),
            uses_per_key: four(&uses_per_key),
            accounts_per_key: four(&accounts_per_key),
            shared_share: share(shared, keys),
            once_share: share(once, keys),
            hub_link_share: share(hub_links, links),
            component_share,
            component_accounts,
            reuse_gap_ms: [0.5, 0.99].map(|q| self.reuse_gaps.quantile(q).unwrap_or(0)),
            account_overlap: share(overlap, comparable),
            self_share: share(self.self_uses, self.uses),
            dense_numbers: self.number_uses * 2 >= self.uses
                && self.number_max <= distinct.saturating_mul(50).max(1000),
            pairs: self.pair_report(),
            keys_per_account: [0; 3],
            change_share: 0.0,
            accounts: 0,
            placeholders,
        }
    }

    /// Who meets whom.
    pub fn pair_report(&self) -> PairReport {
        let pairs = self.pairs.len().max(1) as f64;
        let (mut repeated, mut mutual, mut returned) = (0_u64, 0_u64, 0_u64);
        for (_, pair) in self.pairs.sorted() {
            let [forward, backward] = pair.directions;
            repeated += u64::from(forward.saturating_add(backward) > 1);
            mutual += u64::from(forward > 0 && backward > 0);
            returned += u64::from(pair.returned);
        }
        PairReport {
            distinct: self.pairs.distinct(),
            repeated_share: repeated as f64 / pairs,
            mutual_share: mutual as f64 / pairs,
            returned_share: returned as f64 / pairs,
        }
    }

    /// Joins accounts over the followed keys that few accounts share: how large the largest component
    /// is, and its share of all accounts that are joined with any other. Where keys are a sample, links
    /// are missing and the figure is a lower bound.
    fn largest_component(&self, left_out: &BTreeSet<u64>) -> (u64, f64) {
        let mut places: BTreeMap<u32, u32> = BTreeMap::new();
        let mut parents: Vec<u32> = Vec::new();
        for (hash, key) in self.keys.sorted() {
            let Some(members) = key.accounts.list().filter(|_| !left_out.contains(&hash)) else {
                continue;
            };
            if members.len() < 2 || members.len() as u64 > UNION_DEGREE_MAX {
                continue;
            }
            let mut anchor = None;
            for member in members {
                let place = *places.entry(*member).or_insert_with(|| {
                    parents.push(parents.len() as u32);
                    parents.len() as u32 - 1
                });
                let root = find(&mut parents, place);
                match anchor {
                    None => anchor = Some(root),
                    Some(other) if other != root => {
                        parents[root.max(other) as usize] = root.min(other);
                        anchor = Some(root.min(other));
                    }
                    Some(_) => {}
                }
            }
        }
        let mut sizes = vec![0_u64; parents.len()];
        for place in 0..parents.len() as u32 {
            sizes[find(&mut parents, place) as usize] += 1;
        }
        let largest = sizes.iter().copied().max().unwrap_or(0);
        (largest, largest as f64 / parents.len().max(1) as f64)
    }
}

impl Texts {
    fn observe(&mut self, hash: u64, key: &str, account: u64) {
        let found = self.frequent.get_mut(&hash).or_else(|| self.known.get_mut(&hash));
        if let Some(text) = found {
            text.weight += 1;
            text.accounts.add(account);
            return;
        }
        let mut accounts = Members::default();
        accounts.add(account);
        let text = || Text { key: key.to_owned(), weight: 1, accounts };
        if self.known.len() < KNOWN_MAX && is_placeholder(key) {
            self.known.insert(hash, text());
        } else if self.frequent.len() < TEXTS_MAX {
            self.frequent.insert(hash, text());
        } else {
            self.frequent.retain(|_, text| {
                text.weight -= 1;
                text.weight > 0
            });
        }
    }
}

fn find(parents: &mut [u32], mut place: u32) -> u32 {
    while parents[place as usize] != place {
        let above = parents[parents[place as usize] as usize];
        parents[place as usize] = above;
        place = above;
    }
    place
}

/// A key that is a whole number written in at most nine digits.
fn small_number(key: &str) -> Option<u64> {
    (key.len() <= 9 && key.bytes().all(|byte| byte.is_ascii_digit())).then(|| key.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys_of(links: &[(&str, &str)]) -> KeysReport {
        let mut keys = Keys::new(1000, 1000);
        let mut accounts: Sample<()> = Sample::new(1000);
        for (at, (account, key)) in links.iter().enumerate() {
            let hash = fingerprint(account);
            accounts.entry(hash, || ());
            keys.count_event(1);
            keys.observe(key, hash, at as i64 * 1000);
        }
        keys.report("kind", &accounts)
    }

    #[test]
    fn degrees_and_components() {
        let report = keys_of(&[
            ("a", "x"),
            ("b", "x"),
            ("b", "y"),
            ("c", "y"),
            ("d", "z"),
            ("e", "w"),
            ("f", "w"),
        ]);
        assert_eq!(report.distinct, 4);
        assert_eq!(report.accounts_per_key, [2, 2, 2, 2]);
        assert_eq!((report.shared_share, report.once_share), (0.75, 0.25));
        assert_eq!(report.component_accounts, 3);
        assert!((report.component_share - 0.6).abs() < 1e-9);
        assert_eq!(report.account_overlap, 0.0);
    }

    #[test]
    fn frequent_keys_are_remembered_among_many_rare_ones() {
        let mut keys = Keys::new(100, 100).with_texts();
        for n in 0..60_000_u64 {
            let key = match n % 20 {
                0 => "often".to_owned(),
                1 if n > 50_000 => " NULL".to_owned(),
                _ => format!("k{n}"),
            };
            keys.observe(&key, mix(n % 3000), n as i64);
        }
        let texts = keys.texts.as_ref().expect("they were wanted");
        assert!(texts.frequent.len() <= TEXTS_MAX && texts.known.len() == 1);
        let found = keys.placeholders(1000);
        let found: Vec<_> = found.iter().map(|found| (found.key.as_str(), found.known)).collect();
        assert_eq!(found, [(" NULL", true), ("often", false)]);
    }

    #[test]
    fn keys_that_are_accounts() {
        let report = keys_of(&[("a", "b"), ("b", "a"), ("b", "c"), ("c", "c"), ("a", "b")]);
        assert_eq!(report.account_overlap, 1.0);
        assert_eq!(report.self_share, 0.2);
        assert_eq!(report.pairs.returned_share, 0.0);
        assert!((report.pairs.mutual_share - 1.0 / 3.0).abs() < 1e-9);
        assert!((report.pairs.repeated_share - 1.0 / 3.0).abs() < 1e-9);
        assert!(!report.dense_numbers);
        assert!(keys_of(&[("17", "18"), ("18", "17")]).dense_numbers);
    }
}
