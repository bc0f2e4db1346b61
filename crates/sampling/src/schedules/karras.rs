//! Karras et al. 2022, arXiv 2206.00364, equation 5.

use super::{Levels, ScheduleOptions, ScheduleSpec, SigmaSchedule, check_steps, linspace};
use crate::error::SampleError;
use crate::training_noise::TrainingNoise;

/// Equal steps in the seventh root of sigma: many at low noise.
#[derive(Debug)]
pub(super) struct Karras;

impl SigmaSchedule for Karras {
    fn spec(&self) -> &'static ScheduleSpec {
        &ScheduleSpec {
            id: "karras",
            name: "Karras",
            aliases: &[],
            paper: "Karras et al. 2022, arXiv 2206.00364, equation 5",
        }
    }

    fn levels(&self, noise: &TrainingNoise, steps: usize, options: &ScheduleOptions) -> Result<Levels, SampleError> {
        check_steps(steps)?;
        let (low, high) = options.range(noise)?;
        let rho = options.rho.unwrap_or(7.0);
        let root = |s: f64| libm::pow(s, 1.0 / rho);
        let sigmas = linspace(root(high), root(low), steps).map(|r| libm::pow(r, rho)).collect();
        Ok(Levels::ending(sigmas, options.last_sigma(noise)))
    }
}
