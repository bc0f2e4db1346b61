//! Ultra-Light RFB-320 (Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB): small separable convolutions, one block of
//! dilated ones (Liu et al., arXiv:1711.07767), boxes from four maps.

use danqing_checkpoints::Weights;
use danqing_nn::{Conv2d, LoadError, LoadOptions, Loader};
use danqing_tensor::{Activation, Conv2dOptions, Tensor, TensorError};

use super::layers::{Separable, normed, outputs};
use super::ssd::{Frame, Level, Said, faces};
use super::{Face, FaceDetectorArchitecture, FaceDetectorInfo, Network, OpenedDetector, finished};
use crate::upscalers::Shapes;
use crate::upscalers::layers::{activated, conv, each_channel, width};

/// Ultra-Light RFB.
pub static ARCHITECTURE: FaceDetectorArchitecture = FaceDetectorArchitecture {
    name: NAME,
    detect: |shapes| {
        shapes.has(&[
            "base_net.0.0.weight",
            "base_net.7.ConvLinear.conv.weight",
            "extras.0.0.weight",
            "regression_headers.3.weight",
        ])
    },
    load,
};

const NAME: &str = "Ultra-Light RFB";
const RELU: Activation = Activation::Relu;
/// Strides of the separable blocks 1 to 6 and 8 to 12.
const STRIDES: [&[usize]; 3] = [&[1, 2, 1, 2, 1, 1], &[2, 1, 1], &[2, 1]];
const LEVELS: [Level; 4] = [
    Level { stride: 8, sides: &[10.0, 16.0, 24.0] },
    Level { stride: 16, sides: &[32.0, 48.0] },
    Level { stride: 32, sides: &[64.0, 96.0] },
    Level { stride: 64, sides: &[128.0, 192.0, 256.0] },
];
const MEAN: f32 = 127.0;
const DEVIATION: f32 = 128.0;

fn load(weights: &Weights, _: &Shapes, options: LoadOptions) -> OpenedDetector {
    let loader = Loader::new(weights.clone(), options);
    let info =
        FaceDetectorInfo { architecture: NAME, landmarks: false, side: 320, score: 0.7, overlap: 0.3, parameters: 0 };
    let network = Rfb::load(&loader)?;
    finished(&loader, network, info)
}

#[derive(Debug)]
struct Rfb {
    first: Conv2d,
    /// Blocks before the dilated one, and those that lead to the second and the third map.
    blocks: [Vec<Separable>; 3],
    dilated: Option<Dilated>,
    /// 1×1, each channel with a stride, 1×1.
    extra: [Conv2d; 3],
    heads: Vec<[Head; 2]>,
}

impl Rfb {
    fn load(loader: &Loader) -> Result<Self, LoadError> {
        let base = loader.at("base_net");
        let first = normed(&base.at(0).at(0), &base.at(0).at(1), 3, 3, Conv2dOptions::padded(1).stride(2))?;
        let (mut c, mut number) = (outputs(&first), 1);
        let (mut blocks, mut widths, mut dilated) = ([const { Vec::new() }; 3], Vec::new(), None);
        for (part, strides) in blocks.iter_mut().zip(STRIDES) {
            for stride in strides {
                let block = Separable::load(&base.at(number), c, *stride)?;
                (c, number) = (block.outputs(), number + 1);
                part.push(block);
            }
            if dilated.is_none() {
                let block = Dilated::load(&base.at(number), c)?;
                (c, number) = (outputs(&block.joined), number + 1);
                dilated = Some(block);
            }
            widths.push(c);
        }
        let extras = loader.at("extras").at(0);
        let (inner, outer) = (width(&extras.at(0)), width(&extras.at(2).at(2)));
        let extra = [
            conv(&extras.at(0), c, inner, 1)?,
            Conv2d::load(&extras.at(2).at(0), inner, inner, 3, each_channel(inner, 3).stride(2))?,
            conv(&extras.at(2).at(2), inner, outer, 1)?,
        ];
        widths.push(outer);
        let head = |kind: &str, i: usize, numbers: usize| {
            let last = i + 1 == LEVELS.len();
            Head::load(&loader.at(kind).at(i), widths[i], numbers * LEVELS[i].sides.len(), last)
        };
        let both = |i| Ok([head("classification_headers", i, 2)?, head("regression_headers", i, 4)?]);
        let heads = (0..LEVELS.len()).map(both).collect::<Result<_, LoadError>>()?;
        Ok(Self { first, blocks, dilated, extra, heads })
    }
}

