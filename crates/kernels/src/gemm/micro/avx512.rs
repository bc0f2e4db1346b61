//! Micro-kernels on AVX-512: 8 rows × up to 3 panels, 24 accumulators, A broadcast from memory.

use super::{Args, with_rows};
use crate::gemm::packed::{BLOCK, PANEL};
use std::arch::x86_64::*;

const SIZES: [usize; 4] = [8, 4, 2, 1];
/// How far ahead B is fetched, in bytes.
const AHEAD: usize = 1024;

/// Picks the instance of `$kernel` for the group's panels and each strip's rows.
macro_rules! dispatch {
    ($args:expr, $kernel:ident) => {
        // SAFETY: the caller's promise, handed on.
        unsafe {
            match $args.panels {
                1 => $args.strips(&SIZES, |a, rows, sums| with_rows!(rows, [8 4 2 1], R => $kernel::<R, 1>($args, a, sums))),
                2 => $args.strips(&SIZES, |a, rows, sums| with_rows!(rows, [8 4 2 1], R => $kernel::<R, 2>($args, a, sums))),
                _ => $args.strips(&SIZES, |a, rows, sums| with_rows!(rows, [8 4 2 1], R => $kernel::<R, 3>($args, a, sums))),
            }
        }
    };
}

/// # Safety
/// AVX-512F must be available and the pointers as described in [`Args`].
pub(crate) unsafe fn run_f32(args: &Args<'_>) {
    dispatch!(args, strip_f32)
}

/// # Safety
/// AVX-512 BF16 must be available and the pointers as described in [`Args`].
pub(crate) unsafe fn run_bf16(args: &Args<'_>) {
    dispatch!(args, strip_bf16)
}

/// bf16 without dot products: both halves of each pair are widened and multiplied as f32.
///
/// # Safety
/// AVX-512F must be available and the pointers as described in [`Args`].
pub(crate) unsafe fn run_widened(args: &Args<'_>) {
    dispatch!(args, strip_widened)
}

/// # Safety
/// `sums` must hold R rows of N panels.
#[inline(always)]
unsafe fn store<const R: usize, const N: usize>(acc: &[[__m512; N]; R], sums: *mut f32, args: &Args<'_>) {
    for (r, row) in acc.iter().enumerate() {
        for (p, &value) in row.iter().enumerate() {
            // SAFETY: the caller's promise; AVX-512F is enabled in every caller.
            unsafe {
                let at = sums.add(r * args.ldc + p * PANEL);
                let value = if args.accumulate { _mm512_add_ps(value, _mm512_loadu_ps(at)) } else { value };
                _mm512_storeu_ps(at, value);
            }
        }
    }
}

#[target_feature(enable = "avx512f")]
unsafe fn strip_f32<const R: usize, const N: usize>(args: &Args<'_>, a: *const u8, sums: *mut f32) {
    let mut acc = [[_mm512_setzero_ps(); N]; R];
    let stride = args.a_stride / 4;
    for block in 0..args.k.div_ceil(BLOCK) {
        let len = BLOCK.min(args.k - block * BLOCK);
        for tap in args.taps {
            // SAFETY: block and tap are inside the rows of A and inside each panel of B.
            unsafe {
                let a = a.wrapping_offset(tap.a).cast::<f32>().add(block * BLOCK);
                let b = args.b.cast::<f32>().add((block * BLOCK * args.pack_taps + tap.b * len) * PANEL);
                for i in 0..len {
                    let b: [__m512; N] = std::array::from_fn(|p| {
                        let at = b.byte_add(p * args.panel_stride).add(i * PANEL);
                        _mm_prefetch::<_MM_HINT_T0>(at.cast::<i8>().wrapping_add(AHEAD));
                        _mm512_loadu_ps(at)
                    });
                    for (r, row) in acc.iter_mut().enumerate() {
                        let value = _mm512_set1_ps(*a.add(r * stride + i));
                        for (sum, &b) in row.iter_mut().zip(&b) {
                            *sum = _mm512_fmadd_ps(value, b, *sum);
                        }
                    }
                }
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { store(&acc, sums, args) }
}

#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn strip_bf16<const R: usize, const N: usize>(args: &Args<'_>, a: *const u8, sums: *mut f32) {
    let mut acc = [[_mm512_setzero_ps(); N]; R];
    for block in 0..args.k.div_ceil(BLOCK) {
        for tap in args.taps {
            // SAFETY: block and tap are inside the rows of A (padded to whole blocks) and inside each panel of B.
            unsafe {
                let a = a.wrapping_offset(tap.a).add(block * BLOCK * 2);
                let b = args.b.add((block * args.pack_taps + tap.b) * BLOCK * PANEL * 2);
                for pair in 0..BLOCK / 2 {
                    let b: [__m512i; N] = std::array::from_fn(|p| {
                        _mm512_loadu_si512(b.add(p * args.panel_stride + pair * PANEL * 4).cast())
                    });
                    for (r, row) in acc.iter_mut().enumerate() {
                        let value =
                            _mm512_set1_epi32(a.add(r * args.a_stride + pair * 4).cast::<i32>().read_unaligned());
                        for (sum, &b) in row.iter_mut().zip(&b) {
                            *sum = _mm512_dpbf16_ps(*sum, as_bf16(value), as_bf16(b));
                        }
                    }
                }
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { store(&acc, sums, args) }
}

#[inline(always)]
fn as_bf16(v: __m512i) -> __m512bh {
    // SAFETY: both are 512 plain bits.
    unsafe { std::mem::transmute(v) }
}

#[target_feature(enable = "avx512f")]
unsafe fn strip_widened<const R: usize, const N: usize>(args: &Args<'_>, a: *const u8, sums: *mut f32) {
    let mut acc = [[_mm512_setzero_ps(); N]; R];
    let upper = _mm512_set1_epi32(0xffff_0000u32 as i32);
    for block in 0..args.k.div_ceil(BLOCK) {
        for tap in args.taps {
            // SAFETY: as in `strip_bf16`.
            unsafe {
                let a = a.wrapping_offset(tap.a).add(block * BLOCK * 2);
                let b = args.b.add((block * args.pack_taps + tap.b) * BLOCK * PANEL * 2);
                for pair in 0..BLOCK / 2 {
                    let b: [__m512i; N] = std::array::from_fn(|p| {
                        _mm512_loadu_si512(b.add(p * args.panel_stride + pair * PANEL * 4).cast())
                    });
                    let low: [__m512; N] = b.map(|b| _mm512_castsi512_ps(_mm512_slli_epi32::<16>(b)));
                    let high: [__m512; N] = b.map(|b| _mm512_castsi512_ps(_mm512_and_si512(b, upper)));
                    for (r, row) in acc.iter_mut().enumerate() {
                        let value = a.add(r * args.a_stride + pair * 4).cast::<u32>().read_unaligned();
                        let even = _mm512_set1_ps(f32::from_bits(value << 16));
                        let odd = _mm512_set1_ps(f32::from_bits(value & 0xffff_0000));
                        for p in 0..N {
                            row[p] = _mm512_fmadd_ps(even, low[p], row[p]);
                            row[p] = _mm512_fmadd_ps(odd, high[p], row[p]);
                        }
                    }
                }
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { store(&acc, sums, args) }
}
