//! SCUNet, blind denoising by Swin attention and convolutions side by side (Zhang et al., arXiv:2203.13278; cszn/SCUNet).
//!
//! A U of blocks: half of the channels go through attention in windows, half through convolutions.

use std::sync::Arc;

use danqing_checkpoints::Weights;
use danqing_nn::{Conv2d, LayerNorm, Linear, LoadError, LoadOptions, Loader};
use danqing_tensor::{Activation, Conv2dOptions, Tensor, TensorError};

use super::layers::{Transposed, activated, added, conv, unbiased, unbiased_with};
use super::transformer::{FeedForward, NORM};
use super::windows::{LONGEST, PositionBias, WindowAttention, relative_positions};
use super::{Network, Opened, Purpose, Shapes, UpscalerArchitecture, UpscalerInfo, finished, misshapen};

/// SCUNet.
pub static ARCHITECTURE: UpscalerArchitecture = UpscalerArchitecture {
    name: NAME,
    names: &[
        "m_head.*.weight",
        "m_down*.*.trans_block.ln*.weight",
        "m_down*.*.trans_block.ln*.bias",
        "m_down*.*.trans_block.msa.relative_position_params",
        "m_down*.*.trans_block.msa.embedding_layer.weight",
        "m_down*.*.trans_block.msa.embedding_layer.bias",
        "m_down*.*.trans_block.msa.linear.weight",
        "m_down*.*.trans_block.msa.linear.bias",
        "m_down*.*.trans_block.mlp.*.weight",
        "m_down*.*.trans_block.mlp.*.bias",
        "m_down*.*.conv_block.*.weight",
        "m_down*.*.conv1_*.weight",
        "m_down*.*.conv1_*.bias",
        "m_down*.*.weight",
        "m_body.*.trans_block.ln*.weight",
        "m_body.*.trans_block.ln*.bias",
        "m_body.*.conv_block.*.weight",
        "m_body.*.conv1_*.weight",
        "m_body.*.conv1_*.bias",
        "m_up*.*.trans_block.ln*.weight",
        "m_up*.*.trans_block.ln*.bias",
        "m_up*.*.conv_block.*.weight",
        "m_up*.*.conv1_*.weight",
        "m_up*.*.conv1_*.bias",
        "m_up*.*.weight",
        "m_tail.*.weight",
    ],
    detect: |shapes| {
        shapes.has(&["m_head.0.weight", "m_body.0.trans_block.msa.relative_position_params", "m_tail.0.weight"])
    },
    load,
};

const NAME: &str = "SCUNet";
const LEVELS: usize = 3;

struct Config {
    colours: usize,
    /// Channels of the finest map; each level below has twice as many.
    channels: usize,
    window: usize,
    /// Heads of half of the finest map's channels; each level below has twice as many.
    heads: usize,
    /// Blocks on the way down, at the bottom, and on the way up from the coarsest.
    down: [usize; LEVELS],
    body: usize,
    up: [usize; LEVELS],
}

impl Config {
    fn of(shapes: &Shapes) -> Option<Self> {
        const BLOCK: &str = ".trans_block.ln1.weight";
        let [channels, colours, ..] = shapes.get::<4>("m_head.0.weight")?;
        let [lowest, positions, _] = shapes.get::<3>("m_body.0.trans_block.msa.relative_position_params")?;
        let window = positions.div_ceil(2);
        let down = std::array::from_fn(|i| shapes.count(&format!("m_down{}.", i + 1), BLOCK, 0));
        let up = std::array::from_fn(|i| shapes.count(&format!("m_up{}.", LEVELS - i), BLOCK, 1));
        let heads = lowest >> LEVELS;
        let even = heads > 0 && channels.is_multiple_of(2 * heads) && lowest == heads << LEVELS;
        let fits = matches!(colours, 1 | 3) && even && (2..=LONGEST).contains(&window);
        let body = shapes.count("m_body.", BLOCK, 0);
        fits.then_some(Self { colours, channels, window, heads, down, body, up })
    }
}

fn load(weights: &Weights, shapes: &Shapes, options: LoadOptions) -> Opened {
    let config = Config::of(shapes).ok_or_else(|| misshapen(weights, NAME))?;
    let loader = Loader::new(weights.clone(), options);
    let network = ScuNet::load(&loader, &config)?;
    let multiple = config.window << LEVELS;
    let info = UpscalerInfo::new(NAME, 1, config.colours, None).made_for(Purpose::Denoise).tiles(multiple, multiple);
    finished(&loader, network, info)
}

/// Attention and convolutions, each on half of the channels.
#[derive(Debug)]
struct Block {
    split: Conv2d,
    convs: [Conv2d; 2],
    norms: [LayerNorm; 2],
    attention: WindowAttention,
    feed: FeedForward,
    joined: Conv2d,
}

