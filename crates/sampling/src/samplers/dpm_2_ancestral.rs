//! DPM2 that puts noise back after each step, as in k-diffusion.

use super::dpm_2::midpoint;
use super::transition::ancestral;
use crate::error::SampleError;
use crate::sampler::{Sampler, SamplerSpec, Step};
use crate::vector::combine;

/// The midpoint method down to less noise than wanted, then fresh noise up to it.
#[derive(Debug)]
pub(super) struct Dpm2Ancestral;

impl Sampler for Dpm2Ancestral {
    fn spec(&self) -> &'static SamplerSpec {
        &SamplerSpec {
            id: "dpm_2_ancestral",
            name: "DPM2 a",
            aliases: &["k_dpm_2_a", "k_dpm_2_ancestral", "KDPM2AncestralDiscreteScheduler"],
            order: 2,
            evaluations: 2,
            uses_noise: true,
            drops_penultimate_sigma: true,
            default_eta: 1.0,
            paper: "Lu et al. 2022, arXiv 2206.00927",
        }
    }

    fn step(&self, step: &mut Step<'_>) -> Result<(), SampleError> {
        let split = ancestral(step.path(), step.sigma(), step.next(), step.eta());
        let x = midpoint(step, step.sigma(), split.down)?;
        step.set(combine(&[(split.scale, &x)]));
        step.add_noise(split.up)
    }
}
