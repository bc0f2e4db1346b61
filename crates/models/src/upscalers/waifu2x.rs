//! waifu2x's older networks as PyTorch files (nagadomi/nunif): vgg_7, which cleans, and upconv_7, which doubles too.
//!
//! Seven layers without borders, the edge of the picture repeated around it.

use danqing_checkpoints::Weights;
use danqing_nn::{Conv2d, LoadOptions, Loader};
use danqing_tensor::{Activation, Conv2dOptions, PadMode, Tensor, TensorError};

use super::layers::{Transposed, activated, width};
use super::{Network, Opened, Purpose, Shapes, UpscalerArchitecture, UpscalerInfo, finished, misshapen};

/// vgg_7 and upconv_7.
pub static ARCHITECTURE: UpscalerArchitecture = UpscalerArchitecture {
    name: NAME,
    names: &["net.*.weight", "net.*.bias"],
    detect: |shapes| {
        shapes.has(&["net.0.weight", "net.2.weight", LAST])
            && !shapes.has(&["net.14.weight"])
            && shapes.names().all(|name| name.starts_with("net."))
    },
    load,
};

const NAME: &str = "waifu2x";
const LAYERS: usize = 7;
const LAST: &str = "net.12.weight";
const LEAKY: Activation = Activation::LeakyRelu(0.1);
/// Pixels that the layers eat on each side.
const FRAME: usize = 7;

#[derive(Debug)]
enum Last {
    Conv(Conv2d),
    Doubling(Transposed),
}

#[derive(Debug)]
struct Plain {
    convs: Vec<Conv2d>,
    last: Last,
}

fn load(weights: &Weights, shapes: &Shapes, options: LoadOptions) -> Opened {
    let misfit = || misshapen(weights, NAME);
    let loader = Loader::new(weights.clone(), options);
    let at = |i: usize| loader.at("net").at(2 * i);
    let [_, colours, ..] = shapes.get::<4>("net.0.weight").ok_or_else(misfit)?;
    let [.., kernel] = shapes.get::<4>(LAST).ok_or_else(misfit)?;
    if !matches!(colours, 1 | 3) {
        return Err(misfit());
    }
    let mut c = colours;
    let mut convs = Vec::with_capacity(LAYERS - 1);
    for i in 0..LAYERS - 1 {
        let c_out = width(&at(i));
        convs.push(Conv2d::load(&at(i), c, c_out, 3, Conv2dOptions::default())?);
        c = c_out;
    }
    let last = at(LAYERS - 1);
    let (last, scale) = match kernel {
        4 => {
            let options = Conv2dOptions::padded(3).stride(2);
            (Last::Doubling(Transposed::load(&last, [c, colours], 4, options, true)?), 2)
        }
        _ => (Last::Conv(Conv2d::load(&last, c, colours, 3, Conv2dOptions::default())?), 1),
    };
    let info = UpscalerInfo::new(NAME, scale, colours, Some(FRAME));
    let info = if scale == 1 { info.made_for(Purpose::Denoise) } else { info };
    finished(&loader, Plain { convs, last }, info)
}

impl Network for Plain {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let framed = x.pad2d([FRAME; 4], PadMode::Replicate)?;
        let body = self.convs.iter().try_fold(framed, |x, conv| activated(conv, &x, LEAKY))?;
        match &self.last {
            Last::Conv(conv) => conv.forward(&body),
            Last::Doubling(spread) => spread.forward(&body),
        }
    }
}
