//! ncnn networks as graphs: waifu2x (nihui/waifu2x-ncnn-vulkan), Real-CUGAN (nihui/realcugan-ncnn-vulkan), Real-ESRGAN and
//! whatever else is made of the same layers.
//!
//! Source: the layers' documentation in Tencent/ncnn (`docs/developer-guide/operators.md`).

use std::collections::BTreeMap;

use danqing_checkpoints::{Ncnn, NcnnLayer};
use danqing_nn::{Conv2d, LoadOptions};
use danqing_tensor::{Activation, Conv2dOptions, DType, PadMode, Param, Tensor};

use super::graph::{Binary, Graph, GraphNetwork, Node, Op};
use super::{Opened, wrapped};
use crate::error::ModelError;

/// Stands in parameters for "whatever fits".
const ANY: f32 = -233.0;

/// Loads an ncnn network that enlarges or cleans pictures of three channels in 0..1.
///
/// # Errors
/// If it has a layer, or a parameter of one, that is not known, or is no network of pictures.
pub fn open_ncnn(network: &Ncnn, options: &LoadOptions) -> Opened {
    let source = network.weights().source().to_owned();
    let mut builder = Builder { network, options: *options, blobs: BTreeMap::new(), nodes: Vec::new(), parameters: 0 };
    let mut input = None;
    for layer in network.layers() {
        if layer.kind == "Input" {
            let [blob] = layer.outputs.as_slice() else { return Err(builder.bad(layer, "has other than one output")) };
            if input.replace(builder.blob(blob)).is_some() {
                return Err(builder.bad(layer, "is a second input"));
            }
            continue;
        }
        builder.layer(layer)?;
    }
    let input = input.ok_or_else(|| ModelError::Configuration(format!("{source} has no input")))?;
    let read: Vec<usize> = builder.nodes.iter().flat_map(|node| node.inputs.iter().copied()).collect();
    let ends: Vec<usize> = builder.blobs.values().copied().filter(|blob| !read.contains(blob)).collect();
    let &[output] = ends.as_slice() else {
        return Err(ModelError::Configuration(format!("{source} has {} results where one is wanted", ends.len())));
    };
    let parameters = builder.parameters;
    let graph = Graph { nodes: builder.nodes, blobs: builder.blobs.len(), input, output };
    let (network, info) = GraphNetwork::new(&source, "ncnn network", graph, 3)?;
    Ok(wrapped(network, super::UpscalerInfo { parameters, ..info }, options.dtype))
}

struct Builder<'a> {
    network: &'a Ncnn,
    options: LoadOptions,
    blobs: BTreeMap<String, usize>,
    nodes: Vec<Node>,
    parameters: usize,
}

