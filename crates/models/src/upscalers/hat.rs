//! HAT, a hybrid attention transformer (Chen et al., arXiv:2205.04437; XPixelGroup/HAT): HAT, HAT-S, HAT-L, Real-HAT.
//!
//! SwinIR's attention in shifted windows beside convolutions whose channels are weighted by their means over the map; every group
//! ends in windows that look at keys around them too.

use std::sync::Arc;

use danqing_checkpoints::Weights;
use danqing_nn::{Conv2d, LayerNorm, Linear, LoadError, LoadOptions, Loader};
use danqing_tensor::{Activation, LinearFusion, PadMode, Tensor, TensorError};

use super::layers::{activated, conv, width};
use super::swinir::window_attention;
use super::transformer::{Colours, FeedForward, Frame, Group, NORM, Trunk, framed_names};
use super::windows::{LONGEST, PositionBias, WindowAttention, attended, cut, join, relative_positions};
use super::{Opened, Shapes, UpscalerArchitecture, UpscalerInfo, finished_ignoring, misshapen};

/// HAT.
pub static ARCHITECTURE: UpscalerArchitecture = UpscalerArchitecture {
    name: NAME,
    names: framed_names![
        "relative_position_index_SA",
        "relative_position_index_OCA",
        "patch_embed.norm.weight",
        "patch_embed.norm.bias",
        "layers.*.residual_group.blocks.*.norm*.weight",
        "layers.*.residual_group.blocks.*.norm*.bias",
        "layers.*.residual_group.blocks.*.attn.relative_position_bias_table",
        "layers.*.residual_group.blocks.*.attn.qkv.weight",
        "layers.*.residual_group.blocks.*.attn.qkv.bias",
        "layers.*.residual_group.blocks.*.attn.proj.weight",
        "layers.*.residual_group.blocks.*.attn.proj.bias",
        "layers.*.residual_group.blocks.*.conv_block.cab.*.weight",
        "layers.*.residual_group.blocks.*.conv_block.cab.*.bias",
        "layers.*.residual_group.blocks.*.conv_block.cab.*.attention.*.weight",
        "layers.*.residual_group.blocks.*.conv_block.cab.*.attention.*.bias",
        "layers.*.residual_group.blocks.*.mlp.fc*.weight",
        "layers.*.residual_group.blocks.*.mlp.fc*.bias",
        "layers.*.residual_group.overlap_attn.norm*.weight",
        "layers.*.residual_group.overlap_attn.norm*.bias",
        "layers.*.residual_group.overlap_attn.relative_position_bias_table",
        "layers.*.residual_group.overlap_attn.qkv.weight",
        "layers.*.residual_group.overlap_attn.qkv.bias",
        "layers.*.residual_group.overlap_attn.proj.weight",
        "layers.*.residual_group.overlap_attn.proj.bias",
        "layers.*.residual_group.overlap_attn.mlp.fc*.weight",
        "layers.*.residual_group.overlap_attn.mlp.fc*.bias",
    ],
    detect: |shapes| {
        shapes.has(&["conv_first.weight", "layers.0.residual_group.overlap_attn.qkv.weight", TABLE, AROUND])
    },
    load,
};

const NAME: &str = "HAT";
const TABLE: &str = "layers.0.residual_group.blocks.0.attn.relative_position_bias_table";
const AROUND: &str = "layers.0.residual_group.overlap_attn.relative_position_bias_table";
/// How much of the convolutions' result is added.
const SHARE: f32 = 0.01;

struct Config {
    colours: usize,
    channels: usize,
    window: usize,
    /// Side of the squares of keys around a window.
    around: usize,
    /// Blocks and heads of each group.
    groups: Vec<[usize; 2]>,
    normed: bool,
    biased: bool,
}

