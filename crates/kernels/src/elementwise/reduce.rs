//! Sums, means and maxima over any dimensions, in an order that depends on the shape alone.

use super::binary::{MAX_RANK, Walk};
use super::map::{Map, Same, for_pieces};
use super::unary::Square;
use crate::element::Element;
use crate::simd::{Kernel, Simd, dispatch};
use crate::threads::Shared;

/// What a reduction makes of many values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Sum in f32, in blocks (error grows with the logarithm of the length, nearly).
    Sum,
    /// Sum divided by the count.
    Mean,
    /// Largest; NaN if any is NaN.
    Max,
}

/// Values summed without a fresh partial sum.
const BLOCK: usize = 4096;
/// Rows of a reduced outer dimension per partial result.
const ROWS: usize = 256;

/// Reduces the dimensions of contiguous `x` (of `shape`) for which `reduced` is set; `out` holds the others in order.
///
/// # Panics
/// If lengths do not fit the shape, a reduced dimension is empty, or there are more than [`MAX_RANK`] dimensions.
pub fn reduce<E: Element, O: Element>(kind: Reduction, x: &[E], shape: &[usize], reduced: &[bool], out: &mut [O]) {
    assert!(shape.len() == reduced.len() && shape.len() <= MAX_RANK, "one flag per dimension, at most {MAX_RANK}");
    assert_eq!(x.len(), shape.iter().product::<usize>(), "operand length must be that of the shape");
    let pick = |want: bool| shape.iter().zip(reduced).filter(move |&(_, &r)| r == want).map(|(&n, _)| n);
    let (count, kept) = (pick(true).product::<usize>(), pick(false).product::<usize>());
    assert_eq!(out.len(), kept, "result length must be that of the kept dimensions");
    if kept == 0 {
        return;
    }
    assert!(count > 0, "nothing to reduce: a reduced dimension is empty");
    let scale = if kind == Reduction::Mean { 1.0 / count as f32 } else { 1.0 };
    let mut strides = [0; MAX_RANK];
    let mut step = 1;
    for dim in (0..shape.len()).rev() {
        strides[dim] = step;
        step *= shape[dim];
    }
    let list = |want: bool| {
        let (mut sizes, mut steps) = (Vec::with_capacity(MAX_RANK), Vec::with_capacity(MAX_RANK));
        for dim in (0..shape.len()).filter(|&dim| reduced[dim] == want) {
            sizes.push(shape[dim]);
            steps.push(strides[dim]);
        }
        (sizes, steps)
    };
    let (kept_shape, kept_strides) = list(false);
    let (reduced_shape, reduced_strides) = list(true);
    let kept_walk = Walk::new(&kept_shape, [&kept_strides]);
    let reduced_walk = Walk::new(&reduced_shape, [&reduced_strides]);
    let inner_kept = kept > 1 && kept_walk.inner_strides() == [1];
    if inner_kept {
        columns(kind, x, &kept_walk, &reduced_walk, scale, out);
    } else {
        rows(kind, x, &kept_walk, &reduced_walk, scale, out);
    }
}

fn combine(kind: Reduction, a: f32, b: f32) -> f32 {
    match kind {
        Reduction::Max if a > b || a.is_nan() => a,
        Reduction::Max => b,
        Reduction::Sum | Reduction::Mean => a + b,
    }
}

fn neutral(kind: Reduction) -> f32 {
    if kind == Reduction::Max { f32::NEG_INFINITY } else { 0.0 }
}

