//! Text to picture, picture to picture, inpainting, variations and a second larger pass.

use std::ops::ControlFlow;

use danqing_imaging::{Filter, Infotext, Picture, ResizeOptions};
use danqing_models::autoencoders::TinyDecoder;
use danqing_models::families::stable_diffusion::StableDiffusion;
use danqing_sampling::diffusers::{self, DiffusersClass};
use danqing_sampling::guidance::GuidanceOptions;
use danqing_sampling::noise::{DrawOrder, NoiseShape, SeededNoise, Variation};
use danqing_sampling::schedules::{Levels, levels_for};
use danqing_sampling::start::{StartScale, StrengthRule, pure_noise};
use danqing_sampling::{Draw, NoisePath, NoiseSource, Outcome, SamplerOptions, SamplerState, sample};
use danqing_tensor::{DType, Tensor};

use crate::control::{Control, phase};
use crate::denoiser::{LatentMask, UnetDenoiser};
use crate::error::TaskError;
use crate::inpaint::{self, Area};
use crate::latents;
use crate::plan::{MemoryPlan, PlanInput, available_memory};
use crate::preview;
use crate::request::{DrawRequest, Drawn, Event, HiresPass, Init, MaskedContent, Phase};
use crate::resume::SavedRun;
use crate::settings::Settings;
use crate::tasks::prompting::{EncodedRun, prompts_of};

/// What drawing may use beside the model.
#[derive(Debug, Default)]
pub struct DrawTools<'a> {
    /// A small decoder for previews; without it they are a linear guess.
    pub preview: Option<&'a TinyDecoder>,
    /// A run to go on with.
    pub resume: Option<SavedRun>,
    /// Bytes that may be used; `None` is what the system says is free.
    pub memory: Option<u64>,
    /// The prompts, where [`encode_prompts`] has encoded them already.
    pub prompts: Option<EncodedRun>,
}

/// Draws what `request` asks for.
///
/// # Errors
/// When the request makes no sense, would not fit into memory, was stopped, or the network fails.
pub fn draw(
    model: &StableDiffusion,
    request: &DrawRequest,
    tools: &DrawTools<'_>,
    control: &dyn Control,
) -> Result<Vec<Drawn>, TaskError> {
    let settings = Settings::of(model, request)?;
    let plan = plan_memory(model, &settings, request);
    if let Some(available) = tools.memory.or_else(available_memory) {
        // The weights are there already.
        MemoryPlan { weights: 0, ..plan }.check(available)?;
    }
    if let Some(init) = &request.init
        && init.strength == 0.0
    {
        return unchanged(&settings, request, init);
    }
    let run = Run { model, request, tools, control, settings: &settings };
    run.decode(run.sample()?)
}

/// The sampling half of [`draw`]: scaled latents `[b, c, h, w]` and their shape, for measurements and tests.
///
/// # Errors
/// As [`draw`].
pub fn sample_latents(
    model: &StableDiffusion,
    request: &DrawRequest,
    tools: &DrawTools<'_>,
    control: &dyn Control,
) -> Result<(Vec<f32>, NoiseShape), TaskError> {
    let settings = Settings::of(model, request)?;
    let sampled = Run { model, request, tools, control, settings: &settings }.sample()?;
    Ok((sampled.latents, sampled.shape))
}

/// The prompts of `request`, encoded: with them in [`DrawTools`] sampling needs no text encoder any more.
///
/// # Errors
/// As [`draw`].
pub fn encode_prompts(
    model: &StableDiffusion,
    request: &DrawRequest,
    control: &dyn Control,
) -> Result<EncodedRun, TaskError> {
    let settings = Settings::of(model, request)?;
    let run = Run { model, request, tools: &DrawTools::default(), control, settings: &settings };
    let mut passes = vec![(settings.steps, request.init.as_ref().map(|i| i.strength))];
    if let Some(hires) = request.hires {
        passes.push((second_pass_steps(&settings, &hires), Some(hires.strength)));
    }
    let encoded = passes.into_iter().map(|(steps, strength)| {
        let (levels, _) = run.levels(steps, strength)?;
        prompts_of(model, request, levels.steps(), settings.steps, control)
    });
    Ok(EncodedRun::new(encoded.collect::<Result<_, _>>()?))
}

