//! The U-Net's configuration: the fields of diffusers' `UNet2DConditionModel` `config.json` that change the network.
//!
//! A folder's configuration is believed in full; what this network cannot be is refused by name.

use serde::{Deserialize, Serialize};

/// A value given once for all levels or once for each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PerLevel {
    /// The same value on every level.
    All(usize),
    /// One value for each level, outermost first.
    Each(Vec<usize>),
}

impl PerLevel {
    /// The value on level `i`.
    pub fn at(&self, i: usize) -> usize {
        match self {
            PerLevel::All(v) => *v,
            PerLevel::Each(v) => v.get(i).copied().unwrap_or(0),
        }
    }

    fn covers(&self, levels: usize) -> bool {
        match self {
            PerLevel::All(v) => *v > 0,
            PerLevel::Each(v) => v.len() == levels && v.iter().all(|x| *x > 0),
        }
    }
}

/// The U-Net's shape, with diffusers' names. Channels are in values, sizes in latent cells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct UnetConfig {
    /// Native latent side, if the file says one.
    pub sample_size: Option<usize>,
    /// Channels in: 4 latent channels, 9 with mask and masked picture (inpainting).
    pub in_channels: usize,
    /// Channels out: the latent's.
    pub out_channels: usize,
    /// Width of each level, outermost first.
    pub block_out_channels: Vec<usize>,
    /// Kind of each down level.
    pub down_block_types: Vec<String>,
    /// Kind of the middle block.
    pub mid_block_type: Option<String>,
    /// Kind of each up level, innermost first.
    pub up_block_types: Vec<String>,
    /// Residual blocks on each level (one more on the way up).
    pub layers_per_block: PerLevel,
    /// Width of the text context.
    pub cross_attention_dim: usize,
    /// Attention heads on each level: diffusers' field of this name holds head *counts* (its legacy meaning).
    pub attention_head_dim: PerLevel,
    /// Attention heads, where a file uses the newer name; it wins.
    pub num_attention_heads: Option<PerLevel>,
    /// Transformer blocks in each attention.
    pub transformer_layers_per_block: PerLevel,
    /// Linear layers instead of 1×1 convolutions around the transformer blocks.
    pub use_linear_projection: bool,
    /// Groups of every group norm.
    pub norm_num_groups: usize,
    /// Epsilon of the residual blocks' norms.
    pub norm_eps: f32,
    /// Cosines before sines in the time embedding.
    pub flip_sin_to_cos: bool,
    /// Shift in the time embedding's frequency exponent.
    pub freq_shift: f32,
    /// `"text_time"` for SDXL's added conditioning.
    pub addition_embed_type: Option<String>,
    /// Width of the embedding of each of SDXL's size and crop numbers.
    pub addition_time_embed_dim: Option<usize>,
    /// Width of the added conditioning: pooled text and embedded numbers.
    pub projection_class_embeddings_input_dim: Option<usize>,
    /// Width of the guidance embedding of consistency-distilled networks.
    pub time_cond_proj_dim: Option<usize>,
    /// Padding of the downsampling convolutions.
    pub downsample_padding: usize,
    /// Activation, `"silu"` for this family.
    pub act_fn: String,
    /// Only `"default"` is known.
    pub resnet_time_scale_shift: String,
    /// Kind of class conditioning; none is known.
    pub class_embed_type: Option<String>,
    /// Second text projection; none is known.
    pub encoder_hid_dim_type: Option<String>,
}

