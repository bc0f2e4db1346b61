//! RRDBNet, the network of ESRGAN, BSRGAN and Real-ESRGAN (Wang et al., arXiv:1809.00219, arXiv:2107.10833).
//!
//! Dense blocks of five convolutions, three of them in each residual block; every enlargement by two is nearest neighbour and
//! a convolution. Three ways of naming the tensors are read. Networks of factors one and two of Real-ESRGAN fold the picture's
//! pixels into channels first.

use danqing_checkpoints::Weights;
use danqing_nn::{Conv2d, LoadError, LoadOptions, Loader};
use danqing_tensor::{Activation, DType, Tensor, TensorError};

use super::layers::{activated, added, conv};
use super::staggered::{Ends, Map, Staggered};
use super::{Network, Opened, Shapes, UpscalerArchitecture, UpscalerInfo, finished, misshapen};

/// RRDBNet.
pub static ARCHITECTURE: UpscalerArchitecture = UpscalerArchitecture {
    name: NAME,
    names: &[
        "conv_first.weight",
        "conv_first.bias",
        "body.*.rdb*.conv*.weight",
        "body.*.rdb*.conv*.bias",
        "conv_body.weight",
        "conv_body.bias",
        "conv_up*.weight",
        "conv_up*.bias",
        "conv_hr.weight",
        "conv_hr.bias",
        "conv_last.weight",
        "conv_last.bias",
        "RRDB_trunk.*.RDB*.conv*.weight",
        "RRDB_trunk.*.RDB*.conv*.bias",
        "trunk_conv.weight",
        "trunk_conv.bias",
        "upconv*.weight",
        "upconv*.bias",
        "HRconv.weight",
        "HRconv.bias",
        "model.*.sub.*.RDB*.conv*.*.weight",
        "model.*.sub.*.RDB*.conv*.*.bias",
        "model.*.sub.*.weight",
        "model.*.sub.*.bias",
    ],
    detect: |shapes| Layout::of(shapes).is_some(),
    load,
};

const NAME: &str = "RRDBNet";
const LEAKY: Activation = Activation::LeakyRelu(0.2);
/// How much of a block's result is added to its input.
const SHARE: f32 = 0.2;
/// Convolutions of a dense block, and dense blocks of a residual block.
const CONVS: usize = 5;
const DENSE: usize = 3;

/// How a file names its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Real-ESRGAN: `body.0.rdb1.conv1`.
    Real,
    /// BSRGAN and later ESRGAN: `RRDB_trunk.0.RDB1.conv1`.
    Trunk,
    /// First ESRGAN: `model.1.sub.0.RDB1.conv1.0`, with so many blocks and enlargements.
    Sequence { blocks: usize, doublings: usize },
}

impl Layout {
    fn of(shapes: &Shapes) -> Option<Self> {
        if shapes.has(&["conv_first.weight", "body.0.rdb1.conv1.weight", "conv_body.weight", "conv_last.weight"]) {
            return Some(Self::Real);
        }
        if shapes.has(&["conv_first.weight", "RRDB_trunk.0.RDB1.conv1.weight", "trunk_conv.weight"]) {
            return Some(Self::Trunk);
        }
        if !shapes.has(&["model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight"]) {
            return None;
        }
        let blocks = shapes.count("model.1.sub.", ".RDB1.conv1.0.weight", 0);
        let doublings = (0..=4).find(|n| !shapes.has(&[&format!("model.{}.weight", 3 * (n + 1))]))?;
        Some(Self::Sequence { blocks, doublings })
    }