impl Builder<'_> {
    fn bad(&self, layer: &NcnnLayer, why: &str) -> ModelError {
        let source = self.network.weights().source();
        ModelError::Configuration(format!("{source}: layer {:?} ({}) {why}", layer.name, layer.kind))
    }

    fn blob(&mut self, name: &str) -> usize {
        let next = self.blobs.len();
        *self.blobs.entry(name.to_owned()).or_insert(next)
    }

    /// A blob that only this graph knows.
    fn hidden(&mut self) -> usize {
        let name = format!(" {}", self.blobs.len());
        self.blob(&name)
    }

    fn tensor(&self, layer: &NcnnLayer, name: &str) -> Result<(String, Tensor), ModelError> {
        let weights = self.network.weights();
        let name = format!("{}.{name}", layer.name);
        let shape = weights.info(&name).map(|info| info.shape.clone()).unwrap_or_default();
        let dtype = if shape.len() > 1 { self.options.dtype } else { DType::F32 };
        Ok((name.clone(), Tensor::from_vec(weights.read_f32(&name)?, &shape)?.cast(dtype)?))
    }

    fn param(&mut self, layer: &NcnnLayer, name: &str) -> Result<Param, ModelError> {
        let (name, value) = self.tensor(layer, name)?;
        self.parameters += value.numel();
        Ok(Param::new(name, value))
    }

    fn bias(&mut self, layer: &NcnnLayer) -> Result<Option<Param>, ModelError> {
        let there = self.network.weights().contains(&format!("{}.bias", layer.name));
        there.then(|| self.param(layer, "bias")).transpose()
    }

    /// Adds a layer: its operation, and its activation as a node of its own.
    fn layer(&mut self, layer: &NcnnLayer) -> Result<(), ModelError> {
        let inputs: Vec<usize> = layer.inputs.iter().map(|name| self.blob(name)).collect();
        let mut op = self.op(layer)?;
        if let (Op::CropLike { .. }, 1) = (&op, inputs.len()) {
            op = self.crop(layer)?;
        }
        let after = match layer.kind.as_str() {
            "Convolution" | "ConvolutionDepthWise" | "Deconvolution" | "InnerProduct" => self.activation(layer)?,
            _ => None,
        };
        let outputs: Vec<usize> = layer.outputs.iter().map(|name| self.blob(name)).collect();
        match after {
            None => self.nodes.push(Node { op, inputs, outputs }),
            Some(after) => {
                let between = self.hidden();
                self.nodes.push(Node { op, inputs, outputs: vec![between] });
                self.nodes.push(Node { op: after, inputs: vec![between], outputs });
            }
        }
        Ok(())
    }

    fn activation(&self, layer: &NcnnLayer) -> Result<Option<Op>, ModelError> {
        let list = layer.list(10);
        Ok(Some(match (layer.number(9, 0.0) as i32, list) {
            (0, _) => return Ok(None),
            (1, _) => Op::Activation(Activation::Relu),
            (2, [slope]) => Op::Activation(Activation::LeakyRelu(*slope)),
            (3, [low, high]) if low <= high => Op::Clip(*low, *high),
            (4, _) => Op::Activation(Activation::Sigmoid),
            _ => return Err(self.bad(layer, "has an activation that is not known")),
        }))
    }

    fn op(&mut self, layer: &NcnnLayer) -> Result<Op, ModelError> {
        let number = |key: u16, default: f32| layer.number(key, default);
        Ok(match layer.kind.as_str() {
            "Split" | "Noop" | "Dropout" => Op::Copy,
            "Convolution" | "ConvolutionDepthWise" | "Deconvolution" => return self.convolution(layer),
            "InnerProduct" => {
                let (weight, bias) = (self.param(layer, "weight")?, self.bias(layer)?);
                if self.options.prepack {
                    weight.prepack_linear(self.options.dtype);
                }
                Op::Linear { weight, bias }
            }
            "PReLU" => Op::Prelu(self.param(layer, "slope")?),
            "ReLU" if number(0, 0.0) == 0.0 => Op::Activation(Activation::Relu),
            "ReLU" => Op::Activation(Activation::LeakyRelu(number(0, 0.0))),
            "Sigmoid" => Op::Activation(Activation::Sigmoid),
            "TanH" => Op::Activation(Activation::Tanh),
            "Swish" => Op::Activation(Activation::Silu),
            "GELU" => Op::Activation(if number(0, 0.0) == 1.0 { Activation::GeluTanh } else { Activation::Gelu }),
            "Clip" if number(0, f32::MIN) <= number(1, f32::MAX) => Op::Clip(number(0, f32::MIN), number(1, f32::MAX)),
            // Factors from the second input, one for each channel.
            "Scale" => Op::Binary(Binary::Mul),
            "BinaryOp" => {
                let binary = match number(0, 0.0) as i32 {
                    0 => Binary::Add,
                    1 => Binary::Sub,
                    2 => Binary::Mul,
                    3 => Binary::Div,
                    4 => Binary::Max,
                    5 => Binary::Min,
                    _ => return Err(self.bad(layer, "does something that is not known")),
                };
                if number(1, 0.0) == 1.0 { Op::Scalar(binary, number(2, 0.0)) } else { Op::Binary(binary) }
            }
            "Eltwise" if layer.list(1).iter().all(|factor| *factor == 1.0) && layer.inputs.len() == 2 => {
                let binary = [Binary::Mul, Binary::Add, Binary::Max].get(number(0, 0.0) as usize).copied();
                Op::Binary(binary.ok_or_else(|| self.bad(layer, "does something that is not known"))?)
            }
            "Pooling" if number(0, 0.0) == 1.0 && number(4, 0.0) == 1.0 => Op::Mean,
            "Crop" => {
                let count = |key| layer.count(key, 0).ok_or_else(|| self.bad(layer, "begins outside its input"));
                if layer.inputs.len() == 2 && number(2, 0.0) != 0.0 {
                    return Err(self.bad(layer, "cuts channels"));
                }
                Op::CropLike { left: count(0)?, top: count(1)? }
            }
            "PixelShuffle" if number(1, 0.0) == 0.0 => {
                let factor = layer.count(0, 1).filter(|factor| (1..=16).contains(factor));
                Op::Shuffle(factor.ok_or_else(|| self.bad(layer, "has a factor out of range"))?)
            }
            "Interp" => {
                let factor = number(1, 1.0);
                let whole = factor == number(2, 1.0) && factor.fract() == 0.0 && (1.0..=16.0).contains(&factor);
                let plain = number(3, 0.0) == 0.0 && number(4, 0.0) == 0.0 && number(6, 0.0) == 0.0;
                match (number(0, 0.0) as i32, whole && plain && layer.inputs.len() == 1) {
                    (1, true) => Op::Nearest(factor as usize),
                    (2, true) => Op::Bilinear(factor as usize),
                    _ => return Err(self.bad(layer, "resizes in a way that is not known")),
                }
            }
            "Concat" if number(0, 0.0) == 0.0 => Op::Concat,
            "Padding" => {
                let side = |key| layer.count(key, 0).filter(|n| *n <= 1024);
                let sides = [side(0), side(1), side(2), side(3)];
                let [Some(top), Some(bottom), Some(left), Some(right)] = sides else {
                    return Err(self.bad(layer, "has a border out of range"));
                };
                let mode = match number(4, 0.0) as i32 {
                    0 => PadMode::Constant(number(5, 0.0)),
                    1 => PadMode::Replicate,
                    2 => PadMode::Reflect,
                    _ => return Err(self.bad(layer, "pads in a way that is not known")),
                };
                Op::Pad([top, bottom, left, right], mode)
            }
            _ => return Err(self.bad(layer, "is not known, or not with these parameters")),
        })
    }

    fn convolution(&mut self, layer: &NcnnLayer) -> Result<Op, ModelError> {
        let number = |key: u16, default: usize| layer.count(key, default).filter(|n| *n <= 1024);
        let both = |first: u16, second: u16, default: usize| {
            let across = number(first, default)?;
            Some([number(second, across)?, across])
        };
        let options = || {
            let left = number(4, 0)?;
            let (right, top) = (number(15, left)?, number(14, left)?);
            let (stride, dilation) = (both(3, 13, 1)?, both(2, 12, 1)?);
            let output_padding = if layer.kind == "Deconvolution" { [number(19, 0)?, number(18, 0)?] } else { [0; 2] };
            Some(Conv2dOptions {
                stride,
                padding: [top, number(16, top)?, left, right],
                dilation,
                groups: if layer.kind == "ConvolutionDepthWise" { number(7, 1)? } else { 1 },
                output_padding,
            })
        };
        let options = options().ok_or_else(|| self.bad(layer, "has a border, stride or dilation out of range"))?;
        let whole = options.stride.iter().chain(&options.dilation).all(|n| *n > 0) && options.groups > 0;
        if !whole || layer.kind == "Deconvolution" && (options.dilation != [1; 2] || number(20, 0) != Some(0)) {
            return Err(self.bad(layer, "has parameters that are not known"));
        }
        let bias = self.bias(layer)?;
        if layer.kind == "Deconvolution" {
            // [c_out, c_in, …] as a convolution's, where ours begins with the inputs.
            let (name, value) = self.tensor(layer, "weight")?;
            self.parameters += value.numel();
            let weight = Param::new(name, value.permute(&[1, 0, 2, 3])?.contiguous()?);
            return Ok(Op::Deconv { weight, bias, options });
        }
        let weight = self.param(layer, "weight")?;
        if !weight.shape()[0].is_multiple_of(options.groups) {
            return Err(self.bad(layer, "does not divide into its groups"));
        }
        if options.padding.iter().any(|n| *n > 0) && layer.number(18, 0.0) != 0.0 {
            return Err(self.bad(layer, "has a border that is not zero"));
        }
        Conv2d::prepack(&weight, options, self.options);
        Ok(Op::Conv { weight, bias, options })
    }

    /// A crop that its parameters alone describe: `starts`, `ends` and the axes that they cut.
    fn crop(&self, layer: &NcnnLayer) -> Result<Op, ModelError> {
        let (starts, ends) = (layer.list(9), layer.list(10));
        let all = [0.0, 1.0, 2.0];
        let axes = if layer.list(11).is_empty() { &all[..starts.len().min(3)] } else { layer.list(11) };
        if starts.is_empty() || starts.len() != ends.len() || starts.len() != axes.len() {
            return Err(self.bad(layer, "does not say what it cuts"));
        }
        let mut cut = [0; 4];
        for ((start, end), axis) in starts.iter().zip(ends).zip(axes) {
            let at = match *axis as i32 {
                1 | -2 => 0,
                2 | -1 => 2,
                _ => return Err(self.bad(layer, "cuts channels")),
            };
            let small = |v: f32| (0.0..=4096.0).contains(&v) && v.fract() == 0.0;
            let end = if *end == ANY { 0.0 } else { -end };
            if !small(*start) || !small(end) {
                return Err(self.bad(layer, "cuts in a way that depends on the picture's size"));
            }
            cut[at] = *start as usize;
            cut[at + 1] = end as usize;
        }
        Ok(Op::Crop(cut))
    }
}
