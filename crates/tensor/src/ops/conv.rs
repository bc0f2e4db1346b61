//! Two-dimensional convolutions over `[batch, height, width, channels]`.

use danqing_kernels::conv::{Conv2dShape, conv_transpose2d, conv2d, conv2d_grad_input, conv2d_grad_weight};
use danqing_kernels::gemm::{Activation, Epilogue};
use danqing_kernels::pool::PooledBuf;

use crate::error::{Result, shape_error};
use crate::ops::linear::{bias_grad, check_bias, check_residual};
use crate::packed::precision;
use crate::param::Param;
use crate::shape::Dims;
use crate::storage::{DType, Scalar, dispatch};
use crate::tape::{record, records};
use crate::tensor::Tensor;

/// The numbers of a convolution that its weight does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dOptions {
    /// Steps down, across.
    pub stride: [usize; 2],
    /// Zeros added at the top, bottom, left, right (of a transposed convolution: taken away).
    pub padding: [usize; 4],
    /// Distance of the kernel's rows, columns.
    pub dilation: [usize; 2],
    /// Groups of channels that see only each other.
    pub groups: usize,
    /// Rows, columns added at the bottom, right of a transposed convolution's result.
    pub output_padding: [usize; 2],
}

impl Default for Conv2dOptions {
    fn default() -> Self {
        Conv2dOptions { stride: [1; 2], padding: [0; 4], dilation: [1; 2], groups: 1, output_padding: [0; 2] }
    }
}

impl Conv2dOptions {
    /// The same padding on all sides.
    pub fn padded(padding: usize) -> Self {
        Conv2dOptions { padding: [padding; 4], ..Self::default() }
    }

    /// With the same stride in both directions.
    pub fn stride(self, stride: usize) -> Self {
        Conv2dOptions { stride: [stride; 2], ..self }
    }
}

/// What a convolution does beside `x ∗ w + b`: `activation(… + row_bias) + residual`.
#[derive(Clone, Copy)]
pub struct ConvFusion<'a> {
    /// `[batch, c_out]`, added to every pixel of its picture (a time embedding).
    pub row_bias: Option<&'a Tensor>,
    /// Added after the activation; has the shape and type of the result.
    pub residual: Option<&'a Tensor>,
    /// Applied before the residual is added.
    pub activation: Activation,
}

impl Default for ConvFusion<'_> {
    fn default() -> Self {
        ConvFusion { row_bias: None, residual: None, activation: Activation::None }
    }
}

fn map_size(op: &'static str, x: &Tensor, weight: &Param) -> Result<([usize; 4], [usize; 4])> {
    match (x.shape(), weight.shape()) {
        (_, weight_shape) if weight_shape.contains(&0) => {
            shape_error(op, &[weight_shape], format!("weight `{}` is empty", weight.name()))
        }
        (&[b, h, w, c], &[o, i, kh, kw]) => Ok(([b, h, w, c], [o, i, kh, kw])),
        _ => {
            let why = format!("x must be [batch, height, width, channels], weight `{}` of rank four", weight.name());
            shape_error(op, &[x.shape(), weight.shape()], why)
        }
    }
}

fn check(op: &'static str, shape: &Conv2dShape, x: &Tensor, weight: &Param) -> Result<()> {
    shape
        .check()
        .or_else(|e| shape_error(op, &[x.shape(), weight.shape()], format!("{e} (weight `{}`)", weight.name())))
}

