//! Forms of a weight that kernels want, made at first use and kept until the weight changes.

use danqing_kernels::conv::{Conv2dShape, PackedConv};
use danqing_kernels::gemm::{PackedB, Precision};
use danqing_kernels::pool::PooledBuf;

use crate::param::Param;
use crate::shape::Dims;
use crate::storage::{DType, dispatch};
use crate::tensor::Tensor;

/// For which computation a weight is packed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Purpose {
    precision: Precision,
    /// For the gradient of the input, or a transposed convolution.
    transposed: bool,
    /// Groups of a convolution; 0 for a linear layer.
    groups: usize,
    /// Maps that the channels of a convolution come from.
    parts: usize,
    /// For minimal filtering, from which the values cannot be got back.
    filtered: bool,
}

enum Form {
    Linear(PackedB),
    Conv(PackedConv),
}

/// What has been packed from one parameter.
#[derive(Default)]
pub(crate) struct Packed(Vec<(Purpose, Form)>);

impl Packed {
    /// Bytes of all forms.
    pub(crate) fn bytes(&self) -> usize {
        let bytes = |form: &Form| match form {
            Form::Linear(pack) => pack.bytes(),
            Form::Conv(pack) => pack.bytes(),
        };
        self.0.iter().map(|(_, form)| bytes(form)).sum()
    }

    /// Whether the numbers of a parameter of type `dtype` can be got back exactly.
    pub(crate) fn holds(&self, dtype: DType) -> bool {
        self.0.iter().any(|(purpose, _)| lossless(purpose, dtype))
    }

    /// The values in row-major order; zeros if nothing has been packed.
    pub(crate) fn unpacked(&self, shape: Dims, dtype: DType) -> Tensor {
        let form = self
            .0
            .iter()
            .find(|(purpose, _)| lossless(purpose, dtype))
            .or_else(|| self.0.iter().find(|(purpose, _)| !purpose.filtered));
        let values = match form {
            Some((_, Form::Conv(pack))) => pack.unpack(),
            Some((purpose, Form::Linear(pack))) if purpose.transposed => pack.unpack(),
            Some((_, Form::Linear(pack))) => {
                let (matrix, k, n) = (pack.unpack(), pack.k(), pack.n());
                (0..n * k).map(|i| matrix[i % k * n + i / k]).collect()
            }
            None => vec![0.0; shape.numel()],
        };
        dispatch!(dtype, E => {
            let mut out = PooledBuf::<E>::dirty(shape.numel());
            out.iter_mut().zip(values).for_each(|(o, v)| *o = <E as danqing_kernels::Element>::from_f32(v));
            Tensor::wrap(out, shape)
        })
    }

    fn find(&self, purpose: Purpose) -> Option<&Form> {
        self.0.iter().find(|(p, _)| *p == purpose).map(|(_, form)| form)
    }
}

fn lossless(purpose: &Purpose, dtype: DType) -> bool {
    !purpose.filtered && (purpose.precision == Precision::F32 || dtype == DType::Bf16)
}

/// The arithmetic of activations of a type.
pub(crate) fn precision(dtype: DType) -> Precision {
    match dtype {
        DType::F32 => Precision::F32,
        DType::Bf16 => Precision::Bf16,
    }
}

impl Param {
    /// Packs a linear weight `[out, in]` for activations of `dtype` now instead of at first use.
    pub fn prepack_linear(&self, dtype: DType) {
        if self.shape().len() == 2 && self.has_plain() {
            self.packed_linear(precision(dtype), false);
        }
    }

    /// Packs a convolution's weight `[out, in / groups, kh, kw]` for activations of `dtype` now instead of at first use.
    pub fn prepack_conv(&self, groups: usize, dtype: DType) {
        if let &[c_out, c_in, kh, kw] = self.shape()
            && groups > 0
            && c_out.is_multiple_of(groups)
            && self.has_plain()
        {
            let shape =
                Conv2dShape { groups, kernel: [kh, kw], ..Conv2dShape::same(1, kh, kw, c_in * groups, c_out, 1) };
            self.packed_conv(&shape, precision(dtype), false);
        }
    }

    /// The weight `[out, in]` packed for `x · wᵀ`, or for `dy · w` if `transposed`.
    pub(crate) fn packed_linear(&self, precision: Precision, transposed: bool) -> PackedB {
        let purpose = Purpose { precision, transposed, groups: 0, parts: 1, filtered: false };
        let form = self.with_packed(|packed| match packed.find(purpose) {
            Some(Form::Linear(pack)) => Some(pack.clone()),
            _ => None,
        });
        if let Some(pack) = form {
            return pack;
        }
        let value = self.value();
        let (width, depth) = (value.dim(0), value.dim(1));
        let (k, n, strides) = if transposed { (width, depth, [0, depth, 1]) } else { (depth, width, [0, 1, depth]) };
        let pack = dispatch!(value.dtype(), E => PackedB::pack(value.data::<E>(), 1, k, n, strides, precision));
        drop(value);
        self.keep(purpose, Form::Linear(pack.clone()));
        pack
    }

    /// The weight of a convolution of this shape, packed for it or for its input gradient.
    pub(crate) fn packed_conv(&self, shape: &Conv2dShape, precision: Precision, transposed: bool) -> PackedConv {
        let purpose = Purpose { precision, transposed, groups: shape.groups, parts: 1, filtered: false };
        self.conv_form(purpose, |value| {
            dispatch!(value.dtype(), E => match transposed {
                true => PackedConv::pack_grad_input(value.data::<E>(), shape, precision),
                false => PackedConv::pack(value.data::<E>(), shape, precision),
            })
        })
    }

    /// The weight of a 1×1 convolution over the channels of `parts` maps.
    pub(crate) fn packed_parts(&self, parts: usize, precision: Precision) -> PackedConv {
        let purpose = Purpose { precision, transposed: false, groups: 1, parts, filtered: false };
        let (c_out, c_in) = (self.shape()[0], self.shape()[1]);
        self.conv_form(purpose, |value| {
            dispatch!(value.dtype(), E => PackedConv::pack_parts(value.data::<E>(), c_in, c_out, parts, precision))
        })
    }

    /// The weight of a 3×3 convolution of f32 maps with a border, for minimal filtering.
    pub(crate) fn packed_filtered(&self) -> PackedConv {
        let purpose = Purpose { precision: Precision::F32, transposed: false, groups: 1, parts: 1, filtered: true };
        let (c_out, c_in) = (self.shape()[0], self.shape()[1]);
        self.conv_form(
            purpose,
            |value| dispatch!(value.dtype(), E => PackedConv::pack_filtered(value.data::<E>(), c_in, c_out)),
        )
    }

    fn conv_form(&self, purpose: Purpose, pack: impl FnOnce(&Tensor) -> PackedConv) -> PackedConv {
        let form = self.with_packed(|packed| match packed.find(purpose) {
            Some(Form::Conv(pack)) => Some(pack.clone()),
            _ => None,
        });
        form.unwrap_or_else(|| {
            let pack = pack(&self.value());
            self.keep(purpose, Form::Conv(pack.clone()));
            pack
        })
    }

    fn keep(&self, purpose: Purpose, form: Form) {
        let frozen = !self.is_trainable();
        self.change_packed(frozen, |packed| {
            if packed.find(purpose).is_none() {
                packed.0.push((purpose, form));
            }
        });
    }
}
