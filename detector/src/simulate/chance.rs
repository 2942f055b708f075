//! Seeded chance without the platform's mathematics library, so that one seed gives the same bytes on
//! every machine: only IEEE addition, multiplication, division and square roots.

/// Scrambles 64 bits; a bijection (the finaliser of `SplitMix64`, Steele et al., OOPSLA 2014).
pub(super) fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Scrambles two numbers into one.
pub(super) fn mix2(a: u64, b: u64) -> u64 {
    mix(mix(a) ^ b)
}

/// A source of chance: xoshiro256++ (Blackman and Vigna, 2019), seeded by [`mix`].
pub(super) struct Chance {
    state: [u64; 4],
}

impl Chance {
    /// Starts the sequence that belongs to `seed`.
    pub(super) fn new(seed: u64) -> Self {
        Self { state: [mix(seed), mix(seed ^ 0x5EED), mix(seed.rotate_left(17)), mix(!seed) | 1] }
    }

    /// 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        let s = &mut self.state;
        let out = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        out
    }

    /// Uniform in `[0, 1)`.
    pub(super) fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / 9_007_199_254_740_992.0)
    }

    /// Uniform in `0..n`; 0 when `n` is 0.
    pub(super) fn below(&mut self, n: u32) -> u32 {
        (((self.bits() >> 32) * u64::from(n)) >> 32) as u32
    }

    /// Uniform in `low..=high`.
    pub(super) fn whole(&mut self, low: u32, high: u32) -> u32 {
        low + self.below(high.saturating_sub(low).saturating_add(1))
    }

    /// True with probability `p`.
    pub(super) fn yes(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// Uniform in `[low, high)`.
    pub(super) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Exponential with this mean.
    pub(super) fn waiting(&mut self, mean: f64) -> f64 {
        -ln(1.0 - self.unit()) * mean
    }

    /// About normal, mean 0 and deviation 1 (sum of twelve uniforms), never beyond 6.
    pub(super) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }

    /// Log-normal: half of the values lie below `median`; `spread` is the deviation in doublings.
    pub(super) fn skewed(&mut self, median: f64, spread: f64) -> f64 {
        median * exp2(spread * self.normal())
    }

    /// One of `items`, all alike.
    pub(super) fn pick<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        items.get(self.below(items.len() as u32) as usize).copied()
    }

    /// One of `items`, the first ones far more often (index grows with the cube of a uniform).
    pub(super) fn pick_famous<T: Copy>(&mut self, items: &[T]) -> Option<T> {
        let u = self.unit();
        items.get((u * u * u * items.len() as f64) as usize).copied()
    }

    /// An index with probability proportional to its weight.
    pub(super) fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut left = self.unit() * weights.iter().sum::<f64>();
        for (index, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return index;
            }
        }
        weights.len().saturating_sub(1)
    }
}

/// Natural logarithm of a positive normal number, to about 1e-12: exponent plus the series of
/// `2 artanh((m-1)/(m+1))`.
pub(super) fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) as i64) - 1023;
    let mut m = f64::from_bits((bits & 0x000F_FFFF_FFFF_FFFF) | 0x3FF0_0000_0000_0000);
    if m > std::f64::consts::SQRT_2 {
        m *= 0.5;
        exponent += 1;
    }
    let s = (m - 1.0) / (m + 1.0);
    let q = s * s;
    let mut series = 0.0;
    for k in (0..8).rev() {
        series = series * q + 1.0 / f64::from(2 * k + 1);
    }
    exponent as f64 * std::f64::consts::LN_2 + 2.0 * s * series
}

/// Two to the power `x`, to about 1e-11, for |x| < 1000.
pub(super) fn exp2(x: f64) -> f64 {
    let x = x.clamp(-1000.0, 1000.0);
    let whole = x.floor();
    let f = (x - whole - 0.5) * std::f64::consts::LN_2;
    let mut series = 1.0;
    for k in (1..12).rev() {
        series = 1.0 + series * f / f64::from(k);
    }
    series * std::f64::consts::SQRT_2 * f64::from_bits(((whole as i64 + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithm_and_power_agree_with_the_library() {
        for k in 1..2000 {
            let x = f64::from(k) * 0.37;
            assert!((ln(x) - x.ln()).abs() < 1e-9, "ln {x}: {} {}", ln(x), x.ln());
            let y = f64::from(k) * 0.013 - 13.0;
            assert!((exp2(y) / y.exp2() - 1.0).abs() < 1e-9, "exp2 {y}: {} {}", exp2(y), y.exp2());
        }
    }

    #[test]
    fn draws_have_the_stated_means() {
        let mut chance = Chance::new(3);
        let n = 40_000;
        let mean = |f: &mut dyn FnMut() -> f64| (0..n).map(|_| f()).sum::<f64>() / f64::from(n);
        assert!((mean(&mut || chance.waiting(5.0)) - 5.0).abs() < 0.15);
        assert!(mean(&mut || chance.normal()).abs() < 0.03);
        let low = mean(&mut || f64::from(u8::from(chance.skewed(10.0, 1.5) < 10.0)));
        assert!((low - 0.5).abs() < 0.02);
        let first = mean(&mut || chance.weighted(&[3.0, 1.0]) as f64);
        assert!((first - 0.25).abs() < 0.02);
        assert_eq!(chance.pick::<u8>(&[]), None);
        assert_eq!(chance.below(0), 0);
    }
}