impl Tensor {
    /// Convolution of `[batch, height, width, c_in]` with `weight` `[c_out, c_in / groups, kh, kw]` and `bias` `[c_out]`.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn conv2d(&self, weight: &Param, bias: Option<&Param>, options: Conv2dOptions) -> Result<Tensor> {
        self.conv2d_with(weight, bias, options, ConvFusion::default())
    }

    /// As [`Tensor::conv2d`], with a bias per picture, an activation and a residual computed in the same pass.
    ///
    /// # Errors
    /// If shapes do not fit or the residual's type differs.
    pub fn conv2d_with(
        &self,
        weight: &Param,
        bias: Option<&Param>,
        options: Conv2dOptions,
        fusion: ConvFusion<'_>,
    ) -> Result<Tensor> {
        let ([batch, height, width, c_in], [c_out, i, kh, kw]) = map_size("conv2d", self, weight)?;
        let Conv2dOptions { stride, padding, dilation, groups, .. } = options;
        if i.checked_mul(groups) != Some(c_in) {
            let why = format!("weight `{}` takes {i} channels in each of {groups} groups", weight.name());
            return shape_error("conv2d", &[self.shape(), weight.shape()], why);
        }
        let shape =
            Conv2dShape { batch, height, width, c_in, c_out, kernel: [kh, kw], stride, padding, dilation, groups };
        check("conv2d", &shape, self, weight)?;
        check_bias("conv2d", bias, c_out)?;
        let dims = Dims::new("conv2d", &[batch, shape.out_height(), shape.out_width(), c_out])?;
        check_residual("conv2d", fusion.residual, &dims, self)?;
        if let Some(row_bias) = fusion.row_bias
            && row_bias.shape() != [batch, c_out]
        {
            return shape_error("conv2d", &[row_bias.shape(), &[batch, c_out]], "the row bias must be [batch, c_out]");
        }
        let params: &[&Param] = &[weight, bias.unwrap_or(weight)][..1 + usize::from(bias.is_some())];
        let mut inputs = vec![self];
        inputs.extend(fusion.residual);
        inputs.extend(fusion.row_bias);
        if fusion.activation != Activation::None && records(&inputs, params) {
            // The slope of the activation needs its argument, so that it cannot be folded into the product.
            let plain = ConvFusion { row_bias: fusion.row_bias, ..ConvFusion::default() };
            let out = self.conv2d_with(weight, bias, options, plain)?.activation(fusion.activation)?;
            return match fusion.residual {
                Some(residual) => out.add(residual),
                None => Ok(out),
            };
        }
        let x = self.dense();
        let out = dispatch!(x.dtype(), E => forward::<E>(&x, &shape, weight, bias, &fusion)?).shaped(dims);
        Ok(record("conv2d", out, &inputs, params, |_| {
            let (weight, bias) = (weight.clone(), bias.cloned());
            let residual = fusion.residual.is_some();
            let row_bias = fusion.row_bias.map(Tensor::dtype);
            Box::new(move |dy, walk| {
                let dy = dy.dense();
                if walk.needs(0) {
                    let dx = dispatch!(dy.dtype(), E => {
                        let packed = weight.packed_conv(&shape, precision(dy.dtype()), true);
                        let mut dx = PooledBuf::<E>::dirty(shape.input_len());
                        conv2d_grad_input(dy.data::<E>(), &shape, &packed, &mut dx);
                        Tensor::wrap(dx, x.dims())
                    });
                    walk.add(0, dx)?;
                }
                weight_grad(walk, &weight, &x, &dy, &shape)?;
                if let Some(bias) = &bias {
                    walk.param(bias, |values, first| {
                        bias_grad(&dy, values, first);
                        Ok(())
                    })?;
                }
                let at = 1 + usize::from(residual);
                if let Some(dtype) = row_bias
                    && walk.needs(at)
                {
                    walk.add(at, dy.cast(DType::F32)?.sum(&[1, 2], false)?.cast(dtype)?)?;
                }
                if residual {
                    walk.add(1, dy)?;
                }
                Ok(())
            })
        }))
    }

    /// Transposed convolution of `[batch, height, width, c_in]` with `weight` `[c_in, c_out / groups, kh, kw]` (PyTorch's
    /// order) and `bias` `[c_out]`.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn conv_transpose2d(&self, weight: &Param, bias: Option<&Param>, options: Conv2dOptions) -> Result<Tensor> {
        let op = "conv_transpose2d";
        let ([batch, height, width, c_in], [o, i, kh, kw]) = map_size(op, self, weight)?;
        let Conv2dOptions { stride, padding, dilation, groups, output_padding } = options;
        let refuse = |why: String| shape_error(op, &[self.shape(), weight.shape()], why);
        if o != c_in {
            return refuse(format!("weight `{}` takes {o} channels", weight.name()));
        }
        let size = |axis: usize| {
            let (len, kernel) = ([height, width][axis], [kh, kw][axis]);
            let reach = len.checked_sub(1)?.checked_mul(stride[axis])?;
            let span = kernel.checked_sub(1)?.checked_mul(dilation[axis])?.checked_add(1)?;
            let full = reach.checked_add(span)?.checked_add(output_padding[axis])?;
            full.checked_sub(padding[2 * axis])?.checked_sub(padding[2 * axis + 1])
        };
        let (Some(out_height), Some(out_width)) = (size(0), size(1)) else {
            return refuse("nothing is left after taking the padding away".into());
        };
        if (0..2).any(|axis| output_padding[axis] >= stride[axis].max(dilation[axis])) {
            return refuse(format!("output padding {output_padding:?} must be below the stride or dilation"));
        }
        let c_out = i.checked_mul(groups).unwrap_or(0);
        // The convolution whose input gradient this is.
        let shape = Conv2dShape {
            batch,
            height: out_height,
            width: out_width,
            c_in: c_out,
            c_out: c_in,
            kernel: [kh, kw],
            stride,
            padding,
            dilation,
            groups,
        };
        check(op, &shape, self, weight)?;
        check_bias(op, bias, c_out)?;
        let dims = Dims::new(op, &[batch, out_height, out_width, c_out])?;
        let x = self.dense();
        let out = dispatch!(x.dtype(), E => {
            let packed = weight.packed_conv(&shape, precision(x.dtype()), true);
            let bias = bias.map(Param::wide);
            let epilogue = Epilogue { bias: bias.as_ref().map(|b| b.data::<f32>()), ..Epilogue::default() };
            let mut out = PooledBuf::<E>::dirty(shape.input_len());
            conv_transpose2d(x.data::<E>(), &shape, &packed, &mut out, &epilogue);
            Tensor::wrap(out, dims)
        });
        let params: &[&Param] = &[weight, bias.unwrap_or(weight)][..1 + usize::from(bias.is_some())];
        Ok(record(op, out, &[self], params, |_| {
            let (weight, bias) = (weight.clone(), bias.cloned());
            Box::new(move |dy, walk| {
                let dy = dy.dense();
                if walk.needs(0) {
                    let dx = dispatch!(dy.dtype(), E => {
                        let packed = weight.packed_conv(&shape, precision(dy.dtype()), false);
                        let mut dx = PooledBuf::<E>::dirty(shape.output_len());
                        conv2d(dy.data::<E>(), &shape, &packed, &mut dx, &Epilogue::default());
                        Tensor::wrap(dx, x.dims())
                    });
                    walk.add(0, dx)?;
                }
                weight_grad(walk, &weight, &dy, &x, &shape)?;
                if let Some(bias) = &bias {
                    walk.param(bias, |values, first| {
                        bias_grad(&dy, values, first);
                        Ok(())
                    })?;
                }
                Ok(())
            })
        }))
    }
}

