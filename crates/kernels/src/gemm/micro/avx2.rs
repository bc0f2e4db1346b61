//! Micro-kernels on AVX2 with FMA: 6 rows × 1 panel, 12 accumulators.

use super::{Args, with_rows};
use crate::gemm::packed::{BLOCK, PANEL};
use std::arch::x86_64::*;

const SIZES: [usize; 4] = [6, 4, 2, 1];

/// # Safety
/// AVX2 and FMA must be available and the pointers as described in [`Args`].
pub(crate) unsafe fn run_f32(args: &Args<'_>) {
    // SAFETY: the caller's promise, handed on.
    unsafe {
        for panel in 0..args.panels {
            let b = args.b.add(panel * args.panel_stride);
            args.strips(
                &SIZES,
                |a, rows, sums| with_rows!(rows, [6 4 2 1], R => strip_f32::<R>(args, a, b, sums.add(panel * PANEL))),
            );
        }
    }
}

/// # Safety
/// AVX2 and FMA must be available and the pointers as described in [`Args`].
pub(crate) unsafe fn run_bf16(args: &Args<'_>) {
    // SAFETY: the caller's promise, handed on.
    unsafe {
        for panel in 0..args.panels {
            let b = args.b.add(panel * args.panel_stride);
            args.strips(
                &SIZES,
                |a, rows, sums| with_rows!(rows, [6 4 2 1], R => strip_bf16::<R>(args, a, b, sums.add(panel * PANEL))),
            );
        }
    }
}

/// # Safety
/// `sums` must hold R rows of a panel.
#[inline(always)]
unsafe fn store<const R: usize>(acc: &[[__m256; 2]; R], sums: *mut f32, args: &Args<'_>) {
    for (r, row) in acc.iter().enumerate() {
        for (half, &value) in row.iter().enumerate() {
            // SAFETY: the caller's promise; AVX2 is enabled in every caller.
            unsafe {
                let at = sums.add(r * args.ldc + half * 8);
                let value = if args.accumulate { _mm256_add_ps(value, _mm256_loadu_ps(at)) } else { value };
                _mm256_storeu_ps(at, value);
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn strip_f32<const R: usize>(args: &Args<'_>, a: *const u8, b: *const u8, sums: *mut f32) {
    let mut acc = [[_mm256_setzero_ps(); 2]; R];
    let stride = args.a_stride / 4;
    for block in 0..args.k.div_ceil(BLOCK) {
        let len = BLOCK.min(args.k - block * BLOCK);
        for tap in args.taps {
            // SAFETY: block and tap are inside the rows of A and inside the panel of B.
            unsafe {
                let a = a.wrapping_offset(tap.a).cast::<f32>().add(block * BLOCK);
                let b = b.cast::<f32>().add((block * BLOCK * args.pack_taps + tap.b * len) * PANEL);
                for i in 0..len {
                    let b = [_mm256_loadu_ps(b.add(i * PANEL)), _mm256_loadu_ps(b.add(i * PANEL + 8))];
                    for (r, row) in acc.iter_mut().enumerate() {
                        let value = _mm256_set1_ps(*a.add(r * stride + i));
                        row[0] = _mm256_fmadd_ps(value, b[0], row[0]);
                        row[1] = _mm256_fmadd_ps(value, b[1], row[1]);
                    }
                }
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { store(&acc, sums, args) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn strip_bf16<const R: usize>(args: &Args<'_>, a: *const u8, b: *const u8, sums: *mut f32) {
    let mut acc = [[_mm256_setzero_ps(); 2]; R];
    let upper = _mm256_set1_epi32(0xffff_0000u32 as i32);
    for block in 0..args.k.div_ceil(BLOCK) {
        for tap in args.taps {
            // SAFETY: block and tap are inside the rows of A (padded to whole blocks) and inside the panel of B.
            unsafe {
                let a = a.wrapping_offset(tap.a).add(block * BLOCK * 2);
                let b = b.add((block * args.pack_taps + tap.b) * BLOCK * PANEL * 2);
                for pair in 0..BLOCK / 2 {
                    let at = b.add(pair * PANEL * 4);
                    let b = [_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.add(32).cast())];
                    let low = b.map(|b| _mm256_castsi256_ps(_mm256_slli_epi32::<16>(b)));
                    let high = b.map(|b| _mm256_castsi256_ps(_mm256_and_si256(b, upper)));
                    for (r, row) in acc.iter_mut().enumerate() {
                        let value = a.add(r * args.a_stride + pair * 4).cast::<u32>().read_unaligned();
                        let even = _mm256_set1_ps(f32::from_bits(value << 16));
                        let odd = _mm256_set1_ps(f32::from_bits(value & 0xffff_0000));
                        row[0] = _mm256_fmadd_ps(even, low[0], row[0]);
                        row[1] = _mm256_fmadd_ps(even, low[1], row[1]);
                        row[0] = _mm256_fmadd_ps(odd, high[0], row[0]);
                        row[1] = _mm256_fmadd_ps(odd, high[1], row[1]);
                    }
                }
            }
        }
    }
    // SAFETY: the caller's promise.
    unsafe { store(&acc, sums, args) }
}
