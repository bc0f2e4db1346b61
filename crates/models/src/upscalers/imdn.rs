//! IMDN, the information multi-distillation network (Hui et al., arXiv:1909.11856; Zheng222/IMDN).
//!
//! In each of three steps a quarter of the features is set aside; channels are weighted by their contrast and mean.

use danqing_checkpoints::Weights;
use danqing_nn::{Conv2d, LoadError, LoadOptions, Loader};
use danqing_tensor::{Activation, Tensor, TensorError};

use super::layers::{activated, added, conv};
use super::shapes::shuffle_factor;
use super::{Network, Opened, Shapes, UpscalerArchitecture, UpscalerInfo, finished, misshapen};

/// IMDN.
pub static ARCHITECTURE: UpscalerArchitecture = UpscalerArchitecture {
    name: NAME,
    names: &[
        "fea_conv.weight",
        "fea_conv.bias",
        "IMDB*.c*.weight",
        "IMDB*.c*.bias",
        "IMDB*.cca.conv_du.*.weight",
        "IMDB*.cca.conv_du.*.bias",
        "c.*.weight",
        "c.*.bias",
        "LR_conv.weight",
        "LR_conv.bias",
        "upsampler.*.weight",
        "upsampler.*.bias",
    ],
    detect: |shapes| shapes.has(&["fea_conv.weight", "IMDB1.c1.weight", "IMDB1.cca.conv_du.0.weight"]),
    load,
};

const NAME: &str = "IMDN";
const LEAKY: Activation = Activation::LeakyRelu(0.05);

struct Config {
    colours: usize,
    channels: usize,
    /// Channels set aside in each step.
    aside: usize,
    /// Channels inside the weighting.
    inner: usize,
    blocks: usize,
    scale: usize,
}

impl Config {
    fn of(shapes: &Shapes) -> Option<Self> {
        let [channels, colours, ..] = shapes.get::<4>("fea_conv.weight")?;
        let [aside, ..] = shapes.get::<4>("IMDB1.c4.weight")?;
        let [inner, ..] = shapes.get::<4>("IMDB1.cca.conv_du.0.weight")?;
        let [shuffled, ..] = shapes.get::<4>("upsampler.0.weight")?;
        let blocks = shapes.count("IMDB", ".c1.weight", 1);
        let scale = shuffle_factor(shuffled, colours)?;
        (aside < channels).then_some(Self { colours, channels, aside, inner, blocks, scale })
    }
}

fn load(weights: &Weights, shapes: &Shapes, options: LoadOptions) -> Opened {
    let config = Config::of(shapes).ok_or_else(|| misshapen(weights, NAME))?;
    let loader = Loader::new(weights.clone(), options);
    let network = Imdn::load(&loader, &config)?;
    finished(&loader, network, UpscalerInfo::new(NAME, config.scale, config.colours, None))
}

#[derive(Debug)]
struct Block {
    steps: [Conv2d; 3],
    rest: Conv2d,
    weighting: (Conv2d, Conv2d),
    joined: Conv2d,
}

impl Block {
    fn load(at: &Loader, config: &Config) -> Result<Self, LoadError> {
        let Config { channels: c, aside, inner, .. } = *config;
        let weighting = at.at("cca").at("conv_du");
        Ok(Self {
            steps: [
                conv(&at.at("c1"), c, c, 3)?,
                conv(&at.at("c2"), c - aside, c, 3)?,
                conv(&at.at("c3"), c - aside, c, 3)?,
            ],
            rest: conv(&at.at("c4"), c - aside, aside, 3)?,
            weighting: (conv(&weighting.at(0), 4 * aside, inner, 1)?, conv(&weighting.at(2), inner, 4 * aside, 1)?),
            joined: conv(&at.at("c5"), 4 * aside, c, 1)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let aside = self.rest.weight.shape()[0];
        let mut parts = Vec::with_capacity(4);
        let mut on = x.clone();
        for step in &self.steps {
            let out = activated(step, &on, LEAKY)?;
            parts.push(out.narrow(3, 0, aside)?);
            on = out.narrow(3, aside, out.dim(3) - aside)?;
        }
        parts.push(self.rest.forward(&on)?);
        let joined = Tensor::concat(&parts.iter().collect::<Vec<_>>(), 3)?;
        let mean = joined.mean(&[1, 2], true)?;
        let contrast = joined.sub(&mean)?.square()?.mean(&[1, 2], true)?.sqrt()?;
        let inner = activated(&self.weighting.0, &contrast.add(&mean)?, Activation::Relu)?;
        let weights = activated(&self.weighting.1, &inner, Activation::Sigmoid)?;
        added(&self.joined, &joined.mul(&weights)?, x)
    }
}

#[derive(Debug)]
struct Imdn {
    first: Conv2d,
    blocks: Vec<Block>,
    joined: Conv2d,
    last: Conv2d,
    shuffled: Conv2d,
    scale: usize,
}

impl Imdn {
    fn load(loader: &Loader, config: &Config) -> Result<Self, LoadError> {
        let Config { colours, channels: c, blocks, scale, .. } = *config;
        Ok(Self {
            first: conv(&loader.at("fea_conv"), colours, c, 3)?,
            blocks: (1..=blocks)
                .map(|i| Block::load(&loader.at(format!("IMDB{i}")), config))
                .collect::<Result<_, _>>()?,
            joined: conv(&loader.at("c").at(0), blocks * c, c, 1)?,
            last: conv(&loader.at("LR_conv"), c, c, 3)?,
            shuffled: conv(&loader.at("upsampler").at(0), c, colours * scale * scale, 3)?,
            scale,
        })
    }
}

impl Network for Imdn {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let features = self.first.forward(x)?;
        let mut maps: Vec<Tensor> = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            maps.push(block.forward(maps.last().unwrap_or(&features))?);
        }
        let joined = activated(&self.joined, &Tensor::concat(&maps.iter().collect::<Vec<_>>(), 3)?, LEAKY)?;
        let body = added(&self.last, &joined, &features)?;
        self.shuffled.forward(&body)?.pixel_shuffle(self.scale)
    }
}
