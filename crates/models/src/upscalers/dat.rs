//! DAT, a dual aggregation transformer (Chen et al., arXiv:2308.03364; zhengchen1999/DAT): DAT, DAT-S, DAT-2, DAT-light.
//!
//! Blocks attend in turn to pixels, in windows that lie and stand, and to channels over the whole map. Beside each runs a convolution;
//! the two weight one another.

use std::sync::Arc;

use danqing_checkpoints::Weights;
use danqing_nn::{Conv2d, Init, LayerNorm, Linear, LoadError, LoadOptions, Loader};
use danqing_tensor::{Activation, Conv2dOptions, DType, LinearFusion, Param, Tensor, TensorError};

use super::layers::{activated, conv, depthwise, each_channel, width};
use super::transformer::{Colours, Frame, Group, NORM, Trunk, framed_names};
use super::windows::{LONGEST, Mask, Sides, attended, by_position, cut, join, relative_positions, rolled, rolled_back};
use super::{Opened, Shapes, UpscalerArchitecture, UpscalerInfo, finished_ignoring, misshapen};
use crate::error::ModelError;

/// DAT.
pub static ARCHITECTURE: UpscalerArchitecture = UpscalerArchitecture {
    name: NAME,
    names: framed_names![
        "before_RG.*.weight",
        "before_RG.*.bias",
        "layers.*.blocks.*.norm*.weight",
        "layers.*.blocks.*.norm*.bias",
        "layers.*.blocks.*.attn.temperature",
        "layers.*.blocks.*.attn.qkv.weight",
        "layers.*.blocks.*.attn.qkv.bias",
        "layers.*.blocks.*.attn.proj.weight",
        "layers.*.blocks.*.attn.proj.bias",
        "layers.*.blocks.*.attn.attns.*.rpe_biases",
        "layers.*.blocks.*.attn.attns.*.relative_position_index",
        "layers.*.blocks.*.attn.attns.*.pos.pos_proj.weight",
        "layers.*.blocks.*.attn.attns.*.pos.pos_proj.bias",
        "layers.*.blocks.*.attn.attns.*.pos.pos*.*.weight",
        "layers.*.blocks.*.attn.attns.*.pos.pos*.*.bias",
        "layers.*.blocks.*.attn.dwconv.*.weight",
        "layers.*.blocks.*.attn.dwconv.*.bias",
        "layers.*.blocks.*.attn.channel_interaction.*.weight",
        "layers.*.blocks.*.attn.channel_interaction.*.bias",
        "layers.*.blocks.*.attn.spatial_interaction.*.weight",
        "layers.*.blocks.*.attn.spatial_interaction.*.bias",
        "layers.*.blocks.*.ffn.fc*.weight",
        "layers.*.blocks.*.ffn.fc*.bias",
        "layers.*.blocks.*.ffn.sg.norm.weight",
        "layers.*.blocks.*.ffn.sg.norm.bias",
        "layers.*.blocks.*.ffn.sg.conv.weight",
        "layers.*.blocks.*.ffn.sg.conv.bias",
    ],
    detect: |shapes| shapes.has(&["conv_first.weight", "before_RG.1.weight", OFFSETS]),
    load,
};

const NAME: &str = "DAT";
/// All offsets of two pixels of a window, the largest last.
const OFFSETS: &str = "layers.0.blocks.0.attn.attns.0.rpe_biases";
/// Added to the scores of pixels that do not see each other.
const HIDDEN: f32 = -100.0;
/// The shortest length that channels are brought to one from.
const SHORTEST: f32 = 1e-12;

struct Config {
    colours: usize,
    channels: usize,
    /// Sides of a window of the first half of the channels; those of the second half are exchanged.
    window: Sides,
    /// Blocks and heads of each group.
    groups: Vec<[usize; 2]>,
    /// Whether queries, keys and values have a bias.
    biased: bool,
}

