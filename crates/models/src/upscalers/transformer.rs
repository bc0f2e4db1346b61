//! What transformers that enlarge have in common beside their attention (SwinIR's frame, arXiv:2108.10257): colours around
//! their mean, feed-forward parts, the trunk of groups of blocks with a convolution behind each, and ways to the picture.

use danqing_nn::{Conv2d, LayerNorm, Linear, LoadError, Loader};
use danqing_tensor::{Activation, LinearFusion, Tensor, TensorError};

use super::layers::{activated, added, conv, width};
use super::shapes::shuffle_factor;
use super::{Network, Shapes};

/// Added to variances by layer norms.
pub(crate) const NORM: f32 = 1e-5;
/// Mean colour of DIV2K.
const MEAN: [f32; 3] = [0.4488, 0.4371, 0.4040];
/// Slopes of the activations below zero: before the enlargement, and elsewhere.
const BEFORE: Activation = Activation::LeakyRelu(0.01);
const LEAKY: Activation = Activation::LeakyRelu(0.2);

/// The largest factor that is believed; what a file has beyond it is told as unexpected.
const LARGEST: usize = 16;

/// An architecture's names of tensors: its own, and those of the frame.
macro_rules! framed_names {
    ($($own:literal),* $(,)?) => {
        &[
            $($own,)*
            "conv_first.weight",
            "conv_first.bias",
            "layers.*.conv.weight",
            "layers.*.conv.bias",
            "layers.*.conv.*.weight",
            "layers.*.conv.*.bias",
            "norm.weight",
            "norm.bias",
            "conv_after_body.weight",
            "conv_after_body.bias",
            "conv_after_body.*.weight",
            "conv_after_body.*.bias",
            "conv_before_upsample.*.weight",
            "conv_before_upsample.*.bias",
            "upsample.*.weight",
            "upsample.*.bias",
            "conv_up*.weight",
            "conv_up*.bias",
            "conv_hr.weight",
            "conv_hr.bias",
            "conv_last.weight",
            "conv_last.bias",
        ]
    };
}
pub(crate) use framed_names;

/// How a network sees colours: `(colour - mean) · range`. The mean is that of RGB pictures; grey ones are only scaled.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Colours {
    pub channels: usize,
    pub range: f32,
}

impl Colours {
    fn mean(self, like: &Tensor) -> Result<Option<Tensor>, TensorError> {
        let mean = (self.channels == MEAN.len()).then(|| Tensor::from_slice(&MEAN, &[MEAN.len()]));
        mean.map(|mean| mean?.cast(like.dtype())).transpose()
    }

    pub fn seen(self, x: &Tensor) -> Result<Tensor, TensorError> {
        let x = match self.mean(x)? {
            Some(mean) => x.sub(&mean)?,
            None => x.clone(),
        };
        if self.range == 1.0 { Ok(x) } else { x.mul_scalar(self.range) }
    }

    pub fn shown(self, x: &Tensor) -> Result<Tensor, TensorError> {
        let x = if self.range == 1.0 { x.clone() } else { x.mul_scalar(1.0 / self.range)? };
        match self.mean(&x)? {
            Some(mean) => x.add(&mean),
            None => Ok(x),
        }
    }
}

/// Two linear layers, a GELU between them.
#[derive(Debug)]
pub(crate) struct FeedForward(Linear, Linear);

impl FeedForward {
    /// Layers of these names; the file says how wide they are inside.
    pub fn load(at: &Loader, [first, second]: [&str; 2], c: usize) -> Result<Self, LoadError> {
        let inner = width(&at.at(first));
        Ok(Self(Linear::load(&at.at(first), c, inner, true)?, Linear::load(&at.at(second), inner, c, true)?))
    }

    /// The result plus `residual`.
    pub fn forward(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor, TensorError> {
        let inner = self.0.forward_with(x, LinearFusion { activation: Activation::Gelu, residual: None })?;
        self.1.forward_with(&inner, LinearFusion { activation: Activation::None, residual: Some(residual) })
    }
}

/// The convolution behind a group of blocks: one, or three with fewer channels between them.
#[derive(Debug)]
pub(crate) enum Behind {
    One(Conv2d),
    Three(Box<[Conv2d; 3]>),
}

impl Behind {
    /// Whichever the file has.
    pub fn load(at: &Loader, c: usize) -> Result<Self, LoadError> {
        if at.contains("0.weight") == Some(true) {
            let inner = width(&at.at(0));
            let last = conv(&at.at(4), inner, c, 3)?;
            return Ok(Self::Three(Box::new([conv(&at.at(0), c, inner, 3)?, conv(&at.at(2), inner, inner, 1)?, last])));
        }
        Ok(Self::One(conv(at, c, c, 3)?))
    }

