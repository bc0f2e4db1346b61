//! Every sampler with every schedule, prediction type and number of steps; and every sampler resumed at every step.

use std::ops::ControlFlow;

use danqing_sampling::noise::{DrawOrder, DrawType, Generator, NoiseShape, SeededNoise};
use danqing_sampling::sampler::DenoiseError;
use danqing_sampling::samplers::{self, SAMPLERS};
use danqing_sampling::schedules::{self, SCHEDULES, ScheduleOptions, levels_for};
use danqing_sampling::training_noise::BetaSchedule;
use danqing_sampling::{
    Denoiser, Draw, NoisePath, NoiseSource, Outcome, PredictionType, Sampler, SamplerOptions, SamplerState,
    TrainingNoise, sample,
};

const SHAPE: NoiseShape = NoiseShape { batch: 1, channels: 2, height: 3, width: 3 };

/// A network whose clean picture is bounded, asked through its prediction type.
struct Network<'a> {
    prediction: PredictionType,
    noise: &'a TrainingNoise,
}

impl Denoiser for Network<'_> {
    fn denoise(&mut self, x: &[f32], sigma: f64, denoised: &mut [f32]) -> Result<(), DenoiseError> {
        let (a, b) = self.prediction.coefficients(sigma);
        let answer = |x: &f32| {
            let x0 = libm::tanh(0.7 * f64::from(*x)) / (1.0 + 0.1 * sigma);
            ((x0 - a * f64::from(*x)) / b) as f32
        };
        let output: Vec<f32> = x.iter().map(answer).collect();
        Ok(self.prediction.denoised(x, &output, sigma, denoised)?)
    }

    fn noise_path(&self) -> NoisePath {
        self.noise.path()
    }

    fn training_noise(&self) -> Option<&TrainingNoise> {
        Some(self.noise)
    }
}

fn models() -> Vec<(&'static str, PredictionType, TrainingNoise)> {
    let sd = TrainingNoise::stable_diffusion();
    vec![
        ("epsilon", PredictionType::Epsilon, sd.clone()),
        ("v", PredictionType::VPrediction, sd.clone()),
        ("v, zero SNR", PredictionType::VPrediction, sd.with_zero_terminal_snr()),
        ("sample", PredictionType::Sample, sd),
        (
            "sample, cosine",
            PredictionType::Sample,
            TrainingNoise::new(BetaSchedule::SquaredCosCapV2, 1000, 0.0, 0.0).unwrap(),
        ),
        ("flow", PredictionType::Flow, TrainingNoise::flow(3.0).unwrap()),
    ]
}

fn start(noise: &mut SeededNoise, sigma: f64) -> SamplerState {
    let mut grain = vec![0f32; SHAPE.numel()];
    noise.draw(Draw::Initial, &mut grain).unwrap();
    SamplerState::new(grain.iter().map(|v| (f64::from(*v) * sigma) as f32).collect())
}

