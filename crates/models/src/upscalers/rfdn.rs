//! RFDN, the residual feature distillation network (Liu et al., arXiv:2009.11551; winner of AIM 2020).

use danqing_checkpoints::Weights;
use danqing_nn::{Conv2d, LoadError, LoadOptions, Loader};
use danqing_tensor::{Activation, Tensor, TensorError};

use super::distilled::Distilled;
use super::layers::{Style, activated, added, conv};
use super::shapes::shuffle_factor;
use super::{Network, Opened, Shapes, UpscalerArchitecture, UpscalerInfo, esa, finished, misshapen};

/// RFDN.
pub static ARCHITECTURE: UpscalerArchitecture = UpscalerArchitecture {
    name: NAME,
    names: &[
        "fea_conv.weight",
        "fea_conv.bias",
        "B*.c*_r.weight",
        "B*.c*_r.bias",
        "B*.c*_d.weight",
        "B*.c*_d.bias",
        "B*.c*.weight",
        "B*.c*.bias",
        "B*.esa.conv*.weight",
        "B*.esa.conv*.bias",
        "B*.esa.conv*_.weight",
        "B*.esa.conv*_.bias",
        "B*.esa.conv_f.weight",
        "B*.esa.conv_f.bias",
        "B*.esa.conv_max.weight",
        "B*.esa.conv_max.bias",
        "c.*.weight",
        "c.*.bias",
        "LR_conv.weight",
        "LR_conv.bias",
        "upsampler.*.weight",
        "upsampler.*.bias",
    ],
    detect: |shapes| Config::of(shapes).is_some(),
    load,
};

const NAME: &str = "RFDN";
const LEAKY: Activation = Activation::LeakyRelu(0.05);
/// It sees colours of this range.
const RANGE: f32 = 255.0;

struct Config {
    colours: usize,
    channels: usize,
    aside: usize,
    inner: usize,
    blocks: usize,
    scale: usize,
}

impl Config {
    fn of(shapes: &Shapes) -> Option<Self> {
        let [channels, colours, ..] = shapes.get::<4>("fea_conv.weight")?;
        let [aside, ..] = shapes.get::<4>("B1.c1_d.weight")?;
        let [inner, ..] = shapes.get::<4>("B1.esa.conv1.weight")?;
        let [shuffled, ..] = shapes.get::<4>("upsampler.0.weight")?;
        let blocks = shapes.count("B", ".c1_d.weight", 1);
        Some(Self { colours, channels, aside, inner, blocks, scale: shuffle_factor(shuffled, colours)? })
    }
}

fn load(weights: &Weights, shapes: &Shapes, options: LoadOptions) -> Opened {
    let config = Config::of(shapes).ok_or_else(|| misshapen(weights, NAME))?;
    let loader = Loader::new(weights.clone(), options);
    let network = Rfdn::load(&loader, &config)?;
    let info = UpscalerInfo::new(NAME, config.scale, config.colours, None).tiles(1, esa::LEAST);
    finished(&loader, network, info)
}

#[derive(Debug)]
struct Rfdn {
    first: Conv2d,
    blocks: Vec<Distilled>,
    joined: Conv2d,
    last: Conv2d,
    shuffled: Conv2d,
    scale: usize,
}

impl Rfdn {
    fn load(loader: &Loader, config: &Config) -> Result<Self, LoadError> {
        let Config { colours, channels, aside, inner, blocks, scale } = *config;
        let block = |i: usize| {
            let at = loader.at(format!("B{i}"));
            Distilled::load(&at, [channels, aside, inner], Style::Plain, LEAKY, Activation::Relu)
        };
        Ok(Self {
            first: conv(&loader.at("fea_conv"), colours, channels, 3)?,
            blocks: (1..=blocks).map(block).collect::<Result<_, _>>()?,
            joined: conv(&loader.at("c").at(0), blocks * channels, channels, 1)?,
            last: conv(&loader.at("LR_conv"), channels, channels, 3)?,
            shuffled: conv(&loader.at("upsampler").at(0), channels, colours * scale * scale, 3)?,
            scale,
        })
    }
}

impl Network for Rfdn {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let features = self.first.forward(&x.mul_scalar(RANGE)?)?;
        let mut maps: Vec<Tensor> = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            maps.push(block.forward(maps.last().unwrap_or(&features))?);
        }
        let joined = activated(&self.joined, &Tensor::concat(&maps.iter().collect::<Vec<_>>(), 3)?, LEAKY)?;
        let body = added(&self.last, &joined, &features)?;
        self.shuffled.forward(&body)?.pixel_shuffle(self.scale)?.mul_scalar(1.0 / RANGE)
    }
}