/// The memory that `request` takes at its worst moment.
pub fn plan_memory(model: &StableDiffusion, settings: &Settings, request: &DrawRequest) -> MemoryPlan {
    let f = model.autoencoder.config().downscale();
    let scale = request.hires.map_or(1.0, |h| h.scale);
    let latent = |side: usize| ((side as f32 * scale) as usize).div_ceil(f);
    let rows = settings.batch * if settings.guidance_scale == 1.0 { 1 } else { 2 };
    MemoryPlan::of(&PlanInput {
        unet: model.unet.config(),
        autoencoder: model.autoencoder.config(),
        weights: model.weight_bytes,
        batch: rows.min(4),
        height: latent(settings.height),
        width: latent(settings.width),
        value_bytes: if model.dtype == DType::Bf16 { 2 } else { 4 },
        tile: Some(latents::TILE),
    })
}

fn second_pass_steps(settings: &Settings, hires: &HiresPass) -> usize {
    if hires.steps == 0 { settings.steps } else { hires.steps }
}

fn unchanged(settings: &Settings, request: &DrawRequest, init: &Init) -> Result<Vec<Drawn>, TaskError> {
    let picture = fitted(&init.picture, settings.width, settings.height)?;
    let infotext = Infotext::new(request.prompt.clone(), request.negative_prompt.clone());
    Ok((0..settings.batch)
        .map(|_| Drawn { picture: picture.clone(), seed: request.seed, infotext: infotext.clone() })
        .collect())
}

fn fitted(picture: &Picture, width: usize, height: usize) -> Result<Picture, TaskError> {
    if (picture.width() as usize, picture.height() as usize) == (width, height) {
        return Ok(picture.clone());
    }
    let options = ResizeOptions { filter: Filter::Lanczos3, ..Default::default() };
    Ok(danqing_imaging::resize(picture, width as u32, height as u32, &options)?)
}

/// A picture made ready to start from.
struct Start {
    /// Scaled latents of the batch, `[b, c, h, w]`.
    latents: Vec<f32>,
    strength: f32,
    /// Mask in latent cells.
    mask: Option<Vec<f32>>,
    content: MaskedContent,
    /// Mask and masked picture for inpainting networks, `[1, h, w, extra]`.
    extra: Option<Tensor>,
}

struct Run<'a> {
    model: &'a StableDiffusion,
    request: &'a DrawRequest,
    tools: &'a DrawTools<'a>,
    control: &'a dyn Control,
    settings: &'a Settings,
}

/// What sampling leaves.
struct Sampled {
    latents: Vec<f32>,
    shape: NoiseShape,
    area: Option<Area>,
}

