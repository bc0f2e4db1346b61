//! Denoising diffusion probabilistic models: Ho et al. 2020, arXiv 2006.11239, algorithm 2 with the smaller variance.
//!
//! The posterior's mean and variance are those of Euler a with all noise put back, whatever timesteps are left out.

use super::euler_ancestral::step_split;
use super::transition::posterior;
use crate::error::SampleError;
use crate::sampler::{Sampler, SamplerSpec, Step};

/// DDPM.
#[derive(Debug)]
pub(super) struct Ddpm;

impl Sampler for Ddpm {
    fn spec(&self) -> &'static SamplerSpec {
        &SamplerSpec {
            id: "ddpm",
            name: "DDPM",
            aliases: &["DDPMScheduler"],
            order: 1,
            evaluations: 1,
            uses_noise: true,
            drops_penultimate_sigma: false,
            default_eta: 1.0,
            paper: "Ho et al. 2020, arXiv 2006.11239",
        }
    }

    fn step(&self, step: &mut Step<'_>) -> Result<(), SampleError> {
        let x0 = step.denoise(step.sigma())?;
        let split = posterior(step.path(), step.sigma(), step.next(), step.eta());
        step_split(step, &x0, split)
    }
}