impl Network for Rfb {
    fn candidates(&self, picture: &Tensor) -> Result<Vec<Face>, TensorError> {
        let frame = Frame { width: picture.dim(2), height: picture.dim(1), fitted: true };
        let x = picture.mul_scalar(255.0 / DEVIATION)?.add_scalar(-MEAN / DEVIATION)?;
        let mut x = activated(&self.first, &x, RELU)?;
        let mut maps = Vec::with_capacity(LEVELS.len());
        for (i, blocks) in self.blocks.iter().enumerate() {
            x = blocks.iter().try_fold(x, |x, block| block.forward(&x, RELU))?;
            if let (0, Some(dilated)) = (i, &self.dilated) {
                x = dilated.forward(&x)?;
            }
            maps.push(x.clone());
        }
        let [narrow, depth, wide] = &self.extra;
        maps.push(activated(wide, &activated(depth, &activated(narrow, &x, RELU)?, RELU)?, RELU)?);
        let mut out = Vec::new();
        for ((level, map), [classes, boxes]) in LEVELS.iter().zip(&maps).zip(&self.heads) {
            let said = Said { classes: classes.forward(map)?, boxes: boxes.forward(map)?, landmarks: None };
            out.extend(faces(*level, &said, frame)?);
        }
        Ok(out)
    }
}

/// What says numbers about each prior: a separable convolution, or a plain one at the last map.
#[derive(Debug)]
struct Head {
    depth: Option<Conv2d>,
    last: Conv2d,
}

impl Head {
    fn load(at: &Loader, c: usize, numbers: usize, plain: bool) -> Result<Self, LoadError> {
        if plain {
            return Ok(Self { depth: None, last: conv(at, c, numbers, 3)? });
        }
        let depth = Conv2d::load(&at.at(0), c, c, 3, each_channel(c, 3))?;
        Ok(Self { depth: Some(depth), last: conv(&at.at(2), c, numbers, 1)? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        match &self.depth {
            Some(depth) => self.last.forward(&activated(depth, x, RELU)?),
            None => self.last.forward(x),
        }
    }
}

/// Three branches of growing dilation, joined, beside a short cut.
#[derive(Debug)]
struct Dilated {
    branches: [Vec<Conv2d>; 3],
    joined: Conv2d,
    short: Conv2d,
}

impl Dilated {
    fn load(at: &Loader, c: usize) -> Result<Self, LoadError> {
        // Each branch narrows, looks around once or twice, then at a distance.
        let branch = |name: &str, looks: usize, distance: usize| -> Result<Vec<Conv2d>, LoadError> {
            let mut width = c;
            let layer = |i: usize| {
                let (kernel, options) = match i {
                    0 => (1, Conv2dOptions::default()),
                    _ if i <= looks => (3, Conv2dOptions::padded(1)),
                    _ => (3, Conv2dOptions { dilation: [distance; 2], ..Conv2dOptions::padded(distance) }),
                };
                let at = at.at(name).at(i);
                let conv = normed(&at.at("conv"), &at.at("bn"), width, kernel, options)?;
                width = outputs(&conv);
                Ok(conv)
            };
            (0..looks + 2).map(layer).collect()
        };
        let branches = [branch("branch0", 1, 2)?, branch("branch1", 1, 3)?, branch("branch2", 2, 5)?];
        let wide = branches.iter().flat_map(|branch| branch.last()).map(outputs).sum();
        let point = |name: &str, c: usize| {
            let at = at.at(name);
            normed(&at.at("conv"), &at.at("bn"), c, 1, Conv2dOptions::default())
        };
        Ok(Self { branches, joined: point("ConvLinear", wide)?, short: point("shortcut", c)? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let branch = |convs: &Vec<Conv2d>| {
            let last = convs.len() - 1;
            let step = |x: Tensor, (i, conv): (usize, &Conv2d)| match i {
                // Neither the first nor the last has an activation.
                i if i == 0 || i == last => conv.forward(&x),
                _ => activated(conv, &x, RELU),
            };
            convs.iter().enumerate().try_fold(x.clone(), step)
        };
        let [a, b, c] = [branch(&self.branches[0])?, branch(&self.branches[1])?, branch(&self.branches[2])?];
        let joined = self.joined.forward(&Tensor::concat(&[&a, &b, &c], 3)?)?;
        joined.add(&self.short.forward(x)?)?.relu()
    }
}
