//! A wish made whole: every setting that the request leaves open takes the model's own value, and what makes no sense is
//! refused before any work.

use danqing_models::families::stable_diffusion::StableDiffusion;
use danqing_sampling::noise::DrawOrder;
use danqing_sampling::sampler::Sampler;
use danqing_sampling::samplers;
use danqing_sampling::schedules::{self, SigmaSchedule};

use crate::TaskError;
use crate::request::DrawRequest;

/// Largest side of a picture in pixels.
pub const MAX_SIDE: u32 = 16_384;
/// Most pictures at once.
pub const MAX_BATCH: usize = 64;
/// Most steps.
pub const MAX_STEPS: usize = 1_000;

/// What will be done.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Width in pixels, a multiple of the model's.
    pub width: usize,
    /// Height in pixels, a multiple of the model's.
    pub height: usize,
    /// Pictures at once.
    pub batch: usize,
    /// Steps.
    pub steps: usize,
    /// The sampler.
    pub sampler: &'static dyn Sampler,
    /// The schedule.
    pub schedule: &'static dyn SigmaSchedule,
    /// Guidance scale.
    pub guidance_scale: f32,
    /// Guidance rescale.
    pub guidance_rescale: f32,
}

fn refuse<T>(what: String) -> Result<T, TaskError> {
    Err(TaskError::Request(what))
}

impl Settings {
    /// Settles `request` for `model`.
    ///
    /// # Errors
    /// When a value is out of range or a name unknown; the sentence lists what is possible.
    pub fn of(model: &StableDiffusion, request: &DrawRequest) -> Result<Self, TaskError> {
        let defaults = &model.defaults;
        let own = |picture: Option<u32>, asked: Option<u32>| asked.or(picture).unwrap_or(model.native_size as u32);
        let init = request.init.as_ref().map(|i| (i.picture.width(), i.picture.height()));
        let width = side("width", own(init.map(|i| i.0), request.width), model.size_multiple())?;
        let height = side("height", own(init.map(|i| i.1), request.height), model.size_multiple())?;

        let steps = counts(request, defaults.steps)?;
        // In diffusers' order of drawing a folder's own sampler and spacing are the defaults.
        let class = model.diffusers_class.filter(|_| request.noise.order == DrawOrder::Diffusers);
        let own = class.map(|c| c.sampler).unwrap_or(&defaults.sampler);
        let sampler = sampler_named(request.sampler.as_deref().unwrap_or(own))?;
        let own = class.and_then(|c| model.timestep_spacing.as_deref().or(Some(c.default_spacing)));
        let schedule = schedule_named(request.schedule.as_deref().or(own).unwrap_or(&defaults.schedule))?;
        let guidance_scale = request.guidance_scale.unwrap_or(defaults.guidance_scale);
        if !(0.0..=100.0).contains(&guidance_scale) {
            return refuse(format!("guidance {guidance_scale}: give 0 to 100"));
        }
        let guidance_rescale = request.guidance_rescale.unwrap_or(defaults.guidance_rescale);
        if !(0.0..=1.0).contains(&guidance_rescale) {
            return refuse(format!("guidance rescale {guidance_rescale}: give 0 to 1"));
        }
        if let Some(init) = &request.init {
            if !(0.0..=1.0).contains(&init.strength) {
                return refuse(format!("strength {}: give 0 (keep the picture) to 1 (draw it anew)", init.strength));
            }
        } else if model.is_inpainting() {
            return refuse("this is an inpainting model: give it a picture and a mask".into());
        }
        if let Some(hires) = &request.hires
            && !((1.0..=8.0).contains(&hires.scale) && (0.0..=1.0).contains(&hires.strength))
        {
            return refuse("the larger pass takes a scale from 1 to 8 and a strength from 0 to 1".into());
        }
        Ok(Self {
            width,
            height,
            batch: request.batch_size,
            steps,
            sampler,
            schedule,
            guidance_scale,
            guidance_rescale,
        })
    }

    /// Settles `request` for a network of square pictures of `side` pixels that knows no words.
    ///
    /// # Errors
    /// When a value is out of range, a name unknown, or something is asked for that such a network cannot do.
    pub fn without_words(side: usize, request: &DrawRequest) -> Result<Self, TaskError> {
        if !request.prompt.trim().is_empty() || !request.negative_prompt.trim().is_empty() {
            return refuse("this model knows no words: give an empty prompt (\"\")".into());
        }
        if request.init.is_some() || request.hires.is_some() {
            return refuse("this model draws from noise alone: no start picture and no larger pass".into());
        }
        Ok(Self {
            width: side,
            height: side,
            batch: request.batch_size,
            steps: counts(request, 50)?,
            sampler: sampler_named(request.sampler.as_deref().unwrap_or("ddim"))?,
            schedule: schedule_named(request.schedule.as_deref().unwrap_or("linspace"))?,
            guidance_scale: 1.0,
            guidance_rescale: 0.0,
        })
    }
}

/// The steps asked for or `own`; refuses impossible numbers of steps and pictures.
fn counts(request: &DrawRequest, own: usize) -> Result<usize, TaskError> {
    let steps = request.steps.unwrap_or(own);
    if steps == 0 || steps > MAX_STEPS {
        return refuse(format!("{steps} steps: give 1 to {MAX_STEPS}"));
    }
    if request.batch_size == 0 || request.batch_size > MAX_BATCH {
        return refuse(format!("{} pictures at once: give 1 to {MAX_BATCH}", request.batch_size));
    }
    Ok(steps)
}

fn sampler_named(name: &str) -> Result<&'static dyn Sampler, TaskError> {
    samplers::find(name).ok_or_else(|| {
        let known: Vec<&str> = samplers::SAMPLERS.iter().map(|s| s.spec().id).collect();
        TaskError::Request(format!("sampler {name:?} is not known; there are {}", known.join(", ")))
    })
}

fn schedule_named(name: &str) -> Result<&'static dyn SigmaSchedule, TaskError> {
    schedules::find(name).ok_or_else(|| {
        let known: Vec<&str> = schedules::SCHEDULES.iter().map(|s| s.spec().id).collect();
        TaskError::Request(format!("schedule {name:?} is not known; there are {}", known.join(", ")))
    })
}

/// A side in pixels, rounded to the nearest multiple that the model can do.
fn side(name: &str, asked: u32, multiple: usize) -> Result<usize, TaskError> {
    if asked == 0 || asked > MAX_SIDE {
        return refuse(format!("{name} {asked}: give 1 to {MAX_SIDE} pixels"));
    }
    let (asked, multiple) = (asked as usize, multiple.max(1));
    Ok(((asked + multiple / 2) / multiple * multiple).max(multiple))
}
