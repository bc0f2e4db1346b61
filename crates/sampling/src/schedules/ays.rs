//! Align Your Steps: Sabour et al. 2024, arXiv 2404.14507. Sigmas found by optimisation for three models in ten steps; other
//! numbers of steps interpolate their logarithm, and the last becomes 0, as the authors do.

use super::{Levels, ScheduleOptions, ScheduleSpec, SigmaSchedule, check_steps};
use crate::error::SampleError;
use crate::training_noise::TrainingNoise;

/// One model's table. For another model's noise only the shape of its list is right.
#[derive(Debug)]
pub(super) struct Ays {
    spec: &'static ScheduleSpec,
    table: [f64; 11],
}

const PAPER: &str = "Sabour et al. 2024, arXiv 2404.14507";

pub(super) static SD15: Ays = Ays {
    spec: &ScheduleSpec { id: "ays", name: "Align Your Steps", aliases: &["ays_sd15", "AYS SD1"], paper: PAPER },
    table: [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029],
};

pub(super) static SDXL: Ays = Ays {
    spec: &ScheduleSpec { id: "ays_sdxl", name: "Align Your Steps SDXL", aliases: &["AYS SDXL"], paper: PAPER },
    table: [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029],
};

pub(super) static SVD: Ays = Ays {
    spec: &ScheduleSpec { id: "ays_svd", name: "Align Your Steps SVD", aliases: &["AYS SVD"], paper: PAPER },
    table: [700.0, 54.5, 15.886, 7.977, 4.248, 1.789, 0.981, 0.403, 0.173, 0.034, 0.002],
};

impl SigmaSchedule for Ays {
    fn spec(&self) -> &'static ScheduleSpec {
        self.spec
    }

    /// Sigmas above the path's limit (a flow's 1) are scaled down to it.
    fn levels(&self, noise: &TrainingNoise, steps: usize, options: &ScheduleOptions) -> Result<Levels, SampleError> {
        check_steps(steps)?;
        let scale = (noise.path().limit() / self.table[0]).min(1.0);
        let last = self.table.len() - 1;
        let sigma = |i: usize| {
            let place = i as f64 * last as f64 / steps as f64;
            let (low, w) = ((place as usize).min(last - 1), place - (place as usize).min(last - 1) as f64);
            let (a, b) = (libm::log(self.table[low]), libm::log(self.table[low + 1]));
            if w == 0.0 { self.table[low] } else { libm::exp(a + w * (b - a)) }
        };
        Ok(Levels::ending((0..steps).map(|i| scale * sigma(i)).collect(), options.last_sigma(noise)))
    }
}
