//! Which file of a folder holds its weights, by the names that diffusers and transformers give.

use std::path::{Path, PathBuf};

use crate::WeightsError;

/// File names without suffix, in order of preference.
const STEMS: [&str; 2] = ["diffusion_pytorch_model", "model"];

/// The weight file of a model folder: `variant` such as `fp16` picks `model.fp16.safetensors`; without it the full-precision
/// file is preferred and a variant taken where there is nothing else.
///
/// # Errors
/// When the folder holds no weight file; the message lists the names looked for.
pub(crate) fn find(folder: &Path, variant: Option<&str>) -> Result<PathBuf, WeightsError> {
    let names = candidates(variant);
    let found = names.iter().map(|name| folder.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| WeightsError::NotReadable {
        file: folder.display().to_string(),
        problem: format!("this folder holds no weight file (looked for {})", names.join(", ")),
        mend: "Name the weight file itself, or the folder of one component (unet, vae, text_encoder)",
    })
}

fn candidates(variant: Option<&str>) -> Vec<String> {
    let variants: Vec<String> = match variant {
        Some(variant) => vec![format!(".{variant}")],
        None => vec![String::new(), ".fp16".to_owned()],
    };
    let mut names = Vec::new();
    for variant in &variants {
        for stem in STEMS {
            names.push(format!("{stem}.safetensors.index{variant}.json"));
            names.push(format!("{stem}{variant}.safetensors.index.json"));
            names.push(format!("{stem}{variant}.safetensors"));
        }
    }
    for variant in &variants {
        for stem in ["diffusion_pytorch_model", "pytorch_model"] {
            names.push(format!("{stem}.bin.index{variant}.json"));
            names.push(format!("{stem}{variant}.bin"));
        }
    }
    names.dedup();
    names
}
