//! The one loop of attention in f32: a block of `c (+)= a · b` in registers.
//!
//! Vectors run along the columns of `b` and `c`; values of `a` are broadcast. All five products of attention and its
//! gradient have this form when the scores are kept transposed, so that nothing is ever reduced across lanes.

use crate::simd::Simd;

/// Rows of a register block, by vector width: 12 x 2 vectors of 32 registers, 6 x 2 of 16.
#[inline(always)]
pub(super) const fn block_rows<S: Simd>() -> usize {
    if S::LANES == 16 { 12 } else { 6 }
}

/// The left operand: element (m, k) is at `m · row + k · column`.
#[derive(Clone, Copy)]
pub(super) struct Left {
    pub(super) at: *const f32,
    pub(super) row: usize,
    pub(super) column: usize,
}

/// A row-major operand.
#[derive(Clone, Copy)]
pub(super) struct Rows<P> {
    pub(super) at: P,
    pub(super) row: usize,
}

/// # Safety
/// All elements of an `M x k` left operand, `k` rows of `b` and `M` rows of `c`, each of `N` vectors, are accessible.
#[inline(always)]
unsafe fn block<S: Simd, const M: usize, const N: usize>(
    s: S,
    k: usize,
    a: Left,
    b: Rows<*const f32>,
    c: Rows<*mut f32>,
    accumulate: bool,
) {
    let mut sums = [[s.splat(0.0); N]; M];
    // SAFETY: promised by the caller.
    unsafe {
        if accumulate {
            for (m, sums) in sums.iter_mut().enumerate() {
                for (n, sum) in sums.iter_mut().enumerate() {
                    *sum = s.load_ptr(c.at.add(m * c.row + n * S::LANES));
                }
            }
        }
        for i in 0..k {
            let b = b.at.add(i * b.row);
            let b: [S::F; N] = std::array::from_fn(|n| s.load_ptr(b.add(n * S::LANES)));
            let a_at = a.at.add(i * a.column);
            for (m, sums) in sums.iter_mut().enumerate() {
                let a = s.splat(*a_at.add(m * a.row));
                for (sum, b) in sums.iter_mut().zip(b) {
                    *sum = s.fma(a, b, *sum);
                }
            }
        }
        for (m, sums) in sums.into_iter().enumerate() {
            for (n, sum) in sums.into_iter().enumerate() {
                s.store_ptr(sum, c.at.add(m * c.row + n * S::LANES));
            }
        }
    }
}

/// `c (+)= a · b` for `rows` rows of `c` (a multiple of 4, or of the block) and `N` vectors of columns.
///
/// # Safety
/// As [`block`], for all `rows`.
#[inline(always)]
pub(super) unsafe fn product<S: Simd, const N: usize>(
    s: S,
    [rows, k]: [usize; 2],
    a: Left,
    b: Rows<*const f32>,
    c: Rows<*mut f32>,
    accumulate: bool,
) {
    let mut m = 0;
    // SAFETY: promised by the caller; each call takes the next rows.
    unsafe {
        let part = |m: usize| (Left { at: a.at.add(m * a.row), ..a }, Rows { at: c.at.add(m * c.row), ..c });
        let whole = block_rows::<S>();
        while m + whole <= rows {
            let (a, c) = part(m);
            if S::LANES == 16 {
                block::<S, 12, N>(s, k, a, b, c, accumulate);
            } else {
                block::<S, 6, N>(s, k, a, b, c, accumulate);
            }
            m += whole;
        }
        if S::LANES == 16 && m + 8 <= rows {
            let (a, c) = part(m);
            block::<S, 8, N>(s, k, a, b, c, accumulate);
            m += 8;
        }
        if m + 4 <= rows {
            let (a, c) = part(m);
            block::<S, 4, N>(s, k, a, b, c, accumulate);
            m += 4;
        }
        if m < rows {
            let (a, c) = part(m);
            block::<S, 2, N>(s, k, a, b, c, accumulate);
        }
    }
}
