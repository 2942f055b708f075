//! Eight numbers that are worked on side by side, as wide as the processor runs them.
//!
//! Every form gives the same bits: each operation is that of IEEE 754, lane by lane, and none is fused with another. Written out,
//! since a compiler that is left to find them finds shuffles.

use super::quadrature::{LANES, Lanes};

/// One number per point, in registers.
pub(super) trait Vector: Copy {
    fn all(value: f64) -> Self;
    fn load(from: &Lanes) -> Self;
    fn store(self, to: &mut Lanes);
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    fn times(self, other: Self) -> Self;
    fn over(self, other: Self) -> Self;
}

/// What every processor runs.
#[derive(Clone, Copy)]
pub(super) struct Plain(Lanes);

impl Plain {
    #[inline(always)]
    fn each(self, other: Self, of: impl Fn(f64, f64) -> f64) -> Self {
        let mut lanes = Lanes::default();
        for lane in 0..LANES {
            lanes.0[lane] = of(self.0.0[lane], other.0.0[lane]);
        }
        Self(lanes)
    }
}

impl Vector for Plain {
    #[inline(always)]
    fn all(value: f64) -> Self {
        Self(Lanes([value; LANES]))
    }

    #[inline(always)]
    fn load(from: &Lanes) -> Self {
        Self(*from)
    }

    #[inline(always)]
    fn store(self, to: &mut Lanes) {
        *to = self.0;
    }

    #[inline(always)]
    fn plus(self, other: Self) -> Self {
        self.each(other, |a, b| a + b)
    }

    #[inline(always)]
    fn minus(self, other: Self) -> Self {
        self.each(other, |a, b| a - b)
    }

    #[inline(always)]
    fn times(self, other: Self) -> Self {
        self.each(other, |a, b| a * b)
    }

    #[inline(always)]
    fn over(self, other: Self) -> Self {
        self.each(other, |a, b| a / b)
    }
}

/// The forms of x86-64. They may be used only in a function that is compiled for, and called on, a processor that has their
/// instructions: that is what makes each `unsafe` below sound.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)] // The processor's instructions; see above.
pub(super) mod x86 {
    use super::{Lanes, Vector};
    use std::arch::x86_64::*;

    /// AVX-512F: one register.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx512(__m512d);

    /// AVX: two registers.
    #[derive(Clone, Copy)]
    pub(in super::super) struct Avx(__m256d, __m256d);

    impl Vector for Avx512 {
        #[inline(always)]
        fn all(value: f64) -> Self {
            // SAFETY: the processor has AVX-512F.
            Self(unsafe { _mm512_set1_pd(value) })
        }

        #[inline(always)]
        fn load(from: &Lanes) -> Self {
            // SAFETY: as above; `Lanes` are eight numbers that begin where a cache line does.
            Self(unsafe { _mm512_load_pd(from.0.as_ptr()) })
        }

        #[inline(always)]
        fn store(self, to: &mut Lanes) {
            // SAFETY: as above.
            unsafe { _mm512_store_pd(to.0.as_mut_ptr(), self.0) }
        }

        #[inline(always)]
        fn plus(self, other: Self) -> Self {
            // SAFETY: the processor has AVX-512F.
            Self(unsafe { _mm512_add_pd(self.0, other.0) })
        }

        #[inline(always)]
        fn minus(self, other: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm512_sub_pd(self.0, other.0) })
        }

        #[inline(always)]
        fn times(self, other: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm512_mul_pd(self.0, other.0) })
        }

        #[inline(always)]
        fn over(self, other: Self) -> Self {
            // SAFETY: as above.
            Self(unsafe { _mm512_div_pd(self.0, other.0) })
        }
    }

    impl Vector for Avx {
        #[inline(always)]
        fn all(value: f64) -> Self {
            // SAFETY: the processor has AVX.
            let all = unsafe { _mm256_set1_pd(value) };
            Self(all, all)
        }

        #[inline(always)]
        fn load(from: &Lanes) -> Self {
            let from = from.0.as_ptr();
            // SAFETY: as above; `Lanes` are eight numbers that begin where a cache line does.
            unsafe { Self(_mm256_load_pd(from), _mm256_load_pd(from.add(4))) }
        }

        #[inline(always)]
        fn store(self, to: &mut Lanes) {
            let to = to.0.as_mut_ptr();
            // SAFETY: as above.
            unsafe {
                _mm256_store_pd(to, self.0);
                _mm256_store_pd(to.add(4), self.1);
            }
        }

        #[inline(always)]
        fn plus(self, other: Self) -> Self {
            // SAFETY: the processor has AVX.
            unsafe { Self(_mm256_add_pd(self.0, other.0), _mm256_add_pd(self.1, other.1)) }
        }

        #[inline(always)]
        fn minus(self, other: Self) -> Self {
            // SAFETY: as above.
            unsafe { Self(_mm256_sub_pd(self.0, other.0), _mm256_sub_pd(self.1, other.1)) }
        }

        #[inline(always)]
        fn times(self, other: Self) -> Self {
            // SAFETY: as above.
            unsafe { Self(_mm256_mul_pd(self.0, other.0), _mm256_mul_pd(self.1, other.1)) }
        }

        #[inline(always)]
        fn over(self, other: Self) -> Self {
            // SAFETY: as above.
            unsafe { Self(_mm256_div_pd(self.0, other.0), _mm256_div_pd(self.1, other.1)) }
        }
    }
}
