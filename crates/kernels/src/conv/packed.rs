//! Convolution weights packed for kernels, one [`PackedB`] per group.

use super::Conv2dShape;
use crate::element::Element;
use crate::gemm::{PackedB, Precision};
use std::sync::Arc;

/// Packed weights of a convolution, for its forward or its data gradient. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PackedConv {
    groups: Arc<[PackedB]>,
    kernel: [usize; 2],
    c_in: usize,
    c_out: usize,
    for_grad_input: bool,
}

impl PackedConv {
    /// Packs `w`, `[c_out, c_in / groups, kh, kw]`, for [`super::conv2d`]. Batch, height and width do not matter.
    ///
    /// # Panics
    /// If `w` does not fit the shape.
    pub fn pack<S: Element>(w: &[S], shape: &Conv2dShape, precision: Precision) -> Self {
        Self::build(w, shape, precision, false)
    }

    /// Packs `w` for [`super::conv2d_grad_input`] and [`super::conv_transpose2d`].
    ///
    /// # Panics
    /// If `w` does not fit the shape.
    pub fn pack_grad_input<S: Element>(w: &[S], shape: &Conv2dShape, precision: Precision) -> Self {
        Self::build(w, shape, precision, true)
    }

    fn build<S: Element>(w: &[S], shape: &Conv2dShape, precision: Precision, for_grad_input: bool) -> Self {
        assert_eq!(w.len(), shape.weight_len(), "the weight does not fit {shape:?}");
        let (taps, c_in, c_out) = (shape.taps(), shape.c_in / shape.groups, shape.c_out / shape.groups);
        let pack = |group: usize| {
            let w = &w[group * c_out * c_in * taps..(group + 1) * c_out * c_in * taps];
            if for_grad_input {
                // dx[p] = Σ dy[p - tap]·wᵀ[tap]: walking the taps backwards turns it into a forward convolution.
                let turned: Vec<S> = w.chunks_exact(taps).flat_map(|taps| taps.iter().rev().copied()).collect();
                PackedB::pack(&turned, taps, c_out, c_in, [1, c_in * taps, taps], precision)
            } else {
                PackedB::pack(w, taps, c_in, c_out, [1, taps, c_in * taps], precision)
            }
        };
        PackedConv {
            groups: (0..shape.groups).map(pack).collect(),
            kernel: shape.kernel,
            c_in: shape.c_in,
            c_out: shape.c_out,
            for_grad_input,
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.groups.iter().map(PackedB::bytes).sum()
    }

    /// The arithmetic it was packed for.
    pub fn precision(&self) -> Precision {
        self.groups.first().map_or(Precision::F32, PackedB::precision)
    }

    /// The weight as it was, `[c_out, c_in / groups, kh, kw]` (rounded to bf16 if packed so).
    pub fn unpack(&self) -> Vec<f32> {
        let taps = self.kernel[0] * self.kernel[1];
        let mut out = Vec::with_capacity(self.c_out * self.c_in / self.groups.len().max(1) * taps);
        for pack in self.groups.iter() {
            let (k, n) = (pack.k(), pack.n());
            let matrix = pack.unpack();
            let (c_in, c_out) = if self.for_grad_input { (n, k) } else { (k, n) };
            for o in 0..c_out {
                for i in 0..c_in {
                    out.extend((0..taps).map(|tap| {
                        if self.for_grad_input {
                            matrix[((taps - 1 - tap) * k + o) * n + i]
                        } else {
                            matrix[(tap * k + i) * n + o]
                        }
                    }));
                }
            }
        }
        out
    }

    /// The unpacked weight, after a check that it belongs to `shape` and to this direction.
    pub(super) fn weights(&self, shape: &Conv2dShape, for_grad_input: bool) -> Vec<f32> {
        self.check(shape, for_grad_input);
        self.unpack()
    }

    fn check(&self, shape: &Conv2dShape, for_grad_input: bool) {
        assert_eq!(self.for_grad_input, for_grad_input, "the weight is packed for the other direction");
        let (ours, theirs) = (
            (self.kernel, self.c_in, self.c_out, self.groups.len()),
            (shape.kernel, shape.c_in, shape.c_out, shape.groups),
        );
        assert_eq!(ours, theirs, "the weight is packed for another kernel");
    }
}
