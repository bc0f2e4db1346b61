//! GFPGAN, faces drawn anew (Wang et al., arXiv:2101.04061; TencentARC/GFPGAN): the "clean" networks, versions 1.2 to 1.4.
//!
//! A U reads the face, tells a StyleGAN2 (arXiv:1912.04958) which face to draw, and steers the drawing at every size. A network draws
//! pictures of one size, of a face that fills them as in its training; finding and turning faces is not its affair. The noise that
//! the generator adds is the one stored in the file, so that a picture always gives the same face; without one there is none.

use danqing_checkpoints::Weights;
use danqing_nn::{Conv2d, Init, Linear, LoadError, LoadOptions, Loader};
use danqing_tensor::{Activation, Conv2dOptions, Param, Tensor, TensorError};

use super::layers::{activated, added, conv, unbiased, width};
use super::{Network, Opened, Purpose, Shapes, UpscalerArchitecture, UpscalerInfo, finished_ignoring, misshapen};
use crate::error::invalid;

/// GFPGAN.
pub static ARCHITECTURE: UpscalerArchitecture = UpscalerArchitecture {
    name: NAME,
    names: &[
        "conv_body_first.weight",
        "conv_body_first.bias",
        "conv_body_down.*.conv*.weight",
        "conv_body_down.*.conv*.bias",
        "conv_body_down.*.skip.weight",
        "final_conv.weight",
        "final_conv.bias",
        "conv_body_up.*.conv*.weight",
        "conv_body_up.*.conv*.bias",
        "conv_body_up.*.skip.weight",
        "toRGB.*.weight",
        "toRGB.*.bias",
        "final_linear.weight",
        "final_linear.bias",
        "stylegan_decoder.style_mlp.*.weight",
        "stylegan_decoder.style_mlp.*.bias",
        "stylegan_decoder.constant_input.weight",
        "stylegan_decoder.style_conv*.weight",
        "stylegan_decoder.style_conv*.bias",
        "stylegan_decoder.style_convs.*.modulated_conv.weight",
        "stylegan_decoder.style_convs.*.modulated_conv.modulation.weight",
        "stylegan_decoder.style_convs.*.modulated_conv.modulation.bias",
        "stylegan_decoder.style_convs.*.weight",
        "stylegan_decoder.style_convs.*.bias",
        "stylegan_decoder.to_rgbs.*.modulated_conv.weight",
        "stylegan_decoder.to_rgbs.*.modulated_conv.modulation.weight",
        "stylegan_decoder.to_rgbs.*.modulated_conv.modulation.bias",
        "stylegan_decoder.to_rgbs.*.bias",
        "stylegan_decoder.noises.noise*",
        "condition_scale.*.*.weight",
        "condition_scale.*.*.bias",
        "condition_shift.*.*.weight",
        "condition_shift.*.*.bias",
    ],
    detect: |shapes| {
        shapes.has(&["conv_body_first.weight", "final_linear.weight", CONSTANT, "condition_scale.0.0.weight"])
    },
    load,
};

const NAME: &str = "GFPGAN";
const LEAKY: Activation = Activation::LeakyRelu(0.2);
const CONSTANT: &str = "stylegan_decoder.constant_input.weight";
/// Side of the smallest map, with which drawing begins.
const SMALLEST: usize = 4;
/// Added to what a modulated convolution is divided by.
const EPSILON: f32 = 1e-8;
/// What the generator was trained with on top of its weights.
const GAIN: f32 = std::f32::consts::SQRT_2;

struct Config {
    /// How often sizes double from the smallest to the picture's.
    doublings: usize,
    /// Channels of the U from the picture's size to the smallest.
    channels: Vec<usize>,
    /// Numbers of a style.
    style: usize,
}

impl Config {
    fn of(shapes: &Shapes) -> Option<Self> {
        let [c, 3, ..] = shapes.get::<4>("conv_body_first.weight")? else { return None };
        let doublings = shapes.count("conv_body_down.", ".conv2.weight", 0);
        let [_, style] = shapes.get::<2>("stylegan_decoder.style_conv1.modulated_conv.modulation.weight")?;
        let mut channels = vec![c];
        for i in 0..doublings {
            channels.push(shapes.get::<4>(&format!("conv_body_down.{i}.conv2.weight"))?[0]);
        }
        let square = shapes.get::<4>(CONSTANT)?[2..] == [SMALLEST; 2];
        ((1..=8).contains(&doublings) && square).then_some(Self { doublings, channels, style })
    }

