//! The widest form of the block that the processor runs.
#![allow(unsafe_code)] // Calling code compiled for AVX2 or AVX-512 is unsafe where the compiler cannot see the check.

use super::{LANES, Plan, Sum};

/// The sums of a block; every form gives the same bits, for all they do is compare, mask and add in order.
pub(crate) fn sum_block<T: Sum>(plan: &Plan<T>, keys: &[[i32; LANES]]) -> [T; LANES] {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("bmi1")
        {
            // SAFETY: the processor has just been found to have these features.
            return unsafe { avx512(plan, keys) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi1") {
            // SAFETY: as above.
            return unsafe { avx2(plan, keys) };
        }
    }
    plan.sum_block(keys)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,bmi1")]
fn avx512<T: Sum>(plan: &Plan<T>, keys: &[[i32; LANES]]) -> [T; LANES] {
    plan.sum_block(keys)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,bmi1")]
fn avx2<T: Sum>(plan: &Plan<T>, keys: &[[i32; LANES]]) -> [T; LANES] {
    plan.sum_block(keys)
}
