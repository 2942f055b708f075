//! Seeded randomness: the same seed draws the same numbers on every machine.

/// SplitMix64 (Steele, Lea and Flood 2014): small, fast, and good enough for sampling rows.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// A generator for `seed`; `stream` keeps several users of one seed apart.
    #[must_use]
    pub fn new(seed: u64, stream: u64) -> Self {
        Self(mix(seed ^ mix(stream.wrapping_add(0x9e37_79b9_7f4a_7c15))))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number in [0, 1), 53 bits.
    pub fn unit(&mut self) -> f64 {
        to_unit(self.next_u64())
    }

    /// A number in 0..bound (multiply-shift; the bias is below 2^-32 for any bound that fits a row count). 0 for bound 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next_u64()) * bound as u128) >> 64) as usize
    }
}

/// A number in [0, 1) that depends on `seed` and `key` alone, so that a choice about a row does not depend on the rows before it.
#[must_use]
pub fn unit_of(seed: u64, key: u64) -> f64 {
    to_unit(mix(
        mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15)) ^ key.wrapping_mul(0xd1b5_4a32_d192_ed03)
    ))
}

/// The finaliser of SplitMix64: spreads every input bit over the output.
#[must_use]
pub fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn to_unit(bits: u64) -> f64 {
    (bits >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_repeatable_and_even() {
        let mut a = Chance::new(7, 1);
        let mut b = Chance::new(7, 1);
        let drawn: Vec<u64> = (0..50).map(|_| a.next_u64()).collect();
        assert!(drawn.iter().all(|&x| x == b.next_u64()));
        assert_ne!(Chance::new(7, 2).next_u64(), drawn[0]);
        let mean = (0..10_000).map(|_| a.unit()).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        let mean = (0..10_000).map(|key| unit_of(3, key)).sum::<f64>() / 10_000.0;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        assert!((0..1000).all(|_| a.below(7) < 7));
        assert_eq!(a.below(0), 0);
    }
}
