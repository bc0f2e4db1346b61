//! CLIP's text encoder: L (SD1, SDXL), OpenCLIP-H (SD2), bigG (SDXL), and the starter's small one.
//!
//! Source: Radford et al. 2021; tensor names and arithmetic of transformers' `CLIPTextModel`.

use crate::error::{ModelError, invalid};
use danqing_nn::{Embedding, Init, LayerNorm, Linear, LoadError, Loader};
use danqing_tensor::{Activation, AttentionOptions, LinearFusion, Tensor, TensorError};
use serde::{Deserialize, Serialize};

/// The encoder's shape, with the names of transformers' `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClipTextConfig {
    /// Tokens in the vocabulary.
    pub vocab_size: usize,
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Width inside the feed-forward layers.
    pub intermediate_size: usize,
    /// Transformer layers.
    pub num_hidden_layers: usize,
    /// Attention heads.
    pub num_attention_heads: usize,
    /// Most tokens of one sequence.
    pub max_position_embeddings: usize,
    /// Width of the projected pooled output.
    pub projection_dim: usize,
    /// `"quick_gelu"` or `"gelu"`.
    pub hidden_act: String,
    /// Epsilon of the norms.
    pub layer_norm_eps: f32,
    /// Identifier of the end token; 2 means the legacy rule (the highest id ends the text).
    pub eos_token_id: u32,
    /// Identifier of the begin token.
    pub bos_token_id: u32,
    /// Identifier of the padding token.
    pub pad_token_id: u32,
    /// Class names of the file; `CLIPTextModelWithProjection` has a projection.
    pub architectures: Vec<String>,
}

impl Default for ClipTextConfig {
    fn default() -> Self {
        Self {
            vocab_size: 49_408,
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            max_position_embeddings: 77,
            projection_dim: 768,
            hidden_act: "quick_gelu".into(),
            layer_norm_eps: 1e-5,
            eos_token_id: 49_407,
            bos_token_id: 49_406,
            pad_token_id: 1,
            architectures: vec!["CLIPTextModel".into()],
        }
    }
}

impl ClipTextConfig {
    /// Whether the pooled output goes through a projection.
    pub fn has_projection(&self) -> bool {
        self.architectures.iter().any(|a| a == "CLIPTextModelWithProjection")
    }

    /// Width of the pooled output.
    pub fn pooled_width(&self) -> usize {
        if self.has_projection() { self.projection_dim } else { self.hidden_size }
    }

    fn activation(&self) -> Option<Activation> {
        match self.hidden_act.as_str() {
            "quick_gelu" => Some(Activation::QuickGelu),
            "gelu" => Some(Activation::Gelu),
            "gelu_new" | "gelu_pytorch_tanh" => Some(Activation::GeluTanh),
            _ => None,
        }
    }

