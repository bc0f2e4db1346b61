//! BSRN, the blueprint separable residual network (Li et al., arXiv:2205.05996; winner of NTIRE 2022's complexity track).

use danqing_checkpoints::Weights;
use danqing_nn::{Conv2d, Init, Linear, LoadError, LoadOptions, Loader};
use danqing_tensor::{Activation, Param, Tensor, TensorError};

use super::distilled::Distilled;
use super::layers::{Layer, Style, conv};
use super::shapes::shuffle_factor;
use super::{Network, Opened, Shapes, UpscalerArchitecture, UpscalerInfo, esa, finished, misshapen};

/// BSRN.
pub static ARCHITECTURE: UpscalerArchitecture = UpscalerArchitecture {
    name: NAME,
    names: &[
        "fea_conv.pw.weight",
        "fea_conv.pw.bias",
        "fea_conv.dw.weight",
        "fea_conv.dw.bias",
        "B*.c*_d.weight",
        "B*.c*_d.bias",
        "B*.c*_r.pw.weight",
        "B*.c*_r.pw.bias",
        "B*.c*_r.dw.weight",
        "B*.c*_r.dw.bias",
        "B*.cw",
        "B*.conv_out.weight",
        "B*.conv_out.bias",
        "c*.weight",
        "c*.bias",
        "c*.pw.weight",
        "c*.dw.weight",
        "upsampler.upsampleOneStep.*.weight",
        "upsampler.upsampleOneStep.*.bias",
    ],
    detect: |shapes| Config::of(shapes).is_some(),
    load,
};

const NAME: &str = "BSRN";

struct Config {
    colours: usize,
    /// How often the picture is repeated along its channels before the first convolution.
    copies: usize,
    channels: usize,
    aside: usize,
    inner: usize,
    blocks: usize,
    scale: usize,
}

impl Config {
    fn of(shapes: &Shapes) -> Option<Self> {
        const COPIES: usize = 4;
        let [channels, inputs] = shapes.get::<2>("fea_conv.pw.weight")?;
        let [aside, _] = shapes.get::<2>("B1.c1_d.weight")?;
        let [inner, _] = shapes.get::<2>("B1.esa.conv1.weight")?;
        let colours = inputs.is_multiple_of(COPIES).then_some(inputs / COPIES)?;
        let [shuffled, ..] = shapes.get::<4>("upsampler.upsampleOneStep.0.weight")?;
        let blocks = shapes.count("B", ".c1_d.weight", 1);
        let scale = shuffle_factor(shuffled, colours)?;
        Some(Self { colours, copies: COPIES, channels, aside, inner, blocks, scale })
    }
}

fn load(weights: &Weights, shapes: &Shapes, options: LoadOptions) -> Opened {
    let config = Config::of(shapes).ok_or_else(|| misshapen(weights, NAME))?;
    let loader = Loader::new(weights.clone(), options);
    let network = Bsrn::load(&loader, &config)?;
    let info = UpscalerInfo::new(NAME, config.scale, config.colours, None).tiles(1, esa::LEAST);
    finished(&loader, network, info)
}

#[derive(Debug)]
struct Block {
    inner: Distilled,
    /// Factor of each channel, `[1, channels]`.
    factors: Param,
    last: Linear,
}

impl Block {
    fn load(at: &Loader, channels: usize, aside: usize, inner: usize) -> Result<Self, LoadError> {
        let gelu = Activation::Gelu;
        Ok(Self {
            inner: Distilled::load(at, [channels, aside, inner], Style::Blueprint, gelu, gelu)?,
            factors: at.param("cw", &[1, channels], Init::ONES)?,
            last: Linear::load(&at.at("conv_out"), channels, channels, true)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let out = self.inner.forward(x)?;
        self.last.forward(&out.mul(&self.factors.tensor().cast(out.dtype())?)?)?.add(x)
    }
}

#[derive(Debug)]
struct Bsrn {
    first: Layer,
    blocks: Vec<Block>,
    joined: Linear,
    last: Layer,
    shuffled: Conv2d,
    copies: usize,
    scale: usize,
}

impl Bsrn {
    fn load(loader: &Loader, config: &Config) -> Result<Self, LoadError> {
        let Config { colours, copies, channels, aside, inner, blocks, scale } = *config;
        let shuffled = loader.at("upsampler").at("upsampleOneStep").at(0);
        Ok(Self {
            first: Style::Blueprint.spatial(&loader.at("fea_conv"), copies * colours, channels)?,
            blocks: (1..=blocks)
                .map(|i| Block::load(&loader.at(format!("B{i}")), channels, aside, inner))
                .collect::<Result<_, _>>()?,
            joined: Linear::load(&loader.at("c1"), blocks * channels, channels, true)?,
            last: Style::Blueprint.spatial(&loader.at("c2"), channels, channels)?,
            shuffled: conv(&shuffled, channels, colours * scale * scale, 3)?,
            copies,
            scale,
        })
    }
}

impl Network for Bsrn {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let features = self.first.forward(&Tensor::concat(&vec![x; self.copies], 3)?)?;
        let mut maps: Vec<Tensor> = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            maps.push(block.forward(maps.last().unwrap_or(&features))?);
        }
        let joined = self.joined.forward(&Tensor::concat(&maps.iter().collect::<Vec<_>>(), 3)?)?.gelu()?;
        let body = self.last.forward(&joined)?.add(&features)?;
        self.shuffled.forward(&body)?.pixel_shuffle(self.scale)
    }
}
