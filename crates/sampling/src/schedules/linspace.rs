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
            SpacingManner::Ddim if steps == 1 => vec![high],
            SpacingManner::Ddim => whole(high, steps - 1).chain([0.0]).collect(),
            SpacingManner::Multistep => whole(high, steps).collect(),
        };
        Ok(Levels::at_timesteps(noise, timesteps, options))
    }
}

/// `n` whole timesteps down from `high`, whose next would be 0. The product is numpy's, for ties decide a timestep.
fn whole(high: f64, n: usize) -> impl Iterator<Item = f64> {
    let stride = high / n as f64;
    (1..=n).rev().map(move |i| (i as f64 * stride).round_ties_even())
}