impl Default for UnetConfig {
    fn default() -> Self {
        Self {
            sample_size: None,
            in_channels: 4,
            out_channels: 4,
            block_out_channels: vec![320, 640, 1280, 1280],
            down_block_types: types(&[CROSS_DOWN, CROSS_DOWN, CROSS_DOWN, DOWN]),
            mid_block_type: Some(MID.into()),
            up_block_types: types(&[UP, CROSS_UP, CROSS_UP, CROSS_UP]),
            layers_per_block: PerLevel::All(2),
            cross_attention_dim: 1280,
            attention_head_dim: PerLevel::All(8),
            num_attention_heads: None,
            transformer_layers_per_block: PerLevel::All(1),
            use_linear_projection: false,
            norm_num_groups: 32,
            norm_eps: 1e-5,
            flip_sin_to_cos: true,
            freq_shift: 0.0,
            addition_embed_type: None,
            addition_time_embed_dim: None,
            projection_class_embeddings_input_dim: None,
            time_cond_proj_dim: None,
            downsample_padding: 1,
            act_fn: "silu".into(),
            resnet_time_scale_shift: "default".into(),
            class_embed_type: None,
            encoder_hid_dim_type: None,
        }
    }
}

const DOWN: &str = "DownBlock2D";
const CROSS_DOWN: &str = "CrossAttnDownBlock2D";
const UP: &str = "UpBlock2D";
const CROSS_UP: &str = "CrossAttnUpBlock2D";
const MID: &str = "UNetMidBlock2DCrossAttn";

fn types(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| n.to_string()).collect()
}

/// Block kinds of the down and up halves for levels that have attention or not, outermost first.
pub(crate) fn block_types(attention: &[bool]) -> (Vec<String>, Vec<String>) {
    let down = attention.iter().map(|a| if *a { CROSS_DOWN } else { DOWN }.to_string()).collect();
    let up = attention.iter().rev().map(|a| if *a { CROSS_UP } else { UP }.to_string()).collect();
    (down, up)
}

impl UnetConfig {
    /// Levels of the network.
    pub fn levels(&self) -> usize {
        self.block_out_channels.len()
    }

    /// How many times smaller the innermost map is: latent sides should be multiples of this.
    pub fn downscale(&self) -> usize {
        1 << self.levels().saturating_sub(1)
    }

    /// Attention heads on level `i` (outermost 0).
    pub fn heads(&self, i: usize) -> usize {
        self.num_attention_heads.as_ref().unwrap_or(&self.attention_head_dim).at(i)
    }

    /// Whether down level `i` has attention.
    pub fn down_attention(&self, i: usize) -> bool {
        self.down_block_types[i] == CROSS_DOWN
    }

    /// Whether up level `i` (innermost 0) has attention.
    pub fn up_attention(&self, i: usize) -> bool {
        self.up_block_types[i] == CROSS_UP
    }

    /// Width of the time embedding.
    pub fn time_embed_dim(&self) -> usize {
        self.block_out_channels[0] * 4
    }

    /// Whether pooled text and sizes are added to the time embedding (SDXL).
    pub fn has_added_conditioning(&self) -> bool {
        self.addition_embed_type.is_some()
    }

