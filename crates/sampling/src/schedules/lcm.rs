//! The timesteps on which consistency models were distilled: Luo et al. 2023, arXiv 2310.04378, as diffusers picks among
//! them for LCM and TCD.

use super::{Levels, ScheduleOptions, ScheduleSpec, SigmaSchedule, check_steps};
use crate::error::SampleError;
use crate::training_noise::TrainingNoise;

/// Timesteps of distillation: 50 over the range of training.
const DISTILLED: usize = 50;

/// Every so-many-th of the 50 timesteps 999, 979, … 19.
#[derive(Debug)]
pub(super) struct Lcm;

impl SigmaSchedule for Lcm {
    fn spec(&self) -> &'static ScheduleSpec {
        &ScheduleSpec { id: "lcm", name: "LCM", aliases: &["LCM origin"], paper: "Luo et al. 2023, arXiv 2310.04378" }
    }

    fn levels(&self, noise: &TrainingNoise, steps: usize, options: &ScheduleOptions) -> Result<Levels, SampleError> {
        check_steps(steps)?;
        let stride = noise.steps() / DISTILLED;
        if steps > DISTILLED || stride == 0 {
            return Err(SampleError::parameter("number of steps", steps, "at most 50 with the LCM schedule"));
        }
        let timesteps = (0..steps).map(|i| ((DISTILLED - i * DISTILLED / steps) * stride - 1) as f64).collect();
        Ok(Levels::at_timesteps(noise, timesteps, options))
    }
}
