//! Two small Us in turn: Real-CUGAN (bilibili/ailab) and waifu2x's cunet (nagadomi/nunif), as PyTorch files.
//!
//! Convolutions without borders eat a frame around the picture, which is filled from the picture before. Some channels are
//! weighted by their means over the whole map.

use danqing_checkpoints::Weights;
use danqing_nn::{Conv2d, LoadError, LoadOptions, Loader};
use danqing_tensor::{Activation, Conv2dOptions, PadMode, Tensor, TensorError};

use super::layers::{Transposed, activated, conv, width};
use super::{Network, Opened, Purpose, Shapes, UpscalerArchitecture, UpscalerInfo, finished_ignoring, misshapen};

/// Real-CUGAN and waifu2x's cunet.
pub static ARCHITECTURE: UpscalerArchitecture = UpscalerArchitecture {
    name: NAME,
    names: &[
        "unet*.conv*.conv.*.weight",
        "unet*.conv*.conv.*.bias",
        "unet*.conv*.seblock.conv*.weight",
        "unet*.conv*.seblock.conv*.bias",
        "unet*.conv*_down.weight",
        "unet*.conv*_down.bias",
        "unet*.conv*_up.weight",
        "unet*.conv*_up.bias",
        "unet*.conv*.weight",
        "unet*.conv*.bias",
        "unet*.conv_bottom.weight",
        "unet*.conv_bottom.bias",
        "conv_final.weight",
        "conv_final.bias",
        PRO,
    ],
    detect: |shapes| {
        shapes.has(&["unet1.conv1.conv.0.weight", "unet1.conv_bottom.weight", "unet2.conv4.conv.0.weight"])
    },
    load,
};

const NAME: &str = "CUNet";
const LEAKY: Activation = Activation::LeakyRelu(0.1);
/// A tensor that says that colours are seen in a smaller range.
const PRO: &str = "pro";
const PRO_RANGE: f32 = 0.7;
const PRO_START: f32 = 0.15;
/// Frames that the second U eats.
const SECOND: usize = 20;

/// What the last layer of the first U does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum First {
    Keep,
    Double,
    Triple,
}

struct Config {
    colours: usize,
    first: First,
    /// Whether a convolution and a pixel shuffle double the result once more, to be added to the picture.
    doubled: bool,
    pro: bool,
    /// Whether the first U's result is kept in 0..1 and the picture's edge repeated around it: waifu2x.
    waifu2x: bool,
}

impl Config {
    fn of(weights: &Weights, shapes: &Shapes) -> Option<Self> {
        let [_, colours, ..] = shapes.get::<4>("unet1.conv1.conv.0.weight")?;
        let first = match shapes.get::<4>("unet1.conv_bottom.weight")?[2] {
            3 => First::Keep,
            4 => First::Double,
            5 => First::Triple,
            _ => return None,
        };
        let doubled = shapes.has(&["conv_final.weight"]);
        let pro = shapes.has(&[PRO]);
        let waifu2x = first == First::Keep || (!pro && first == First::Double && named_waifu2x(weights.source()));
        let fits = matches!(colours, 1 | 3) && (first == First::Double || !doubled);
        fits.then_some(Self { colours, first, doubled, pro, waifu2x: waifu2x && !doubled })
    }

    fn scale(&self) -> usize {
        let first = match self.first {
            First::Keep => 1,
            First::Double => 2,
            First::Triple => 3,
        };
        first << usize::from(self.doubled)
    }

    /// Pixels that the Us eat on each side, and what sides must be multiples of.
    fn frame(&self) -> (usize, usize) {
        match (self.first, self.doubled) {
            (First::Keep, _) => (28, 4),
            (First::Double, false) => (18, 2),
            (First::Double, true) => (19, 2),
            (First::Triple, _) => (14, 4),
        }
    }

    fn info(&self, weighted: bool) -> UpscalerInfo {
        let (frame, multiple) = self.frame();
        // A mirrored frame must be smaller than the picture.
        let least = if self.waifu2x { multiple } else { (frame + 1).next_multiple_of(multiple) };
        let radius = (!weighted).then_some(frame + 1);
        let info = UpscalerInfo::new(NAME, self.scale(), self.colours, radius).tiles(multiple, least);
        if self.first == First::Keep { info.made_for(Purpose::Denoise) } else { info }
    }
}

/// Whether a file is called as waifu2x's are: their tensors are those of Real-CUGAN.
fn named_waifu2x(source: &str) -> bool {
    let name = source.rsplit(['/', '\\']).next().unwrap_or(source).to_ascii_lowercase();
    name.contains("waifu2x") || name.starts_with("scale2x") || (name.starts_with("noise") && name.contains("scale2x"))
}