impl Config {
    fn of(shapes: &Shapes) -> Option<Self> {
        let [channels, colours, ..] = shapes.get::<4>("conv_first.weight")?;
        let ([inside, _], [outside, _]) = (shapes.get::<2>(TABLE)?, shapes.get::<2>(AROUND)?);
        let window = inside.isqrt().div_ceil(2);
        let around = (outside.isqrt() + 1).checked_sub(window)?;
        let table = |i: usize| format!("layers.{i}.residual_group.overlap_attn.relative_position_bias_table");
        let mut groups = Vec::new();
        while let Some([_, heads]) = shapes.get::<2>(&table(groups.len())) {
            let at = format!("layers.{}.residual_group.blocks.", groups.len());
            groups.push([shapes.count(&at, ".norm1.weight", 0), heads]);
        }
        let fits = (2..=LONGEST).contains(&window)
            && (2 * window - 1).pow(2) == inside
            && (window + around - 1).pow(2) == outside
            && (window..=2 * LONGEST).contains(&around)
            && (around - window).is_multiple_of(2)
            && matches!(colours, 1 | 3)
            && groups.iter().all(|[_, heads]| channels.is_multiple_of(*heads));
        let normed = shapes.has(&["patch_embed.norm.weight"]);
        let biased = shapes.names().any(|name| name.ends_with("attn.qkv.bias"));
        fits.then_some(Self { colours, channels, window, around, groups, normed, biased })
    }
}

fn load(weights: &Weights, shapes: &Shapes, options: LoadOptions) -> Opened {
    let config = Config::of(shapes).ok_or_else(|| misshapen(weights, NAME))?;
    let loader = Loader::new(weights.clone(), options);
    let (network, factor) = trunk(&loader, shapes, &config)?;
    let info = UpscalerInfo::new(NAME, factor, config.colours, None).tiles(config.window, config.window);
    // Tables that follow from the sizes of windows and pictures.
    let derived = |name: &str| name.contains("relative_position_index") || name.ends_with("attn_mask");
    finished_ignoring(&loader, network, info, derived)
}

/// For each pixel of a window and each of the square around it the number of their relative position. The published code
/// counts from a place inside the table, and what lies before it is taken from the table's end.
fn positions_around(window: usize, around: usize) -> Arc<[u32]> {
    let span = (window + around - 1) as i64;
    let pixels = |side: usize| (0..side).flat_map(move |y| (0..side).map(move |x| (y as i64, x as i64)));
    let start = window as i64 - around as i64 + 1;
    let number = |(a, b): (i64, i64), (c, d): (i64, i64)| (c - a + start) * span + d - b + start;
    pixels(window).flat_map(|i| pixels(around).map(move |j| number(i, j).rem_euclid(span * span) as u32)).collect()
}

/// Convolutions whose channels are weighted by their means over the whole map.
#[derive(Debug)]
struct Beside {
    convs: [Conv2d; 2],
    weights: [Conv2d; 2],
}