fn run(
    sampler: &dyn Sampler,
    network: &mut Network<'_>,
    sigmas: &[f64],
    state: &mut SamplerState,
    stop: usize,
) -> usize {
    let mut noise = SeededNoise::new(Generator::Cpu(DrawType::F32), DrawOrder::Diffusers, SHAPE, 3);
    let mut total = 0;
    let outcome = sample(sampler, &SamplerOptions::default(), network, sigmas, &mut noise, state, &mut |progress| {
        total = progress.total;
        if progress.step == stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert_eq!(outcome.unwrap(), if state.step < total { Outcome::Stopped } else { Outcome::Finished });
    total
}

#[test]
fn every_sampler_schedule_prediction_and_step_count() {
    let mut runs = 0;
    for (name, prediction, noise) in &models() {
        let mut network = Network { prediction: *prediction, noise };
        for (sampler, schedule) in SAMPLERS.iter().flat_map(|s| SCHEDULES.iter().map(move |c| (*s, *c))) {
            for steps in [1, 2, 4, 20, 50] {
                let what = format!("{} {} {name} {steps}", sampler.spec().id, schedule.spec().id);
                let levels = levels_for(sampler, schedule, noise, steps, &ScheduleOptions::default());
                let levels = levels.unwrap_or_else(|e| panic!("{what}: {e}"));
                let last = levels.sigmas[levels.steps()];
                assert_eq!(last, 0.0, "{what}");
                assert!(levels.steps() <= steps || schedule.spec().id == "ddim_uniform", "{what}: {}", levels.steps());
                assert!(2 * levels.steps() > steps, "{what}: {}", levels.steps());
                let mut source = SeededNoise::new(Generator::Own, DrawOrder::A1111, SHAPE, 3);
                let mut state = start(&mut source, levels.sigmas[0]);
                let total = run(sampler, &mut network, &levels.sigmas, &mut state, 0);
                assert_eq!((state.step, state.x.len()), (total, SHAPE.numel()), "{what}");
                let largest = state.x.iter().fold(0f32, |m, v| if v.is_nan() { f32::NAN } else { m.max(v.abs()) });
                // Adams-Bashforth extrapolates: with a few very uneven steps far, but never out of all bounds.
                assert!(
                    largest < if matches!(sampler.spec().id, "lms" | "pndm") { 1e4 } else { 3.0 },
                    "{what}: {largest}"
                );
                runs += 1;
            }
        }
    }
    assert_eq!(runs, models().len() * SAMPLERS.len() * SCHEDULES.len() * 5);
}

#[test]
fn resumed_at_any_step_is_straight() {
    let noise = TrainingNoise::stable_diffusion();
    let mut network = Network { prediction: PredictionType::Epsilon, noise: &noise };
    for sampler in SAMPLERS {
        let karras = schedules::find("karras").unwrap();
        let sigmas = levels_for(*sampler, karras, &noise, 36, &ScheduleOptions::default()).unwrap().sigmas;
        let mut source = SeededNoise::new(Generator::Own, DrawOrder::A1111, SHAPE, 3);
        let begin = start(&mut source, sigmas[0]);
        let mut straight = begin.clone();
        let total = run(*sampler, &mut network, &sigmas, &mut straight, 0);
        for stop in 1..total {
            let mut resumed = begin.clone();
            run(*sampler, &mut network, &sigmas, &mut resumed, stop);
            assert_eq!(resumed.step, stop);
            let SamplerState { x, step, noise_draws, history } = resumed;
            let mut again = SamplerState { x, step, noise_draws, history };
            run(*sampler, &mut network, &sigmas, &mut again, 0);
            assert_eq!(again, straight, "{} stopped at {stop}", sampler.spec().id);
        }
    }
}

#[test]
fn names_are_found_and_unique() {
    let mut seen = std::collections::BTreeMap::new();
    for sampler in SAMPLERS {
        let spec = sampler.spec();
        for name in [spec.id, spec.name].iter().chain(spec.aliases) {
            assert_eq!(samplers::find(name).unwrap().spec().id, spec.id, "{name}");
            assert!(seen.insert(*name, spec.id).is_none_or(|before| before == spec.id), "{name}");
        }
        assert!(spec.order > 0 && spec.evaluations > 0 && !spec.paper.is_empty());
        assert_eq!(spec.uses_noise, spec.default_eta > 0.0);
    }
    for schedule in SCHEDULES {
        let spec = schedule.spec();
        for name in [spec.id, spec.name].iter().chain(spec.aliases) {
            assert_eq!(schedules::find(name).unwrap().spec().id, spec.id, "{name}");
        }
    }
    for (label, sampler, schedule) in [
        ("DPM++ 2M Karras", "dpmpp_2m", Some("karras")),
        ("DPM++ 2M SDE Heun Exponential", "dpmpp_2m_sde_heun", Some("exponential")),
        ("DPM++ 2M SDE SGM Uniform", "dpmpp_2m_sde", Some("sgm_uniform")),
        ("dpmpp_2m_sde_k", "dpmpp_2m_sde", Some("karras")),
        ("Euler a", "euler_ancestral", None),
    ] {
        let (found, with) = samplers::find_with_schedule(label).unwrap();
        assert_eq!((found.spec().id, with.map(|s| s.spec().id)), (sampler, schedule), "{label}");
    }
    assert!(samplers::find_with_schedule("DPM++ 2M Karrass").is_none());
    assert_eq!(samplers::find("dpm++ 2m").unwrap().spec().id, "dpmpp_2m");
    assert!(samplers::find("").is_none() && schedules::find("no such").is_none());
}
