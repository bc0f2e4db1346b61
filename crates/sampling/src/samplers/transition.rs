//! The moves that samplers are made of.

use crate::path::NoisePath;
use crate::vector::combine;

/// Goes from `sigma` to `next` as if the clean picture stayed `x0`: the exact solution then, on either path, and the first
/// order of DDIM, Euler and DPM-Solver++ alike: `(next/sigma) x + (alpha' - alpha next/sigma) x0`.
pub(super) fn towards(path: NoisePath, x: &[f32], x0: &[f32], sigma: f64, next: f64) -> Vec<f32> {
    let ratio = next / sigma;
    combine(&[(ratio, x), (path.alpha(next) - path.alpha(sigma) * ratio, x0)])
}

/// A step that goes down too far, then comes up again by adding noise.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ancestral {
    /// Where the deterministic part ends.
    pub(super) down: f64,
    /// Factor on the state before the noise is added; 1 on the variance-exploding path.
    pub(super) scale: f64,
    /// Amount of noise that lifts it to the noise level wanted.
    pub(super) up: f64,
}

/// Splits the step from `sigma` to `next` as the posterior of the noising does (Ho et al. 2020, equation 7), with eta as in
/// DDIM (Song et al. 2020, arXiv 2010.02502, equation 16). It holds on any path over the ratio of noise to picture.
pub(super) fn posterior(path: NoisePath, sigma: f64, next: f64, eta: f64) -> Ancestral {
    if eta == 0.0 || next == 0.0 {
        return Ancestral { down: next, scale: 1.0, up: 0.0 };
    }
    let ratio = next / path.alpha(next);
    let share = ratio * path.alpha(sigma) / sigma;
    let up = ratio.min(eta * ratio * (1.0 - share * share).max(0.0).sqrt());
    let down = path.sigma_of_ratio((ratio * ratio - up * up).sqrt());
    Ancestral { down, scale: path.alpha(next) / path.alpha(down), up: up * path.alpha(next) }
}

/// Splits the step from `sigma` to `next` for ancestral samplers: the posterior, but on a flow going down further by the
/// factor `1 + eta (next/sigma - 1)` and restoring the level with noise, as ComfyUI does.
pub(super) fn ancestral(path: NoisePath, sigma: f64, next: f64, eta: f64) -> Ancestral {
    if path == NoisePath::VarianceExploding || eta == 0.0 || next == 0.0 {
        return posterior(path, sigma, next, eta);
    }
    let down = (next * (1.0 + (next / sigma - 1.0) * eta)).max(0.0);
    let scale = path.alpha(next) / path.alpha(down);
    Ancestral { down, scale, up: (next * next - (down * scale).powi(2)).max(0.0).sqrt() }
}

/// Goes up from `sigma` to `next` with fresh noise: `(factor on the state, amount of noise)`.
pub(super) fn lift(path: NoisePath, sigma: f64, next: f64) -> (f64, f64) {
    if sigma >= next {
        return (1.0, 0.0);
    }
    let scale = path.alpha(next) / path.alpha(sigma);
    (scale, (next * next - (sigma * scale).powi(2)).max(0.0).sqrt())
}

/// Step in lambda, with a flow's start held at a finite one.
pub(super) fn lambda_step(path: NoisePath, sigma: f64, next: f64) -> f64 {
    path.bounded_lambda(next) - path.bounded_lambda(sigma)
}

/// The noise level halfway in lambda between two.
pub(super) fn halfway(path: NoisePath, sigma: f64, next: f64) -> f64 {
    path.sigma((path.bounded_lambda(sigma) + path.bounded_lambda(next)) / 2.0)
}
