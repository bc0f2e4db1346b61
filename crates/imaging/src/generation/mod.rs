//! How a picture was generated, read from what the common programs write into their files.
//!
//! One reader a program; [`READERS`] is asked in order and the first that recognises its own answers. Everything read
//! here is a stranger's text: JSON nests at most as deep as `serde_json` allows (128), graphs are walked without
//! recursion and each node once.

mod a1111;
mod comfyui;
mod fooocus;
mod invokeai;
mod novelai;
mod stealth;
mod swarmui;
mod value;
mod workflow;

use serde::ser::{Serialize, SerializeMap, Serializer};

pub use comfyui::from_json as comfyui_from_json;
pub use stealth::hidden_text;

use crate::{DecodeLimits, Metadata, Picture};

/// The program that wrote the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Generator {
    /// This program.
    Danqing,
    /// AUTOMATIC1111's web UI or one that writes as it does.
    A1111,
    /// ComfyUI.
    ComfyUi,
    /// InvokeAI.
    InvokeAi,
    /// NovelAI.
    NovelAi,
    /// Fooocus.
    Fooocus,
    /// SwarmUI.
    SwarmUi,
    /// stable-diffusion.cpp.
    StableDiffusionCpp,
}

impl Generator {
    /// The program's own spelling.
    pub fn name(self) -> &'static str {
        match self {
            Self::Danqing => "danqing",
            Self::A1111 => "AUTOMATIC1111 web UI",
            Self::ComfyUi => "ComfyUI",
            Self::InvokeAi => "InvokeAI",
            Self::NovelAi => "NovelAI",
            Self::Fooocus => "Fooocus",
            Self::SwarmUi => "SwarmUI",
            Self::StableDiffusionCpp => "stable-diffusion.cpp",
        }
    }
}

/// A low-rank adapter that was applied.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct LoraUse {
    /// Its name or file name.
    pub name: String,
    /// Its weight.
    pub weight: f64,
}

/// One run of a sampler.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct SamplingPass {
    /// Prompt.
    pub prompt: String,
    /// Negative prompt.
    pub negative_prompt: String,
    /// The sampler in the program's own word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sampler: Option<String>,
    /// The sigma schedule in the program's own word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<String>,
    /// Steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Classifier-free guidance scale.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guidance_scale: Option<f64>,
    /// Seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// How much of a given picture was repainted, 0…1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strength: Option<f64>,
    /// Width in pixels that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u64>,
    /// Height in pixels that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u64>,
    /// Name or file name of the checkpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Hash of the checkpoint, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_hash: Option<String>,
    /// Adapters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub loras: Vec<LoraUse>,
}

/// How a picture was generated.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct GenerationInfo {
    /// Who wrote it.
    pub generator: Generator,
    /// The pass that began the picture.
    #[serde(flatten)]
    pub base: SamplingPass,
    /// Passes that went on from it (hires second pass, refiner), in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub later_passes: Vec<SamplingPass>,
    /// Everything else that was written, in order.
    #[serde(skip_serializing_if = "Extra::is_empty")]
    pub extra: Extra,
}

/// Named values in order; serialised as an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extra(pub Vec<(String, String)>);

impl Extra {
    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The first value of this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    fn push(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.push((name.into(), value.into()));
    }
}

impl Serialize for Extra {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

type Reader = fn(&Metadata) -> Option<GenerationInfo>;

/// The readers in the order in which they are asked: those that recognise their own by a sure sign come first.
const READERS: [Reader; 6] = [swarmui::read, fooocus::read, a1111::read, invokeai::read, novelai::read, comfyui::read];

impl GenerationInfo {
    /// Reads the parameters that a file states; `None` when it states none.
    pub fn read(metadata: &Metadata) -> Option<Self> {
        READERS.iter().find_map(|read| read(metadata))
    }

    /// Reads the parameters that a picture states or, failing that, hides in the lowest bits of its pixels.
    pub fn read_picture(picture: &Picture, limits: &DecodeLimits) -> Option<Self> {
        Self::read(&picture.metadata)
            .or_else(|| Self::read(&stealth::hidden_metadata(picture, limits.max_metadata_bytes)?))
    }

    fn new(generator: Generator) -> Self {
        Self { generator, base: SamplingPass::default(), later_passes: Vec::new(), extra: Extra::default() }
    }
}
