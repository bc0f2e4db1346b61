//! From a call and, with `--like`, a picture's metadata to a request.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::Path;

use danqing_imaging::{
    Borders, DecodeLimits, Fill, Filter, GenerationInfo, Generator as Program, Mask, Picture, extend, open,
};
use danqing_pipelines::prompts::{Dialect, Emphasis};
use danqing_pipelines::request::{DrawRequest, HiresPass, Init, Inpaint, MaskedContent, VariationRequest};
use danqing_sampling::PredictionType;
use danqing_sampling::noise::{DrawOrder, DrawType, Generator};
use danqing_sampling::{samplers, schedules};

use crate::arguments::Value;
use crate::commands::Invocation;
use crate::failure::Failure;

/// How much of a start picture may change where nothing is said.
const STRENGTH: f64 = 0.75;
/// Width of a mask's soft edge where nothing is said, and of an extension's seam.
const BLUR: [f64; 2] = [4.0, 8.0];
/// How much the larger pass may change where nothing is said.
const HIRES_STRENGTH: f64 = 0.5;
/// Steps between previews where nothing is said.
const PREVIEW_EVERY: u64 = 5;
/// Roughness of a new border, out of 255.
const BORDER_NOISE: u8 = 24;

/// What the picture of `--like` says.
///
/// # Errors
/// When it cannot be read or says nothing.
pub(super) fn like(invocation: &Invocation) -> Result<Option<GenerationInfo>, Failure> {
    let Some(path) = invocation.path("like") else { return Ok(None) };
    let limits = DecodeLimits::default();
    let picture = open(path, &limits).map_err(|e| Failure::of(&e))?;
    let info = GenerationInfo::read_picture(&picture, &limits);
    let nothing = || Failure::Failed(invocation.messages().says_nothing(&path.display().to_string()));
    info.map(Some).ok_or_else(nothing)
}

/// The request, without size and start picture.
///
/// # Errors
/// When there is no prompt.
pub(super) fn request(invocation: &Invocation, like: Option<&GenerationInfo>) -> Result<DrawRequest, Failure> {
    let mut request = DrawRequest { seed: random_seed(), translate: false, ..Default::default() };
    if let Some(info) = like {
        follow(&mut request, info);
    }
    if let Some(prompt) = invocation.text("prompt") {
        request.prompt = if prompt == "-" { from_stdin(invocation)? } else { prompt.to_owned() };
    } else if like.is_none() {
        return Err(Failure::Usage(invocation.messages().no_prompt()));
    }
    // A setting is a habit, the picture's own words are a wish: only a flag goes before them.
    let said = |name: &str| like.is_none() || invocation.flag(name).is_some();
    if let Some(negative) = invocation.text("negative").filter(|_| said("negative")) {
        negative.clone_into(&mut request.negative_prompt);
    }
    for name in ["steps", "sampler", "schedule", "guidance"] {
        if said(name)
            && let Some(value) = invocation.value(name)
        {
            turn(&mut request, name, value);
        }
    }
    for name in ["guidance-rescale", "eta", "clip-skip", "seed", "dialect", "emphasis", "noise", "order"] {
        if let Some(value) = invocation.flag(name) {
            turn(&mut request, name, value);
        }
    }
    let strength = invocation.number("variation-strength");
    if let (Some(seed), strength) = (invocation.count("variation-seed"), strength) {
        request.variation = Some(VariationRequest { seed, strength: strength.unwrap_or(0.1) });
    } else if let Some(strength) = strength {
        let seed = request.variation.map_or_else(random_seed, |v| v.seed);
        request.variation = Some(VariationRequest { seed, strength });
    }
    if let Some(scale) = invocation.number("hires") {
        request.hires = Some(HiresPass { scale: scale as f32, strength: HIRES_STRENGTH as f32, steps: 0 });
    }
    if let Some(hires) = &mut request.hires {
        hires.strength = invocation.number("hires-strength").map_or(hires.strength, |s| s as f32);
        hires.steps = invocation.count("hires-steps").map_or(hires.steps, |n| n as usize);
    }
    request.prediction = invocation.text("prediction").and_then(PredictionType::parse);
    if invocation.path("preview").is_some() {
        request.preview_every = invocation.count("preview-every").unwrap_or(PREVIEW_EVERY) as usize;
    }
    request.batch_size = invocation.count("batch").unwrap_or(1) as usize;
    Ok(request)
}