    fn side(&self) -> usize {
        SMALLEST << self.doublings
    }
}

fn load(weights: &Weights, shapes: &Shapes, options: LoadOptions) -> Opened {
    let config = Config::of(shapes).ok_or_else(|| misshapen(weights, NAME))?;
    let loader = Loader::new(weights.clone(), options);
    let network = GfpGan::load(&loader, shapes, &config)?;
    let side = config.side();
    let info = UpscalerInfo::new(NAME, 1, 3, None).made_for(Purpose::Face);
    // A face is drawn as a whole: there is nothing around it to look at.
    let info = UpscalerInfo { multiple: side, least: side, overlap: 0, ..info };
    // Styles come from the picture, not from chance, and pictures of smaller sizes are for training.
    let unused = |name: &str| name.starts_with("stylegan_decoder.style_mlp.") || name.starts_with("toRGB.");
    finished_ignoring(&loader, network, info, unused)
}

/// A residual block that halves or doubles the size between its convolutions.
#[derive(Debug)]
struct Step {
    first: Conv2d,
    second: Conv2d,
    beside: Conv2d,
}

impl Step {
    fn load(at: &Loader, c_in: usize, c_out: usize) -> Result<Self, LoadError> {
        Ok(Self {
            first: conv(&at.at("conv1"), c_in, c_in, 3)?,
            second: conv(&at.at("conv2"), c_in, c_out, 3)?,
            beside: unbiased(&at.at("skip"), c_in, c_out, 1)?,
        })
    }

    fn forward(&self, x: &Tensor, side: usize) -> Result<Tensor, TensorError> {
        let inner = activated(&self.first, x, LEAKY)?.resize_bilinear(side, side)?;
        let inner = activated(&self.second, &inner, LEAKY)?;
        added(&self.beside, &x.resize_bilinear(side, side)?, &inner)
    }
}

/// A convolution whose input channels a style scales. Where it is levelled, each result is divided by the length of its weights
/// so scaled. (The published code scales the weights; that is the same.)
#[derive(Debug)]
struct Modulated {
    styles: Linear,
    conv: Conv2d,
    /// Sums of squares of the weights, `[c_in, c_out]`.
    squares: Option<Tensor>,
}

impl Modulated {
    fn load(
        at: &Loader,
        style: usize,
        [c_in, c_out]: [usize; 2],
        kernel: usize,
        levelled: bool,
    ) -> Result<Self, LoadError> {
        let stored = at.param("weight", &[1, c_out, c_in, kernel, kernel], Init::Normal(0.02))?;
        let value = stored.value().reshape(&[c_out, c_in, kernel, kernel])?;
        let wide = value.cast(danqing_tensor::DType::F32)?;
        let squares = levelled.then(|| wide.square()?.sum(&[2, 3], false)?.transpose(0, 1)?.contiguous());
        let weight = Param::new(stored.name(), value);
        weight.trainable(false);
        if at.options().prepack {
            weight.prepack_conv(1, at.options().dtype);
        }
        let conv = Conv2d { weight, bias: None, options: Conv2dOptions::padded(kernel / 2) };
        Ok(Self { styles: Linear::load(&at.at("modulation"), style, c_in, true)?, conv, squares: squares.transpose()? })
    }

    /// `style` is `[b, 1, 1, numbers]`.
    fn forward(&self, x: &Tensor, style: &Tensor) -> Result<Tensor, TensorError> {
        let scales = self.styles.forward(style)?;
        let out = self.conv.forward(&x.mul(&scales)?)?;
        let Some(squares) = &self.squares else { return Ok(out) };
        let lengths = scales.square()?.matmul(&squares.cast(x.dtype())?)?.add_scalar(EPSILON)?.sqrt()?;
        out.div(&lengths)
    }
}

/// A modulated convolution with noise, bias and activation.
#[derive(Debug)]
struct Styled {
    conv: Modulated,
    /// Noise `[1, side, side, 1]` times its strength.
    noise: Option<Tensor>,
    bias: Param,
}

