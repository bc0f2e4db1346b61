//! Simple, as in ComfyUI.

use super::{Levels, ScheduleOptions, ScheduleSpec, SigmaSchedule, check_steps};
use crate::error::SampleError;
use crate::training_noise::TrainingNoise;

/// Every so-many-th sigma of training from the last down; more steps than timesteps are so many fewer.
#[derive(Debug)]
pub(super) struct Simple;

impl SigmaSchedule for Simple {
    fn spec(&self) -> &'static ScheduleSpec {
        &ScheduleSpec { id: "simple", name: "Simple", aliases: &[], paper: "ComfyUI" }
    }

    fn levels(&self, noise: &TrainingNoise, steps: usize, options: &ScheduleOptions) -> Result<Levels, SampleError> {
        check_steps(steps)?;
        let all = noise.sigmas();
        let pick = |i: usize| all[all.len() - 1 - i * all.len() / steps];
        Ok(Levels::ending((0..steps).map(pick).collect(), options.last_sigma(noise)))
    }
}
