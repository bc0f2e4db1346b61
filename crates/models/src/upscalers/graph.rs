//! Networks given as a list of operations: what files of ncnn, TensorFlow and ONNX hold.
//!
//! Maps are `[b, h, w, c]`, vectors `[b, 1, 1, n]`. Before anything is computed the sizes of all maps are worked out for several
//! pictures: they tell the factor, how much context the network eats at its borders, and what sides it can take.

use danqing_tensor::{Activation, Conv2dOptions, PadMode, Param, Tensor, TensorError};

use super::resampling::Sampling;
use super::{Network, UpscalerInfo};
use crate::error::{ModelError, invalid};

/// Two maps, or a map and a number, value by value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
}

/// A function of each value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unary {
    Negative,
    Absolute,
    Root,
    Exponential,
    Reciprocal,
    Erf,
}

/// What a node does.
#[derive(Debug)]
pub(super) enum Op {
    /// Passes its input on.
    Copy,
    Conv {
        weight: Param,
        bias: Option<Param>,
        options: Conv2dOptions,
    },
    /// Transposed; weight `[c_in, c_out, kh, kw]`.
    Deconv {
        weight: Param,
        bias: Option<Param>,
        options: Conv2dOptions,
    },
    Linear {
        weight: Param,
        bias: Option<Param>,
    },
    Prelu(Param),
    Activation(Activation),
    Clip(f32, f32),
    Binary(Binary),
    /// With a number on the right.
    Scalar(Binary, f32),
    /// With a number for each channel on the right.
    Channels(Binary, Param),
    Mean,
    /// Pixels left out at the top, bottom, left and right.
    Crop([usize; 4]),
    /// The first map cut to the height and width of the second, beginning at a row and column.
    CropLike {
        top: usize,
        left: usize,
    },
    Pad([usize; 4], PadMode),
    Shuffle(usize),
    /// TensorFlow's order of channels, which is the same where one is left.
    DepthToSpace(usize),
    Nearest(usize),
    Bilinear(usize),
    /// Along channels.
    Concat,
    Unary(Unary),
    /// Channels from the first number on, as many as the second.
    Part(usize, usize),
    /// Channels in another order, or some of them.
    Select(Vec<u32>),
    /// The reverse of [`Op::Shuffle`].
    Unshuffle(usize),
    /// The largest value of each window, or the mean.
    Pool {
        largest: bool,
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
    },
    /// To a multiple of its own height and width, or of those of a second map.
    Resample(Sampling, [f64; 2]),
}

/// A node: what it does with which blobs.
#[derive(Debug)]
pub(super) struct Node {
    pub op: Op,
    pub inputs: Vec<usize>,
    /// Blobs that all get the result.
    pub outputs: Vec<usize>,
}

/// A network of nodes in the order of computation.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pub nodes: Vec<Node>,
    /// Number of blobs.
    pub blobs: usize,
    pub input: usize,
    pub output: usize,
}

/// Height, width, channels.
pub(super) type Size = [usize; 3];

/// What the sizes of a graph's maps tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    pub channels: usize,
    pub scale: usize,
    /// Pixels of the input that are lost on each side.
    pub context: usize,
    /// Sides (before the context is added) must be multiples of this.
    pub multiple: usize,
}