impl Config {
    fn of(weights: &Weights, shapes: &Shapes) -> Result<Option<Self>, ModelError> {
        let (Some([channels, colours, ..]), Some([_, 2])) =
            (shapes.get::<4>("conv_first.weight"), shapes.get::<2>(OFFSETS))
        else {
            return Ok(None);
        };
        // The offsets follow from the window's sides, which nothing else tells.
        let offsets = weights.read_f32(OFFSETS)?;
        let side = |largest: f32| if (0.0..LONGEST as f32).contains(&largest) { largest as usize + 1 } else { 0 };
        let window = [2, 1].map(|from_end| side(offsets[offsets.len() - from_end]));
        let group = |i: usize| {
            let at = format!("layers.{i}.blocks");
            let halves =
                || shapes.get::<2>(&format!("{at}.0.attn.attns.0.pos.pos3.2.weight")).map(|[half, _]| 2 * half);
            let heads = shapes.get::<3>(&format!("{at}.1.attn.temperature")).map(|[heads, ..]| heads).or_else(halves);
            let count = shapes.count(&format!("{at}."), ".norm1.weight", 0);
            (count > 0).then(|| [count, heads.unwrap_or(0)])
        };
        let groups: Vec<[usize; 2]> = (0..).map_while(group).collect();
        let even =
            |heads: usize| heads > 1 && channels.is_multiple_of(heads) && (channels / 2).is_multiple_of(heads / 2);
        let fits = window.iter().all(|side| (2..=LONGEST).contains(side))
            && (2 * window[0] - 1) * (2 * window[1] - 1) * 2 == offsets.len()
            && matches!(colours, 1 | 3)
            && channels.is_multiple_of(2)
            && groups.iter().all(|[_, heads]| even(*heads));
        let biased = shapes.names().any(|name| name.ends_with(".attn.qkv.bias"));
        Ok(fits.then_some(Self { colours, channels, window, groups, biased }))
    }

    /// Both kinds of windows fill maps of such sides.
    fn multiple(&self) -> usize {
        let [p, q] = self.window;
        let larger = p.max(q);
        if larger.is_multiple_of(p.min(q)) { larger } else { p * q }
    }
}

fn load(weights: &Weights, shapes: &Shapes, options: LoadOptions) -> Opened {
    let config = Config::of(weights, shapes)?.ok_or_else(|| misshapen(weights, NAME))?;
    let loader = Loader::new(weights.clone(), options);
    let (network, factor) = trunk(&loader, shapes, &config)?;
    let multiple = config.multiple();
    let info = UpscalerInfo::new(NAME, factor, config.colours, None).tiles(multiple, multiple);
    // Tables that follow from the sizes of windows and pictures, and counts of training steps.
    let derived = |name: &str| {
        let last = name.rsplit('.').next().unwrap_or(name);
        ["rpe_biases", "relative_position_index", "attn_mask_0", "attn_mask_1", "num_batches_tracked"].contains(&last)
    };
    finished_ignoring(&loader, network, info, derived)
}

/// A convolution with the batch norm behind it, which in use only scales and shifts, taken into its weights.
fn normed(
    at: &Loader,
    norm: &Loader,
    [c_in, c_out]: [usize; 2],
    kernel: usize,
    options: Conv2dOptions,
) -> Result<Conv2d, LoadError> {
    let weight = at.param("weight", &[c_out, c_in / options.groups, kernel, kernel], Init::KaimingUniform)?;
    let bias = at.param("bias", &[c_out], Init::ZEROS)?.value();
    let of = |name: &str, init: Init| Ok::<_, LoadError>(norm.param(name, &[c_out], init)?.value());
    let deviation = of("running_var", Init::ONES)?.add_scalar(NORM)?.sqrt()?;
    let scale = of("weight", Init::ONES)?.div(&deviation)?;
    let bias = bias.sub(&of("running_mean", Init::ZEROS)?)?.mul(&scale)?.add(&of("bias", Init::ZEROS)?)?;
    let scaled = weight.value().cast(DType::F32)?.mul(&scale.reshape(&[c_out, 1, 1, 1])?)?;
    let scaled = Param::new(weight.name(), scaled.cast(at.options().dtype)?);
    let bias = Param::new(format!("{}.bias", at.path()), bias);
    for param in [&scaled, &bias] {
        param.trainable(false);
    }
    Conv2d::prepack(&scaled, options, at.options());
    Ok(Conv2d { weight: scaled, bias: Some(bias), options })
}

/// Two 1×1 convolutions, batch norm and GELU between them, then the sigmoid: weights of channels or of pixels.
#[derive(Debug)]
struct Weighting([Conv2d; 2]);

impl Weighting {
    /// The first convolution stands at `first`.
    fn load(at: &Loader, first: usize, c: usize, c_out: usize) -> Result<Self, LoadError> {
        let inner = width(&at.at(first));
        let narrow = normed(&at.at(first), &at.at(first + 1), [c, inner], 1, Conv2dOptions::default())?;
        Ok(Self([narrow, conv(&at.at(first + 3), inner, c_out, 1)?]))
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        activated(&self.0[1], &activated(&self.0[0], x, Activation::Gelu)?, Activation::Sigmoid)
    }
}

/// A bias by relative position that a small network makes of offsets.
#[derive(Debug)]
struct Offsets {
    first: Linear,
    others: [(LayerNorm, Linear); 3],
    /// `[positions, 2]`.
    offsets: Tensor,
    positions: Arc<[u32]>,
    pixels: usize,
}

