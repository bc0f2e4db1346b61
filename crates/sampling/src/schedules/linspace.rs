//! diffusers' "linspace" timestep spacing: Lin et al. 2023, arXiv 2305.08891, table 2.

use super::{Levels, ScheduleOptions, ScheduleSpec, SigmaSchedule, check_steps, linspace};
use crate::error::SampleError;
use crate::training_noise::TrainingNoise;

/// Equal steps in the timestep, told to the network as fractions.
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
        let timesteps = linspace((noise.steps() - 1) as f64, 0.0, steps).collect();
        Ok(Levels::at_timesteps(noise, timesteps, options))
    }
}
