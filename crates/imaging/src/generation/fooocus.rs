//! Fooocus: JSON under `parameters`, marked by `fooocus_scheme` (PNG) or by its own keys (JPEG, WebP). Its second
//! scheme is A1111's text and is read there.

use serde_json::{Map, Value};

use super::value::{filled, number, object, others, plain, text, whole};
use super::{GenerationInfo, Generator, LoraUse};
use crate::Metadata;

const KNOWN: [&str; 11] = [
    "prompt",
    "negative_prompt",
    "base_model",
    "base_model_hash",
    "seed",
    "steps",
    "guidance_scale",
    "sampler",
    "scheduler",
    "resolution",
    "loras",
];

pub(super) fn read(metadata: &Metadata) -> Option<GenerationInfo> {
    let params = object(&metadata.infotext()?)?;
    let marked = metadata.text("fooocus_scheme") == Some("fooocus");
    let its_keys = params.contains_key("base_model") && params.contains_key("guidance_scale");
    if !marked && !its_keys {
        return None;
    }
    let mut info = GenerationInfo::new(Generator::Fooocus);
    let base = &mut info.base;
    base.prompt = text(params.get("prompt")).unwrap_or_default();
    base.negative_prompt = text(params.get("negative_prompt")).unwrap_or_default();
    base.model = filled(params.get("base_model"));
    base.model_hash = filled(params.get("base_model_hash"));
    base.seed = whole(params.get("seed"));
    base.steps = whole(params.get("steps"));
    base.guidance_scale = number(params.get("guidance_scale"));
    base.sampler = filled(params.get("sampler"));
    base.schedule = filled(params.get("scheduler"));
    if let Some((width, height)) = params.get("resolution").and_then(resolution) {
        base.width = Some(width);
        base.height = Some(height);
    }
    base.loras = loras(&params);
    info.extra = others(&params, &KNOWN);
    Some(info)
}

/// `"(1024, 1024)"` or `[1024, 1024]`.
fn resolution(value: &Value) -> Option<(u64, u64)> {
    let text = plain(value);
    let mut sides = text.split(|c: char| !c.is_ascii_digit()).filter(|s| !s.is_empty()).map(str::parse);
    Some((sides.next()?.ok()?, sides.next()?.ok()?))
}

/// `[[name, weight, hash], …]`, or `lora_combined_1: "name : weight"` in older files.
fn loras(params: &Map<String, Value>) -> Vec<LoraUse> {
    let listed = params.get("loras").and_then(Value::as_array).into_iter().flatten();
    let pairs = listed.filter_map(|lora| Some((text(lora.get(0))?, number(lora.get(1))?)));
    let combined = params
        .iter()
        .filter(|(key, _)| key.starts_with("lora_combined_"))
        .filter_map(|(_, value)| value.as_str()?.rsplit_once(" : "))
        .filter_map(|(name, weight)| Some((name.to_owned(), weight.trim().parse().ok()?)));
    pairs.chain(combined).map(|(name, weight)| LoraUse { name, weight }).collect()
}
