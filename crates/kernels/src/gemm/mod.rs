//! Matrix products: activations times packed weights, with bias, activation and residual in one pass.
//!
//! Row-major throughout. The activations' [`Element`] decides the arithmetic: f32 products for `f32`, bf16 products
//! with f32 sums for `bf16`. Weights are packed once ([`PackedB`]) in the matching [`Precision`]; a pack in the other
//! precision also works, at the cost of a conversion in each call.

#[cfg(target_arch = "x86_64")]
mod beside;
pub(crate) mod engine;
mod epilogue;
pub(crate) mod finish;
mod lanes;
pub(crate) mod micro;
mod operand;
pub(crate) mod packed;
mod plan;
pub(crate) mod reduce;
#[cfg(test)]
pub(crate) mod scalar;
pub(crate) mod transpose;

pub use epilogue::{Activation, Epilogue};
pub use packed::{PackedB, Precision};

use crate::element::Element;
use crate::pool::PooledBuf;
use crate::threads::{Shared, parallel_for, parallel_for_chunks};
use engine::{Product, Tiles};
use finish::Finish;
use micro::Tap;
use operand::Operand;

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
    let (a, b) = Operand::prepare(a, lda, m, b);
    let product = Product {
        a: a.pointer(),
        a_stride: a.stride(),
        taps: &[Tap { a: 0, b: 0 }],
        tiles: &Tiles::dense(m, a.stride()),
        b: &b,
        finish: Finish { ldo, ..Finish::dense(out.as_mut_ptr(), n, *epilogue) },
    };
    // SAFETY: the operand holds m rows padded as its pack asks; `out` was checked above and is ours.
    unsafe { engine::run(&product) };
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
    let rows = reduce::Rows { a, dy, m, k, n, per_chunk: reduce::pixels_per_chunk::<E>(k, n) };
    let sums = reduce::reduce(&rows);
    // Rows per task: enough to make a task worth its start.
    let band = 16_384usize.div_ceil(n.max(1)) * n;
    parallel_for_chunks(&mut out[..k * n], band, &|task, out| {
        for (row, out) in out.chunks_exact_mut(n).enumerate() {
            for (panel, out) in out.chunks_mut(packed::PANEL).enumerate() {
                for (out, sum) in out.iter_mut().zip(sums.lanes(0, task * (band / n) + row, panel)) {
                    *out = if accumulate { *out + sum } else { *sum };
                }
            }
        }
    });
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
    if m == 0 || n == 0 {
        return;
    }
    let out = Shared::new(out);
    let one = |index: usize| {
        let (a, b) = (&a[index * m * k..(index + 1) * m * k], &b[index * k * n..(index + 1) * k * n]);
        // SAFETY: each product has its own part of the output.
        let out = unsafe { out.range(index * m * n, m * n) };
        let strides = if b_trans { [1, k] } else { [n, 1] };
        let b = PackedB::pack_once(b, k, n, strides, Precision::of::<E>());
        if a_trans {
            let mut turned = PooledBuf::<E>::dirty(m * k);
            transpose::transpose(a, m, k, m, &mut turned, k);
            gemm(&turned, k, m, &b, out, n, &Epilogue::default());
        } else {
            gemm(a, k, m, &b, out, n, &Epilogue::default());
        }
    };
    if batch < 4 {
        (0..batch).for_each(one);
    } else {
        parallel_for(batch, &one);
    }
}

/// Checks that `len` elements hold `rows` rows of `width`, `stride` apart.
pub(crate) fn check_rows(name: &str, len: usize, rows: usize, width: usize, stride: usize) {
    assert!(stride >= width, "{name}: the row stride {stride} is less than the row's {width} elements");
    let needed = if rows == 0 { 0 } else { (rows - 1) * stride + width };
    assert!(len >= needed, "{name}: {len} elements, {needed} needed for {rows} rows of {width}");
}

#[cfg(test)]
pub(crate) mod tests;
