//! DPM++ SDE: the two-stage stochastic form of DPM-Solver++ (Lu et al. 2022, arXiv 2211.01095) in k-diffusion.

use super::transition::{halfway, posterior, towards};
use crate::error::SampleError;
use crate::sampler::{Sampler, SamplerSpec, Step};
use crate::vector::combine;

/// An ancestral step to the middle (in lambda), and with the clean picture seen there an ancestral step over the whole.
#[derive(Debug)]
pub(super) struct DpmppSde;

impl Sampler for DpmppSde {
    fn spec(&self) -> &'static SamplerSpec {
        &SamplerSpec {
            id: "dpmpp_sde",
            name: "DPM++ SDE",
            aliases: &["k_dpmpp_sde", "dpmpp_sde_gpu", "DPMSolverSDEScheduler"],
            order: 2,
            evaluations: 2,
            uses_noise: true,
            drops_penultimate_sigma: false,
            default_eta: 1.0,
            paper: "Lu et al. 2022, arXiv 2211.01095",
        }
    }

    fn step(&self, step: &mut Step<'_>) -> Result<(), SampleError> {
        let (path, sigma, next) = (step.path(), step.sigma(), step.next());
        let x0 = step.denoise(sigma)?;
        if next == 0.0 {
            step.set(towards(path, step.x(), &x0, sigma, next));
            return Ok(());
        }
        let middle = halfway(path, sigma, next);
        let x_middle = stochastic(step, &x0, middle)?;
        let x0_middle = step.denoise_at(&x_middle, middle)?;
        let x = stochastic(step, &x0_middle, next)?;
        step.set(x);
        Ok(())
    }
}

/// The state at `next` if the clean picture stayed `x0`, part of its noise being new.
fn stochastic(step: &mut Step<'_>, x0: &[f32], next: f64) -> Result<Vec<f32>, SampleError> {
    let sigma = step.sigma();
    let split = posterior(step.path(), sigma, next, step.eta());
    let x = towards(step.path(), step.x(), x0, sigma, split.down);
    if split.up == 0.0 {
        return Ok(x);
    }
    let grain = step.draw_between(sigma, next)?;
    Ok(combine(&[(split.scale, &x), (split.up * step.options().s_noise, &grain)]))
}
