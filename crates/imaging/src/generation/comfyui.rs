//! ComfyUI: a graph of nodes under `prompt` (what ran) and `workflow` (what the editor showed).
//!
//! From every sampler node the links are followed back: `positive` and `negative` to the text encoders, `model` through
//! adapters to the checkpoint, `latent_image` to the node that states a size. The graph is a stranger's: nothing is
//! recursive, no node is visited twice in one walk, so cycles end by themselves.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::value::{filled, number, object, plain, text, whole};
use super::{GenerationInfo, Generator, LoraUse, SamplingPass, workflow};
use crate::Metadata;
use crate::exif::ExifView;

/// A chain of links longer than this says nothing any more.
const LONGEST_CHAIN: usize = 16;
/// One walk looks at no more nodes than this.
const LONGEST_WALK: usize = 1024;
/// More passes than this are not told apart.
const MOST_PASSES: usize = 16;
/// Inputs under which encoders keep their text.
const TEXTS: [&str; 8] = ["text", "text_g", "text_l", "clip_g", "clip_l", "t5xxl", "prompt", "populated_text"];
/// Inputs that lead away from the words of a prompt.
const NO_WORDS: [&str; 12] = [
    "clip",
    "model",
    "vae",
    "control_net",
    "image",
    "pixels",
    "samples",
    "latent_image",
    "mask",
    "clip_vision_output",
    "style_model",
    "sampler",
];
/// Inputs under which constant nodes keep their value.
const CONSTANTS: [&str; 10] =
    ["value", "Value", "seed", "noise_seed", "int", "float", "number", "string", "text", "Text"];

pub(super) fn read(metadata: &Metadata) -> Option<GenerationInfo> {
    let named = |keyword: &str| metadata.text(keyword).map(str::to_owned).or_else(|| exif_text(metadata, keyword));
    let ran = named("prompt").as_deref().and_then(object).and_then(|graph| from_graph(&graph));
    ran.or_else(|| from_graph(&workflow::to_graph(&object(&named("workflow")?)?)?))
}

/// Reads a workflow file: the editor's form or the form that is sent to the program.
pub fn from_json(text: &str) -> Option<GenerationInfo> {
    let file = object(text)?;
    if file.contains_key("nodes") {
        return from_graph(&workflow::to_graph(&file)?);
    }
    from_graph(file.get("prompt").and_then(Value::as_object).unwrap_or(&file))
}

/// JPEG and WebP files carry the graphs in descriptive EXIF tags as `prompt:{…}`.
fn exif_text(metadata: &Metadata, keyword: &str) -> Option<String> {
    let texts = ExifView::parse(metadata.exif.as_deref()?)?.texts();
    texts.into_iter().find_map(|(_, text)| {
        let (name, graph) = text.split_once(':')?;
        name.eq_ignore_ascii_case(keyword).then(|| graph.to_owned())
    })
}

struct Node<'a> {
    class: &'a str,
    inputs: &'a Map<String, Value>,
}

struct Graph<'a>(BTreeMap<&'a str, Node<'a>>);

fn from_graph(nodes: &Map<String, Value>) -> Option<GenerationInfo> {
    let graph = Graph(
        nodes
            .iter()
            .filter_map(|(id, node)| {
                let class = node.get("class_type")?.as_str()?;
                Some((id.as_str(), Node { class, inputs: node.get("inputs")?.as_object()? }))
            })
            .collect(),
    );
    if graph.0.is_empty() {
        return None;
    }
    let mut info = GenerationInfo::new(Generator::ComfyUi);
    let mut passes = graph.samplers().into_iter().take(MOST_PASSES).map(|node| graph.pass(node));
    info.base = passes.next().unwrap_or_default();
    info.later_passes = passes.collect();
    for node in graph.0.values() {
        for key in ["vae_name", "control_net_name", "stop_at_clip_layer", "guidance"] {
            if let Some(value) = node.inputs.get(key).filter(|v| link(v).is_none()) {
                info.extra.push(key, plain(value));
            }
        }
    }
    Some(info)
}

/// `["12", 0]`: the node and which of its outputs.
fn link(value: &Value) -> Option<String> {
    match value.as_array()?.as_slice() {
        [Value::String(id), Value::Number(_)] => Some(id.clone()),
        [Value::Number(id), Value::Number(_)] => Some(id.to_string()),
        _ => None,
    }
}