impl Graph {
    /// What the network makes of pictures.
    ///
    /// # Errors
    /// If that is not a larger or equal picture of as many channels.
    pub fn geometry(&self, channels: usize) -> Result<Geometry, String> {
        const MULTIPLES: [usize; 6] = [1, 2, 4, 8, 16, 32];
        const MOST_CONTEXT: usize = 64;
        const SIDE: usize = 512;
        let side = |n: usize| self.output_size([n, n, channels]);
        let (near, far) = (side(SIDE)?, side(2 * SIDE)?);
        let [grown, h, c] = [far[0] - near[0].min(far[0]), far[0], far[2]];
        let scale = grown / SIDE;
        if far[0] != far[1] || c != channels || scale == 0 || scale > 8 || scale * SIDE != grown || h > 2 * SIDE * scale
        {
            return Err(format!("a picture [{SIDE}, {SIDE}, {channels}] becomes {near:?}, of twice the side {far:?}"));
        }
        let lost = 2 * SIDE * scale - h;
        let context = lost / (2 * scale);
        if lost != 2 * scale * context || context > MOST_CONTEXT {
            return Err(format!("{lost} pixels of the result are lost at its borders"));
        }
        let fits = |multiple: &usize| {
            let right = |i: usize| {
                let n = i * multiple;
                self.output_size([n + 2 * context, n + 2 * context, channels]) == Ok([n * scale, n * scale, channels])
            };
            (8..13).all(right)
        };
        let multiple = MULTIPLES.into_iter().find(fits).ok_or("it takes no regular sizes")?;
        Ok(Geometry { channels, scale, context, multiple })
    }

    /// Size of the result for an input of this size; a sentence where maps do not fit.
    fn output_size(&self, input: Size) -> Result<Size, String> {
        const LONGEST: usize = 1 << 24;
        let mut sizes: Vec<Option<Size>> = vec![None; self.blobs];
        sizes[self.input] = Some(input);
        for (i, node) in self.nodes.iter().enumerate() {
            let inputs: Option<Vec<Size>> = node.inputs.iter().map(|&blob| sizes[blob]).collect();
            let size = inputs.and_then(|inputs| node.op.size(&inputs));
            let size = size.filter(|size| size.iter().all(|n| *n <= LONGEST));
            let size = size.ok_or_else(|| format!("node {i} ({:.60?}) cannot take its inputs", node.op))?;
            node.outputs.iter().for_each(|&blob| sizes[blob] = Some(size));
        }
        sizes[self.output].ok_or_else(|| "nothing makes its result".to_owned())
    }

    /// Pixels of the input on each side that a pixel of the result depends on; `None` if on all of them.
    pub fn radius(&self) -> Option<usize> {
        // Reach, and distance of neighbouring pixels, both in pixels of the input.
        let mut known: Vec<Option<(f64, f64)>> = vec![None; self.blobs];
        known[self.input] = Some((0.0, 1.0));
        for node in &self.nodes {
            let inputs: Option<Vec<(f64, f64)>> = node.inputs.iter().map(|&blob| known[blob]).collect();
            let inputs = inputs?;
            let (reach, step) = inputs.iter().fold((0.0f64, 0.0f64), |(r, s), x| (r.max(x.0), s.max(x.1)));
            let made = match &node.op {
                Op::Mean => return None,
                Op::Conv { weight, options, .. } => {
                    let kernel = weight.shape()[2].max(weight.shape()[3]);
                    let span = (kernel - 1) * options.dilation[0].max(options.dilation[1]);
                    (reach + step * span.div_ceil(2) as f64, step * options.stride[0] as f64)
                }
                Op::Deconv { weight, options, .. } => {
                    let (kernel, stride) = (weight.shape()[2].max(weight.shape()[3]) as f64, options.stride[0] as f64);
                    (reach + step * (kernel / stride + 1.0) / 2.0, step / stride)
                }
                Op::Shuffle(factor) | Op::DepthToSpace(factor) | Op::Nearest(factor) => (reach, step / *factor as f64),
                Op::Bilinear(factor) => (reach + step, step / *factor as f64),
                Op::Unshuffle(factor) => (reach + step * (factor - 1) as f64, step * *factor as f64),
                Op::Pool { kernel, stride, .. } => {
                    let span = kernel[0].max(kernel[1]) - 1;
                    (reach + step * span.div_ceil(2) as f64, step * stride[0] as f64)
                }
                Op::Resample(sampling, times) => {
                    let (x, like) = (inputs.first()?, inputs.last()?);
                    (x.0 + x.1 * sampling.reach()?, like.1 / times[0].min(times[1]))
                }
                _ => (reach, step),
            };
            node.outputs.iter().for_each(|&blob| known[blob] = Some(made));
        }
        known[self.output].map(|(reach, _)| reach.ceil() as usize)
    }

