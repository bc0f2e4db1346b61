//! Operations on one tensor, element by element.

use danqing_kernels::elementwise::{Unary, cast, geglu, geglu_grad, unary, unary_grad};
use danqing_kernels::gemm::Activation;
use danqing_kernels::pool::PooledBuf;

use crate::error::{Result, argument_error, shape_error};
use crate::storage::{DType, Scalar, dispatch};
use crate::tape::record;
use crate::tensor::Tensor;

/// A dense tensor of `op` of each element, without history.
pub(crate) fn mapped(x: &Tensor, op: Unary) -> Tensor {
    let x = x.dense();
    dispatch!(x.dtype(), E => {
        let mut out = PooledBuf::<E>::dirty(x.numel());
        unary(op, x.data::<E>(), &mut out);
        Tensor::wrap(out, x.dims())
    })
}

/// `scale · x + offset`, without history.
pub(crate) fn affine(x: &Tensor, scale: f32, offset: f32) -> Tensor {
    mapped(x, Unary::Affine { scale, offset })
}

/// The same values in another type, dense and without history.
pub(crate) fn converted(x: &Tensor, dtype: DType) -> Tensor {
    fn convert<A: Scalar, B: Scalar>(x: &Tensor) -> Tensor {
        let mut out = PooledBuf::<B>::dirty(x.numel());
        cast(x.data::<A>(), &mut out);
        Tensor::wrap(out, x.dims())
    }
    let x = x.dense();
    if x.dtype() == dtype {
        return x;
    }
    dispatch!(x.dtype(), A => dispatch!(dtype, B => convert::<A, B>(&x)))
}

impl Tensor {
    fn unary(&self, name: &'static str, op: Unary) -> Result<Tensor> {
        let x = self.dense();
        Ok(record(name, mapped(&x, op), &[self], &[], |_| {
            Box::new(move |dy, walk| {
                let dy = dy.dense();
                let dx = dispatch!(x.dtype(), E => {
                    let mut dx = PooledBuf::<E>::dirty(x.numel());
                    unary_grad(op, x.data::<E>(), dy.data::<E>(), &mut dx);
                    Tensor::wrap(dx, x.dims())
                });
                walk.add(0, dx)
            })
        }))
    }

    /// `x + value`.
    ///
    /// # Errors
    /// None today; the same holds for the other functions of this file that take no range.
    pub fn add_scalar(&self, value: f32) -> Result<Tensor> {
        Ok(record("add_scalar", affine(self, 1.0, value), &[self], &[], |_| Box::new(|dy, walk| walk.add(0, dy))))
    }

    /// `x · value`.
    pub fn mul_scalar(&self, value: f32) -> Result<Tensor> {
        Ok(record("mul_scalar", affine(self, value, 0.0), &[self], &[], |_| {
            Box::new(move |dy, walk| walk.add(0, affine(&dy, value, 0.0)))
        }))
    }

    /// `-x`.
    pub fn neg(&self) -> Result<Tensor> {
        self.unary("neg", Unary::Neg)
    }

    /// `x²`.
    pub fn square(&self) -> Result<Tensor> {
        self.unary("square", Unary::Square)
    }

    /// `√x`; NaN below zero.
    pub fn sqrt(&self) -> Result<Tensor> {
        self.unary("sqrt", Unary::Sqrt)
    }

    /// `1 / x`.
    pub fn reciprocal(&self) -> Result<Tensor> {
        self.unary("reciprocal", Unary::Reciprocal)
    }

    /// `eˣ`.
    pub fn exp(&self) -> Result<Tensor> {
        self.unary("exp", Unary::Exp)
    }

    /// Natural logarithm; NaN below zero.
    pub fn ln(&self) -> Result<Tensor> {
        self.unary("ln", Unary::Ln)
    }

    /// `|x|`, with slope 0 at 0.
    pub fn abs(&self) -> Result<Tensor> {
        self.unary("abs", Unary::Abs)
    }

    /// Sine of radians.
    pub fn sin(&self) -> Result<Tensor> {
        self.unary("sin", Unary::Sin)
    }