impl Run<'_> {
    fn sample(&self) -> Result<Sampled, TaskError> {
        let (model, settings, request) = (self.model, self.settings, self.request);
        phase(self.control, Phase::Encode, 0);
        let area = match &request.init {
            Some(init) => Some(inpaint::prepare(init, settings.width, settings.height)?),
            None => None,
        };
        let start = area.as_ref().map(|area| self.start(area)).transpose()?;

        let f = model.autoencoder.config().downscale();
        let shape = NoiseShape {
            batch: settings.batch,
            channels: model.autoencoder.config().latent_channels,
            height: settings.height / f,
            width: settings.width / f,
        };
        let resume = self.tools.resume.as_ref();
        let latents = match resume {
            Some(saved) if saved.pass > 0 => Vec::new(),
            _ => self.pass(0, shape, start.as_ref(), settings.steps, Phase::Sample)?,
        };
        let (latents, shape) = match request.hires {
            Some(hires) => {
                let (width, height) = self.hires_size(hires.scale);
                let larger = NoiseShape { height: height / f, width: width / f, ..shape };
                let latents = if latents.is_empty() { Vec::new() } else { self.enlarged(&latents, shape, larger)? };
                let start = Start {
                    latents,
                    strength: hires.strength,
                    mask: None,
                    content: MaskedContent::Original,
                    extra: None,
                };
                let steps = second_pass_steps(settings, &hires);
                (self.pass(1, larger, Some(&start), steps, Phase::Hires)?, larger)
            }
            None => (latents, shape),
        };
        Ok(Sampled { latents, shape, area })
    }

    fn decode(&self, sampled: Sampled) -> Result<Vec<Drawn>, TaskError> {
        let Sampled { latents, shape, area } = sampled;
        let model = self.model;
        phase(self.control, Phase::Decode, 0);
        let sizes = [shape.batch, shape.channels, shape.height, shape.width];
        let stopped = || self.control.stopped();
        let pictures = latents::decode(&model.autoencoder, &latents, sizes, model.dtype, &stopped)?;
        pictures
            .into_iter()
            .enumerate()
            .map(|(i, picture)| {
                let picture = match &area {
                    Some(area) => area.paste(picture)?,
                    None => picture,
                };
                let seed = self.noise(shape)?.seed_of(i);
                let infotext = self.infotext(seed, &picture);
                Ok(Drawn { picture, seed, infotext })
            })
            .collect()
    }

    /// One pass from noise (or `start`) to clean latents.
    fn pass(
        &self,
        number: usize,
        shape: NoiseShape,
        start: Option<&Start>,
        steps: usize,
        name: Phase,
    ) -> Result<Vec<f32>, TaskError> {
        let (model, settings, request) = (self.model, self.settings, self.request);
        let (levels, full) = self.levels(steps, start.map(|s| s.strength))?;
        let prompts = match &self.tools.prompts {
            Some(run) => run.pass(number, levels.steps())?,
            None => prompts_of(model, request, levels.steps(), settings.steps, self.control)?,
        };
        let mut noise = self.noise(shape)?;
        let path = model.predicts.prediction.path();
        let fingerprint = fingerprint(model, request);
        if self.tools.resume.as_ref().is_some_and(|saved| saved.fingerprint != fingerprint) {
            let why = "the saved run was asked for something else: repeat its command, or start afresh without it";
            return Err(TaskError::Request(why.into()));
        }

        let mut state = match &self.tools.resume {
            Some(saved) if saved.pass == number => saved.state.clone(),
            _ => {
                let mut values = vec![0.0; shape.numel()];
                noise.draw(Draw::Initial, &mut values)?;
                let mut x = pure_noise(&values, levels.sigmas[0], path, self.start_scale(full));
                if let Some(start) = start {
                    add_start(&mut x, start, path.alpha(levels.sigmas[0]) as f32);
                }
                SamplerState::new(x)
            }
        };
        if state.x.len() != shape.numel() {
            return Err(TaskError::Request("the saved run is of another size: start afresh without it".into()));
        }

        let guidance = GuidanceOptions {
            scale: f64::from(settings.guidance_scale),
            rescale: f64::from(settings.guidance_rescale),
        };
        let extra = start.and_then(|s| s.extra.clone()).map(|e| repeated(&e, shape.batch)).transpose()?;
        let mask = start.filter(|s| s.extra.is_none()).and_then(|s| {
            let mask = s.mask.clone()?;
            Some(LatentMask { original: s.latents.clone(), mask })
        });
        let mut denoiser = UnetDenoiser::new(model, shape, &levels, &prompts.encoded, prompts.steps, guidance)
            .with_extra(extra)
            .with_mask(mask.clone());
        let options = SamplerOptions { eta: request.eta, ..Default::default() };
        let total = levels.steps();
        phase(self.control, name, total);
        let mut observer = |p: &danqing_sampling::Progress<'_>| {
            self.control.event(Event::Step { step: p.step, total: p.total });
            self.control.save(&SavedRun { fingerprint: fingerprint.clone(), pass: number, state: p.state.clone() });
            if request.preview_every > 0
                && p.step.is_multiple_of(request.preview_every)
                && let Some(denoised) = p.denoised
                && let Ok(picture) = preview::picture(model, self.tools.preview, denoised, shape)
            {
                self.control.event(Event::Preview(picture));
            }
            if self.control.stopped() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let outcome =
            sample(settings.sampler, &options, &mut denoiser, &levels.sigmas, &mut noise, &mut state, &mut observer)?;
        if outcome == Outcome::Stopped || self.control.stopped() {
            return Err(TaskError::Stopped);
        }
        let class = self.sampler_class().filter(|_| path == NoisePath::VarianceExploding);
        let end = class.map_or(1.0, |c| c.end_scale(levels.sigmas[total])) as f32;
        state.x.iter_mut().for_each(|v| *v *= end);
        if let Some(LatentMask { original, mask }) = &mask {
            for (plane, original) in state.x.chunks_exact_mut(mask.len()).zip(original.chunks_exact(mask.len())) {
                for ((v, o), m) in plane.iter_mut().zip(original).zip(mask) {
                    *v = *v * m + o * (1.0 - m);
                }
            }
        }
        Ok(state.x)
    }

    /// The levels of a pass, and whether it starts from noise alone.
    fn levels(&self, steps: usize, strength: Option<f32>) -> Result<(Levels, bool), TaskError> {
        let (model, settings) = (self.model, self.settings);
        let order = self.request.noise.order;
        let make = |steps| match order {
            // diffusers never leaves the last but one out.
            DrawOrder::Diffusers => settings.schedule.levels(&model.noise, steps, &model.spacing),
            _ => levels_for(settings.sampler, settings.schedule, &model.noise, steps, &model.spacing),
        };
        let Some(strength) = strength else { return Ok((make(steps)?, true)) };
        let rule = match order {
            DrawOrder::A1111 => StrengthRule::A1111,
            DrawOrder::ComfyUi => StrengthRule::ComfyUi,
            DrawOrder::Diffusers => StrengthRule::Diffusers,
        };
        let (all, last) = rule.steps(steps, f64::from(strength))?;
        Ok((make(all)?.tail(last.max(1)), strength >= 1.0 && order == DrawOrder::ComfyUi))
    }

    /// How strong the first noise is, as in the program whose order of drawing is asked for.
    fn start_scale(&self, full: bool) -> StartScale {
        let settings = self.settings;
        match self.request.noise.order {
            _ if !full => StartScale::Sigma,
            DrawOrder::A1111 => StartScale::Sigma,
            DrawOrder::ComfyUi => StartScale::UnitVariance,
            DrawOrder::Diffusers => {
                self.sampler_class().map_or(StartScale::UnitVariance, |c| c.start_scale(settings.schedule.spec().id))
            }
        }
    }

    /// The class of diffusers' that the sampler stands for, where pictures are drawn as it does.
    fn sampler_class(&self) -> Option<&'static DiffusersClass> {
        let own = |c: &&DiffusersClass| c.sampler == self.settings.sampler.spec().id;
        diffusers::CLASSES.iter().find(own).filter(|_| self.request.noise.order == DrawOrder::Diffusers)
    }

    fn noise(&self, shape: NoiseShape) -> Result<SeededNoise, TaskError> {
        let wish = &self.request.noise;
        let noise = SeededNoise::new(wish.generator, wish.order, shape, self.request.seed)
            .with_step_seed_delta(wish.step_seed_delta);
        Ok(match self.request.variation {
            Some(v) => noise.with_variation(Variation { seed: v.seed, strength: v.strength })?,
            None => noise,
        })
    }

    fn start(&self, area: &Area) -> Result<Start, TaskError> {
        let (model, batch) = (self.model, self.settings.batch);
        let one = latents::encode(&model.autoencoder, &[&area.picture], model.dtype)?;
        let f = model.autoencoder.config().downscale();
        let mask = area.mask.as_ref().map(|m| inpaint::latent_mask(m, self.settings.width, self.settings.height, f));
        let extra = match (model.is_inpainting(), &area.mask) {
            (false, _) => None,
            (true, mask) => Some(self.inpainting_channels(area, mask.as_deref())?),
        };
        Ok(Start { latents: one.repeat(batch), strength: area.strength, mask, content: area.content, extra })
    }

    /// Mask and masked picture of an inpainting network, `[1, h, w, 1 + c]`; without a mask all is drawn anew.
    fn inpainting_channels(&self, area: &Area, mask: Option<&[u8]>) -> Result<Tensor, TaskError> {
        let (model, settings) = (self.model, self.settings);
        let f = model.autoencoder.config().downscale();
        let (h, w) = (settings.height / f, settings.width / f);
        let all = vec![255u8; settings.width * settings.height];
        let mask = mask.unwrap_or(&all);
        let hidden = inpaint::masked_picture(&area.picture, mask)?;
        let c = model.autoencoder.config().latent_channels;
        let latent = latents::encode(&model.autoencoder, &[&hidden], model.dtype)?;
        let latent = crate::layout::to_nhwc(&latent, [1, c, h, w])?;
        let cells = inpaint::nearest_mask(mask, settings.width, settings.height, f);
        let cells = Tensor::from_vec(cells, &[1, h, w, 1])?;
        Ok(Tensor::concat(&[&cells, &latent], 3)?)
    }

    fn hires_size(&self, scale: f32) -> (usize, usize) {
        let multiple = self.model.size_multiple();
        let side = |s: usize| ((s as f32 * scale).round() as usize).div_ceil(multiple) * multiple;
        (side(self.settings.width), side(self.settings.height))
    }

    /// Latents decoded, enlarged as pictures and encoded again: sharper than enlarging the latents themselves.
    fn enlarged(&self, latents: &[f32], from: NoiseShape, to: NoiseShape) -> Result<Vec<f32>, TaskError> {
        let model = self.model;
        let f = model.autoencoder.config().downscale();
        let sizes = [from.batch, from.channels, from.height, from.width];
        let stopped = || self.control.stopped();
        let pictures = latents::decode(&model.autoencoder, latents, sizes, model.dtype, &stopped)?;
        let larger: Vec<Picture> =
            pictures.iter().map(|p| fitted(p, to.width * f, to.height * f)).collect::<Result<_, _>>()?;
        latents::encode(&model.autoencoder, &larger.iter().collect::<Vec<_>>(), model.dtype)
    }

    fn infotext(&self, seed: u64, picture: &Picture) -> Infotext {
        let (request, settings, model) = (self.request, self.settings, self.model);
        let mut info = Infotext::new(request.prompt.clone(), request.negative_prompt.clone());
        info.set("Steps", settings.steps);
        info.set("Sampler", settings.sampler.spec().name);
        info.set("Schedule type", settings.schedule.spec().name);
        info.set("CFG scale", settings.guidance_scale);
        info.set("Seed", seed);
        info.set("Size", format!("{}x{}", picture.width(), picture.height()));
        if let Some(hash) = &model.hash {
            info.set("Model hash", hash);
        }
        info.set("Model", &model.name);
        if let Some(v) = &request.variation {
            info.set("Variation seed", v.seed);
            info.set("Variation seed strength", v.strength);
        }
        if let Some(init) = &request.init {
            info.set("Denoising strength", init.strength);
        } else if let Some(hires) = &request.hires {
            info.set("Denoising strength", hires.strength);
        }
        if let Some(skip) = request.clip_skip.filter(|s| *s > 1) {
            info.set("Clip skip", skip);
        }
        if request.noise.step_seed_delta != 0 {
            info.set("ENSD", request.noise.step_seed_delta);
        }
        info.set("RNG", generator_name(request));
        if let Some(hires) = &request.hires {
            info.set("Hires upscale", hires.scale);
            info.set("Hires steps", hires.steps);
            info.set("Hires upscaler", "Lanczos");
        }
        if settings.guidance_rescale > 0.0 {
            info.set("CFG Rescale", settings.guidance_rescale);
        }
        if let Some(eta) = request.eta {
            info.set("Eta", eta);
        }
        info.set("Version", concat!("danqing ", env!("CARGO_PKG_VERSION")));
        info
    }
}

