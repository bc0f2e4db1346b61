//! ONNX networks as graphs: whatever enlarges or restores pictures and is made of convolutions and what goes with them.
//!
//! Source: the operators' documentation in onnx/onnx (`docs/Operators.md`), and how PyTorch's exporter writes pixel shuffles, sizes
//! and borders. Pictures are taken to be in 0..1.

mod layers;
mod maps;
mod numbers;

use std::collections::BTreeMap;
use std::rc::Rc;

use danqing_checkpoints::{Onnx, OnnxInput, OnnxNode, OnnxTensor, OnnxValues};
use danqing_nn::LoadOptions;
use danqing_tensor::{Param, Tensor};

use super::graph::{Binary, Graph, GraphNetwork, Node, Op, Size, Unary};
use super::{Opened, UpscalerInfo, wrapped};
use crate::error::ModelError;
use numbers::Number;

/// Loads an ONNX network that enlarges or cleans pictures of one or three channels in 0..1.
///
/// # Errors
/// If it has an operator, or an attribute of one, that is not known, or is no network of pictures.
pub fn open_onnx(onnx: &Onnx, options: &LoadOptions) -> Opened {
    let source = onnx.source();
    let refuse = |why: String| ModelError::Configuration(format!("{source} {why}"));
    // Older files list their constants among the inputs.
    let inputs: Vec<&OnnxInput> =
        onnx.inputs().iter().filter(|input| !onnx.tensors().contains_key(&input.name)).collect();
    let ([input], [output]) = (inputs.as_slice(), onnx.outputs()) else {
        let (i, o) = (inputs.len(), onnx.outputs().len());
        return Err(refuse(format!("has {i} inputs and {o} results where one of each is wanted")));
    };
    if !input.real {
        return Err(refuse(format!("takes {:?} in whole numbers or a type that is not known", input.name)));
    }
    let (channels, layout) = match input.shape.as_slice() {
        [_, None, _, Some(channels @ (1 | 3))] => (*channels, Layout::Last),
        [] | [_, None | Some(3), _, _] => (3, Layout::First),
        [_, Some(1), _, _] => (1, Layout::First),
        [_, _, _, Some(channels @ (1 | 3))] => (*channels, Layout::Last),
        shape => return Err(refuse(format!("takes {shape:?}, where pictures of one or three channels are wanted"))),
    };
    let mut builder = Builder {
        onnx,
        options: *options,
        made: BTreeMap::new(),
        sizes: vec![[PROBE, PROBE, channels]],
        nodes: Vec::new(),
        parameters: 0,
    };
    builder.made.insert(input.name.clone(), Made::Map(Map { blob: 0, layout }));
    for node in onnx.nodes() {
        builder.node(node)?;
    }
    let output = match builder.made.get(output) {
        Some(Made::Map(Map { blob, layout: Layout::First | Layout::Last })) => *blob,
        _ => return Err(refuse(format!("gives {output:?}, which is no picture"))),
    };
    let Builder { sizes, nodes, parameters, .. } = builder;
    let graph = Graph { nodes, blobs: sizes.len(), input: 0, output };
    let (network, info) = GraphNetwork::new(source, "ONNX network", graph, channels)?;
    Ok(wrapped(network, UpscalerInfo { parameters, ..info }, options.dtype))
}

/// Side of the picture by which sizes are followed while the graph is built.
const PROBE: usize = 512;

/// In which order a map's dimensions stand in the file; ours are always height, width, channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// Batch, channels, height, width.
    First,
    /// Batch, height, width, channels.
    Last,
    /// Batch, channels; there are no sides.
    Vector,
    /// Batch, channels, one: halfway from a vector to a map.
    Line,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Map {
    blob: usize,
    layout: Layout,
}

/// Floats that stand in the file, or that follow from such.
#[derive(Debug, Clone)]
struct Constant {
    shape: Vec<usize>,
    values: Rc<[f32]>,
}

/// What a node makes.
#[derive(Debug, Clone)]
enum Made {
    Map(Map),
    Constant(Constant),
    /// Whole numbers: sizes, places, borders. With their shape, which has at most two dimensions.
    Numbers(Vec<usize>, Vec<Number>),
    /// A map reshaped to more dimensions, and then with these in another order: half of a pixel shuffle.
    Folded {
        map: Map,
        sizes: Vec<Number>,
        order: Option<Vec<usize>>,
    },
}

struct Builder<'a> {
    onnx: &'a Onnx,
    options: LoadOptions,
    made: BTreeMap<String, Made>,
    /// Sizes of all blobs for a picture of [`PROBE`] pixels a side.
    sizes: Vec<Size>,
    nodes: Vec<Node>,
    parameters: usize,
}

/// A node's inputs; `None` for those left out.
type Inputs = [Option<Made>];