    /// The file's name of a tensor that Real-ESRGAN calls `name`.
    fn name(self, name: &str) -> String {
        let parts: Vec<&str> = name.split('.').collect();
        let numbered = |part: &str, prefix: &str| part.strip_prefix(prefix).and_then(|n| n.parse::<usize>().ok());
        match (self, parts.as_slice()) {
            (Self::Trunk, ["body", block, dense, rest @ ..]) => {
                format!("RRDB_trunk.{block}.{}.{}", dense.to_uppercase(), rest.join("."))
            }
            (Self::Trunk, ["conv_body", kind]) => format!("trunk_conv.{kind}"),
            (Self::Trunk, ["conv_hr", kind]) => format!("HRconv.{kind}"),
            (Self::Trunk, [up, kind]) if up.starts_with("conv_up") => {
                format!("upconv{}.{kind}", &up["conv_up".len()..])
            }
            (Self::Sequence { blocks, doublings }, parts) => match parts {
                ["conv_first", kind] => format!("model.0.{kind}"),
                ["body", block, dense, conv, kind] => {
                    format!("model.1.sub.{block}.{}.{conv}.0.{kind}", dense.to_uppercase())
                }
                ["conv_body", kind] => format!("model.1.sub.{blocks}.{kind}"),
                ["conv_hr", kind] => format!("model.{}.{kind}", 3 * doublings + 2),
                ["conv_last", kind] => format!("model.{}.{kind}", 3 * doublings + 4),
                [up, kind] => format!("model.{}.{kind}", 3 * numbered(up, "conv_up").unwrap_or(0)),
                _ => name.to_owned(),
            },
            _ => name.to_owned(),
        }
    }
}

struct Config {
    layout: Layout,
    colours: usize,
    /// Side of the squares of pixels that are folded into channels.
    fold: usize,
    channels: usize,
    /// Channels that each convolution of a dense block adds.
    growth: usize,
    blocks: usize,
    doublings: usize,
}

impl Config {
    fn of(shapes: &Shapes) -> Option<Self> {
        let layout = Layout::of(shapes)?;
        let get = |name: &str| shapes.get::<4>(&layout.name(name));
        let [channels, inputs, ..] = get("conv_first.weight")?;
        let [growth, ..] = get("body.0.rdb1.conv1.weight")?;
        let [colours, ..] = get("conv_last.weight")?;
        let fold = [1, 2, 4].into_iter().find(|f| colours * f * f == inputs)?;
        let (blocks, doublings) = match layout {
            Layout::Real => (shapes.count("body.", ".rdb1.conv1.weight", 0), shapes.count("conv_up", ".weight", 1)),
            Layout::Trunk => {
                (shapes.count("RRDB_trunk.", ".RDB1.conv1.weight", 0), shapes.count("upconv", ".weight", 1))
            }
            Layout::Sequence { blocks, doublings } => (blocks, doublings),
        };
        let scale = 1usize << doublings;
        scale.is_multiple_of(fold).then_some(Self { layout, colours, fold, channels, growth, blocks, doublings })
    }

    fn info(&self) -> UpscalerInfo {
        // Beside the blocks: first and last convolution of the body, less than two pixels for all enlarged ones.
        let radius = self.fold * (DENSE * CONVS * self.blocks + 4);
        let scale = (1 << self.doublings) / self.fold;
        UpscalerInfo::new(NAME, scale, self.colours, Some(radius)).tiles(self.fold, self.fold)
    }
}

fn load(weights: &Weights, shapes: &Shapes, options: LoadOptions) -> Opened {
    let config = Config::of(shapes).ok_or_else(|| misshapen(weights, NAME))?;
    let layout = config.layout;
    let loader = Loader::with_key_map(weights.clone(), options, move |name| layout.name(name));
    let network = Rrdb::load(&loader, &config)?;
    finished(&loader, network, config.info())
}

/// Each convolution sees the input and what those before it made.
#[derive(Debug)]
struct DenseBlock(Vec<Conv2d>);

impl DenseBlock {
    fn load(at: &Loader, channels: usize, growth: usize) -> Result<Self, LoadError> {
        let part = |i: usize| {
            let c_out = if i + 1 < CONVS { growth } else { channels };
            conv(&at.at(format!("conv{}", i + 1)), channels + i * growth, c_out, 3)
        };
        Ok(Self((0..CONVS).map(part).collect::<Result<_, _>>()?))
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let mut seen = x.clone();
        for conv in &self.0[..CONVS - 1] {
            seen = Tensor::concat(&[&seen, &activated(conv, &seen, LEAKY)?], 3)?;
        }
        self.0[CONVS - 1].forward(&seen)?.mul_scalar(SHARE)?.add(x)
    }
}

#[derive(Debug)]
struct Rrdb {
    colours: usize,
    channels: usize,
    growth: usize,
    /// Type of the maps where nothing is learned.
    dtype: DType,
    trainable: bool,
    first: Conv2d,
    blocks: Vec<Vec<DenseBlock>>,
    body: Conv2d,
    doublings: Vec<Conv2d>,
    fine: Conv2d,
    last: Conv2d,
    fold: usize,
}