fn load(weights: &Weights, shapes: &Shapes, options: LoadOptions) -> Opened {
    let config = Config::of(weights, shapes).ok_or_else(|| misshapen(weights, NAME))?;
    let loader = Loader::new(weights.clone(), options);
    let network = CuNet::load(&loader, shapes, &config)?;
    let weighted = shapes.names().any(|name| name.contains(".seblock."));
    finished_ignoring(&loader, network, config.info(weighted), |name| name == PRO)
}

/// A map without `by` pixels at each side.
fn cropped(x: &Tensor, by: usize) -> Result<Tensor, TensorError> {
    x.narrow(1, by, x.dim(1) - 2 * by)?.narrow(2, by, x.dim(2) - 2 * by)?.contiguous()
}

/// Two convolutions, and maybe weights of channels from their means.
#[derive(Debug)]
struct Pair {
    convs: [Conv2d; 2],
    weights: Option<[Conv2d; 2]>,
}

impl Pair {
    /// And how many channels it gives.
    fn load(at: &Loader, c_in: usize, weighted: bool) -> Result<(Self, usize), LoadError> {
        let convs = at.at("conv");
        let (inner, c) = (width(&convs.at(0)), width(&convs.at(2)));
        let bare = |at: &Loader, c_in, c_out| Conv2d::load(at, c_in, c_out, 3, Conv2dOptions::default());
        let weights = weighted.then(|| {
            let at = at.at("seblock");
            let few = width(&at.at("conv1"));
            Ok::<_, LoadError>([conv(&at.at("conv1"), c, few, 1)?, conv(&at.at("conv2"), few, c, 1)?])
        });
        let convs = [bare(&convs.at(0), c_in, inner)?, bare(&convs.at(2), inner, c)?];
        Ok((Self { convs, weights: weights.transpose()? }, c))
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let x = activated(&self.convs[1], &activated(&self.convs[0], x, LEAKY)?, LEAKY)?;
        let Some([few, all]) = &self.weights else { return Ok(x) };
        let means = activated(few, &x.mean(&[1, 2], true)?, Activation::Relu)?;
        x.mul(&activated(all, &means, Activation::Sigmoid)?)
    }
}

/// Half the size, and back to it.
fn halved(at: &Loader, c: usize) -> Result<(Conv2d, usize), LoadError> {
    let c_out = width(at);
    Ok((Conv2d::load(at, c, c_out, 2, Conv2dOptions::default().stride(2))?, c_out))
}

fn doubled(at: &Loader, c_in: usize, c_out: usize) -> Result<Transposed, LoadError> {
    Transposed::load(at, [c_in, c_out], 2, Conv2dOptions::default().stride(2), true)
}

/// The last layer of a U.
#[derive(Debug)]
enum Bottom {
    Conv(Conv2d),
    Transposed(Transposed),
}

impl Bottom {
    fn load(at: &Loader, kind: First, c_in: usize, c_out: usize) -> Result<Self, LoadError> {
        let spread = |kernel: usize, stride: usize, padding: usize| {
            let options = Conv2dOptions::padded(padding).stride(stride);
            Ok(Self::Transposed(Transposed::load(at, [c_in, c_out], kernel, options, true)?))
        };
        match kind {
            First::Keep => Ok(Self::Conv(Conv2d::load(at, c_in, c_out, 3, Conv2dOptions::default())?)),
            First::Double => spread(4, 2, 3),
            First::Triple => spread(5, 3, 2),
        }
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        match self {
            Self::Conv(conv) => conv.forward(x),
            Self::Transposed(spread) => spread.forward(x),
        }
    }
}

/// The third level of a U.
#[derive(Debug)]
struct Inner {
    down: Conv2d,
    lowest: Pair,
    up: Transposed,
    back: Pair,
}

/// A U of two levels or three.
#[derive(Debug)]
struct Unet {
    first: Pair,
    down: Conv2d,
    second: Pair,
    inner: Option<Box<Inner>>,
    up: Transposed,
    joined: Conv2d,
    bottom: Bottom,
}

