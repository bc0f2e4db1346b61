//! Prompts to what the U-Net is told: tokens, chunks, encodings, emphasis, one row for each different prompt.

use danqing_models::families::stable_diffusion::StableDiffusion;
use danqing_tensor::{DType, Tensor};

use crate::TaskError;
use crate::prompts::{Chunk, Emphasis, WeightedPrompt, equalize};

/// How prompts become encodings.
#[derive(Debug, Clone, Copy)]
pub struct EncodeOptions {
    /// Layers left out at the end; `None` is the family's own way.
    pub clip_skip: Option<usize>,
    /// What weights do.
    pub emphasis: Emphasis,
}

/// The encodings of several prompts, of equal length so that they fit one batch.
#[derive(Debug, Clone)]
pub struct EncodedPrompts {
    /// `[1, tokens, width]` of each prompt, f32.
    pub contexts: Vec<Tensor>,
    /// `[1, width]` pooled output of each prompt, f32, for networks that ask for it.
    pub pooled: Vec<Tensor>,
}

/// Encodes `prompts` for `model`.
///
/// # Errors
/// A clip skip that the encoder does not have.
pub fn encode(
    model: &StableDiffusion,
    prompts: &[&WeightedPrompt],
    options: EncodeOptions,
) -> Result<EncodedPrompts, TaskError> {
    let mut contexts: Vec<Vec<Tensor>> = vec![Vec::new(); prompts.len()];
    let mut pooled: Vec<Option<Tensor>> = vec![None; prompts.len()];
    let mut all: Vec<Vec<Vec<Chunk>>> = Vec::with_capacity(model.text.len());
    for branch in &model.text {
        let length = branch.encoder.config().max_position_embeddings;
        let mut chunked: Vec<Vec<Chunk>> = prompts.iter().map(|p| p.chunks(&branch.tokenizer, length)).collect();
        equalize(&mut chunked, &branch.tokenizer, length);
        all.push(chunked);
    }
    // Two encoders may cut a prompt at different places; their states are joined, so all get the longer count.
    let per_prompt = all.iter().flatten().map(Vec::len).max().unwrap_or(0);
    for (branch, mut chunked) in model.text.iter().zip(all) {
        let length = branch.encoder.config().max_position_embeddings;
        for chunks in &mut chunked {
            chunks.resize_with(per_prompt, || Chunk::empty(&branch.tokenizer, length));
        }

        let mut rows: Vec<Vec<u32>> = chunked.iter().flatten().map(|c| c.ids.clone()).collect();
        let needs_empty = options.emphasis.needs_empty();
        if needs_empty {
            rows.push(Chunk::empty(&branch.tokenizer, length).ids);
        }
        let encoding = branch.encode(&rows, options.clip_skip, model.dtype)?;
        let width = encoding.hidden.dim(2);
        let mut values = encoding.hidden.to_vec(); // [rows, length, width]
        if values.iter().any(|v| !v.is_finite()) {
            return Err(TaskError::NotANumber("text encoder"));
        }
        let empty = if needs_empty { values.split_off(values.len() - length * width) } else { Vec::new() };
        let chunks = chunked.iter().flatten();
        for (z, chunk) in values.chunks_exact_mut(length * width).zip(chunks) {
            options.emphasis.apply(z, &chunk.weights, &empty);
        }
        for (i, prompt) in values.chunks_exact(per_prompt * length * width).enumerate() {
            contexts[i].push(Tensor::from_slice(prompt, &[1, per_prompt * length, width])?);
            if branch.pooled {
                pooled[i] = Some(encoding.pooled.narrow(0, i * per_prompt, 1)?.contiguous()?);
            }
        }
    }
    let contexts = contexts
        .into_iter()
        .map(|parts| match parts.as_slice() {
            [one] => Ok(one.clone()),
            several => Tensor::concat(&several.iter().collect::<Vec<_>>(), 2),
        })
        .collect::<Result<Vec<_>, _>>()?;
    let pooled = pooled.into_iter().flatten().collect();
    Ok(EncodedPrompts { contexts, pooled })
}

impl EncodedPrompts {
    /// Zeros in place of prompt `i`, as SDXL was trained to see an empty prompt.
    ///
    /// # Errors
    /// None for an index that exists.
    pub fn blank(&mut self, i: usize) -> Result<(), TaskError> {
        self.contexts[i] = Tensor::zeros(self.contexts[i].shape(), DType::F32)?;
        if let Some(pooled) = self.pooled.get_mut(i) {
            *pooled = Tensor::zeros(pooled.shape(), DType::F32)?;
        }
        Ok(())
    }
}
