//! Polyexponential, as in k-diffusion.

use super::{Levels, ScheduleOptions, ScheduleSpec, SigmaSchedule, check_steps, linspace};
use crate::error::SampleError;
use crate::training_noise::TrainingNoise;

/// Steps in the logarithm of sigma that follow a power; with power 1 the exponential schedule.
#[derive(Debug)]
pub(super) struct Polyexponential;

impl SigmaSchedule for Polyexponential {
    fn spec(&self) -> &'static ScheduleSpec {
        &ScheduleSpec { id: "polyexponential", name: "Polyexponential", aliases: &[], paper: "k-diffusion" }
    }

    fn levels(&self, noise: &TrainingNoise, steps: usize, options: &ScheduleOptions) -> Result<Levels, SampleError> {
        check_steps(steps)?;
        let (low, high) = options.range(noise)?;
        let (log_low, log_high) = (libm::log(low), libm::log(high));
        let rho = options.rho.unwrap_or(1.0);
        let ramp = linspace(1.0, 0.0, steps).map(|r| libm::pow(r, rho));
        let sigmas = ramp.map(|r| libm::exp(log_low + r * (log_high - log_low))).collect();
        Ok(Levels::ending(sigmas, options.last_sigma(noise)))
    }
}
