//! exp, ln, tanh, erf and the activations made of them, on vectors.
//!
//! Method: Cody and Waite's range reduction (*Software Manual for the Elementary Functions*, 1980) and polynomials fitted
//! by `reference/fit_polynomials.py`. Largest errors, measured by the tests of [`crate::elementwise`]: exp 2 ULP, ln 2 ULP
//! (results above 1e-30 in size), tanh 3 ULP, sigmoid 4 ULP, erf 3e-7 absolute. Infinities, zeros, NaN and results below
//! the normal range come out as in IEEE arithmetic.

#![expect(clippy::excessive_precision, clippy::approx_constant, reason = "coefficients as fitted")]

use super::Simd;
use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

/// (e^r - 1 - r) / r^2 on |r| <= ln 2 / 2: largest error 1.24e-07.
const EXP: [f32; 5] = [5.000_000_0e-1, 1.666_657_8e-1, 4.166_685_4e-2, 8.363_170_5e-3, 1.390_129_7e-3];
/// 2^f on 0 <= f <= 1: largest error 7.49e-08.
const EXP2: [f32; 6] = [9.999_999_4e-1, 6.931_530_8e-1, 2.401_536_1e-1, 5.582_631_8e-2, 8.989_340_6e-3, 1.877_576_6e-3];
/// 2^f on 0 <= f <= 1: largest error 7.48e-05.
#[cfg(target_arch = "x86_64")]
const EXP2_SHORT: [f32; 4] = [9.999_252_0e-1, 6.958_335_6e-1, 2.260_671_6e-1, 7.802_452_1e-2];
/// (tanh(x) / x - 1) / x^2 in x^2 on |x| <= 0.63: largest error 1.42e-07.
const TANH: [f32; 5] = [-3.333_332_8e-1, 1.333_273_6e-1, -5.384_586_8e-2, 2.097_342_0e-2, -6.062_381_0e-3];
/// erf(x) / x in x^2 on |x| <= 1: largest error 1.21e-09.
const ERF_SMALL: [f32; 7] =
    [1.128_379_1, -3.761_262_6e-1, 1.128_358_5e-1, -2.685_381_3e-2, 5.188_327_7e-3, -8.010_193_7e-4, 7.853_861_5e-5];
/// ln erfc(x) on 0.95 <= x <= 4.1, absolute: largest error 1.80e-08.
const ERFC_LOG: [f32; 9] = [
    2.740_750_8e-4,
    -1.130_047_7,
    -6.321_418_3e-1,
    -1.097_840_6e-1,
    2.625_352_9e-2,
    -4.700_782_2e-3,
    5.842_879_2e-4,
    -4.457_742_0e-5,
    1.562_477_1e-6,
];
/// (ln(1 + f) - f + f^2 / 2) / f^3 on -0.25 <= f <= 0.5: largest error 2.17e-08.
const LN: [f32; 9] = [
    3.333_333_1e-1,
    -2.500_005_1e-1,
    2.000_030_3e-1,
    -1.666_145_5e-1,
    1.426_266_6e-1,
    -1.261_706_8e-1,
    1.171_842_7e-1,
    -9.787_083_4e-2,
    4.509_638_6e-2,
];
/// ln 2 in two parts: the first has few bits, so that its products with small integers are exact.
const LN2_HIGH: f32 = 0.693_359_4;
const LN2_LOW: f32 = -2.121_944_4e-4;
/// sqrt(2 / pi).
const GELU_SCALE: f32 = 0.797_884_6;
const GELU_CUBE: f32 = 0.044_715;
const QUICK_GELU: f32 = 1.702;
/// 1 / sqrt(2 pi).
const NORMAL_PEAK: f32 = 0.398_942_3;

/// The polynomial, lowest power first, by Horner's rule.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(s: S, x: S::F, coefficients: [f32; N]) -> S::F {
    let mut sum = s.splat(coefficients[N - 1]);
    let mut i = N - 1;
    while i > 0 {
        i -= 1;
        sum = s.fma(sum, x, s.splat(coefficients[i]));
    }
    sum
}

/// e^x.
#[inline(always)]
pub(crate) fn exp<S: Simd>(s: S, x: S::F) -> S::F {
    let x = s.min(s.splat(89.5), s.max(s.splat(-105.0), x));
    let n = s.round(s.mul(x, s.splat(LOG2_E)));
    let r = s.fma(n, s.splat(-LN2_HIGH), x);
    let r = s.fma(n, s.splat(-LN2_LOW), r);
    let tail = s.fma(s.mul(r, r), polynomial(s, r, EXP), r);
    s.scale_by_power(s.add(tail, s.splat(1.0)), n)
}

/// 2^x for x up to 120 (1e-7 relative; less than 2^-250 may come out as 0).
#[inline(always)]
pub(crate) fn exp2<S: Simd>(s: S, x: S::F) -> S::F {
    let (fraction, floor) = s.split_fraction(x);
    s.scale_by_power(polynomial(s, fraction, EXP2), floor)
}

/// As [`exp2`] with a relative error of 1e-4, a sixteenth of what bf16 rounds away.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn exp2_for_bf16<S: Simd>(s: S, x: S::F) -> S::F {
    let (fraction, floor) = s.split_fraction(x);
    s.scale_by_power(polynomial(s, fraction, EXP2_SHORT), floor)
}