    /// Cosine of radians.
    pub fn cos(&self) -> Result<Tensor> {
        self.unary("cos", Unary::Cos)
    }

    /// `xᵖ`.
    pub fn powf(&self, power: f32) -> Result<Tensor> {
        self.unary("powf", Unary::Power(power))
    }

    /// Error function.
    pub fn erf(&self) -> Result<Tensor> {
        self.unary("erf", Unary::Erf)
    }

    /// Hyperbolic tangent.
    pub fn tanh(&self) -> Result<Tensor> {
        self.unary("tanh", Unary::Tanh)
    }

    /// `1 / (1 + e⁻ˣ)`.
    pub fn sigmoid(&self) -> Result<Tensor> {
        self.unary("sigmoid", Unary::Sigmoid)
    }

    /// `x · sigmoid(x)`.
    pub fn silu(&self) -> Result<Tensor> {
        self.unary("silu", Unary::Silu)
    }

    /// `x · Φ(x)`, with the error function.
    pub fn gelu(&self) -> Result<Tensor> {
        self.unary("gelu", Unary::Gelu)
    }

    /// The tanh approximation of GELU.
    pub fn gelu_tanh(&self) -> Result<Tensor> {
        self.unary("gelu_tanh", Unary::GeluTanh)
    }

    /// `x · sigmoid(1.702 x)`.
    pub fn quick_gelu(&self) -> Result<Tensor> {
        self.unary("quick_gelu", Unary::QuickGelu)
    }

    /// `max(x, 0)`.
    pub fn relu(&self) -> Result<Tensor> {
        self.unary("relu", Unary::Relu)
    }

    /// `x`, or `slope · x` below zero.
    pub fn leaky_relu(&self, slope: f32) -> Result<Tensor> {
        self.unary("leaky_relu", Unary::LeakyRelu(slope))
    }

    /// The activation that a layer names.
    pub fn activation(&self, activation: Activation) -> Result<Tensor> {
        match activation {
            Activation::None => Ok(self.clone()),
            Activation::Relu => self.relu(),
            Activation::LeakyRelu(slope) => self.leaky_relu(slope),
            Activation::Silu => self.silu(),
            Activation::Gelu => self.gelu(),
            Activation::GeluTanh => self.gelu_tanh(),
            Activation::QuickGelu => self.quick_gelu(),
            Activation::Sigmoid => self.sigmoid(),
            Activation::Tanh => self.tanh(),
        }
    }

    /// Limited to `[low, high]`; the gradient is zero outside.
    ///
    /// # Errors
    /// If `low > high` or one of them is NaN.
    pub fn clamp(&self, low: f32, high: f32) -> Result<Tensor> {
        if low.is_nan() || high.is_nan() || low > high {
            return argument_error("clamp", format!("{low} to {high} is not a range"));
        }
        self.unary("clamp", Unary::Clamp(low, high))
    }

    /// `value · gelu(gate)`, `value` and `gate` being the halves of the last dimension (GEGLU, arXiv:2002.05202).
    ///
    /// # Errors
    /// If the last dimension is not even.
    pub fn geglu(&self) -> Result<Tensor> {
        let mut shape = self.dims();
        let last = match shape.last_mut() {
            Some(last) if *last > 0 && last.is_multiple_of(2) => last,
            _ => return shape_error("geglu", &[self.shape()], "the last dimension must be even"),
        };
        *last /= 2;
        let columns = *last;
        let x = self.dense();
        let out = dispatch!(x.dtype(), E => {
            let mut out = PooledBuf::<E>::dirty(shape.numel());
            geglu(x.data::<E>(), columns, &mut out);
            Tensor::wrap(out, shape)
        });
        Ok(record("geglu", out, &[self], &[], |_| {
            Box::new(move |dy, walk| {
                let dy = dy.dense();
                let dx = dispatch!(x.dtype(), E => {
                    let mut dx = PooledBuf::<E>::dirty(x.numel());
                    geglu_grad(x.data::<E>(), dy.data::<E>(), columns, &mut dx);
                    Tensor::wrap(dx, x.dims())
                });
                walk.add(0, dx)
            })
        }))
    }
}
