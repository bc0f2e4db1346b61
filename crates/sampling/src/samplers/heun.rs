//! Heun's method: Karras et al. 2022, arXiv 2206.00364, algorithm 2.

use super::transition::towards;
use crate::error::SampleError;
use crate::sampler::{Sampler, SamplerSpec, Step};
use crate::vector::combine;

/// Euler's step, then once more with the mean of the slopes at both ends; Euler alone to sigma 0.
#[derive(Debug)]
pub(super) struct Heun;

impl Sampler for Heun {
    fn spec(&self) -> &'static SamplerSpec {
        &SamplerSpec {
            id: "heun",
            name: "Heun",
            aliases: &["k_heun", "HeunDiscreteScheduler", "FlowMatchHeunDiscreteScheduler"],
            order: 2,
            evaluations: 2,
            uses_noise: false,
            drops_penultimate_sigma: false,
            default_eta: 0.0,
            paper: "Karras et al. 2022, arXiv 2206.00364",
        }
    }

    fn step(&self, step: &mut Step<'_>) -> Result<(), SampleError> {
        let sigma = step.churn()?;
        step_heun(step, sigma)
    }
}

/// The step from `sigma`, where the state is, to the next noise level.
pub(super) fn step_heun(step: &mut Step<'_>, sigma: f64) -> Result<(), SampleError> {
    let next = step.next();
    let x0 = step.denoise(sigma)?;
    let end = towards(step.path(), step.x(), &x0, sigma, next);
    if next == 0.0 {
        step.set(end);
        return Ok(());
    }
    let x0_end = step.denoise_at(&end, next)?;
    let half = (next - sigma) / 2.0;
    let (a, b) = (half / sigma, half / next);
    step.set(combine(&[(1.0 + a, step.x()), (-a, &x0), (b, &end), (-b, &x0_end)]));
    Ok(())
}