impl Rrdb {
    fn load(loader: &Loader, config: &Config) -> Result<Self, LoadError> {
        let Config { colours, fold, channels: c, growth, blocks, doublings, .. } = *config;
        let block = |i: usize| {
            let at = loader.at("body").at(i);
            (1..=DENSE).map(|j| DenseBlock::load(&at.at(format!("rdb{j}")), c, growth)).collect::<Result<Vec<_>, _>>()
        };
        let up = |i: usize| conv(&loader.at(format!("conv_up{i}")), c, c, 3);
        let LoadOptions { dtype, trainable, .. } = loader.options();
        Ok(Self {
            colours,
            channels: c,
            growth,
            dtype,
            trainable,
            first: conv(&loader.at("conv_first"), colours * fold * fold, c, 3)?,
            blocks: (0..blocks).map(block).collect::<Result<_, _>>()?,
            body: conv(&loader.at("conv_body"), c, c, 3)?,
            doublings: (1..=doublings).map(up).collect::<Result<_, _>>()?,
            fine: conv(&loader.at("conv_hr"), c, c, 3)?,
            last: conv(&loader.at("conv_last"), c, colours, 3)?,
            fold,
        })
    }
}

impl Rrdb {
    /// Whether the convolutions of a dense block may write beside what they read: products take channels by blocks of 32.
    fn grows_in_place(&self) -> bool {
        self.channels.is_multiple_of(32) && self.growth.is_multiple_of(32)
    }

    /// The network without a history, row by row.
    fn staggered(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let (channels, leaky) = (self.channels, Ends::activated(LEAKY));
        let (mut net, picture) = Staggered::new(x, self.dtype)?;
        let features = net.map(channels, 1)?;
        let wide: Vec<Map> =
            (0..DENSE).map(|_| net.wide_map(channels + (CONVS - 1) * self.growth)).collect::<Result<_, _>>()?;
        net.conv(&self.first, &[picture], features, Ends::default());
        let body = net.map(channels, 1)?;
        net.conv(&self.first, &[picture], wide[0], Ends::default());
        for block in &self.blocks {
            for (i, DenseBlock(convs)) in block.iter().enumerate() {
                for (j, conv) in convs[..CONVS - 1].iter().enumerate() {
                    net.grow(conv, wide[i], channels + j * self.growth, leaky);
                }
                let to = wide.get(i + 1).copied().unwrap_or(body);
                let ends = Ends { gain: SHARE, residual: Some(wide[i]), ..Ends::default() };
                net.conv(&convs[CONVS - 1], &[wide[i]], to, ends);
            }
            net.add_scaled(body, wide[0], SHARE);
        }
        let trunk = net.map(channels, 1)?;
        net.conv(&self.body, &[wide[0]], trunk, Ends { residual: Some(features), ..Ends::default() });
        let (mut from, mut factor) = (trunk, 1);
        for conv in &self.doublings {
            factor *= 2;
            let (large, made) = (net.map(channels, factor)?, net.map(channels, factor)?);
            net.upsample(from, large, 2);
            net.conv(conv, &[large], made, leaky);
            from = made;
        }
        let fine = net.map(channels, factor)?;
        net.conv(&self.fine, &[from], fine, leaky);
        let result = net.result_map(self.colours, factor)?;
        net.conv(&self.last, &[fine], result, Ends::default());
        net.run(result, 1, None)
    }
}

impl Network for Rrdb {
    fn mixes(&self) -> bool {
        self.grows_in_place()
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let x = if self.fold > 1 { x.pixel_unshuffle(self.fold)? } else { x.clone() };
        if !self.trainable && self.grows_in_place() {
            return self.staggered(&x);
        }
        let features = self.first.forward(&x)?;
        let body = self.blocks.iter().try_fold(features.clone(), |x, dense| {
            let out = dense.iter().try_fold(x.clone(), |x, block| block.forward(&x))?;
            out.mul_scalar(SHARE)?.add(&x)
        })?;
        let body = added(&self.body, &body, &features)?;
        let large = self.doublings.iter().try_fold(body, |x, conv| activated(conv, &x.upsample_nearest(2)?, LEAKY))?;
        self.last.forward(&activated(&self.fine, &large, LEAKY)?)
    }
}
