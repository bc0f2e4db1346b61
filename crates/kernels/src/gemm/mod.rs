//! Matrix products: activations times packed weights, with bias, activation and residual in one pass.
//!
//! Row-major throughout. The activations' [`Element`] decides the arithmetic: f32 products for `f32`, bf16 products
//! with f32 sums for `bf16`. Weights are packed once ([`PackedB`]) in the matching [`Precision`]; a pack in the other
//! precision also works, at the cost of a conversion in each call.

mod epilogue;
mod packed;
pub(crate) mod scalar;

pub use epilogue::{Activation, Epilogue};
pub use packed::{PackedB, Precision};

use crate::element::Element;
use crate::threads::{Shared, parallel_for};

/// `out[m, n] = activation(a·b + bias + row_bias) + residual`.
///
/// # Shapes
/// `a` is `[m, k]` with `lda ≥ k` elements from row to row, `b` a pack with one tap, `out` is `[m, n]` with `ldo ≥ n`.
///
/// # Panics
/// If a slice is too short for its shape or `b` has more than one tap.
pub fn gemm<E: Element>(
    a: &[E],
    lda: usize,
    m: usize,
    b: &PackedB,
    out: &mut [E],
    ldo: usize,
    epilogue: &Epilogue<'_, E>,
) {
    let (k, n) = (b.k(), b.n());
    assert_eq!(b.taps(), 1, "gemm takes a pack with one tap");
    check_rows("a", a.len(), m, k, lda);
    check_rows("out", out.len(), m, n, ldo);
    epilogue.check(m, n);
    if m == 0 || n == 0 {
        return;
    }
    let weights = b.unpack();
    let out = Shared::new(out);
    parallel_for(m, &|row| {
        // SAFETY: each task writes its own row.
        let target = unsafe { out.range(row * ldo, n) };
        let mut sums = vec![0f64; n];
        scalar::row_times_matrix(&a[row * lda..row * lda + k], &weights, &mut sums);
        epilogue.finish_row(row, &sums, target);
    });
}

/// The weight gradient of a linear layer: `out[k, n] = aᵀ·dy`, added to what `out` holds if `accumulate`.
///
/// # Shapes
/// `a` is `[m, k]`, `dy` is `[m, n]`, both dense.
///
/// # Panics
/// If a slice is too short for its shape.
pub fn gemm_at_b<E: Element>(a: &[E], dy: &[E], m: usize, k: usize, n: usize, out: &mut [f32], accumulate: bool) {
    check_rows("a", a.len(), m, k, k);
    check_rows("dy", dy.len(), m, n, n);
    check_rows("out", out.len(), k, n, n);
    scalar::gemm_at_b(a, dy, m, k, n, out, accumulate);
}

/// The product of two activations, for each of `batch` pairs: `out[m, n] = a·b`.
///
/// # Shapes
/// `a` is `[batch, m, k]`, or `[batch, k, m]` if `a_trans`; `b` is `[batch, k, n]`, or `[batch, n, k]` if `b_trans`;
/// `out` is `[batch, m, n]`.
///
/// # Panics
/// If a slice is too short for its shape.
pub fn matmul<E: Element>(
    a: &[E],
    a_trans: bool,
    b: &[E],
    b_trans: bool,
    batch: usize,
    m: usize,
    k: usize,
    n: usize,
    out: &mut [E],
) {
    check_rows("a", a.len(), batch, m * k, m * k);
    check_rows("b", b.len(), batch, k * n, k * n);
    check_rows("out", out.len(), batch, m * n, m * n);
    scalar::matmul(a, a_trans, b, b_trans, batch, m, k, n, out);
}

/// Checks that `len` elements hold `rows` rows of `width`, `stride` apart.
pub(crate) fn check_rows(name: &str, len: usize, rows: usize, width: usize, stride: usize) {
    assert!(stride >= width, "{name}: the row stride {stride} is less than the row's {width} elements");
    let needed = if rows == 0 { 0 } else { (rows - 1) * stride + width };
    assert!(len >= needed, "{name}: {len} elements, {needed} needed for {rows} rows of {width}");
}

#[cfg(test)]
pub(crate) mod tests;