impl Styled {
    /// The `number`th layer that adds noise, of maps of `side`.
    fn load(
        decoder: &Loader,
        at: &Loader,
        style: usize,
        channels: [usize; 2],
        [number, side]: [usize; 2],
    ) -> Result<Self, LoadError> {
        let strength = at.param("weight", &[1], Init::ZEROS)?;
        let (noises, name) = (decoder.at("noises"), format!("noise{number}"));
        let noise = (noises.contains(&name) == Some(true)).then(|| {
            let noise = noises.param(&name, &[1, 1, side, side], Init::Normal(1.0))?.value();
            let noise = noise.reshape(&[1, side, side, 1])?.cast(danqing_tensor::DType::F32)?;
            Ok::<_, LoadError>(noise.mul(&strength.value())?)
        });
        Ok(Self {
            conv: Modulated::load(&at.at("modulated_conv"), style, channels, 3, true)?,
            noise: noise.transpose()?,
            bias: at.param("bias", &[1, channels[1], 1, 1], Init::ZEROS)?,
        })
    }

    fn forward(&self, x: &Tensor, style: &Tensor) -> Result<Tensor, TensorError> {
        let bias = self.bias.tensor().reshape(&[self.bias.numel()])?.cast(x.dtype())?;
        let mut out = self.conv.forward(x, style)?.mul_scalar(GAIN)?;
        if let Some(noise) = &self.noise {
            out = out.add(&noise.cast(x.dtype())?)?;
        }
        out.add(&bias)?.activation(LEAKY)
    }
}

/// A picture of features.
#[derive(Debug)]
struct Shown {
    conv: Modulated,
    bias: Param,
}

impl Shown {
    fn load(at: &Loader, style: usize, c: usize) -> Result<Self, LoadError> {
        Ok(Self {
            conv: Modulated::load(&at.at("modulated_conv"), style, [c, 3], 1, false)?,
            bias: at.param("bias", &[1, 3, 1, 1], Init::ZEROS)?,
        })
    }

    fn forward(&self, x: &Tensor, style: &Tensor) -> Result<Tensor, TensorError> {
        let bias = self.bias.tensor().reshape(&[3])?.cast(x.dtype())?;
        self.conv.forward(x, style)?.add(&bias)
    }
}

/// One size on the way up: of the U, and of the drawing that it steers.
#[derive(Debug)]
struct Level {
    step: Step,
    scale: [Conv2d; 2],
    shift: [Conv2d; 2],
    doubling: Styled,
    styled: Styled,
    shown: Shown,
}

#[derive(Debug)]
struct GfpGan {
    first: Conv2d,
    down: Vec<Step>,
    lowest: Conv2d,
    /// All styles from the lowest map.
    styles: Linear,
    style: usize,
    start: Param,
    styled: Styled,
    shown: Shown,
    levels: Vec<Level>,
}

impl GfpGan {
    fn load(loader: &Loader, shapes: &Shapes, config: &Config) -> Result<Self, LoadError> {
        let Config { doublings, ref channels, style } = *config;
        let decoder = loader.at("stylegan_decoder");
        let lowest = width(&loader.at("final_conv"));
        let step = |i: usize| Step::load(&loader.at("conv_body_down").at(i), channels[i], channels[i + 1]);
        let drawn = |name: &str| shapes.get::<5>(&format!("stylegan_decoder.{name}.modulated_conv.weight"));
        let c_out = |name: &str| drawn(name).map_or(1, |[_, c_out, ..]| c_out);
        let start = shapes.get::<4>(CONSTANT).map_or(1, |[_, c, ..]| c);
        let first = c_out("style_conv1");
        let mut levels = Vec::with_capacity(doublings);
        let (mut c, mut d) = (lowest, first);
        for i in 0..doublings {
            let at = |part: &str| loader.at(part).at(i);
            let side = SMALLEST << (i + 1);
            let above = width(&at("conv_body_up").at("conv2"));
            let steering = |part: &str| -> Result<[Conv2d; 2], LoadError> {
                let at = at(part);
                Ok([conv(&at.at(0), above, above, 3)?, conv(&at.at(2), above, width(&at.at(2)), 3)?])
            };
            let styled = |j: usize, from: usize| -> Result<(Styled, usize), LoadError> {
                let to = c_out(&format!("style_convs.{j}"));
                let at = decoder.at("style_convs").at(j);
                Ok((Styled::load(&decoder, &at, style, [from, to], [j + 1, side])?, to))
            };
            let (doubling, e) = styled(2 * i, d)?;
            let (again, f) = styled(2 * i + 1, e)?;
            levels.push(Level {
                step: Step::load(&at("conv_body_up"), c, above)?,
                scale: steering("condition_scale")?,
                shift: steering("condition_shift")?,
                doubling,
                styled: again,
                shown: Shown::load(&decoder.at("to_rgbs").at(i), style, f)?,
            });
            (c, d) = (above, f);
        }
        Ok(Self {
            first: conv(&loader.at("conv_body_first"), 3, channels[0], 1)?,
            down: (0..doublings).map(step).collect::<Result<_, _>>()?,
            lowest: conv(&loader.at("final_conv"), channels[doublings], lowest, 3)?,
            styles: Linear::load(
                &loader.at("final_linear"),
                lowest * SMALLEST * SMALLEST,
                (2 * doublings + 2) * style,
                true,
            )?,
            style,
            start: decoder.at("constant_input").param("weight", &[1, start, SMALLEST, SMALLEST], Init::Normal(1.0))?,
            styled: Styled::load(&decoder, &decoder.at("style_conv1"), style, [start, first], [0, SMALLEST])?,
            shown: Shown::load(&decoder.at("to_rgb1"), style, first)?,
            levels,
        })
    }
}

