//! SAFMN++ (Sun et al., arXiv:2302.13800 and the NTIRE 2024 challenge; sunny2109/SAFMN).
//!
//! Some channels of a map are weighted by their own largest values in squares of eight pixels.

use danqing_checkpoints::Weights;
use danqing_nn::{Conv2d, LoadError, LoadOptions, Loader};
use danqing_tensor::{Activation, Tensor, TensorError};

use super::layers::{activated, added, each_channel, unbiased, unbiased_with};
use super::shapes::shuffle_factor;
use super::{Network, Opened, Shapes, UpscalerArchitecture, UpscalerInfo, finished, misshapen};

/// SAFMN++.
pub static ARCHITECTURE: UpscalerArchitecture = UpscalerArchitecture {
    name: NAME,
    names: &[
        "to_feat.weight",
        "feats.*.conv*.proj.weight",
        "feats.*.conv*.dwconv.weight",
        "feats.*.conv*.out.weight",
        "feats.*.conv*.conv*.weight",
        "to_img.*.weight",
    ],
    detect: |shapes| shapes.has(&["to_feat.weight", "feats.0.conv1.dwconv.weight", "feats.0.conv2.conv2.weight"]),
    load,
};

const NAME: &str = "SAFMN++";
/// Side of the squares whose largest values are taken. The published code adapts it where a side is no multiple; here sides
/// must be multiples.
const SQUARE: usize = 8;

struct Config {
    colours: usize,
    channels: usize,
    /// Channels that are weighted.
    weighted: usize,
    inner: usize,
    blocks: usize,
    scale: usize,
}

impl Config {
    fn of(shapes: &Shapes) -> Option<Self> {
        let [channels, colours, ..] = shapes.get::<4>("to_feat.weight")?;
        let [weighted, ..] = shapes.get::<4>("feats.0.conv1.dwconv.weight")?;
        let [inner, ..] = shapes.get::<4>("feats.0.conv2.conv1.weight")?;
        let [shuffled, ..] = shapes.get::<4>("to_img.0.weight")?;
        let blocks = shapes.count("feats.", ".conv1.dwconv.weight", 0);
        let scale = shuffle_factor(shuffled, colours)?;
        (weighted <= channels).then_some(Self { colours, channels, weighted, inner, blocks, scale })
    }
}

fn load(weights: &Weights, shapes: &Shapes, options: LoadOptions) -> Opened {
    let config = Config::of(shapes).ok_or_else(|| misshapen(weights, NAME))?;
    let loader = Loader::new(weights.clone(), options);
    let network = SafmnPp::load(&loader, &config)?;
    // A pixel sees two squares beyond its own, and two convolutions, in every block.
    let radius = 2 + config.blocks * (3 * SQUARE + 2);
    let info = UpscalerInfo::new(NAME, config.scale, config.colours, Some(radius)).tiles(SQUARE, SQUARE);
    finished(&loader, network, info)
}

#[derive(Debug)]
struct Block {
    split: Conv2d,
    squares: Conv2d,
    joined: Conv2d,
    mixer: (Conv2d, Conv2d),
    weighted: usize,
}

impl Block {
    fn load(at: &Loader, config: &Config) -> Result<Self, LoadError> {
        let Config { channels: c, weighted, inner, .. } = *config;
        let (features, mixer) = (at.at("conv1"), at.at("conv2"));
        Ok(Self {
            split: unbiased(&features.at("proj"), c, c, 3)?,
            squares: unbiased_with(&features.at("dwconv"), weighted, weighted, 3, each_channel(weighted, 3))?,
            joined: unbiased(&features.at("out"), c, c, 1)?,
            mixer: (unbiased(&mixer.at("conv1"), c, inner, 3)?, unbiased(&mixer.at("conv2"), inner, c, 1)?),
            weighted,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let split = self.split.forward(x)?;
        let (h, w, c) = (x.dim(1), x.dim(2), x.dim(3));
        let first = split.narrow(3, 0, self.weighted)?;
        let rest = split.narrow(3, self.weighted, c - self.weighted)?;
        let squares = self.squares.forward(&first.max_pool2d([SQUARE; 2], [SQUARE; 2], [0; 2])?)?;
        let first = squares.resize_bilinear(h, w)?.gelu()?.mul(&first)?;
        let joined = self.joined.forward(&Tensor::concat(&[&rest, &first], 3)?.gelu()?)?;
        added(&self.mixer.1, &activated(&self.mixer.0, &joined, Activation::Gelu)?, x)
    }
}

#[derive(Debug)]
struct SafmnPp {
    first: Conv2d,
    blocks: Vec<Block>,
    shuffled: Conv2d,
    scale: usize,
}

impl SafmnPp {
    fn load(loader: &Loader, config: &Config) -> Result<Self, LoadError> {
        let Config { colours, channels, blocks, scale, .. } = *config;
        Ok(Self {
            first: unbiased(&loader.at("to_feat"), colours, channels, 3)?,
            blocks: (0..blocks).map(|i| Block::load(&loader.at("feats").at(i), config)).collect::<Result<_, _>>()?,
            shuffled: unbiased(&loader.at("to_img").at(0), channels, colours * scale * scale, 3)?,
            scale,
        })
    }
}

impl Network for SafmnPp {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let features = self.first.forward(x)?;
        let body = self.blocks.iter().try_fold(features, |x, block| block.forward(&x))?;
        let detail = self.shuffled.forward(&body)?.pixel_shuffle(self.scale)?;
        detail.add(&x.resize_bilinear(x.dim(1) * self.scale, x.dim(2) * self.scale)?)
    }
}
