//! SRVGGNetCompact, the plain network of Real-ESRGAN's small models (Wang et al., arXiv:2107.10833; xinntao/Real-ESRGAN).
//!
//! Convolutions with PReLU between them, a pixel shuffle, and the enlarged input added.

use danqing_checkpoints::Weights;
use danqing_nn::{Conv2d, Init, LoadError, LoadOptions, Loader};
use danqing_tensor::{DType, Param, Tensor, TensorError};

use super::layers::conv;
use super::shapes::shuffle_factor;
use super::staggered::{Ends, Staggered};
use super::{Network, Opened, Shapes, UpscalerArchitecture, UpscalerInfo, finished, misshapen};
use crate::error::ModelError;

/// SRVGGNetCompact.
pub static ARCHITECTURE: UpscalerArchitecture = UpscalerArchitecture {
    name: NAME,
    names: &["body.*.weight", "body.*.bias"],
    detect: |shapes| {
        let conv = |name: &str| shapes.get::<4>(name).is_some();
        conv("body.0.weight") && shapes.get::<1>("body.1.weight").is_some() && conv("body.2.weight")
    },
    load,
};

const NAME: &str = "SRVGGNetCompact";
/// Slope below zero with which PReLU starts in PyTorch.
const SLOPE: f32 = 0.25;

/// Shape of a [`Srvgg`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SrvggConfig {
    /// Channels of the pictures: 1 or 3.
    pub colours: usize,
    /// Channels of the feature maps: 64 in published networks.
    pub channels: usize,
    /// Convolutions between the first and the last: 16 or 32 in published networks.
    pub convs: usize,
    /// Factor of enlargement.
    pub scale: usize,
}

impl SrvggConfig {
    fn of(shapes: &Shapes) -> Option<Self> {
        let [channels, colours, ..] = shapes.get::<4>("body.0.weight")?;
        let last = shapes.count("body.", ".weight", 0).checked_sub(1)?;
        let convs = (last / 2).checked_sub(1)?;
        let [shuffled, ..] = shapes.get::<4>(&format!("body.{last}.weight"))?;
        Some(Self { colours, channels, convs, scale: shuffle_factor(shuffled, colours)? })
    }
}

fn load(weights: &Weights, shapes: &Shapes, options: LoadOptions) -> Opened {
    let config = SrvggConfig::of(shapes).ok_or_else(|| misshapen(weights, NAME))?;
    let loader = Loader::new(weights.clone(), options);
    let network = Srvgg::load(&loader, config)?;
    let info = network.info();
    finished(&loader, network, info)
}

/// The network. Pictures are `[b, h, w, colours]` in 0..1.
#[derive(Debug)]
pub struct Srvgg {
    config: SrvggConfig,
    /// Type of the maps where nothing is learned.
    dtype: DType,
    trainable: bool,
    convs: Vec<(Conv2d, Param)>,
    last: Conv2d,
}

impl Srvgg {
    /// Builds the network from weights (`body.0.weight` …) or a random start.
    ///
    /// # Errors
    /// Weights that do not fit.
    pub fn load(loader: &Loader, config: SrvggConfig) -> Result<Self, ModelError> {
        let SrvggConfig { colours, channels, convs, scale } = config;
        let at = |i: usize| loader.at("body").at(i);
        let pair = |i: usize| -> Result<(Conv2d, Param), LoadError> {
            let c_in = if i == 0 { colours } else { channels };
            let slopes = at(2 * i + 1).param("weight", &[channels], Init::Constant(SLOPE))?;
            Ok((conv(&at(2 * i), c_in, channels, 3)?, slopes))
        };
        let LoadOptions { dtype, trainable, .. } = loader.options();
        Ok(Self {
            config,
            dtype,
            trainable,
            convs: (0..=convs).map(pair).collect::<Result<_, _>>()?,
            last: conv(&at(2 * convs + 2), channels, colours * scale * scale, 3)?,
        })
    }

    /// What its user must know; the number of parameters is left out.
    pub fn info(&self) -> UpscalerInfo {
        let SrvggConfig { colours, convs, scale, .. } = self.config;
        UpscalerInfo::new(NAME, scale, colours, Some(convs + 2))
    }
}

impl Srvgg {
    /// The network without a history, row by row.
    fn staggered(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let SrvggConfig { colours, channels, scale, .. } = self.config;
        let (mut net, picture) = Staggered::new(x, self.dtype)?;
        let maps = [net.map(channels, 1)?, net.map(channels, 1)?];
        let mut from = picture;
        for (i, (conv, slopes)) in self.convs.iter().enumerate() {
            net.conv(conv, &[from], maps[i % 2], Ends { slopes: Some(slopes), ..Ends::default() });
            from = maps[i % 2];
        }
        let shuffled = net.result_map(colours * scale * scale, 1)?;
        net.conv(&self.last, &[from], shuffled, Ends::default());
        net.run(shuffled, scale, Some(picture))
    }
}

impl Network for Srvgg {
    fn mixes(&self) -> bool {
        true
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        if !self.trainable {
            return self.staggered(x);
        }
        let body = self.convs.iter().try_fold(x.clone(), |x, (conv, slopes)| conv.forward(&x)?.prelu(slopes))?;
        let detail = self.last.forward(&body)?.pixel_shuffle(self.config.scale)?;
        detail.add(&x.upsample_nearest(self.config.scale)?)
    }
}
