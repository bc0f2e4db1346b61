//! Linear multistep (Adams-Bashforth over sigma), as in k-diffusion.

use crate::error::SampleError;
use crate::sampler::{Sampler, SamplerSpec, Step};
use crate::vector::combine;

/// The slope is a polynomial through the last slopes, integrated exactly.
#[derive(Debug)]
pub(super) struct Lms;

impl Sampler for Lms {
    fn spec(&self) -> &'static SamplerSpec {
        &SamplerSpec {
            id: "lms",
            name: "LMS",
            aliases: &["k_lms", "LMSDiscreteScheduler"],
            order: 4,
            evaluations: 1,
            uses_noise: false,
            drops_penultimate_sigma: false,
            default_eta: 0.0,
            paper: "k-diffusion, sample_lms",
        }
    }

    fn step(&self, step: &mut Step<'_>) -> Result<(), SampleError> {
        let (sigma, next) = (step.sigma(), step.next());
        let x0 = step.denoise(sigma)?;
        let slope = combine(&[(1.0 / sigma, step.x()), (-1.0 / sigma, &x0)]);
        step.remember(slope, step.options().order.unwrap_or(4));
        let nodes: Vec<f64> = (0..step.memory()).map(|j| step.earlier(j)).collect();
        let weights = (0..nodes.len()).map(|j| integral(&nodes, j, sigma, next));
        let slopes = (0..nodes.len()).filter_map(|j| step.remembered(j));
        let terms: Vec<_> = std::iter::once((1.0, step.x())).chain(weights.zip(slopes)).collect();
        step.set(combine(&terms));
        Ok(())
    }
}

/// The integral from `a` to `b` of the polynomial that is 1 at node `j` and 0 at the others. Three Gauss points are exact to
/// degree 5; four nodes make degree 3.
fn integral(nodes: &[f64], j: usize, a: f64, b: f64) -> f64 {
    let (middle, half) = ((a + b) / 2.0, (b - a) / 2.0);
    let basis = |t: f64| -> f64 {
        let others = nodes.iter().enumerate().filter(|(k, _)| *k != j);
        others.map(|(_, node)| (t - node) / (nodes[j] - node)).product()
    };
    let outer = half * 0.6f64.sqrt();
    half * (5.0 * basis(middle - outer) + 8.0 * basis(middle) + 5.0 * basis(middle + outer)) / 9.0
}