    fn run(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let mut last_use = vec![0; self.blobs];
        for (i, node) in self.nodes.iter().enumerate() {
            node.inputs.iter().for_each(|&blob| last_use[blob] = i);
        }
        last_use[self.output] = usize::MAX;
        let mut blobs: Vec<Option<Tensor>> = vec![None; self.blobs];
        blobs[self.input] = Some(x.clone());
        let missing = || invalid("upscaler", "a node reads a map that nothing made".to_owned());
        for (i, node) in self.nodes.iter().enumerate() {
            let inputs: Vec<Tensor> =
                node.inputs.iter().map(|&blob| blobs[blob].clone().ok_or_else(missing)).collect::<Result<_, _>>()?;
            let made = node.op.run(&inputs)?;
            drop(inputs);
            node.inputs.iter().filter(|&&blob| last_use[blob] == i).for_each(|&blob| blobs[blob] = None);
            node.outputs.iter().for_each(|&blob| blobs[blob] = Some(made.clone()));
        }
        blobs[self.output].take().ok_or_else(missing)
    }
}

/// Side after a convolution.
fn convolved(side: usize, kernel: usize, dilation: usize, stride: usize, padding: usize) -> Option<usize> {
    let span = (kernel.checked_sub(1)?).checked_mul(dilation)?.checked_add(1)?;
    Some((side.checked_add(padding)?.checked_sub(span)?).checked_div(stride)? + 1)
}

/// A side times a factor, where that is a whole number.
fn whole(side: usize, times: f64) -> Option<usize> {
    let out = side as f64 * times;
    (out.fract() == 0.0 && (1.0..=1e8).contains(&out)).then_some(out as usize)
}

