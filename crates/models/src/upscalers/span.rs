//! SPAN, the swift parameter-free attention network (Wan et al., arXiv:2311.12770; hongyuanyu/SPAN).
//!
//! Six blocks of three convolutions whose result is weighted by its own sigmoid. Files of training hold every convolution as
//! four (1×1, 3×3, 1×1 and a shortcut of 1×1), which are one 3×3 convolution and are read as such.

use danqing_checkpoints::Weights;
use danqing_nn::{Conv2d, LoadError, LoadOptions, Loader};
use danqing_tensor::{Activation, DType, PadMode, Param, Tensor, TensorError};

use super::layers::{activated, conv};
use super::shapes::shuffle_factor;
use super::staggered::{Ends, Staggered};
use super::{Network, Opened, Shapes, UpscalerArchitecture, UpscalerInfo, finished, misshapen};
use crate::error::ModelError;

/// SPAN.
pub static ARCHITECTURE: UpscalerArchitecture = UpscalerArchitecture {
    name: NAME,
    names: &[
        "conv_*.eval_conv.weight",
        "conv_*.eval_conv.bias",
        "conv_*.sk.weight",
        "conv_*.sk.bias",
        "conv_*.conv.*.weight",
        "conv_*.conv.*.bias",
        "block_*.c*_r.eval_conv.weight",
        "block_*.c*_r.eval_conv.bias",
        "block_*.c*_r.sk.weight",
        "block_*.c*_r.sk.bias",
        "block_*.c*_r.conv.*.weight",
        "block_*.c*_r.conv.*.bias",
        "conv_cat.weight",
        "conv_cat.bias",
        "upsampler.*.weight",
        "upsampler.*.bias",
        "no_norm",
    ],
    detect: |shapes| {
        let merged = shapes.has(&["conv_1.eval_conv.weight", "block_1.c1_r.eval_conv.weight"]);
        let branches = shapes.has(&["conv_1.sk.weight", "block_1.c1_r.sk.weight"]);
        (merged || branches) && shapes.has(&["conv_cat.weight", "upsampler.0.weight"])
    },
    load,
};

const NAME: &str = "SPAN";
/// Mean colour of DIV2K, taken away from the input of networks that were trained so.
const MEAN: [f32; 3] = [0.4488, 0.4371, 0.4040];
/// Such networks see colours of this range.
const RANGE: f32 = 255.0;

/// Shape of a [`Span`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpanConfig {
    /// Channels of the pictures: 1 or 3.
    pub colours: usize,
    /// Channels of the feature maps: 28, 32, 48 or 52 in published networks.
    pub channels: usize,
    /// Number of blocks; 6 in published networks.
    pub blocks: usize,
    /// Factor of enlargement.
    pub scale: usize,
    /// Whether the mean colour is taken away and the range is 0..255 inside, as in the published networks. The mean is that
    /// of RGB pictures; other pictures are only scaled.
    pub centred: bool,
}

impl SpanConfig {
    fn of(shapes: &Shapes) -> Option<Self> {
        let first = ["conv_1.eval_conv.weight", "conv_1.sk.weight"];
        let [channels, colours, ..] = first.iter().find_map(|name| shapes.get::<4>(name))?;
        let blocks =
            shapes.count("block_", ".c1_r.eval_conv.weight", 1).max(shapes.count("block_", ".c1_r.sk.weight", 1));
        let [shuffled, ..] = shapes.get::<4>("upsampler.0.weight")?;
        let scale = shuffle_factor(shuffled, colours)?;
        Some(Self { colours, channels, blocks, scale, centred: !shapes.has(&["no_norm"]) })
    }
}

fn load(weights: &Weights, shapes: &Shapes, options: LoadOptions) -> Opened {
    let config = SpanConfig::of(shapes).ok_or_else(|| misshapen(weights, NAME))?;
    let merged = if shapes.has(&["conv_1.sk.weight"]) { merged(weights, shapes)? } else { weights.clone() };
    let merged = merged.renamed(|name| (name != "no_norm").then(|| name.to_owned()))?;
    let loader = Loader::new(merged, options);
    let network = Span::load(&loader, config)?;
    finished(&loader, network, config.info())
}

