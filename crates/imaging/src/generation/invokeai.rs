//! InvokeAI: `invokeai_metadata` (3.x and later), `sd-metadata` (2.x), `Dream` (1.x: a command line).

use serde_json::{Map, Value};

use super::value::{filled, number, object, others, text, whole};
use super::{GenerationInfo, Generator, LoraUse, SamplingPass};
use crate::Metadata;

pub(super) fn read(metadata: &Metadata) -> Option<GenerationInfo> {
    let named = |keyword: &str| metadata.text(keyword).and_then(object);
    if let Some(params) = named("invokeai_metadata") {
        return Some(from_metadata(&params));
    }
    if let Some(params) = named("sd-metadata") {
        return from_sd_metadata(&params);
    }
    metadata.text("Dream").or_else(|| metadata.text("dream")).map(from_dream)
}

fn from_metadata(params: &Map<String, Value>) -> GenerationInfo {
    const KNOWN: [&str; 11] = [
        "positive_prompt",
        "negative_prompt",
        "steps",
        "scheduler",
        "seed",
        "cfg_scale",
        "width",
        "height",
        "model",
        "loras",
        "strength",
    ];
    let mut info = GenerationInfo::new(Generator::InvokeAi);
    let base = &mut info.base;
    base.prompt = text(params.get("positive_prompt")).unwrap_or_default();
    base.negative_prompt = text(params.get("negative_prompt")).unwrap_or_default();
    base.steps = whole(params.get("steps"));
    base.sampler = filled(params.get("scheduler"));
    base.seed = whole(params.get("seed"));
    base.guidance_scale = number(params.get("cfg_scale"));
    base.strength = number(params.get("strength"));
    base.width = whole(params.get("width"));
    base.height = whole(params.get("height"));
    if let Some(model) = params.get("model") {
        base.model = model_name(model);
        base.model_hash = filled(model.get("hash"));
    }
    let loras = params.get("loras").and_then(Value::as_array).into_iter().flatten();
    base.loras = loras
        .filter_map(|lora| {
            let name = model_name(lora.get("model").or_else(|| lora.get("lora"))?)?;
            Some(LoraUse { name, weight: number(lora.get("weight"))? })
        })
        .collect();
    info.extra = others(params, &KNOWN);
    info
}

/// A name by itself or inside a record, under the name of either generation of the program.
fn model_name(model: &Value) -> Option<String> {
    filled(Some(model)).or_else(|| filled(model.get("name"))).or_else(|| filled(model.get("model_name")))
}

fn from_sd_metadata(params: &Map<String, Value>) -> Option<GenerationInfo> {
    const KNOWN: [&str; 8] = ["prompt", "steps", "cfg_scale", "seed", "sampler", "width", "height", "strength"];
    let image = params.get("image")?.as_object()?;
    let mut info = GenerationInfo::new(Generator::InvokeAi);
    let base = &mut info.base;
    let prompt = match image.get("prompt") {
        Some(Value::Array(parts)) => {
            let parts: Vec<String> = parts.iter().filter_map(|p| text(p.get("prompt"))).collect();
            parts.join(", ")
        }
        other => text(other).unwrap_or_default(),
    };
    split_prompt(&prompt, base);
    base.steps = whole(image.get("steps"));
    base.guidance_scale = number(image.get("cfg_scale"));
    base.seed = whole(image.get("seed"));
    base.sampler = filled(image.get("sampler"));
    base.width = whole(image.get("width"));
    base.height = whole(image.get("height"));
    base.strength = number(image.get("strength"));
    base.model = filled(params.get("model_weights")).or_else(|| filled(params.get("model")));
    base.model_hash = filled(params.get("model_hash"));
    info.extra = others(image, &KNOWN);
    for key in ["app_id", "app_version"] {
        if let Some(value) = filled(params.get(key)) {
            info.extra.push(key, value);
        }
    }
    Some(info)
}

/// `"prompt [negative]" -s 50 -S 1 -W 512 -H 768 -C 5 -A k_lms`.
fn from_dream(line: &str) -> GenerationInfo {
    let mut info = GenerationInfo::new(Generator::InvokeAi);
    let line = line.trim();
    let (prompt, options) = match line.strip_prefix('"').and_then(|rest| rest.rsplit_once('"')) {
        Some(split) => split,
        None => line.find(" -").map_or((line, ""), |at| line.split_at(at)),
    };
    split_prompt(prompt, &mut info.base);
    let mut words = options.split_whitespace().peekable();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix('-') else { continue };
        // A flag owns every following word that is no flag; a negative number is none.
        let mut values = Vec::new();
        while let Some(value) = words.next_if(|w| !w.starts_with('-') || w.parse::<f64>().is_ok()) {
            values.push(value);
        }
        let value = values.join(" ");
        let base = &mut info.base;
        match flag {
            "s" => base.steps = value.parse().ok(),
            "S" => base.seed = value.parse().ok(),
            "W" => base.width = value.parse().ok(),
            "H" => base.height = value.parse().ok(),
            "C" => base.guidance_scale = value.parse().ok().filter(|n: &f64| n.is_finite()),
            "f" => base.strength = value.parse().ok().filter(|n: &f64| n.is_finite()),
            "A" => base.sampler = Some(value),
            other => info.extra.push(other, value),
        }
    }
    info
}

/// Words in square brackets are the negative prompt.
fn split_prompt(prompt: &str, pass: &mut SamplingPass) {
    let mut positive = String::new();
    let mut negative: Vec<&str> = Vec::new();
    let mut rest = prompt;
    while let Some((before, inside, after)) = rest
        .split_once('[')
        .and_then(|(before, tail)| tail.split_once(']').map(|(inside, after)| (before, inside, after)))
    {
        positive.push_str(before);
        negative.push(inside.trim());
        rest = after;
    }
    positive.push_str(rest);
    pass.prompt = positive.trim().to_owned();
    pass.negative_prompt = negative.join(", ");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dream_lines_are_read_with_and_without_quotes() {
        let info =
            from_dream("\"a cat [dog] in a [x] \"hat\" \" -s 50 -S 7 -W 512 -H 768 -C 5 -A k_lms -U 4 0.95 -t -1");
        assert_eq!(info.base.prompt, "a cat  in a  \"hat\"");
        assert_eq!(info.base.negative_prompt, "dog, x");
        assert_eq!((info.base.steps, info.base.seed, info.base.width), (Some(50), Some(7), Some(512)));
        assert_eq!(info.extra.0, [("U".to_owned(), "4 0.95".to_owned()), ("t".to_owned(), "-1".to_owned())]);
        let bare = from_dream("a cat -s 3");
        assert_eq!((bare.base.prompt.as_str(), bare.base.steps), ("a cat", Some(3)));
    }
}
