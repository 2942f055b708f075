//! Keys that grow out of line with the rest of their kind: placeholders that `[kinds.NAME] ignore` does not list yet.
//!
//! A function of the stream alone: of each kind the largest numbers of accounts ever seen on one key, saved with the
//! globals.

use serde::{Deserialize, Serialize};

/// Keys of a kind that are watched: up to seven placeholders, and the largest of the rest.
const WATCHED: usize = 8;
/// A key on fewer accounts is never out of line: rings are that large.
const ACCOUNTS_MIN: u32 = 64;
/// A key is out of line when it, or a smaller one, has more than this many times the accounts of the next. Where keys are
/// shared by nature the numbers fall slowly, and no such gap is among the largest.
const GAP: u32 = 16;

/// A key on many accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Large {
    hash: u64,
    /// The most accounts that it ever had.
    accounts: u32,
    /// The power of two at which it was last reported; 0: never.
    told: u32,
}

/// The most shared keys of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Outliers {
    /// By kind, most accounts first.
    kinds: Vec<Vec<Large>>,
    /// By kind, accounts of the key that was reported since somebody looked; 0: none.
    #[serde(skip)]
    fresh: Vec<u32>,
}

impl Outliers {
    /// Nothing seen yet.
    pub(crate) fn new(kinds: usize) -> Self {
        Self { kinds: vec![Vec::new(); kinds], fresh: vec![0; kinds] }
    }

    /// Takes what was saved, and forgets what was not reported.
    pub(crate) fn restore(&mut self, mut saved: Self) {
        saved.kinds.resize(self.kinds.len(), Vec::new());
        saved.fresh = vec![0; self.kinds.len()];
        *self = saved;
    }

    /// The number of accounts of a key of a kind. True: it is newly out of line, once for each doubling. O(1).
    pub(crate) fn observe(&mut self, kind: usize, hash: u64, accounts: u32) -> bool {
        let Some(large) = self.kinds.get_mut(kind) else { return false };
        let is_full = large.len() >= WATCHED;
        if is_full && large.last().is_none_or(|least| accounts <= least.accounts) {
            return false;
        }
        let mut at = match large.iter().position(|known| known.hash == hash) {
            Some(at) => at,
            None => {
                if is_full {
                    large.pop();
                }
                large.push(Large { hash, accounts: 0, told: 0 });
                large.len() - 1
            }
        };
        if accounts <= large[at].accounts {
            return false;
        }
        large[at].accounts = accounts;
        while at > 0 && large[at - 1].accounts < accounts {
            large.swap(at - 1, at);
            at -= 1;
        }
        let is_due = accounts >= ACCOUNTS_MIN.max(large[at].told.saturating_mul(2));
        // Of fewer keys none is the rest of a kind.
        if !is_due || large.len() < WATCHED {
            return false;
        }
        let is_out = large[at..]
            .windows(2)
            .any(|pair| pair[0].accounts > pair[1].accounts.saturating_mul(GAP));
        if is_out {
            large[at].told = 1 << accounts.ilog2();
            if let Some(fresh) = self.fresh.get_mut(kind) {
                *fresh = accounts;
            }
        }
        is_out
    }

    /// Takes back what was reported: it was found while not all was seen.
    pub(crate) fn nothing_told(&mut self) {
        self.kinds.iter_mut().flatten().for_each(|large| large.told = 0);
        self.fresh.fill(0);
    }

    /// Kinds of which a key was reported since the last call, each with the accounts of the newest.
    pub(crate) fn take_fresh(&mut self) -> Vec<(usize, u32)> {
        let fresh = self.fresh.iter_mut().enumerate().filter(|(_, accounts)| **accounts > 0);
        fresh.map(|(kind, accounts)| (kind, std::mem::take(accounts))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of accounts of keys, all grown side by side, and the sizes at which key 0 and key 1 are reported.
    fn reported(sizes: &[u32]) -> [Vec<u32>; 2] {
        let mut outliers = Outliers::new(1);
        let mut told = [Vec::new(), Vec::new()];
        let most = sizes.iter().copied().max().unwrap_or(0);
        for step in 1..=most {
            for (key, size) in sizes.iter().enumerate() {
                // In proportion, as keys of one stream grow.
                let accounts = (u64::from(*size) * u64::from(step)).div_ceil(u64::from(most));
                if outliers.observe(0, key as u64, accounts as u32) {
                    told[key].push(accounts as u32);
                }
            }
        }
        told
    }

    #[test]
    fn a_key_far_above_the_rest_is_reported_once_per_doubling() {
        let [first, second] = reported(&[300, 3, 2, 2, 1, 1, 1, 1, 1, 1]);
        assert_eq!((first, second), (vec![64, 128, 256], vec![]));
        // Two placeholders do not hide one another.
        let [first, second] = reported(&[300, 150, 3, 2, 2, 1, 1, 1, 1, 1]);
        assert_eq!((first, second), (vec![64, 128, 256], vec![64, 128]));
    }

    #[test]
    fn keys_that_are_shared_by_nature_are_not_reported() {
        for sizes in [
            &[1000, 500, 333, 250, 200, 166, 142, 125, 111, 100][..],
            &[1000, 250, 111, 62, 40, 27, 20, 15, 12, 10],
            &[63, 1, 1, 1, 1],
            // A few keys are out of line with nothing.
            &[5000],
            &[5000, 40, 3, 2, 1, 1, 1],
        ] {
            assert_eq!(reported(sizes), [Vec::<u32>::new(), Vec::new()], "{sizes:?}");
        }
    }

    #[test]
    fn what_was_saved_is_not_reported_again() {
        let mut outliers = Outliers::new(2);
        for key in 1..9 {
            outliers.observe(1, key, 1);
        }
        let found = (1..=200).filter(|accounts| outliers.observe(1, 0, *accounts)).count();
        assert_eq!(found, 2);
        let saved = serde_json::to_vec(&outliers).expect("JSON");
        assert_eq!(outliers.take_fresh(), [(1_usize, 128_u32)]);
        assert!(outliers.take_fresh().is_empty());
        let mut other = Outliers::new(2);
        other.restore(serde_json::from_slice(&saved).expect("as it was written"));
        assert_eq!(other, outliers);
        assert!((1..256).all(|accounts| !other.observe(1, 0, accounts)));
        assert!(other.observe(1, 0, 256));
    }
}