/// Adds the weight gradient of the convolution of `x` whose result's gradient is `dy`.
fn weight_grad(
    walk: &mut crate::tape::Walk<'_>,
    weight: &Param,
    x: &Tensor,
    dy: &Tensor,
    shape: &Conv2dShape,
) -> Result<()> {
    walk.param(weight, |values, first| {
        dispatch!(dy.dtype(), E => conv2d_grad_weight(x.data::<E>(), dy.data::<E>(), shape, values, !first));
        Ok(())
    })
}

fn forward<E: Scalar>(
    x: &Tensor,
    shape: &Conv2dShape,
    weight: &Param,
    bias: Option<&Param>,
    fusion: &ConvFusion<'_>,
) -> Result<Tensor> {
    let packed = weight.packed_conv(shape, precision(E::DTYPE), false);
    let bias = bias.map(Param::wide);
    let residual = fusion.residual.map(Tensor::dense);
    let row_bias = fusion.row_bias.map(|r| r.detach().cast(DType::F32)).transpose()?.map(|r| r.dense());
    let rows = shape.out_height() * shape.out_width();
    let epilogue = Epilogue {
        bias: bias.as_ref().map(|b| b.data::<f32>()),
        row_bias: row_bias.as_ref().map(|r| (r.data::<f32>(), rows)),
        residual: residual.as_ref().map(|r| r.data::<E>()),
        activation: fusion.activation,
    };
    let mut out = PooledBuf::<E>::dirty(shape.output_len());
    conv2d(x.data::<E>(), shape, &packed, &mut out, &epilogue);
    Ok(Tensor::flat(out))
}