/// The last channels of `x`, as many as `scale` has, scaled and shifted.
fn steered(x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor, TensorError> {
    let (all, some) = (x.dim(3), scale.dim(3));
    let changed = |x: &Tensor| x.mul(scale)?.add(shift);
    match all.checked_sub(some) {
        Some(kept) if kept > 0 => Tensor::concat(&[&x.narrow(3, 0, kept)?, &changed(&x.narrow(3, kept, some)?)?], 3),
        _ => changed(x),
    }
}

impl Network for GfpGan {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let (b, side) = (x.dim(0), SMALLEST << self.levels.len());
        if x.shape()[1..3] != [side; 2] {
            return Err(invalid("upscaler", format!("{NAME} draws faces of {side}x{side}, not {:?}", x.shape())));
        }
        let mut features = activated(&self.first, &x.mul_scalar(2.0)?.add_scalar(-1.0)?, LEAKY)?;
        let mut passed = Vec::with_capacity(self.down.len());
        for (i, step) in self.down.iter().enumerate() {
            features = step.forward(&features, side >> (i + 1))?;
            passed.push(features.clone());
        }
        features = activated(&self.lowest, &features, LEAKY)?;
        // The linear layer counts channel by channel.
        let flat = features.permute(&[0, 3, 1, 2])?.reshape(&[b, features.numel() / b])?;
        let styles = self.styles.forward(&flat)?.reshape(&[b, 2 * self.levels.len() + 2, 1, self.style])?;
        let style = |i: usize| styles.narrow(1, i, 1)?.contiguous();

        let start = self.start.tensor().permute(&[0, 2, 3, 1])?.contiguous()?.cast(x.dtype())?;
        let start = start.expand(&[b, SMALLEST, SMALLEST, start.dim(3)])?.contiguous()?;
        let mut drawn = self.styled.forward(&start, &style(0)?)?;
        let mut picture = self.shown.forward(&drawn, &style(1)?)?;
        for (i, level) in self.levels.iter().enumerate() {
            let side = SMALLEST << (i + 1);
            if let Some(here) = passed.pop() {
                features = features.add(&here)?;
            }
            features = level.step.forward(&features, side)?;
            let steering = |convs: &[Conv2d; 2]| convs[1].forward(&activated(&convs[0], &features, LEAKY)?);
            drawn = level.doubling.forward(&drawn.resize_bilinear(side, side)?, &style(2 * i + 1)?)?;
            drawn = steered(&drawn, &steering(&level.scale)?, &steering(&level.shift)?)?;
            drawn = level.styled.forward(&drawn, &style(2 * i + 2)?)?;
            let larger = picture.resize_bilinear(side, side)?;
            picture = level.shown.forward(&drawn, &style(2 * i + 3)?)?.add(&larger)?;
        }
        picture.add_scalar(1.0)?.mul_scalar(0.5)
    }
}
