//! Linear-quadratic: Polyak et al. 2024 (Movie Gen), arXiv 2410.13720, as in ComfyUI and Mochi.

use super::{Levels, ScheduleOptions, ScheduleSpec, SigmaSchedule, check_steps};
use crate::error::SampleError;
use crate::training_noise::TrainingNoise;

/// Share of the way that the even steps go.
const THRESHOLD: f64 = 0.025;

/// Half of the steps go down the first fortieth of the way evenly, the others on from there along a parabola.
#[derive(Debug)]
pub(super) struct LinearQuadratic;

impl SigmaSchedule for LinearQuadratic {
    fn spec(&self) -> &'static ScheduleSpec {
        &ScheduleSpec {
            id: "linear_quadratic",
            name: "Linear Quadratic",
            aliases: &[],
            paper: "Polyak et al. 2024, arXiv 2410.13720",
        }
    }

    fn levels(&self, noise: &TrainingNoise, steps: usize, options: &ScheduleOptions) -> Result<Levels, SampleError> {
        check_steps(steps)?;
        let high = noise.sigma_max();
        if steps == 1 {
            return Ok(Levels::ending(vec![high], options.last_sigma(noise)));
        }
        let linear = steps / 2;
        let (n, curved) = (linear as f64, (steps - linear) as f64);
        let slope = THRESHOLD / n;
        let rest = n - THRESHOLD * steps as f64;
        let (a, b) = (rest / (n * curved * curved), slope - 2.0 * rest / (curved * curved));
        let done = |i: usize| {
            let t = i as f64;
            if i < linear { t * slope } else { a * t * t + b * t + a * n * n }
        };
        let sigmas = (0..steps).map(|i| (1.0 - done(i)) * high).collect();
        Ok(Levels::ending(sigmas, options.last_sigma(noise)))
    }
}