    /// Refuses, with a sentence, a network that this code cannot be.
    pub fn validate(&self) -> Result<(), String> {
        let levels = self.levels();
        let fail = |what: String| Err(format!("the U-Net configuration cannot be used: {what}"));
        if levels == 0 || levels > 8 {
            return fail(format!("block_out_channels names {levels} levels (1 to 8 are possible)"));
        }
        if self.down_block_types.len() != levels || self.up_block_types.len() != levels {
            return fail(format!(
                "block_out_channels has {levels} levels, down_block_types {}, up_block_types {}",
                self.down_block_types.len(),
                self.up_block_types.len()
            ));
        }
        for t in &self.down_block_types {
            if t != DOWN && t != CROSS_DOWN {
                return fail(format!("down block type {t} is not known ({DOWN} and {CROSS_DOWN} are)"));
            }
        }
        for t in &self.up_block_types {
            if t != UP && t != CROSS_UP {
                return fail(format!("up block type {t} is not known ({UP} and {CROSS_UP} are)"));
            }
        }
        if let Some(t) = &self.mid_block_type
            && t != MID
        {
            return fail(format!("mid_block_type {t} is not known ({MID} is)"));
        }
        let groups = self.norm_num_groups;
        for c in &self.block_out_channels {
            if groups == 0 || *c == 0 || *c > 65_536 || c % groups != 0 {
                return fail(format!("{c} channels cannot be split into norm_num_groups {groups}"));
            }
        }
        let heads = self.num_attention_heads.as_ref().unwrap_or(&self.attention_head_dim);
        for (name, value) in [
            ("layers_per_block", &self.layers_per_block),
            ("attention_head_dim", heads),
            ("transformer_layers_per_block", &self.transformer_layers_per_block),
        ] {
            if !value.covers(levels) {
                return fail(format!("{name} does not give a value above 0 for each of {levels} levels"));
            }
        }
        for i in 0..levels {
            let (c, h) = (self.block_out_channels[i], self.heads(i));
            if c % h != 0 {
                return fail(format!("{c} channels cannot be split into {h} attention heads"));
            }
            if self.layers_per_block.at(i) > 64 || self.transformer_layers_per_block.at(i) > 64 {
                return fail("more than 64 layers in one block".into());
            }
        }
        if self.in_channels == 0 || self.out_channels == 0 || self.cross_attention_dim == 0 {
            return fail("in_channels, out_channels and cross_attention_dim must be above 0".into());
        }
        if self.act_fn != "silu" && self.act_fn != "swish" {
            return fail(format!("act_fn {} is not known (silu is)", self.act_fn));
        }
        if self.resnet_time_scale_shift != "default" {
            return fail(format!("resnet_time_scale_shift {} is not known (default is)", self.resnet_time_scale_shift));
        }
        if let Some(t) = &self.class_embed_type {
            return fail(format!("class_embed_type {t} is not known"));
        }
        if let Some(t) = &self.encoder_hid_dim_type {
            return fail(format!("encoder_hid_dim_type {t} is not known"));
        }
        match self.addition_embed_type.as_deref() {
            None => Ok(()),
            Some("text_time") => match (self.addition_time_embed_dim, self.projection_class_embeddings_input_dim) {
                (Some(d), Some(p)) if d > 0 && d % 2 == 0 && p > 5 * d => Ok(()),
                _ => fail(
                    "text_time conditioning needs addition_time_embed_dim (even) and \
                     projection_class_embeddings_input_dim (above five times that)"
                        .into(),
                ),
            },
            Some(t) => fail(format!("addition_embed_type {t} is not known (text_time is)")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_configurations_are_read() {
        let sdxl = r#"{"block_out_channels":[320,640,1280],"attention_head_dim":[5,10,20],"transformer_layers_per_block":[1,2,10],
            "down_block_types":["DownBlock2D","CrossAttnDownBlock2D","CrossAttnDownBlock2D"],
            "up_block_types":["CrossAttnUpBlock2D","CrossAttnUpBlock2D","UpBlock2D"],"cross_attention_dim":2048,
            "addition_embed_type":"text_time","addition_time_embed_dim":256,"projection_class_embeddings_input_dim":2816,
            "num_attention_heads":null,"upcast_attention":null,"use_linear_projection":true}"#;
        let config: UnetConfig = serde_json::from_str(sdxl).unwrap();
        config.validate().unwrap();
        assert_eq!((config.heads(2), config.downscale(), config.time_embed_dim()), (20, 4, 1280));
        assert!(!config.down_attention(0) && config.up_attention(0) && !config.up_attention(2));
    }

    #[test]
    fn what_cannot_be_built_is_refused_by_name() {
        let mut config = UnetConfig { norm_num_groups: 30, ..Default::default() };
        assert!(config.validate().unwrap_err().contains("norm_num_groups 30"));
        config = UnetConfig { addition_embed_type: Some("image".into()), ..Default::default() };
        assert!(config.validate().unwrap_err().contains("addition_embed_type image"));
        config = UnetConfig { attention_head_dim: PerLevel::Each(vec![1, 2]), ..Default::default() };
        assert!(config.validate().unwrap_err().contains("attention_head_dim"));
    }
}
