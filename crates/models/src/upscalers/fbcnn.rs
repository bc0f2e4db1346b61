//! FBCNN, a flexible blind network against traces of JPEG (Jiang et al., arXiv:2109.14573; jiaxi-jiang/FBCNN).
//!
//! A U of residual blocks. From its lowest map a branch tells the quality at which the picture was compressed, and the way up
//! is steered by that.

use danqing_checkpoints::Weights;
use danqing_nn::{Conv2d, Linear, LoadError, LoadOptions, Loader};
use danqing_tensor::{Activation, Conv2dOptions, LinearFusion, Tensor, TensorError};

use super::layers::{Transposed, activated, added, conv, width};
use super::{Network, Opened, Purpose, Shapes, UpscalerArchitecture, UpscalerInfo, finished, misshapen};

/// FBCNN.
pub static ARCHITECTURE: UpscalerArchitecture = UpscalerArchitecture {
    name: NAME,
    names: &[
        "m_head.weight",
        "m_head.bias",
        "m_down*.*.res.*.weight",
        "m_down*.*.res.*.bias",
        "m_down*.*.weight",
        "m_down*.*.bias",
        "m_body_encoder.*.res.*.weight",
        "m_body_encoder.*.res.*.bias",
        "m_body_decoder.*.res.*.weight",
        "m_body_decoder.*.res.*.bias",
        "m_up*.*.res.*.weight",
        "m_up*.*.res.*.bias",
        "m_up*.*.weight",
        "m_up*.*.bias",
        "m_tail.weight",
        "m_tail.bias",
        "qf_pred.*.res.*.weight",
        "qf_pred.*.res.*.bias",
        "qf_pred.*.weight",
        "qf_pred.*.bias",
        "qf_embed.*.weight",
        "qf_embed.*.bias",
        "to_gamma_*.*.weight",
        "to_gamma_*.*.bias",
        "to_beta_*.*.weight",
        "to_beta_*.*.bias",
    ],
    detect: |shapes| {
        shapes.has(&["m_head.weight", "m_down1.0.res.0.weight", "qf_pred.0.res.0.weight", "m_tail.weight"])
    },
    load,
};

const NAME: &str = "FBCNN";
const LEVELS: usize = 3;

struct Config {
    colours: usize,
    /// Channels of the maps from the finest to the coarsest.
    channels: [usize; LEVELS + 1],
    blocks: usize,
}

impl Config {
    fn of(shapes: &Shapes) -> Option<Self> {
        let first = |name: &str| shapes.get::<4>(name).map(|[c_out, ..]| c_out);
        let [c, colours, ..] = shapes.get::<4>("m_head.weight")?;
        let channels = [
            c,
            first("m_down2.0.res.0.weight")?,
            first("m_down3.0.res.0.weight")?,
            first("m_body_encoder.0.res.0.weight")?,
        ];
        let blocks = shapes.count("m_body_encoder.", ".res.0.weight", 0);
        matches!(colours, 1 | 3).then_some(Self { colours, channels, blocks })
    }
}

fn load(weights: &Weights, shapes: &Shapes, options: LoadOptions) -> Opened {
    let config = Config::of(shapes).ok_or_else(|| misshapen(weights, NAME))?;
    let loader = Loader::new(weights.clone(), options);
    let network = Fbcnn::load(&loader, &config)?;
    let multiple = 1 << LEVELS;
    let info = UpscalerInfo::new(NAME, 1, config.colours, None).made_for(Purpose::Dejpeg).tiles(multiple, multiple);
    finished(&loader, network, info)
}

/// Two convolutions.
#[derive(Debug)]
struct Pair(Conv2d, Conv2d);

impl Pair {
    fn load(at: &Loader, c: usize) -> Result<Self, LoadError> {
        let at = at.at("res");
        Ok(Self(conv(&at.at(0), c, c, 3)?, conv(&at.at(2), c, c, 3)?))
    }

    /// Added to their input.
    fn residual(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        added(&self.1, &activated(&self.0, x, Activation::Relu)?, x)
    }

    /// Scaled and moved channel by channel, then added to their input.
    fn steered(&self, x: &Tensor, [scale, offset]: &[Tensor; 2]) -> Result<Tensor, TensorError> {
        self.1.forward(&activated(&self.0, x, Activation::Relu)?)?.mul(scale)?.add(offset)?.add(x)
    }
}

fn residuals(pairs: &[Pair], x: Tensor) -> Result<Tensor, TensorError> {
    pairs.iter().try_fold(x, |x, pair| pair.residual(&x))
}

fn pairs(at: &Loader, from: usize, count: usize, c: usize) -> Result<Vec<Pair>, LoadError> {
    (from..from + count).map(|i| Pair::load(&at.at(i), c)).collect()
}

/// Linear layers with activations behind them.
#[derive(Debug)]
struct Chain(Vec<(Linear, Activation)>);

