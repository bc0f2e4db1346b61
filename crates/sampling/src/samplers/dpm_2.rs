//! DPM2: the midpoint method with the middle taken in log sigma, after DPM-Solver-2 (Lu et al. 2022, arXiv 2206.00927) and
//! Karras et al. 2022, arXiv 2206.00364, as k-diffusion joins them.

use super::transition::towards;
use crate::error::SampleError;
use crate::sampler::{Sampler, SamplerSpec, Step};
use crate::vector::combine;

/// The midpoint's slope over the whole step; Euler to sigma 0.
#[derive(Debug)]
pub(super) struct Dpm2;

impl Sampler for Dpm2 {
    fn spec(&self) -> &'static SamplerSpec {
        &SamplerSpec {
            id: "dpm_2",
            name: "DPM2",
            aliases: &["k_dpm_2", "dpm2", "KDPM2DiscreteScheduler"],
            order: 2,
            evaluations: 2,
            uses_noise: false,
            drops_penultimate_sigma: true,
            default_eta: 0.0,
            paper: "Lu et al. 2022, arXiv 2206.00927",
        }
    }

    fn step(&self, step: &mut Step<'_>) -> Result<(), SampleError> {
        let sigma = step.churn()?;
        let x = midpoint(step, sigma, step.next())?;
        step.set(x);
        Ok(())
    }
}

/// The state at `next`, from the state at `sigma`.
pub(super) fn midpoint(step: &mut Step<'_>, sigma: f64, next: f64) -> Result<Vec<f32>, SampleError> {
    let x0 = step.denoise(sigma)?;
    if next == 0.0 {
        return Ok(towards(step.path(), step.x(), &x0, sigma, next));
    }
    let middle = (sigma * next).sqrt();
    let x_middle = towards(step.path(), step.x(), &x0, sigma, middle);
    let x0_middle = step.denoise_at(&x_middle, middle)?;
    let slope = (next - sigma) / middle;
    Ok(combine(&[(1.0, step.x()), (slope, &x_middle), (-slope, &x0_middle)]))
}
