//! Flow matching: `s` = 1, 1 - 1/n, … 1/n, shifted as the model was trained; Esser et al. 2024, arXiv 2403.03206.

use super::{Levels, ScheduleOptions, ScheduleSpec, SigmaSchedule, check_steps};
use crate::error::SampleError;
use crate::training_noise::TrainingNoise;

/// Equal steps in the time before the shift, as the Flux pipeline of diffusers takes them. Normal gives those of SD3.
#[derive(Debug)]
pub(super) struct FlowMatch;

impl SigmaSchedule for FlowMatch {
    fn spec(&self) -> &'static ScheduleSpec {
        &ScheduleSpec {
            id: "flow_match",
            name: "Flow match",
            aliases: &["FlowMatchEulerDiscreteScheduler", "flux"],
            paper: "Esser et al. 2024, arXiv 2403.03206",
        }
    }

    fn levels(&self, noise: &TrainingNoise, steps: usize, options: &ScheduleOptions) -> Result<Levels, SampleError> {
        check_steps(steps)?;
        let total = noise.steps() as f64;
        let timesteps = (0..steps).map(|i| total * (1.0 - i as f64 / steps as f64) - 1.0);
        let sigmas = timesteps.map(|t| noise.sigma_at(t)).collect();
        Ok(Levels::ending(sigmas, options.last_sigma(noise)))
    }
}
