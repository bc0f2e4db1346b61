//! Names of the single-file LDM layout for diffusers' names, and the reshaping that some tensors need.
//!
//! Source: the tensor names of CompVis `latent-diffusion` and Stability `generative-models` checkpoints, and
//! OpenCLIP's, held against diffusers' conversion.

use crate::text_encoders::ClipTextConfig;
use crate::unet::UnetConfig;

/// What to take of a stored tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// All of it.
    Whole,
    /// All of it, without a trailing 1×1 (a point convolution that the network has as a linear layer).
    Matrix,
    /// The `index`-th of `of` equal runs of rows.
    Rows {
        /// Which run.
        index: usize,
        /// How many runs there are.
        of: usize,
    },
    /// The transposed matrix.
    Transposed,
}

/// A stored tensor's name and the piece of it that is meant.
pub type Stored = (String, Piece);

fn whole(name: String) -> Option<Stored> {
    Some((name, Piece::Whole))
}

fn number(part: Option<&str>) -> Option<usize> {
    part?.parse().ok()
}

fn resnet(rest: &str) -> Option<String> {
    let (layer, leaf) = rest.split_once('.')?;
    let layer = match layer {
        "norm1" => "in_layers.0",
        "conv1" => "in_layers.2",
        "time_emb_proj" => "emb_layers.1",
        "norm2" => "out_layers.0",
        "conv2" => "out_layers.3",
        "conv_shortcut" => "skip_connection",
        _ => return None,
    };
    Some(format!("{layer}.{leaf}"))
}

/// The U-Net's tensor `name` in the LDM layout, below `model.diffusion_model.`.
pub fn unet(config: &UnetConfig, name: &str) -> Option<Stored> {
    for (ours, theirs) in [
        ("conv_in.", "input_blocks.0.0."),
        ("conv_norm_out.", "out.0."),
        ("conv_out.", "out.2."),
        ("time_embedding.linear_1.", "time_embed.0."),
        ("time_embedding.linear_2.", "time_embed.2."),
        ("time_embedding.cond_proj.", "time_embed.cond_proj."),
        ("add_embedding.linear_1.", "label_emb.0.0."),
        ("add_embedding.linear_2.", "label_emb.0.2."),
        ("mid_block.attentions.0.", "middle_block.1."),
    ] {
        if let Some(leaf) = name.strip_prefix(ours) {
            return whole(format!("{theirs}{leaf}"));
        }
    }
    for (ours, theirs) in [("mid_block.resnets.0.", "middle_block.0."), ("mid_block.resnets.1.", "middle_block.2.")] {
        if let Some(rest) = name.strip_prefix(ours) {
            return whole(format!("{theirs}{}", resnet(rest)?));
        }
    }
    let levels = config.levels();
    let (half, rest) = name.split_once('.')?;
    let mut parts = rest.splitn(4, '.');
    let block = number(parts.next()).filter(|b| *b < levels)?;
    let (kind, index, rest) = (parts.next()?, number(parts.next())?, parts.next()?);
    match half {
        "down_blocks" => {
            let before: usize = (0..block).map(|l| config.layers_per_block.at(l) + 1).sum();
            let n = 1 + before + index;
            match kind {
                "resnets" => whole(format!("input_blocks.{n}.0.{}", resnet(rest)?)),
                "attentions" => whole(format!("input_blocks.{n}.1.{rest}")),
                "downsamplers" => {
                    let n = 1 + before + config.layers_per_block.at(block);
                    whole(format!("input_blocks.{n}.0.op.{}", rest.strip_prefix("conv.")?))
                }
                _ => None,
            }
        }
        "up_blocks" => {
            let layers = |u: usize| config.layers_per_block.at(levels - 1 - u) + 1;
            let before: usize = (0..block).map(layers).sum();
            let n = before + index;
            match kind {
                "resnets" => whole(format!("output_blocks.{n}.0.{}", resnet(rest)?)),
                "attentions" => whole(format!("output_blocks.{n}.1.{rest}")),
                "upsamplers" => {
                    let n = before + layers(block) - 1;
                    let place = 1 + usize::from(config.up_attention(block));
                    whole(format!("output_blocks.{n}.{place}.{rest}"))
                }
                _ => None,
            }
        }
        _ => None,
    }
}

