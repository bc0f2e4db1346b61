//! Sixteen lanes with AVX-512 (F, BW, DQ, VL); tails use masks.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "a token exists only where the CPU has the instructions (see super)"
)]

use super::{Kernel, Simd, reinterpret, reinterpret_mut};
use crate::element::{Element, ElementKind};
use half::bf16;
use std::arch::x86_64::*;

#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// For code that enables the instruction sets itself.
    ///
    /// # Safety
    /// The CPU has AVX-512 F, BW, DQ and VL.
    #[inline(always)]
    pub(crate) unsafe fn assume() -> Self {
        Self(())
    }
}

/// # Safety
/// The CPU has the named sets.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,bmi2")]
pub(super) unsafe fn enter<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512(()))
}

const N: usize = 16;
type V = __m512;

#[inline(always)]
fn widen(x: __m256i) -> V {
    unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(x))) }
}

/// Nearest-even by integer arithmetic; NaN stays a quiet NaN.
#[inline(always)]
fn narrow(v: V) -> __m256i {
    unsafe {
        let bits = _mm512_castps_si512(v);
        let odd = _mm512_and_si512(_mm512_srli_epi32::<16>(bits), _mm512_set1_epi32(1));
        let rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
        let nan = _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(v, v);
        let rounded = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x40_0000));
        _mm512_cvtepi32_epi16(_mm512_srli_epi32::<16>(rounded))
    }
}

#[inline(always)]
fn first(n: usize) -> u16 {
    debug_assert!(n < N);
    ((1u32 << n) - 1) as u16
}

/// Transposes 16 x 16 values of 32 bits.
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn transpose16(rows: [__m512i; 16]) -> [__m512i; 16] {
    // Pairs of rows, then pairs of pairs inside 128-bit lanes, then the lanes themselves in two steps. Loops, since a
    // closure would not be inlined through `from_fn`, which lacks the instruction set.
    let (mut a, mut b) = (rows, rows);
    for i in 0..8 {
        b[2 * i] = _mm512_unpacklo_epi32(a[2 * i], a[2 * i + 1]);
        b[2 * i + 1] = _mm512_unpackhi_epi32(a[2 * i], a[2 * i + 1]);
    }
    for i in 0..4 {
        for j in 0..2 {
            a[4 * i + 2 * j] = _mm512_unpacklo_epi64(b[4 * i + j], b[4 * i + j + 2]);
            a[4 * i + 2 * j + 1] = _mm512_unpackhi_epi64(b[4 * i + j], b[4 * i + j + 2]);
        }
    }
    for i in 0..2 {
        for j in 0..4 {
            b[8 * i + j] = _mm512_shuffle_i32x4::<0x88>(a[8 * i + j], a[8 * i + 4 + j]);
            b[8 * i + 4 + j] = _mm512_shuffle_i32x4::<0xdd>(a[8 * i + j], a[8 * i + 4 + j]);
        }
    }
    for i in 0..8 {
        a[i] = _mm512_shuffle_i32x4::<0x88>(b[i], b[8 + i]);
        a[8 + i] = _mm512_shuffle_i32x4::<0xdd>(b[i], b[8 + i]);
    }
    a
}

impl Simd for Avx512 {
    const LANES: usize = N;
    type F = V;
    type M = __mmask16;

