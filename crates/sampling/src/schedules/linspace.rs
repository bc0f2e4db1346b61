//! diffusers' "linspace" timestep spacing: Lin et al. 2023, arXiv 2305.08891, table 2.

use super::{Levels, ScheduleOptions, ScheduleSpec, SigmaSchedule, SpacingManner, check_steps, linspace};
use crate::error::SampleError;
use crate::training_noise::TrainingNoise;

/// Equal steps in the timestep.
#[derive(Debug)]
pub(super) struct Linspace;

impl SigmaSchedule for Linspace {
    fn spec(&self) -> &'static ScheduleSpec {
        &ScheduleSpec {
            id: "linspace",
            name: "Linspace",
            aliases: &[],
            paper: "Lin et al. 2023, arXiv 2305.08891, table 2",
        }
    }

    fn levels(&self, noise: &TrainingNoise, steps: usize, options: &ScheduleOptions) -> Result<Levels, SampleError> {
        check_steps(steps)?;
        let high = (noise.steps() - 1) as f64;
        let timesteps = match options.manner {
            // One step is the lowest timestep in diffusers, where the list is made upwards; the highest is what works.
            SpacingManner::Euler => linspace(high, 0.0, steps).collect(),
            SpacingManner::Ddim => linspace(high, 0.0, steps).map(f64::round_ties_even).collect(),
            SpacingManner::Multistep => linspace(high, 0.0, steps + 1).take(steps).map(f64::round_ties_even).collect(),
        };
        Ok(Levels::at_timesteps(noise, timesteps, options))
    }
}