/// The innermost dimension is reduced: one result at a time, long ones cut into blocks that run in parallel.
fn rows<E: Element, O: Element>(
    kind: Reduction,
    x: &[E],
    kept: &Walk<1>,
    reduced: &Walk<1>,
    scale: f32,
    out: &mut [O],
) {
    let (inner, outer, step) = (reduced.inner(), reduced.outer(), reduced.inner_strides()[0]);
    let blocks_per_row = inner.div_ceil(BLOCK);
    let blocks = blocks_per_row * outer;
    let kept_inner = kept.inner();
    let start_of = |i: usize| kept.offsets(i / kept_inner)[0] + i % kept_inner * kept.inner_strides()[0];
    let block = |i: usize, block: usize| {
        let (row, piece) = (block / blocks_per_row, block % blocks_per_row);
        let at = start_of(i) + reduced.offsets(row)[0] + piece * BLOCK * step;
        let len = BLOCK.min(inner - piece * BLOCK);
        dispatch(RowKernel { kind, x: &x[at..], step, len })
    };
    let results = out.len();
    if results == 1 && blocks > 1 {
        let mut partial = vec![0.0f32; blocks];
        let shared = Shared::new(&mut partial);
        for_pieces(blocks, 8, &|start, len| {
            // SAFETY: pieces are disjoint.
            let partial = unsafe { shared.range(start, len) };
            partial.iter_mut().enumerate().for_each(|(i, p)| *p = block(0, start + i));
        });
        out[0] = O::from_f32(scale * tree(kind, &mut partial));
        return;
    }
    let shared = Shared::new(out);
    let grain = (4 * BLOCK).div_ceil(inner * outer);
    for_pieces(results, grain, &|start, len| {
        // SAFETY: pieces are disjoint.
        let out = unsafe { shared.range(start, len) };
        for (i, out) in out.iter_mut().enumerate() {
            let total = (0..blocks).map(|b| block(start + i, b)).fold(neutral(kind), |a, b| combine(kind, a, b));
            *out = O::from_f32(scale * total);
        }
    });
}

/// Pairwise, so that rounding errors do not pile up.
fn tree(kind: Reduction, values: &mut [f32]) -> f32 {
    let mut len = values.len();
    while len > 1 {
        let half = len.div_ceil(2);
        for i in half..len {
            values[i - half] = combine(kind, values[i - half], values[i]);
        }
        len = half;
    }
    values[0]
}

struct RowKernel<'a, E> {
    kind: Reduction,
    x: &'a [E],
    step: usize,
    len: usize,
}

impl<E: Element> Kernel for RowKernel<'_, E> {
    type Output = f32;
    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> f32 {
        if self.step != 1 || (self.kind == Reduction::Max && self.len < S::LANES) {
            let values = self.x.iter().step_by(self.step).take(self.len).map(|x| x.to_f32());
            return values.fold(neutral(self.kind), |a, b| combine(self.kind, a, b));
        }
        let x = &self.x[..self.len];
        if self.kind == Reduction::Max {
            let mut best = s.splat(f32::NEG_INFINITY);
            // The last vector overlaps the one before it.
            let last = std::iter::once(&x[x.len() - S::LANES..]);
            for x in x.chunks_exact(S::LANES).chain(last) {
                let x = s.load_of(x);
                let larger = s.max(best, x);
                best = s.select(s.equal(best, best), larger, best);
            }
            return s.largest(best);
        }
        sum_with(s, x, Same)
    }
}

/// Sum of `f(x)` with four running vectors; `f(0)` must be 0.
#[inline(always)]
pub(crate) fn sum_with<S: Simd, E: Element>(s: S, x: &[E], f: impl Map<1>) -> f32 {
    let mut sums = [s.splat(0.0); 4];
    let mut quads = x.chunks_exact(4 * S::LANES);
    for quad in quads.by_ref() {
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = s.add(*sum, f.apply(s, [s.load_of(&quad[i * S::LANES..(i + 1) * S::LANES])]));
        }
    }
    let mut rest = quads.remainder().chunks_exact(S::LANES);
    for x in rest.by_ref() {
        sums[0] = s.add(sums[0], f.apply(s, [s.load_of(x)]));
    }
    if !rest.remainder().is_empty() {
        sums[1] = s.add(sums[1], f.apply(s, [s.load_part(rest.remainder(), 0.0)]));
    }
    s.sum(s.add(s.add(sums[0], sums[1]), s.add(sums[2], sums[3])))
}

