//! SMFAN, self-modulated feature aggregation (Zheng et al. 2024, of the NTIRE 2024 challenge; Zheng-MJ/SMFANet).
//!
//! A branch that sees the variance of the whole map and the largest values of squares of eight pixels, beside one that sees
//! neighbours.

use danqing_checkpoints::Weights;
use danqing_nn::{Conv2d, LoadError, LoadOptions, Loader};
use danqing_tensor::{Activation, Tensor, TensorError};

use super::layers::{activated, added, conv, depthwise, each_channel, unbiased};
use super::shapes::shuffle_factor;
use super::{Network, Opened, Shapes, UpscalerArchitecture, UpscalerInfo, finished, misshapen};

/// SMFAN.
pub static ARCHITECTURE: UpscalerArchitecture = UpscalerArchitecture {
    name: NAME,
    names: &[
        "to_feat.weight",
        "feats.*.smfa.linear_*.weight",
        "feats.*.smfa.linear_*.bias",
        "feats.*.smfa.lde.conv_*.*.weight",
        "feats.*.smfa.lde.conv_*.*.bias",
        "feats.*.smfa.lde.conv_*.weight",
        "feats.*.smfa.lde.conv_*.bias",
        "feats.*.smfa.dw_conv.weight",
        "feats.*.smfa.dw_conv.bias",
        "feats.*.pcfn.conv_*.weight",
        "feats.*.pcfn.conv_*.bias",
        "to_img.*.weight",
    ],
    detect: |shapes| shapes.has(&["to_feat.weight", "feats.0.smfa.linear_0.weight", "feats.0.pcfn.conv_1.weight"]),
    load,
};

const NAME: &str = "SMFAN";
/// Side of the squares whose largest values are taken; sides must be multiples of it.
const SQUARE: usize = 8;

struct Config {
    colours: usize,
    channels: usize,
    /// Channels of the feed-forward part, and those of them that a 3×3 convolution sees.
    inner: [usize; 2],
    blocks: usize,
    scale: usize,
}

impl Config {
    fn of(shapes: &Shapes) -> Option<Self> {
        let [channels, colours, ..] = shapes.get::<4>("to_feat.weight")?;
        let [inner, ..] = shapes.get::<4>("feats.0.pcfn.conv_0.weight")?;
        let [seen, ..] = shapes.get::<4>("feats.0.pcfn.conv_1.weight")?;
        let [shuffled, ..] = shapes.get::<4>("to_img.0.weight")?;
        let blocks = shapes.count("feats.", ".pcfn.conv_0.weight", 0);
        let scale = shuffle_factor(shuffled, colours)?;
        (seen <= inner).then_some(Self { colours, channels, inner: [inner, seen], blocks, scale })
    }
}

fn load(weights: &Weights, shapes: &Shapes, options: LoadOptions) -> Opened {
    let config = Config::of(shapes).ok_or_else(|| misshapen(weights, NAME))?;
    let loader = Loader::new(weights.clone(), options);
    let network = Smfan::load(&loader, &config)?;
    let info = UpscalerInfo::new(NAME, config.scale, config.colours, None).tiles(SQUARE, SQUARE);
    finished(&loader, network, info)
}

/// Each pixel's features at length one.
fn normalised(x: &Tensor) -> Result<Tensor, TensorError> {
    const LEAST: f32 = 1e-12;
    x.div(&x.square()?.sum(&[3], true)?.sqrt()?.clamp(LEAST, f32::MAX)?)
}

/// Variance of each channel over the whole map, unbiased.
fn variance(x: &Tensor) -> Result<Tensor, TensorError> {
    let pixels = (x.dim(1) * x.dim(2)) as f32;
    let away = x.sub(&x.mean(&[1, 2], true)?)?;
    away.square()?.mean(&[1, 2], true)?.mul_scalar(pixels / (pixels - 1.0))
}

/// The two branches of attention.
#[derive(Debug)]
struct Modulation {
    split: Conv2d,
    squares: Conv2d,
    mixed: Conv2d,
    near: [Conv2d; 3],
    joined: Conv2d,
}