impl Chain {
    /// Layers `first`, `first + 2`, …, the widths of which the file says.
    fn load(at: &Loader, first: usize, inputs: usize, activations: &[Activation]) -> Result<Self, LoadError> {
        let mut inputs = inputs;
        let mut layers = Vec::with_capacity(activations.len());
        for (i, activation) in activations.iter().enumerate() {
            let at = at.at(first + 2 * i);
            let outputs = width(&at);
            layers.push((Linear::load(&at, inputs, outputs, true)?, *activation));
            inputs = outputs;
        }
        Ok(Self(layers))
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        self.0.iter().try_fold(x.clone(), |x, (layer, activation)| {
            layer.forward_with(&x, LinearFusion { activation: *activation, residual: None })
        })
    }
}

/// One step up: twice the size, then blocks that the quality steers.
#[derive(Debug)]
struct Up {
    spread: Transposed,
    blocks: Vec<Pair>,
    /// Scales and offsets of the blocks' channels.
    steering: [Chain; 2],
}

#[derive(Debug)]
struct Fbcnn {
    first: Conv2d,
    down: Vec<(Vec<Pair>, Conv2d)>,
    encoder: Vec<Pair>,
    decoder: Vec<Pair>,
    /// The quality from the coarsest map: blocks, then layers over its means.
    quality: (Vec<Pair>, Chain),
    embedding: Chain,
    up: Vec<Up>,
    last: Conv2d,
}

impl Fbcnn {
    fn load(loader: &Loader, config: &Config) -> Result<Self, LoadError> {
        use Activation::{Relu, Sigmoid, Tanh};
        let Config { colours, channels, blocks } = *config;
        let lowest = channels[LEVELS];
        let down = |level: usize| {
            let at = loader.at(format!("m_down{}", level + 1));
            let halving = Conv2dOptions::default().stride(2);
            let halving = Conv2d::load(&at.at(blocks), channels[level], channels[level + 1], 2, halving)?;
            Ok((pairs(&at, 0, blocks, channels[level])?, halving))
        };
        let (quality, embed) = (loader.at("qf_pred"), loader.at("qf_embed"));
        let embedding = Chain::load(&embed, 0, 1, &[Relu, Relu, Relu])?;
        let embedded = width(&embed.at(4));
        let up = |level: usize| {
            let at = loader.at(format!("m_up{}", level + 1));
            let [c_in, c] = [channels[level + 1], channels[level]];
            let steer = |kind: &str, activation: Activation| {
                Chain::load(&loader.at(format!("to_{kind}_{}", level + 1)), 0, embedded, &[activation])
            };
            Ok(Up {
                spread: Transposed::load(&at.at(0), [c_in, c], 2, Conv2dOptions::default().stride(2), true)?,
                blocks: pairs(&at, 1, blocks, c)?,
                steering: [steer("gamma", Sigmoid)?, steer("beta", Tanh)?],
            })
        };
        Ok(Self {
            first: conv(&loader.at("m_head"), colours, channels[0], 3)?,
            down: (0..LEVELS).map(down).collect::<Result<_, LoadError>>()?,
            encoder: pairs(&loader.at("m_body_encoder"), 0, blocks, lowest)?,
            decoder: pairs(&loader.at("m_body_decoder"), 0, blocks, lowest)?,
            quality: (
                pairs(&quality, 0, blocks, lowest)?,
                Chain::load(&quality, blocks + 2, lowest, &[Relu, Relu, Sigmoid])?,
            ),
            embedding,
            up: (0..LEVELS).rev().map(up).collect::<Result<_, LoadError>>()?,
            last: conv(&loader.at("m_tail"), channels[0], colours, 3)?,
        })
    }
}

impl Network for Fbcnn {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let mut features = self.first.forward(x)?;
        let mut passed = Vec::with_capacity(LEVELS + 1);
        for (blocks, halving) in &self.down {
            let below = halving.forward(&residuals(blocks, features.clone())?)?;
            passed.push(features);
            features = below;
        }
        passed.push(features.clone());
        features = residuals(&self.encoder, features)?;
        let quality = residuals(&self.quality.0, features.clone())?.mean(&[1, 2], true)?;
        let steering = self.embedding.forward(&self.quality.1.forward(&quality)?)?;
        features = residuals(&self.decoder, features)?;
        for up in &self.up {
            if let Some(here) = passed.pop() {
                features = features.add(&here)?;
            }
            let steering = [up.steering[0].forward(&steering)?, up.steering[1].forward(&steering)?];
            features =
                up.blocks.iter().try_fold(up.spread.forward(&features)?, |x, pair| pair.steered(&x, &steering))?;
        }
        if let Some(here) = passed.pop() {
            features = features.add(&here)?;
        }
        self.last.forward(&features)
    }
}
