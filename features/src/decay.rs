//! Powers and logarithms that are the same bits on every machine: IEEE additions and multiplications only, no library call.

/// `2^-x` for `x >= 0`; 1 for `x <= 0`, 0 from 126 on (and for NaN). Relative error below 3e-7.
#[inline]
pub fn exp2_neg(x: f32) -> f32 {
    exp2_neg_all([x])[0]
}

/// [`exp2_neg`] of several values at once, free of branches so that they are done side by side.
///
/// Range-reduced to `[-0.5, 0.5]`, then the Taylor polynomial of `2^r` of degree 6. Adding 1.5 * 2^23 rounds to a whole number and leaves
/// it in the low bits.
#[inline]
pub fn exp2_neg_all<const N: usize>(x: [f32; N]) -> [f32; N] {
    const ROUND: f32 = 12_582_912.0;
    const TERMS: [f32; 6] = [
        std::f32::consts::LN_2,
        0.240_226_5,
        0.055_504_11,
        0.009_618_13,
        0.001_333_355_8,
        0.000_154_035_3,
    ];
    let mut out = [0.0; N];
    for (out, x) in out.iter_mut().zip(x) {
        // The comparisons are false for NaN.
        let inside = if x > 0.0 { x } else { 0.0 };
        let inside = if inside < 126.0 { inside } else { 126.0 };
        let shifted = inside + ROUND;
        let whole = shifted.to_bits().wrapping_sub(ROUND.to_bits());
        let r = (shifted - ROUND) - inside;
        let [a, b, c, d, e, f] = TERMS;
        let p = 1.0 + r * (a + r * (b + r * (c + r * (d + r * (e + r * f)))));
        let power = p * f32::from_bits(127u32.wrapping_sub(whole) << 23);
        *out = if x < 126.0 { power } else { 0.0 };
    }
    out
}

/// What is left of a decayed value after `dt_ms`: `2^(-dt/half_life)`. 1 when no time has passed or `dt_ms` is negative; a half-life of
/// 0 or less forgets at once.
///
/// ```
/// assert_eq!(features::decay::decay_factor(600_000, 600_000), 0.5);
/// ```
#[inline]
pub fn decay_factor(dt_ms: i64, half_life_ms: i64) -> f32 {
    if dt_ms <= 0 {
        return 1.0;
    }
    if half_life_ms <= 0 {
        return 0.0;
    }
    exp2_neg((dt_ms as f64 / half_life_ms as f64) as f32)
}

/// The four half-lives of a schema, ready to use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HalfLives {
    /// The half-lives in milliseconds, shortest first.
    pub ms: [i64; 4],
}

impl HalfLives {
    /// [`decay_factor`] for each half-life (at least 1 ms).
    #[inline]
    pub fn factors(&self, dt_ms: i64) -> [f32; 4] {
        let dt_ms = dt_ms.max(0) as f64;
        let mut x = [0.0; 4];
        for (x, half_life_ms) in x.iter_mut().zip(self.ms) {
            *x = (dt_ms / half_life_ms.max(1) as f64) as f32;
        }
        exp2_neg_all(x)
    }
}

/// Base-2 logarithm for `x > 0`, absolute error below 1e-6; 0 for everything else, so that nothing infinite enters a state.
///
/// Mantissa in `[sqrt(1/2), sqrt(2))`, then `2/ln 2 * atanh((m-1)/(m+1))` as an odd polynomial of degree 9.
#[inline]
pub const fn log2(x: f64) -> f64 {
    if !(x > 0.0 && x < f64::INFINITY) {
        return 0.0;
    }
    let bits = x.to_bits();
    let mut exponent = ((bits >> 52) as i64 - 1023) as f64;
    let mut m = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    if m > std::f64::consts::SQRT_2 {
        m *= 0.5;
        exponent += 1.0;
    }
    let t = (m - 1.0) / (m + 1.0);
    let t2 = t * t;
    let series = t * (1.0 + t2 * (1.0 / 3.0 + t2 * (0.2 + t2 * (1.0 / 7.0 + t2 * (1.0 / 9.0)))));
    exponent + series * (2.0 * std::f64::consts::LOG2_E)
}

/// `c * log2(c)` for every value of a histogram bin, in units of 2^-16: whole numbers add up quickly and exactly.
const COUNT_LOG: [u32; 256] = {
    let mut table = [0; 256];
    let mut c = 1;
    while c < 256 {
        table[c] = (c as f64 * log2(c as f64) * 65_536.0 + 0.5) as u32;
        c += 1;
    }
    table
};

