//! DPM-Solver++ (2S): Lu et al. 2022, arXiv 2211.01095, algorithm 1, with noise put back as k-diffusion does.

use super::transition::{ancestral, halfway, towards};
use crate::error::SampleError;
use crate::sampler::{Sampler, SamplerSpec, Step};
use crate::vector::combine;

/// The clean picture seen halfway (in lambda) serves the whole step down, then fresh noise is added.
#[derive(Debug)]
pub(super) struct Dpmpp2sAncestral;

impl Sampler for Dpmpp2sAncestral {
    fn spec(&self) -> &'static SamplerSpec {
        &SamplerSpec {
            id: "dpmpp_2s_ancestral",
            name: "DPM++ 2S a",
            aliases: &["k_dpmpp_2s_a", "k_dpmpp_2s_ancestral", "dpmpp_2s"],
            order: 2,
            evaluations: 2,
            uses_noise: true,
            drops_penultimate_sigma: false,
            default_eta: 1.0,
            paper: "Lu et al. 2022, arXiv 2211.01095",
        }
    }

    fn step(&self, step: &mut Step<'_>) -> Result<(), SampleError> {
        let (path, sigma) = (step.path(), step.sigma());
        let split = ancestral(path, sigma, step.next(), step.eta());
        let mut x0 = step.denoise(sigma)?;
        if split.down > 0.0 {
            let middle = halfway(path, sigma, split.down);
            let x_middle = towards(path, step.x(), &x0, sigma, middle);
            x0 = step.denoise_at(&x_middle, middle)?;
        }
        let x = towards(path, step.x(), &x0, sigma, split.down);
        step.set(combine(&[(split.scale, &x)]));
        step.add_noise(split.up)
    }
}
