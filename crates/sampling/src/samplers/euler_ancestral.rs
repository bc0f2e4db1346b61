//! Euler's method that puts noise back after each step: the ancestral sampling of Ho et al. 2020, arXiv 2006.11239.

use super::transition::{Ancestral, ancestral, towards};
use crate::error::SampleError;
use crate::sampler::{Sampler, SamplerSpec, Step};
use crate::vector::combine;

/// Euler down to less noise than wanted, then fresh noise up to it.
#[derive(Debug)]
pub(super) struct EulerAncestral;

impl Sampler for EulerAncestral {
    fn spec(&self) -> &'static SamplerSpec {
        &SamplerSpec {
            id: "euler_ancestral",
            name: "Euler a",
            aliases: &["euler_a", "k_euler_a", "k_euler_ancestral", "EulerAncestralDiscreteScheduler"],
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
        let split = ancestral(step.path(), step.sigma(), step.next(), step.eta());
        step_split(step, &x0, split)
    }
}

/// The rest of the step once the clean picture is known.
pub(super) fn step_split(step: &mut Step<'_>, x0: &[f32], split: Ancestral) -> Result<(), SampleError> {
    let x = towards(step.path(), step.x(), x0, step.sigma(), split.down);
    step.set(combine(&[(split.scale, &x)]));
    step.add_noise(split.up)
}