impl Modulation {
    fn load(at: &Loader, c: usize) -> Result<Self, LoadError> {
        let near = at.at("lde");
        Ok(Self {
            split: conv(&at.at("linear_0"), c, 2 * c, 1)?,
            squares: depthwise(&at.at("dw_conv"), c, 3)?,
            mixed: conv(&at.at("linear_1"), c, c, 1)?,
            near: [
                Conv2d::load(&near.at("conv_0").at(0), c, 2 * c, 3, each_channel(c, 3))?,
                conv(&near.at("conv_0").at(1), 2 * c, 2 * c, 1)?,
                conv(&near.at("conv_1"), 2 * c, c, 1)?,
            ],
            joined: conv(&at.at("linear_2"), c, c, 1)?,
        })
    }

    fn forward(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor, TensorError> {
        let c = x.dim(3);
        let split = self.split.forward(x)?;
        let (near, far) = (split.narrow(3, 0, c)?, split.narrow(3, c, c)?);
        let squares = self.squares.forward(&far.max_pool2d([SQUARE; 2], [SQUARE; 2], [0; 2])?)?;
        let weights = activated(&self.mixed, &squares.add(&variance(&far)?)?, Activation::Gelu)?;
        let far = far.mul(&weights.upsample_nearest(SQUARE)?)?;
        let near = activated(&self.near[1], &self.near[0].forward(&near)?, Activation::Gelu)?;
        added(&self.joined, &added(&self.near[2], &near, &far)?, residual)
    }
}

/// Feed-forward part of which some channels see their neighbours.
#[derive(Debug)]
struct FeedForward {
    wide: Conv2d,
    near: Conv2d,
    narrow: Conv2d,
}

impl FeedForward {
    fn load(at: &Loader, c: usize, [inner, seen]: [usize; 2]) -> Result<Self, LoadError> {
        Ok(Self {
            wide: conv(&at.at("conv_0"), c, inner, 1)?,
            near: conv(&at.at("conv_1"), seen, seen, 3)?,
            narrow: conv(&at.at("conv_2"), inner, c, 1)?,
        })
    }

    fn forward(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor, TensorError> {
        let wide = activated(&self.wide, x, Activation::Gelu)?;
        let seen = self.near.weight.shape()[0];
        let near = activated(&self.near, &wide.narrow(3, 0, seen)?, Activation::Gelu)?;
        let rest = wide.narrow(3, seen, wide.dim(3) - seen)?;
        added(&self.narrow, &Tensor::concat(&[&near, &rest], 3)?, residual)
    }
}

#[derive(Debug)]
struct Smfan {
    first: Conv2d,
    blocks: Vec<(Modulation, FeedForward)>,
    shuffled: Conv2d,
    scale: usize,
}

impl Smfan {
    fn load(loader: &Loader, config: &Config) -> Result<Self, LoadError> {
        let Config { colours, channels, inner, blocks, scale } = *config;
        let block = |i: usize| {
            let at = loader.at("feats").at(i);
            Ok((Modulation::load(&at.at("smfa"), channels)?, FeedForward::load(&at.at("pcfn"), channels, inner)?))
        };
        Ok(Self {
            first: unbiased(&loader.at("to_feat"), colours, channels, 3)?,
            blocks: (0..blocks).map(block).collect::<Result<_, LoadError>>()?,
            shuffled: unbiased(&loader.at("to_img").at(0), channels, colours * scale * scale, 3)?,
            scale,
        })
    }
}

impl Network for Smfan {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let features = self.first.forward(x)?;
        let body = self.blocks.iter().try_fold(features.clone(), |x, (modulation, feed)| {
            let x = modulation.forward(&normalised(&x)?, &x)?;
            feed.forward(&normalised(&x)?, &x)
        })?;
        self.shuffled.forward(&body.add(&features)?)?.pixel_shuffle(self.scale)
    }
}
