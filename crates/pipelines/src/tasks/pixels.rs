//! Pictures without words, by a network that works on the pixels themselves.
//!
//! Source: Ho et al. 2020 (arXiv 2006.11239); the predicted picture is clipped to its range in each step.

use std::ops::ControlFlow;

use danqing_imaging::{Infotext, Picture, PixelFormat};
use danqing_models::families::ddpm::PixelDdpm;
use danqing_sampling::noise::{NoiseShape, SeededNoise, Variation};
use danqing_sampling::sampler::DenoiseError;
use danqing_sampling::schedules::{Levels, ScheduleOptions, SpacingManner};
use danqing_sampling::start::{StartScale, pure_noise};
use danqing_sampling::{
    Denoiser, Draw, NoisePath, NoiseSource, Outcome, PredictionType, SamplerOptions, SamplerState, TrainingNoise,
    sample,
};

use crate::TaskError;
use crate::control::{Control, phase};
use crate::layout::{from_nhwc, to_nhwc};
use crate::request::{DrawRequest, Drawn, Event, Phase};
use crate::settings::Settings;

/// A network of pixels and its name.
#[derive(Debug)]
pub struct PixelModel {
    /// The file's name.
    pub name: String,
    /// The network.
    pub network: PixelDdpm,
}

/// Draws what `request` asks for; its prompts must be empty.
///
/// # Errors
/// When the request makes no sense, was stopped, or the network fails.
pub fn draw_pixels(model: &PixelModel, request: &DrawRequest, control: &dyn Control) -> Result<Vec<Drawn>, TaskError> {
    let settings = Settings::without_words(model.network.side, request)?;
    let shape = NoiseShape {
        batch: settings.batch,
        channels: model.network.channels,
        height: settings.height,
        width: settings.width,
    };
    let wish = &request.noise;
    let mut noise =
        SeededNoise::new(wish.generator, wish.order, shape, request.seed).with_step_seed_delta(wish.step_seed_delta);
    if let Some(v) = request.variation {
        noise = noise.with_variation(Variation { seed: v.seed, strength: v.strength })?;
    }
    let mut values = vec![0.0; shape.numel()];
    noise.draw(Draw::Initial, &mut values)?;
    let drawn = from_noise(&model.network, &settings, request.eta, &values, &mut noise, control)?;
    drawn
        .chunks_exact(shape.picture())
        .enumerate()
        .map(|(i, values)| {
            let seed = noise.seed_of(i);
            let picture = picture(values, shape)?;
            Ok(Drawn { infotext: infotext(model, &settings, request, seed), picture, seed })
        })
        .collect()
}

/// Denoises unit noise `[b, c, h, w]` to values in -1..1.
///
/// # Errors
/// As [`draw_pixels`].
pub fn from_noise(
    network: &PixelDdpm,
    settings: &Settings,
    eta: Option<f64>,
    values: &[f32],
    noise: &mut dyn NoiseSource,
    control: &dyn Control,
) -> Result<Vec<f32>, TaskError> {
    // Whole timesteps: the network has a table of them.
    let spacing = ScheduleOptions { manner: SpacingManner::Ddim, ..Default::default() };
    let levels = settings.schedule.levels(&network.noise, settings.steps, &spacing)?;
    let scale = StartScale::UnitVariance;
    let mut state = SamplerState::new(pure_noise(values, levels.sigmas[0], NoisePath::VarianceExploding, scale));
    let mut denoiser = PixelDenoiser { network, levels: &levels };
    let total = levels.steps();
    phase(control, Phase::Sample, total);
    let mut observer = |p: &danqing_sampling::Progress<'_>| {
        control.event(Event::Step { step: p.step, total: p.total });
        if control.stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let options = SamplerOptions { eta, ..Default::default() };
    let outcome = sample(settings.sampler, &options, &mut denoiser, &levels.sigmas, noise, &mut state, &mut observer)?;
    if outcome == Outcome::Stopped {
        return Err(TaskError::Stopped);
    }
    Ok(state.x)
}

struct PixelDenoiser<'a> {
    network: &'a PixelDdpm,
    levels: &'a Levels,
}

impl PixelDenoiser<'_> {
    fn evaluate(&self, x: &[f32], sigma: f64) -> Result<Vec<f32>, TaskError> {
        let PixelDdpm { channels, side, noise, .. } = self.network;
        let one = channels * side * side;
        let batch = x.len() / one;
        let timestep = self.levels.timestep(noise, sigma).round().max(0.0) as u32;
        let scale = PredictionType::Epsilon.input_scale(sigma) as f32;
        let input: Vec<f32> = x.iter().map(|v| v * scale).collect();
        let map = to_nhwc(&input, [batch, *channels, *side, *side])?;
        Ok(from_nhwc(&self.network.forward(&map, &vec![timestep; batch])?)?)
    }
}

impl Denoiser for PixelDenoiser<'_> {
    fn denoise(&mut self, x: &[f32], sigma: f64, denoised: &mut [f32]) -> Result<(), DenoiseError> {
        let output = self.evaluate(x, sigma)?;
        if output.iter().any(|v| !v.is_finite()) {
            return Err(TaskError::NotANumber("network").into());
        }
        PredictionType::Epsilon.denoised(x, &output, sigma, denoised)?;
        denoised.iter_mut().for_each(|v| *v = v.clamp(-1.0, 1.0));
        Ok(())
    }

    fn noise_path(&self) -> NoisePath {
        NoisePath::VarianceExploding
    }

    fn training_noise(&self) -> Option<&TrainingNoise> {
        Some(&self.network.noise)
    }
}

/// `[c, h, w]` in -1..1 → picture; one channel is grey.
fn picture(values: &[f32], shape: NoiseShape) -> Result<Picture, TaskError> {
    let plane = shape.height * shape.width;
    let value = |channel: usize, pixel: usize| {
        let v = values[channel.min(shape.channels - 1) * plane + pixel];
        (v.clamp(-1.0, 1.0) * 127.5 + 127.5).round() as u8
    };
    let pixels = (0..plane).flat_map(|pixel| (0..3).map(move |channel| value(channel, pixel))).collect();
    Ok(Picture::new(shape.width as u32, shape.height as u32, PixelFormat::Rgb8, pixels)?)
}

fn infotext(model: &PixelModel, settings: &Settings, request: &DrawRequest, seed: u64) -> Infotext {
    let mut info = Infotext::new(String::new(), String::new());
    info.set("Steps", settings.steps);
    info.set("Sampler", settings.sampler.spec().name);
    info.set("Schedule type", settings.schedule.spec().name);
    info.set("Seed", seed);
    info.set("Size", format!("{}x{}", settings.width, settings.height));
    info.set("Model", &model.name);
    info.set("RNG", super::draw::generator_name(request));
    info.set("Version", concat!("danqing ", env!("CARGO_PKG_VERSION")));
    info
}
