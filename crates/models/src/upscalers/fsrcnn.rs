//! FSRCNN, the fast super-resolution network (Dong et al., arXiv:1608.00367; tensor names of yjn870/FSRCNN-pytorch).
//!
//! Its last layer is a transposed convolution of nine pixels whatever the factor, which therefore only the file's name tells.

use std::path::Path;

use danqing_checkpoints::Weights;
use danqing_nn::{Conv2d, Init, LoadError, LoadOptions, Loader};
use danqing_tensor::{Conv2dOptions, Param, Tensor, TensorError};

use super::layers::conv;
use super::{Network, Opened, Shapes, UpscalerArchitecture, UpscalerInfo, finished, misshapen};
use crate::error::ModelError;

/// FSRCNN.
pub static ARCHITECTURE: UpscalerArchitecture = UpscalerArchitecture {
    name: NAME,
    names: &[
        "first_part.*.weight",
        "first_part.*.bias",
        "mid_part.*.weight",
        "mid_part.*.bias",
        "last_part.weight",
        "last_part.bias",
    ],
    detect: |shapes| {
        shapes.has(&["first_part.0.weight", "first_part.1.weight", "mid_part.0.weight", "last_part.weight"])
    },
    load,
};

const NAME: &str = "FSRCNN";
const LAST_KERNEL: usize = 9;
/// Slope below zero with which PReLU starts in PyTorch.
const SLOPE: f32 = 0.25;

/// The factor in a file's name: `fsrcnn_x3.pth`.
fn factor(source: &str) -> Option<usize> {
    let stem = Path::new(source).file_stem()?.to_str()?.to_lowercase();
    let words = stem.split(|c: char| !c.is_ascii_alphanumeric());
    let number = |word: &str| word.strip_prefix('x').or(word.strip_suffix('x'))?.parse::<usize>().ok();
    words.filter_map(number).find(|factor| (2..=4).contains(factor))
}

fn load(weights: &Weights, shapes: &Shapes, options: LoadOptions) -> Opened {
    let misfit = || misshapen(weights, NAME);
    let scale = factor(weights.source()).ok_or_else(|| {
        let why = "is FSRCNN, whose tensors do not tell its factor: name the file as in fsrcnn_x2.pth";
        ModelError::Configuration(format!("{} {why}", weights.source()))
    })?;
    let [channels, colours, kernel, _] = shapes.get::<4>("first_part.0.weight").ok_or_else(misfit)?;
    if shapes.get("last_part.weight") != Some([channels, colours, LAST_KERNEL, LAST_KERNEL]) {
        return Err(misfit());
    }
    let loader = Loader::new(weights.clone(), options);
    let pair = |at: &Loader, i: usize, [c_out, c_in, kernel, _]: [usize; 4]| -> Result<(Conv2d, Param), LoadError> {
        let slopes = at.at(i + 1).param("weight", &[c_out], Init::Constant(SLOPE))?;
        Ok((conv(&at.at(i), c_in, c_out, kernel)?, slopes))
    };
    let mut body = vec![pair(&loader.at("first_part"), 0, [channels, colours, kernel, kernel])?];
    let mut radius = kernel / 2;
    while let Some(shape) = shapes.get::<4>(&format!("mid_part.{}.weight", 2 * (body.len() - 1))) {
        radius += shape[2] / 2;
        body.push(pair(&loader.at("mid_part"), 2 * (body.len() - 1), shape)?);
    }
    let last = loader.at("last_part");
    let weight = last.param("weight", &[channels, colours, LAST_KERNEL, LAST_KERNEL], Init::Normal(0.001))?;
    let options = Conv2dOptions { output_padding: [scale - 1; 2], ..Conv2dOptions::padded(LAST_KERNEL / 2) };
    let network = Fsrcnn {
        body,
        last: weight,
        bias: last.param("bias", &[colours], Init::ZEROS)?,
        options: options.stride(scale),
    };
    let radius = radius + (LAST_KERNEL / 2).div_ceil(scale) + 1;
    finished(&loader, network, UpscalerInfo::new(NAME, scale, colours, Some(radius)))
}

#[derive(Debug)]
struct Fsrcnn {
    body: Vec<(Conv2d, Param)>,
    last: Param,
    bias: Param,
    options: Conv2dOptions,
}

impl Network for Fsrcnn {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let body = self.body.iter().try_fold(x.clone(), |x, (conv, slopes)| conv.forward(&x)?.prelu(slopes))?;
        body.conv_transpose2d(&self.last, Some(&self.bias), self.options)
    }
}

#[cfg(test)]
mod tests {
    use super::factor;

    #[test]
    fn names_tell_the_factor() {
        for (name, want) in [
            ("models/FSRCNN_x2.pth", Some(2)),
            ("x4/fsrcnn-3x.safetensors", Some(3)),
            ("fsrcnn.pth", None),
            ("fsrcnn_x9.pth", None),
            ("max2.pth", None),
        ] {
            assert_eq!(factor(name), want, "{name}");
        }
    }
}
