//! Distinct counts: three 16-byte sketches per counted thing - lifetime, and the current and previous epoch of the longest half-life.
//!
//! HyperLogLog with 32 registers of four bits, linear counting while small (Flajolet et al. 2007): about 18 % error, 1 million at most.
//! The registers are maxima, so the result does not depend on the order of events while their epochs are kept. Size: 8 + 48 n bytes.

use crate::decay::log2;
use bytemuck::{Pod, Zeroable};

/// Registers per sketch.
const REGISTERS: usize = 32;

/// Columns per counted thing.
pub const COLUMNS: [(&str, &str); 2] = [("distinct", "keys"), ("distinct_recent", "keys")];

/// Four-bit registers, two per byte.
pub type Sketch = [u8; REGISTERS / 2];

/// The three sketches of one counted thing.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, Pod, Zeroable)]
pub struct Distinct {
    /// All keys ever.
    pub lifetime: Sketch,
    /// Keys of the current epoch.
    pub current: Sketch,
    /// Keys of the epoch before.
    pub previous: Sketch,
}

/// Sum of `2^(15 - register)` over the two registers of a byte.
const PAIR_SUM: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = (1u32 << (15 - (i & 15))) + (1u32 << (15 - (i >> 4)));
        i += 1;
    }
    table
};

/// Linear counting: `32 ln(32 / empty)` by the number of empty registers.
const LINEAR: [f32; REGISTERS + 1] = {
    let mut table = [0.0; REGISTERS + 1];
    let mut empty = 1;
    while empty <= REGISTERS {
        table[empty] = (32.0 * log2(32.0 / empty as f64) * std::f64::consts::LN_2) as f32;
        empty += 1;
    }
    table
};

