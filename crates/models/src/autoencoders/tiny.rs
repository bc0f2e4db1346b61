//! `AutoencoderTiny`, the TAESD family: small convolutional autoencoders for previews and quick decoding.
//!
//! Source: Bohan 2023 (madebyollin/taesd): a plain sequence of 3×3 convolutions and blocks of three with a shortcut,
//! ReLU, nearest upsampling. Pictures are `[b, h, w, 3]` in 0..1; latents are in the denoiser's scaled space.

use danqing_nn::{Conv2d, Init, LoadError, Loader};
use danqing_tensor::{Activation, Conv2dOptions, ConvFusion, Tensor, TensorError};

use crate::unet::blocks::SAME;

const WIDTH: usize = 64;
const LEVELS: usize = 4;
const BLOCKS: usize = 3;
const RELU: Activation = Activation::Relu;

#[derive(Debug)]
struct Block {
    convs: [Conv2d; 3],
}

impl Block {
    fn load(at: &Loader) -> Result<Self, LoadError> {
        let conv = |i: usize| Conv2d::load(&at.at("conv").at(i), WIDTH, WIDTH, 3, SAME);
        Ok(Self { convs: [conv(0)?, conv(2)?, conv(4)?] })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let relu = || ConvFusion { activation: RELU, ..Default::default() };
        let h = self.convs[0].forward_with(x, relu())?;
        let h = self.convs[1].forward_with(&h, relu())?;
        self.convs[2].forward_with(&h, ConvFusion { residual: Some(x), ..Default::default() })?.relu()
    }
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a network has a score of them, made once")]
enum Step {
    Conv(Conv2d),
    ConvRelu(Conv2d),
    Block(Block),
    Upsample,
}

impl Step {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        match self {
            Self::Conv(conv) => conv.forward(x),
            Self::ConvRelu(conv) => conv.forward_with(x, ConvFusion { activation: RELU, ..Default::default() }),
            Self::Block(block) => block.forward(x),
            Self::Upsample => x.upsample_nearest(2),
        }
    }
}

fn unbiased(at: &Loader, options: Conv2dOptions) -> Result<Conv2d, LoadError> {
    Conv2d::load_with(at, WIDTH, WIDTH, 3, options, false, Init::KaimingUniform)
}

fn run(steps: &[Step], x: Tensor) -> Result<Tensor, TensorError> {
    steps.iter().try_fold(x, |x, step| step.forward(&x))
}

/// Picture → latent.
#[derive(Debug)]
pub struct TinyEncoder {
    steps: Vec<Step>,
}

impl TinyEncoder {
    /// Builds the encoder from weights named as TAESD's files name them (`0.weight`, `1.conv.0.weight`, …).
    ///
    /// # Errors
    /// Weights that do not fit.
    pub fn load(at: &Loader, latent_channels: usize) -> Result<Self, LoadError> {
        let halve = Conv2dOptions { stride: [2, 2], ..SAME };
        let mut steps =
            vec![Step::Conv(Conv2d::load(&at.at(0), 3, WIDTH, 3, SAME)?), Step::Block(Block::load(&at.at(1))?)];
        for _ in 1..LEVELS {
            let at_conv = at.at(steps.len());
            steps.push(Step::Conv(unbiased(&at_conv, halve)?));
            for _ in 0..BLOCKS {
                steps.push(Step::Block(Block::load(&at.at(steps.len()))?));
            }
        }
        let last = at.at(steps.len());
        steps.push(Step::Conv(Conv2d::load(&last, WIDTH, latent_channels, 3, SAME)?));
        Ok(Self { steps })
    }

    /// Picture `[b, h, w, 3]` in 0..1 → scaled latent `[b, h/8, w/8, channels]`.
    ///
    /// # Errors
    /// Another number of channels.
    pub fn forward(&self, picture: &Tensor) -> Result<Tensor, TensorError> {
        run(&self.steps, picture.clone())
    }
}

/// Latent → picture.
#[derive(Debug)]
pub struct TinyDecoder {
    steps: Vec<Step>,
}

impl TinyDecoder {
    /// Builds the decoder from weights named as TAESD's files name them (`1.weight`, `3.conv.0.weight`, …).
    ///
    /// # Errors
    /// Weights that do not fit.
    pub fn load(at: &Loader, latent_channels: usize) -> Result<Self, LoadError> {
        // Names count the clamp (0) and the ReLU (2), which hold no weights.
        let mut steps = vec![Step::ConvRelu(Conv2d::load(&at.at(1), latent_channels, WIDTH, 3, SAME)?)];
        let mut name = 3;
        for _ in 1..LEVELS {
            for _ in 0..BLOCKS {
                steps.push(Step::Block(Block::load(&at.at(name))?));
                name += 1;
            }
            steps.push(Step::Upsample);
            steps.push(Step::Conv(unbiased(&at.at(name + 1), SAME)?));
            name += 2;
        }
        steps.push(Step::Block(Block::load(&at.at(name))?));
        steps.push(Step::Conv(Conv2d::load(&at.at(name + 1), WIDTH, 3, 3, SAME)?));
        Ok(Self { steps })
    }

    /// Scaled latent `[b, h, w, channels]` → picture `[b, 8h, 8w, 3]`, about 0..1, not clamped.
    ///
    /// # Errors
    /// Another number of channels.
    pub fn forward(&self, latent: &Tensor) -> Result<Tensor, TensorError> {
        // Keeps stray values of early steps inside the range that the decoder was trained on.
        let clamped = latent.mul_scalar(1.0 / 3.0)?.tanh()?.mul_scalar(3.0)?;
        run(&self.steps, clamped)
    }
}
