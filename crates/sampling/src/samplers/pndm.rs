//! Pseudo numerical methods (PLMS): Liu et al. 2022, arXiv 2202.09778, algorithm 2, started as in Stable Diffusion by one
//! step with the mean of the slopes at both ends.

use crate::error::SampleError;
use crate::sampler::{Sampler, SamplerSpec, Step};
use crate::vector::combine;

/// Adams-Bashforth with the weights of even steps. The first step evaluates twice.
#[derive(Debug)]
pub(super) struct Pndm;

/// Weights of the newest slopes, newest first, by how many there are.
const WEIGHTS: [&[f64]; 5] = [
    &[],
    &[1.0],
    &[1.5, -0.5],
    &[23.0 / 12.0, -16.0 / 12.0, 5.0 / 12.0],
    &[55.0 / 24.0, -59.0 / 24.0, 37.0 / 24.0, -9.0 / 24.0],
];

impl Sampler for Pndm {
    fn spec(&self) -> &'static SamplerSpec {
        &SamplerSpec {
            id: "pndm",
            name: "PLMS",
            aliases: &["PNDMScheduler"],
            order: 2,
            evaluations: 1,
            uses_noise: false,
            drops_penultimate_sigma: false,
            default_eta: 0.0,
            paper: "Liu et al. 2022, arXiv 2202.09778",
        }
    }

    fn step(&self, step: &mut Step<'_>) -> Result<(), SampleError> {
        let (sigma, next) = (step.sigma(), step.next());
        let x0 = step.denoise(sigma)?;
        let slope = combine(&[(1.0 / sigma, step.x()), (-1.0 / sigma, &x0)]);
        let first = step.memory() == 0;
        step.remember(slope, 4);

        let weights = WEIGHTS[step.memory()].iter().map(|w| w * (next - sigma));
        let slopes = (0..step.memory()).filter_map(|back| step.remembered(back));
        let terms: Vec<_> = std::iter::once((1.0, step.x())).chain(weights.zip(slopes)).collect();
        let mut x = combine(&terms);
        if first && next > 0.0 {
            let x0_end = step.denoise_at(&x, next)?;
            let (half, share) = ((next - sigma) / 2.0, (next - sigma) / (2.0 * next));
            let slope = step.remembered(0).unwrap_or(&[]);
            x = combine(&[(1.0, step.x()), (half, slope), (share, &x), (-share, &x0_end)]);
        }
        step.set(x);
        Ok(())
    }
}
