//! Convolution weights packed for kernels, one [`PackedB`] per group.

use super::Conv2dShape;
use super::walk::Layout;
use super::winograd;
use crate::element::{Element, ElementKind};
use crate::gemm::{PackedB, Precision};
use crate::pool::PooledBuf;
use std::borrow::Cow;
use std::sync::Arc;

/// Packed weights of a convolution, for its forward or its data gradient. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PackedConv {
    groups: Arc<[PackedB]>,
    layout: Layout,
    kernel: [usize; 2],
    c_in: usize,
    c_out: usize,
    for_grad_input: bool,
    /// Made for [`winograd`].
    filtered: bool,
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

    /// Packs `w`, `[c_out, parts · k, 1, 1]`, for [`super::conv2d_plane`] from `parts` maps of `k` channels each.
    ///
    /// # Panics
    /// If `w` does not fit, or the channels do not divide into parts.
    pub fn pack_parts<S: Element>(w: &[S], c_in: usize, c_out: usize, parts: usize, precision: Precision) -> Self {
        assert!(parts > 0 && c_in.is_multiple_of(parts) && w.len() == c_in * c_out, "{c_in} channels in {parts} parts");
        let k = c_in / parts;
        let starts: Vec<usize> = (0..parts).map(|part| part * k).collect();
        let pack = PackedB::pack_taps(w, &starts, k, c_out, [1, c_in], precision);
        let layout = Layout { fused: false, taps: parts, k };
        PackedConv {
            groups: Arc::new([pack]),
            layout,
            kernel: [1, 1],
            c_in,
            c_out,
            for_grad_input: false,
            filtered: false,
        }
    }

    /// Packs `w`, `[c_out, c_in, 3, 3]`, for [`super::conv2d_plane`] from f32 maps by minimal filtering: a quarter of the
    /// multiplications, for four times the memory and errors of some 10⁻⁶ of the largest sums.
    ///
    /// # Panics
    /// If `w` does not fit.
    pub fn pack_filtered<S: Element>(w: &[S], c_in: usize, c_out: usize) -> Self {
        assert!(c_in > 0 && w.len() == 9 * c_in * c_out, "{} weights for {c_in} and {c_out} channels", w.len());
        let groups = Arc::new([winograd::pack(w, c_in, c_out)]);
        let layout = Layout { fused: false, taps: 9, k: c_in };
        PackedConv { groups, layout, kernel: [3, 3], c_in, c_out, for_grad_input: false, filtered: true }
    }

    fn build<S: Element>(w: &[S], shape: &Conv2dShape, precision: Precision, for_grad_input: bool) -> Self {
        shape.assert_valid();
        assert_eq!(w.len(), shape.weight_len(), "the weight does not fit {shape:?}");
        let (taps, c_in, c_out) = (shape.taps(), shape.c_in / shape.groups, shape.c_out / shape.groups);
        let (k, n) = if for_grad_input { (c_out, c_in) } else { (c_in, c_out) };
        let layout = Layout::of(shape, k, precision, for_grad_input);
        let pack = |group: usize| {
            let w = &w[group * c_out * c_in * taps..(group + 1) * c_out * c_in * taps];
            let (k_stride, n_stride) = if for_grad_input { (c_in * taps, taps) } else { (taps, c_in * taps) };
            // dx[p] = Σ dy[p - tap]·wᵀ[tap]: walking the taps backwards turns it into a forward convolution.
            let starts: Vec<usize> = if for_grad_input { (0..taps).rev().collect() } else { (0..taps).collect() };
            if !layout.fused {
                return PackedB::pack_taps(w, &starts, k, n, [k_stride, n_stride], precision);
            }
            let mut moved = PooledBuf::<S>::dirty(w.len());
            let mut rows = moved.chunks_exact_mut(n.max(1));
            for start in starts {
                for (row, out) in (0..k).zip(&mut rows) {
                    for (column, out) in out.iter_mut().enumerate() {
                        *out = w[start + row * k_stride + column * n_stride];
                    }
                }
            }
            PackedB::pack(&moved, layout.taps, layout.k, n, [layout.k * n, n, 1], precision)
        };
        PackedConv {
            groups: (0..shape.groups).map(pack).collect(),
            layout,
            kernel: shape.kernel,
            c_in: shape.c_in,
            c_out: shape.c_out,
            for_grad_input,
            filtered: false,
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
    ///
    /// # Panics
    /// If it was [packed for filtering](Self::pack_filtered), which loses digits.
    pub fn unpack(&self) -> Vec<f32> {
        assert!(!self.filtered, "a filtered weight cannot be had back");
        let taps = self.kernel[0] * self.kernel[1];
        let mut out = Vec::with_capacity(self.c_out * self.c_in / self.groups.len().max(1) * taps);
        for pack in self.groups.iter() {
            // [taps, k, n] either way: fused taps only count some of them as k.
            let (n, k) = (pack.n(), pack.taps() * pack.k() / taps);
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

    /// The packs of the groups and their layout, after a check that they belong to `shape` and to this direction, in a
    /// precision that fits activations of type `E`.
    pub(super) fn for_activations<E: Element>(
        &self,
        shape: &Conv2dShape,
        for_grad_input: bool,
    ) -> (Cow<'_, [PackedB]>, Layout) {
        self.check(shape, for_grad_input);
        if E::KIND == ElementKind::F32 && self.precision() == Precision::Bf16 {
            let widen = |pack: &PackedB| {
                let (k, n) = (pack.k(), pack.n());
                PackedB::pack(&pack.unpack(), pack.taps(), k, n, [k * n, n, 1], Precision::F32)
            };
            return (Cow::Owned(self.groups.iter().map(widen).collect()), self.layout);
        }
        (Cow::Borrowed(&self.groups), self.layout)
    }

    /// Whether it was [packed for filtering](Self::pack_filtered).
    pub(super) fn is_filtered(&self) -> bool {
        self.filtered
    }

    /// Pack and layout of a forward convolution without groups, stride or dilation.
    pub(super) fn plain(&self) -> Option<(&PackedB, Layout)> {
        match &*self.groups {
            [pack] if !self.for_grad_input => Some((pack, self.layout)),
            _ => None,
        }
    }

    /// Whether products run over neighbouring pixels, which must then have no other channels.
    pub fn is_fused(&self) -> bool {
        self.layout.fused
    }

    /// Kernel rows, columns.
    pub(super) fn kernel(&self) -> [usize; 2] {
        self.kernel
    }

    /// Channels of the input and of the output.
    pub(super) fn channels(&self) -> [usize; 2] {
        [self.c_in, self.c_out]
    }

    fn check(&self, shape: &Conv2dShape, for_grad_input: bool) {
        assert_eq!(self.for_grad_input, for_grad_input, "the weight is packed for the other direction");
        assert!(!self.filtered, "the weight is packed for maps with a border");
        let (ours, theirs) = (
            (self.kernel, self.c_in, self.c_out, self.groups.len()),
            (shape.kernel, shape.c_in, shape.c_out, shape.groups),
        );
        assert_eq!(ours, theirs, "the weight is packed for another kernel");
        let channels = if for_grad_input { shape.c_out } else { shape.c_in } / shape.groups;
        let layout = Layout::of(shape, channels, self.precision(), for_grad_input);
        assert_eq!(self.layout, layout, "the weight is packed for another stride or dilation");
    }
}
