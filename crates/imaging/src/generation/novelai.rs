//! NovelAI: the prompt in `Description`, JSON in `Comment`, model and hash in `Source`.

use super::value::{filled, number, object, others, text, whole};
use super::{GenerationInfo, Generator};
use crate::Metadata;

const KNOWN: [&str; 9] = ["prompt", "uc", "steps", "sampler", "noise_schedule", "seed", "scale", "width", "height"];

pub(super) fn read(metadata: &Metadata) -> Option<GenerationInfo> {
    let comment = object(metadata.text("Comment")?)?;
    if metadata.text("Software") != Some("NovelAI") && !(comment.contains_key("uc") && comment.contains_key("scale")) {
        return None;
    }
    let mut info = GenerationInfo::new(Generator::NovelAi);
    let base = &mut info.base;
    let described = metadata.text("Description").map(str::to_owned);
    base.prompt = described.or_else(|| text(comment.get("prompt"))).unwrap_or_default();
    base.negative_prompt = text(comment.get("uc")).unwrap_or_default();
    base.steps = whole(comment.get("steps"));
    base.sampler = filled(comment.get("sampler"));
    base.schedule = filled(comment.get("noise_schedule"));
    base.seed = whole(comment.get("seed"));
    base.guidance_scale = number(comment.get("scale"));
    base.strength = number(comment.get("strength"));
    base.width = whole(comment.get("width"));
    base.height = whole(comment.get("height"));
    if let Some(source) = metadata.text("Source") {
        let hash = source.rsplit_once(' ').filter(|(_, h)| h.len() == 8 && h.chars().all(|c| c.is_ascii_hexdigit()));
        base.model = Some(hash.map_or(source, |(name, _)| name).to_owned());
        base.model_hash = hash.map(|(_, hash)| hash.to_owned());
    }
    info.extra = others(&comment, &[&KNOWN[..], &["strength"]].concat());
    Some(info)
}
