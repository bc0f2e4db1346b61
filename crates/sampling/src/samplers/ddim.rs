//! Denoising diffusion implicit models: Song et al. 2020, arXiv 2010.02502, equation 12.
//!
//! Written over `x / sqrt(abar)`, the state with variance exploding, DDIM without noise is Euler's step, and its noise
//! `eta * sqrt((1-abar')/(1-abar)) * sqrt(1-abar/abar')` is Euler a's: one formula serves both.

use super::euler_ancestral::step_split;
use super::transition::posterior;
use crate::error::SampleError;
use crate::sampler::{Sampler, SamplerSpec, Step};

/// DDIM; `eta` 0 (its default) is deterministic, 1 is DDPM.
#[derive(Debug)]
pub(super) struct Ddim;

impl Sampler for Ddim {
    fn spec(&self) -> &'static SamplerSpec {
        &SamplerSpec {
            id: "ddim",
            name: "DDIM",
            aliases: &["DDIMScheduler"],
            order: 1,
            evaluations: 1,
            uses_noise: false,
            drops_penultimate_sigma: false,
            default_eta: 0.0,
            paper: "Song et al. 2020, arXiv 2010.02502",
        }
    }

    fn step(&self, step: &mut Step<'_>) -> Result<(), SampleError> {
        let x0 = step.denoise(step.sigma())?;
        let split = posterior(step.path(), step.sigma(), step.next(), step.eta());
        step_split(step, &x0, split)
    }
}