impl Unet {
    /// And how many channels it gives.
    fn load(at: &Loader, shapes: &Shapes, c_in: usize, deep: bool, bottom: First) -> Result<(Self, usize), LoadError> {
        let pair = |name: &str, c: usize| {
            let weighted = shapes.has(&[&format!("{}.{name}.seblock.conv1.weight", at.path())]);
            Pair::load(&at.at(name), c, weighted)
        };
        let (first, c) = pair("conv1", c_in)?;
        let (down, below) = halved(&at.at("conv1_down"), c)?;
        let (second, mut back) = pair("conv2", below)?;
        let mut inner = None;
        if deep {
            let (down, c) = halved(&at.at("conv2_down"), back)?;
            let (lowest, c) = pair("conv3", c)?;
            let up = doubled(&at.at("conv3_up"), c, back)?;
            let (last, c) = pair("conv4", back)?;
            inner = Some(Box::new(Inner { down, lowest, up, back: last }));
            back = c;
        }
        let [up, joined] = if deep { ["conv4_up", "conv5"] } else { ["conv2_up", "conv3"] };
        let last = width(&at.at(joined));
        let c_out = match bottom {
            First::Keep => width(&at.at("conv_bottom")),
            _ => at.shape("conv_bottom.weight").and_then(|s| s.get(1).copied()).filter(|c| *c > 0).unwrap_or(1),
        };
        let unet = Self {
            first,
            down,
            second,
            inner,
            up: doubled(&at.at(up), back, c)?,
            joined: Conv2d::load(&at.at(joined), c, last, 3, Conv2dOptions::default())?,
            bottom: Bottom::load(&at.at("conv_bottom"), bottom, last, c_out)?,
        };
        Ok((unet, c_out))
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let first = self.first.forward(x)?;
        let mut below = self.second.forward(&activated(&self.down, &first, LEAKY)?)?;
        // Frames that the levels below have eaten.
        let mut eaten = 4;
        if let Some(inner) = &self.inner {
            let lowest = inner.lowest.forward(&activated(&inner.down, &below, LEAKY)?)?;
            let back = inner.up.forward(&lowest)?.activation(LEAKY)?;
            below = inner.back.forward(&cropped(&below, 4)?.add(&back)?)?;
            eaten = 16;
        }
        let back = self.up.forward(&below)?.activation(LEAKY)?;
        let joined = activated(&self.joined, &cropped(&first, eaten)?.add(&back)?, LEAKY)?;
        self.bottom.forward(&joined)
    }
}

#[derive(Debug)]
struct CuNet {
    first: Unet,
    second: Unet,
    /// The convolution before the pixel shuffle.
    shuffled: Option<Conv2d>,
    frame: usize,
    scale: usize,
    pro: bool,
    waifu2x: bool,
}

impl CuNet {
    fn load(loader: &Loader, shapes: &Shapes, config: &Config) -> Result<Self, LoadError> {
        let (first, c) = Unet::load(&loader.at("unet1"), shapes, config.colours, false, config.first)?;
        let (second, c) = Unet::load(&loader.at("unet2"), shapes, c, true, First::Keep)?;
        let last = loader.at("conv_final");
        let shuffled = || Conv2d::load(&last, c, 4 * config.colours, 3, Conv2dOptions::default());
        Ok(Self {
            first,
            second,
            shuffled: config.doubled.then(shuffled).transpose()?,
            frame: config.frame().0,
            scale: config.scale(),
            pro: config.pro,
            waifu2x: config.waifu2x,
        })
    }
}

impl Network for CuNet {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let x = if self.pro { x.mul_scalar(PRO_RANGE)?.add_scalar(PRO_START)? } else { x.clone() };
        let mode = if self.waifu2x { PadMode::Replicate } else { PadMode::Reflect };
        let mut first = self.first.forward(&x.pad2d([self.frame; 4], mode)?)?;
        if self.waifu2x {
            first = first.clamp(0.0, 1.0)?;
        }
        let mut out = self.second.forward(&first)?.add(&cropped(&first, SECOND)?)?;
        if let Some(shuffled) = &self.shuffled {
            let detail = cropped(&shuffled.forward(&out)?, 1)?.pixel_shuffle(2)?;
            out = detail.add(&x.upsample_nearest(self.scale)?)?;
        }
        if self.pro { out.add_scalar(-PRO_START)?.mul_scalar(1.0 / PRO_RANGE) } else { Ok(out) }
    }
}

#[cfg(test)]
mod tests {
    use super::named_waifu2x;

    #[test]
    fn names_tell_waifu2x() {
        for (name, want) in [
            ("cunet/art/noise0_scale2x.pth", true),
            ("scale2x.pth", true),
            ("models/waifu2x_photo.safetensors", true),
            ("up2x-latest-denoise1x.pth", false),
            ("waifu2x/up2x-no-denoise.pth", false),
            ("noise.pth", false),
        ] {
            assert_eq!(named_waifu2x(name), want, "{name}");
        }
    }
}
