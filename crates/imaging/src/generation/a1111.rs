//! A1111's infotext, and the programs that write the same: Forge, SD.Next, stable-diffusion.cpp, Fooocus' second
//! scheme, this one.

use super::{GenerationInfo, Generator, LoraUse};
use crate::{Infotext, Metadata};

/// Schedules that older files append to the sampler's name.
const APPENDED: [&str; 5] = ["Karras", "Exponential", "Polyexponential", "SGM Uniform", "Uniform"];
/// The same for stable-diffusion.cpp.
const APPENDED_CPP: [&str; 11] = [
    "discrete",
    "karras",
    "exponential",
    "ays",
    "gits",
    "sgm_uniform",
    "simple",
    "smoothstep",
    "kl_optimal",
    "lcm",
    "bong_tangent",
];
/// The keys that have a field of their own, and one whose value is JSON that the comma rule cuts in pieces.
const KNOWN: [&str; 11] = [
    "Steps",
    "Sampler",
    "Schedule type",
    "CFG scale",
    "Seed",
    "Size",
    "Model",
    "Model hash",
    "Denoising strength",
    "Version",
    "SDCPP",
];

pub(super) fn read(metadata: &Metadata) -> Option<GenerationInfo> {
    // GIF files have nothing but comments.
    let texts = [metadata.infotext(), metadata.text("Comment").map(str::to_owned)];
    let infotext = texts.into_iter().flatten().map(|text| Infotext::parse(&text)).find(|t| !t.params.is_empty())?;
    Some(from_infotext(&infotext))
}

pub(super) fn from_infotext(infotext: &Infotext) -> GenerationInfo {
    let version = infotext.get("Version").unwrap_or_default();
    let generator = if version.starts_with("danqing") {
        Generator::Danqing
    } else if version.starts_with("stable-diffusion.cpp") {
        Generator::StableDiffusionCpp
    } else if version.starts_with("Fooocus") {
        Generator::Fooocus
    } else {
        Generator::A1111
    };
    let mut info = GenerationInfo::new(generator);
    let get = |key: &str| infotext.get(key).filter(|v| !v.is_empty());
    let base = &mut info.base;
    base.prompt.clone_from(&infotext.prompt);
    base.negative_prompt.clone_from(&infotext.negative);
    base.steps = get("Steps").and_then(|v| v.parse().ok());
    base.guidance_scale = get("CFG scale").and_then(|v| v.parse().ok()).filter(|n: &f64| n.is_finite());
    base.seed = get("Seed").and_then(|v| v.parse().ok());
    base.strength = get("Denoising strength").and_then(|v| v.parse().ok()).filter(|n: &f64| n.is_finite());
    base.model = get("Model").map(str::to_owned);
    base.model_hash = get("Model hash").map(str::to_owned);
    if let Some((width, height)) = get("Size").and_then(|v| v.split_once('x')) {
        base.width = width.parse().ok();
        base.height = height.parse().ok();
    }
    base.sampler = get("Sampler").map(str::to_owned);
    base.schedule = get("Schedule type").map(str::to_owned);
    if let (Some(sampler), None) = (&base.sampler, &base.schedule) {
        let appended: &[&str] = if generator == Generator::StableDiffusionCpp { &APPENDED_CPP } else { &APPENDED };
        let split = appended.iter().find_map(|s| Some((sampler.strip_suffix(s)?.strip_suffix(' ')?.to_owned(), *s)));
        if let Some((sampler, schedule)) = split {
            base.sampler = Some(sampler);
            base.schedule = Some(schedule.to_owned());
        }
    }
    base.loras = loras_in_prompt(&infotext.prompt);
    for (key, value) in &infotext.params {
        if (!KNOWN.contains(&key.as_str()) || key == "Version") && !value.is_empty() {
            info.extra.push(key, value);
        }
    }
    info
}

/// `<lora:name:weight>` tags; a tag without weight counts as 1.
fn loras_in_prompt(prompt: &str) -> Vec<LoraUse> {
    let mut loras = Vec::new();
    for part in prompt.split("<lora:").skip(1) {
        let Some((tag, _)) = part.split_once('>') else { continue };
        let mut fields = tag.split(':');
        let name = fields.next().unwrap_or_default();
        let weight = fields.next().map_or(Some(1.0), |w| w.parse().ok().filter(|n: &f64| n.is_finite()));
        if let (false, Some(weight)) = (name.is_empty(), weight) {
            loras.push(LoraUse { name: name.to_owned(), weight });
        }
    }
    loras
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_files_have_the_schedule_in_the_sampler() {
        let text =
            Infotext::parse("cat <lora:fur:0.5> <lora:x>\nSteps: 2, Sampler: DPM++ 2M SDE Karras, Seed: 1, Size: 8x16");
        let info = from_infotext(&text);
        assert_eq!(info.base.sampler.as_deref(), Some("DPM++ 2M SDE"));
        assert_eq!(info.base.schedule.as_deref(), Some("Karras"));
        assert_eq!((info.base.width, info.base.height), (Some(8), Some(16)));
        assert_eq!(info.base.loras[0], LoraUse { name: "fur".to_owned(), weight: 0.5 });
        assert_eq!(info.base.loras[1].weight, 1.0);
    }
}