impl SpanConfig {
    fn info(&self) -> UpscalerInfo {
        // One pixel for each convolution on the way: first, three a block, last of the body, shuffled one.
        UpscalerInfo::new(NAME, self.scale, self.colours, Some(3 * self.blocks + 3))
    }
}

/// Three convolutions, weighted by the sigmoid of their result.
#[derive(Debug)]
struct Block {
    convs: [Conv2d; 3],
}

impl Block {
    fn load(at: &Loader, channels: usize) -> Result<Self, LoadError> {
        let part = |name: &str| conv(&at.at(name).at("eval_conv"), channels, channels, 3);
        Ok(Self { convs: [part("c1_r")?, part("c2_r")?, part("c3_r")?] })
    }

    /// The block's result and the map after its first convolution.
    fn forward(&self, x: &Tensor) -> Result<(Tensor, Tensor), TensorError> {
        let first = activated(&self.convs[0], x, Activation::Silu)?;
        let second = activated(&self.convs[1], &first, Activation::Silu)?;
        let third = self.convs[2].forward(&second)?;
        Ok((third.sigmoid_gate(x)?, first))
    }
}

/// The network. Pictures are `[b, h, w, colours]` in 0..1.
#[derive(Debug)]
pub struct Span {
    config: SpanConfig,
    /// Type of the maps where nothing is learned.
    dtype: DType,
    trainable: bool,
    first: Conv2d,
    blocks: Vec<Block>,
    last: Conv2d,
    joined: Conv2d,
    shuffled: Conv2d,
}

impl Span {
    /// Builds the network from merged weights (`block_1.c1_r.eval_conv.weight` …) or a random start.
    ///
    /// # Errors
    /// Weights that do not fit, or a configuration without blocks.
    pub fn load(loader: &Loader, config: SpanConfig) -> Result<Self, ModelError> {
        let SpanConfig { colours, channels, blocks, scale, .. } = config;
        if blocks == 0 {
            return Err(ModelError::Configuration("SPAN needs at least one block".into()));
        }
        let eval = |name: &str, c_in| conv(&loader.at(name).at("eval_conv"), c_in, channels, 3);
        let LoadOptions { dtype, trainable, .. } = loader.options();
        Ok(Self {
            config,
            dtype,
            trainable,
            first: eval("conv_1", colours)?,
            blocks: (1..=blocks)
                .map(|i| Block::load(&loader.at(format!("block_{i}")), channels))
                .collect::<Result<_, _>>()?,
            last: eval("conv_2", channels)?,
            joined: conv(&loader.at("conv_cat"), 4 * channels, channels, 1)?,
            shuffled: conv(&loader.at("upsampler").at(0), channels, colours * scale * scale, 3)?,
        })
    }

    /// Readies a fresh network for training: lets the convolutions of the blocks pass each channel on beside their random weights, and
    /// scales all of them, from the first to the last, so that over the pictures `x` each map varies by a standard deviation of 1.5, the
    /// third of a block, which weighs itself, by 3, and the result by 0.2.
    ///
    /// With weights of ±1/√(fan-in) alone a map fades by more than a half in each convolution, and again where a block weighs its
    /// result by the sigmoid of it, which is nothing at 0: what lies behind the first block would never come to life. Scaled random
    /// maps come through, but tell the end of the network so little of the picture that training silences them again.
    ///
    /// Source: Mishkin & Matas, arXiv:1511.06422 (layer-sequential unit variance); Zagoruyko & Komodakis, arXiv:1706.00388 (identities
    /// within convolutions).
    ///
    /// # Errors
    /// Pictures of another shape, or weights that cannot be changed.
    pub fn even_out(&self, x: &Tensor) -> Result<(), TensorError> {
        let channels = self.config.channels;
        for conv in self.blocks.iter().flat_map(|block| &block.convs) {
            // The middle of [channels, channels, 3, 3] where input and output are the same.
            conv.weight
                .update(|values| values.iter_mut().skip(4).step_by(9 * (channels + 1)).for_each(|v| *v += 1.0))?;
        }
        let even = |conv: &Conv2d, x: &Tensor, wanted: f32| -> Result<Tensor, TensorError> {
            let spread = deviation(&conv.forward(x)?)?;
            conv.weight.update(|values| values.iter_mut().for_each(|v| *v *= wanted / spread.max(1e-6)))?;
            conv.forward(x)
        };
        let features = even(&self.first, &self.centred(x)?, 1.5)?;
        let (mut x, mut early, mut inner) = (features.clone(), None, features.clone());
        for Block { convs: [first, second, third] } in &self.blocks {
            inner = even(first, &x, 1.5)?.activation(Activation::Silu)?;
            let seen = even(second, &inner, 1.5)?.activation(Activation::Silu)?;
            x = even(third, &seen, 3.0)?.sigmoid_gate(&x)?;
            early.get_or_insert_with(|| x.clone());
        }
        let late = even(&self.last, &x, 1.5)?;
        let early = early.as_ref().unwrap_or(&x);
        let joined = even(&self.joined, &Tensor::concat(&[&features, &late, early, &inner], 3)?, 1.5)?;
        even(&self.shuffled, &joined, 0.2)?;
        Ok(())
    }

