//! 2-D convolution on NHWC maps: forward, both gradients, transposed.
//!
//! Weights come as `[c_out, c_in / groups, kh, kw]` and are packed once ([`PackedConv`]). Activations decide the
//! arithmetic as in [`crate::gemm`].

mod packed;
pub(crate) mod scalar;
mod shape;

pub use packed::PackedConv;
pub use shape::{Conv2dShape, ConvShapeError};

use crate::element::Element;
use crate::gemm::Epilogue;

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
    scalar::conv2d(x, shape, &w.weights(shape, false), out, epilogue);
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
    scalar::conv2d_grad_weight(x, dy, shape, dw, accumulate);
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
    scalar::conv_transpose2d(x, shape, &w.weights(shape, true), out, epilogue);
}

#[cfg(test)]
mod tests;
