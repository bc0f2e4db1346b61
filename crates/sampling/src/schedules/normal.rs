//! k-diffusion's discrete schedule (A1111's "Automatic", ComfyUI's "normal").

use super::{Levels, ScheduleOptions, ScheduleSpec, SigmaSchedule, check_steps, linspace};
use crate::error::SampleError;
use crate::training_noise::TrainingNoise;

/// Equal steps in the timestep, from the last to the first.
#[derive(Debug)]
pub(super) struct Normal;

impl SigmaSchedule for Normal {
    fn spec(&self) -> &'static ScheduleSpec {
        &ScheduleSpec {
            id: "normal",
            name: "Automatic",
            aliases: &["Uniform", "discrete"],
            paper: "k-diffusion, DiscreteSchedule",
        }
    }

    fn levels(&self, noise: &TrainingNoise, steps: usize, options: &ScheduleOptions) -> Result<Levels, SampleError> {
        check_steps(steps)?;
        let start = (noise.steps() - 1) as f64;
        let sigmas = linspace(start, 0.0, steps).map(|t| noise.sigma_at(t)).collect();
        Ok(Levels::ending(sigmas, options.last_sigma(noise)))
    }
}
