//! Restart: Xu et al. 2023, arXiv 2306.14878, with the settings of A1111.
//!
//! Heun's method; near the end, at sigma 0.1, noise is added up to sigma 2 and the way down is gone again: once from 20
//! steps on, twice from 36. The number of steps stays the number asked for, the rest of the way taking Karras sigmas.

use super::heun::step_heun;
use super::transition::lift;
use crate::error::SampleError;
use crate::sampler::{Sampler, SamplerSpec, Step};
use crate::schedules::linspace;
use crate::vector::combine;

const LOW: f64 = 0.1;
const HIGH: f64 = 2.0;

/// Heun with restarts.
#[derive(Debug)]
pub(super) struct Restart;

impl Sampler for Restart {
    fn spec(&self) -> &'static SamplerSpec {
        &SamplerSpec {
            id: "restart",
            name: "Restart",
            aliases: &[],
            order: 2,
            evaluations: 2,
            uses_noise: true,
            drops_penultimate_sigma: false,
            default_eta: 1.0,
            paper: "Xu et al. 2023, arXiv 2306.14878",
        }
    }

    /// Each rise in the plan is a step that only adds noise. Runs of fewer than 20 steps, and those that start at sigma 1 or
    /// below (pictures made from pictures, flows), have none.
    fn plan(&self, sigmas: &[f64]) -> Vec<f64> {
        let steps = sigmas.len() - 1;
        let (each, times) = match steps {
            ..20 => return sigmas.to_vec(),
            20..36 => (9, 1),
            _ => (steps / 4, 2),
        };
        if sigmas[0] <= 1.0 || sigmas[steps] != 0.0 {
            return sigmas.to_vec();
        }
        let mut main = karras(steps - each * times, sigmas[0], sigmas[steps - 1]);
        main.push(0.0);
        let (low, high) = (nearest(&main, LOW), nearest(&main, HIGH));
        if high >= low {
            return main;
        }
        let again = karras(each + 1, main[high], main[low]);
        let mut plan = main[..=low].to_vec();
        for _ in 0..times {
            plan.extend(&again);
        }
        plan.extend(&main[low + 1..]);
        plan
    }

    fn step(&self, step: &mut Step<'_>) -> Result<(), SampleError> {
        let (sigma, next) = (step.sigma(), step.next());
        if next <= sigma {
            return step_heun(step, sigma);
        }
        let (scale, up) = lift(step.path(), sigma, next);
        step.set(combine(&[(scale, step.x())]));
        step.add_noise(up)
    }
}

fn karras(n: usize, high: f64, low: f64) -> Vec<f64> {
    let root = |s: f64| libm::pow(s, 1.0 / 7.0);
    linspace(root(high), root(low), n).map(|r| libm::pow(r, 7.0)).collect()
}

fn nearest(sigmas: &[f64], wanted: f64) -> usize {
    let distance = |i: &usize| (sigmas[*i] - wanted).abs();
    (0..sigmas.len()).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(0)
}
