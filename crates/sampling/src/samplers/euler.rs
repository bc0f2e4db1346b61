//! Euler's method on the probability flow: Karras et al. 2022, arXiv 2206.00364, algorithm 2 without the correction.

use super::transition::towards;
use crate::error::SampleError;
use crate::sampler::{Sampler, SamplerSpec, Step};

/// One straight step along `dx/dsigma = (x - x0) / sigma`.
#[derive(Debug)]
pub(super) struct Euler;

impl Sampler for Euler {
    fn spec(&self) -> &'static SamplerSpec {
        &SamplerSpec {
            id: "euler",
            name: "Euler",
            aliases: &["k_euler", "EulerDiscreteScheduler", "FlowMatchEulerDiscreteScheduler"],
            order: 1,
            evaluations: 1,
            uses_noise: false,
            drops_penultimate_sigma: false,
            default_eta: 0.0,
            paper: "Karras et al. 2022, arXiv 2206.00364",
        }
    }

    fn step(&self, step: &mut Step<'_>) -> Result<(), SampleError> {
        let sigma = step.churn()?;
        let x0 = step.denoise(sigma)?;
        step.set(towards(step.path(), step.x(), &x0, sigma, step.next()));
        Ok(())
    }
}