/// The autoencoder's tensor `name` in the LDM layout, below `first_stage_model.`; `levels` as configured.
pub fn autoencoder(levels: usize, name: &str) -> Option<Stored> {
    let Some((half, rest)) = name.split_once('.').filter(|(half, _)| matches!(*half, "encoder" | "decoder")) else {
        return whole(name.to_string());
    };
    let shortcut = |rest: &str| rest.replace("conv_shortcut", "nin_shortcut");
    if let Some(leaf) = rest.strip_prefix("conv_norm_out.") {
        return whole(format!("{half}.norm_out.{leaf}"));
    }
    if let Some(rest) = rest.strip_prefix("mid_block.resnets.") {
        let (i, rest) = rest.split_once('.')?;
        return whole(format!("{half}.mid.block_{}.{}", number(Some(i))? + 1, shortcut(rest)));
    }
    if let Some(rest) = rest.strip_prefix("mid_block.attentions.0.") {
        let rest = [("group_norm", "norm"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")]
            .iter()
            .find_map(|(ours, theirs)| rest.strip_prefix(ours).map(|leaf| format!("{theirs}{leaf}")))?;
        return Some((format!("{half}.mid.attn_1.{rest}"), Piece::Matrix));
    }
    for (ours, theirs, flip) in [("down_blocks.", "down", false), ("up_blocks.", "up", true)] {
        let Some(rest) = rest.strip_prefix(ours) else { continue };
        let (block, rest) = rest.split_once('.')?;
        let block = number(Some(block)).filter(|b| *b < levels)?;
        let level = if flip { levels - 1 - block } else { block };
        if let Some(rest) = rest.strip_prefix("resnets.") {
            return whole(format!("{half}.{theirs}.{level}.block.{}", shortcut(rest)));
        }
        let (_, rest) = rest.split_once(".0.")?; // downsamplers.0.conv…, upsamplers.0.conv…
        let sampler = if flip { "upsample" } else { "downsample" };
        return whole(format!("{half}.{theirs}.{level}.{sampler}.{rest}"));
    }
    whole(format!("{half}.{rest}"))
}

/// The autoencoder's attention under the names that diffusers used until 2023.
pub fn autoencoder_old_attention(name: &str) -> Option<Stored> {
    let (before, after) = name.split_once("attentions.0.")?;
    let (ours, theirs) = [("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")]
        .into_iter()
        .find(|(ours, _)| after.starts_with(ours))?;
    Some((format!("{before}attentions.0.{theirs}{}", &after[ours.len()..]), Piece::Matrix))
}

/// The text encoder's tensor `name` in OpenCLIP's layout (below `cond_stage_model.model.` and the like).
pub fn open_clip(config: &ClipTextConfig, name: &str) -> Option<Stored> {
    let name = name.strip_prefix("text_model.").unwrap_or(name);
    match name {
        "embeddings.token_embedding.weight" => return whole("token_embedding.weight".into()),
        "embeddings.position_embedding.weight" => return whole("positional_embedding".into()),
        "text_projection.weight" => return Some(("text_projection".into(), Piece::Transposed)),
        _ => {}
    }
    if let Some(leaf) = name.strip_prefix("final_layer_norm.") {
        return whole(format!("ln_final.{leaf}"));
    }
    let rest = name.strip_prefix("encoder.layers.")?;
    let (layer, rest) = rest.split_once('.')?;
    let layer = number(Some(layer)).filter(|l| *l < config.num_hidden_layers)?;
    let at = format!("transformer.resblocks.{layer}");
    for (index, ours) in ["q_proj", "k_proj", "v_proj"].into_iter().enumerate() {
        if let Some(leaf) = rest.strip_prefix(&format!("self_attn.{ours}.")) {
            return Some((format!("{at}.attn.in_proj_{leaf}"), Piece::Rows { index, of: 3 }));
        }
    }
    [
        ("self_attn.out_proj.", "attn.out_proj."),
        ("layer_norm1.", "ln_1."),
        ("layer_norm2.", "ln_2."),
        ("mlp.fc1.", "mlp.c_fc."),
        ("mlp.fc2.", "mlp.c_proj."),
    ]
    .into_iter()
    .find_map(|(ours, theirs)| rest.strip_prefix(ours).map(|leaf| (format!("{at}.{theirs}{leaf}"), Piece::Whole)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(stored: Option<Stored>) -> String {
        stored.expect("mapped").0
    }

    #[test]
    fn unet_names_of_stable_diffusion_1() {
        let c = UnetConfig { cross_attention_dim: 768, ..Default::default() };
        for (ours, theirs) in [
            ("down_blocks.0.resnets.1.conv1.weight", "input_blocks.2.0.in_layers.2.weight"),
            ("down_blocks.0.downsamplers.0.conv.bias", "input_blocks.3.0.op.bias"),
            ("down_blocks.1.resnets.0.conv_shortcut.weight", "input_blocks.4.0.skip_connection.weight"),
            (
                "down_blocks.2.attentions.1.transformer_blocks.0.attn2.to_k.weight",
                "input_blocks.8.1.transformer_blocks.0.attn2.to_k.weight",
            ),
            ("down_blocks.3.resnets.1.time_emb_proj.bias", "input_blocks.11.0.emb_layers.1.bias"),
            ("mid_block.resnets.1.norm2.weight", "middle_block.2.out_layers.0.weight"),
            ("up_blocks.0.resnets.2.conv2.weight", "output_blocks.2.0.out_layers.3.weight"),
            ("up_blocks.0.upsamplers.0.conv.weight", "output_blocks.2.1.conv.weight"),
            ("up_blocks.1.upsamplers.0.conv.weight", "output_blocks.5.2.conv.weight"),
            ("up_blocks.3.attentions.2.proj_out.bias", "output_blocks.11.1.proj_out.bias"),
            ("conv_norm_out.weight", "out.0.weight"),
        ] {
            assert_eq!(name(unet(&c, ours)), theirs, "{ours}");
        }
        assert_eq!(unet(&c, "down_blocks.9.resnets.0.conv1.weight"), None);
    }

    #[test]
    fn autoencoder_names() {
        for (ours, theirs) in [
            ("encoder.down_blocks.1.resnets.0.conv_shortcut.bias", "encoder.down.1.block.0.nin_shortcut.bias"),
            ("encoder.down_blocks.0.downsamplers.0.conv.weight", "encoder.down.0.downsample.conv.weight"),
            ("decoder.up_blocks.0.resnets.2.norm1.weight", "decoder.up.3.block.2.norm1.weight"),
            ("decoder.up_blocks.2.upsamplers.0.conv.bias", "decoder.up.1.upsample.conv.bias"),
            ("decoder.mid_block.attentions.0.to_out.0.weight", "decoder.mid.attn_1.proj_out.weight"),
            ("decoder.mid_block.attentions.0.group_norm.bias", "decoder.mid.attn_1.norm.bias"),
            ("encoder.mid_block.resnets.1.conv2.bias", "encoder.mid.block_2.conv2.bias"),
            ("decoder.conv_norm_out.weight", "decoder.norm_out.weight"),
            ("decoder.conv_in.weight", "decoder.conv_in.weight"),
            ("post_quant_conv.bias", "post_quant_conv.bias"),
        ] {
            assert_eq!(name(autoencoder(4, ours)), theirs, "{ours}");
        }
        assert_eq!(
            name(autoencoder_old_attention("decoder.mid_block.attentions.0.to_out.0.bias")),
            "decoder.mid_block.attentions.0.proj_attn.bias"
        );
    }

    #[test]
    fn open_clip_names() {
        let c = ClipTextConfig { num_hidden_layers: 23, ..Default::default() };
        assert_eq!(
            open_clip(&c, "text_model.encoder.layers.3.self_attn.k_proj.bias"),
            Some(("transformer.resblocks.3.attn.in_proj_bias".into(), Piece::Rows { index: 1, of: 3 }))
        );
        assert_eq!(open_clip(&c, "text_projection.weight"), Some(("text_projection".into(), Piece::Transposed)));
        assert_eq!(open_clip(&c, "encoder.layers.23.layer_norm1.weight"), None);
    }
}
