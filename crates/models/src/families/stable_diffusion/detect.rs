//! Configurations of single-file checkpoints, read off tensor names and shapes (LDM layout).
//!
//! What shapes cannot tell (head counts, group counts, activation) comes from the family's table.

use danqing_checkpoints::Weights;

use crate::autoencoders::AutoencoderKlConfig;
use crate::text_encoders::ClipTextConfig;
use crate::unet::{PerLevel, UnetConfig, block_types};

/// How a family counts attention heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heads {
    /// So many on every level.
    Count(usize),
    /// Each so wide.
    Width(usize),
}

/// Names below a prefix of a file.
#[derive(Debug, Clone, Copy)]
pub struct Below<'a> {
    /// The file.
    pub weights: &'a Weights,
    /// The prefix, ending in a dot, or empty.
    pub prefix: &'a str,
}

impl Below<'_> {
    /// Shape of the tensor, if there.
    pub fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.weights.info(&format!("{}{name}", self.prefix)).map(|i| i.shape.clone())
    }

    /// Whether the tensor is there.
    pub fn has(&self, name: &str) -> bool {
        self.weights.contains(&format!("{}{name}", self.prefix))
    }

    fn rows(&self, name: &str) -> Option<usize> {
        self.shape(name)?.first().copied()
    }

    fn columns(&self, name: &str) -> Option<usize> {
        self.shape(name)?.get(1).copied()
    }

    fn count(&self, name: impl Fn(usize) -> String) -> usize {
        (0..256).take_while(|i| self.has(&name(*i))).count()
    }
}

/// The U-Net's configuration, if the names below the prefix are a U-Net's in the LDM layout.
pub fn unet(at: Below<'_>, heads: impl Fn(usize) -> Heads) -> Option<UnetConfig> {
    let first = at.shape("input_blocks.0.0.weight")?;
    let [width, in_channels] = [*first.first()?, *first.get(1)?];
    let out_channels = at.rows("out.2.weight")?;
    let mut widths = Vec::new();
    let mut attention = Vec::new();
    let mut depths = Vec::new();
    let mut layers = 0;
    let mut context = None;
    let mut linear = false;
    let mut level = (width, false, 0, 0); // width, attention, depth, layers
    for n in 1..256 {
        if at.has(&format!("input_blocks.{n}.0.op.weight")) {
            widths.push(level.0);
            attention.push(level.1);
            depths.push(level.2);
            layers = layers.max(level.3);
            level = (level.0, false, 0, 0);
            continue;
        }
        let Some(c) = at.rows(&format!("input_blocks.{n}.0.out_layers.3.weight")) else { break };
        level.0 = c;
        level.3 += 1;
        if let Some(shape) = at.shape(&format!("input_blocks.{n}.1.proj_in.weight")) {
            level.1 = true;
            linear = shape.len() == 2;
            level.2 = at.count(|k| format!("input_blocks.{n}.1.transformer_blocks.{k}.norm1.weight"));
            context = at.columns(&format!("input_blocks.{n}.1.transformer_blocks.0.attn2.to_k.weight"));
        }
    }
    widths.push(level.0);
    attention.push(level.1);
    depths.push(level.2);
    layers = layers.max(level.3);

    let context = context.or_else(|| at.columns("middle_block.1.transformer_blocks.0.attn2.to_k.weight"))?;
    let mid_depth = at.count(|k| format!("middle_block.1.transformer_blocks.{k}.norm1.weight"));
    // The middle block shares the innermost level's depth; levels without attention do not care.
    let last = depths.len() - 1;
    depths[last] = mid_depth.max(depths[last]);
    let depths: Vec<usize> = depths.into_iter().map(|d| d.max(1)).collect();
    let (down, up) = block_types(&attention);
    let added = at.columns("label_emb.0.0.weight");
    let count = |c: &usize| match heads(context) {
        Heads::Count(n) => n,
        Heads::Width(w) => (c / w).max(1),
    };
    Some(UnetConfig {
        in_channels,
        out_channels,
        attention_head_dim: PerLevel::Each(widths.iter().map(count).collect()),
        block_out_channels: widths,
        down_block_types: down,
        up_block_types: up,
        layers_per_block: PerLevel::All(layers),
        cross_attention_dim: context,
        transformer_layers_per_block: PerLevel::Each(depths),
        use_linear_projection: linear,
        addition_embed_type: added.map(|_| "text_time".into()),
        addition_time_embed_dim: added.map(|_| 256),
        projection_class_embeddings_input_dim: added,
        time_cond_proj_dim: at.columns("time_embed.cond_proj.weight"),
        ..Default::default()
    })
}