/// Sets one field by the name of its option; the values that a grid can turn are among them.
pub(super) fn turn(request: &mut DrawRequest, name: &str, value: &Value) {
    match (name, value) {
        ("steps", Value::Count(n)) => request.steps = Some(*n as usize),
        ("sampler", Value::Text(label)) => {
            // A label of old may name both; a schedule of its own then overrides.
            match samplers::find_with_schedule(label) {
                Some((sampler, Some(schedule))) => {
                    request.sampler = Some(sampler.spec().id.into());
                    request.schedule = Some(schedule.spec().id.into());
                }
                _ => request.sampler = Some(label.clone()),
            }
        }
        ("schedule", Value::Text(label)) => request.schedule = Some(label.clone()),
        ("guidance", Value::Number(n)) => request.guidance_scale = Some(*n as f32),
        ("guidance-rescale", Value::Number(n)) => request.guidance_rescale = Some(*n as f32),
        ("eta", Value::Number(n)) => request.eta = Some(*n),
        ("clip-skip", Value::Count(n)) => request.clip_skip = Some(*n as usize),
        ("seed", Value::Count(n)) => request.seed = *n,
        ("strength", Value::Number(n)) => {
            if let Some(init) = &mut request.init {
                init.strength = *n as f32;
            }
        }
        ("variation-strength", Value::Number(n)) => {
            let seed = request.variation.map_or(request.seed.wrapping_add(1), |v| v.seed);
            request.variation = Some(VariationRequest { seed, strength: *n });
        }
        ("hires-strength", Value::Number(n)) => {
            if let Some(hires) = &mut request.hires {
                hires.strength = *n as f32;
            }
        }
        ("dialect", Value::Text(word)) => request.dialect = word.parse().unwrap_or_default(),
        ("emphasis", Value::Text(word)) => {
            let found = danqing_pipelines::prompts::EMPHASES.iter().find(|(name, _)| name == word);
            request.emphasis = found.map(|(_, emphasis): &(&str, Emphasis)| *emphasis);
        }
        ("noise", Value::Text(word)) => {
            request.noise.generator = match word.as_str() {
                "nv" => Generator::Nv,
                "own" => Generator::Own,
                _ => Generator::Cpu(DrawType::F32),
            };
        }
        ("order", Value::Text(word)) => {
            request.noise.order = match word.as_str() {
                "comfyui" => DrawOrder::ComfyUi,
                "diffusers" => DrawOrder::Diffusers,
                _ => DrawOrder::A1111,
            };
        }
        _ => {}
    }
}

/// Takes over what a picture says of itself, and the habits of the program that made it.
fn follow(request: &mut DrawRequest, info: &GenerationInfo) {
    let base = &info.base;
    request.prompt.clone_from(&base.prompt);
    request.negative_prompt.clone_from(&base.negative_prompt);
    request.steps = base.steps.map(|n| n as usize);
    request.guidance_scale = base.guidance_scale.map(|n| n as f32);
    request.seed = base.seed.unwrap_or(request.seed);
    if let Some(label) = &base.sampler {
        turn(request, "sampler", &Value::Text(label.clone()));
    }
    // "Automatic" is the model's own.
    request.schedule = base
        .schedule
        .as_deref()
        .and_then(schedules::find)
        .map(|s| s.spec().id.to_owned())
        .or_else(|| request.schedule.take());

    let extra = |key: &str| info.extra.get(key);
    let number = |key: &str| extra(key).and_then(|v| v.parse::<f64>().ok());
    request.clip_skip = number("Clip skip").map(|n| n as usize);
    request.eta = number("Eta");
    request.noise.step_seed_delta = number("ENSD").map_or(0, |n| n as u64);
    if let (Some(seed), Some(strength)) =
        (extra("Variation seed").and_then(|v| v.parse().ok()), number("Variation seed strength"))
    {
        request.variation = Some(VariationRequest { seed, strength });
    }
    if let Some(scale) = number("Hires upscale") {
        let strength = base.strength.unwrap_or(HIRES_STRENGTH) as f32;
        let steps = number("Hires steps").map_or(0, |n| n as usize);
        request.hires = Some(HiresPass { scale: scale as f32, strength, steps });
    }
    let (generator, order) = match info.generator {
        Program::ComfyUi | Program::SwarmUi | Program::Fooocus => (Generator::Cpu(DrawType::F32), DrawOrder::ComfyUi),
        Program::InvokeAi => (Generator::Cpu(DrawType::F32), DrawOrder::Diffusers),
        // A1111 draws on the card unless it says otherwise.
        Program::A1111 | Program::StableDiffusionCpp => (Generator::Nv, DrawOrder::A1111),
        _ => (Generator::Cpu(DrawType::F32), DrawOrder::A1111),
    };
    request.noise.generator = match extra("RNG") {
        Some("CPU") => Generator::Cpu(DrawType::F32),
        Some("NV") => Generator::Nv,
        Some("danqing") => Generator::Own,
        _ => generator,
    };
    request.noise.order = order;
    if let Some(order) = extra("Noise order") {
        turn(request, "order", &Value::Text(order.to_owned()));
    }
    let dialect = extra("Dialect").and_then(|d| d.parse().ok());
    let own = if info.generator == Program::ComfyUi { Dialect::ComfyUi } else { Dialect::A1111 };
    request.dialect = dialect.unwrap_or(own);
}

