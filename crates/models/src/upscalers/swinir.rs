//! SwinIR, attention in shifted windows (Liang et al., arXiv:2108.10257; JingyunLiang/SwinIR): enlargement of clean and of real
//! pictures, noise, traces of JPEG.

use std::sync::Arc;

use danqing_checkpoints::Weights;
use danqing_nn::{LayerNorm, Linear, LoadError, LoadOptions, Loader};
use danqing_tensor::{Tensor, TensorError};

use super::transformer::{Colours, FeedForward, Frame, Group, NORM, Trunk, framed_names};
use super::windows::{LONGEST, PositionBias, WindowAttention, relative_positions};
use super::{Opened, Purpose, Shapes, UpscalerArchitecture, UpscalerInfo, finished_ignoring, misshapen};

/// SwinIR.
pub static ARCHITECTURE: UpscalerArchitecture = UpscalerArchitecture {
    name: NAME,
    names: framed_names![
        "patch_embed.norm.weight",
        "patch_embed.norm.bias",
        "layers.*.residual_group.blocks.*.norm*.weight",
        "layers.*.residual_group.blocks.*.norm*.bias",
        "layers.*.residual_group.blocks.*.attn.relative_position_bias_table",
        "layers.*.residual_group.blocks.*.attn.relative_position_index",
        "layers.*.residual_group.blocks.*.attn.qkv.weight",
        "layers.*.residual_group.blocks.*.attn.qkv.bias",
        "layers.*.residual_group.blocks.*.attn.proj.weight",
        "layers.*.residual_group.blocks.*.attn.proj.bias",
        "layers.*.residual_group.blocks.*.attn_mask",
        "layers.*.residual_group.blocks.*.mlp.fc*.weight",
        "layers.*.residual_group.blocks.*.mlp.fc*.bias",
    ],
    detect: |shapes| {
        // HAT has the same blocks among others.
        shapes.has(&["conv_first.weight", "layers.0.residual_group.blocks.0.mlp.fc1.weight", TABLE])
            && !shapes.has(&["layers.0.residual_group.overlap_attn.qkv.weight"])
    },
    load,
};

const NAME: &str = "SwinIR";
const TABLE: &str = "layers.0.residual_group.blocks.0.attn.relative_position_bias_table";
/// Added to the scores of pixels that do not see each other.
const HIDDEN: f32 = -100.0;
/// The networks against traces of JPEG, which comes in squares of eight, have windows of seven, and colours of this range.
const WINDOW_OF_JPEG: usize = 7;
const RANGE_OF_JPEG: f32 = 255.0;

struct Config {
    colours: Colours,
    channels: usize,
    window: usize,
    /// Blocks and heads of each group.
    groups: Vec<[usize; 2]>,
    /// Whether there is a norm before the groups.
    normed: bool,
    /// Whether queries, keys and values have a bias.
    biased: bool,
}

impl Config {
    fn of(shapes: &Shapes) -> Option<Self> {
        let [channels, colours, ..] = shapes.get::<4>("conv_first.weight")?;
        let [positions, _] = shapes.get::<2>(TABLE)?;
        let window = positions.isqrt().div_ceil(2);
        let mut groups = Vec::new();
        while let Some([_, heads]) = shapes.get::<2>(&table(groups.len())) {
            let at = format!("layers.{}.residual_group.blocks.", groups.len());
            groups.push([shapes.count(&at, ".norm1.weight", 0), heads]);
        }
        let fits = (2..=LONGEST).contains(&window)
            && (2 * window - 1).pow(2) == positions
            && matches!(colours, 1 | 3)
            && groups.iter().all(|[_, heads]| channels.is_multiple_of(*heads));
        let range = if window == WINDOW_OF_JPEG { RANGE_OF_JPEG } else { 1.0 };
        let colours = Colours { channels: colours, range };
        let normed = shapes.has(&["patch_embed.norm.weight"]);
        let biased = shapes.names().any(|name| name.ends_with(".attn.qkv.bias"));
        fits.then_some(Self { colours, channels, window, groups, normed, biased })
    }