/// Spreads the hash, so that a caller's hash need not be good in every bit (finaliser of splitmix64).
fn spread(hash: u64) -> u64 {
    let mut z = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Adds a key, by its hash.
pub fn insert(sketch: &mut Sketch, hash: u64) {
    let z = spread(hash);
    let register = (z >> 59) as usize;
    let rank = ((z << 5).leading_zeros() + 1).min(15) as u8;
    let byte = &mut sketch[register / 2];
    let shift = 4 * (register % 2);
    if (*byte >> shift) & 15 < rank {
        *byte = *byte & !(15 << shift) | rank << shift;
    }
}

/// The estimated number of different keys; 0 for an empty sketch.
pub fn estimate(sketch: &Sketch) -> f32 {
    let sum: u32 = sketch.iter().map(|byte| PAIR_SUM[usize::from(*byte)]).sum();
    let bits = u128::from_le_bytes(*sketch);
    let set = bits | bits >> 1 | bits >> 2 | bits >> 3;
    let used = (set & (u128::MAX / 15)).count_ones() as usize;
    let empty = REGISTERS - used.min(REGISTERS);
    let raw = 0.697 * (REGISTERS * REGISTERS) as f32 * 32_768.0 / sum as f32;
    if empty > 0 && raw <= 2.5 * REGISTERS as f32 { LINEAR[empty] } else { raw }
}

/// The sketch of both sets together.
pub fn union(a: &Sketch, b: &Sketch) -> Sketch {
    let mut both = *a;
    for (x, y) in both.iter_mut().zip(b) {
        *x = (*x & 15).max(*y & 15) | (*x & 0xf0).max(*y & 0xf0);
    }
    both
}

/// Number of the epoch that a time falls in.
#[inline]
pub fn epoch(ts_ms: i64, epoch_ms: i64) -> i64 {
    ts_ms / epoch_ms.max(1)
}

/// Moves all sketches of a profile to the event's epoch, if it is newer. The epoch is the profile's, shared by its sketches.
pub fn advance(newest: &mut i64, sketches: &mut [Distinct], now: i64) {
    if now <= *newest {
        return;
    }
    let next = now == newest.saturating_add(1);
    for s in sketches {
        s.previous = if next { s.current } else { Sketch::default() };
        s.current = Sketch::default();
    }
    *newest = now;
}

impl Distinct {
    /// Adds a key seen in epoch `now`, after [`advance`]. Older than the previous epoch: lifetime only.
    pub fn observe(&mut self, hash: u64, now: i64, newest: i64) {
        insert(&mut self.lifetime, hash);
        if now == newest {
            insert(&mut self.current, hash);
        } else if now == newest - 1 {
            insert(&mut self.previous, hash);
        }
    }

    /// Lifetime and recent (current and previous epoch as of `now`) estimates, with the event's own keys, which fall in epoch `own_epoch`.
    pub fn extract(
        &self,
        now: i64,
        own_epoch: i64,
        newest: i64,
        own: impl Iterator<Item = u64>,
    ) -> [f32; 2] {
        let mut lifetime = self.lifetime;
        let mut recent = match now.saturating_sub(newest) {
            ..=0 => union(&self.current, &self.previous),
            1 => self.current,
            _ => Sketch::default(),
        };
        for hash in own {
            insert(&mut lifetime, hash);
            if now - own_epoch <= 1 {
                insert(&mut recent, hash);
            }
        }
        [estimate(&lifetime), estimate(&recent)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        /// One key is counted exactly, and no set is thought of another order of size. How near
        /// estimates are is measured below, on fixed sets: chance sets now and then lie far out.
        #[test]
        fn counts_like_a_set(keys in proptest::collection::vec(any::<u16>(), 0..600)) {
            let mut sketch = Sketch::default();
            let mut seen = BTreeSet::new();
            for key in keys {
                insert(&mut sketch, u64::from(key));
                seen.insert(key);
                let (found, exact) = (estimate(&sketch), seen.len() as f32);
                prop_assert!(found <= 5.0 * exact && found >= exact / 5.0, "{found} {exact}");
                prop_assert!(exact > 1.0 || (found - 1.0).abs() < 0.1);
            }
        }

        #[test]
        fn order_and_repetition_do_not_matter(keys in proptest::collection::vec(any::<u64>(), 0..100)) {
            let (mut a, mut b) = (Sketch::default(), Sketch::default());
            keys.iter().for_each(|k| insert(&mut a, *k));
            keys.iter().rev().chain(&keys).for_each(|k| insert(&mut b, *k));
            prop_assert_eq!(a, b);
            prop_assert_eq!(union(&a, &b), a);
        }

        #[test]
        fn epochs_in_any_order(events in proptest::collection::vec((0i64..4, any::<u64>()), 1..60)) {
            let (mut newest, mut s) = (0, [Distinct::default()]);
            for &(e, k) in &events {
                advance(&mut newest, &mut s, e);
                s[0].observe(k, e, newest);
            }
            let mut sorted = events.clone();
            sorted.sort_unstable();
            let (mut newest2, mut s2) = (0, [Distinct::default()]);
            for &(e, k) in &sorted {
                advance(&mut newest2, &mut s2, e);
                s2[0].observe(k, e, newest2);
            }
            prop_assert_eq!((newest, s[0].lifetime, s[0].current, s[0].previous), (newest2, s2[0].lifetime, s2[0].current, s2[0].previous));
        }
    }

    #[test]
    fn is_right_on_average() {
        for exact in [1u64, 5, 20, 100, 1_000, 20_000] {
            let mut error = 0.0;
            let mut bias = 0.0;
            for trial in 0..100u64 {
                let mut sketch = Sketch::default();
                (0..exact).for_each(|k| insert(&mut sketch, spread(trial) ^ k));
                let off = f64::from(estimate(&sketch)) / exact as f64 - 1.0;
                error += off * off / 100.0;
                bias += off / 100.0;
            }
            assert!(
                error.sqrt() < 0.25 && bias.abs() < 0.1,
                "{exact}: rmse {} bias {bias}",
                error.sqrt()
            );
        }
        assert_eq!(estimate(&Sketch::default()), 0.0);
    }
}
