//! Exponential, as in k-diffusion.

use super::{Levels, ScheduleOptions, ScheduleSpec, SigmaSchedule, check_steps, linspace};
use crate::error::SampleError;
use crate::training_noise::TrainingNoise;

/// Equal steps in the logarithm of sigma.
#[derive(Debug)]
pub(super) struct Exponential;

impl SigmaSchedule for Exponential {
    fn spec(&self) -> &'static ScheduleSpec {
        &ScheduleSpec { id: "exponential", name: "Exponential", aliases: &[], paper: "k-diffusion" }
    }

    fn levels(&self, noise: &TrainingNoise, steps: usize, options: &ScheduleOptions) -> Result<Levels, SampleError> {
        check_steps(steps)?;
        let (low, high) = options.range(noise)?;
        let sigmas = linspace(libm::log(high), libm::log(low), steps).map(libm::exp).collect();
        Ok(Levels::ending(sigmas, options.last_sigma(noise)))
    }
}
