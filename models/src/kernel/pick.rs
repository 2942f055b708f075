//! Sixteen values out of thirty-two, as the processor does it best.

use super::LANES;

/// What lies at the lower five bits of each place.
pub(crate) trait Pick {
    fn singles(values: &[f32; 32], places: &[u32; LANES]) -> [f32; LANES];
    fn doubles(values: &[f64; 32], places: &[u32; LANES]) -> [f64; LANES];
}

/// One after the other.
pub(crate) struct Each;

impl Pick for Each {
    #[inline(always)]
    fn singles(values: &[f32; 32], places: &[u32; LANES]) -> [f32; LANES] {
        places.map(|place| values[(place & 31) as usize])
    }

    #[inline(always)]
    fn doubles(values: &[f64; 32], places: &[u32; LANES]) -> [f64; LANES] {
        places.map(|place| values[(place & 31) as usize])
    }
}

/// AVX-512F: two registers hold 32 singles, four hold 32 doubles, and one instruction picks from two of them. To be used only in a
/// function that is compiled for, and called on, a processor that has it: that is what makes each `unsafe` below sound.
#[cfg(target_arch = "x86_64")]
pub(crate) struct Permute;

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)] // The processor's instructions; see above.
impl Pick for Permute {
    #[inline(always)]
    fn singles(values: &[f32; 32], places: &[u32; LANES]) -> [f32; LANES] {
        use std::arch::x86_64::*;
        let mut picked = [0.0; LANES];
        // SAFETY: the processor has AVX-512F; 16 of the 32 values are read at each place, 16 places are read, 16 values are written.
        unsafe {
            let low = _mm512_loadu_ps(values.as_ptr());
            let high = _mm512_loadu_ps(values.as_ptr().add(16));
            let places = _mm512_loadu_si512(places.as_ptr().cast());
            _mm512_storeu_ps(picked.as_mut_ptr(), _mm512_permutex2var_ps(low, places, high));
        }
        picked
    }

    #[inline(always)]
    fn doubles(values: &[f64; 32], places: &[u32; LANES]) -> [f64; LANES] {
        use std::arch::x86_64::*;
        let mut picked = [0.0; LANES];
        // SAFETY: the processor has AVX-512F; each quarter is 8 of the 32 values, each half 8 of the 16 places and of what is written.
        unsafe {
            let quarter = |number: usize| _mm512_loadu_pd(values.as_ptr().add(8 * number));
            for half in [0, 8] {
                let places = _mm256_loadu_si256(places.as_ptr().add(half).cast());
                let places = _mm512_cvtepu32_epi64(places);
                let low = _mm512_permutex2var_pd(quarter(0), places, quarter(1));
                let high = _mm512_permutex2var_pd(quarter(2), places, quarter(3));
                let is_high = _mm512_test_epi64_mask(places, _mm512_set1_epi64(16));
                let found = _mm512_mask_blend_pd(is_high, low, high);
                _mm512_storeu_pd(picked.as_mut_ptr().add(half), found);
            }
        }
        picked
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    /// Compiled for what [`Permute`] needs.
    #[target_feature(enable = "avx512f")]
    fn permuted(
        singles: &[f32; 32],
        doubles: &[f64; 32],
        places: &[u32; LANES],
    ) -> ([f32; LANES], [f64; LANES]) {
        (Permute::singles(singles, places), Permute::doubles(doubles, places))
    }

    #[test]
    #[allow(unsafe_code)]
    fn permuting_picks_what_is_picked_one_by_one() {
        if !is_x86_feature_detected!("avx512f") {
            return; // Nothing uses it there.
        }
        let singles: [f32; 32] = std::array::from_fn(|i| i as f32 + 0.25);
        let doubles: [f64; 32] = std::array::from_fn(|i| i as f64 + 0.125);
        // Every place in every lane; 32 is what a row without any leaf has, and only its lower bits count.
        for first in 0..=32 {
            let places: [u32; LANES] = std::array::from_fn(|lane| (first + 5 * lane as u32) % 33);
            // SAFETY: the processor has just been found to have it.
            let picked = unsafe { permuted(&singles, &doubles, &places) };
            assert_eq!(picked.0, Each::singles(&singles, &places));
            assert_eq!(picked.1, Each::doubles(&doubles, &places));
            assert_eq!(picked.0[0], (first % 32) as f32 + 0.25);
        }
    }
}
