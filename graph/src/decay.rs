//! Powers of two and logarithms from IEEE additions and multiplications alone, so that every
//! machine gets the same bits.

use std::f64::consts::LN_2;

/// Fraction bits of [`exp2_fixed`].
pub(crate) const FIXED_BITS: u32 = 20;

/// 2^f for f in [-0.5, 0.5]: Taylor series of e^(f ln 2) to the 6th degree, error below 2e-7; summed in
/// pairs (Estrin's scheme) to shorten the chain of additions.
#[inline]
fn exp2_fraction(f: f64) -> f64 {
    let x = f * LN_2;
    let (x2, low) = (x * x, 1.0 + x);
    let middle = 0.5 + x * (1.0 / 6.0);
    let high = 1.0 / 24.0 + x * (1.0 / 120.0) + x2 * (1.0 / 720.0);
    (low + middle * x2) + high * (x2 * x2)
}

/// 2^-x for x >= 0 (negative x counts as 0); 0 beyond 2^-126.
#[inline]
pub(crate) fn exp2_neg(x: f64) -> f32 {
    if x.is_nan() || x <= 0.0 {
        return 1.0;
    }
    if x >= 126.0 {
        return 0.0;
    }
    let whole = (x + 0.5) as u64;
    let scale = f64::from_bits((1023 - whole) << 52);
    (exp2_fraction(whole as f64 - x) * scale) as f32
}

/// 2^-(age / half-life); ages below 0 count as 0.
#[inline]
pub(crate) fn decay(age_ms: i64, per_half_life: f64) -> f32 {
    exp2_neg(age_ms as f64 * per_half_life)
}

/// 2^x as an integer with [`FIXED_BITS`] bits of fraction, x clamped to 0..=32: terms of a sum that
/// is the same in any order.
pub(crate) fn exp2_fixed(x: f64) -> u64 {
    let x = if x > 0.0 { x.min(32.0) } else { 0.0 };
    let whole = (x + 0.5) as u64;
    let scale = f64::from_bits((1023 + whole + u64::from(FIXED_BITS)) << 52);
    (exp2_fraction(x - whole as f64) * scale) as u64
}

/// Hub discount 1 / (1 + ln(1 + degree)), after FRAUDAR's logarithmic column weights
/// (Hooi et al., KDD 2016). Natural logarithm by the atanh series on the mantissa, error below 1e-5.
pub(crate) fn hub_discount(degree: u32) -> f32 {
    let v = f64::from(degree) + 1.0;
    let exponent = (v.to_bits() >> 52) as i64 - 1023;
    let mantissa = f64::from_bits(v.to_bits() & ((1 << 52) - 1) | 1023 << 52);
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let t2 = t * t;
    let series = 1.0 + t2 * (1.0 / 3.0 + t2 * (0.2 + t2 * (1.0 / 7.0 + t2 * (1.0 / 9.0))));
    (1.0 / (1.0 + exponent as f64 * LN_2 + 2.0 * t * series)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_the_library() {
        for i in 0..4000 {
            let x = f64::from(i) * 0.03;
            let want = (-x).exp2();
            assert!((f64::from(exp2_neg(x)) - want).abs() <= want * 1e-6, "{x}");
            if x <= 32.0 {
                let want = x.exp2() * f64::from(1 << FIXED_BITS);
                assert!((exp2_fixed(x) as f64 - want).abs() <= want * 2e-6, "{x}");
            }
        }
        for degree in (0..5000).chain([1 << 20, u32::MAX]) {
            let want = 1.0 / (1.0 + (1.0 + f64::from(degree)).ln());
            assert!((f64::from(hub_discount(degree)) - want).abs() < 1e-5, "{degree}");
        }
    }

    #[test]
    fn ends() {
        assert_eq!(exp2_neg(0.0), 1.0);
        assert_eq!(exp2_neg(-5.0), 1.0);
        assert_eq!(exp2_neg(1.0), 0.5);
        assert_eq!(exp2_neg(1e300), 0.0);
        assert_eq!(exp2_neg(f64::NAN), 1.0);
        assert_eq!(exp2_fixed(0.0), 1 << FIXED_BITS);
        assert_eq!(exp2_fixed(1e9), exp2_fixed(32.0));
        assert_eq!(decay(i64::MAX, 1.0), 0.0);
    }
}
