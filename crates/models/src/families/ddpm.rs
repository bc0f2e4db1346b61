//! A small pixel-space DDPM: the teaching U-Net of BrianPulfer's paper reimplementations (28×28 digits).
//!
//! Source: Ho et al. 2020; layout read off the tensor names of the published `ddpm_mnist.pt`. Pictures are
//! `[b, side, side, channels]` in -1..1; the network predicts the noise at an integer timestep.

use danqing_nn::{Conv2d, Init, Linear, LoadError, LoadOptions, Loader, TensorSource};
use danqing_sampling::TrainingNoise;
use danqing_sampling::training_noise::BetaSchedule;
use danqing_tensor::{Conv2dOptions, DType, Param, Tensor, TensorError};

use crate::error::{ModelError, invalid};
use crate::unet::blocks::SAME;

const HALVE: Conv2dOptions = Conv2dOptions { stride: [2, 2], ..SAME };
const PAIR: Conv2dOptions = Conv2dOptions { padding: [0; 4], ..SAME };
const EPS: f32 = 1e-5;

/// Layer norm over a whole map, two convolutions, SiLU after each.
#[derive(Debug)]
struct Block {
    norm: Option<(Param, Param)>,
    conv1: Conv2d,
    conv2: Conv2d,
}

impl Block {
    fn load(at: &Loader, c_in: usize, c_out: usize, side: usize, normed: bool) -> Result<Self, LoadError> {
        let ln = at.at("ln");
        let shape = [c_in, side, side];
        let (weight, bias) = (ln.param("weight", &shape, Init::ONES)?, ln.param("bias", &shape, Init::ZEROS)?);
        // [c, h, w] -> [h * w * c], the order of a map's row.
        let flat = |p: &Param| -> Result<Param, LoadError> {
            let value = p.value().permute(&[1, 2, 0])?.contiguous()?.reshape(&[c_in * side * side])?;
            Ok(Param::new(p.name(), value))
        };
        Ok(Self {
            norm: if normed { Some((flat(&weight)?, flat(&bias)?)) } else { None },
            conv1: Conv2d::load(&at.at("conv1"), c_in, c_out, 3, SAME)?,
            conv2: Conv2d::load(&at.at("conv2"), c_out, c_out, 3, SAME)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let x = match &self.norm {
            Some((weight, bias)) => {
                let (b, row) = (x.dim(0), x.numel() / x.dim(0));
                x.contiguous()?.reshape(&[b, row])?.layer_norm(weight, bias, EPS)?.reshape(x.shape())?
            }
            None => x.clone(),
        };
        self.conv2.forward(&self.conv1.forward(&x)?.silu()?)?.silu()
    }
}

/// Three blocks with a projected time embedding added before them.
#[derive(Debug)]
struct Stage {
    time: (Linear, Linear),
    blocks: Vec<Block>,
}

impl Stage {
    fn load(
        root: &Loader,
        (time, blocks): (&str, &str),
        widths: [usize; 4],
        side: usize,
        time_width: usize,
        last_normed: bool,
    ) -> Result<Self, LoadError> {
        let at = root.at(time);
        let c = widths[0];
        Ok(Self {
            time: (Linear::load(&at.at(0), time_width, c, true)?, Linear::load(&at.at(2), c, c, true)?),
            blocks: (0..3)
                .map(|i| {
                    let normed = last_normed || i < 2;
                    Block::load(&root.at(blocks).at(i), widths[i], widths[i + 1], side, normed)
                })
                .collect::<Result<_, _>>()?,
        })
    }

    fn forward(&self, x: &Tensor, time: &Tensor) -> Result<Tensor, TensorError> {
        let t = self.time.1.forward(&self.time.0.forward(time)?.silu()?)?;
        let (b, c) = (t.dim(0), t.dim(1));
        let x = x.add(&t.reshape(&[b, 1, 1, c])?)?;
        self.blocks.iter().try_fold(x, |x, block| block.forward(&x))
    }
}

/// A transposed convolution's weights; the layer has no other home.
#[derive(Debug)]
struct ConvTranspose {
    weight: Param,
    bias: Param,
    options: Conv2dOptions,
}

impl ConvTranspose {
    fn load(at: &Loader, c: usize, kernel: usize, options: Conv2dOptions) -> Result<Self, LoadError> {
        Ok(Self {
            weight: at.param("weight", &[c, c, kernel, kernel], Init::KaimingUniform)?,
            bias: at.param("bias", &[c], Init::ZEROS)?,
            options,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        x.conv_transpose2d(&self.weight, Some(&self.bias), self.options)
    }
}

/// The network.
#[derive(Debug)]
pub struct PixelDdpm {
    time_table: Param,
    down: [Stage; 3],
    halve: [Conv2d; 2],
    halve_last: (Conv2d, Conv2d),
    mid: Stage,
    double_first: (ConvTranspose, ConvTranspose),
    up: [Stage; 3],
    double: [ConvTranspose; 2],
    conv_out: Conv2d,
    /// Channels of the pictures.
    pub channels: usize,
    /// Side of the pictures in pixels.
    pub side: usize,
    /// The noise that it was trained with.
    pub noise: TrainingNoise,
}

impl PixelDdpm {
    /// Whether a file's tensor names are this network's.
    pub fn detect(source: &dyn TensorSource) -> bool {
        ["network.time_embed.weight", "network.b_mid.0.ln.weight", "network.te_out.2.bias"]
            .iter()
            .all(|name| source.contains(name))
    }

    /// Builds the network from weights under `network.`; widths and sides are read off the shapes.
    ///
    /// # Errors
    /// Weights that are not this network's.
    pub fn load(source: impl TensorSource + 'static, dtype: DType) -> Result<Self, ModelError> {
        let name = source.source_name();
        let loader = Loader::new(source, LoadOptions::inference(dtype));
        let root = loader.at("network");
        let missing = || ModelError::Unknown(format!("{name} is not the pixel-space DDPM that is known here"));
        let first = root.shape("b1.0.ln.weight").filter(|s| s.len() == 3).ok_or_else(missing)?;
        let table = root.shape("time_embed.weight").filter(|s| s.len() == 2).ok_or_else(missing)?;
        let width = root.shape("b1.0.conv1.weight").filter(|s| s.len() == 4).ok_or_else(missing)?[0];
        let (channels, side) = (first[0], first[1]);
        let (steps, t) = (table[0], table[1]);
        let (w1, w2, w4) = (width, 2 * width, 4 * width);
        if side % 4 != 0 || !(8..=1024).contains(&side) || !(1..=1024).contains(&width) {
            return Err(missing());
        }
        let stage = |names, widths, side, normed| Stage::load(&root, names, widths, side, t, normed);
        let (s1, s2, s4, s8) = (side, side / 2, side / 4, (side / 4 - 1) / 2);
        let model = Self {
            time_table: root.param("time_embed.weight", &[steps, t], Init::ZEROS)?,
            down: [
                stage(("te1", "b1"), [channels, w1, w1, w1], s1, true)?,
                stage(("te2", "b2"), [w1, w2, w2, w2], s2, true)?,
                stage(("te3", "b3"), [w2, w4, w4, w4], s4, true)?,
            ],
            halve: [
                Conv2d::load(&root.at("down1"), w1, w1, 4, HALVE)?,
                Conv2d::load(&root.at("down2"), w2, w2, 4, HALVE)?,
            ],
            halve_last: (
                Conv2d::load(&root.at("down3").at(0), w4, w4, 2, PAIR)?,
                Conv2d::load(&root.at("down3").at(2), w4, w4, 4, HALVE)?,
            ),
            mid: stage(("te_mid", "b_mid"), [w4, w2, w2, w4], s8, true)?,
            double_first: (
                ConvTranspose::load(&root.at("up1").at(0), w4, 4, HALVE)?,
                ConvTranspose::load(&root.at("up1").at(2), w4, 2, PAIR)?,
            ),
            up: [
                stage(("te4", "b4"), [2 * w4, w4, w2, w2], s4, true)?,
                stage(("te5", "b5"), [w4, w2, w1, w1], s2, true)?,
                stage(("te_out", "b_out"), [w2, w1, w1, w1], s1, false)?,
            ],
            double: [
                ConvTranspose::load(&root.at("up2"), w2, 4, HALVE)?,
                ConvTranspose::load(&root.at("up3"), w1, 4, HALVE)?,
            ],
            conv_out: Conv2d::load(&root.at("conv_out"), w1, channels, 3, SAME)?,
            channels,
            side,
            noise: TrainingNoise::new(BetaSchedule::Linear, steps, 1e-4, 0.02)
                .map_err(|e| ModelError::Configuration(e.to_string()))?,
        };
        loader.finish()?;
        Ok(model)
    }

    /// The noise in `x` `[b, side, side, channels]` at one timestep for each of the batch.
    ///
    /// # Errors
    /// Another size, or a timestep beyond the table.
    pub fn forward(&self, x: &Tensor, timesteps: &[u32]) -> Result<Tensor, TensorError> {
        if x.shape() != [timesteps.len(), self.side, self.side, self.channels] {
            let want = format!("[{}, {}, {}, {}]", timesteps.len(), self.side, self.side, self.channels);
            return Err(invalid("pixel ddpm", format!("picture {:?} is not {want}", x.shape())));
        }
        let time = Tensor::embedding(&self.time_table, timesteps, &[timesteps.len()])?.cast(x.dtype())?;
        let [b1, b2, b3] = &self.down;
        let out1 = b1.forward(x, &time)?;
        let out2 = b2.forward(&self.halve[0].forward(&out1)?, &time)?;
        let out3 = b3.forward(&self.halve[1].forward(&out2)?, &time)?;
        let inner = self.halve_last.1.forward(&self.halve_last.0.forward(&out3)?.silu()?)?;
        let mid = self.mid.forward(&inner, &time)?;
        let raised = self.double_first.1.forward(&self.double_first.0.forward(&mid)?.silu()?)?;
        let [b4, b5, out] = &self.up;
        let out4 = b4.forward(&Tensor::concat(&[&out3, &raised], 3)?, &time)?;
        let out5 = b5.forward(&Tensor::concat(&[&out2, &self.double[0].forward(&out4)?], 3)?, &time)?;
        let last = out.forward(&Tensor::concat(&[&out1, &self.double[1].forward(&out5)?], 3)?, &time)?;
        self.conv_out.forward(&last)
    }
}
