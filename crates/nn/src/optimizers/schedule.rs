//! The learning rate over the steps of a run.

use std::f64::consts::PI;

/// What follows the warm-up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LrDecay {
    /// The peak to the end.
    Constant,
    /// Half a cosine from the peak to `floor` × peak over the whole run (arXiv:1608.03983).
    Cosine {
        /// Fraction of the peak that is left at the end.
        floor: f64,
    },
    /// The peak until the last `steps` of the run, then linearly to `floor` × peak (arXiv:2404.06395).
    Final {
        /// Length of the decay.
        steps: u64,
        /// Fraction of the peak that is left at the end.
        floor: f64,
    },
}

/// Linear warm-up, then a plateau or decay.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LrSchedule {
    /// Highest learning rate.
    pub peak: f64,
    /// Steps from nearly zero to the peak.
    pub warmup: u64,
    /// Steps of the run.
    pub total: u64,
    /// What follows the warm-up.
    pub decay: LrDecay,
}

impl LrSchedule {
    /// Learning rate of step `step`, counted from 0. Beyond the end it stays as at the end.
    pub fn at(&self, step: u64) -> f32 {
        let factor = if step < self.warmup {
            (step + 1) as f64 / self.warmup as f64
        } else {
            match self.decay {
                LrDecay::Constant => 1.0,
                LrDecay::Cosine { floor } => {
                    let done = progress(step - self.warmup, self.total.saturating_sub(self.warmup));
                    floor + (1.0 - floor) * 0.5 * (1.0 + (PI * done).cos())
                }
                LrDecay::Final { steps, floor } => {
                    let start = self.total.saturating_sub(steps);
                    1.0 - (1.0 - floor) * progress(step.saturating_sub(start), steps)
                }
            }
        };
        (self.peak * factor) as f32
    }
}

fn progress(done: u64, of: u64) -> f64 {
    if of == 0 { 1.0 } else { (done as f64 / of as f64).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_of_the_schedules() {
        let schedule = |decay| LrSchedule { peak: 2.0, warmup: 4, total: 104, decay };
        let constant = schedule(LrDecay::Constant);
        assert_eq!([0, 1, 3, 4, 500].map(|s| constant.at(s)), [0.5, 1.0, 2.0, 2.0, 2.0]);
        let cosine = schedule(LrDecay::Cosine { floor: 0.1 });
        assert_eq!([4, 54, 104, 200].map(|s| (cosine.at(s) * 1000.0).round()), [2000.0, 1100.0, 200.0, 200.0]);
        let last = schedule(LrDecay::Final { steps: 20, floor: 0.0 });
        assert_eq!([4, 84, 94, 104, 1000].map(|s| last.at(s)), [2.0, 2.0, 1.0, 0.0, 0.0]);
    }
}
