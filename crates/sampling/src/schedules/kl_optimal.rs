//! KL optimal: Sabour et al. 2024, arXiv 2404.14507, theorem 3.1.

use super::{Levels, ScheduleOptions, ScheduleSpec, SigmaSchedule, check_steps, linspace};
use crate::error::SampleError;
use crate::training_noise::TrainingNoise;

/// Equal steps in the arc tangent of sigma: least divergence for data of unit variance.
#[derive(Debug)]
pub(super) struct KlOptimal;

impl SigmaSchedule for KlOptimal {
    fn spec(&self) -> &'static ScheduleSpec {
        &ScheduleSpec {
            id: "kl_optimal",
            name: "KL Optimal",
            aliases: &[],
            paper: "Sabour et al. 2024, arXiv 2404.14507, theorem 3.1",
        }
    }

    fn levels(&self, noise: &TrainingNoise, steps: usize, options: &ScheduleOptions) -> Result<Levels, SampleError> {
        check_steps(steps)?;
        let (low, high) = options.range(noise)?;
        let sigmas = linspace(libm::atan(high), libm::atan(low), steps).map(libm::tan).collect();
        Ok(Levels::ending(sigmas, options.last_sigma(noise)))
    }
}
