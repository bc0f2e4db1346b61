//! In-place updates: optimizer and averages of weights, casts, sums into a slice.

use super::map::{Map, Same, for_pieces, map, update};
use crate::element::Element;
use crate::simd::{Kernel, Simd, dispatch};
use crate::threads::Shared;

/// Converts between element types; to bf16 it rounds to nearest, ties to even.
///
/// # Panics
/// If the lengths differ.
pub fn cast<A: Element, B: Element>(x: &[A], out: &mut [B]) {
    map([x], out, Same);
}

/// `y += scale · x`.
///
/// # Panics
/// If the lengths differ.
pub fn axpy<E: Element>(scale: f32, x: &[E], y: &mut [E]) {
    #[derive(Clone, Copy)]
    struct Axpy(f32);
    impl Map<2> for Axpy {
        #[inline(always)]
        fn apply<S: Simd>(&self, s: S, [y, x]: [S::F; 2]) -> S::F {
            s.fma(s.splat(self.0), x, y)
        }
    }
    update(y, x, Axpy(scale));
}

/// `y += x`.
///
/// # Panics
/// If the lengths differ.
pub fn add_assign<E: Element>(x: &[E], y: &mut [E]) {
    #[derive(Clone, Copy)]
    struct Sum;
    impl Map<2> for Sum {
        #[inline(always)]
        fn apply<S: Simd>(&self, s: S, [y, x]: [S::F; 2]) -> S::F {
            s.add(y, x)
        }
    }
    update(y, x, Sum);
}

/// Exponential moving average: `average += (1 - decay) · (x - average)`.
///
/// # Panics
/// If the lengths differ.
pub fn ema<E: Element>(decay: f32, x: &[E], average: &mut [E]) {
    #[derive(Clone, Copy)]
    struct Ema(f32);
    impl Map<2> for Ema {
        #[inline(always)]
        fn apply<S: Simd>(&self, s: S, [average, x]: [S::F; 2]) -> S::F {
            s.fma(s.splat(self.0), s.sub(x, average), average)
        }
    }
    update(average, x, Ema(1.0 - decay));
}

/// One step of AdamW (Loshchilov and Hutter, arXiv:1711.05101).
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    /// Learning rate of this step.
    pub learning_rate: f32,
    /// Decay of the mean gradient.
    pub beta1: f32,
    /// Decay of the mean squared gradient.
    pub beta2: f32,
    /// Added to the root of the mean square.
    pub epsilon: f32,
    /// Decoupled weight decay, multiplied by the learning rate.
    pub weight_decay: f32,
    /// Number of this step, from 1, for the bias correction.
    pub step: u64,
    /// The gradient is multiplied by this first (clipping, loss scale).
    pub gradient_scale: f32,
}

/// Updates `weights` and the two moments in one pass, all f32.
///
/// # Panics
/// If the lengths differ.
pub fn adamw(step: &AdamW, gradient: &[f32], weights: &mut [f32], mean: &mut [f32], square: &mut [f32]) {
    let len = weights.len();
    assert!(
        gradient.len() == len && mean.len() == len && square.len() == len,
        "weights, gradient and moments must have one length"
    );
    let power = |beta: f32| 1.0 - f64::from(beta).powf(step.step as f64);
    let rates = Rates {
        gradient_scale: step.gradient_scale,
        decay: 1.0 - step.learning_rate * step.weight_decay,
        beta1: step.beta1,
        beta2: step.beta2,
        rate: (f64::from(step.learning_rate) / power(step.beta1)) as f32,
        root: (1.0 / power(step.beta2).sqrt()) as f32,
        epsilon: step.epsilon,
    };
    let (weights, mean, square) = (Shared::new(weights), Shared::new(mean), Shared::new(square));
    for_pieces(len, super::map::GRAIN, &|start, len| {
        let gradient = &gradient[start..start + len];
        // SAFETY: pieces are disjoint, in each of the three.
        let (weights, mean, square) =
            unsafe { (weights.range(start, len), mean.range(start, len), square.range(start, len)) };
        dispatch(AdamWKernel { rates, gradient, weights, mean, square });
    });
}

#[derive(Clone, Copy)]
struct Rates {
    gradient_scale: f32,
    decay: f32,
    beta1: f32,
    beta2: f32,
    rate: f32,
    root: f32,
    epsilon: f32,
}

/// The new weight, mean and square. A function and not a closure: that may be left out of line, without the
/// instruction set.
#[inline(always)]
fn moved<S: Simd>(s: S, r: Rates, gradient: S::F, weight: S::F, mean: S::F, square: S::F) -> (S::F, S::F, S::F) {
    let gradient = s.mul(gradient, s.splat(r.gradient_scale));
    let mean = s.fma(s.splat(1.0 - r.beta1), s.sub(gradient, mean), mean);
    let square = s.fma(s.splat(1.0 - r.beta2), s.mul(gradient, gradient), s.mul(s.splat(r.beta2), square));
    let root = s.fma(s.sqrt(square), s.splat(r.root), s.splat(r.epsilon));
    let change = s.div(s.mul(mean, s.splat(r.rate)), root);
    (s.sub(s.mul(weight, s.splat(r.decay)), change), mean, square)
}

struct AdamWKernel<'a> {
    rates: Rates,
    gradient: &'a [f32],
    weights: &'a mut [f32],
    mean: &'a mut [f32],
    square: &'a mut [f32],
}

impl Kernel for AdamWKernel<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let rates = self.rates;
        let whole = self.weights.len() / S::LANES * S::LANES;
        let mut i = 0;
        while i < whole {
            let at = i..i + S::LANES;
            let (weight, mean, square) = moved(
                s,
                rates,
                s.load(&self.gradient[at.clone()]),
                s.load(&self.weights[at.clone()]),
                s.load(&self.mean[at.clone()]),
                s.load(&self.square[at.clone()]),
            );
            s.store(weight, &mut self.weights[at.clone()]);
            s.store(mean, &mut self.mean[at.clone()]);
            s.store(square, &mut self.square[at]);
            i += S::LANES;
        }
        if whole < self.weights.len() {
            let (weights, mean, square) =
                (&mut self.weights[whole..], &mut self.mean[whole..], &mut self.square[whole..]);
            let g = s.load_part(&self.gradient[whole..], 0.0);
            let (weight, m, v) =
                moved(s, rates, g, s.load_part(weights, 0.0), s.load_part(mean, 0.0), s.load_part(square, 0.0));
            s.store_part(weight, weights);
            s.store_part(m, mean);
            s.store_part(v, square);
        }
    }
}
