//! The embedded starter model: weights, configurations and vocabulary inside the program, so that the first picture needs
//! no download. `starter/MODEL_CARD.md` says what it was trained on and what it can do.

use std::collections::BTreeMap;

use danqing_checkpoints::Weights;
use danqing_models::families::stable_diffusion::{Component, LoadOptions, ModelParts, StableDiffusion};
use danqing_models::tokenizers::{ClipTokenizer, SpecialTokens};
use danqing_tensor::DType;
use serde_json::Value;

use crate::TaskError;

macro_rules! text {
    ($path:literal) => {
        include_str!(concat!("../../../starter/", $path))
    };
}

macro_rules! bytes {
    ($path:literal) => {
        include_bytes!(concat!("../../../starter/", $path)).as_slice()
    };
}

/// A component's folder, configuration and weights.
type Embedded = (&'static str, &'static str, Option<&'static [u8]>);

static COMPONENTS: &[Embedded] = &[
    ("unet", text!("unet/config.json"), Some(bytes!("unet/diffusion_pytorch_model.safetensors"))),
    ("vae", text!("vae/config.json"), Some(bytes!("vae/diffusion_pytorch_model.safetensors"))),
    ("text_encoder", text!("text_encoder/config.json"), Some(bytes!("text_encoder/model.safetensors"))),
    ("scheduler", text!("scheduler/scheduler_config.json"), None),
];

/// Picture side that pictures of the starter are enlarged to.
pub const OUTPUT_SIDE: u32 = 512;

/// The embedded starter with weights and activations in `dtype`.
///
/// # Errors
/// Only when the program was built from damaged files.
pub fn starter(dtype: DType) -> Result<StableDiffusion, TaskError> {
    let json = |text: &str| -> Result<Value, TaskError> {
        serde_json::from_str(text).map_err(|e| TaskError::Checkpoint(format!("the embedded starter: {e}")))
    };
    let mut components = BTreeMap::new();
    for (name, config, weights) in COMPONENTS {
        let weights = weights.map(|bytes| Weights::from_static(&format!("starter/{name}"), bytes)).transpose()?;
        components.insert((*name).to_string(), Component { config: json(config)?, weights });
    }
    let tokenizer = ClipTokenizer::from_bytes(
        bytes!("tokenizer/vocab.json"),
        bytes!("tokenizer/merges.txt"),
        &SpecialTokens::default(),
        &[],
    )
    .map_err(|e| TaskError::Checkpoint(format!("the embedded starter: {e}")))?;
    let parts = ModelParts::Folder {
        name: "starter".into(),
        index: json(text!("model_index.json"))?,
        components,
        tokenizers: BTreeMap::from([("tokenizer".to_string(), tokenizer)]),
        autoencoder: None,
    };
    Ok(StableDiffusion::load(&parts, LoadOptions { dtype, ..Default::default() })?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Quiet;
    use crate::request::DrawRequest;
    use crate::tasks::draw::{DrawTools, draw};

    #[test]
    fn it_loads_and_draws_the_same_picture_again() {
        let model = starter(DType::F32).unwrap();
        let request = DrawRequest { prompt: "a red apple".into(), steps: Some(2), seed: 1, ..Default::default() };
        let draw = || draw(&model, &request, &DrawTools::default(), &Quiet).unwrap().remove(0).picture;
        let picture = draw();
        assert_eq!((picture.width() as usize, picture.height() as usize), (model.native_size, model.native_size));
        assert_eq!(picture.pixels(), draw().pixels());
    }
}