impl Beside {
    fn load(at: &Loader, c: usize) -> Result<Self, LoadError> {
        let weights = at.at(3).at("attention");
        let (inner, few) = (width(&at.at(0)), width(&weights.at(1)));
        Ok(Self {
            convs: [conv(&at.at(0), c, inner, 3)?, conv(&at.at(2), inner, c, 3)?],
            weights: [conv(&weights.at(1), c, few, 1)?, conv(&weights.at(3), few, c, 1)?],
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let x = self.convs[1].forward(&activated(&self.convs[0], x, Activation::Gelu)?)?;
        let means = activated(&self.weights[0], &x.mean(&[1, 2], true)?, Activation::Relu)?;
        x.mul(&activated(&self.weights[1], &means, Activation::Sigmoid)?.mul_scalar(SHARE)?)
    }
}

/// Attention and convolutions side by side, then a feed-forward part.
#[derive(Debug)]
struct Block {
    norms: [LayerNorm; 2],
    attention: WindowAttention,
    beside: Beside,
    feed: FeedForward,
}

impl Block {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let normed = self.norms[0].forward(x)?;
        let x = self.attention.forward(&normed)?.add(x)?.add(&self.beside.forward(&normed)?)?;
        self.feed.forward(&self.norms[1].forward(&x)?, &x)
    }
}

/// Attention of windows to squares around them.
#[derive(Debug)]
struct Overlapping {
    norms: [LayerNorm; 2],
    all: Linear,
    joined: Linear,
    bias: PositionBias,
    feed: FeedForward,
    window: usize,
    around: usize,
}

impl Overlapping {
    fn load(at: &Loader, config: &Config, heads: usize, positions: &Arc<[u32]>) -> Result<Self, LoadError> {
        let Config { channels: c, window, around, biased, .. } = *config;
        let (sizes, pairs) = ([(window + around - 1).pow(2), heads], [window * window, around * around]);
        Ok(Self {
            norms: [LayerNorm::load(&at.at("norm1"), c, NORM)?, LayerNorm::load(&at.at("norm2"), c, NORM)?],
            all: Linear::load(&at.at("qkv"), c, 3 * c, biased)?,
            joined: Linear::load(&at.at("proj"), c, c, true)?,
            bias: PositionBias::load(at, "relative_position_bias_table", sizes, positions, pairs)?,
            feed: FeedForward::load(&at.at("mlp"), ["fc1", "fc2"], c)?,
            window,
            around,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let (b, h, w, c) = (x.dim(0), x.dim(1), x.dim(2), x.dim(3));
        let Self { window, around, .. } = *self;
        let all = self.all.forward(&self.norms[0].forward(x)?)?;
        let queries = cut(&all.narrow(3, 0, c)?, [window; 2])?;
        let border = (around - window) / 2;
        let padded = all.narrow(3, c, 2 * c)?.contiguous()?.pad2d([border; 4], PadMode::Constant(0.0))?;
        let bias = self.bias.tensor(x)?;
        // A row of windows at a time: the squares around them overlap, and together are larger than the map.
        let columns = w / window;
        let mut rows = Vec::with_capacity(b * (h / window));
        for picture in 0..b {
            for y in 0..h / window {
                let band = padded.narrow(0, picture, 1)?.narrow(1, y * window, around)?;
                let square = |x: usize| band.narrow(2, x * window, around)?.reshape(&[1, around * around, 2 * c]);
                let squares = (0..columns).map(square).collect::<Result<Vec<_>, _>>()?;
                let squares = Tensor::concat(&squares.iter().collect::<Vec<_>>(), 0)?;
                let (keys, values) = (squares.narrow(2, 0, c)?, squares.narrow(2, c, c)?);
                let queries = queries.narrow(0, rows.len() * columns, columns)?;
                rows.push(attended([&queries, &keys, &values], &bias, None)?);
            }
        }
        let seen = join(&Tensor::concat(&rows.iter().collect::<Vec<_>>(), 0)?, [window; 2], [b, h, w])?;
        let fusion = LinearFusion { activation: Activation::None, residual: Some(x) };
        let x = self.joined.forward_with(&seen, fusion)?;
        self.feed.forward(&self.norms[1].forward(&x)?, &x)
    }
}

/// Blocks, then attention beyond their windows.
#[derive(Debug)]
struct Layer {
    blocks: Vec<Block>,
    overlapping: Overlapping,
}

impl Group for Layer {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        self.overlapping.forward(&self.blocks.iter().try_fold(x.clone(), |x, block| block.forward(&x))?)
    }
}

fn trunk(loader: &Loader, shapes: &Shapes, config: &Config) -> Result<(Trunk<Layer>, usize), LoadError> {
    let Config { colours, channels: c, window, around, biased, .. } = *config;
    let (inside, outside) = (relative_positions([window; 2]), positions_around(window, around));
    let norm = |at: Loader| LayerNorm::load(&at, c, NORM);
    let block = |at: Loader, heads: usize, shifted: bool| {
        Ok(Block {
            norms: [norm(at.at("norm1"))?, norm(at.at("norm2"))?],
            attention: window_attention(&at.at("attn"), [c, heads, window], biased, &inside, shifted)?,
            beside: Beside::load(&at.at("conv_block").at("cab"), c)?,
            feed: FeedForward::load(&at.at("mlp"), ["fc1", "fc2"], c)?,
        })
    };
    let frame = Frame {
        colours: Colours { channels: colours, range: 1.0 },
        channels: c,
        groups: config.groups.len(),
        norm: config.normed.then_some("patch_embed.norm"),
    };
    Trunk::load(loader, shapes, &frame, |layer, i| {
        let ([count, heads], at) = (config.groups[i], layer.at("residual_group"));
        let blocks = (0..count).map(|j| block(at.at("blocks").at(j), heads, j % 2 == 1));
        Ok(Layer {
            blocks: blocks.collect::<Result<_, LoadError>>()?,
            overlapping: Overlapping::load(&at.at("overlap_attn"), config, heads, &outside)?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::positions_around;

    #[test]
    fn every_relative_position_has_its_own_number() {
        // Two pixels a side see squares of four: five relative positions along each axis.
        let positions = positions_around(2, 4);
        assert_eq!(positions.len(), 4 * 16);
        let numbers: std::collections::BTreeSet<u32> = positions.iter().copied().collect();
        assert_eq!(numbers.len(), 25);
        assert!(numbers.iter().all(|n| *n < 25));
        // The same offset has the same number: pixel (0, 0) to (1, 1), pixel (1, 1) to (2, 2).
        assert_eq!(positions[5], positions[3 * 16 + 10]);
    }
}