impl Block {
    /// A block of maps of `c` channels, half of them attended to by `heads` heads; every second one shifts its windows.
    fn load(
        at: &Loader,
        [c, heads, window]: [usize; 3],
        positions: &Arc<[u32]>,
        shifted: bool,
    ) -> Result<Self, LoadError> {
        let half = c / 2;
        let (inner, msa) = (at.at("trans_block"), at.at("trans_block").at("msa"));
        let table = "relative_position_params";
        let attention = WindowAttention {
            all: Linear::load(&msa.at("embedding_layer"), half, 3 * half, true)?,
            joined: Linear::load(&msa.at("linear"), half, half, true)?,
            bias: PositionBias::load_heads_first(&msa, table, heads, [window; 2], positions)?,
            window: [window; 2],
            shift: if shifted { [window / 2; 2] } else { [0; 2] },
            hidden: f32::NEG_INFINITY,
        };
        let convs = at.at("conv_block");
        Ok(Self {
            split: conv(&at.at("conv1_1"), c, c, 1)?,
            convs: [unbiased(&convs.at(0), half, half, 3)?, unbiased(&convs.at(2), half, half, 3)?],
            norms: [LayerNorm::load(&inner.at("ln1"), half, NORM)?, LayerNorm::load(&inner.at("ln2"), half, NORM)?],
            attention,
            feed: FeedForward::load(&inner.at("mlp"), ["0", "2"], half)?,
            joined: conv(&at.at("conv1_2"), c, c, 1)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let split = self.split.forward(x)?;
        let half = x.dim(3) / 2;
        let near = split.narrow(3, 0, half)?.contiguous()?;
        let near = added(&self.convs[1], &activated(&self.convs[0], &near, Activation::Relu)?, &near)?;
        let far = split.narrow(3, half, half)?.contiguous()?;
        let far = self.attention.forward(&self.norms[0].forward(&far)?)?.add(&far)?;
        let far = self.feed.forward(&self.norms[1].forward(&far)?, &far)?;
        added(&self.joined, &Tensor::concat(&[&near, &far], 3)?, x)
    }
}

fn through(blocks: &[Block], x: Tensor) -> Result<Tensor, TensorError> {
    blocks.iter().try_fold(x, |x, block| block.forward(&x))
}

#[derive(Debug)]
struct ScuNet {
    first: Conv2d,
    down: Vec<(Vec<Block>, Conv2d)>,
    body: Vec<Block>,
    up: Vec<(Transposed, Vec<Block>)>,
    last: Conv2d,
}

impl ScuNet {
    fn load(loader: &Loader, config: &Config) -> Result<Self, LoadError> {
        let Config { colours, channels, window, heads, down, body, up } = *config;
        let positions = relative_positions([window; 2]);
        let blocks = |at: &Loader, first: usize, count: usize, level: usize| -> Result<Vec<Block>, LoadError> {
            let sizes = [channels << level, heads << level, window];
            (0..count).map(|i| Block::load(&at.at(first + i), sizes, &positions, i % 2 == 1)).collect()
        };
        let halves = Conv2dOptions::default().stride(2);
        let down = |level: usize| {
            let (at, c, count) = (loader.at(format!("m_down{}", level + 1)), channels << level, down[level]);
            Ok((blocks(&at, 0, count, level)?, unbiased_with(&at.at(count), c, 2 * c, 2, halves)?))
        };
        let up = |i: usize| {
            let level = LEVELS - 1 - i;
            let (at, c) = (loader.at(format!("m_up{}", level + 1)), channels << level);
            Ok((Transposed::load(&at.at(0), [2 * c, c], 2, halves, false)?, blocks(&at, 1, up[i], level)?))
        };
        Ok(Self {
            first: unbiased(&loader.at("m_head").at(0), colours, channels, 3)?,
            down: (0..LEVELS).map(down).collect::<Result<_, LoadError>>()?,
            body: blocks(&loader.at("m_body"), 0, body, LEVELS)?,
            up: (0..LEVELS).map(up).collect::<Result<_, LoadError>>()?,
            last: unbiased(&loader.at("m_tail").at(0), channels, colours, 3)?,
        })
    }
}

impl Network for ScuNet {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let mut features = self.first.forward(x)?;
        let mut passed = Vec::with_capacity(LEVELS);
        for (blocks, halving) in &self.down {
            let below = halving.forward(&through(blocks, features.clone())?)?;
            passed.push(features);
            features = below;
        }
        // What the bottom has seen is added to what came into it.
        let below = features.clone();
        features = through(&self.body, features)?.add(&below)?;
        for (spread, blocks) in &self.up {
            features = through(blocks, spread.forward(&features)?)?;
            if let Some(here) = passed.pop() {
                features = features.add(&here)?;
            }
        }
        self.last.forward(&features)
    }
}