impl Builder<'_> {
    fn bad(&self, node: &OnnxNode, why: &str) -> ModelError {
        let name = if node.name.is_empty() { node.outputs.first().unwrap_or(&node.op) } else { &node.name };
        ModelError::Configuration(format!("{}: node {name:?} ({}) {why}", self.onnx.source(), node.op))
    }

    fn unknown(&self, node: &OnnxNode) -> ModelError {
        self.bad(node, "is not known, or not with these inputs")
    }

    /// A value by name; constants are taken from the file when they are first asked for.
    fn value(&mut self, node: &OnnxNode, name: &str) -> Result<Made, ModelError> {
        if let Some(made) = self.made.get(name) {
            return Ok(made.clone());
        }
        let tensor = self.onnx.tensors().get(name);
        let tensor = tensor.ok_or_else(|| self.bad(node, &format!("reads {name:?}, which no node before it makes")))?;
        let made = self.constant(node, tensor)?;
        self.made.insert(name.to_owned(), made.clone());
        Ok(made)
    }

    fn constant(&self, node: &OnnxNode, tensor: &OnnxTensor) -> Result<Made, ModelError> {
        let shape = tensor.shape.clone();
        match &tensor.values {
            OnnxValues::Real(values) if values.iter().all(|v| v.is_finite()) => {
                Ok(Made::Constant(Constant { shape, values: values.as_slice().into() }))
            }
            OnnxValues::Real(_) => Err(self.bad(node, "reads numbers that are infinite or none")),
            OnnxValues::Whole(values) if values.len() <= numbers::MOST => {
                Ok(Made::Numbers(shape, values.iter().map(|v| Number::Known(*v as f64)).collect()))
            }
            OnnxValues::Whole(_) => Err(self.bad(node, "reads more whole numbers than sizes and places need")),
        }
    }

    fn node(&mut self, node: &OnnxNode) -> Result<(), ModelError> {
        let inputs: Vec<Option<Made>> = node
            .inputs
            .iter()
            .map(|name| if name.is_empty() { Ok(None) } else { self.value(node, name).map(Some) })
            .collect::<Result<_, _>>()?;
        if let ("Split", Some(Some(Made::Map(map)))) = (node.op.as_str(), inputs.first()) {
            return self.split(node, *map, &inputs);
        }
        let made = match self.number_op(node, &inputs)? {
            Some(made) => made,
            None => self.map_op(node, &inputs)?,
        };
        if let Some(name) = node.outputs.first() {
            self.made.insert(name.clone(), made);
        }
        Ok(())
    }

    /// Adds an operation on maps; `layout` is the result's.
    fn add(&mut self, node: &OnnxNode, op: Op, inputs: &[usize], layout: Layout) -> Result<Made, ModelError> {
        let sizes: Vec<Size> = inputs.iter().map(|&blob| self.sizes[blob]).collect();
        let size = op.size(&sizes).filter(|size| size.iter().all(|n| (1..=1 << 24).contains(n)));
        let size = size.ok_or_else(|| {
            self.bad(
                node,
                &format!("cannot take maps of [height, width, channels] {sizes:?}, for a picture of {PROBE}x{PROBE}"),
            )
        })?;
        let blob = self.sizes.len();
        self.sizes.push(size);
        self.nodes.push(Node { op, inputs: inputs.to_vec(), outputs: vec![blob] });
        Ok(Made::Map(Map { blob, layout }))
    }

    /// As [`Builder::add`], of one map whose layout stays.
    fn one(&mut self, node: &OnnxNode, op: Op, map: Map) -> Result<Made, ModelError> {
        self.add(node, op, &[map.blob], map.layout)
    }

    /// Two operations one after the other.
    fn both(&mut self, node: &OnnxNode, ops: [Op; 2], map: Map) -> Result<Made, ModelError> {
        let [first, second] = ops;
        match self.one(node, first, map)? {
            Made::Map(map) => self.one(node, second, map),
            other => Ok(other),
        }
    }

    /// Weights of an operation.
    fn param(&mut self, name: &str, values: &[f32], shape: &[usize]) -> Result<Param, ModelError> {
        self.parameters += values.len();
        let value = Tensor::from_slice(values, shape)?;
        let value = if shape.len() > 1 { value.cast(self.options.dtype)? } else { value };
        Ok(Param::new(name, value))
    }

    /// A number for each channel, from a constant that broadcasts so over a map; `None` where it does not.
    fn channels(&self, map: Map, constant: &Constant) -> Option<Vec<f32>> {
        let count = constant.values.len();
        let shape = &constant.shape;
        let after = match map.layout {
            Layout::First => 2,
            Layout::Line => 1,
            Layout::Last | Layout::Vector => 0,
        };
        let at = shape.len().checked_sub(1 + after)?;
        let alone = shape.iter().enumerate().all(|(i, dim)| i == at || *dim == 1);
        (alone && shape[at] == count && self.sizes[map.blob][2] == count).then(|| constant.values.to_vec())
    }

    fn binary(&mut self, node: &OnnxNode, binary: Binary, inputs: &Inputs) -> Result<Made, ModelError> {
        let (map, constant, turned) = match inputs {
            [Some(Made::Map(a)), Some(Made::Map(b))] if a.layout == b.layout => {
                return self.add(node, Op::Binary(binary), &[a.blob, b.blob], a.layout);
            }
            [Some(Made::Map(map)), Some(other)] => (*map, other, false),
            [Some(other), Some(Made::Map(map))] => (*map, other, true),
            _ => return Err(self.unknown(node)),
        };
        let constant = self.reals(constant).ok_or_else(|| self.unknown(node))?;
        let op = match constant.values.as_ref() {
            [one] => Op::Scalar(binary, *one),
            _ => {
                let channels = self.channels(map, &constant);
                let why = "takes a constant that is neither a number nor one for each channel";
                let channels = channels.ok_or_else(|| self.bad(node, why))?;
                Op::Channels(binary, self.param(&node.name, &channels, &[channels.len()])?)
            }
        };
        // With the constant on the left: c − x = −x + c, c / x = 1/x · c.
        let swap = |op: Op, binary: Binary| match op {
            Op::Scalar(_, value) => Op::Scalar(binary, value),
            Op::Channels(_, param) => Op::Channels(binary, param),
            other => other,
        };
        match (turned, binary) {
            (true, Binary::Sub) => self.both(node, [Op::Unary(Unary::Negative), swap(op, Binary::Add)], map),
            (true, Binary::Div) => self.both(node, [Op::Unary(Unary::Reciprocal), swap(op, Binary::Mul)], map),
            _ => self.one(node, op, map),
        }
    }
}