    fn info(&self, factor: usize) -> UpscalerInfo {
        let info = UpscalerInfo::new(NAME, factor, self.colours.channels, None).tiles(self.window, self.window);
        match (factor, self.window) {
            (1, WINDOW_OF_JPEG) => info.made_for(Purpose::Dejpeg),
            (1, _) => info.made_for(Purpose::Denoise),
            _ => info,
        }
    }
}

/// Name of the table of biases of a group's first block.
fn table(group: usize) -> String {
    format!("layers.{group}.residual_group.blocks.0.attn.relative_position_bias_table")
}

fn load(weights: &Weights, shapes: &Shapes, options: LoadOptions) -> Opened {
    let config = Config::of(shapes).ok_or_else(|| misshapen(weights, NAME))?;
    let loader = Loader::new(weights.clone(), options);
    let (network, factor) = trunk(&loader, shapes, &config)?;
    // Tables that follow from the sizes of windows and pictures.
    let derived = |name: &str| name.ends_with(".relative_position_index") || name.ends_with(".attn_mask");
    finished_ignoring(&loader, network, config.info(factor), derived)
}

/// Attention of `heads` heads in the windows of a map of `c` channels, shifted by half a window or not.
pub(super) fn window_attention(
    at: &Loader,
    [c, heads, window]: [usize; 3],
    biased: bool,
    positions: &Arc<[u32]>,
    shifted: bool,
) -> Result<WindowAttention, LoadError> {
    let sizes = [(2 * window - 1).pow(2), heads];
    Ok(WindowAttention {
        all: Linear::load(&at.at("qkv"), c, 3 * c, biased)?,
        joined: Linear::load(&at.at("proj"), c, c, true)?,
        bias: PositionBias::load(at, "relative_position_bias_table", sizes, positions, [window * window; 2])?,
        window: [window; 2],
        shift: if shifted { [window / 2; 2] } else { [0; 2] },
        hidden: HIDDEN,
    })
}

/// Attention and a feed-forward part.
#[derive(Debug)]
struct Block {
    norms: [LayerNorm; 2],
    attention: WindowAttention,
    feed: FeedForward,
}

impl Block {
    fn load(
        at: &Loader,
        config: &Config,
        heads: usize,
        positions: &Arc<[u32]>,
        shifted: bool,
    ) -> Result<Self, LoadError> {
        let Config { channels: c, window, biased, .. } = *config;
        Ok(Self {
            norms: [LayerNorm::load(&at.at("norm1"), c, NORM)?, LayerNorm::load(&at.at("norm2"), c, NORM)?],
            attention: window_attention(&at.at("attn"), [c, heads, window], biased, positions, shifted)?,
            feed: FeedForward::load(&at.at("mlp"), ["fc1", "fc2"], c)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let x = self.attention.forward(&self.norms[0].forward(x)?)?.add(x)?;
        self.feed.forward(&self.norms[1].forward(&x)?, &x)
    }
}

impl Group for Vec<Block> {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        self.iter().try_fold(x.clone(), |x, block| block.forward(&x))
    }
}

fn trunk(loader: &Loader, shapes: &Shapes, config: &Config) -> Result<(Trunk<Vec<Block>>, usize), LoadError> {
    let Config { colours, channels, window, .. } = *config;
    let positions = relative_positions([window; 2]);
    let norm = config.normed.then_some("patch_embed.norm");
    let frame = Frame { colours, channels, groups: config.groups.len(), norm };
    Trunk::load(loader, shapes, &frame, |layer, i| {
        let [count, heads] = config.groups[i];
        let blocks = layer.at("residual_group").at("blocks");
        (0..count).map(|j| Block::load(&blocks.at(j), config, heads, &positions, j % 2 == 1)).collect()
    })
}