    /// Refuses, with a sentence, a network that this code cannot be.
    pub fn validate(&self) -> Result<(), String> {
        let fail = |what: String| Err(format!("the text encoder configuration cannot be used: {what}"));
        if self.activation().is_none() {
            return fail(format!("hidden_act {} is not known (quick_gelu, gelu and gelu_new are)", self.hidden_act));
        }
        if self.num_attention_heads == 0 || !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return fail(format!("hidden_size {} and {} heads", self.hidden_size, self.num_attention_heads));
        }
        let sizes = [self.vocab_size, self.hidden_size, self.intermediate_size, self.max_position_embeddings];
        if sizes.iter().any(|s| *s == 0 || *s > 1 << 20) || self.num_hidden_layers == 0 || self.num_hidden_layers > 256
        {
            return fail("a size is 0 or beyond reason".into());
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Layer {
    norm1: LayerNorm,
    q: Linear,
    k: Linear,
    v: Linear,
    out: Linear,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl Layer {
    fn load(at: &Loader, config: &ClipTextConfig) -> Result<Self, LoadError> {
        let (d, eps) = (config.hidden_size, config.layer_norm_eps);
        let (attention, mlp) = (at.at("self_attn"), at.at("mlp"));
        Ok(Self {
            norm1: LayerNorm::load(&at.at("layer_norm1"), d, eps)?,
            q: Linear::load(&attention.at("q_proj"), d, d, true)?,
            k: Linear::load(&attention.at("k_proj"), d, d, true)?,
            v: Linear::load(&attention.at("v_proj"), d, d, true)?,
            out: Linear::load(&attention.at("out_proj"), d, d, true)?,
            norm2: LayerNorm::load(&at.at("layer_norm2"), d, eps)?,
            fc1: Linear::load(&mlp.at("fc1"), d, config.intermediate_size, true)?,
            fc2: Linear::load(&mlp.at("fc2"), config.intermediate_size, d, true)?,
        })
    }

    fn forward(&self, x: &Tensor, heads: usize, activation: Activation) -> Result<Tensor, TensorError> {
        let y = self.norm1.forward(x)?;
        let (q, k, v) = (self.q.forward(&y)?, self.k.forward(&y)?, self.v.forward(&y)?);
        let y = Tensor::attention(&q, &k, &v, heads, AttentionOptions { causal: true, ..Default::default() })?;
        let x = self.out.forward_with(&y, LinearFusion { residual: Some(x), ..Default::default() })?;
        let y = self.fc1.forward_with(&self.norm2.forward(&x)?, LinearFusion { activation, ..Default::default() })?;
        self.fc2.forward_with(&y, LinearFusion { residual: Some(&x), ..Default::default() })
    }
}

/// What the encoder says of a batch of texts.
#[derive(Debug, Clone)]
pub struct TextEncoding {
    /// The hidden state after the embedding (0) and after each layer, `[b, n, d]`, not normed.
    pub hidden: Vec<Tensor>,
    /// The last hidden state through the final norm, `[b, n, d]`.
    pub last: Tensor,
    /// The final-normed state at the end token, projected where the network has a projection, `[b, p]`.
    pub pooled: Tensor,
}

/// The text encoder.
#[derive(Debug)]
pub struct ClipTextEncoder {
    config: ClipTextConfig,
    activation: Activation,
    token_embedding: Embedding,
    position_embedding: Embedding,
    layers: Vec<Layer>,
    final_norm: LayerNorm,
    projection: Option<Linear>,
}

impl ClipTextEncoder {
    /// Builds the network from weights with transformers' names, with or without the `text_model.` prefix.
    ///
    /// # Errors
    /// A configuration that cannot be built, or weights that do not fit it.
    pub fn load(root: &Loader, config: &ClipTextConfig) -> Result<Self, ModelError> {
        config.validate().map_err(ModelError::Configuration)?;
        let d = config.hidden_size;
        let prefixed = root.at("text_model");
        let at = if root.contains("embeddings.token_embedding.weight") == Some(true) { root.clone() } else { prefixed };
        let embeddings = at.at("embeddings");
        Ok(Self {
            activation: config.activation().unwrap_or(Activation::QuickGelu),
            token_embedding: Embedding::load_with(
                &embeddings.at("token_embedding"),
                config.vocab_size,
                d,
                Init::Normal(0.02),
            )?,
            position_embedding: Embedding::load_with(
                &embeddings.at("position_embedding"),
                config.max_position_embeddings,
                d,
                Init::Normal(0.01),
            )?,
            layers: (0..config.num_hidden_layers)
                .map(|i| Layer::load(&at.at("encoder").at("layers").at(i), config))
                .collect::<Result<_, _>>()?,
            final_norm: LayerNorm::load(&at.at("final_layer_norm"), d, config.layer_norm_eps)?,
            projection: config
                .has_projection()
                .then(|| Linear::load(&root.at("text_projection"), d, config.projection_dim, false))
                .transpose()?,
            config: config.clone(),
        })
    }

    /// The configuration it was built from.
    pub fn config(&self) -> &ClipTextConfig {
        &self.config
    }

    /// Encodes `ids`, `b` rows of `n` tokens, with activations in `dtype`.
    ///
    /// # Errors
    /// Rows of unequal length, more tokens than positions, or a token outside the vocabulary.
    pub fn forward(&self, ids: &[Vec<u32>], dtype: danqing_tensor::DType) -> Result<TextEncoding, TensorError> {
        let (b, n) = (ids.len(), ids.first().map_or(0, Vec::len));
        let fail = |what: String| Err(invalid("text encoder", what));
        if b == 0 || n == 0 || ids.iter().any(|row| row.len() != n) {
            return fail("the rows of tokens are empty or of unequal length".into());
        }
        if n > self.config.max_position_embeddings {
            return fail(format!("{n} tokens, {} are possible", self.config.max_position_embeddings));
        }
        let flat: Vec<u32> = ids.concat();
        if let Some(id) = flat.iter().find(|id| **id as usize >= self.config.vocab_size) {
            return fail(format!("token {id} is outside the vocabulary of {}", self.config.vocab_size));
        }
        let positions: Vec<u32> = (0..n as u32).collect();
        let tokens = self.token_embedding.forward(&flat, &[b, n])?;
        let places = self.position_embedding.forward(&positions, &[1, n])?;
        let mut x = tokens.add(&places)?.cast(dtype)?;

        let mut hidden = vec![x.clone()];
        for layer in &self.layers {
            x = layer.forward(&x, self.config.num_attention_heads, self.activation)?;
            hidden.push(x.clone());
        }
        let last = self.final_norm.forward(&x)?;
        let ends: Vec<u32> = ids.iter().enumerate().map(|(row, ids)| (row * n + self.end_of(ids)) as u32).collect();
        let d = self.config.hidden_size;
        let pooled = last.reshape(&[b * n, d])?.index_select(0, &ends)?; // [b, n, d] -> [b, d]
        let pooled = match &self.projection {
            Some(projection) => projection.forward(&pooled)?,
            None => pooled,
        };
        Ok(TextEncoding { hidden, last, pooled })
    }

    /// The final norm, for a hidden state taken before the last layer.
    ///
    /// # Errors
    /// A state of another width.
    pub fn normed(&self, hidden: &Tensor) -> Result<Tensor, TensorError> {
        self.final_norm.forward(hidden)
    }

    /// Where the text ends: at the first end token, or, by the legacy rule, at the highest id.
    fn end_of(&self, ids: &[u32]) -> usize {
        if self.config.eos_token_id == 2 {
            let highest = ids.iter().max();
            return ids.iter().position(|id| Some(id) == highest).unwrap_or(0);
        }
        ids.iter().position(|id| *id == self.config.eos_token_id).unwrap_or(0)
    }
}
