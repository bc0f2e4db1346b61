//! Linear layers: rows times a weight, with bias, activation and residual in one pass.

use danqing_kernels::elementwise::column_sums;
use danqing_kernels::gemm::{Activation, Epilogue, gemm, gemm_at_b};
use danqing_kernels::pool::PooledBuf;

use crate::error::{Result, TensorError, shape_error};
use crate::packed::precision;
use crate::param::Param;
use crate::storage::{Scalar, dispatch};
use crate::tape::{record, records};
use crate::tensor::Tensor;

/// What a linear layer does beside `x · wᵀ + b`: `activation(…) + residual`.
#[derive(Clone, Copy)]
pub struct LinearFusion<'a> {
    /// Applied to the product with bias.
    pub activation: Activation,
    /// Added after the activation; has the shape and type of the result.
    pub residual: Option<&'a Tensor>,
}

impl Default for LinearFusion<'_> {
    fn default() -> Self {
        LinearFusion { activation: Activation::None, residual: None }
    }
}

/// Adds the column sums of `dy` `[rows, columns]` to the gradient of a bias.
pub(crate) fn bias_grad(dy: &Tensor, values: &mut [f32], first: bool) {
    dispatch!(dy.dtype(), E => column_sums(dy.data::<E>(), values, !first));
}

/// Refuses a bias that is not `[width]`.
pub(crate) fn check_bias(op: &'static str, bias: Option<&Param>, width: usize) -> Result<()> {
    match bias {
        Some(bias) if bias.shape() != [width] => {
            shape_error(op, &[bias.shape(), &[width]], format!("bias `{}` must have one value per output", bias.name()))
        }
        _ => Ok(()),
    }
}

/// Refuses a residual that does not look like the result.
pub(crate) fn check_residual(op: &'static str, residual: Option<&Tensor>, shape: &[usize], x: &Tensor) -> Result<()> {
    let Some(residual) = residual else { return Ok(()) };
    if residual.shape() != shape {
        return shape_error(op, &[residual.shape(), shape], "the residual must have the shape of the result");
    }
    if residual.dtype() != x.dtype() {
        return Err(TensorError::DType { op, left: x.dtype(), right: residual.dtype() });
    }
    Ok(())
}

impl Tensor {
    /// `x · wᵀ + b` over the last dimension: `x` `[…, in]`, `weight` `[out, in]`, `bias` `[out]` → `[…, out]`.
    ///
    /// # Errors
    /// If shapes do not fit.
    pub fn linear(&self, weight: &Param, bias: Option<&Param>) -> Result<Tensor> {
        self.linear_with(weight, bias, LinearFusion::default())
    }

    /// As [`Tensor::linear`], with an activation and a residual computed in the same pass.
    ///
    /// # Errors
    /// If shapes do not fit or the residual's type differs.
    pub fn linear_with(&self, weight: &Param, bias: Option<&Param>, fusion: LinearFusion<'_>) -> Result<Tensor> {
        let [width, depth] = *weight.shape() else {
            return shape_error("linear", &[weight.shape()], format!("weight `{}` must be [out, in]", weight.name()));
        };
        if width == 0 || depth == 0 {
            return shape_error("linear", &[weight.shape()], format!("weight `{}` is empty", weight.name()));
        }
        if self.rank() == 0 || self.dim(self.rank() - 1) != depth {
            let why = format!("the last dimension must be {depth}, the input width of `{}`", weight.name());
            return shape_error("linear", &[self.shape(), weight.shape()], why);
        }
        check_bias("linear", bias, width)?;
        let mut shape = self.dims();
        let last = shape.len() - 1;
        shape[last] = width;
        shape.checked_numel("linear")?;
        check_residual("linear", fusion.residual, &shape, self)?;
        let params: &[&Param] = &[Some(weight), bias].map(|p| p.unwrap_or(weight))[..1 + usize::from(bias.is_some())];
        let mut inputs = vec![self];
        inputs.extend(fusion.residual);
        if fusion.activation != Activation::None && records(&inputs, params) {
            // The slope of the activation needs its argument, so that it cannot be folded into the product.
            let out = self.linear(weight, bias)?.activation(fusion.activation)?;
            return match fusion.residual {
                Some(residual) => out.add(residual),
                None => Ok(out),
            };
        }
        let x = self.dense();
        let residual = fusion.residual.map(Tensor::dense);
        let out = dispatch!(x.dtype(), E => {
            forward::<E>(&x, weight, bias, residual.as_ref(), fusion.activation, shape.numel() / width)
        });
        let out = out.shaped(shape);
        Ok(record("linear", out, &inputs, params, |_| {
            let (weight, bias, full) = (weight.clone(), bias.cloned(), self.dims());
            Box::new(move |dy, walk| {
                let dy = dy.dense();
                if walk.needs(0) {
                    let dx = dispatch!(dy.dtype(), E => input_grad::<E>(&dy, &weight, depth));
                    walk.add(0, dx.shaped(full))?;
                }
                let rows = x.numel() / depth;
                walk.param(&weight, |values, first| {
                    dispatch!(dy.dtype(), E => {
                        gemm_at_b(dy.data::<E>(), x.data::<E>(), rows, width, depth, values, !first);
                    });
                    Ok(())
                })?;
                if let Some(bias) = &bias {
                    walk.param(bias, |values, first| {
                        bias_grad(&dy, values, first);
                        Ok(())
                    })?;
                }
                if walk.has(1) {
                    walk.add(1, dy)?;
                }
                Ok(())
            })
        }))
    }
}

fn forward<E: Scalar>(
    x: &Tensor,
    weight: &Param,
    bias: Option<&Param>,
    residual: Option<&Tensor>,
    activation: Activation,
    rows: usize,
) -> Tensor {
    let packed = weight.packed_linear(precision(E::DTYPE), false);
    let bias = bias.map(Param::wide);
    let mut out = PooledBuf::<E>::dirty(rows * packed.n());
    let epilogue = Epilogue {
        bias: bias.as_ref().map(|b| b.data::<f32>()),
        row_bias: None,
        residual: residual.map(|r| r.data::<E>()),
        activation,
    };
    gemm(x.data::<E>(), packed.k(), rows, &packed, &mut out, packed.n(), &epilogue);
    Tensor::flat(out)
}

fn input_grad<E: Scalar>(dy: &Tensor, weight: &Param, depth: usize) -> Tensor {
    let packed = weight.packed_linear(precision(E::DTYPE), true);
    let rows = dy.numel() / packed.k();
    let mut out = PooledBuf::<E>::dirty(rows * depth);
    gemm(dy.data::<E>(), packed.k(), rows, &packed, &mut out, depth, &Epilogue::default());
    Tensor::flat(out)
}
