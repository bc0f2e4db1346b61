//! diffusers' "trailing" timestep spacing: Lin et al. 2023, arXiv 2305.08891, table 2.

use super::{Levels, ScheduleOptions, ScheduleSpec, SigmaSchedule, check_steps};
use crate::error::SampleError;
use crate::training_noise::TrainingNoise;

/// Every `1000 / steps`-th timestep from the last down: right for models with zero terminal SNR.
#[derive(Debug)]
pub(super) struct Trailing;

impl SigmaSchedule for Trailing {
    fn spec(&self) -> &'static ScheduleSpec {
        &ScheduleSpec {
            id: "trailing",
            name: "Trailing",
            aliases: &[],
            paper: "Lin et al. 2023, arXiv 2305.08891, table 2",
        }
    }

    fn levels(&self, noise: &TrainingNoise, steps: usize, options: &ScheduleOptions) -> Result<Levels, SampleError> {
        check_steps(steps)?;
        let total = noise.steps();
        if steps > total {
            return Err(SampleError::parameter("number of steps", steps, "at most the number of training timesteps"));
        }
        let ratio = total as f64 / steps as f64;
        let timesteps = (0..steps).map(|i| (total as f64 - i as f64 * ratio).round_ties_even() - 1.0).collect();
        Ok(Levels::at_timesteps(noise, timesteps, options))
    }
}
