//! EDSR, the enhanced deep residual network (Lim et al., arXiv:1707.02921; sanghyun-son/EDSR-PyTorch).

use danqing_checkpoints::Weights;
use danqing_nn::{Conv2d, LoadError, LoadOptions, Loader};
use danqing_tensor::{Activation, Tensor, TensorError};

use super::layers::{activated, added, conv};
use super::{Network, Opened, Shapes, UpscalerArchitecture, UpscalerInfo, finished, misshapen};

/// EDSR.
pub static ARCHITECTURE: UpscalerArchitecture = UpscalerArchitecture {
    name: NAME,
    names: &[
        "sub_mean.weight",
        "sub_mean.bias",
        "add_mean.weight",
        "add_mean.bias",
        "head.*.weight",
        "head.*.bias",
        "body.*.body.*.weight",
        "body.*.body.*.bias",
        "body.*.weight",
        "body.*.bias",
        "tail.*.*.weight",
        "tail.*.*.bias",
        "tail.*.weight",
        "tail.*.bias",
    ],
    detect: |shapes| {
        // RCAN has the same ends around groups of blocks.
        shapes.has(&[
            "sub_mean.weight",
            "head.0.weight",
            "body.0.body.0.weight",
            "body.0.body.2.weight",
            "tail.1.weight",
        ]) && !shapes.names().any(|name| name.contains("conv_du"))
    },
    load,
};

const NAME: &str = "EDSR";
/// It sees colours of this range.
const RANGE: f32 = 255.0;
/// The wide networks of the paper add this much of a block's result; files do not tell.
const WIDE: usize = 256;
const SHARE_OF_WIDE: f32 = 0.1;

struct Config {
    colours: usize,
    channels: usize,
    blocks: usize,
    /// Factors of the enlargements in turn.
    factors: Vec<usize>,
}

impl Config {
    fn of(shapes: &Shapes) -> Option<Self> {
        let [channels, colours, ..] = shapes.get::<4>("head.0.weight")?;
        let blocks = shapes.count("body.", ".body.0.weight", 0);
        let factor = |i: usize| {
            let [out, c_in, ..] = shapes.get::<4>(&format!("tail.0.{}.weight", 2 * i))?;
            [2, 3].into_iter().find(|f| c_in * f * f == out)
        };
        let factors: Vec<usize> = (0..3).map_while(factor).collect();
        (colours == 3).then_some(Self { colours, channels, blocks, factors })
    }
}

fn load(weights: &Weights, shapes: &Shapes, options: LoadOptions) -> Opened {
    let config = Config::of(shapes).ok_or_else(|| misshapen(weights, NAME))?;
    let loader = Loader::new(weights.clone(), options);
    let network = Edsr::load(&loader, &config)?;
    let radius = 2 * config.blocks + 2 + config.factors.len() + 1;
    let info = UpscalerInfo::new(NAME, config.factors.iter().product(), config.colours, Some(radius));
    finished(&loader, network, info)
}

#[derive(Debug)]
struct Edsr {
    centred: Conv2d,
    first: Conv2d,
    blocks: Vec<(Conv2d, Conv2d)>,
    last: Conv2d,
    enlarged: Vec<(Conv2d, usize)>,
    colours: Conv2d,
    back: Conv2d,
    share: f32,
}

impl Edsr {
    fn load(loader: &Loader, config: &Config) -> Result<Self, LoadError> {
        let Config { colours, channels: c, blocks, ref factors } = *config;
        let (body, tail) = (loader.at("body"), loader.at("tail"));
        let block = |i: usize| {
            let at = body.at(i).at("body");
            Ok((conv(&at.at(0), c, c, 3)?, conv(&at.at(2), c, c, 3)?))
        };
        let enlarge =
            |(i, factor): (usize, &usize)| Ok((conv(&tail.at(0).at(2 * i), c, c * factor * factor, 3)?, *factor));
        Ok(Self {
            centred: conv(&loader.at("sub_mean"), colours, colours, 1)?,
            first: conv(&loader.at("head").at(0), colours, c, 3)?,
            blocks: (0..blocks).map(block).collect::<Result<_, LoadError>>()?,
            last: conv(&body.at(blocks), c, c, 3)?,
            enlarged: factors.iter().enumerate().map(enlarge).collect::<Result<_, LoadError>>()?,
            colours: conv(&tail.at(1), c, colours, 3)?,
            back: conv(&loader.at("add_mean"), colours, colours, 1)?,
            share: if c >= WIDE { SHARE_OF_WIDE } else { 1.0 },
        })
    }
}

impl Network for Edsr {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let features = self.first.forward(&self.centred.forward(&x.mul_scalar(RANGE)?)?)?;
        let body = self.blocks.iter().try_fold(features.clone(), |x, (first, second)| {
            let inner = activated(first, &x, Activation::Relu)?;
            if self.share == 1.0 {
                added(second, &inner, &x)
            } else {
                second.forward(&inner)?.mul_scalar(self.share)?.add(&x)
            }
        })?;
        let body = added(&self.last, &body, &features)?;
        let large =
            self.enlarged.iter().try_fold(body, |x, (conv, factor)| conv.forward(&x)?.pixel_shuffle(*factor))?;
        self.back.forward(&self.colours.forward(&large)?)?.mul_scalar(1.0 / RANGE)
    }
}
