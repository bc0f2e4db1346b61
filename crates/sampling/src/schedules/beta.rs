//! Beta: Lee et al. 2024, arXiv 2407.12173. Timesteps at even quantiles of a beta distribution, many at both ends, as ComfyUI
//! computes it: rounded to whole timesteps, equal ones once.

use super::{Levels, ScheduleOptions, ScheduleSpec, SigmaSchedule, check_steps};
use crate::error::SampleError;
use crate::training_noise::TrainingNoise;

/// Quantiles of the beta distribution over the timesteps.
#[derive(Debug)]
pub(super) struct Beta;

impl SigmaSchedule for Beta {
    fn spec(&self) -> &'static ScheduleSpec {
        &ScheduleSpec { id: "beta", name: "Beta", aliases: &[], paper: "Lee et al. 2024, arXiv 2407.12173" }
    }

    fn levels(&self, noise: &TrainingNoise, steps: usize, options: &ScheduleOptions) -> Result<Levels, SampleError> {
        check_steps(steps)?;
        let (a, b) = options.beta;
        if !((0.01..=100.0).contains(&a) && (0.01..=100.0).contains(&b)) {
            return Err(SampleError::parameter("beta schedule's alpha or beta", format!("{a}, {b}"), "0.01 to 100"));
        }
        let last = (noise.steps() - 1) as f64;
        let quantiles = (0..steps).map(|i| quantile(1.0 - i as f64 / steps as f64, a, b));
        let sigmas = quantiles.map(|q| noise.sigma_at((q * last).round_ties_even())).collect();
        Ok(Levels::ending(sigmas, options.last_sigma(noise)))
    }
}

/// The place below which the share `p` of a beta distribution lies: bisected, since the function rises.
fn quantile(p: f64, a: f64, b: f64) -> f64 {
    let (mut low, mut high) = (0.0, 1.0);
    while high - low > 1e-15 {
        let middle = (low + high) / 2.0;
        if middle == low || middle == high {
            break;
        }
        if share_below(middle, a, b) < p { low = middle } else { high = middle }
    }
    if p >= 1.0 { 1.0 } else { (low + high) / 2.0 }
}

/// The regularised incomplete beta function, by its continued fraction (Press et al., Numerical Recipes, section 6.4), on the
/// side where that converges fast.
fn share_below(x: f64, a: f64, b: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return x.clamp(0.0, 1.0);
    }
    if x > (a + 1.0) / (a + b + 2.0) {
        return 1.0 - share_below(1.0 - x, b, a);
    }
    let log_front = libm::lgamma(a + b) - libm::lgamma(a) - libm::lgamma(b) + a * libm::log(x) + b * libm::log1p(-x);
    libm::exp(log_front) / a / continued_fraction(x, a, b)
}

/// Evaluated from the front (Lentz): `1 + d1/(1 + d2/(1 + …))`.
fn continued_fraction(x: f64, a: f64, b: f64) -> f64 {
    let (mut value, mut c, mut d) = (1.0f64, 1.0f64, 0.0f64);
    for i in 1..400 {
        let m = f64::from(i / 2);
        let term = if i % 2 == 0 {
            m * (b - m) * x / ((a + 2.0 * m - 1.0) * (a + 2.0 * m))
        } else {
            -(a + m) * (a + b + m) * x / ((a + 2.0 * m) * (a + 2.0 * m + 1.0))
        };
        d = 1.0 / (1.0 + term * d);
        c = 1.0 + term / c;
        value *= c * d;
        if (c * d - 1.0).abs() < 1e-16 {
            break;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_quantiles() {
        for p in [0.1, 0.37, 0.9] {
            assert!((quantile(p, 1.0, 1.0) - p).abs() < 1e-13);
            assert!((quantile(p, 2.0, 1.0) - p.sqrt()).abs() < 1e-13);
            let arcsine = libm::sin(p * std::f64::consts::FRAC_PI_2).powi(2);
            assert!((quantile(p, 0.5, 0.5) - arcsine).abs() < 1e-13);
        }
    }
}
