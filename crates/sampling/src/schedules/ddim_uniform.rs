//! DDIM uniform, as in ComfyUI.

use super::{Levels, ScheduleOptions, ScheduleSpec, SigmaSchedule, check_steps};
use crate::error::SampleError;
use crate::training_noise::TrainingNoise;

/// Every `1000 / steps`-th sigma of training from the second up. Where that does not divide evenly there are more steps than
/// were asked for, as in ComfyUI: 31 for 30.
#[derive(Debug)]
pub(super) struct DdimUniform;

impl SigmaSchedule for DdimUniform {
    fn spec(&self) -> &'static ScheduleSpec {
        &ScheduleSpec { id: "ddim_uniform", name: "DDIM Uniform", aliases: &["DDIM"], paper: "ComfyUI" }
    }

    fn levels(&self, noise: &TrainingNoise, steps: usize, options: &ScheduleOptions) -> Result<Levels, SampleError> {
        check_steps(steps)?;
        let all = noise.sigmas();
        let stride = (all.len() / steps).max(1);
        let mut sigmas: Vec<f64> = all.iter().copied().skip(1).step_by(stride).collect();
        if sigmas.is_empty() {
            sigmas.push(noise.sigma_max());
        }
        sigmas.reverse();
        Ok(Levels::ending(sigmas, options.last_sigma(noise)))
    }
}
