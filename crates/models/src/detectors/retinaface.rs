//! RetinaFace (Deng et al., arXiv:1905.00641; tensor names of biubug6/Pytorch_Retinaface and facexlib): a ResNet or a small
//! MobileNet, a pyramid of three maps, and boxes with five points from each.

use danqing_checkpoints::Weights;
use danqing_nn::{Conv2d, LoadError, LoadOptions, Loader};
use danqing_tensor::{Activation, Conv2dOptions, Tensor, TensorError};

use super::layers::{Separable, normed, outputs};
use super::ssd::{Frame, Level, Said, faces};
use super::{Face, FaceDetectorArchitecture, FaceDetectorInfo, Network, OpenedDetector, finished};
use crate::upscalers::Shapes;
use crate::upscalers::layers::{activated, conv, width};

/// With a ResNet.
pub static RESNET: FaceDetectorArchitecture = FaceDetectorArchitecture {
    name: "RetinaFace ResNet",
    detect: |shapes| shapes.has(HEADS) && shapes.has(&["body.conv1.weight", "body.layer4.0.conv3.weight"]),
    load: |weights, shapes, options| load(weights, options, "RetinaFace ResNet", |at| Body::resnet(at, shapes)),
};

/// With a small MobileNet.
pub static MOBILENET: FaceDetectorArchitecture = FaceDetectorArchitecture {
    name: "RetinaFace MobileNet",
    detect: |shapes| shapes.has(HEADS) && shapes.has(&["body.stage1.0.0.weight", "body.stage3.0.0.weight"]),
    load: |weights, shapes, options| load(weights, options, "RetinaFace MobileNet", |at| Body::mobilenet(at, shapes)),
};

const HEADS: &[&str] = &["fpn.output1.0.weight", "ssh1.conv3X3.0.weight", "LandmarkHead.0.conv1x1.weight"];
const LEVELS: [Level; 3] = [
    Level { stride: 8, sides: &[16.0, 32.0] },
    Level { stride: 16, sides: &[64.0, 128.0] },
    Level { stride: 32, sides: &[256.0, 512.0] },
];
/// Means of blue, green and red in 0..255, the order in which the network takes them.
const MEANS: [f32; 3] = [104.0, 117.0, 123.0];
const LEAKY: Activation = Activation::LeakyRelu(0.1);
/// Pyramids of at most so many channels are leaky.
const WIDEST_LEAKY: usize = 64;

fn load(
    weights: &Weights,
    options: LoadOptions,
    architecture: &'static str,
    body: impl Fn(&Loader) -> Result<(Body, [usize; 3]), LoadError>,
) -> OpenedDetector {
    let loader = Loader::new(weights.clone(), options);
    let info = FaceDetectorInfo { architecture, landmarks: true, side: 1024, score: 0.8, overlap: 0.4, parameters: 0 };
    let (body, widths) = body(&loader.at("body"))?;
    let network = RetinaFace::load(&loader, body, widths)?;
    finished(&loader, network, info)
}

#[derive(Debug)]
struct RetinaFace {
    body: Body,
    /// From the body's maps to the pyramid's.
    laterals: [Conv2d; 3],
    /// After the coarser map has been added to the first and the second.
    merges: [Conv2d; 2],
    contexts: [Context; 3],
    /// Classes, boxes, points of each map.
    heads: [[Conv2d; 3]; 3],
    activation: Activation,
}

/// A convolution `0` with its norm `1`.
fn unit(at: &Loader, c: usize, kernel: usize) -> Result<Conv2d, LoadError> {
    normed(&at.at(0), &at.at(1), c, kernel, Conv2dOptions::padded(kernel / 2))
}

/// Three of something, each of its number.
fn three<T>(make: impl Fn(usize) -> Result<T, LoadError>) -> Result<[T; 3], LoadError> {
    Ok([make(0)?, make(1)?, make(2)?])
}

