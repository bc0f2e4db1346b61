//! Latent consistency models: Luo et al. 2023, arXiv 2310.04378, algorithm 3.
//!
//! The skip connection that makes the model exact at timestep 0 is left out, as ComfyUI does: it is below 1e-5 at every
//! timestep that is sampled.

use crate::error::SampleError;
use crate::sampler::{Sampler, SamplerSpec, Step};
use crate::vector::combine;

/// Jumps to the clean picture, and noises it to the next level.
#[derive(Debug)]
pub(super) struct Lcm;

impl Sampler for Lcm {
    fn spec(&self) -> &'static SamplerSpec {
        &SamplerSpec {
            id: "lcm",
            name: "LCM",
            aliases: &["LCMScheduler", "FlowMatchLCMScheduler"],
            order: 1,
            evaluations: 1,
            uses_noise: true,
            drops_penultimate_sigma: false,
            default_eta: 1.0,
            paper: "Luo et al. 2023, arXiv 2310.04378",
        }
    }

    fn step(&self, step: &mut Step<'_>) -> Result<(), SampleError> {
        let (path, next) = (step.path(), step.next());
        let x0 = step.denoise(step.sigma())?;
        step.set(combine(&[(path.alpha(next), &x0)]));
        step.add_noise(next)
    }
}
