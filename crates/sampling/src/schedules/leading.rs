//! diffusers' "leading" timestep spacing: Lin et al. 2023, arXiv 2305.08891, table 2.

use super::{Levels, ScheduleOptions, ScheduleSpec, SigmaSchedule, SpacingManner, check_steps};
use crate::error::SampleError;
use crate::training_noise::TrainingNoise;

/// Every `1000 / steps`-th timestep from the first on, so the noisiest are left out.
#[derive(Debug)]
pub(super) struct Leading;

impl SigmaSchedule for Leading {
    fn spec(&self) -> &'static ScheduleSpec {
        &ScheduleSpec {
            id: "leading",
            name: "Leading",
            aliases: &[],
            paper: "Lin et al. 2023, arXiv 2305.08891, table 2",
        }
    }

    fn levels(&self, noise: &TrainingNoise, steps: usize, options: &ScheduleOptions) -> Result<Levels, SampleError> {
        check_steps(steps)?;
        let skipped = usize::from(options.manner == SpacingManner::Multistep);
        let ratio = noise.steps() / (steps + skipped);
        if ratio == 0 {
            return Err(SampleError::parameter("number of steps", steps, "at most the number of training timesteps"));
        }
        let last = noise.steps() - 1;
        let timesteps =
            (skipped..steps + skipped).rev().map(|i| (i * ratio + options.steps_offset).min(last) as f64).collect();
        Ok(Levels::at_timesteps(noise, timesteps, options))
    }
}