impl RetinaFace {
    fn load(loader: &Loader, body: Body, widths: [usize; 3]) -> Result<Self, LoadError> {
        let fpn = loader.at("fpn");
        let laterals = three(|i| unit(&fpn.at(format!("output{}", i + 1)), widths[i], 1))?;
        let c = outputs(&laterals[0]);
        let contexts = three(|i| Context::load(&loader.at(format!("ssh{}", i + 1)), c))?;
        let heads = three(|i| {
            let head = |name: &str, numbers: usize| {
                let priors = LEVELS[i].sides.len();
                conv(&loader.at(name).at(i).at("conv1x1"), contexts[i].outputs(), priors * numbers, 1)
            };
            Ok([head("ClassHead", 2)?, head("BboxHead", 4)?, head("LandmarkHead", 10)?])
        })?;
        let merges = [unit(&fpn.at("merge1"), c, 3)?, unit(&fpn.at("merge2"), c, 3)?];
        let activation = if c <= WIDEST_LEAKY { LEAKY } else { Activation::Relu };
        Ok(Self { body, laterals, merges, contexts, heads, activation })
    }
}

impl Network for RetinaFace {
    fn candidates(&self, picture: &Tensor) -> Result<Vec<Face>, TensorError> {
        let frame = Frame { width: picture.dim(2), height: picture.dim(1), fitted: false };
        let x = picture.flip(3)?.mul_scalar(255.0)?.sub(&Tensor::from_slice(&MEANS, &[3])?)?;
        let maps = self.body.forward(&x)?;
        let lateral = |i: usize| activated(&self.laterals[i], &maps[i], self.activation);
        let merged = |i: usize, fine: Tensor, coarse: &Tensor| {
            let sum = fine.add(&coarse.resize_nearest(fine.dim(1), fine.dim(2))?)?;
            activated(&self.merges[i], &sum, self.activation)
        };
        let coarse = lateral(2)?;
        let middle = merged(1, lateral(1)?, &coarse)?;
        let fine = merged(0, lateral(0)?, &middle)?;
        let mut out = Vec::new();
        for (i, map) in [fine, middle, coarse].iter().enumerate() {
            let map = self.contexts[i].forward(map, self.activation)?;
            let [classes, boxes, landmarks] = &self.heads[i];
            let said = Said {
                classes: classes.forward(&map)?,
                boxes: boxes.forward(&map)?,
                landmarks: Some(landmarks.forward(&map)?),
            };
            out.extend(faces(LEVELS[i], &said, frame)?);
        }
        Ok(out)
    }
}

/// Surroundings of 3×3, 5×5 and 7×7 pixels side by side (SSH, Najibi et al., arXiv:1708.03979).
#[derive(Debug)]
struct Context {
    near: Conv2d,
    first: Conv2d,
    middle: Conv2d,
    second: Conv2d,
    far: Conv2d,
}

impl Context {
    fn load(at: &Loader, c: usize) -> Result<Self, LoadError> {
        let first = unit(&at.at("conv5X5_1"), c, 3)?;
        let second = unit(&at.at("conv7X7_2"), outputs(&first), 3)?;
        Ok(Self {
            near: unit(&at.at("conv3X3"), c, 3)?,
            middle: unit(&at.at("conv5X5_2"), outputs(&first), 3)?,
            far: unit(&at.at("conv7x7_3"), outputs(&second), 3)?,
            first,
            second,
        })
    }

    fn outputs(&self) -> usize {
        [&self.near, &self.middle, &self.far].into_iter().map(outputs).sum()
    }

    fn forward(&self, x: &Tensor, activation: Activation) -> Result<Tensor, TensorError> {
        let first = activated(&self.first, x, activation)?;
        let second = activated(&self.second, &first, activation)?;
        let [near, middle, far] = [self.near.forward(x)?, self.middle.forward(&first)?, self.far.forward(&second)?];
        Tensor::concat(&[&near, &middle, &far], 3)?.relu()
    }
}

/// What makes the three maps.
#[derive(Debug)]
enum Body {
    ResNet { first: Conv2d, layers: Vec<Vec<Bottleneck>> },
    MobileNet { first: Conv2d, stages: [Vec<Separable>; 3] },
}

