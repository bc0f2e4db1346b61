//! RLFN, the residual local feature network (Kong et al., arXiv:2205.07514; winner of NTIRE 2022's runtime track).
//!
//! Blocks of three convolutions, a shortcut and spatial attention. Files of the challenge name the parts `fea_conv`, `B1` …,
//! those of the authors `conv_1`, `block_1` …

use danqing_checkpoints::Weights;
use danqing_nn::{Conv2d, LoadError, LoadOptions, Loader};
use danqing_tensor::{Activation, Tensor, TensorError};

use super::esa::{self, Esa};
use super::layers::{Style, activated, added, conv};
use super::shapes::shuffle_factor;
use super::{Network, Opened, Shapes, UpscalerArchitecture, UpscalerInfo, finished, misshapen};

/// RLFN.
pub static ARCHITECTURE: UpscalerArchitecture = UpscalerArchitecture {
    name: NAME,
    names: &[
        "fea_conv.weight",
        "fea_conv.bias",
        "B*.c*_r.weight",
        "B*.c*_r.bias",
        "B*.c*.weight",
        "B*.c*.bias",
        "B*.esa.conv*.weight",
        "B*.esa.conv*.bias",
        "B*.esa.conv_f.weight",
        "B*.esa.conv_f.bias",
        "LR_conv.weight",
        "LR_conv.bias",
        "conv_*.weight",
        "conv_*.bias",
        "block_*.c*_r.weight",
        "block_*.c*_r.bias",
        "block_*.c*.weight",
        "block_*.c*.bias",
        "block_*.esa.conv*.weight",
        "block_*.esa.conv*.bias",
        "block_*.esa.conv_f.weight",
        "block_*.esa.conv_f.bias",
        "upsampler.*.weight",
        "upsampler.*.bias",
    ],
    detect: |shapes| Config::of(shapes).is_some() && !shapes.has(&["B1.c1_d.weight"]),
    load,
};

const NAME: &str = "RLFN";
const LEAKY: Activation = Activation::LeakyRelu(0.05);
/// The network of the challenge sees colours of this range.
const RANGE: f32 = 255.0;

/// Names of the first convolution, the blocks and the last convolution of the body.
type Names = [&'static str; 3];
const CHALLENGE: Names = ["fea_conv", "B", "LR_conv"];
const AUTHORS: Names = ["conv_1", "block_", "conv_2"];

struct Config {
    names: Names,
    colours: usize,
    channels: usize,
    inner: usize,
    attention: usize,
    blocks: usize,
    scale: usize,
    range: f32,
}

impl Config {
    fn of(shapes: &Shapes) -> Option<Self> {
        [(CHALLENGE, RANGE), (AUTHORS, 1.0)].into_iter().find_map(|(names, range)| {
            let [first, block, _] = names;
            let [channels, colours, ..] = shapes.get::<4>(&format!("{first}.weight"))?;
            let [inner, ..] = shapes.get::<4>(&format!("{block}1.c1_r.weight"))?;
            let [attention, ..] = shapes.get::<4>(&format!("{block}1.esa.conv1.weight"))?;
            let blocks = shapes.count(block, ".c1_r.weight", 1);
            let [shuffled, ..] = shapes.get::<4>("upsampler.0.weight")?;
            let scale = shuffle_factor(shuffled, colours)?;
            Some(Self { names, colours, channels, inner, attention, blocks, scale, range })
        })
    }
}

fn load(weights: &Weights, shapes: &Shapes, options: LoadOptions) -> Opened {
    let config = Config::of(shapes).ok_or_else(|| misshapen(weights, NAME))?;
    let loader = Loader::new(weights.clone(), options);
    let network = Rlfn::load(&loader, &config)?;
    let info = UpscalerInfo::new(NAME, config.scale, config.colours, None).tiles(1, esa::LEAST);
    finished(&loader, network, info)
}

#[derive(Debug)]
struct Block {
    convs: [Conv2d; 3],
    fused: Conv2d,
    attention: Esa,
}

impl Block {
    fn load(at: &Loader, config: &Config) -> Result<Self, LoadError> {
        let Config { channels, inner, attention, .. } = *config;
        Ok(Self {
            convs: [
                conv(&at.at("c1_r"), channels, inner, 3)?,
                conv(&at.at("c2_r"), inner, inner, 3)?,
                conv(&at.at("c3_r"), inner, channels, 3)?,
            ],
            fused: conv(&at.at("c5"), channels, channels, 1)?,
            attention: Esa::load(&at.at("esa"), channels, attention, Style::Plain, &["conv3"], Activation::None)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let out = self.convs.iter().try_fold(x.clone(), |x, conv| activated(conv, &x, LEAKY))?;
        self.attention.forward(&self.fused.forward(&out.add(x)?)?)
    }
}

#[derive(Debug)]
struct Rlfn {
    first: Conv2d,
    blocks: Vec<Block>,
    last: Conv2d,
    shuffled: Conv2d,
    scale: usize,
    range: f32,
}

impl Rlfn {
    fn load(loader: &Loader, config: &Config) -> Result<Self, LoadError> {
        let Config { names: [first, block, last], colours, channels, blocks, scale, range, .. } = *config;
        Ok(Self {
            first: conv(&loader.at(first), colours, channels, 3)?,
            blocks: (1..=blocks)
                .map(|i| Block::load(&loader.at(format!("{block}{i}")), config))
                .collect::<Result<_, _>>()?,
            last: conv(&loader.at(last), channels, channels, 3)?,
            shuffled: conv(&loader.at("upsampler").at(0), channels, colours * scale * scale, 3)?,
            scale,
            range,
        })
    }
}

impl Network for Rlfn {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let features = self.first.forward(&x.mul_scalar(self.range)?)?;
        let body = self.blocks.iter().try_fold(features.clone(), |x, block| block.forward(&x))?;
        let body = added(&self.last, &body, &features)?;
        self.shuffled.forward(&body)?.pixel_shuffle(self.scale)?.mul_scalar(1.0 / self.range)
    }
}
