//! Softmax and log-softmax over rows, with gradients. Sums in f32; a row is read from memory once.

use super::map::{Same, for_pieces};
use super::reduce::sum_with;
use crate::element::Element;
use crate::simd::{Kernel, Simd, dispatch, math};
use crate::threads::Shared;

/// Values per task.
const GRAIN: usize = 8 * 1024;

/// Calls `task(row, out_row)` for every row of `columns` values.
fn for_rows<E: Element>(columns: usize, out: &mut [E], task: &(dyn Fn(usize, &mut [E]) + Sync)) {
    assert!(columns > 0 && out.len().is_multiple_of(columns), "rows of {columns} values expected, got {}", out.len());
    let rows = out.len() / columns;
    let out = Shared::new(out);
    for_pieces(rows, GRAIN.div_ceil(columns), &|start, len| {
        for row in start..start + len {
            // SAFETY: every row is visited by one task.
            task(row, unsafe { out.range(row * columns, columns) });
        }
    });
}

/// `out = e^x / Σ e^x` in every row of `columns` values.
///
/// # Panics
/// If lengths differ or are not whole rows.
pub fn softmax<E: Element>(x: &[E], columns: usize, out: &mut [E]) {
    assert_eq!(x.len(), out.len(), "operand and result must have one length");
    for_rows(columns, out, &|row, out| dispatch(SoftmaxRow { x: &x[row * columns..][..columns], out, log: false }));
}

/// `out = x - ln Σ e^x` in every row of `columns` values.
///
/// # Panics
/// If lengths differ or are not whole rows.
pub fn log_softmax<E: Element>(x: &[E], columns: usize, out: &mut [E]) {
    assert_eq!(x.len(), out.len(), "operand and result must have one length");
    for_rows(columns, out, &|row, out| dispatch(SoftmaxRow { x: &x[row * columns..][..columns], out, log: true }));
}

/// `dx = y · (dy - Σ y dy)` per row, `y` being the result of [`softmax`].
///
/// # Panics
/// If lengths differ or are not whole rows.
pub fn softmax_grad<E: Element>(y: &[E], dy: &[E], columns: usize, dx: &mut [E]) {
    assert!(y.len() == dx.len() && dy.len() == dx.len(), "operands and result must have one length");
    for_rows(columns, dx, &|row, dx| {
        let at = row * columns..(row + 1) * columns;
        dispatch(GradRow { y: &y[at.clone()], dy: &dy[at], dx, log: false });
    });
}

/// `dx = dy - e^y · Σ dy` per row, `y` being the result of [`log_softmax`].
///
/// # Panics
/// If lengths differ or are not whole rows.
pub fn log_softmax_grad<E: Element>(y: &[E], dy: &[E], columns: usize, dx: &mut [E]) {
    assert!(y.len() == dx.len() && dy.len() == dx.len(), "operands and result must have one length");
    for_rows(columns, dx, &|row, dx| {
        let at = row * columns..(row + 1) * columns;
        dispatch(GradRow { y: &y[at.clone()], dy: &dy[at], dx, log: true });
    });
}

struct SoftmaxRow<'a, E> {
    x: &'a [E],
    out: &'a mut [E],
    log: bool,
}

impl<E: Element> Kernel for SoftmaxRow<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let whole = self.x.len() / S::LANES * S::LANES;
        let (body, tail) = self.x.split_at(whole);
        let mut best = s.load_part(tail, f32::NEG_INFINITY);
        for x in body.chunks_exact(S::LANES) {
            best = s.max(best, s.load_of(x));
        }
        let largest = s.largest(best);
        // A row of -inf alone has no meaning; it gives NaN as elsewhere.
        let shift = s.splat(largest);
        // Lanes beyond the row add e^-inf = 0.
        let mut sums = [s.splat(0.0); 2];
        sums[1] = math::exp(s, s.sub(s.load_part(tail, f32::NEG_INFINITY), shift));
        for x in body.chunks_exact(S::LANES) {
            sums[0] = s.add(sums[0], math::exp(s, s.sub(s.load_of(x), shift)));
        }
        let sum = s.sum(s.add(sums[0], sums[1]));
        let (factor, shift) =
            if self.log { (s.splat(1.0), s.splat(largest + sum.ln())) } else { (s.splat(1.0 / sum), shift) };
        let log = self.log;
        let (out, out_tail) = self.out.split_at_mut(whole);
        for (out, x) in out.chunks_exact_mut(S::LANES).zip(body.chunks_exact(S::LANES)) {
            s.store_of(value(s, s.load_of(x), shift, factor, log), out);
        }
        if !tail.is_empty() {
            s.store_part(value(s, s.load_part(tail, 0.0), shift, factor, log), out_tail);
        }
    }
}

// Functions and not closures: these may be left out of line, without the instruction set.
#[inline(always)]
fn value<S: Simd>(s: S, x: S::F, shift: S::F, factor: S::F, log: bool) -> S::F {
    let x = s.sub(x, shift);
    if log { x } else { s.mul(math::exp(s, x), factor) }
}

#[inline(always)]
fn slope<S: Simd>(s: S, y: S::F, dy: S::F, total: S::F, log: bool) -> S::F {
    if log { s.sub(dy, s.mul(math::exp(s, y), total)) } else { s.mul(y, s.sub(dy, total)) }
}

struct GradRow<'a, E> {
    y: &'a [E],
    dy: &'a [E],
    dx: &'a mut [E],
    log: bool,
}

impl<E: Element> Kernel for GradRow<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let (log, lanes) = (self.log, S::LANES);
        let whole = self.y.len() / lanes * lanes;
        let (y, y_tail) = self.y.split_at(whole);
        let (dy, dy_tail) = self.dy.split_at(whole);
        let total = if log {
            sum_with(s, self.dy, Same)
        } else {
            let mut sum = s.mul(s.load_part(y_tail, 0.0), s.load_part(dy_tail, 0.0));
            for (y, dy) in y.chunks_exact(lanes).zip(dy.chunks_exact(lanes)) {
                sum = s.fma(s.load_of(y), s.load_of(dy), sum);
            }
            s.sum(sum)
        };
        let total = s.splat(total);
        let (dx, dx_tail) = self.dx.split_at_mut(whole);
        for ((dx, y), dy) in dx.chunks_exact_mut(lanes).zip(y.chunks_exact(lanes)).zip(dy.chunks_exact(lanes)) {
            s.store_of(slope(s, s.load_of(y), s.load_of(dy), total, log), dx);
        }
        if !y_tail.is_empty() {
            s.store_part(slope(s, s.load_part(y_tail, 0.0), s.load_part(dy_tail, 0.0), total, log), dx_tail);
        }
    }
}