impl<'a> Graph<'a> {
    fn follow(&self, value: Option<&Value>) -> Option<&Node<'a>> {
        self.0.get(link(value?)?.as_str())
    }

    /// The sampler nodes, each after those whose result it takes on: a depth-first walk from the ends of the graph.
    fn samplers(&self) -> Vec<&Node<'a>> {
        let used: BTreeSet<String> = self.0.values().flat_map(|node| node.inputs.values().filter_map(link)).collect();
        let ends = self.0.keys().filter(|id| !used.contains(**id));
        // A graph of nothing but cycles has no end: then every node is a start.
        let mut stack: Vec<(&str, bool)> = self.0.keys().rev().chain(ends).map(|id| (*id, false)).collect();
        let mut entered = BTreeSet::new();
        let mut found = Vec::new();
        while let Some((id, done)) = stack.pop() {
            let Some((&id, node)) = self.0.get_key_value(id) else { continue };
            if done {
                if is_sampler(node) {
                    found.push(node);
                }
                continue;
            }
            if !entered.insert(id) {
                continue;
            }
            stack.push((id, true));
            for linked in node.inputs.values().filter_map(link) {
                if let Some((&linked, _)) = self.0.get_key_value(linked.as_str()) {
                    stack.push((linked, false));
                }
            }
        }
        found
    }

    fn pass(&self, sampler: &Node<'a>) -> SamplingPass {
        let inputs = sampler.inputs;
        let guider = self.follow(inputs.get("guider"));
        let sigmas = self.follow(inputs.get("sigmas"));
        let either = |key: &str, other: Option<&Node<'a>>, other_key: &str| {
            self.scalar(inputs, key).or_else(|| self.scalar(other?.inputs, other_key))
        };
        let noise = self.follow(inputs.get("noise"));
        let method = self.follow(inputs.get("sampler"));
        let seed = either("seed", noise, "noise_seed").or_else(|| self.scalar(inputs, "noise_seed"));
        let schedule = filled(either("scheduler", sigmas, "scheduler").as_ref());
        let words = |key: &'static str| {
            let start = inputs.get(key).or_else(|| guider?.inputs.get(key));
            self.words(start.or_else(|| guider?.inputs.get("conditioning").filter(|_| key == "positive")), key)
        };
        let mut pass = SamplingPass {
            prompt: words("positive"),
            negative_prompt: words("negative"),
            sampler: filled(either("sampler_name", method, "sampler_name").as_ref()),
            schedule: schedule.or_else(|| sigmas.map(|node| node.class.to_owned())),
            steps: whole(either("steps", sigmas, "steps").as_ref()),
            guidance_scale: number(either("cfg", guider, "cfg").as_ref()),
            seed: whole(seed.as_ref()),
            strength: number(either("denoise", sigmas, "denoise").as_ref()),
            ..SamplingPass::default()
        };
        let model = [Some(sampler), guider, sigmas].into_iter().flatten().find_map(|node| node.inputs.get("model"));
        self.read_model(model, &mut pass);
        self.read_size(inputs.get("latent_image"), &mut pass);
        pass
    }

    /// An input's own value, or that of the constant it is linked to.
    fn scalar(&self, inputs: &Map<String, Value>, key: &str) -> Option<Value> {
        let mut value = inputs.get(key)?;
        for _ in 0..LONGEST_CHAIN {
            if link(value).is_none() {
                return Some(value.clone());
            }
            let inputs = self.follow(Some(value))?.inputs;
            value = inputs.get(key).or_else(|| CONSTANTS.iter().find_map(|constant| inputs.get(*constant)))?;
        }
        None
    }

    /// The texts that reach `start`, in the order of the walk, without repetition. `side` chooses where a node carries
    /// both conditionings.
    fn words(&self, start: Option<&Value>, side: &str) -> String {
        let mut found: Vec<String> = Vec::new();
        let mut stack: Vec<&Value> = start.into_iter().collect();
        let mut entered = BTreeSet::new();
        while let Some(value) = stack.pop() {
            if let Some(text) = value.as_str() {
                add_words(&mut found, text);
                continue;
            }
            let Some(id) = link(value) else { continue };
            let Some(node) = self.0.get(id.as_str()) else { continue };
            if entered.len() >= LONGEST_WALK {
                break;
            }
            if !entered.insert(id) || node.class.contains("ZeroOut") {
                continue;
            }
            if let (Some(_), Some(_), Some(chosen)) =
                (node.inputs.get("positive"), node.inputs.get("negative"), node.inputs.get(side))
            {
                stack.push(chosen);
                continue;
            }
            let texts: Vec<String> =
                TEXTS.iter().filter_map(|key| text(self.scalar(node.inputs, key).as_ref())).collect();
            if texts.is_empty() {
                let onward = node
                    .inputs
                    .iter()
                    .filter(|(key, value)| !NO_WORDS.contains(&key.as_str()) && link(value).is_some());
                stack.extend(onward.map(|(_, value)| value).rev());
            }
            texts.iter().for_each(|text| add_words(&mut found, text));
        }
        found.join(", ")
    }

    fn read_model(&self, start: Option<&Value>, pass: &mut SamplingPass) {
        let mut value = start;
        let mut entered = BTreeSet::new();
        while let Some(id) = value.and_then(link) {
            let Some(node) = self.0.get(id.as_str()) else { return };
            if !entered.insert(id) || entered.len() > LONGEST_WALK {
                return;
            }
            let named = ["ckpt_name", "unet_name", "model_name"];
            pass.model = named.iter().find_map(|key| filled(self.scalar(node.inputs, key).as_ref()));
            if pass.model.is_some() {
                return;
            }
            if let Some(name) = filled(self.scalar(node.inputs, "lora_name").as_ref()) {
                let weight = number(self.scalar(node.inputs, "strength_model").as_ref()).unwrap_or(1.0);
                pass.loras.push(LoraUse { name, weight });
            }
            value = ["model", "model1", "unet"].iter().find_map(|key| node.inputs.get(*key));
        }
    }

    fn read_size(&self, start: Option<&Value>, pass: &mut SamplingPass) {
        let mut value = start;
        let mut entered = BTreeSet::new();
        while let Some(id) = value.and_then(link) {
            let Some(node) = self.0.get(id.as_str()) else { return };
            if !entered.insert(id) || entered.len() > LONGEST_WALK {
                return;
            }
            let side = |key: &str| whole(self.scalar(node.inputs, key).as_ref());
            if let (Some(width), Some(height)) = (side("width"), side("height")) {
                pass.width = Some(width);
                pass.height = Some(height);
                return;
            }
            let onward = ["samples", "samples_to", "latent_image", "latent", "samples1"];
            value = onward.iter().find_map(|key| node.inputs.get(*key));
        }
    }
}

