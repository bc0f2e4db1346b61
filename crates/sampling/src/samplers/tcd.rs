//! Trajectory consistency distillation: Zheng et al. 2024, arXiv 2402.19159, algorithm 4 (strategic stochastic sampling).

use super::transition::{lift, towards};
use crate::error::SampleError;
use crate::sampler::{Sampler, SamplerSpec, Step};
use crate::vector::combine;

/// Goes down to the timestep `(1 - eta)` times the one wanted, and up again with noise; `eta` is the paper's gamma.
#[derive(Debug)]
pub(super) struct Tcd;

impl Sampler for Tcd {
    fn spec(&self) -> &'static SamplerSpec {
        &SamplerSpec {
            id: "tcd",
            name: "TCD",
            aliases: &["TCDScheduler"],
            order: 1,
            evaluations: 1,
            uses_noise: true,
            drops_penultimate_sigma: false,
            default_eta: 0.3,
            paper: "Zheng et al. 2024, arXiv 2402.19159",
        }
    }

    fn step(&self, step: &mut Step<'_>) -> Result<(), SampleError> {
        let (path, sigma, next) = (step.path(), step.sigma(), step.next());
        let x0 = step.denoise(sigma)?;
        let down = if next == 0.0 { 0.0 } else { step.scaled_timestep(next, 1.0 - step.eta()).min(next) };
        let (scale, up) = if next == 0.0 { (1.0, 0.0) } else { lift(path, down, next) };
        let x = towards(path, step.x(), &x0, sigma, down);
        step.set(combine(&[(scale, &x)]));
        step.add_noise(up)
    }
}
