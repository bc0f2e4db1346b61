//! The functions in double precision, one number at a time: what the vector code is held against.

use super::unary::Unary;
use super::{Binary, Reduction};

/// Error function: the Maclaurin series, or beyond 3 the asymptotic continued fraction.
pub(super) fn erf(x: f64) -> f64 {
    if x.is_nan() || x.abs() > 6.0 {
        return if x.is_nan() { x } else { x.signum() };
    }
    if x.abs() < 3.0 {
        let (mut term, mut sum) = (x, x);
        for n in 1..100 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return sum * std::f64::consts::FRAC_2_SQRT_PI;
    }
    let a = x.abs();
    let fraction = (1..60).rev().fold(a, |f, n| a + f64::from(n) / 2.0 / f);
    x.signum() * (1.0 - (-a * a).exp() / (fraction * std::f64::consts::PI.sqrt()))
}

pub(super) fn unary(op: Unary, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match op {
        Unary::Relu => {
            if x < 0.0 {
                0.0
            } else {
                x
            }
        }
        Unary::LeakyRelu(slope) => {
            if x < 0.0 {
                x * f64::from(slope)
            } else {
                x
            }
        }
        Unary::Silu => x * sigmoid(x),
        Unary::Gelu => 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        Unary::GeluTanh => 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh()),
        Unary::QuickGelu => x * sigmoid(1.702 * x),
        Unary::Sigmoid => sigmoid(x),
        Unary::Tanh => x.tanh(),
        Unary::Exp => x.exp(),
        Unary::Ln => x.ln(),
        Unary::Sqrt => x.sqrt(),
        Unary::Square => x * x,
        Unary::Reciprocal => 1.0 / x,
        Unary::Abs => x.abs(),
        Unary::Neg => -x,
        Unary::Erf => erf(x),
        Unary::Sin => x.sin(),
        Unary::Cos => x.cos(),
        Unary::Power(exponent) => x.powf(f64::from(exponent)),
        Unary::Clamp(low, high) => {
            if x.is_nan() {
                x
            } else {
                x.clamp(f64::from(low), f64::from(high))
            }
        }
        Unary::Affine { scale, offset } => x * f64::from(scale) + f64::from(offset),
    }
}

/// The slope by a central difference.
pub(super) fn slope(op: Unary, x: f64) -> f64 {
    let step = 1e-6;
    (unary(op, x + step) - unary(op, x - step)) / (2.0 * step)
}

pub(super) fn binary(op: Binary, a: f32, b: f32) -> f32 {
    let truth = |t: bool| if t { 1.0 } else { 0.0 };
    match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Maximum => {
            if a > b {
                a
            } else {
                b
            }
        }
        Binary::Minimum => {
            if a < b {
                a
            } else {
                b
            }
        }
        Binary::Greater => truth(a > b),
        Binary::Less => truth(a < b),
        Binary::Equal => truth(a == b),
    }
}

/// The position in a strided operand of element `i` of a contiguous `shape`.
pub(super) fn position(mut i: usize, shape: &[usize], strides: &[usize]) -> usize {
    let mut at = 0;
    for (&n, &stride) in shape.iter().zip(strides).rev() {
        at += i % n * stride;
        i /= n;
    }
    at
}

pub(super) fn reduce(kind: Reduction, x: &[f32], shape: &[usize], reduced: &[bool]) -> Vec<f32> {
    let mut strides = vec![0; shape.len()];
    let mut kept = 1;
    for dim in (0..shape.len()).rev().filter(|&dim| !reduced[dim]) {
        strides[dim] = kept;
        kept *= shape[dim];
    }
    let mut out = vec![if kind == Reduction::Max { f64::NEG_INFINITY } else { 0.0 }; kept];
    for (i, &x) in x.iter().enumerate() {
        let out = &mut out[position(i, shape, &strides)];
        *out = if kind == Reduction::Max { out.max(f64::from(x)) } else { *out + f64::from(x) };
    }
    let scale = if kind == Reduction::Mean { kept as f64 / x.len() as f64 } else { 1.0 };
    out.into_iter().map(|v| (v * scale) as f32).collect()
}