impl Op {
    /// Size of the result; `None` where inputs do not fit.
    pub fn size(&self, inputs: &[Size]) -> Option<Size> {
        let &[h, w, c] = inputs.first()?;
        let alone = |size: Size| (inputs.len() == 1).then_some(size);
        match self {
            Op::Copy | Op::Activation(_) | Op::Clip(..) | Op::Scalar(..) | Op::Unary(_) => alone([h, w, c]),
            Op::Channels(_, param) | Op::Prelu(param) => alone([h, w, c]).filter(|_| [1, c].contains(&param.numel())),
            Op::Conv { weight, options, .. } => {
                let &[c_out, c_in, kh, kw] = weight.shape() else { return None };
                let Conv2dOptions { padding: [top, bottom, left, right], dilation, stride, groups, .. } = *options;
                let h = convolved(h, kh, dilation[0], stride[0], top + bottom)?;
                let w = convolved(w, kw, dilation[1], stride[1], left + right)?;
                alone([h, w, c_out]).filter(|_| c_in * groups == c)
            }
            Op::Deconv { weight, options, .. } => {
                let &[c_in, c_out, kh, kw] = weight.shape() else { return None };
                let Conv2dOptions { padding: [top, bottom, left, right], stride, output_padding, groups, .. } =
                    *options;
                let side = |side: usize, axis: usize, kernel: usize, cut: usize| {
                    ((side.checked_sub(1)?).checked_mul(stride[axis])? + kernel + output_padding[axis]).checked_sub(cut)
                };
                alone([side(h, 0, kh, top + bottom)?, side(w, 1, kw, left + right)?, c_out.checked_mul(groups)?])
                    .filter(|_| c_in == c)
            }
            Op::Linear { weight, .. } => {
                let &[out, c_in] = weight.shape() else { return None };
                alone([1, 1, out]).filter(|_| [h, w, c] == [1, 1, c_in])
            }
            Op::Binary(_) => {
                let &[first, second] = inputs else { return None };
                let joined = |i: usize| match (first[i], second[i]) {
                    (a, b) if a == b || b == 1 => Some(a),
                    (1, b) => Some(b),
                    _ => None,
                };
                Some([joined(0)?, joined(1)?, joined(2)?])
            }
            Op::Mean => alone([1, 1, c]),
            Op::Crop([top, bottom, left, right]) => {
                let left_over = |side: usize, cut: usize| side.checked_sub(cut).filter(|side| *side > 0);
                alone([left_over(h, top + bottom)?, left_over(w, left + right)?, c])
            }
            Op::CropLike { top, left } => {
                let &[_, like] = inputs else { return None };
                (top + like[0] <= h && left + like[1] <= w).then_some([like[0], like[1], c])
            }
            Op::Pad([top, bottom, left, right], _) => alone([h + top + bottom, w + left + right, c]),
            Op::Shuffle(factor) => {
                let square = factor * factor;
                alone([h * factor, w * factor, c.checked_div(square)?]).filter(|_| c.is_multiple_of(square))
            }
            Op::DepthToSpace(factor) => alone([h * factor, w * factor, 1]).filter(|_| c == factor * factor),
            Op::Nearest(factor) | Op::Bilinear(factor) => alone([h * factor, w * factor, c]),
            Op::Concat => {
                let fits = inputs.iter().all(|size| size[..2] == [h, w]);
                fits.then(|| [h, w, inputs.iter().map(|size| size[2]).sum()])
            }
            Op::Part(start, len) => alone([h, w, *len]).filter(|_| *len > 0 && *len <= c && *start <= c - len),
            Op::Select(ids) => alone([h, w, ids.len()]).filter(|_| ids.iter().all(|id| (*id as usize) < c)),
            Op::Unshuffle(factor) => alone([h / factor, w / factor, c.checked_mul(factor * factor)?])
                .filter(|_| h.is_multiple_of(*factor) && w.is_multiple_of(*factor)),
            Op::Pool { kernel, stride, padding, .. } => {
                let side = |side: usize, axis: usize| convolved(side, kernel[axis], 1, stride[axis], 2 * padding[axis]);
                alone([side(h, 0)?, side(w, 1)?, c])
            }
            Op::Resample(_, times) => {
                let &like = inputs.last()?;
                Some([whole(like[0], times[0])?, whole(like[1], times[1])?, c]).filter(|_| inputs.len() <= 2)
            }
        }
    }

