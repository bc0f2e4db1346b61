//! The attention parts of the U-Net: transformer blocks over map cells with text context.
//!
//! Source: diffusers `Transformer2DModel`, `BasicTransformerBlock`; Rombach et al. 2022, §3.3.

use danqing_nn::{Conv2d, GroupNorm, LayerNorm, Linear, LoadError, Loader};
use danqing_tensor::{AttentionOptions, ConvFusion, LinearFusion, Tensor, TensorError};

use super::blocks::POINT;

/// Shape of a [`Transformer2d`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct TransformerShape {
    pub channels: usize,
    pub heads: usize,
    pub layers: usize,
    pub context: usize,
    pub groups: usize,
    pub linear: bool,
}

/// Multi-head attention with separate projections.
#[derive(Debug)]
pub(crate) struct Attention {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    heads: usize,
}

impl Attention {
    pub fn load(at: &Loader, width: usize, context: usize, heads: usize, qkv_bias: bool) -> Result<Self, LoadError> {
        let projection = |name: &str, from: usize| {
            let at = at.at(name);
            Linear::load(&at, from, width, qkv_bias)
        };
        Ok(Self {
            to_q: projection("to_q", width)?,
            to_k: projection("to_k", context)?,
            to_v: projection("to_v", context)?,
            to_out: Linear::load(&at.at("to_out").at(0), width, width, true)?,
            heads,
        })
    }

    /// `x` `[b, n, width]`, `context` `[b, m, context]` (itself if `None`) → `residual + attention`.
    pub fn forward(&self, x: &Tensor, context: Option<&Tensor>, residual: &Tensor) -> Result<Tensor, TensorError> {
        let from = context.unwrap_or(x);
        let (q, k, v) = (self.to_q.forward(x)?, self.to_k.forward(from)?, self.to_v.forward(from)?);
        let out = Tensor::attention(&q, &k, &v, self.heads, AttentionOptions::default())?;
        self.to_out.forward_with(&out, LinearFusion { residual: Some(residual), ..Default::default() })
    }
}

/// Self-attention, attention to the text, gated feed-forward; each after a norm and around a shortcut.
#[derive(Debug)]
struct TransformerBlock {
    norm1: LayerNorm,
    attn1: Attention,
    norm2: LayerNorm,
    attn2: Attention,
    norm3: LayerNorm,
    ff_in: Linear,
    ff_out: Linear,
}

impl TransformerBlock {
    fn load(at: &Loader, shape: TransformerShape) -> Result<Self, LoadError> {
        let TransformerShape { channels: c, heads, context, .. } = shape;
        let norm = |name: &str| LayerNorm::load(&at.at(name), c, 1e-5);
        Ok(Self {
            norm1: norm("norm1")?,
            attn1: Attention::load(&at.at("attn1"), c, c, heads, false)?,
            norm2: norm("norm2")?,
            attn2: Attention::load(&at.at("attn2"), c, context, heads, false)?,
            norm3: norm("norm3")?,
            ff_in: Linear::load(&at.at("ff").at("net").at(0).at("proj"), c, 8 * c, true)?,
            ff_out: Linear::load(&at.at("ff").at("net").at(2), 4 * c, c, true)?,
        })
    }

    fn forward(&self, x: &Tensor, context: &Tensor) -> Result<Tensor, TensorError> {
        let x = self.attn1.forward(&self.norm1.forward(x)?, None, x)?;
        let x = self.attn2.forward(&self.norm2.forward(&x)?, Some(context), &x)?;
        let gated = self.ff_in.forward(&self.norm3.forward(&x)?)?.geglu()?;
        self.ff_out.forward_with(&gated, LinearFusion { residual: Some(&x), ..Default::default() })
    }
}

/// The projection into the transformer's space and back: linear, or a 1×1 convolution of the same arithmetic.
#[derive(Debug)]
enum Projection {
    Linear(Linear),
    Conv(Conv2d),
}

impl Projection {
    fn load(at: &Loader, c: usize, linear: bool) -> Result<Self, LoadError> {
        Ok(if linear {
            Self::Linear(Linear::load(at, c, c, true)?)
        } else {
            Self::Conv(Conv2d::load(at, c, c, 1, POINT)?)
        })
    }

    /// `x` `[b, h, w, c]` and `residual` of the same shape.
    fn forward(&self, x: &Tensor, residual: Option<&Tensor>) -> Result<Tensor, TensorError> {
        match self {
            Self::Linear(layer) => layer.forward_with(x, LinearFusion { residual, ..Default::default() }),
            Self::Conv(layer) => layer.forward_with(x, ConvFusion { residual, ..Default::default() }),
        }
    }
}

/// Transformer blocks over the cells of a map, around a shortcut.
#[derive(Debug)]
pub(crate) struct Transformer2d {
    norm: GroupNorm,
    proj_in: Projection,
    blocks: Vec<TransformerBlock>,
    proj_out: Projection,
}

impl Transformer2d {
    pub fn load(at: &Loader, shape: TransformerShape) -> Result<Self, LoadError> {
        let c = shape.channels;
        Ok(Self {
            norm: GroupNorm::load(&at.at("norm"), shape.groups, c, 1e-6)?,
            proj_in: Projection::load(&at.at("proj_in"), c, shape.linear)?,
            blocks: (0..shape.layers)
                .map(|i| TransformerBlock::load(&at.at("transformer_blocks").at(i), shape))
                .collect::<Result<_, _>>()?,
            proj_out: Projection::load(&at.at("proj_out"), c, shape.linear)?,
        })
    }

    /// `x` `[b, h, w, c]`, `context` `[b, m, context]` → `[b, h, w, c]`.
    pub fn forward(&self, x: &Tensor, context: &Tensor) -> Result<Tensor, TensorError> {
        let (b, h, w, c) = (x.dim(0), x.dim(1), x.dim(2), x.dim(3));
        let y = self.proj_in.forward(&self.norm.forward(x)?, None)?;
        let mut y = y.reshape(&[b, h * w, c])?; // [b, h, w, c] -> [b, n, c]
        for block in &self.blocks {
            y = block.forward(&y, context)?;
        }
        self.proj_out.forward(&y.reshape(&[b, h, w, c])?, Some(x)) // [b, n, c] -> [b, h, w, c]
    }
}
