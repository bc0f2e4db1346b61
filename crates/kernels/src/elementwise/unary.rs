//! Functions of one number and their derivatives.

use super::map::{Map, map};
use crate::element::Element;
use crate::gemm::Activation;
use crate::simd::{MAX_LANES, Simd, math};

/// A function of one number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unary {
    /// max(x, 0); NaN stays.
    Relu,
    /// x, or `slope`·x below zero.
    LeakyRelu(f32),
    /// x · sigmoid(x).
    Silu,
    /// x · Φ(x) with the error function.
    Gelu,
    /// GELU by tanh.
    GeluTanh,
    /// x · sigmoid(1.702 x).
    QuickGelu,
    /// 1 / (1 + e^-x).
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
    /// e^x.
    Exp,
    /// Natural logarithm.
    Ln,
    /// Square root.
    Sqrt,
    /// x².
    Square,
    /// 1 / x.
    Reciprocal,
    /// |x|; slope 0 at 0.
    Abs,
    /// -x.
    Neg,
    /// Error function.
    Erf,
    /// Sine (by the standard library, one value at a time).
    Sin,
    /// Cosine (by the standard library, one value at a time).
    Cos,
    /// x to a constant power (by the standard library, one value at a time).
    Power(f32),
    /// Into [low, high]; NaN stays; slope 1 inside and at the bounds.
    Clamp(f32, f32),
    /// scale · x + offset.
    Affine {
        /// Factor.
        scale: f32,
        /// Summand.
        offset: f32,
    },
}

impl From<Activation> for Unary {
    fn from(activation: Activation) -> Unary {
        match activation {
            Activation::None => Unary::Affine { scale: 1.0, offset: 0.0 },
            Activation::Relu => Unary::Relu,
            Activation::LeakyRelu(slope) => Unary::LeakyRelu(slope),
            Activation::Silu => Unary::Silu,
            Activation::Gelu => Unary::Gelu,
            Activation::GeluTanh => Unary::GeluTanh,
            Activation::QuickGelu => Unary::QuickGelu,
            Activation::Sigmoid => Unary::Sigmoid,
            Activation::Tanh => Unary::Tanh,
        }
    }
}

#[inline(always)]
fn each_lane<S: Simd>(s: S, x: S::F, f: impl Fn(f32) -> f32) -> S::F {
    let mut lanes = [0.0f32; MAX_LANES];
    s.store(x, &mut lanes[..S::LANES]);
    for lane in &mut lanes[..S::LANES] {
        *lane = f(*lane);
    }
    s.load(&lanes[..S::LANES])
}

/// Declares a type per function: its value and its slope, both on vectors.
macro_rules! functions {
    ($($name:ident $(($($field:ident),+))? = |$s:ident, $x:ident| $value:expr, $slope:expr;)+) => {
        $(
            #[derive(Clone, Copy)]
            pub(crate) struct $name { $($(pub(crate) $field: f32),+)? }
            impl Map<1> for $name {
                #[inline(always)]
                fn apply<S: Simd>(&self, $s: S, [$x]: [S::F; 1]) -> S::F {
                    $(let Self { $($field),+ } = *self;)?
                    $value
                }
            }
            impl Map<2> for $name {
                /// Slope at the first operand times the second.
                #[inline(always)]
                #[allow(unused_variables)] // a slope may be constant
                fn apply<S: Simd>(&self, $s: S, [$x, dy]: [S::F; 2]) -> S::F {
                    $(let Self { $($field),+ } = *self;)?
                    $s.mul($slope, dy)
                }
            }
        )+
    };
}

functions! {
    Relu = |s, x| s.max(s.splat(0.0), x), s.select(s.less(s.splat(0.0), x), s.splat(1.0), s.splat(0.0));
    LeakyRelu(slope) = |s, x| s.select(s.less(x, s.splat(0.0)), s.mul(x, s.splat(slope)), x),
        s.select(s.less(s.splat(0.0), x), s.splat(1.0), s.splat(slope));
    Silu = |s, x| math::silu(s, x), math::silu_slope(s, x);
    Gelu = |s, x| math::gelu(s, x), math::gelu_slope(s, x);
    GeluTanh = |s, x| math::gelu_tanh(s, x), math::gelu_tanh_slope(s, x);
    QuickGelu = |s, x| math::quick_gelu(s, x), math::quick_gelu_slope(s, x);
    Sigmoid = |s, x| math::sigmoid(s, x), { let p = math::sigmoid(s, x); s.mul(p, s.sub(s.splat(1.0), p)) };
    Tanh = |s, x| math::tanh(s, x), { let t = math::tanh(s, x); s.sub(s.splat(1.0), s.mul(t, t)) };
    Exp = |s, x| math::exp(s, x), math::exp(s, x);
    Ln = |s, x| math::ln(s, x), s.div(s.splat(1.0), x);
    Sqrt = |s, x| s.sqrt(x), s.div(s.splat(0.5), s.sqrt(x));
    Square = |s, x| s.mul(x, x), s.add(x, x);
    Reciprocal = |s, x| s.div(s.splat(1.0), x), s.div(s.splat(-1.0), s.mul(x, x));
    Abs = |s, x| s.abs(x), s.select(s.equal(x, s.splat(0.0)), s.splat(0.0), s.copysign(s.splat(1.0), x));
    Erf = |s, x| math::erf(s, x), s.mul(s.splat(std::f32::consts::FRAC_2_SQRT_PI), math::exp(s, s.sub(s.splat(0.0), s.mul(x, x))));
    Sin = |s, x| each_lane(s, x, f32::sin), each_lane(s, x, f32::cos);
    Cos = |s, x| each_lane(s, x, f32::cos), each_lane(s, x, |x| -x.sin());
    Power(exponent) = |s, x| each_lane(s, x, |x| x.powf(exponent)), each_lane(s, x, |x| exponent * x.powf(exponent - 1.0));
    Clamp(low, high) = |s, x| s.min(s.splat(high), s.max(s.splat(low), x)), {
        let below = s.select(s.less(x, s.splat(low)), s.splat(0.0), s.splat(1.0));
        s.select(s.less(s.splat(high), x), s.splat(0.0), below)
    };
    Affine(scale, offset) = |s, x| s.fma(x, s.splat(scale), s.splat(offset)), s.splat(scale);
}

