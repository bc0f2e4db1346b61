//! Vectors of f32 for the epilogue, so that each activation is written once.
//!
//! `f32` itself is the one-lane vector, used for ragged ends. All methods are inlined into functions that enable the
//! instruction set, and must only be called from such.

use half::bf16;

/// A vector of f32.
///
/// # Safety
/// Callers of any method must run on a machine with the vector's instruction set; pointers must be valid for `N` elements.
pub(crate) unsafe trait Lanes: Copy {
    const N: usize;
    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    unsafe fn load_bf16(from: *const bf16) -> Self;
    unsafe fn store_bf16(self, to: *mut bf16);
    /// [`Lanes::load`] of the first `n` lanes, 0 < n < N; the others are zero. The next three are of such parts too.
    #[inline(always)]
    unsafe fn load_part(from: *const f32, n: usize) -> Self {
        let mut lanes = [0f32; 16];
        // SAFETY: the caller's promise for `n` elements; the array holds any vector.
        unsafe {
            std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), n);
            Self::load(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_part(self, to: *mut f32, n: usize) {
        let mut lanes = [0f32; 16];
        // SAFETY: as above.
        unsafe {
            self.store(lanes.as_mut_ptr());
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, n);
        }
    }
    #[inline(always)]
    unsafe fn load_bf16_part(from: *const bf16, n: usize) -> Self {
        let mut lanes = [bf16::ZERO; 16];
        // SAFETY: as above.
        unsafe {
            std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), n);
            Self::load_bf16(lanes.as_ptr())
        }
    }
    #[inline(always)]
    unsafe fn store_bf16_part(self, to: *mut bf16, n: usize) {
        let mut lanes = [bf16::ZERO; 16];
        // SAFETY: as above.
        unsafe {
            self.store_bf16(lanes.as_mut_ptr());
            std::ptr::copy_nonoverlapping(lanes.as_ptr(), to, n);
        }
    }
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    unsafe fn div(self, other: Self) -> Self;
    /// `self · factor + term`.
    unsafe fn mul_add(self, factor: Self, term: Self) -> Self;
    /// 2 to the power of self, limited to 2^±126, to 2 units in the last place.
    #[inline(always)]
    unsafe fn exp2(self) -> Self {
        const MAGIC: f32 = 12_582_912.0; // 1.5·2²³: adding it rounds to an integer
        // SAFETY: the caller's promise.
        unsafe {
            let x = Self::splat(-126.0).max(Self::splat(126.0).min(self));
            let shifted = x.add(Self::splat(MAGIC));
            let r = x.sub(shifted.sub(Self::splat(MAGIC)));
            exp2_fraction(r).mul(shifted.power_of_two())
        }
    }
    /// 1 / self to 2 units in the last place, without a division, for 2⁻¹²⁶ < self < 2¹²⁶.
    unsafe fn reciprocal(self) -> Self;
    /// 1 / (1 + e⁻ˣ) for results that are rounded to bf16: a relative error of at most 2⁻¹², an eighth of that rounding.
    #[inline(always)]
    unsafe fn rough_sigmoid(self) -> Self {
        // SAFETY: the caller's promise.
        unsafe { quick_sigmoid(self) }
    }
    unsafe fn max(self, other: Self) -> Self;
    unsafe fn min(self, other: Self) -> Self;
    /// `positive` where self > 0, else `other`.
    unsafe fn where_positive(self, positive: Self, other: Self) -> Self;
    /// 2ⁿ, where self is n + 1.5·2²³ (so that n stands in the low bits).
    unsafe fn power_of_two(self) -> Self;
}