    fn run(&self, inputs: &[Tensor]) -> Result<Tensor, TensorError> {
        let Some(x) = inputs.first() else { return Err(invalid("upscaler", "a node reads nothing".to_owned())) };
        let second = || inputs.get(1).ok_or_else(|| invalid("upscaler", "a node reads one map too few".to_owned()));
        match self {
            Op::Copy => Ok(x.clone()),
            Op::Conv { weight, bias, options } => x.conv2d(weight, bias.as_ref(), *options),
            Op::Deconv { weight, bias, options } => x.conv_transpose2d(weight, bias.as_ref(), *options),
            Op::Linear { weight, bias } => x.linear(weight, bias.as_ref()),
            Op::Prelu(slope) => x.prelu(slope),
            Op::Activation(activation) => x.activation(*activation),
            Op::Clip(low, high) => x.clamp(*low, *high),
            Op::Binary(binary) => combine(*binary, x, second()?),
            Op::Scalar(Binary::Add, value) => x.add_scalar(*value),
            Op::Scalar(Binary::Mul, value) => x.mul_scalar(*value),
            Op::Scalar(binary, value) => combine(*binary, x, &Tensor::full(&[1], *value, x.dtype())?),
            Op::Channels(binary, param) => combine(*binary, x, &param.tensor().cast(x.dtype())?),
            Op::Mean => x.mean(&[1, 2], true),
            Op::Crop([top, bottom, left, right]) => {
                x.narrow(1, *top, x.dim(1) - top - bottom)?.narrow(2, *left, x.dim(2) - left - right)
            }
            Op::CropLike { top, left } => {
                let like = second()?;
                x.narrow(1, *top, like.dim(1))?.narrow(2, *left, like.dim(2))
            }
            Op::Pad(border, mode) => x.pad2d(*border, *mode),
            Op::Shuffle(factor) | Op::DepthToSpace(factor) => x.pixel_shuffle(*factor),
            Op::Nearest(factor) => x.upsample_nearest(*factor),
            Op::Bilinear(factor) => x.resize_bilinear(x.dim(1) * factor, x.dim(2) * factor),
            Op::Concat => Tensor::concat(&inputs.iter().collect::<Vec<_>>(), 3),
            Op::Unary(Unary::Negative) => x.neg(),
            Op::Unary(Unary::Absolute) => x.abs(),
            Op::Unary(Unary::Root) => x.sqrt(),
            Op::Unary(Unary::Exponential) => x.exp(),
            Op::Unary(Unary::Reciprocal) => x.reciprocal(),
            Op::Unary(Unary::Erf) => x.erf(),
            Op::Part(start, len) => x.narrow(3, *start, *len),
            Op::Select(ids) => x.index_select(3, ids),
            Op::Unshuffle(factor) => x.pixel_unshuffle(*factor),
            Op::Pool { largest: true, kernel, stride, padding } => x.max_pool2d(*kernel, *stride, *padding),
            Op::Pool { largest: false, kernel, stride, padding } => x.avg_pool2d(*kernel, *stride, *padding),
            Op::Resample(sampling, times) => {
                let like = inputs.last().unwrap_or(x);
                let side = |axis: usize| whole(like.dim(1 + axis), times[axis]);
                let fits = || invalid("upscaler", format!("{:?} times {times:?} is no size", like.shape()));
                sampling.run(x, [side(0).ok_or_else(fits)?, side(1).ok_or_else(fits)?])
            }
        }
    }
}

fn combine(binary: Binary, a: &Tensor, b: &Tensor) -> Result<Tensor, TensorError> {
    match binary {
        Binary::Add => a.add(b),
        Binary::Sub => a.sub(b),
        Binary::Mul => a.mul(b),
        Binary::Div => a.div(b),
        Binary::Max => a.maximum(b),
        Binary::Min => a.minimum(b),
    }
}

/// A graph as a network of pictures: the context that it eats is mirrored around them.
#[derive(Debug)]
pub(super) struct GraphNetwork {
    graph: Graph,
    geometry: Geometry,
}

impl GraphNetwork {
    /// Looks at the graph of a file called `source` as a network of pictures of `channels` channels.
    pub fn new(
        source: &str,
        architecture: &'static str,
        graph: Graph,
        channels: usize,
    ) -> Result<(Self, UpscalerInfo), ModelError> {
        let geometry = graph.geometry(channels).map_err(|why| {
            ModelError::Configuration(format!("{source} is no network that enlarges pictures: {why}"))
        })?;
        let Geometry { scale, context, multiple, .. } = geometry;
        let info = UpscalerInfo::new(architecture, scale, channels, graph.radius()).tiles(multiple, 1);
        let overlap = info.overlap.max(context.next_multiple_of(multiple));
        Ok((Self { graph, geometry }, UpscalerInfo { overlap, ..info }))
    }
}

impl Network for GraphNetwork {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let context = self.geometry.context;
        if context == 0 {
            return self.graph.run(x);
        }
        // A mirror shows no more than the picture: of a small one the edge is repeated.
        let small = x.dim(1).min(x.dim(2)) <= context;
        let mode = if small { PadMode::Replicate } else { PadMode::Reflect };
        self.graph.run(&x.pad2d([context; 4], mode)?)
    }
}
