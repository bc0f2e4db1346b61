//! The evaluator: a small residual network that says what a 64-pixel picture shows — which things, how many, in which
//! colour. It is trained apart from the generator, on painted scenes, and scores what the generator draws.
//!
//! Source: residual blocks, He et al. 2016; group norm, Wu & He 2018. The questions are those of GenEval (Ghosh et al.
//! 2023): single things, colours, counts, two things.

use danqing_nn::{Conv2d, GroupNorm, Linear, LoadError, Loader, ParamStore};
use danqing_tensor::{Activation, Conv2dOptions, ConvFusion, DType, LinearFusion, Tensor, TensorError};

use crate::data::OBJECT_COLOURS;

/// Channels of the levels, at sides 64, 32, 16 and 8.
const CHANNELS: [usize; 4] = [24, 40, 72, 128];
/// Width of the layer before the answers.
const HIDDEN: usize = 256;
/// Channels of one group of the norms.
const GROUP: usize = 8;
/// Largest number of things that is told apart.
pub const MAX_COUNT: usize = 4;

const SAME: Conv2dOptions =
    Conv2dOptions { stride: [1; 2], padding: [1; 4], dilation: [1; 2], groups: 1, output_padding: [0; 2] };
const HALVED: Conv2dOptions = Conv2dOptions { stride: [2; 2], ..SAME };

struct Block {
    norms: [GroupNorm; 2],
    convs: [Conv2d; 2],
}

impl Block {
    fn load(at: &Loader, channels: usize) -> Result<Self, LoadError> {
        let norm = |name: &str| GroupNorm::load(&at.at(name), channels / GROUP, channels, 1e-5);
        let conv = |name: &str| Conv2d::load(&at.at(name), channels, channels, 3, SAME);
        Ok(Self { norms: [norm("norm1")?, norm("norm2")?], convs: [conv("conv1")?, conv("conv2")?] })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let h = self.convs[0].forward(&self.norms[0].forward_with(x, Activation::Silu)?)?;
        let h = self.norms[1].forward_with(&h, Activation::Silu)?;
        self.convs[1].forward_with(&h, ConvFusion { residual: Some(x), ..Default::default() })
    }
}

/// What the evaluator says about a batch, as logits in f32.
#[derive(Debug)]
pub struct Answers {
    /// `[b, concepts]`: one softmax over the things; a picture of two things has half of it on each.
    pub things: Tensor,
    /// `[b, 8]`: the colour word of the one thing.
    pub colour: Tensor,
    /// `[b, 4]`: how many there are, from 1.
    pub count: Tensor,
}

/// The network. Pictures are `[b, side, side, 3]` in -1..1, the side a multiple of 8.
pub struct Evaluator {
    stem: Conv2d,
    down: Vec<Conv2d>,
    blocks: Vec<[Block; 2]>,
    norm: GroupNorm,
    hidden: Linear,
    things: Linear,
    colour: Linear,
    count: Linear,
}

impl Evaluator {
    /// Loads or makes the network for `concepts` things.
    ///
    /// # Errors
    /// Weights that are missing or misshapen.
    pub fn load(at: &Loader, concepts: usize) -> Result<Self, LoadError> {
        let [first, .., last] = CHANNELS;
        let (mut down, mut blocks) = (Vec::new(), Vec::new());
        for (level, pair) in CHANNELS.windows(2).enumerate() {
            let at = at.at("levels").at(level);
            down.push(Conv2d::load(&at.at("down"), pair[0], pair[1], 3, HALVED)?);
            let block = |i: usize| Block::load(&at.at("blocks").at(i), pair[1]);
            blocks.push([block(0)?, block(1)?]);
        }
        Ok(Self {
            stem: Conv2d::load(&at.at("stem"), 3, first, 3, SAME)?,
            down,
            blocks,
            norm: GroupNorm::load(&at.at("norm"), last / GROUP, last, 1e-5)?,
            hidden: Linear::load(&at.at("hidden"), 2 * last, HIDDEN, true)?,
            things: Linear::load(&at.at("things"), HIDDEN, concepts, true)?,
            colour: Linear::load(&at.at("colour"), HIDDEN, OBJECT_COLOURS.len(), true)?,
            count: Linear::load(&at.at("count"), HIDDEN, MAX_COUNT, true)?,
        })
    }

    /// A fresh network and its parameters.
    ///
    /// # Errors
    /// Never for a positive number of concepts.
    pub fn new(concepts: usize, seed: u64) -> Result<(Self, ParamStore), LoadError> {
        let loader = Loader::random(seed);
        let model = Self::load(&loader, concepts)?;
        Ok((model, loader.finish()?))
    }

    /// Looks at pictures.
    ///
    /// # Errors
    /// A shape that does not fit.
    pub fn forward(&self, pictures: &Tensor) -> Result<Answers, TensorError> {
        let mut h = self.stem.forward(pictures)?;
        for (down, blocks) in self.down.iter().zip(&self.blocks) {
            h = down.forward(&h)?;
            for block in blocks {
                h = block.forward(&h)?;
            }
        }
        let h = self.norm.forward_with(&h, Activation::Silu)?;
        let (b, places, c) = (h.dim(0), h.dim(1) * h.dim(2), h.dim(3));
        let flat = h.reshape(&[b, places, c])?;
        let both = Tensor::concat(&[&flat.mean(&[1], false)?, &flat.max(1)?], 1)?;
        let silu = LinearFusion { activation: Activation::Silu, ..Default::default() };
        let hidden = self.hidden.forward_with(&both, silu)?;
        let answer = |head: &Linear| head.forward(&hidden)?.cast(DType::F32);
        Ok(Answers { things: answer(&self.things)?, colour: answer(&self.colour)?, count: answer(&self.count)? })
    }
}