fn is_sampler(node: &Node<'_>) -> bool {
    let has = |key: &str| node.inputs.contains_key(key);
    has("latent_image") && (has("positive") || has("guider")) || has("steps") && has("positive") && has("seed")
}

fn add_words(found: &mut Vec<String>, text: &str) {
    let text = text.trim();
    if !text.is_empty() && !found.iter().any(|known| known == text) {
        found.push(text.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_and_dead_links_end() {
        let graph = r#"{"1": {"class_type": "KSampler", "inputs": {"latent_image": ["1", 0], "positive": ["2", 0],
            "negative": ["9", 0], "model": ["3", 0], "seed": ["4", 0], "steps": 3}},
            "2": {"class_type": "ConditioningCombine", "inputs": {"a": ["2", 0], "b": ["5", 0]}},
            "3": {"class_type": "LoraLoader", "inputs": {"model": ["3", 0], "lora_name": "fur", "strength_model": 0.5}},
            "4": {"class_type": "Seed", "inputs": {"seed": ["4", 0]}},
            "5": {"class_type": "CLIPTextEncode", "inputs": {"text": " a cat\n", "clip": ["3", 1]}}}"#;
        let info = from_json(graph).unwrap();
        assert_eq!((info.base.prompt.as_str(), info.base.seed, info.base.steps), ("a cat", None, Some(3)));
        assert_eq!(info.base.loras, [LoraUse { name: "fur".to_owned(), weight: 0.5 }]);
    }

    #[test]
    fn advanced_samplers_gather_their_parts() {
        let graph = r#"{"prompt": {
            "1": {"class_type": "SamplerCustomAdvanced", "inputs": {"noise": ["2", 0], "guider": ["3", 0],
                "sampler": ["4", 0], "sigmas": ["5", 0], "latent_image": ["6", 0]}},
            "2": {"class_type": "RandomNoise", "inputs": {"noise_seed": 9}},
            "3": {"class_type": "BasicGuider", "inputs": {"model": ["7", 0], "conditioning": ["8", 0]}},
            "4": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
            "5": {"class_type": "BasicScheduler", "inputs": {"scheduler": "simple", "steps": 4, "denoise": 1.0}},
            "6": {"class_type": "EmptySD3LatentImage", "inputs": {"width": 1024, "height": 768, "batch_size": 1}},
            "7": {"class_type": "UNETLoader", "inputs": {"unet_name": "flux1.safetensors"}},
            "8": {"class_type": "FluxGuidance", "inputs": {"guidance": 3.5, "conditioning": ["10", 0]}},
            "10": {"class_type": "CLIPTextEncode", "inputs": {"text": ["11", 0], "clip": ["12", 0]}},
            "11": {"class_type": "PrimitiveString", "inputs": {"value": "a fox"}}}}"#;
        let info = from_json(graph).unwrap();
        let base = &info.base;
        assert_eq!((base.prompt.as_str(), base.negative_prompt.as_str(), base.seed), ("a fox", "", Some(9)));
        assert_eq!((base.sampler.as_deref(), base.schedule.as_deref()), (Some("euler"), Some("simple")));
        assert_eq!((base.steps, base.width, base.model.as_deref()), (Some(4), Some(1024), Some("flux1.safetensors")));
        assert_eq!(info.extra.get("guidance"), Some("3.5"));
    }
}
