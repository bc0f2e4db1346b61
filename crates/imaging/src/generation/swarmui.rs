//! SwarmUI: JSON with `sui_image_params` under `parameters`.

use super::value::{filled, number, object, others, text, whole};
use super::{GenerationInfo, Generator};
use crate::Metadata;

const KNOWN: [&str; 11] = [
    "prompt",
    "negativeprompt",
    "model",
    "seed",
    "steps",
    "cfgscale",
    "width",
    "height",
    "sampler",
    "scheduler",
    "initimagecreativity",
];

pub(super) fn read(metadata: &Metadata) -> Option<GenerationInfo> {
    let whole_text = object(&metadata.infotext()?)?;
    let params = whole_text.get("sui_image_params")?.as_object()?;
    let mut info = GenerationInfo::new(Generator::SwarmUi);
    let base = &mut info.base;
    base.prompt = text(params.get("prompt")).unwrap_or_default();
    base.negative_prompt = text(params.get("negativeprompt")).unwrap_or_default();
    base.model = filled(params.get("model"));
    base.seed = whole(params.get("seed"));
    base.steps = whole(params.get("steps"));
    base.guidance_scale = number(params.get("cfgscale"));
    base.width = whole(params.get("width"));
    base.height = whole(params.get("height"));
    base.sampler = filled(params.get("sampler"));
    base.schedule = filled(params.get("scheduler"));
    base.strength = number(params.get("initimagecreativity"));
    info.extra = others(params, &KNOWN);
    Some(info)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_json_is_read() {
        let mut metadata = Metadata::default();
        metadata.set_infotext(
            r#"{"sui_image_params": {"prompt": "a cat", "negativeprompt": "dog", "model": "m", "seed": 7, "steps": 20,
            "cfgscale": 7.5, "width": 512, "height": 768, "sampler": "euler", "scheduler": "karras", "swarm_version": "0.9"}}"#,
        );
        let info = GenerationInfo::read(&metadata).unwrap();
        assert_eq!(info.generator, Generator::SwarmUi);
        assert_eq!((info.base.seed, info.base.guidance_scale, info.base.height), (Some(7), Some(7.5), Some(768)));
        assert_eq!(info.extra.get("swarm_version"), Some("0.9"));
    }
}