impl Offsets {
    fn load(at: &Loader, heads: usize, [p, q]: Sides) -> Result<Self, LoadError> {
        let c = width(&at.at("pos_proj"));
        let other = |i: usize, outputs: usize| {
            let at = at.at(format!("pos{i}"));
            Ok::<_, LoadError>((LayerNorm::load(&at.at(0), c, NORM)?, Linear::load(&at.at(2), c, outputs, true)?))
        };
        let offsets = |side: usize| move |i: usize| i as f32 + 1.0 - side as f32;
        let all = (0..2 * p - 1).flat_map(|y| (0..2 * q - 1).flat_map(move |x| [offsets(p)(y), offsets(q)(x)]));
        Ok(Self {
            first: Linear::load(&at.at("pos_proj"), 2, c, true)?,
            others: [other(1, c)?, other(2, c)?, other(3, heads)?],
            offsets: Tensor::from_vec(all.collect(), &[(2 * p - 1) * (2 * q - 1), 2])?,
            positions: relative_positions([p, q]),
            pixels: p * q,
        })
    }

    /// `[heads, pixels, pixels]` in the type of `like`.
    fn tensor(&self, like: &Tensor) -> Result<Tensor, TensorError> {
        let first = self.first.forward(&self.offsets.cast(like.dtype())?)?;
        let table =
            self.others.iter().try_fold(first, |x, (norm, linear)| linear.forward(&norm.forward(&x)?.relu()?))?;
        by_position(&table.transpose(0, 1)?, &self.positions, [self.pixels; 2])
    }
}

/// What a block attends to.
#[derive(Debug)]
enum Kind {
    /// Pixels: half of the channels in windows of these sides, half in windows of exchanged ones, shifted by half or not.
    Pixels { biases: Box<[Offsets; 2]>, window: Sides, shifted: bool },
    /// Channels, the scores of each head scaled.
    Channels { scales: Param },
}

/// Attention and a convolution that weight one another.
#[derive(Debug)]
struct Attention {
    all: Linear,
    joined: Linear,
    kind: Kind,
    near: Conv2d,
    channels: Weighting,
    pixels: Weighting,
}

impl Attention {
    /// That of block `number` of group `group`.
    fn load(at: &Loader, config: &Config, group: usize, number: usize) -> Result<Self, LoadError> {
        let Config { channels: c, window, biased, .. } = *config;
        let [_, heads] = config.groups[group];
        let kind = if number.is_multiple_of(2) {
            let biases = |i: usize| {
                let sides = if i == 0 { window } else { [window[1], window[0]] };
                Offsets::load(&at.at("attns").at(i).at("pos"), heads / 2, sides)
            };
            let shifted = number % 4 == if group.is_multiple_of(2) { 2 } else { 0 };
            Kind::Pixels { biases: Box::new([biases(0)?, biases(1)?]), window, shifted }
        } else {
            Kind::Channels { scales: at.param("temperature", &[heads, 1, 1], Init::ONES)? }
        };
        let near = at.at("dwconv");
        Ok(Self {
            all: Linear::load(&at.at("qkv"), c, 3 * c, biased)?,
            joined: Linear::load(&at.at("proj"), c, c, true)?,
            kind,
            near: normed(&near.at(0), &near.at(1), [c, c], 3, each_channel(c, 3))?,
            channels: Weighting::load(&at.at("channel_interaction"), 1, c, c)?,
            pixels: Weighting::load(&at.at("spatial_interaction"), 0, c, 1)?,
        })
    }