/// Entropy in bits of a histogram of small counts; NaN when it is empty. `log2 N - (sum of c log2 c) / N`.
pub fn entropy(bins: &[u8]) -> f32 {
    let mut total = 0u32;
    let mut sum = 0u64;
    for &c in bins {
        total += u32::from(c);
        sum += u64::from(COUNT_LOG[usize::from(c)]);
    }
    if total == 0 {
        return f32::NAN;
    }
    let total = f64::from(total);
    (log2(total) - sum as f64 / 65_536.0 / total).max(0.0) as f32
}

/// One more in a bin; when the bin is full, all bins are halved first, so that old habits fade.
pub fn bump(bins: &mut [u8], at: usize) {
    if bins.get(at) == Some(&u8::MAX) {
        bins.iter_mut().for_each(|c| *c /= 2);
    }
    if let Some(c) = bins.get_mut(at) {
        *c += 1;
    }
}

/// Sine of a part of a full turn (`0.25` is a right angle), absolute error below 5e-6. For reads only.
pub fn sin_turn(turns: f32) -> f32 {
    let whole = turns.floor();
    let mut q = turns - whole;
    if q > 0.75 {
        q -= 1.0;
    } else if q > 0.25 {
        q = 0.5 - q;
    }
    let x = q * std::f32::consts::TAU;
    let x2 = x * x;
    x * (1.0 - x2 / 6.0 * (1.0 - x2 / 20.0 * (1.0 - x2 / 42.0 * (1.0 - x2 / 72.0))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn power_matches_the_library(x in 0.0f32..125.0) {
            let exact = (-f64::from(x)).exp2();
            prop_assert!(((f64::from(exp2_neg(x)) - exact) / exact).abs() < 3e-7);
        }

        #[test]
        fn factor_never_leaves_zero_to_one(dt in any::<i64>(), h in any::<i64>()) {
            let f = decay_factor(dt, h);
            prop_assert!((0.0..=1.0).contains(&f));
        }

        #[test]
        fn side_by_side_is_one_by_one(dt in any::<i64>()) {
            let half_lives = HalfLives { ms: [1, 600_000, 86_400_000, i64::MAX] };
            prop_assert_eq!(half_lives.factors(dt), half_lives.ms.map(|h| decay_factor(dt, h)));
        }

        #[test]
        fn two_steps_are_one(a in 0i64..1_000_000_000, b in 0i64..1_000_000_000, h in 1_000_000i64..1_000_000_000) {
            let (once, twice) = (decay_factor(a + b, h), decay_factor(a, h) * decay_factor(b, h));
            prop_assert!((once - twice).abs() <= 1e-5 * once + 1e-30);
        }

        #[test]
        fn logarithm_matches_the_library(x in 1e-6f64..1e15) {
            prop_assert!((log2(x) - x.log2()).abs() < 1e-8 + 1e-9 * x.log2().abs());
        }

        #[test]
        fn sine_matches_the_library(t in -3.0f32..3.0) {
            prop_assert!((sin_turn(t) - (t * std::f32::consts::TAU).sin()).abs() < 1e-5);
        }

        #[test]
        fn entropy_matches_the_definition(bins in proptest::collection::vec(any::<u8>(), 1..30)) {
            let n: f64 = bins.iter().map(|&c| f64::from(c)).sum();
            let naive: f64 = bins.iter().filter(|&&c| c > 0).map(|&c| { let p = f64::from(c) / n; -p * p.log2() }).sum();
            if n > 0.0 { prop_assert!((f64::from(entropy(&bins)) - naive).abs() < 1e-4); } else { prop_assert!(entropy(&bins).is_nan()); }
        }
    }

    #[test]
    fn edges() {
        assert_eq!(exp2_neg(0.0), 1.0);
        assert_eq!(exp2_neg(1.0), 0.5);
        assert_eq!(exp2_neg(-3.0), 1.0);
        assert_eq!(exp2_neg(1e9), 0.0);
        assert_eq!(exp2_neg(f32::NAN), 0.0);
        assert_eq!(decay_factor(i64::MAX, 1), 0.0);
        let mut bins = [255, 4];
        bump(&mut bins, 0);
        assert_eq!(bins, [128, 2]);
        bump(&mut bins, 9);
        assert_eq!(bins, [128, 2]);
    }
}