pub(super) fn generator_name(request: &DrawRequest) -> &'static str {
    use danqing_sampling::noise::Generator;
    match request.noise.generator {
        Generator::Cpu(_) => "CPU",
        Generator::Nv => "NV",
        Generator::Own => "danqing",
    }
}

/// Adds the start picture (times `alpha`) to scaled noise, as the masked content asks.
fn add_start(x: &mut [f32], start: &Start, alpha: f32) {
    let plane = start.mask.as_ref().map_or(x.len(), Vec::len);
    for (i, (v, clean)) in x.iter_mut().zip(&start.latents).enumerate() {
        let mask = start.mask.as_ref().map_or(0.0, |m| m[i % plane]);
        let kept = match start.content {
            MaskedContent::LatentNoise | MaskedContent::LatentNothing => 1.0 - mask,
            MaskedContent::Original | MaskedContent::Fill => 1.0,
        };
        *v += alpha * clean * kept;
    }
}

fn repeated(one: &Tensor, batch: usize) -> Result<Tensor, TaskError> {
    Ok(Tensor::concat(&vec![one; batch], 0)?)
}

/// A name for everything that decides a run's outcome.
fn fingerprint(model: &StableDiffusion, request: &DrawRequest) -> String {
    let init = request.init.as_ref().map(|i| (i.picture.width(), i.picture.height(), i.strength));
    format!(
        "{} | {:?} | {:?} | {:?}x{:?} | {} | {:?} {:?} {:?} {:?} {:?} {:?} | {} {:?} {:?} | {init:?} | {:?}",
        model.name,
        request.prompt,
        request.negative_prompt,
        request.width,
        request.height,
        request.batch_size,
        request.steps,
        request.sampler,
        request.schedule,
        request.guidance_scale,
        request.guidance_rescale,
        request.eta,
        request.seed,
        request.variation,
        request.noise,
        request.hires
    )
}
