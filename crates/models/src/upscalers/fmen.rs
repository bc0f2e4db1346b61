//! FMEN, the fast and memory-efficient network (Du et al., arXiv:2204.08397; first in memory at NTIRE 2022).
//!
//! Pairs of convolutions and attention of convolutions at full size. Files hold the merged convolutions (`rep_conv`).

use danqing_checkpoints::Weights;
use danqing_nn::{Conv2d, LoadError, LoadOptions, Loader};
use danqing_tensor::{Activation, Tensor, TensorError};

use super::layers::{activated, added, conv};
use super::shapes::shuffle_factor;
use super::{Network, Opened, Shapes, UpscalerArchitecture, UpscalerInfo, finished, misshapen};

/// FMEN.
pub static ARCHITECTURE: UpscalerArchitecture = UpscalerArchitecture {
    name: NAME,
    names: &[
        "head.weight",
        "head.bias",
        "warmup.*.weight",
        "warmup.*.bias",
        "warmup.*.squeeze.weight",
        "warmup.*.squeeze.bias",
        "warmup.*.convs.*.conv*.rep_conv.weight",
        "warmup.*.convs.*.conv*.rep_conv.bias",
        "warmup.*.excitate.weight",
        "warmup.*.excitate.bias",
        "basic_blocks.*.conv*.rep_conv.weight",
        "basic_blocks.*.conv*.rep_conv.bias",
        "hfabs.*.squeeze.weight",
        "hfabs.*.squeeze.bias",
        "hfabs.*.convs.*.conv*.rep_conv.weight",
        "hfabs.*.convs.*.conv*.rep_conv.bias",
        "hfabs.*.excitate.weight",
        "hfabs.*.excitate.bias",
        "lr_conv.weight",
        "lr_conv.bias",
        "tail.*.weight",
        "tail.*.bias",
    ],
    detect: |shapes| shapes.has(&["head.weight", "warmup.1.squeeze.weight", "hfabs.0.squeeze.weight", "tail.0.weight"]),
    load,
};

const NAME: &str = "FMEN";
const LEAKY: Activation = Activation::LeakyRelu(0.1);
/// It sees colours of this range.
const RANGE: f32 = 255.0;

/// Channels inside an attention, and its pairs of convolutions.
type Inner = (usize, usize);

struct Config {
    colours: usize,
    channels: usize,
    warmup: Inner,
    attentions: Vec<Inner>,
    scale: usize,
}

impl Config {
    fn of(shapes: &Shapes) -> Option<Self> {
        let [channels, colours, ..] = shapes.get::<4>("head.weight")?;
        let attention = |at: &str| {
            let [inner, ..] = shapes.get::<4>(&format!("{at}.squeeze.weight"))?;
            Some((inner, shapes.count(&format!("{at}.convs."), ".conv1.rep_conv.weight", 0)))
        };
        let blocks = shapes.count("basic_blocks.", ".conv1.rep_conv.weight", 0);
        let [shuffled, ..] = shapes.get::<4>("tail.0.weight")?;
        Some(Self {
            colours,
            channels,
            warmup: attention("warmup.1")?,
            attentions: (0..blocks).map(|i| attention(&format!("hfabs.{i}"))).collect::<Option<_>>()?,
            scale: shuffle_factor(shuffled, colours)?,
        })
    }

    fn info(&self) -> UpscalerInfo {
        let attention = |(_, pairs): &Inner| 2 + 2 * pairs;
        let radius = 4 + attention(&self.warmup) + self.attentions.iter().map(|a| 2 + attention(a)).sum::<usize>();
        UpscalerInfo::new(NAME, self.scale, self.colours, Some(radius))
    }
}

fn load(weights: &Weights, shapes: &Shapes, options: LoadOptions) -> Opened {
    let config = Config::of(shapes).ok_or_else(|| misshapen(weights, NAME))?;
    let loader = Loader::new(weights.clone(), options);
    let network = Fmen::load(&loader, &config)?;
    finished(&loader, network, config.info())
}

/// Two convolutions with an activation between them.
#[derive(Debug)]
struct Pair(Conv2d, Conv2d);

impl Pair {
    fn load(at: &Loader, channels: usize) -> Result<Self, LoadError> {
        let part = |name: &str| conv(&at.at(name).at("rep_conv"), channels, channels, 3);
        Ok(Self(part("conv1")?, part("conv2")?))
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        self.1.forward(&activated(&self.0, x, LEAKY)?)
    }
}

/// High-frequency attention: fewer channels, pairs of convolutions, a weight for every value.
#[derive(Debug)]
struct Attention {
    squeeze: Conv2d,
    pairs: Vec<Pair>,
    excite: Conv2d,
}

impl Attention {
    fn load(at: &Loader, channels: usize, (inner, pairs): Inner) -> Result<Self, LoadError> {
        Ok(Self {
            squeeze: conv(&at.at("squeeze"), channels, inner, 3)?,
            pairs: (0..pairs).map(|i| Pair::load(&at.at("convs").at(i), inner)).collect::<Result<_, _>>()?,
            excite: conv(&at.at("excitate"), inner, channels, 3)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let inner = activated(&self.squeeze, x, LEAKY)?;
        let inner = self.pairs.iter().try_fold(inner, |x, pair| pair.forward(&x))?.activation(LEAKY)?;
        activated(&self.excite, &inner, Activation::Sigmoid)?.mul(x)
    }
}

#[derive(Debug)]
struct Fmen {
    head: Conv2d,
    warmup: (Conv2d, Attention),
    blocks: Vec<(Pair, Attention)>,
    last: Conv2d,
    shuffled: Conv2d,
    scale: usize,
}

impl Fmen {
    fn load(loader: &Loader, config: &Config) -> Result<Self, LoadError> {
        let Config { colours, channels: c, warmup, ref attentions, scale } = *config;
        let at = loader.at("warmup");
        let block = |(i, inner): (usize, &Inner)| {
            let pair = Pair::load(&loader.at("basic_blocks").at(i), c)?;
            Ok((pair, Attention::load(&loader.at("hfabs").at(i), c, *inner)?))
        };
        Ok(Self {
            head: conv(&loader.at("head"), colours, c, 3)?,
            warmup: (conv(&at.at(0), c, c, 3)?, Attention::load(&at.at(1), c, warmup)?),
            blocks: attentions.iter().enumerate().map(block).collect::<Result<_, LoadError>>()?,
            last: conv(&loader.at("lr_conv"), c, c, 3)?,
            shuffled: conv(&loader.at("tail").at(0), c, colours * scale * scale, 3)?,
            scale,
        })
    }
}

impl Network for Fmen {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let features = self.head.forward(&x.mul_scalar(RANGE)?)?;
        let start = self.warmup.1.forward(&self.warmup.0.forward(&features)?)?;
        let body = self.blocks.iter().try_fold(start, |x, (pair, attention)| attention.forward(&pair.forward(&x)?))?;
        let body = added(&self.last, &body, &features)?;
        self.shuffled.forward(&body)?.pixel_shuffle(self.scale)?.mul_scalar(1.0 / RANGE)
    }
}