/// Calls `$call!(function)` with the function's type for a [`Unary`].
macro_rules! with_function {
    ($op:expr, $f:ident => $body:expr) => {
        match $op {
            Unary::Relu => {
                let $f = Relu {};
                $body
            }
            Unary::LeakyRelu(slope) => {
                let $f = LeakyRelu { slope };
                $body
            }
            Unary::Silu => {
                let $f = Silu {};
                $body
            }
            Unary::Gelu => {
                let $f = Gelu {};
                $body
            }
            Unary::GeluTanh => {
                let $f = GeluTanh {};
                $body
            }
            Unary::QuickGelu => {
                let $f = QuickGelu {};
                $body
            }
            Unary::Sigmoid => {
                let $f = Sigmoid {};
                $body
            }
            Unary::Tanh => {
                let $f = Tanh {};
                $body
            }
            Unary::Exp => {
                let $f = Exp {};
                $body
            }
            Unary::Ln => {
                let $f = Ln {};
                $body
            }
            Unary::Sqrt => {
                let $f = Sqrt {};
                $body
            }
            Unary::Square => {
                let $f = Square {};
                $body
            }
            Unary::Reciprocal => {
                let $f = Reciprocal {};
                $body
            }
            Unary::Abs => {
                let $f = Abs {};
                $body
            }
            Unary::Neg => {
                let $f = Affine { scale: -1.0, offset: 0.0 };
                $body
            }
            Unary::Erf => {
                let $f = Erf {};
                $body
            }
            Unary::Sin => {
                let $f = Sin {};
                $body
            }
            Unary::Cos => {
                let $f = Cos {};
                $body
            }
            Unary::Power(exponent) => {
                let $f = Power { exponent };
                $body
            }
            Unary::Clamp(low, high) => {
                let $f = Clamp { low, high };
                $body
            }
            Unary::Affine { scale, offset } => {
                let $f = Affine { scale, offset };
                $body
            }
        }
    };
}

/// `out[i] = op(x[i])`.
///
/// # Panics
/// If the lengths differ.
pub fn unary<E: Element>(op: Unary, x: &[E], out: &mut [E]) {
    with_function!(op, f => map([x], out, f));
}

/// `dx[i] = op'(x[i]) · dy[i]`; `x` is the input of the forward call.
///
/// # Panics
/// If the lengths differ.
pub fn unary_grad<E: Element>(op: Unary, x: &[E], dy: &[E], dx: &mut [E]) {
    with_function!(op, f => map([x, dy], dx, f));
}

/// The activation itself. The choice is made per vector, where it is cheap, so that fused kernels are compiled once.
impl Map<1> for Activation {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, x: [S::F; 1]) -> S::F {
        match *self {
            Activation::None => x[0],
            Activation::Relu => Relu {}.apply(s, x),
            Activation::LeakyRelu(slope) => LeakyRelu { slope }.apply(s, x),
            Activation::Silu => Silu {}.apply(s, x),
            Activation::Gelu => Gelu {}.apply(s, x),
            Activation::GeluTanh => GeluTanh {}.apply(s, x),
            Activation::QuickGelu => QuickGelu {}.apply(s, x),
            Activation::Sigmoid => Sigmoid {}.apply(s, x),
            Activation::Tanh => Tanh {}.apply(s, x),
        }
    }
}

/// Slope of the activation at the first operand, times the second.
impl Map<2> for Activation {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, x: [S::F; 2]) -> S::F {
        match *self {
            Activation::None => x[1],
            Activation::Relu => Relu {}.apply(s, x),
            Activation::LeakyRelu(slope) => LeakyRelu { slope }.apply(s, x),
            Activation::Silu => Silu {}.apply(s, x),
            Activation::Gelu => Gelu {}.apply(s, x),
            Activation::GeluTanh => GeluTanh {}.apply(s, x),
            Activation::QuickGelu => QuickGelu {}.apply(s, x),
            Activation::Sigmoid => Sigmoid {}.apply(s, x),
            Activation::Tanh => Tanh {}.apply(s, x),
        }
    }
}
