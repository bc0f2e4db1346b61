//! DPM-Solver++ (2M): Lu et al. 2022, arXiv 2211.01095, algorithm 2.

use super::transition::towards;
use crate::error::SampleError;
use crate::sampler::{Sampler, SamplerSpec, Step};
use crate::vector::combine;

/// Two-step multistep method: the clean picture is taken to move on a straight line in lambda. The first step and the one
/// to sigma 0 are of first order.
#[derive(Debug)]
pub(super) struct Dpmpp2m;

impl Sampler for Dpmpp2m {
    fn spec(&self) -> &'static SamplerSpec {
        &SamplerSpec {
            id: "dpmpp_2m",
            name: "DPM++ 2M",
            aliases: &["k_dpmpp_2m", "DPMSolverMultistepScheduler"],
            order: 2,
            evaluations: 1,
            uses_noise: false,
            drops_penultimate_sigma: false,
            default_eta: 0.0,
            paper: "Lu et al. 2022, arXiv 2211.01095",
        }
    }

    fn step(&self, step: &mut Step<'_>) -> Result<(), SampleError> {
        let x0 = step.denoise(step.sigma())?;
        let (path, sigma, next) = (step.path(), step.sigma(), step.next());
        let middle = match step.remembered(0) {
            Some(old) if next > 0.0 => {
                let h = path.lambda(next) - path.lambda(sigma);
                let r = (path.lambda(sigma) - path.lambda(step.earlier(1))) / h;
                combine(&[(1.0 + 0.5 / r, &x0), (-0.5 / r, old)])
            }
            _ => x0.clone(),
        };
        step.set(towards(path, step.x(), &middle, sigma, next));
        step.remember(x0, 1);
        Ok(())
    }
}