    /// What its user must know; the number of parameters is left out.
    pub fn info(&self) -> UpscalerInfo {
        self.config.info()
    }

    fn centred(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        if !self.config.centred {
            return Ok(x.clone());
        }
        let x = match self.config.colours {
            3 => x.sub(&Tensor::from_slice(&MEAN, &[3])?.cast(x.dtype())?)?,
            _ => x.clone(),
        };
        x.mul_scalar(RANGE)
    }
}

impl Span {
    /// The network without a history, row by row.
    fn staggered(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let SpanConfig { colours, channels, scale, .. } = self.config;
        let (mut net, picture) = Staggered::new(&self.centred(x)?, self.dtype)?;
        let [features, early, a, b, inner, x] = {
            let mut map = || net.map(channels, 1);
            [map()?, map()?, map()?, map()?, map()?, map()?]
        };
        let silu = Ends::activated(Activation::Silu);
        net.conv(&self.first, &[picture], features, Ends::default());
        for (i, Block { convs: [first, second, third] }) in self.blocks.iter().enumerate() {
            let from = [features, early].get(i).copied().unwrap_or(x);
            let seen = if i + 1 == self.blocks.len() { inner } else { a };
            let to = if i == 0 { early } else { x };
            net.conv(first, &[from], seen, silu);
            net.conv(second, &[seen], b, silu);
            net.conv(third, &[b], to, Ends { residual: Some(from), gate: true, ..Ends::default() });
        }
        let body = if self.blocks.len() == 1 { early } else { x };
        // The two maps in the middle are free by now.
        net.conv(&self.last, &[body], a, Ends::default());
        net.conv(&self.joined, &[features, a, early, inner], b, Ends::default());
        let shuffled = net.result_map(colours * scale * scale, 1)?;
        net.conv(&self.shuffled, &[b], shuffled, Ends::default());
        net.run(shuffled, scale, None)
    }
}

impl Network for Span {
    fn mixes(&self) -> bool {
        true
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        if !self.trainable {
            return self.staggered(x);
        }
        let features = self.first.forward(&self.centred(x)?)?;
        let (mut x, mut inner) = self.blocks[0].forward(&features)?;
        let early = x.clone();
        for block in &self.blocks[1..] {
            (x, inner) = block.forward(&x)?;
        }
        let late = self.last.forward(&x)?;
        let joined = self.joined.forward(&Tensor::concat(&[&features, &late, &early, &inner], 3)?)?;
        self.shuffled.forward(&joined)?.pixel_shuffle(self.config.scale)
    }
}

/// How far the values of a map lie from the means of their channels, as a root mean square.
fn deviation(map: &Tensor) -> Result<f32, TensorError> {
    let (channels, values) = (map.dim(map.shape().len() - 1), map.cast(DType::F32)?.to_vec());
    let n = (values.len() / channels.max(1)) as f32;
    let mut means = vec![0.0; channels];
    for pixel in values.chunks_exact(channels) {
        means.iter_mut().zip(pixel).for_each(|(mean, v)| *mean += v / n);
    }
    let squares =
        values.chunks_exact(channels).flat_map(|pixel| pixel.iter().zip(&means).map(|(v, m)| (v - m).powi(2)));
    Ok((squares.sum::<f32>() / values.len().max(1) as f32).sqrt())
}