// SAFETY: plain Rust; the pointers are the caller's promise.
unsafe impl Lanes for f32 {
    const N: usize = 1;
    #[inline(always)]
    unsafe fn splat(value: f32) -> f32 {
        value
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { *from }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { *to = self }
    }
    #[inline(always)]
    unsafe fn load_bf16(from: *const bf16) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { crate::Element::to_f32(*from) }
    }
    #[inline(always)]
    unsafe fn store_bf16(self, to: *mut bf16) {
        // SAFETY: the caller's promise.
        unsafe { *to = crate::Element::from_f32(self) }
    }
    #[inline(always)]
    unsafe fn add(self, other: f32) -> f32 {
        self + other
    }
    #[inline(always)]
    unsafe fn sub(self, other: f32) -> f32 {
        self - other
    }
    #[inline(always)]
    unsafe fn mul(self, other: f32) -> f32 {
        self * other
    }
    #[inline(always)]
    unsafe fn div(self, other: f32) -> f32 {
        self / other
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: f32, term: f32) -> f32 {
        self * factor + term
    }
    #[inline(always)]
    unsafe fn reciprocal(self) -> f32 {
        1.0 / self
    }
    #[inline(always)]
    unsafe fn max(self, other: f32) -> f32 {
        if self > other { self } else { other }
    }
    #[inline(always)]
    unsafe fn min(self, other: f32) -> f32 {
        if self < other { self } else { other }
    }
    #[inline(always)]
    unsafe fn where_positive(self, positive: f32, other: f32) -> f32 {
        if self > 0.0 { positive } else { other }
    }
    #[inline(always)]
    unsafe fn power_of_two(self) -> f32 {
        f32::from_bits((self.to_bits() << 23).wrapping_add(0x3f80_0000))
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::Wide;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Lanes, bf16, exp2_fraction};
    use std::arch::x86_64::*;

    /// Sixteen lanes of AVX-512, with its bf16 conversion where the machine has one (which flushes subnormals to 0).
    #[derive(Clone, Copy)]
    pub(crate) struct Wide<const BF16: bool>(__m512);

    /// The mask of the first `n` < 16 lanes.
    fn first(n: usize) -> __mmask16 {
        (1 << n) - 1
    }

    // SAFETY: AVX-512 intrinsics, on pointers that the caller promises.
    #[allow(clippy::undocumented_unsafe_blocks)] // one promise for the whole impl, stated above
    unsafe impl<const BF16: bool> Lanes for Wide<BF16> {
        const N: usize = 16;
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            Wide(unsafe { _mm512_set1_ps(value) })
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Wide(unsafe { _mm512_loadu_ps(from) })
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self.0) }
        }
        #[inline(always)]
        unsafe fn load_bf16(from: *const bf16) -> Self {
            unsafe {
                let narrow = _mm256_loadu_si256(from.cast());
                Wide(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(narrow))))
            }
        }
        #[inline(always)]
        unsafe fn store_bf16(self, to: *mut bf16) {
            unsafe {
                if BF16 {
                    let narrow = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(self.0));
                    return _mm256_storeu_si256(to.cast(), narrow);
                }
                let bits = _mm512_castps_si512(self.0);
                let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
                let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
                let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(self.0, self.0);
                let kept = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x0040_0000));
                _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(kept)));
            }
        }
        #[inline(always)]
        unsafe fn load_part(from: *const f32, n: usize) -> Self {
            Wide(unsafe { _mm512_maskz_loadu_ps(first(n), from) })
        }
        #[inline(always)]
        unsafe fn store_part(self, to: *mut f32, n: usize) {
            unsafe { _mm512_mask_storeu_ps(to, first(n), self.0) }
        }
        #[inline(always)]
        unsafe fn load_bf16_part(from: *const bf16, n: usize) -> Self {
            unsafe {
                let narrow = _mm256_maskz_loadu_epi16(first(n), from.cast());
                Wide(_mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(narrow))))
            }
        }
        #[inline(always)]
        unsafe fn store_bf16_part(self, to: *mut bf16, n: usize) {
            let mut lanes = [bf16::ZERO; 16];
            unsafe {
                self.store_bf16(lanes.as_mut_ptr());
                _mm256_mask_storeu_epi16(to.cast(), first(n), _mm256_loadu_si256(lanes.as_ptr().cast()));
            }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            Wide(unsafe { _mm512_add_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            Wide(unsafe { _mm512_sub_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            Wide(unsafe { _mm512_mul_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn div(self, other: Self) -> Self {
            Wide(unsafe { _mm512_div_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn mul_add(self, factor: Self, term: Self) -> Self {
            Wide(unsafe { _mm512_fmadd_ps(self.0, factor.0, term.0) })
        }
        #[inline(always)]
        unsafe fn exp2(self) -> Self {
            unsafe {
                let x = _mm512_max_ps(_mm512_set1_ps(-126.0), _mm512_min_ps(_mm512_set1_ps(126.0), self.0));
                // What is left of rounding to a whole number, and the power of that number.
                let r = Wide::<BF16>(_mm512_reduce_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(x));
                let whole = _mm512_sub_ps(x, r.0);
                Wide(_mm512_scalef_ps(exp2_fraction(r).0, whole))
            }
        }
        #[inline(always)]
        unsafe fn reciprocal(self) -> Self {
            unsafe {
                // A step of Newton's doubles the good digits.
                let rough = _mm512_rcp14_ps(self.0);
                let two = _mm512_set1_ps(2.0);
                Wide(_mm512_mul_ps(rough, _mm512_fnmadd_ps(self.0, rough, two)))
            }
        }
        #[inline(always)]
        unsafe fn rough_sigmoid(self) -> Self {
            unsafe {
                let x = _mm512_mul_ps(self.0, _mm512_set1_ps(-std::f32::consts::LOG2_E));
                // 2 to what is left of rounding down (minimax for the relative error, 7.5e-5); `scalef` rounds down itself.
                let r = _mm512_reduce_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(x);
                let mut p = _mm512_fmadd_ps(r, _mm512_set1_ps(0.078_024_55), _mm512_set1_ps(0.226_067_14));
                p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.695_833_5));
                p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.999_925_2));
                Wide(_mm512_rcp14_ps(_mm512_add_ps(_mm512_scalef_ps(p, x), _mm512_set1_ps(1.0))))
            }
        }
        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            Wide(unsafe { _mm512_max_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn min(self, other: Self) -> Self {
            Wide(unsafe { _mm512_min_ps(self.0, other.0) })
        }
        #[inline(always)]
        unsafe fn where_positive(self, positive: Self, other: Self) -> Self {
            unsafe {
                let mask = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(self.0, _mm512_setzero_ps());
                Wide(_mm512_mask_blend_ps(mask, other.0, positive.0))
            }
        }
        #[inline(always)]
        unsafe fn power_of_two(self) -> Self {
            unsafe {
                let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(self.0));
                Wide(_mm512_castsi512_ps(_mm512_add_epi32(exponent, _mm512_set1_epi32(0x3f80_0000))))
            }
        }
    }

    // SAFETY: AVX2 and FMA intrinsics, on pointers that the caller promises.
    #[allow(clippy::undocumented_unsafe_blocks)] // one promise for the whole impl, stated above
    unsafe impl Lanes for __m256 {
        const N: usize = 8;
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            unsafe { _mm256_set1_ps(value) }
        }
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            unsafe { _mm256_loadu_ps(from) }
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm256_storeu_ps(to, self) }
        }
        #[inline(always)]
        unsafe fn load_bf16(from: *const bf16) -> Self {
            unsafe {
                let narrow = _mm_loadu_si128(from.cast());
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(narrow)))
            }
        }
        #[inline(always)]
        unsafe fn store_bf16(self, to: *mut bf16) {
            unsafe {
                let bits = _mm256_castps_si256(self);
                let odd = _mm256_and_si256(_mm256_srli_epi32::<16>(bits), _mm256_set1_epi32(1));
                let rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
                let quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x0040_0000));
                let nan = _mm256_castps_si256(_mm256_cmp_ps::<_CMP_UNORD_Q>(self, self));
                let kept = _mm256_srli_epi32::<16>(_mm256_blendv_epi8(rounded, quiet, nan));
                let low = _mm256_castsi256_si128(kept);
                let high = _mm256_extracti128_si256::<1>(kept);
                _mm_storeu_si128(to.cast(), _mm_packus_epi32(low, high));
            }
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            unsafe { _mm256_add_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            unsafe { _mm256_sub_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            unsafe { _mm256_mul_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn div(self, other: Self) -> Self {
            unsafe { _mm256_div_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn mul_add(self, factor: Self, term: Self) -> Self {
            unsafe { _mm256_fmadd_ps(self, factor, term) }
        }
        #[inline(always)]
        unsafe fn reciprocal(self) -> Self {
            unsafe {
                let rough = _mm256_rcp_ps(self);
                let two = _mm256_set1_ps(2.0);
                let better = _mm256_mul_ps(rough, _mm256_fnmadd_ps(self, rough, two));
                _mm256_mul_ps(better, _mm256_fnmadd_ps(self, better, two))
            }
        }
        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            unsafe { _mm256_max_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn min(self, other: Self) -> Self {
            unsafe { _mm256_min_ps(self, other) }
        }
        #[inline(always)]
        unsafe fn where_positive(self, positive: Self, other: Self) -> Self {
            unsafe { _mm256_blendv_ps(other, positive, _mm256_cmp_ps::<_CMP_GT_OQ>(self, _mm256_setzero_ps())) }
        }
        #[inline(always)]
        unsafe fn power_of_two(self) -> Self {
            unsafe {
                let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(self));
                _mm256_castsi256_ps(_mm256_add_epi32(exponent, _mm256_set1_epi32(0x3f80_0000)))
            }
        }
    }
}

/// eˣ to about 2 units in the last place; 0 and infinity are approached but not reached (x is clamped to ±87).
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn exp<L: Lanes>(x: L) -> L {
    const MAGIC: f32 = 12_582_912.0; // 1.5·2²³: adding it rounds to an integer
    // SAFETY: the caller's promise.
    unsafe {
        // The operand order keeps a NaN: min and max return their second operand then.
        let x = L::splat(-87.0).max(L::splat(87.0).min(x));
        let shifted = x.mul_add(L::splat(std::f32::consts::LOG2_E), L::splat(MAGIC));
        let n = shifted.sub(L::splat(MAGIC));
        // ln 2 in two parts, the first with few bits, so that n times it is exact.
        let r = n.mul_add(L::splat(-0.693_359_4), x);
        let r = n.mul_add(L::splat(2.121_944_4e-4), r);
        let mut p = L::splat(1.0 / 5040.0);
        for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
            p = p.mul_add(r, L::splat(c));
        }
        p.mul(shifted.power_of_two())
    }
}

/// 2ʳ for -½ <= r <= ½, by a polynomial that is exact at 0 and strays by 1 part in 10⁷ at most (fitted by iterated least squares).
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
unsafe fn exp2_fraction<L: Lanes>(r: L) -> L {
    // SAFETY: the caller's promise.
    unsafe {
        let mut p = L::splat(0.001_326_471);
        for c in [0.009_671_51, 0.055_507_34, 0.240_222_42, std::f32::consts::LN_2, 1.0] {
            p = p.mul_add(r, L::splat(c));
        }
        p
    }
}

/// [`sigmoid`] in less time: an error of the exponent's size, |x| · 10⁻⁷, for |x| < 87.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn quick_sigmoid<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's promise.
    unsafe { L::splat(1.0).add(x.mul(L::splat(-std::f32::consts::LOG2_E)).exp2()).reciprocal() }
}

/// 1 / (1 + e⁻ˣ).
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn sigmoid<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's promise.
    unsafe {
        let one = L::splat(1.0);
        one.div(one.add(exp(L::splat(0.0).sub(x))))
    }
}

/// tanh, to an absolute error of about 1e-7.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn tanh<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's promise.
    unsafe { sigmoid(x.add(x)).mul_add(L::splat(2.0), L::splat(-1.0)) }
}

/// x·Φ(x) with erf by Abramowitz & Stegun 7.1.26 (absolute error 1.5e-7).
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
pub(crate) unsafe fn gelu<L: Lanes>(x: L) -> L {
    // SAFETY: the caller's promise.
    unsafe {
        let one = L::splat(1.0);
        let z = x.mul(L::splat(std::f32::consts::FRAC_1_SQRT_2));
        let z = z.max(L::splat(0.0).sub(z));
        let t = one.div(z.mul_add(L::splat(0.327_591_1), one));
        let mut p = L::splat(1.061_405_4);
        for c in [-1.453_152_1, 1.421_413_8, -0.284_496_72, 0.254_829_6] {
            p = p.mul_add(t, L::splat(c));
        }
        // tail = erfc(|z|) / 2, so that neither sign cancels.
        let tail = p.mul(t).mul(exp(L::splat(0.0).sub(z.mul(z)))).mul(L::splat(0.5));
        x.mul(x.where_positive(one.sub(tail), tail))
    }
}
