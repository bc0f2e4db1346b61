//! NAFNet, a network without activation functions (Chen et al., arXiv:2204.04676; megvii-research/NAFNet): noise, blur.
//!
//! A U of blocks that multiply one half of their channels by the other. Every block weights its channels by their means over
//! the whole map, as in training on squares of 256 pixels; the authors' converter for larger pictures (TLC, means over windows of
//! that size) is not followed: in tiles of a picture the means are those of the tile, which comes to nearly the same.

use danqing_checkpoints::Weights;
use danqing_nn::{Conv2d, Init, LayerNorm, LoadError, LoadOptions, Loader};
use danqing_tensor::{Conv2dOptions, Param, Tensor, TensorError};

use super::layers::{added, conv, depthwise, unbiased, width};
use super::{Network, Opened, Purpose, Shapes, UpscalerArchitecture, UpscalerInfo, finished, misshapen};

/// NAFNet.
pub static ARCHITECTURE: UpscalerArchitecture = UpscalerArchitecture {
    name: NAME,
    names: &[
        "intro.weight",
        "intro.bias",
        "encoders.*.*.conv*.weight",
        "encoders.*.*.conv*.bias",
        "encoders.*.*.sca.*.weight",
        "encoders.*.*.sca.*.bias",
        "encoders.*.*.norm*.weight",
        "encoders.*.*.norm*.bias",
        "encoders.*.*.beta",
        "encoders.*.*.gamma",
        "downs.*.weight",
        "downs.*.bias",
        "middle_blks.*.conv*.weight",
        "middle_blks.*.conv*.bias",
        "middle_blks.*.sca.*.weight",
        "middle_blks.*.sca.*.bias",
        "middle_blks.*.norm*.weight",
        "middle_blks.*.norm*.bias",
        "middle_blks.*.beta",
        "middle_blks.*.gamma",
        "ups.*.*.weight",
        "decoders.*.*.conv*.weight",
        "decoders.*.*.conv*.bias",
        "decoders.*.*.sca.*.weight",
        "decoders.*.*.sca.*.bias",
        "decoders.*.*.norm*.weight",
        "decoders.*.*.norm*.bias",
        "decoders.*.*.beta",
        "decoders.*.*.gamma",
        "ending.weight",
        "ending.bias",
    ],
    detect: |shapes| {
        shapes.has(&["intro.weight", "ending.weight", "downs.0.weight", "ups.0.0.weight", "middle_blks.0.sca.1.weight"])
    },
    load,
};

const NAME: &str = "NAFNet";
const EPSILON: f32 = 1e-6;
/// Blocks of the encoders of the published networks against noise (SIDD) and against blur (GoPro, REDS).
const AGAINST_NOISE: [usize; 4] = [2, 2, 4, 8];
const AGAINST_BLUR: [usize; 4] = [1, 1, 1, 28];

struct Config {
    colours: usize,
    channels: usize,
    encoders: Vec<usize>,
    middle: usize,
    decoders: Vec<usize>,
}

impl Config {
    fn of(shapes: &Shapes) -> Option<Self> {
        let [channels, colours, ..] = shapes.get::<4>("intro.weight")?;
        let levels = shapes.count("downs.", ".weight", 0);
        let blocks = |part: &str| -> Vec<usize> {
            (0..levels).map(|i| shapes.count(&format!("{part}.{i}."), ".conv1.weight", 0)).collect()
        };
        let middle = shapes.count("middle_blks.", ".conv1.weight", 0);
        let fits = (1..=8).contains(&levels) && shapes.count("ups.", ".0.weight", 0) == levels;
        let (encoders, decoders) = (blocks("encoders"), blocks("decoders"));
        (fits && matches!(colours, 1 | 3)).then_some(Self { colours, channels, encoders, middle, decoders })
    }

    fn info(&self) -> UpscalerInfo {
        let purpose = match self.encoders.as_slice() {
            blocks if blocks == AGAINST_NOISE => Purpose::Denoise,
            blocks if blocks == AGAINST_BLUR => Purpose::Deblur,
            _ => Purpose::Restore,
        };
        let multiple = 1 << self.encoders.len();
        UpscalerInfo::new(NAME, 1, self.colours, None).made_for(purpose).tiles(multiple, multiple)
    }
}

fn load(weights: &Weights, shapes: &Shapes, options: LoadOptions) -> Opened {
    let config = Config::of(shapes).ok_or_else(|| misshapen(weights, NAME))?;
    let loader = Loader::new(weights.clone(), options);
    let network = NafNet::load(&loader, &config)?;
    finished(&loader, network, config.info())
}

