//! Real files of every generator, against what sd-parsers reads from them (`reference/gen_generation_info.py`).

use std::collections::BTreeSet;

use danqing_imaging::generation::SamplingPass;
use danqing_imaging::{DecodeLimits, GenerationInfo, Generator, open};
use serde_json::Value;

fn expected() -> Value {
    let path = danqing_testing::fixture_path("reference/generation-info/sd-parsers.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect()
}

/// The parts that sd-parsers lists must be the whole of what was read, in any order.
fn same_words(read: &str, parts: &Value) -> bool {
    let parts = texts(parts);
    let joined: usize = parts.iter().map(|p| p.chars().count()).sum::<usize>() + 2 * parts.len().saturating_sub(1);
    parts.iter().all(|part| read.contains(part)) && read.chars().count() == joined
}

fn matches(pass: &SamplingPass, wanted: &Value) -> Result<(), String> {
    let same_text = |read: &Option<String>, key: &str| wanted[key].is_null() || read.as_deref() == wanted[key].as_str();
    let same_number = |read: Option<f64>, key: &str| wanted[key].is_null() || read == wanted[key].as_f64();
    let checks = [
        ("prompt", same_words(&pass.prompt, &wanted["prompts"])),
        ("negative prompt", same_words(&pass.negative_prompt, &wanted["negative_prompts"])),
        ("steps", wanted["steps"].is_null() || pass.steps == wanted["steps"].as_u64()),
        // It does not know `noise_seed`.
        ("seed", wanted["seed"].is_null() || pass.seed == wanted["seed"].as_u64()),
        ("guidance", same_number(pass.guidance_scale, "guidance_scale")),
        ("strength", same_number(pass.strength, "strength")),
        ("model", same_text(&pass.model, "model")),
        ("model hash", same_text(&pass.model_hash, "model_hash")),
        ("schedule", same_text(&pass.schedule, "schedule")),
        ("sampler", {
            // What sd-parsers leaves in one name is two here.
            let both = [pass.sampler.clone(), pass.schedule.clone()].map(Option::unwrap_or_default).join(" ");
            same_text(&pass.sampler, "sampler") || Some(both.as_str()) == wanted["sampler"].as_str()
        }),
    ];
    match checks.iter().find(|(_, ok)| !ok) {
        Some((what, _)) => Err(format!("{what}:\nread {pass:#?}\nsd-parsers {wanted:#}")),
        None => Ok(()),
    }
}

#[test]
fn every_sample_is_read_as_sd_parsers_reads_it() {
    let Some(assets) = danqing_testing::assets() else { return };
    let folder = assets.join("images/metadata");
    let expected = expected();
    let mut generators = BTreeSet::new();
    for (name, wanted) in expected["files"].as_object().unwrap() {
        let picture = open(&folder.join(name), &DecodeLimits::default()).unwrap();
        let info = GenerationInfo::read_picture(&picture, &DecodeLimits::default());
        let info = info.unwrap_or_else(|| panic!("{name}: nothing was read"));
        generators.insert(info.generator.name());
        let generator = match info.generator {
            Generator::A1111 | Generator::StableDiffusionCpp => "AUTOMATIC1111",
            Generator::ComfyUi => "COMFYUI",
            Generator::InvokeAi => "INVOKEAI",
            Generator::NovelAi => "NOVELAI",
            Generator::Fooocus => "FOOOCUS",
            other => other.name(),
        };
        assert_eq!(wanted["generator"], generator, "{name}");
        let mut passes = vec![&info.base];
        passes.extend(&info.later_passes);
        let samplers = wanted["samplers"].as_array().unwrap();
        // Samplers out of parts are listed by sd-parsers without their parts.
        if samplers.is_empty() {
            continue;
        }
        assert_eq!(passes.len(), samplers.len(), "{name}: {passes:#?}");
        for wanted in samplers {
            let tries: Vec<_> = passes.iter().map(|pass| matches(pass, wanted)).collect();
            assert!(tries.iter().any(Result::is_ok), "{name}: {tries:#?}");
        }
    }
    assert_eq!(generators.len(), 6, "{generators:?}");
}

#[test]
fn what_sd_parsers_leaves_out_is_read_too() {
    let Some(assets) = danqing_testing::assets() else { return };
    let read = |name: &str| {
        let picture = open(&assets.join("images/metadata").join(name), &DecodeLimits::default()).unwrap();
        GenerationInfo::read_picture(&picture, &DecodeLimits::default()).unwrap()
    };
    let turbo = read("comfy_sdxlturbo_example.png").base;
    assert!(turbo.prompt.starts_with("beautiful landscape") && turbo.negative_prompt == "text, watermark");
    assert_eq!((turbo.steps, turbo.seed, turbo.guidance_scale), (Some(1), Some(0), Some(1.0)));
    assert_eq!((turbo.sampler.as_deref(), turbo.width), (Some("euler_ancestral"), Some(512)));
    assert_eq!(turbo.model.as_deref(), Some("sd_xl_turbo_1.0_fp16.safetensors"));
    let lora = read("comfy_lora.png").base;
    assert_eq!(lora.model.as_deref(), Some("v1-5-pruned-emaonly.ckpt"));
    assert_eq!((lora.loras[0].name.as_str(), lora.loras[0].weight), ("epiNoiseoffset_v2.safetensors", 1.0));
    let chinese = read("sdcpp_wan_Wan2.2_14B_t2i.png").base;
    assert!(chinese.negative_prompt.starts_with("色调艳丽"), "{}", chinese.negative_prompt);
    assert_eq!((chinese.width, chinese.height), (Some(832), Some(480)));
    let (fooocus, invoke) =
        (read("sd-parsers/Fooocus_fooocus1_cropped.png"), read("sd-parsers/InvokeAI_invokeai_imeta1.png"));
    assert_eq!((fooocus.base.steps, invoke.base.width), (Some(30), Some(1024)));
    assert!(fooocus.base.width.is_some() && fooocus.extra.get("sharpness") == Some("2"));
    let again: Value = serde_json::to_value(&invoke).unwrap();
    assert_eq!((&again["generator"], &again["seed"]), (&"invoke_ai".into(), &3_293_022_630_u64.into()));
    assert_eq!(again["extra"]["rand_device"], "cpu");
}

#[test]
fn workflows_of_the_editor_are_read() {
    let Some(assets) = danqing_testing::assets() else { return };
    for (name, prompt, steps) in [
        ("comfy_text_to_video_wan.json", "a fox moving quickly", 30),
        ("comfy_hunyuan_video_text_to_video.json", "anime style anime girl", 20),
    ] {
        let text = std::fs::read_to_string(assets.join("images/metadata").join(name)).unwrap();
        let info = danqing_imaging::generation::comfyui_from_json(&text).unwrap();
        assert!(info.base.prompt.starts_with(prompt), "{name}: {:?}", info.base.prompt);
        assert_eq!(info.base.steps, Some(steps), "{name}");
    }
}