/// The file with each convolution's branches made one.
fn merged(weights: &Weights, shapes: &Shapes) -> Result<Weights, ModelError> {
    let mut parts = Vec::new();
    for name in shapes.names() {
        if let Some(at) = name.strip_suffix(".sk.weight") {
            let (weight, bias) = merge(weights, shapes, at)?;
            let shape = weight.shape().to_vec();
            parts.push((format!("{at}.eval_conv.bias"), vec![shape[0]], bias.to_vec()));
            parts.push((format!("{at}.eval_conv.weight"), shape, weight.to_vec()));
        } else if ![".sk.", ".conv.", ".eval_conv."].iter().any(|branch| name.contains(branch)) {
            let shape = weights.info(name).map(|info| info.shape.clone()).unwrap_or_default();
            parts.push((name.to_owned(), shape, weights.read_f32(name)?));
        }
    }
    Ok(Weights::from_parts(weights.source(), parts)?)
}

/// Weight `[c_out, c_in, 3, 3]` and bias of the convolution that the branches under `at` are together.
///
/// The 1×1, 3×3, 1×1 chain reads a border of zeros before its first bias is added, so that biases pass through the whole
/// kernel everywhere: the chain is linear, and its response to a unit pulse is its kernel.
fn merge(weights: &Weights, shapes: &Shapes, at: &str) -> Result<(Tensor, Tensor), ModelError> {
    let misfit = || misshapen(weights, NAME);
    let read = |name: &str, kernel: usize| -> Result<(Tensor, Tensor), ModelError> {
        let (w, b) = (format!("{at}.{name}.weight"), format!("{at}.{name}.bias"));
        let shape = shapes.get::<4>(&w).filter(|s| s[2..] == [kernel, kernel]).ok_or_else(misfit)?;
        let bias = shapes.get::<1>(&b).filter(|b| b[0] == shape[0]).ok_or_else(misfit)?;
        Ok((Tensor::from_vec(weights.read_f32(&w)?, &shape)?, Tensor::from_vec(weights.read_f32(&b)?, &bias)?))
    };
    let (shortcut, shortcut_bias) = read("sk", 1)?;
    let chain = [read("conv.0", 1)?, read("conv.1", 3)?, read("conv.2", 1)?];
    let c_in = shortcut.dim(1);
    // A pulse in the middle of a 5×5 map for each input channel; the answer, turned round, is the kernel.
    let mut pulses = vec![0.0; c_in * 25 * c_in];
    for c in 0..c_in {
        pulses[(c * 25 + 12) * c_in + c] = 1.0;
    }
    let run = |x: Tensor, biased: bool| -> Result<Tensor, TensorError> {
        chain.iter().try_fold(x, |x, (weight, bias)| {
            let bias = biased.then(|| Param::new("bias", bias.clone()));
            x.conv2d(&Param::new("weight", weight.clone()), bias.as_ref(), Default::default())
        })
    };
    let fits = chain.iter().zip([c_in, chain[0].0.dim(0), chain[1].0.dim(0)]).all(|((w, _), c)| w.dim(1) == c);
    if !fits || chain[2].0.dim(0) != shortcut.dim(0) {
        return Err(misfit());
    }
    let answer = run(Tensor::from_vec(pulses, &[c_in, 5, 5, c_in])?, false)?;
    // [c_in, 3, 3, c_out] → [c_out, c_in, 3, 3]
    let kernel = answer.flip(1)?.flip(2)?.permute(&[3, 0, 1, 2])?.contiguous()?;
    let c_out = shortcut.dim(0);
    let centre = shortcut.reshape(&[c_out * c_in, 1, 1, 1])?.pad2d([1; 4], PadMode::Constant(0.0))?;
    let centre = centre.reshape(&[c_out, c_in, 3, 3])?;
    let constant = run(Tensor::zeros(&[1, 3, 3, c_in], DType::F32)?, true)?;
    Ok((kernel.add(&centre)?, constant.reshape(&[c_out])?.add(&shortcut_bias)?))
}