/// The picture to start from, with its mask.
///
/// # Errors
/// When a file cannot be read, or options do not fit together.
pub(super) fn start(invocation: &Invocation, seed: u64) -> Result<Option<Init>, Failure> {
    let messages = invocation.messages();
    let Some(path) = invocation.path("init") else {
        let lonely = ["strength", "mask", "mask-blur", "masked-content", "only-masked", "extend"];
        return match lonely.iter().find(|name| invocation.flag(name).is_some()) {
            Some(name) => Err(Failure::Usage(messages.needs(&format!("--{name}"), "--init"))),
            None => Ok(None),
        };
    };
    let picture = read(path)?;
    let extended = invocation.borders("extend");
    let (picture, mask) = match (extended, invocation.path("mask")) {
        (Some(_), Some(_)) => return Err(Failure::Usage(messages.not_both("--mask", "--extend"))),
        (Some([left, top, right, bottom]), None) => {
            let fill = Fill::Edge { noise: BORDER_NOISE, seed };
            let (picture, mask) =
                extend(&picture, Borders { top, right, bottom, left }, fill).map_err(|e| Failure::of(&e))?;
            (picture, Some(mask))
        }
        (None, Some(path)) => {
            let mask = Mask::from_picture(&read(path)?);
            let mask = fit(&mask, &picture).ok_or_else(|| {
                Failure::Failed(messages.mask_shape((mask.width(), mask.height()), (picture.width(), picture.height())))
            })?;
            (picture, Some(mask))
        }
        (None, None) => (picture, None),
    };
    let outward = usize::from(extended.is_some());
    let strength = invocation.number("strength").unwrap_or(if outward == 1 { 1.0 } else { STRENGTH });
    let inpaint = mask.map(|mask| Inpaint {
        mask: mask.values().to_vec(),
        blur: invocation.number("mask-blur").unwrap_or(BLUR[outward]) as f32,
        only_masked: invocation.count("only-masked").map(|n| n as u32),
        content: match invocation.text("masked-content") {
            Some("fill") => MaskedContent::Fill,
            Some("latent-noise") => MaskedContent::LatentNoise,
            Some("latent-nothing") => MaskedContent::LatentNothing,
            _ => MaskedContent::Original,
        },
    });
    Ok(Some(Init { picture, strength: strength as f32, inpaint }))
}

fn read(path: &Path) -> Result<Picture, Failure> {
    open(path, &DecodeLimits::default()).map_err(|e| Failure::Failed(format!("{}: {e}", path.display())))
}

/// The mask at the picture's size, if it has its proportions.
fn fit(mask: &Mask, picture: &Picture) -> Option<Mask> {
    let (w, h) = (picture.width(), picture.height());
    let skew = f64::from(mask.width()) * f64::from(h) / (f64::from(mask.height()) * f64::from(w));
    if (mask.width(), mask.height()) == (w, h) {
        return Some(mask.clone());
    }
    if (0.98..=1.02).contains(&skew) { mask.resized(w, h, Filter::Bilinear).ok() } else { None }
}

/// A seed that other programs can take as well: 32 bits.
fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish() >> 32
}

fn from_stdin(invocation: &Invocation) -> Result<String, Failure> {
    use std::io::Read;
    let mut text = String::new();
    let limit = danqing_pipelines::prompts::MAX_PROMPT_BYTES as u64 + 1;
    std::io::stdin().lock().take(limit).read_to_string(&mut text).map_err(|e| Failure::of(&e))?;
    let text = text.trim().to_owned();
    if text.is_empty() { Err(Failure::Usage(invocation.messages().no_prompt())) } else { Ok(text) }
}
