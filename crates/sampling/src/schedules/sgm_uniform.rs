//! SGM uniform, as in ComfyUI after Stability's generative-models.

use super::{Levels, ScheduleOptions, ScheduleSpec, SigmaSchedule, check_steps, linspace};
use crate::error::SampleError;
use crate::training_noise::TrainingNoise;

/// Equal steps in the timestep, the last of them left out.
#[derive(Debug)]
pub(super) struct SgmUniform;

impl SigmaSchedule for SgmUniform {
    fn spec(&self) -> &'static ScheduleSpec {
        &ScheduleSpec { id: "sgm_uniform", name: "SGM Uniform", aliases: &[], paper: "ComfyUI; generative-models" }
    }

    fn levels(&self, noise: &TrainingNoise, steps: usize, options: &ScheduleOptions) -> Result<Levels, SampleError> {
        check_steps(steps)?;
        let start = (noise.steps() - 1) as f64;
        let sigmas = linspace(start, 0.0, steps + 1).take(steps).map(|t| noise.sigma_at(t)).collect();
        Ok(Levels::ending(sigmas, options.last_sigma(noise)))
    }
}