/// The autoencoder's configuration, if the names below the prefix are one's in the LDM layout.
pub fn autoencoder(at: Below<'_>, scaling_factor: f32) -> Option<AutoencoderKlConfig> {
    let latent_channels = at.columns("decoder.conv_in.weight")?;
    let levels = at.count(|i| format!("decoder.up.{i}.block.0.conv1.weight"));
    let widths: Vec<usize> =
        (0..levels).map(|i| at.rows(&format!("decoder.up.{i}.block.0.conv1.weight"))).collect::<Option<_>>()?;
    let layers = at.count(|j| format!("decoder.up.0.block.{j}.conv1.weight")).checked_sub(1)?;
    Some(AutoencoderKlConfig {
        in_channels: at.columns("encoder.conv_in.weight").unwrap_or(3),
        out_channels: at.rows("decoder.conv_out.weight")?,
        latent_channels,
        down_block_types: vec!["DownEncoderBlock2D".into(); levels],
        up_block_types: vec!["UpDecoderBlock2D".into(); levels],
        block_out_channels: widths,
        layers_per_block: layers,
        scaling_factor,
        use_quant_conv: at.has("quant_conv.weight"),
        use_post_quant_conv: at.has("post_quant_conv.weight"),
        mid_block_add_attention: at.has("decoder.mid.attn_1.q.weight"),
        ..Default::default()
    })
}

/// A CLIP text encoder under transformers' names (with or without `text_model.`).
pub fn clip(at: Below<'_>) -> Option<ClipTextConfig> {
    let prefixed = at.has("text_model.embeddings.token_embedding.weight");
    let name = |n: &str| if prefixed { format!("text_model.{n}") } else { n.to_string() };
    let tokens = at.shape(&name("embeddings.token_embedding.weight"))?;
    let [vocab_size, hidden_size] = [*tokens.first()?, *tokens.get(1)?];
    let projection = at.rows("text_projection.weight");
    Some(ClipTextConfig {
        vocab_size,
        // CLIP's vocabularies end with the begin and the end token.
        bos_token_id: (vocab_size as u32).saturating_sub(2),
        eos_token_id: (vocab_size as u32).saturating_sub(1),
        hidden_size,
        intermediate_size: at.rows(&name("encoder.layers.0.mlp.fc1.weight"))?,
        num_hidden_layers: at.count(|i| name(&format!("encoder.layers.{i}.layer_norm1.weight"))),
        num_attention_heads: (hidden_size / 64).max(1),
        max_position_embeddings: at.rows(&name("embeddings.position_embedding.weight"))?,
        projection_dim: projection.unwrap_or(hidden_size),
        architectures: vec![if projection.is_some() { "CLIPTextModelWithProjection" } else { "CLIPTextModel" }.into()],
        ..Default::default()
    })
}

/// A CLIP text encoder under OpenCLIP's names; without its last layer where the family never uses it (SD2).
pub fn open_clip(at: Below<'_>, drop_last_layer: bool) -> Option<ClipTextConfig> {
    let tokens = at.shape("token_embedding.weight")?;
    let [vocab_size, hidden_size] = [*tokens.first()?, *tokens.get(1)?];
    let layers = at.count(|i| format!("transformer.resblocks.{i}.ln_1.weight"));
    let projection = at.columns("text_projection").filter(|_| !drop_last_layer);
    Some(ClipTextConfig {
        vocab_size,
        // CLIP's vocabularies end with the begin and the end token.
        bos_token_id: (vocab_size as u32).saturating_sub(2),
        eos_token_id: (vocab_size as u32).saturating_sub(1),
        hidden_size,
        intermediate_size: at.rows("transformer.resblocks.0.mlp.c_fc.weight")?,
        num_hidden_layers: layers.checked_sub(usize::from(drop_last_layer))?,
        num_attention_heads: (hidden_size / 64).max(1),
        max_position_embeddings: at.rows("positional_embedding")?,
        projection_dim: projection.unwrap_or(hidden_size),
        hidden_act: "gelu".into(),
        pad_token_id: 0,
        architectures: vec![if projection.is_some() { "CLIPTextModelWithProjection" } else { "CLIPTextModel" }.into()],
        ..Default::default()
    })
}
