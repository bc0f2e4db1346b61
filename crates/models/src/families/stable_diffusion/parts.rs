//! What a model is put together from: weights and configurations already opened, never paths.

use std::collections::BTreeMap;

use danqing_checkpoints::Weights;
use serde_json::Value;

use crate::tokenizers::ClipTokenizer;

/// One component of a diffusers folder.
#[derive(Debug, Clone)]
pub struct Component {
    /// Its `config.json` (or `scheduler_config.json`).
    pub config: Value,
    /// Its weights, where it has any.
    pub weights: Option<Weights>,
}

/// The parts of a model.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one is made for each model that is loaded")]
pub enum ModelParts {
    /// A diffusers folder: components by folder name (`unet`, `vae`, `text_encoder`, `scheduler`, …).
    Folder {
        /// The folder's name.
        name: String,
        /// `model_index.json`.
        index: Value,
        /// Components by folder name.
        components: BTreeMap<String, Component>,
        /// Tokenizers by folder name.
        tokenizers: BTreeMap<String, ClipTokenizer>,
        /// An autoencoder to use instead of the folder's own; its configuration is null if it is a lone file.
        autoencoder: Option<Component>,
    },
    /// A single file in the LDM layout.
    Single {
        /// The file's name without its extension.
        name: String,
        /// The file.
        weights: Weights,
        /// Text of a yaml file of the same name beside it.
        sidecar: Option<String>,
        /// The CLIP tokenizers that single files do not carry: for CLIP-L, for OpenCLIP.
        tokenizers: [ClipTokenizer; 2],
        /// An autoencoder to use instead of the file's own; its configuration is null if it is a lone file.
        autoencoder: Option<Component>,
    },
}
