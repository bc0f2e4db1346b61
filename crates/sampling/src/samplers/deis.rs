//! Diffusion exponential integrator sampler, the log-rho multistep form: Zhang and Chen 2022, arXiv 2204.13902.
//!
//! Over `rho = sigma / alpha` the state divided by alpha moves by the noise alone: `d(x/alpha) = eps d(rho)`. The noise is
//! taken as a polynomial in `ln rho` through its last values.

use super::transition::towards;
use crate::error::SampleError;
use crate::sampler::{Sampler, SamplerSpec, Step};
use crate::vector::combine;

/// DEIS of order 2 (1 to 3 can be asked for). First order to sigma 0, and lower orders at the end of runs below 15 steps,
/// as in diffusers.
#[derive(Debug)]
pub(super) struct Deis;

impl Sampler for Deis {
    fn spec(&self) -> &'static SamplerSpec {
        &SamplerSpec {
            id: "deis",
            name: "DEIS",
            aliases: &["DEISMultistepScheduler"],
            order: 2,
            evaluations: 1,
            uses_noise: false,
            drops_penultimate_sigma: false,
            default_eta: 0.0,
            paper: "Zhang and Chen 2022, arXiv 2204.13902",
        }
    }

    fn step(&self, step: &mut Step<'_>) -> Result<(), SampleError> {
        let (path, sigma, next) = (step.path(), step.sigma(), step.next());
        let x0 = step.denoise(sigma)?;
        let noise = combine(&[(1.0 / sigma, step.x()), (-path.alpha(sigma) / sigma, &x0)]);
        let wanted = step.options().order.unwrap_or(2).min(3);
        step.remember(noise, wanted);
        let left = step.total() - step.index();
        let order = if step.total() < 15 { step.memory().min(left) } else { step.memory() };
        if order == 1 || next == 0.0 {
            step.set(towards(path, step.x(), &x0, sigma, next));
            return Ok(());
        }
        let log_rho = |back: usize| -path.bounded_lambda(step.earlier(back)) + path.bounded_lambda(sigma);
        let nodes: Vec<f64> = (0..order).map(log_rho).collect();
        let (rho, reach) = (sigma / path.alpha(sigma), path.lambda(sigma) - path.lambda(next));
        let alpha = path.alpha(next);
        let weights = (0..order).map(|j| alpha * rho * integral(&nodes, j, reach));
        let noises = (0..order).filter_map(|j| step.remembered(j));
        let start = (alpha / path.alpha(sigma), step.x());
        let terms: Vec<_> = std::iter::once(start).chain(weights.zip(noises)).collect();
        step.set(combine(&terms));
        Ok(())
    }
}

/// The integral from 0 to `reach` of `exp(v)` times the polynomial in `v` that is 1 at node `j` and 0 at the others.
fn integral(nodes: &[f64], j: usize, reach: f64) -> f64 {
    let e = libm::exp(reach);
    let moments = [libm::expm1(reach), (reach - 1.0) * e + 1.0, (reach * reach - 2.0 * reach + 2.0) * e - 2.0];
    let mut polynomial = [1.0, 0.0, 0.0];
    for (k, node) in nodes.iter().enumerate().filter(|(k, _)| *k != j) {
        let scale = 1.0 / (nodes[j] - nodes[k]);
        let [a, b, c] = polynomial;
        polynomial = [-node * a, a - node * b, b - node * c].map(|p| p * scale);
    }
    polynomial.iter().zip(moments).map(|(p, m)| p * m).sum()
}
