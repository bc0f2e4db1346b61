//! ComfyUI's editor form of a workflow, brought into the form that is run.
//!
//! The editor keeps the values of a node as a bare list. Newer files name them (inputs with a `widget`); for older ones
//! the order of the common nodes stands here.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The names of the values of common nodes, in the editor's order; an empty name is a value that only the editor uses.
const WIDGETS: [(&str, &[&str]); 19] = [
    ("KSampler", &["seed", "", "steps", "cfg", "sampler_name", "scheduler", "denoise"]),
    ("KSamplerAdvanced", &["add_noise", "noise_seed", "", "steps", "cfg", "sampler_name", "scheduler"]),
    ("SamplerCustom", &["add_noise", "noise_seed", "", "cfg"]),
    ("KSamplerSelect", &["sampler_name"]),
    ("BasicScheduler", &["scheduler", "steps", "denoise"]),
    ("RandomNoise", &["noise_seed"]),
    ("CFGGuider", &["cfg"]),
    ("CLIPTextEncode", &["text"]),
    ("CheckpointLoaderSimple", &["ckpt_name"]),
    ("CheckpointLoader", &["config_name", "ckpt_name"]),
    ("UNETLoader", &["unet_name"]),
    ("VAELoader", &["vae_name"]),
    ("LoraLoader", &["lora_name", "strength_model", "strength_clip"]),
    ("LoraLoaderModelOnly", &["lora_name", "strength_model"]),
    ("EmptyLatentImage", &["width", "height", "batch_size"]),
    ("EmptySD3LatentImage", &["width", "height", "batch_size"]),
    ("EmptyHunyuanLatentVideo", &["width", "height", "length", "batch_size"]),
    ("LatentUpscale", &["upscale_method", "width", "height", "crop"]),
    ("FluxGuidance", &["guidance"]),
];

/// Nodes by id with class and inputs; `None` when `file` has no list of nodes. Switched-off nodes are left out.
pub(super) fn to_graph(file: &Map<String, Value>) -> Option<Map<String, Value>> {
    // A link is [its id, from node, from output, to node, to input, kind].
    let links: BTreeMap<u64, (&Value, &Value)> = file
        .get("links")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|link| Some((link.get(0)?.as_u64()?, (link.get(1)?, link.get(2)?))))
        .collect();
    let mut graph = Map::new();
    for node in file.get("nodes")?.as_array()? {
        // Mode 2 is muted, 4 bypassed.
        let off = matches!(node.get("mode").and_then(Value::as_u64), Some(2 | 4));
        let (Some(id), Some(class), false) = (node.get("id"), node.get("type").and_then(Value::as_str), off) else {
            continue;
        };
        let mut inputs = values(node, class);
        for input in node.get("inputs").and_then(Value::as_array).into_iter().flatten() {
            let linked = input.get("link").and_then(Value::as_u64).and_then(|id| links.get(&id));
            if let (Some(name), Some((from, output))) = (input.get("name").and_then(Value::as_str), linked) {
                inputs.insert(name.to_owned(), json!([id_text(from), output]));
            }
        }
        graph.insert(id_text(id), json!({"class_type": class, "inputs": inputs}));
    }
    Some(graph)
}

fn id_text(id: &Value) -> String {
    id.as_str().map_or_else(|| id.to_string(), str::to_owned)
}

fn values(node: &Value, class: &str) -> Map<String, Value> {
    if let Some(named) = node.get("widgets_values").and_then(Value::as_object) {
        return named.clone();
    }
    let values = node.get("widgets_values").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    if let Some((_, names)) = WIDGETS.iter().find(|(known, _)| *known == class) {
        let pairs = names.iter().zip(values).filter(|(name, _)| !name.is_empty());
        return pairs.map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    }
    let named = node.get("inputs").and_then(Value::as_array).into_iter().flatten();
    let names = named.filter_map(|input| input.get("widget")?.get("name")?.as_str());
    names.zip(values).map(|(name, value)| (name.to_owned(), value.clone())).collect()
}
