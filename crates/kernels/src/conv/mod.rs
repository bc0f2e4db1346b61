//! 2-D convolution on NHWC maps: forward, both gradients, transposed.
//!
//! Weights come as `[c_out, c_in / groups, kh, kw]` and are packed once ([`PackedConv`]). Activations decide the
//! arithmetic as in [`crate::gemm`].

mod grad_weight;
mod packed;
mod plane;
#[cfg(test)]
mod scalar;
mod shape;
mod walk;
mod winograd;

pub use packed::PackedConv;
pub use plane::{Plane, PlaneEnds, PlaneResidual, conv2d_plane, conv2d_within};
pub use shape::{Conv2dShape, ConvShapeError};

/// Rows of a [filtered](PackedConv::pack_filtered) convolution begin and end at multiples of this, or at the map's edge, if they shall not
/// depend on how many are made at a time.
pub const ROWS_ALIGNMENT: usize = winograd::STEP;

use crate::element::Element;
use crate::gemm::engine::{self, Product};
use crate::gemm::finish::Finish;
use crate::gemm::{Epilogue, PackedB};
use walk::{Axis, Channels, Layout};

/// `out = activation(x ∗ w + bias + row_bias) + residual`.
///
/// # Shapes
/// `x` is `[batch, height, width, c_in]`; `out` and the residual are `[batch, out_height, out_width, c_out]`. The rows
/// of the epilogue are the output's pixels.
///
/// # Panics
/// If the shape is not valid ([`Conv2dShape::check`]), a slice does not fit it, or `w` was packed for another kernel.
pub fn conv2d<E: Element>(x: &[E], shape: &Conv2dShape, w: &PackedConv, out: &mut [E], epilogue: &Epilogue<'_, E>) {
    shape.assert_valid();
    assert_eq!(x.len(), shape.input_len(), "conv2d: x does not fit {shape:?}");
    assert_eq!(out.len(), shape.output_len(), "conv2d: out does not fit {shape:?}");
    epilogue.check(shape.output_pixels(), shape.c_out);
    let (packs, layout) = w.for_activations::<E>(shape, false);
    let walk = Walk { rows: vec![walk::forward(shape, 0)], columns: vec![walk::forward(shape, 1)], turned: false };
    product(x, shape, [shape.c_in, shape.c_out], &packs, layout, &walk, out, epilogue);
}

/// The gradient of [`conv2d`] (without its epilogue) with respect to `x`.
///
/// # Shapes
/// `dy` is `[batch, out_height, out_width, c_out]`, `dx` is `[batch, height, width, c_in]`; `w` comes from
/// [`PackedConv::pack_grad_input`].
///
/// # Panics
/// As [`conv2d`].
pub fn conv2d_grad_input<E: Element>(dy: &[E], shape: &Conv2dShape, w: &PackedConv, dx: &mut [E]) {
    conv_transpose2d(dy, shape, w, dx, &Epilogue::default());
}

/// The gradient of [`conv2d`] with respect to `w`, added to what `dw` holds if `accumulate`.
///
/// # Shapes
/// `x` and `dy` as in [`conv2d`] and [`conv2d_grad_input`]; `dw` is `[c_out, c_in / groups, kh, kw]`.
///
/// # Panics
/// As [`conv2d`].
pub fn conv2d_grad_weight<E: Element>(x: &[E], dy: &[E], shape: &Conv2dShape, dw: &mut [f32], accumulate: bool) {
    shape.assert_valid();
    assert_eq!(x.len(), shape.input_len(), "conv2d_grad_weight: x does not fit {shape:?}");
    assert_eq!(dy.len(), shape.output_len(), "conv2d_grad_weight: dy does not fit {shape:?}");
    assert_eq!(dw.len(), shape.weight_len(), "conv2d_grad_weight: dw does not fit {shape:?}");
    grad_weight::grad_weight(x, dy, shape, dw, accumulate);
}

/// The transposed convolution: the gradient of the matching forward convolution as a layer of its own.
///
/// # Shapes
/// `shape` is the *forward* convolution's, which fixes the output's size: `x` is `[batch, out_height, out_width, c_out]`
/// and `out` is `[batch, height, width, c_in]` (so a bias has `c_in` values). `w` comes from
/// [`PackedConv::pack_grad_input`].
///
/// # Panics
/// As [`conv2d`].
pub fn conv_transpose2d<E: Element>(
    x: &[E],
    shape: &Conv2dShape,
    w: &PackedConv,
    out: &mut [E],
    epilogue: &Epilogue<'_, E>,
) {
    shape.assert_valid();
    assert_eq!(x.len(), shape.output_len(), "conv_transpose2d: x does not fit {shape:?}");
    assert_eq!(out.len(), shape.input_len(), "conv_transpose2d: out does not fit {shape:?}");
    epilogue.check(shape.input_pixels(), shape.c_in);
    let (packs, layout) = w.for_activations::<E>(shape, true);
    let walk = Walk { rows: walk::backward(shape, 0), columns: walk::backward(shape, 1), turned: true };
    product(x, shape, [shape.c_out, shape.c_in], &packs, layout, &walk, out, epilogue);
}

/// The walks over both axes: more than one per axis only for the data gradient of a strided convolution.
struct Walk {
    rows: Vec<(Axis, Vec<(usize, usize)>)>,
    columns: Vec<(Axis, Vec<(usize, usize)>)>,
    turned: bool,
}

/// The convolution as products, one for each group and pair of walks.
fn product<E: Element>(
    x: &[E],
    shape: &Conv2dShape,
    [from, to]: [usize; 2],
    packs: &[PackedB],
    layout: Layout,
    walk: &Walk,
    out: &mut [E],
    epilogue: &Epilogue<'_, E>,
) {
    if out.is_empty() {
        return;
    }
    let size = if walk.turned { [shape.height, shape.width] } else { [shape.out_height(), shape.out_width()] };
    let count = from / shape.groups;
    for (group, pack) in packs.iter().enumerate() {
        let channels = Channels { x, batch: shape.batch, channels: from, first: group * count, count };
        // Walks over one axis differ in their outputs and taps only: one map serves all.
        let map = channels.map(&walk.rows[0].0, &walk.columns[0].0, layout, pack.precision());
        for (rows, row_taps) in &walk.rows {
            for (columns, column_taps) in &walk.columns {
                let (tiles, a_stride) = walk::tiles(&map, shape.batch, rows, columns, size);
                let product = Product {
                    a: map.plane.pointer(),
                    a_stride,
                    taps: &walk::taps(&map, layout, shape.kernel, row_taps, column_taps, walk.turned),
                    tiles: &tiles,
                    b: pack,
                    finish: Finish {
                        column: group * (to / shape.groups),
                        ..Finish::dense(out.as_mut_ptr(), to, *epilogue)
                    },
                };
                // SAFETY: every tile reads inside the map at every tap, whose rows are padded as the pack asks; the
                // output has been checked against the shape and is ours.
                unsafe { engine::run(&product) };
            }
        }
    }
}

#[cfg(test)]
mod tests;