    #[inline(always)]
    fn splat(self, x: f32) -> V {
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    fn load(self, x: &[f32]) -> V {
        assert!(x.len() >= N);
        unsafe { _mm512_loadu_ps(x.as_ptr()) }
    }
    #[inline(always)]
    fn store(self, v: V, out: &mut [f32]) {
        assert!(out.len() >= N);
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), v) }
    }
    #[inline(always)]
    fn load_bf16(self, x: &[bf16]) -> V {
        assert!(x.len() >= N);
        widen(unsafe { _mm256_loadu_si256(x.as_ptr().cast()) })
    }
    #[inline(always)]
    fn store_bf16(self, v: V, out: &mut [bf16]) {
        assert!(out.len() >= N);
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), narrow(v)) }
    }
    #[inline(always)]
    unsafe fn load_ptr(self, x: *const f32) -> V {
        unsafe { _mm512_loadu_ps(x) }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, v: V, out: *mut f32) {
        unsafe { _mm512_storeu_ps(out, v) }
    }
    #[inline(always)]
    fn add(self, a: V, b: V) -> V {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: V, b: V) -> V {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: V, b: V) -> V {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: V, b: V) -> V {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: V, b: V, c: V) -> V {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: V, b: V) -> V {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: V, b: V) -> V {
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn sqrt(self, a: V) -> V {
        unsafe { _mm512_sqrt_ps(a) }
    }
    #[inline(always)]
    fn round(self, a: V) -> V {
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn abs(self, a: V) -> V {
        unsafe { _mm512_abs_ps(a) }
    }
    #[inline(always)]
    fn copysign(self, magnitude: V, sign: V) -> V {
        unsafe {
            let bit = _mm512_set1_epi32(i32::MIN);
            // 0xCA: bit ? sign : magnitude
            let v = _mm512_ternarylogic_epi32::<0xCA>(bit, _mm512_castps_si512(sign), _mm512_castps_si512(magnitude));
            _mm512_castsi512_ps(v)
        }
    }
    #[inline(always)]
    fn scale_by_power(self, a: V, n: V) -> V {
        unsafe { _mm512_scalef_ps(a, n) }
    }
    #[inline(always)]
    fn split_fraction(self, a: V) -> (V, V) {
        // The scaling instruction takes the floor of its second operand itself.
        (unsafe { _mm512_reduce_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>(a) }, a)
    }
    #[inline(always)]
    fn split_exponent(self, a: V) -> (V, V) {
        unsafe {
            let bits = _mm512_castps_si512(a);
            let shifted = _mm512_sub_epi32(bits, _mm512_set1_epi32(0.75f32.to_bits() as i32));
            let exponent = _mm512_srai_epi32::<23>(shifted);
            let mantissa = _mm512_sub_epi32(bits, _mm512_slli_epi32::<23>(exponent));
            (_mm512_castsi512_ps(mantissa), _mm512_cvtepi32_ps(exponent))
        }
    }
    #[inline(always)]
    fn less(self, a: V, b: V) -> __mmask16 {
        unsafe { _mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b) }
    }
    #[inline(always)]
    fn equal(self, a: V, b: V) -> __mmask16 {
        unsafe { _mm512_cmp_ps_mask::<_CMP_EQ_OQ>(a, b) }
    }
    #[inline(always)]
    fn select(self, mask: __mmask16, yes: V, no: V) -> V {
        unsafe { _mm512_mask_blend_ps(mask, no, yes) }
    }
    #[inline(always)]
    fn transpose(self, rows: &mut [V; 16]) {
        // Both are arrays of plain bits of one size.
        let bits: [__m512i; 16] = unsafe { std::mem::transmute(*rows) };
        *rows = unsafe { std::mem::transmute::<[__m512i; 16], [V; 16]>(transpose16(bits)) };
    }
    #[inline(always)]
    fn sum(self, v: V) -> f32 {
        unsafe { _mm512_reduce_add_ps(v) }
    }
    #[inline(always)]
    fn load_part<E: Element>(self, x: &[E], fill: f32) -> V {
        let mask = first(x.len());
        unsafe {
            match E::KIND {
                ElementKind::F32 => {
                    let x: &[f32] = reinterpret(x);
                    _mm512_mask_loadu_ps(_mm512_set1_ps(fill), mask, x.as_ptr())
                }
                ElementKind::Bf16 => {
                    let x: &[bf16] = reinterpret(x);
                    let wide = widen(_mm256_maskz_loadu_epi16(mask, x.as_ptr().cast()));
                    _mm512_mask_blend_ps(mask, _mm512_set1_ps(fill), wide)
                }
            }
        }
    }
    #[inline(always)]
    fn store_part<E: Element>(self, v: V, out: &mut [E]) {
        let mask = first(out.len());
        unsafe {
            match E::KIND {
                ElementKind::F32 => {
                    let out: &mut [f32] = reinterpret_mut(out);
                    _mm512_mask_storeu_ps(out.as_mut_ptr(), mask, v);
                }
                ElementKind::Bf16 => {
                    let out: &mut [bf16] = reinterpret_mut(out);
                    _mm256_mask_storeu_epi16(out.as_mut_ptr().cast(), mask, narrow(v));
                }
            }
        }
    }
}
