//! Gaussian data has a perfect denoiser in closed form, and so a closed solution: orders of convergence, and the spread of
//! what stochastic samplers draw.

use danqing_sampling::noise::{DrawOrder, DrawType, Generator, NoNoise, NoiseShape, SeededNoise};
use danqing_sampling::sampler::DenoiseError;
use danqing_sampling::samplers::{self, SAMPLERS};
use danqing_sampling::{Denoiser, Draw, NoisePath, NoiseSource, SamplerOptions, SamplerState, go_on, sample};

/// Standard deviation of the data.
const SPREAD: f64 = 0.6;

/// Samplers for models that jump to the end, which do not converge to anything with others.
const ONE_STEP: [&str; 2] = ["lcm", "tcd"];

struct Gaussian(NoisePath);

impl Gaussian {
    /// Variance of the noisy data.
    fn variance(&self, sigma: f64) -> f64 {
        (self.0.alpha(sigma) * SPREAD).powi(2) + sigma * sigma
    }
}

impl Denoiser for Gaussian {
    fn denoise(&mut self, x: &[f32], sigma: f64, denoised: &mut [f32]) -> Result<(), DenoiseError> {
        let factor = self.0.alpha(sigma) * SPREAD * SPREAD / self.variance(sigma);
        for (out, x) in denoised.iter_mut().zip(x) {
            *out = (f64::from(*x) * factor) as f32;
        }
        Ok(())
    }

    fn noise_path(&self) -> NoisePath {
        self.0
    }
}

/// Sigmas evenly spaced in lambda.
fn sigmas(path: NoisePath, high: f64, low: f64, steps: usize) -> Vec<f64> {
    let (a, b) = (path.lambda(high), path.lambda(low));
    (0..=steps).map(|i| path.sigma(a + (b - a) * i as f64 / steps as f64)).collect()
}

/// Relative error at the end of a run without noise.
fn error(id: &str, path: NoisePath, steps: usize) -> f64 {
    let (high, low) = if path == NoisePath::Flow { (0.95, 0.05) } else { (10.0, 0.05) };
    let mut state = SamplerState::new(vec![1000.0]);
    let options = SamplerOptions { eta: Some(0.0), ..Default::default() };
    let mut model = Gaussian(path);
    let wanted = 1000.0 * (model.variance(low) / model.variance(high)).sqrt();
    let list = sigmas(path, high, low, steps);
    sample(samplers::find(id).unwrap(), &options, &mut model, &list, &mut NoNoise, &mut state, &mut go_on).unwrap();
    (f64::from(state.x[0]) / wanted - 1.0).abs()
}

/// Halving the step divides the error by two to the order. Multistep methods begin with a step of first order, whose error
/// of second order stays: more than 2 cannot be asked of them.
#[test]
fn orders_of_convergence() {
    for path in [NoisePath::VarianceExploding, NoisePath::Flow] {
        for sampler in SAMPLERS {
            let spec = sampler.spec();
            if ONE_STEP.contains(&spec.id) {
                continue;
            }
            let errors = [40, 80].map(|steps| error(spec.id, path, steps));
            let order = (errors[0] / errors[1]).log2();
            let wanted = spec.order.min(2) as f64;
            let exact = errors[1] < 3e-6;
            assert!(order > wanted - 0.25 || exact, "{path:?} {}: order {order:.2}, errors {errors:?}", spec.id);
            assert!(errors[0] < if wanted > 1.0 { 0.01 } else { 0.15 }, "{path:?} {}: {errors:?}", spec.id);
        }
    }
}

#[test]
fn stochastic_samplers_keep_the_spread_of_the_data() {
    let shape = NoiseShape { batch: 1, channels: 1, height: 100, width: 80 };
    for path in [NoisePath::VarianceExploding, NoisePath::Flow] {
        for sampler in SAMPLERS.iter().filter(|s| s.spec().uses_noise && !ONE_STEP.contains(&s.spec().id)) {
            let (high, low) = if path == NoisePath::Flow { (0.99, 0.05) } else { (15.0, 0.05) };
            let mut model = Gaussian(path);
            let mut noise = SeededNoise::new(Generator::Cpu(DrawType::F32), DrawOrder::Diffusers, shape, 1);
            let mut grain = vec![0f32; shape.numel()];
            noise.draw(Draw::Initial, &mut grain).unwrap();
            let scale = model.variance(high).sqrt();
            let mut state = SamplerState::new(grain.iter().map(|v| (scale * f64::from(*v)) as f32).collect());
            let mut list = sigmas(path, high, low, 160);
            list.push(0.0);
            sample(*sampler, &SamplerOptions::default(), &mut model, &list, &mut noise, &mut state, &mut go_on)
                .unwrap();
            let square = state.x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / state.x.len() as f64;
            let spread = square.sqrt() / SPREAD;
            assert!((spread - 1.0).abs() < 0.05, "{path:?} {}: {spread:.3} of the data's spread", sampler.spec().id);
        }
    }
}

/// On one Brownian path, twice the steps draw nearly the same picture; with fresh noise each step another one.
#[test]
fn brownian_noise_makes_the_picture_independent_of_the_number_of_steps() {
    let shape = NoiseShape { batch: 1, channels: 1, height: 8, width: 8 };
    let path = NoisePath::VarianceExploding;
    let draw = |generator, order, steps| {
        let mut noise = SeededNoise::new(generator, order, shape, 5);
        let mut state = SamplerState::new((0..64).map(|i| 15.0 * (i as f32).cos()).collect());
        let list = sigmas(path, 15.0, 0.05, steps);
        let sampler = samplers::find("dpmpp_2m_sde").unwrap();
        sample(sampler, &SamplerOptions::default(), &mut Gaussian(path), &list, &mut noise, &mut state, &mut go_on)
            .unwrap();
        state.x
    };
    let correlation = |a: &[f32], b: &[f32]| {
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    let cpu = Generator::Cpu(DrawType::F32);
    let alike = |generator, order| correlation(&draw(generator, order, 40), &draw(generator, order, 80));
    assert!(alike(Generator::Own, DrawOrder::A1111) > 0.9);
    assert!(alike(cpu, DrawOrder::A1111) > 0.9);
    assert!(alike(cpu, DrawOrder::Diffusers) < 0.6);
}