    /// The result plus `residual`.
    fn forward(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor, TensorError> {
        let c = x.dim(3);
        let all = self.all.forward(x)?;
        let near = activated(&self.near, &all.narrow(3, 2 * c, c)?.contiguous()?, Activation::Gelu)?;
        let joined = match &self.kind {
            Kind::Pixels { biases, window, shifted } => {
                let [p, q] = *window;
                let first = windowed(&all, 0, &biases[0], [p, q], *shifted)?;
                let second = windowed(&all, c / 2, &biases[1], [q, p], *shifted)?;
                let far = Tensor::concat(&[&first, &second], 3)?;
                let channels = self.channels.forward(&near.mean(&[1, 2], true)?)?;
                far.mul(&channels)?.add(&near.mul(&self.pixels.forward(&far)?)?)?
            }
            Kind::Channels { scales } => {
                let far = across_channels(&all, scales)?;
                let channels = self.channels.forward(&far.mean(&[1, 2], true)?)?;
                far.mul(&self.pixels.forward(&near)?)?.add(&near.mul(&channels)?)?
            }
        };
        self.joined.forward_with(&joined, LinearFusion { activation: Activation::None, residual: Some(residual) })
    }
}

/// Attention in windows to half of the channels, from `start` on, of queries, keys and values `[b, h, w, 3 c]`.
fn windowed(all: &Tensor, start: usize, biases: &Offsets, window: Sides, shifted: bool) -> Result<Tensor, TensorError> {
    let (size, c) = ([all.dim(0), all.dim(1), all.dim(2)], all.dim(3) / 3);
    let shift = if shifted { window.map(|side| side / 2) } else { [0; 2] };
    let part = |i: usize| cut(&rolled(&all.narrow(3, i * c + start, c / 2)?, shift)?, window);
    let mask = shifted.then(|| Mask::new(size, window, shift, HIDDEN, all)).transpose()?;
    let seen = attended([&part(0)?, &part(1)?, &part(2)?], &biases.tensor(all)?, mask.as_ref())?;
    rolled_back(&join(&seen, window, size)?, shift)
}

/// Attention of channels to channels, each brought to length one over the whole map.
fn across_channels(all: &Tensor, scales: &Param) -> Result<Tensor, TensorError> {
    let (b, h, w, c, heads) = (all.dim(0), all.dim(1), all.dim(2), all.dim(3) / 3, scales.numel());
    let part = |i: usize| {
        let x = all.narrow(3, i * c, c)?.reshape(&[b, h * w, heads, c / heads])?;
        x.permute(&[0, 2, 1, 3])?.contiguous()
    };
    let length = |x: &Tensor| x.square()?.sum(&[2], true)?.sqrt()?.clamp(SHORTEST, f32::MAX);
    let (queries, keys) = (part(0)?, part(1)?);
    let scales = scales.tensor().cast(all.dtype())?;
    let lengths = length(&queries)?.transpose(2, 3)?.mul(&length(&keys)?)?;
    let scores = queries.transpose(2, 3)?.matmul(&keys)?.div(&lengths)?.mul(&scales)?;
    let seen = part(2)?.matmul(&scores.softmax_last()?.transpose(2, 3)?)?;
    seen.permute(&[0, 2, 1, 3])?.reshape(&[b, h, w, c])
}

/// Attention and a feed-forward part in which half of the channels weight the other.
#[derive(Debug)]
struct Block {
    norms: [LayerNorm; 2],
    attention: Attention,
    wide: Linear,
    gate: (LayerNorm, Conv2d),
    narrow: Linear,
}

impl Block {
    fn load(at: &Loader, config: &Config, group: usize, number: usize) -> Result<Self, LoadError> {
        let (c, feed) = (config.channels, at.at("ffn"));
        // Rounded up: an odd width fits no half, and is told so as a misshapen tensor.
        let inner = width(&feed.at("fc1")).next_multiple_of(2);
        let gate = feed.at("sg");
        Ok(Self {
            norms: [LayerNorm::load(&at.at("norm1"), c, NORM)?, LayerNorm::load(&at.at("norm2"), c, NORM)?],
            attention: Attention::load(&at.at("attn"), config, group, number)?,
            wide: Linear::load(&feed.at("fc1"), c, inner, true)?,
            gate: (LayerNorm::load(&gate.at("norm"), inner / 2, NORM)?, depthwise(&gate.at("conv"), inner / 2, 3)?),
            narrow: Linear::load(&feed.at("fc2"), inner / 2, c, true)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let x = self.attention.forward(&self.norms[0].forward(x)?, x)?;
        let fusion = LinearFusion { activation: Activation::Gelu, residual: None };
        let wide = self.wide.forward_with(&self.norms[1].forward(&x)?, fusion)?;
        let half = wide.dim(3) / 2;
        let gate = self.gate.1.forward(&self.gate.0.forward(&wide.narrow(3, half, half)?.contiguous()?)?)?;
        let fusion = LinearFusion { activation: Activation::None, residual: Some(&x) };
        self.narrow.forward_with(&wide.narrow(3, 0, half)?.mul(&gate)?, fusion)
    }
}

impl Group for Vec<Block> {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        self.iter().try_fold(x.clone(), |x, block| block.forward(&x))
    }
}

fn trunk(loader: &Loader, shapes: &Shapes, config: &Config) -> Result<(Trunk<Vec<Block>>, usize), LoadError> {
    let frame = Frame {
        colours: Colours { channels: config.colours, range: 1.0 },
        channels: config.channels,
        groups: config.groups.len(),
        norm: Some("before_RG.1"),
    };
    Trunk::load(loader, shapes, &frame, |layer, i| {
        let [count, _] = config.groups[i];
        (0..count).map(|j| Block::load(&layer.at("blocks").at(j), config, i, j)).collect()
    })
}
