//! Transposes in cache-sized squares, and copies between strided and contiguous tensors.

use crate::element::Element;
use crate::elementwise::map::for_pieces;
use crate::elementwise::{Walk, last_index};
use crate::threads::Shared;

/// Side of the square that is moved at once: both sides' lines stay in L1.
const TILE: usize = 32;
/// Values per task.
const GRAIN: usize = 16 * 1024;

/// `[batch, rows, columns]` → `[batch, columns, rows]`.
fn transpose_batch<E: Element>(x: &[E], batch: usize, rows: usize, columns: usize, out: &mut [E]) {
    assert!(x.len() == batch * rows * columns && out.len() == x.len(), "lengths must be {batch}x{rows}x{columns}");
    if x.is_empty() {
        return;
    }
    let shared = Shared::new(out);
    // A task writes whole output rows, so that its part is one block.
    let strip = TILE * (GRAIN / (rows * TILE)).max(1);
    let strips = columns.div_ceil(strip);
    for_pieces(batch * strips, 1, &|task, _| {
        let (image, first) = (task / strips, task % strips * strip);
        let width = strip.min(columns - first);
        let x = &x[image * rows * columns..][..rows * columns];
        // SAFETY: tasks own disjoint ranges of output rows.
        let out = unsafe { shared.range((image * columns + first) * rows, width * rows) };
        for r in (0..rows).step_by(TILE) {
            for c in (0..width).step_by(TILE) {
                for column in c..width.min(c + TILE) {
                    let to = &mut out[column * rows + r..column * rows + rows.min(r + TILE)];
                    for (i, to) in to.iter_mut().enumerate() {
                        *to = x[(r + i) * columns + first + column];
                    }
                }
            }
        }
    });
}

/// `[rows, columns]` → `[columns, rows]`.
///
/// # Panics
/// If lengths do not fit.
pub fn transpose2d<E: Element>(x: &[E], rows: usize, columns: usize, out: &mut [E]) {
    transpose_batch(x, 1, rows, columns, out);
}

/// `[batch, channels, pixels]` → `[batch, pixels, channels]`.
///
/// # Panics
/// If lengths do not fit.
pub fn nchw_to_nhwc<E: Element>(x: &[E], batch: usize, channels: usize, pixels: usize, out: &mut [E]) {
    transpose_batch(x, batch, channels, pixels, out);
}

/// `[batch, pixels, channels]` → `[batch, channels, pixels]`.
///
/// # Panics
/// If lengths do not fit.
pub fn nhwc_to_nchw<E: Element>(x: &[E], batch: usize, channels: usize, pixels: usize, out: &mut [E]) {
    transpose_batch(x, batch, pixels, channels, out);
}

/// Copies a strided view (strides in elements, 0 repeats) of `shape` into contiguous `out`.
///
/// # Panics
/// If lengths do not fit or a stride leads outside.
pub fn strided_copy<E: Element>(x: &[E], shape: &[usize], strides: &[usize], out: &mut [E]) {
    assert_eq!(out.len(), shape.iter().product::<usize>(), "result length must be that of the shape");
    assert_eq!(shape.len(), strides.len(), "one stride per dimension");
    if out.is_empty() {
        return;
    }
    assert!(last_index(shape, strides) < x.len(), "strides lead outside the operand");
    let walk = Walk::new(shape, [strides]);
    let (inner, outer, [step]) = (walk.inner(), walk.outer(), walk.inner_strides());
    // A matrix read down its columns: go by squares.
    if walk.rank >= 2 && step > 1 && walk.strides[0][walk.rank - 2] == 1 && walk.shape[walk.rank - 2] >= 8 && inner >= 8
    {
        return copy_crossed(x, &walk, out);
    }
    let shared = Shared::new(out);
    for_pieces(outer, GRAIN.div_ceil(inner), &|first, rows| {
        for row in first..first + rows {
            // SAFETY: every row is visited by one task.
            let out = unsafe { shared.range(row * inner, inner) };
            let [at] = walk.offsets(row);
            match step {
                1 => out.copy_from_slice(&x[at..at + inner]),
                0 => out.fill(x[at]),
                _ => out.iter_mut().zip(x[at..].iter().step_by(step)).for_each(|(out, &x)| *out = x),
            }
        }
    });
}

/// The last two dimensions are those of a transposed matrix.
fn copy_crossed<E: Element>(x: &[E], walk: &Walk<1>, out: &mut [E]) {
    let (rows, columns, step) = (walk.shape[walk.rank - 2], walk.inner(), walk.inner_strides()[0]);
    let matrices = walk.outer() / rows;
    let strip = TILE * (GRAIN / (columns * TILE)).max(1);
    let strips = rows.div_ceil(strip);
    let shared = Shared::new(out);
    for_pieces(matrices * strips, 1, &|task, _| {
        let (matrix, first) = (task / strips, task % strips * strip);
        let height = strip.min(rows - first);
        let at = walk.offsets(matrix * rows)[0] + first;
        // SAFETY: tasks own disjoint ranges of rows.
        let out = unsafe { shared.range((matrix * rows + first) * columns, height * columns) };
        for r in (0..height).step_by(TILE) {
            for c in (0..columns).step_by(TILE) {
                for row in r..height.min(r + TILE) {
                    let to = &mut out[row * columns + c..row * columns + columns.min(c + TILE)];
                    for (i, to) in to.iter_mut().enumerate() {
                        *to = x[at + row + (c + i) * step];
                    }
                }
            }
        }
    });
}

/// The reverse of [`strided_copy`]: adds contiguous `x` of `shape` into the strided view of `out` (strides of 0 sum up).
/// One thread: it is for small or rare views.
///
/// # Panics
/// If lengths do not fit or a stride leads outside.
pub fn strided_scatter_add<E: Element>(x: &[E], shape: &[usize], strides: &[usize], out: &mut [E]) {
    assert_eq!(x.len(), shape.iter().product::<usize>(), "operand length must be that of the shape");
    assert_eq!(shape.len(), strides.len(), "one stride per dimension");
    if x.is_empty() {
        return;
    }
    assert!(last_index(shape, strides) < out.len(), "strides lead outside the result");
    let walk = Walk::new(shape, [strides]);
    let (inner, [step]) = (walk.inner(), walk.inner_strides());
    for (row, x) in x.chunks_exact(inner).enumerate() {
        let [at] = walk.offsets(row);
        for (i, x) in x.iter().enumerate() {
            let to = &mut out[at + i * step];
            *to = E::from_f32(to.to_f32() + x.to_f32());
        }
    }
}
