//! Rows of bf16 into the forms that [`super::product`] reads: rows filled up with zeros, transposes, and pairs.

use crate::simd::transpose16;
use half::bf16;
use std::arch::x86_64::*;

/// A strided block of rows of one head.
#[derive(Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) x: &'a [bf16],
    pub(super) stride: usize,
    pub(super) rows: usize,
    pub(super) width: usize,
}

impl Source<'_> {
    /// Up to 32 values of a row from `column`, the rest zeros.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn load32(&self, row: usize, column: usize) -> __m512i {
        if row >= self.rows || column >= self.width {
            return _mm512_setzero_si512();
        }
        let count = (self.width - column).min(32);
        let x = &self.x[row * self.stride + column..][..count];
        // SAFETY: the mask lets `count` values through, which the slice holds.
        unsafe { _mm512_maskz_loadu_epi16((1u64 << count).wrapping_sub(1) as u32, x.as_ptr().cast()) }
    }

    /// 16 values of rows `row` and `row + 1` from `column`, paired.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    fn load_pairs(&self, row: usize, column: usize) -> __m512i {
        let low = _mm512_castsi512_si256(self.load32(row, column));
        let high = _mm512_castsi512_si256(self.load32(row + 1, column));
        _mm512_or_si512(_mm512_cvtepu16_epi32(low), _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(high)))
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
fn store32(out: &mut [bf16], v: __m512i) {
    assert!(out.len() >= 32);
    // SAFETY: 64 bytes, asserted.
    unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), v) }
}

/// Rows of `wide` values (a multiple of 32), as many as `out` holds.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn pack_rows(source: Source<'_>, wide: usize, out: &mut [bf16]) {
    for (row, out) in out.chunks_exact_mut(wide).enumerate() {
        for column in (0..wide).step_by(32) {
            store32(&mut out[column..], source.load32(row, column));
        }
    }
}

/// The transpose in blocks of `block` rows (a multiple of 32): `[tall][block]`, the last block narrower; `tall` is a
/// multiple of 16, `long` (all rows, filled up with zeros) one of 32. Narrow blocks keep the rows of a tile in different
/// sets of the cache.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn pack_transposed(source: Source<'_>, [tall, long, block]: [usize; 3], out: &mut [bf16]) {
    for (i, out) in out[..tall * long].chunks_mut(tall * block).enumerate() {
        let width = out.len() / tall;
        for column in (0..tall).step_by(16) {
            for row in (0..width).step_by(32) {
                let mut pairs = [_mm512_setzero_si512(); 16];
                for (j, pairs) in pairs.iter_mut().enumerate() {
                    *pairs = source.load_pairs(i * block + row + 2 * j, column);
                }
                for (j, v) in transpose16(pairs).into_iter().enumerate() {
                    store32(&mut out[(column + j) * width + row..], v);
                }
            }
        }
    }
}

/// The transpose in pairs along the width: `[wide / 2][32 rows]` pairs, `wide` a multiple of 32.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn pack_transposed_pairs(source: Source<'_>, wide: usize, out: &mut [bf16]) {
    for column in (0..wide).step_by(32) {
        for half in 0..2 {
            let mut rows = [_mm512_setzero_si512(); 16];
            for (i, row) in rows.iter_mut().enumerate() {
                *row = source.load32(half * 16 + i, column);
            }
            for (i, v) in transpose16(rows).into_iter().enumerate() {
                store32(&mut out[(column / 2 + i) * 64 + half * 32..], v);
            }
        }
    }
}

/// Pairs along the rows: `[rows / 2][wide]` pairs, `wide` a multiple of 16, as many as `out` holds.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn pack_pairs(source: Source<'_>, wide: usize, out: &mut [bf16]) {
    for (pair, out) in out.chunks_exact_mut(2 * wide).enumerate() {
        for column in (0..wide).step_by(16) {
            store32(&mut out[2 * column..], source.load_pairs(2 * pair, column));
        }
    }
}

/// The first `rows` columns of transposed sums `[wide][32]` in f32, each times its factor, into the rows that `row` gives.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
pub(super) fn unpack_transposed<'a>(
    sums: &[f32],
    factors: &[f32; 32],
    [rows, width]: [usize; 2],
    mut row: impl FnMut(usize) -> &'a mut [bf16],
) {
    for half in 0..rows.div_ceil(16) {
        // SAFETY: 32 factors.
        let factor = unsafe { _mm512_loadu_ps(factors[half * 16..].as_ptr()) };
        for column in (0..width).step_by(16) {
            let mut block = [_mm512_setzero_si512(); 16];
            for (i, block) in block.iter_mut().enumerate() {
                let sums = &sums[(column + i) * 32 + half * 16..][..16];
                // SAFETY: 16 values.
                let sums = unsafe { _mm512_loadu_ps(sums.as_ptr()) };
                *block = _mm512_castps_si512(_mm512_mul_ps(sums, factor));
            }
            let mask = (1u32 << (width - column).min(16)).wrapping_sub(1) as u16;
            for (i, v) in transpose16(block).into_iter().enumerate().take(rows - half * 16) {
                let v = _mm512_castsi512_si256(super::product::round_two(_mm512_castsi512_ps(v), _mm512_setzero_ps()));
                let to = &mut row(half * 16 + i)[column..width];
                // SAFETY: the mask ends where the slice does.
                unsafe { _mm256_mask_storeu_epi16(to.as_mut_ptr().cast(), mask, v) };
            }
        }
    }
}