/// The innermost dimension is kept: rows are combined, long columns in blocks of rows.
fn columns<E: Element, O: Element>(
    kind: Reduction,
    x: &[E],
    kept: &Walk<1>,
    reduced: &Walk<1>,
    scale: f32,
    out: &mut [O],
) {
    let width = kept.inner();
    let groups = kept.outer();
    let (inner, count) = (reduced.inner(), reduced.inner() * reduced.outer());
    let step = reduced.inner_strides()[0];
    let blocks = count.div_ceil(ROWS);
    let block = |group: usize, block: usize, sums: &mut [f32]| {
        sums.fill(neutral(kind));
        let base = kept.offsets(group)[0];
        for row in block * ROWS..count.min((block + 1) * ROWS) {
            let at = base + reduced.offsets(row / inner)[0] + row % inner * step;
            dispatch(ColumnKernel { kind, x: &x[at..at + width], sums });
        }
    };
    let mut partial = crate::pool::PooledBuf::<f32>::dirty(groups * blocks * width);
    let shared = Shared::new(&mut partial);
    let grain = (4 * BLOCK / (width * ROWS.min(count))).max(1);
    for_pieces(groups * blocks, grain, &|start, len| {
        for i in start..start + len {
            // SAFETY: every block has its own part.
            block(i / blocks, i % blocks, unsafe { shared.range(i * width, width) });
        }
    });
    for (partial, out) in partial.chunks_mut(blocks * width).zip(out.chunks_mut(width)) {
        let mut len = blocks;
        while len > 1 {
            let half = len.div_ceil(2);
            for i in half..len {
                let (low, high) = partial.split_at_mut(i * width);
                let to = &mut low[(i - half) * width..(i - half + 1) * width];
                dispatch(ColumnKernel { kind, x: &high[..width], sums: to });
            }
            len = half;
        }
        for (out, &sum) in out.iter_mut().zip(&partial[..width]) {
            *out = O::from_f32(sum * scale);
        }
    }
}

/// A function and not a closure: that may be left out of line, without the instruction set.
#[inline(always)]
fn join<S: Simd>(s: S, max: bool, a: S::F, x: S::F) -> S::F {
    if max { s.select(s.equal(a, a), s.max(a, x), a) } else { s.add(a, x) }
}

struct ColumnKernel<'a, E> {
    kind: Reduction,
    x: &'a [E],
    sums: &'a mut [f32],
}

impl<E: Element> Kernel for ColumnKernel<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let max = self.kind == Reduction::Max;
        let mut sums = self.sums.chunks_exact_mut(S::LANES);
        let mut x = self.x.chunks_exact(S::LANES);
        for (sums, x) in sums.by_ref().zip(x.by_ref()) {
            s.store(join(s, max, s.load(sums), s.load_of(x)), sums);
        }
        let (sums, x) = (sums.into_remainder(), x.remainder());
        if !sums.is_empty() {
            s.store_part(join(s, max, s.load_part(sums, 0.0), s.load_part(x, 0.0)), sums);
        }
    }
}

/// `out[c] (+)= Σ_rows x[row, c]`: the gradient of a bias.
///
/// # Panics
/// If `x` is not whole rows of `out.len()` columns.
pub fn column_sums<E: Element>(x: &[E], out: &mut [f32], accumulate: bool) {
    let columns = out.len();
    assert!(columns > 0 && x.len().is_multiple_of(columns), "rows of {columns} values expected, got {}", x.len());
    let rows = x.len() / columns;
    if rows == 0 {
        if !accumulate {
            out.fill(0.0);
        }
        return;
    }
    if !accumulate {
        return reduce(Reduction::Sum, x, &[rows, columns], &[true, false], out);
    }
    let mut sums = crate::pool::PooledBuf::<f32>::dirty(columns);
    reduce(Reduction::Sum, x, &[rows, columns], &[true, false], &mut sums[..]);
    out.iter_mut().zip(sums.iter()).for_each(|(out, sum)| *out += sum);
}

/// Σ x², for the norm of gradients; blocks in f32, their sums in f64.
pub fn sum_of_squares<E: Element>(x: &[E]) -> f64 {
    struct Squares<'a, E>(&'a [E]);
    impl<E: Element> Kernel for Squares<'_, E> {
        type Output = f32;
        #[inline(always)]
        fn run<S: Simd>(self, s: S) -> f32 {
            sum_with(s, self.0, Square {})
        }
    }
    let mut partial = vec![0.0f32; x.len().div_ceil(BLOCK)];
    let shared = Shared::new(&mut partial);
    for_pieces(x.len().div_ceil(BLOCK), 8, &|start, len| {
        // SAFETY: pieces are disjoint.
        let partial = unsafe { shared.range(start, len) };
        for (i, partial) in partial.iter_mut().enumerate() {
            let at = (start + i) * BLOCK;
            *partial = dispatch(Squares(&x[at..x.len().min(at + BLOCK)]));
        }
    });
    partial.iter().map(|&p| f64::from(p)).sum()
}
