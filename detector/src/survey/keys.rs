//! Keys of one kind: how many, how often, shared by how many accounts, and whether they bind.

use super::sketch::{Magnitudes, Members, Sample, fingerprint, mix};
use serde::Serialize;
use std::collections::BTreeMap;

/// Above this many accounts, a key binds nobody: the default cap on joining components.
const UNION_DEGREE_MAX: u64 = 16;

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
    pairs: Sample<[u32; 2]>,
}

#[derive(Clone, Debug)]
struct Key {
    uses: u32,
    last_ms: i64,
    accounts: Members,
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
        }
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
        if let Some(directions) = self.pairs.entry(pair, || [0; 2]) {
            let direction = &mut directions[usize::from(account > hash)];
            *direction = direction.saturating_add(1);
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

    /// What was seen, except for what is known per account.
    pub fn report<V>(&self, name: &str, accounts: &Sample<V>) -> KeysReport {
        let mut uses_per_key = Magnitudes::default();
        let mut accounts_per_key = Magnitudes::default();
        let (mut shared, mut once, mut links, mut hub_links) = (0_u64, 0_u64, 0_u64, 0_u64);
        let (mut comparable, mut overlap) = (0_u64, 0_u64);
        for (hash, key) in self.keys.sorted() {
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
        let keys = self.keys.len() as u64;
        let share = |part: u64, whole: u64| part as f64 / whole.max(1) as f64;
        let four =
            |sketch: &Magnitudes| [0.5, 0.9, 0.99, 1.0].map(|q| sketch.quantile(q).unwrap_or(0));
        let (component_accounts, component_share) = self.largest_component();
        KeysReport {
            name: name.to_owned(),
            events: self.events,
            uses: self.uses,
            lists: self.lists,
            distinct: self.keys.distinct(),
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
                && self.number_max <= self.keys.distinct().saturating_mul(50).max(1000),
            pairs: self.pair_report(),
            keys_per_account: [0; 3],
            change_share: 0.0,
        }
    }

    /// Who meets whom.
    pub fn pair_report(&self) -> PairReport {
        let pairs = self.pairs.len().max(1) as f64;
        let (mut repeated, mut mutual) = (0_u64, 0_u64);
        for (_, [forward, backward]) in self.pairs.sorted() {
            repeated += u64::from(forward.saturating_add(*backward) > 1);
            mutual += u64::from(*forward > 0 && *backward > 0);
        }
        PairReport {
            distinct: self.pairs.distinct(),
            repeated_share: repeated as f64 / pairs,
            mutual_share: mutual as f64 / pairs,
        }
    }

    /// Joins accounts over the followed keys that few accounts share: how large the largest component
    /// is, and its share of all accounts that are joined with any other. Where keys are a sample, links
    /// are missing and the figure is a lower bound.
    fn largest_component(&self) -> (u64, f64) {
        let mut places: BTreeMap<u32, u32> = BTreeMap::new();
        let mut parents: Vec<u32> = Vec::new();
        for (_, key) in self.keys.sorted() {
            let Some(members) = key.accounts.list() else { continue };
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
    fn keys_that_are_accounts() {
        let report = keys_of(&[("a", "b"), ("b", "a"), ("b", "c"), ("c", "c"), ("a", "b")]);
        assert_eq!(report.account_overlap, 1.0);
        assert_eq!(report.self_share, 0.2);
        assert!((report.pairs.mutual_share - 1.0 / 3.0).abs() < 1e-9);
        assert!((report.pairs.repeated_share - 1.0 / 3.0).abs() < 1e-9);
        assert!(!report.dense_numbers);
        assert!(keys_of(&[("17", "18"), ("18", "17")]).dense_numbers);
    }
}
