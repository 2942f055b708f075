//! The widest form of the block that the processor runs.
#![allow(unsafe_code)] // Calling code compiled for AVX2 or AVX-512 is unsafe where the compiler cannot see the check.

use super::pick::Each;
#[cfg(target_arch = "x86_64")]
use super::pick::Permute;
use super::{LANES, Plan, Rows, Sum};

/// Whether a block is worth its while: without AVX2 it takes about five times as long, and walks do better for most forests.
pub(crate) fn blocks_are_fast() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi1")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

/// The sums of a block; every form gives the same bits, for all they do is compare, mask and add in order.
pub(crate) fn sum_rows<T: Sum>(plan: &Plan<T>, rows: Rows<'_>) -> [T; LANES] {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512cd")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("bmi1")
        {
            // SAFETY: the processor has just been found to have these features.
            return unsafe { avx512(plan, rows) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi1") {
            // SAFETY: as above.
            return unsafe { avx2(plan, rows) };
        }
    }
    plan.sum_rows::<Each>(rows)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512cd,avx512vl,bmi1")]
fn avx512<T: Sum>(plan: &Plan<T>, rows: Rows<'_>) -> [T; LANES] {
    plan.sum_rows::<Permute>(rows)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1")]
fn avx2<T: Sum>(plan: &Plan<T>, rows: Rows<'_>) -> [T; LANES] {
    plan.sum_rows::<Each>(rows)
}

#[cfg(test)]
mod tests {
    use super::super::{Kernel, Trees};
    use super::*;
    use crate::forest::lightgbm;

    #[test]
    fn every_form_gives_the_same_bits() {
        let files: [&[u8]; 3] = [
            include_bytes!("../../tests/parity/fixtures/lgb_categorical.txt"),
            include_bytes!("../../tests/parity/fixtures/lgb_wide.txt"),
            include_bytes!("../../tests/parity/fixtures/lgb_large.txt"),
        ];
        for file in files {
            let forest = lightgbm::from_text(file).unwrap();
            let kernel = Kernel::new(&forest);
            let Trees::F64(plan) = &kernel.trees else { panic!("LightGBM sums in f64") };
            let mut rows: Vec<f32> =
                (0..LANES * 6).map(|i| (i * 37 % 101) as f32 / 25.0 - 2.0).collect();
            let awkward = [f32::NAN, -0.0, f32::INFINITY, f32::NEG_INFINITY, 1e-35, -1e-38];
            for (place, value) in awkward.into_iter().enumerate() {
                // In every column once, in rows of their own.
                (0..6).for_each(|column| rows[6 * (2 * place + column % 2) + column] = value);
            }
            let expected: Vec<f64> = rows.chunks(6).map(|row| forest.margin(row)).collect();
            let mut keys = Vec::new();
            let mut sums = |form: &dyn Fn(Rows<'_>) -> [f64; LANES]| {
                let rows =
                    Rows { inputs: &kernel.inputs, values: &rows, columns: 6, keys: &mut keys };
                form(rows).to_vec()
            };
            assert_eq!(sums(&|rows| plan.sum_rows::<Each>(rows)), expected, "plain");
            assert_eq!(sums(&|rows| sum_rows(plan, rows)), expected, "the widest");
            #[cfg(target_arch = "x86_64")]
            if blocks_are_fast() {
                // SAFETY: that is the check for AVX2 and BMI1.
                assert_eq!(sums(&|rows| unsafe { avx2(plan, rows) }), expected, "AVX2");
            }
        }
    }
}