/// One half of the channels times the other.
fn gated(x: &Tensor) -> Result<Tensor, TensorError> {
    let half = x.dim(3) / 2;
    x.narrow(3, 0, half)?.mul(&x.narrow(3, half, half)?)
}

/// Two residual parts, weighted channel by channel.
#[derive(Debug)]
struct Block {
    norms: [LayerNorm; 2],
    wide: Conv2d,
    near: Conv2d,
    /// Weights of channels from their means.
    means: Conv2d,
    narrow: Conv2d,
    feed: [Conv2d; 2],
    shares: [Param; 2],
}

impl Block {
    fn load(at: &Loader, c: usize) -> Result<Self, LoadError> {
        // Rounded up: an odd width fits no half, and is told so as a misshapen tensor.
        let doubled = |name: &str| width(&at.at(name)).next_multiple_of(2);
        let (inner, feed) = (doubled("conv1"), doubled("conv4"));
        let share = |name: &str| at.param(name, &[1, c, 1, 1], Init::ZEROS);
        let norm = |name: &str| LayerNorm::load(&at.at(name), c, EPSILON);
        Ok(Self {
            norms: [norm("norm1")?, norm("norm2")?],
            wide: conv(&at.at("conv1"), c, inner, 1)?,
            near: depthwise(&at.at("conv2"), inner, 3)?,
            means: conv(&at.at("sca").at(1), inner / 2, inner / 2, 1)?,
            narrow: conv(&at.at("conv3"), inner / 2, c, 1)?,
            feed: [conv(&at.at("conv4"), c, feed, 1)?, conv(&at.at("conv5"), feed / 2, c, 1)?],
            shares: [share("beta")?, share("gamma")?],
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let share = |i: usize| {
            let share: &Param = &self.shares[i];
            share.tensor().reshape(&[share.numel()])?.cast(x.dtype())
        };
        let inner = self.near.forward(&self.wide.forward(&self.norms[0].forward(x)?)?)?;
        let inner = gated(&inner)?;
        let inner = inner.mul(&self.means.forward(&inner.mean(&[1, 2], true)?)?)?;
        let x = self.narrow.forward(&inner)?.mul(&share(0)?)?.add(x)?;
        let inner = gated(&self.feed[0].forward(&self.norms[1].forward(&x)?)?)?;
        self.feed[1].forward(&inner)?.mul(&share(1)?)?.add(&x)
    }
}

/// Blocks in turn.
fn through(blocks: &[Block], x: Tensor) -> Result<Tensor, TensorError> {
    blocks.iter().try_fold(x, |x, block| block.forward(&x))
}

#[derive(Debug)]
struct NafNet {
    first: Conv2d,
    down: Vec<(Vec<Block>, Conv2d)>,
    middle: Vec<Block>,
    up: Vec<(Conv2d, Vec<Block>)>,
    last: Conv2d,
}

impl NafNet {
    fn load(loader: &Loader, config: &Config) -> Result<Self, LoadError> {
        let Config { colours, channels, encoders, middle, decoders } = config;
        let blocks = |at: Loader, count: usize, c: usize| -> Result<Vec<Block>, LoadError> {
            (0..count).map(|i| Block::load(&at.at(i), c)).collect()
        };
        let mut c = *channels;
        let (mut down, mut up) = (Vec::new(), Vec::new());
        for (i, count) in encoders.iter().enumerate() {
            let part = blocks(loader.at("encoders").at(i), *count, c)?;
            let halving = Conv2d::load(&loader.at("downs").at(i), c, 2 * c, 2, Conv2dOptions::default().stride(2))?;
            down.push((part, halving));
            c *= 2;
        }
        let middle = blocks(loader.at("middle_blks"), *middle, c)?;
        for (i, count) in decoders.iter().enumerate() {
            let spread = unbiased(&loader.at("ups").at(i).at(0), c, 2 * c, 1)?;
            c /= 2;
            up.push((spread, blocks(loader.at("decoders").at(i), *count, c)?));
        }
        let first = conv(&loader.at("intro"), *colours, *channels, 3)?;
        Ok(Self { first, down, middle, up, last: conv(&loader.at("ending"), *channels, *colours, 3)? })
    }
}

impl Network for NafNet {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let mut features = self.first.forward(x)?;
        let mut passed = Vec::with_capacity(self.down.len());
        for (blocks, halving) in &self.down {
            let here = through(blocks, features)?;
            features = halving.forward(&here)?;
            passed.push(here);
        }
        features = through(&self.middle, features)?;
        for (spread, blocks) in &self.up {
            features = spread.forward(&features)?.pixel_shuffle(2)?;
            if let Some(here) = passed.pop() {
                features = features.add(&here)?;
            }
            features = through(blocks, features)?;
        }
        added(&self.last, &features, x)
    }
}