    /// The result plus `residual`.
    pub fn forward(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor, TensorError> {
        match self {
            Self::One(one) => added(one, x, residual),
            Self::Three(three) => {
                let [first, second, last] = three.as_ref();
                added(last, &activated(second, &activated(first, x, LEAKY)?, LEAKY)?, residual)
            }
        }
    }
}

/// A group of blocks, without the convolution behind it.
pub(crate) trait Group: Send + Sync {
    /// `[b, h, w, c]` → the same.
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError>;
}

/// The frame: a convolution, groups of blocks of which each is added to what it was given, and the way to the picture.
#[derive(Debug)]
pub(crate) struct Trunk<G> {
    colours: Colours,
    first: Conv2d,
    /// Before the groups and behind them.
    norms: (Option<LayerNorm>, LayerNorm),
    groups: Vec<(G, Behind)>,
    behind: Behind,
    reconstruction: Reconstruction,
}

/// The numbers of a [`Trunk`].
pub(crate) struct Frame<'a> {
    pub colours: Colours,
    pub channels: usize,
    /// How many groups there are.
    pub groups: usize,
    /// Where the norm before the groups stands, if there is one.
    pub norm: Option<&'a str>,
}

impl<G> Trunk<G> {
    /// A trunk whose groups `group` loads, given a layer and its number; and the factor by which it enlarges.
    pub fn load(
        loader: &Loader,
        shapes: &Shapes,
        frame: &Frame<'_>,
        mut group: impl FnMut(&Loader, usize) -> Result<G, LoadError>,
    ) -> Result<(Self, usize), LoadError> {
        let Frame { colours, channels: c, groups, norm } = *frame;
        let normed = |at: &str| LayerNorm::load(&loader.at(at), c, NORM);
        let mut layer = |i: usize| -> Result<(G, Behind), LoadError> {
            let at = loader.at("layers").at(i);
            Ok((group(&at, i)?, Behind::load(&at.at("conv"), c)?))
        };
        let (reconstruction, factor) = Reconstruction::load(loader, shapes, c, colours.channels)?;
        let trunk = Self {
            colours,
            first: conv(&loader.at("conv_first"), colours.channels, c, 3)?,
            norms: (norm.map(normed).transpose()?, normed("norm")?),
            groups: (0..groups).map(&mut layer).collect::<Result<_, LoadError>>()?,
            behind: Behind::load(&loader.at("conv_after_body"), c)?,
            reconstruction,
        };
        Ok((trunk, factor))
    }
}

impl<G: Group> Network for Trunk<G> {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let x = self.colours.seen(x)?;
        let first = self.first.forward(&x)?;
        let start = match &self.norms.0 {
            Some(norm) => norm.forward(&first)?,
            None => first.clone(),
        };
        let body = self.groups.iter().try_fold(start, |x, (group, behind)| behind.forward(&group.forward(&x)?, &x))?;
        let features = self.behind.forward(&self.norms.1.forward(&body)?, &first)?;
        self.colours.shown(&self.reconstruction.forward(&features, &x)?)
    }
}

/// The way from features to a picture.
#[derive(Debug)]
pub(crate) enum Reconstruction {
    /// Pixel shuffles of features between two convolutions.
    Shuffles { before: Conv2d, shuffles: Vec<(Conv2d, usize)>, last: Conv2d },
    /// One pixel shuffle that gives the picture.
    Direct { shuffled: Conv2d, factor: usize },
    /// Doublings by the nearest neighbour, each with a convolution.
    Nearest { before: Conv2d, doublings: Vec<Conv2d>, fine: Conv2d, last: Conv2d },
    /// What is to be added to the picture.
    Residual(Conv2d),
}

impl Reconstruction {
    /// Whichever the file has, for features of `c` channels; and its factor.
    pub fn load(loader: &Loader, shapes: &Shapes, c: usize, colours: usize) -> Result<(Self, usize), LoadError> {
        let doublings = shapes.count("conv_up", ".weight", 1);
        let before = loader.at("conv_before_upsample").at(0);
        let last = loader.at("conv_last");
        if !shapes.has(&["conv_before_upsample.0.weight"]) {
            if !shapes.has(&["upsample.0.weight"]) {
                return Ok((Self::Residual(conv(&last, c, colours, 3)?), 1));
            }
            let at = loader.at("upsample").at(0);
            let factor = shuffle_factor(width(&at), colours).unwrap_or(1);
            return Ok((Self::Direct { shuffled: conv(&at, c, colours * factor * factor, 3)?, factor }, factor));
        }
        let f = width(&before);
        let before = conv(&before, c, f, 3)?;
        if doublings > 0 {
            let up = |i: usize| conv(&loader.at(format!("conv_up{i}")), f, f, 3);
            let fine = conv(&loader.at("conv_hr"), f, f, 3)?;
            let doublings = (1..=doublings.min(4)).map(up).collect::<Result<Vec<_>, _>>()?;
            let factor = 1 << doublings.len();
            return Ok((Self::Nearest { before, doublings, fine, last: conv(&last, f, colours, 3)? }, factor));
        }
        let (mut shuffles, mut factor) = (Vec::new(), 1);
        while shapes.has(&[&format!("upsample.{}.weight", 2 * shuffles.len())]) {
            let at = loader.at("upsample").at(2 * shuffles.len());
            let more = shuffle_factor(width(&at), f).unwrap_or(1);
            factor *= more;
            if factor > LARGEST || shuffles.len() >= LARGEST {
                break;
            }
            shuffles.push((conv(&at, f, f * more * more, 3)?, more));
        }
        Ok((Self::Shuffles { before, shuffles, last: conv(&last, f, colours, 3)? }, factor))
    }

    /// The picture made of `features`, `x` being the one that came in.
    pub fn forward(&self, features: &Tensor, x: &Tensor) -> Result<Tensor, TensorError> {
        match self {
            Self::Shuffles { before, shuffles, last } => {
                let start = activated(before, features, BEFORE)?;
                let large = shuffles.iter().try_fold(start, |x, (conv, f)| conv.forward(&x)?.pixel_shuffle(*f))?;
                last.forward(&large)
            }
            Self::Direct { shuffled, factor } => shuffled.forward(features)?.pixel_shuffle(*factor),
            Self::Nearest { before, doublings, fine, last } => {
                let start = activated(before, features, BEFORE)?;
                let large =
                    doublings.iter().try_fold(start, |x, conv| activated(conv, &x.upsample_nearest(2)?, LEAKY))?;
                last.forward(&activated(fine, &large, LEAKY)?)
            }
            Self::Residual(last) => added(last, features, x),
        }
    }
}