/// Natural logarithm.
#[inline(always)]
pub(crate) fn ln<S: Simd>(s: S, x: S::F) -> S::F {
    let (zero, infinity) = (s.splat(0.0), s.splat(f32::INFINITY));
    let tiny = s.less(x, s.splat(f32::MIN_POSITIVE));
    let scaled = s.select(tiny, s.mul(x, s.splat(8_388_608.0)), x);
    let (mantissa, exponent) = s.split_exponent(scaled);
    let exponent = s.sub(exponent, s.select(tiny, s.splat(23.0), zero));
    let f = s.sub(mantissa, s.splat(1.0));
    let square = s.mul(f, f);
    let cubic = s.mul(s.mul(square, f), polynomial(s, f, LN));
    let small = s.fma(exponent, s.splat(LN2_LOW), cubic);
    let small = s.fma(square, s.splat(-0.5), small);
    let result = s.fma(exponent, s.splat(LN2_HIGH), s.add(f, small));
    let result = s.select(s.less(x, infinity), result, x);
    let result = s.select(s.equal(x, zero), s.splat(f32::NEG_INFINITY), result);
    s.select(s.less(x, zero), s.splat(f32::NAN), result)
}

/// Hyperbolic tangent.
#[inline(always)]
pub(crate) fn tanh<S: Simd>(s: S, x: S::F) -> S::F {
    let size = s.abs(x);
    let u = s.mul(x, x);
    let near = s.fma(s.mul(x, u), polynomial(s, u, TANH), x);
    let e = exp(s, s.add(size, size));
    let far = s.sub(s.splat(1.0), s.div(s.splat(2.0), s.add(e, s.splat(1.0))));
    s.select(s.less(size, s.splat(0.63)), near, s.copysign(far, x))
}

/// Error function.
#[inline(always)]
pub(crate) fn erf<S: Simd>(s: S, x: S::F) -> S::F {
    let size = s.abs(x);
    let u = s.mul(x, x);
    let near = s.mul(x, polynomial(s, u, ERF_SMALL));
    let clipped = s.min(s.splat(4.1), size);
    let far = s.sub(s.splat(1.0), exp(s, polynomial(s, clipped, ERFC_LOG)));
    s.select(s.less(size, s.splat(1.0)), near, s.copysign(far, x))
}

/// 1 / (1 + e^-x).
#[inline(always)]
pub(crate) fn sigmoid<S: Simd>(s: S, x: S::F) -> S::F {
    let one = s.splat(1.0);
    s.div(one, s.add(one, exp(s, s.sub(s.splat(0.0), x))))
}

/// x · sigmoid(x).
#[inline(always)]
pub(crate) fn silu<S: Simd>(s: S, x: S::F) -> S::F {
    s.div(x, s.add(s.splat(1.0), exp(s, s.sub(s.splat(0.0), x))))
}

/// Derivative of [`silu`].
#[inline(always)]
pub(crate) fn silu_slope<S: Simd>(s: S, x: S::F) -> S::F {
    let one = s.splat(1.0);
    let p = sigmoid(s, x);
    s.mul(p, s.fma(x, s.sub(one, p), one))
}

/// The normal distribution function, the factor of [`gelu`].
#[inline(always)]
pub(crate) fn normal<S: Simd>(s: S, x: S::F) -> S::F {
    let half = s.splat(0.5);
    s.fma(half, erf(s, s.mul(x, s.splat(FRAC_1_SQRT_2))), half)
}

/// x · Φ(x), with the error function.
#[inline(always)]
pub(crate) fn gelu<S: Simd>(s: S, x: S::F) -> S::F {
    s.mul(x, normal(s, x))
}

/// The normal density.
#[inline(always)]
pub(crate) fn density<S: Simd>(s: S, x: S::F) -> S::F {
    s.mul(s.splat(NORMAL_PEAK), exp(s, s.mul(s.mul(x, x), s.splat(-0.5))))
}

/// Derivative of [`gelu`].
#[inline(always)]
pub(crate) fn gelu_slope<S: Simd>(s: S, x: S::F) -> S::F {
    s.fma(x, density(s, x), normal(s, x))
}

/// The tanh approximation of GELU (Hendrycks and Gimpel, arXiv:1606.08415).
#[inline(always)]
pub(crate) fn gelu_tanh<S: Simd>(s: S, x: S::F) -> S::F {
    let half = s.mul(x, s.splat(0.5));
    s.fma(half, tanh(s, gelu_tanh_inner(s, x)), half)
}

#[inline(always)]
fn gelu_tanh_inner<S: Simd>(s: S, x: S::F) -> S::F {
    let scale = s.fma(s.mul(x, x), s.splat(GELU_SCALE * GELU_CUBE), s.splat(GELU_SCALE));
    s.mul(x, scale)
}

/// Derivative of [`gelu_tanh`].
#[inline(always)]
pub(crate) fn gelu_tanh_slope<S: Simd>(s: S, x: S::F) -> S::F {
    let (half, one) = (s.splat(0.5), s.splat(1.0));
    let t = tanh(s, gelu_tanh_inner(s, x));
    let inner_slope = s.fma(s.mul(x, x), s.splat(3.0 * GELU_SCALE * GELU_CUBE), s.splat(GELU_SCALE));
    let bend = s.mul(s.sub(one, s.mul(t, t)), s.mul(x, inner_slope));
    s.mul(half, s.add(s.add(one, t), bend))
}

/// x · sigmoid(1.702 x), CLIP's activation.
#[inline(always)]
pub(crate) fn quick_gelu<S: Simd>(s: S, x: S::F) -> S::F {
    s.mul(x, sigmoid(s, s.mul(x, s.splat(QUICK_GELU))))
}

/// Derivative of [`quick_gelu`].
#[inline(always)]
pub(crate) fn quick_gelu_slope<S: Simd>(s: S, x: S::F) -> S::F {
    let one = s.splat(1.0);
    let scaled = s.mul(x, s.splat(QUICK_GELU));
    let p = sigmoid(s, scaled);
    s.mul(p, s.fma(scaled, s.sub(one, p), one))
}
