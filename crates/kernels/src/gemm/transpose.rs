//! Transposing strips of activations, 16x16 (bf16) or 8x8 (f32) at a time in AVX2 registers.

use crate::element::Element;
#[cfg(target_arch = "x86_64")]
use crate::element::ElementKind;
#[cfg(target_arch = "x86_64")]
use crate::isa::{Isa, isa};

/// `to[c · to_stride + r] = from[r · from_stride + c]` for `rows` by `columns` elements.
///
/// # Panics
/// If a slice is too short.
pub(crate) fn transpose<E: Element>(
    from: &[E],
    from_stride: usize,
    rows: usize,
    columns: usize,
    to: &mut [E],
    to_stride: usize,
) {
    if rows == 0 || columns == 0 {
        return;
    }
    assert!(from.len() >= (rows - 1) * from_stride + columns && from_stride >= columns, "transpose: source too short");
    assert!(to.len() >= (columns - 1) * to_stride + rows && to_stride >= rows, "transpose: target too short");
    #[cfg(target_arch = "x86_64")]
    if isa() >= Isa::Avx2 {
        // SAFETY: AVX2 is available; every block lies inside the lengths checked above.
        unsafe {
            match E::KIND {
                ElementKind::F32 if rows >= 8 && columns >= 8 => {
                    let (from, to) = (from.as_ptr().cast(), to.as_mut_ptr().cast());
                    return blocks(rows, columns, 8, |r, c| x86::block_f32(from, from_stride, to, to_stride, r, c));
                }
                ElementKind::Bf16 if rows >= 16 && columns >= 16 => {
                    let (from, to) = (from.as_ptr().cast(), to.as_mut_ptr().cast());
                    return blocks(rows, columns, 16, |r, c| x86::block_u16(from, from_stride, to, to_stride, r, c));
                }
                _ => {}
            }
        }
    }
    for (r, from) in from.chunks(from_stride).take(rows).enumerate() {
        for (c, &value) in from[..columns].iter().enumerate() {
            to[c * to_stride + r] = value;
        }
    }
}

/// Covers `rows` by `columns` with blocks of `side`; the last of a row or column overlaps its neighbour if need be.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn blocks(rows: usize, columns: usize, side: usize, block: impl Fn(usize, usize)) {
    let mut r = 0;
    while r < rows {
        let mut c = 0;
        while c < columns {
            block(r.min(rows - side), c.min(columns - side));
            c += side;
        }
        r += side;
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::array::from_fn;

    /// The block at row `r`, column `c`.
    ///
    /// # Safety
    /// AVX2 must be available and the block inside both arrays.
    #[target_feature(enable = "avx2")]
    pub unsafe fn block_f32(
        from: *const f32,
        from_stride: usize,
        to: *mut f32,
        to_stride: usize,
        row: usize,
        column: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let at = from.add(row * from_stride + column);
            let x: [__m256; 8] = from_fn(|r| _mm256_loadu_ps(at.add(r * from_stride)));
            // Pairs of rows interleaved, then fours, then the halves exchanged.
            let two: [__m256; 8] = from_fn(|i| {
                let (a, b) = (x[i / 2 * 2], x[i / 2 * 2 + 1]);
                if i % 2 == 0 { _mm256_unpacklo_ps(a, b) } else { _mm256_unpackhi_ps(a, b) }
            });
            let four: [__m256d; 8] = from_fn(|i| {
                let (a, b) = (two[i / 4 * 4 + i % 4 / 2], two[i / 4 * 4 + i % 4 / 2 + 2]);
                let (a, b) = (_mm256_castps_pd(a), _mm256_castps_pd(b));
                if i % 2 == 0 { _mm256_unpacklo_pd(a, b) } else { _mm256_unpackhi_pd(a, b) }
            });
            for c in 0..4 {
                let (a, b) = (_mm256_castpd_ps(four[c]), _mm256_castpd_ps(four[c + 4]));
                let out = to.add((column + c) * to_stride + row);
                _mm256_storeu_ps(out, _mm256_permute2f128_ps::<0x20>(a, b));
                _mm256_storeu_ps(out.add(4 * to_stride), _mm256_permute2f128_ps::<0x31>(a, b));
            }
        }
    }

    /// The block at row `r`, column `c`.
    ///
    /// # Safety
    /// AVX2 must be available and the block inside both arrays.
    #[target_feature(enable = "avx2")]
    pub unsafe fn block_u16(
        from: *const u16,
        from_stride: usize,
        to: *mut u16,
        to_stride: usize,
        row: usize,
        column: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            let at = from.add(row * from_stride + column);
            let x: [__m256i; 16] = from_fn(|r| _mm256_loadu_si256(at.add(r * from_stride).cast()));
            // In each 128-bit half: pairs of rows interleaved, then fours, then eights; then the halves exchanged.
            // After a stage of 2ˢ rows, register g·2ˢ + j holds the j-th part of the columns of row group g.
            let two: [__m256i; 16] = from_fn(|i| {
                let (a, b) = (x[i / 2 * 2], x[i / 2 * 2 + 1]);
                if i % 2 == 0 { _mm256_unpacklo_epi16(a, b) } else { _mm256_unpackhi_epi16(a, b) }
            });
            let four: [__m256i; 16] = from_fn(|i| {
                let first = i / 4 * 4 + i % 4 / 2;
                let (a, b) = (two[first], two[first + 2]);
                if i % 2 == 0 { _mm256_unpacklo_epi32(a, b) } else { _mm256_unpackhi_epi32(a, b) }
            });
            let eight: [__m256i; 16] = from_fn(|i| {
                let first = i / 8 * 8 + i % 8 / 2;
                let (a, b) = (four[first], four[first + 4]);
                if i % 2 == 0 { _mm256_unpacklo_epi64(a, b) } else { _mm256_unpackhi_epi64(a, b) }
            });
            for c in 0..8 {
                let (a, b) = (eight[c], eight[c + 8]);
                let out = to.add((column + c) * to_stride + row);
                _mm256_storeu_si256(out.cast(), _mm256_permute2x128_si256::<0x20>(a, b));
                _mm256_storeu_si256(out.add(8 * to_stride).cast(), _mm256_permute2x128_si256::<0x31>(a, b));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{available, with_isa};
    use half::bf16;

    fn check<E: Element>(rows: usize, columns: usize) {
        let (from_stride, to_stride) = (columns + 3, rows + 1);
        let from: Vec<E> = (0..rows * from_stride).map(|i| E::from_f32((i % 251) as f32)).collect();
        for &isa in available() {
            let mut to = vec![E::ZERO; columns * to_stride];
            with_isa(isa, || transpose(&from, from_stride, rows, columns, &mut to, to_stride));
            for (r, c) in (0..rows).flat_map(|r| (0..columns).map(move |c| (r, c))) {
                assert_eq!(to[c * to_stride + r], from[r * from_stride + c], "{isa:?} {rows}x{columns} {r} {c}");
            }
        }
    }

    #[test]
    fn every_element_changes_places() {
        for rows in [1, 7, 8, 15, 16, 17, 33, 48] {
            for columns in [1, 8, 13, 16, 31, 40, 64] {
                check::<f32>(rows, columns);
                check::<bf16>(rows, columns);
            }
        }
    }
}