impl Body {
    /// With the widths of its maps.
    fn resnet(at: &Loader, shapes: &Shapes) -> Result<(Self, [usize; 3]), LoadError> {
        let options = Conv2dOptions::padded(3).stride(2);
        let first = normed(&at.at("conv1"), &at.at("bn1"), 3, 7, options)?;
        let (mut c, mut layers, mut widths) = (outputs(&first), Vec::new(), Vec::new());
        for number in 1..=4 {
            let name = format!("layer{number}");
            let mut blocks = Vec::new();
            for i in 0..shapes.count(&format!("body.{name}."), ".conv1.weight", 0) {
                let stride = if i == 0 && number > 1 { 2 } else { 1 };
                let block = Bottleneck::load(&at.at(&name).at(i), c, stride)?;
                c = outputs(&block.widen);
                blocks.push(block);
            }
            layers.push(blocks);
            widths.push(c);
        }
        Ok((Self::ResNet { first, layers }, [widths[1], widths[2], widths[3]]))
    }

    fn mobilenet(at: &Loader, shapes: &Shapes) -> Result<(Self, [usize; 3]), LoadError> {
        let start = at.at("stage1").at(0);
        let first = normed(&start.at(0), &start.at(1), 3, 3, Conv2dOptions::padded(1).stride(2))?;
        let (mut c, mut widths) = (outputs(&first), [0; 3]);
        let mut stages = [const { Vec::new() }; 3];
        for (stage, blocks) in stages.iter_mut().enumerate() {
            let name = format!("stage{}", stage + 1);
            // The first stage begins with a plain convolution and halves the sides twice after it.
            let from = usize::from(stage == 0);
            for i in from..from + shapes.count(&format!("body.{name}."), ".3.weight", from) {
                let halves = if stage == 0 { i == 2 || i == 4 } else { i == 0 };
                let block = Separable::load(&at.at(&name).at(i), c, if halves { 2 } else { 1 })?;
                c = block.outputs();
                blocks.push(block);
            }
            widths[stage] = c;
        }
        Ok((Self::MobileNet { first, stages }, widths))
    }

    fn forward(&self, x: &Tensor) -> Result<[Tensor; 3], TensorError> {
        match self {
            Self::ResNet { first, layers } => {
                let x = activated(first, x, Activation::Relu)?.max_pool2d([3; 2], [2; 2], [1; 2])?;
                let layer = |x: &Tensor, i: usize| layers[i].iter().try_fold(x.clone(), |x, block| block.forward(&x));
                let fine = layer(&layer(&x, 0)?, 1)?;
                let middle = layer(&fine, 2)?;
                let coarse = layer(&middle, 3)?;
                Ok([fine, middle, coarse])
            }
            Self::MobileNet { first, stages } => {
                let stage = |x: &Tensor, i: usize| stages[i].iter().try_fold(x.clone(), |x, b| b.forward(&x, LEAKY));
                let fine = stage(&activated(first, x, LEAKY)?, 0)?;
                let middle = stage(&fine, 1)?;
                let coarse = stage(&middle, 2)?;
                Ok([fine, middle, coarse])
            }
        }
    }
}

/// Narrow, look around, widen, beside a short cut.
#[derive(Debug)]
struct Bottleneck {
    narrow: Conv2d,
    look: Conv2d,
    widen: Conv2d,
    short: Option<Conv2d>,
}

impl Bottleneck {
    fn load(at: &Loader, c: usize, stride: usize) -> Result<Self, LoadError> {
        let part = |number: usize, c: usize, kernel: usize, options: Conv2dOptions| {
            normed(&at.at(format!("conv{number}")), &at.at(format!("bn{number}")), c, kernel, options)
        };
        let plain = Conv2dOptions::default();
        let narrow = part(1, c, 1, plain)?;
        let look = part(2, outputs(&narrow), 3, Conv2dOptions::padded(1).stride(stride))?;
        let widen = part(3, outputs(&look), 1, plain)?;
        let short = at.at("downsample");
        let short = (width(&at.at("conv3")) != c || stride > 1)
            .then(|| normed(&short.at(0), &short.at(1), c, 1, plain.stride(stride)));
        Ok(Self { narrow, look, widen, short: short.transpose()? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let narrow = activated(&self.narrow, x, Activation::Relu)?;
        let out = self.widen.forward(&activated(&self.look, &narrow, Activation::Relu)?)?;
        let short = self.short.as_ref().map_or_else(|| Ok(x.clone()), |short| short.forward(x))?;
        out.add(&short)?.relu()
    }
}
