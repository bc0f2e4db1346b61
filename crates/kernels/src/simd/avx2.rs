//! Eight lanes with AVX2 and FMA.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "a token exists only where the CPU has the instructions (see super)"
)]

use super::{Kernel, Simd};
use half::bf16;
use std::arch::x86_64::*;

#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

/// # Safety
/// The CPU has the named sets.
#[target_feature(enable = "avx2,fma")]
pub(super) unsafe fn enter<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2(()))
}

const N: usize = 8;
type V = __m256;

impl Simd for Avx2 {
    const LANES: usize = N;
    type F = V;
    type M = V;

    #[inline(always)]
    fn splat(self, x: f32) -> V {
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    fn load(self, x: &[f32]) -> V {
        assert!(x.len() >= N);
        unsafe { _mm256_loadu_ps(x.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, v: V, out: &mut [f32]) {
        assert!(out.len() >= N);
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn load_bf16(self, x: &[bf16]) -> V {
        assert!(x.len() >= N);
        unsafe {
            let x = _mm_loadu_si128(x.as_ptr().cast());
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(x)))
        }
    }
    #[inline(always)]
    fn store_bf16(self, v: V, out: &mut [bf16]) {
        assert!(out.len() >= N);
        unsafe {
            let bits = _mm256_castps_si256(v);
            let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
            let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
            let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x40_0000));
            let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(v, v));
            let high = _mm256_srli_epi32::<16>(_mm256_blendv_epi8(rounded, quiet, nan));
            let packed = _mm256_permute4x64_epi64::<0b1000>(_mm256_packus_epi32(high, high));
            _mm_storeu_si128(out.as_mut_ptr().cast(), _mm256_castsi256_si128(packed));
        }
    }
    #[inline(always)]
    unsafe fn load_ptr(self, x: *const f32) -> V {
        unsafe { _mm256_loadu_ps(x) }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, v: V, out: *mut f32) {
        unsafe { _mm256_storeu_ps(out, v) }
    }
    #[inline(always)]
    fn add(self, a: V, b: V) -> V {
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: V, b: V) -> V {
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: V, b: V) -> V {
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: V, b: V) -> V {
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: V, b: V, c: V) -> V {
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: V, b: V) -> V {
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: V, b: V) -> V {
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: V) -> V {
        unsafe { _mm256_sqrt_ps(a) }
    }
    #[inline(always)]
    fn round(self, a: V) -> V {
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn abs(self, a: V) -> V {
        unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), a) }
    }
    #[inline(always)]
    fn copysign(self, magnitude: V, sign: V) -> V {
        unsafe {
            let bit = _mm256_set1_ps(-0.0);
            _mm256_or_ps(_mm256_andnot_ps(bit, magnitude), _mm256_and_ps(bit, sign))
        }
    }
    #[inline(always)]
    fn scale_by_power(self, a: V, n: V) -> V {
        // In two halves, so that results below the smallest normal number and above half the largest come out right.
        unsafe {
            let n = _mm256_cvtps_epi32(n);
            let half = _mm256_srai_epi32::<1>(n);
            let bias = _mm256_set1_epi32(127);
            let first = _mm256_slli_epi32::<23>(_mm256_add_epi32(half, bias));
            let second = _mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_sub_epi32(n, half), bias));
            _mm256_mul_ps(_mm256_mul_ps(a, _mm256_castsi256_ps(first)), _mm256_castsi256_ps(second))
        }
    }
    #[inline(always)]
    fn split_fraction(self, a: V) -> (V, V) {
        let a = self.max(self.splat(-252.0), a);
        let floor = unsafe { _mm256_floor_ps(a) };
        (self.sub(a, floor), floor)
    }
    #[inline(always)]
    fn split_exponent(self, a: V) -> (V, V) {
        unsafe {
            let bits = _mm256_castps_si256(a);
            let shifted = _mm256_sub_epi32(bits, _mm256_set1_epi32(0.75f32.to_bits() as i32));
            let exponent = _mm256_srai_epi32::<23>(shifted);
            let mantissa = _mm256_sub_epi32(bits, _mm256_slli_epi32::<23>(exponent));
            (_mm256_castsi256_ps(mantissa), _mm256_cvtepi32_ps(exponent))
        }
    }
    #[inline(always)]
    fn less(self, a: V, b: V) -> V {
        unsafe { _mm256_cmp_ps::<_CMP_LT_OQ>(a, b) }
    }
    #[inline(always)]
    fn equal(self, a: V, b: V) -> V {
        unsafe { _mm256_cmp_ps::<_CMP_EQ_OQ>(a, b) }
    }
    #[inline(always)]
    fn select(self, mask: V, yes: V, no: V) -> V {
        unsafe { _mm256_blendv_ps(no, yes, mask) }
    }
}
