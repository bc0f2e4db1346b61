//! Frozen TensorFlow graphs of small upscalers: FSRCNN (Saafke/FSRCNN_Tensorflow) and LapSRN (fannymonori/TF-LapSRN), which
//! exist in this form only. They take luma in 0..1.

use std::collections::BTreeMap;

use danqing_checkpoints::{GraphConstant, GraphDef, GraphNode};
use danqing_nn::LoadOptions;
use danqing_tensor::{Activation, Conv2dOptions, Param, Tensor};

use super::graph::{Binary, Graph, GraphNetwork, Node, Op};
use super::{Opened, UpscalerInfo, wrapped};
use crate::error::ModelError;

/// Loads a frozen graph that enlarges luma pictures in 0..1.
///
/// # Errors
/// If it has an operation, or an attribute of one, that is not known, or is no network of pictures.
pub fn open_graphdef(graph: &GraphDef, options: &LoadOptions) -> Opened {
    let source = graph.source();
    let mut builder = Builder { source, options: *options, made: BTreeMap::new(), nodes: Vec::new(), parameters: 0 };
    let mut waiting: Vec<&GraphNode> = graph.nodes().iter().collect();
    // The file's order need not be that of computation; nodes that wait for each other never get their turn.
    while !waiting.is_empty() {
        let before = waiting.len();
        for node in std::mem::take(&mut waiting) {
            if node.inputs.iter().all(|input| builder.made.contains_key(input)) {
                builder.node(node)?;
            } else {
                waiting.push(node);
            }
        }
        if waiting.len() == before {
            let name = &waiting[0].name;
            return Err(ModelError::Configuration(format!("{source}: node {name:?} reads what no node makes")));
        }
    }
    let blobs = builder.blobs();
    let inputs: Vec<&GraphNode> = graph.nodes().iter().filter(|node| node.op == "Placeholder").collect();
    let read: Vec<&String> = graph.nodes().iter().flat_map(|node| &node.inputs).collect();
    let ends: Vec<&GraphNode> = graph.nodes().iter().filter(|node| !read.contains(&&node.name)).collect();
    let ([input], [end]) = (inputs.as_slice(), ends.as_slice()) else {
        let why = format!("has {} inputs and {} results where one of each is wanted", inputs.len(), ends.len());
        return Err(ModelError::Configuration(format!("{source} {why}")));
    };
    let place = |name: &str| match builder.made.get(name) {
        Some(Made::Blob(blob)) => Ok(*blob),
        _ => Err(ModelError::Configuration(format!("{source}: {name:?} is no picture"))),
    };
    let graph = Graph { blobs, input: place(&input.name)?, output: place(&end.name)?, nodes: Vec::new() };
    let parameters = builder.parameters;
    let graph = Graph { nodes: builder.nodes, ..graph };
    let (network, info) = GraphNetwork::new(source, "TensorFlow network", graph, 1)?;
    Ok(wrapped(network, UpscalerInfo { parameters, ..info }, options.dtype))
}

/// What a node makes.
#[derive(Debug, Clone)]
enum Made {
    Constant(GraphConstant),
    Blob(usize),
}

struct Builder<'a> {
    source: &'a str,
    options: LoadOptions,
    made: BTreeMap<String, Made>,
    nodes: Vec<Node>,
    parameters: usize,
}

impl Builder<'_> {
    fn bad(&self, node: &GraphNode, why: &str) -> ModelError {
        ModelError::Configuration(format!("{}: node {:?} ({}) {why}", self.source, node.name, node.op))
    }

    /// Number of blobs so far, and the number of the next.
    fn blobs(&self) -> usize {
        self.made.values().filter(|made| matches!(made, Made::Blob(_))).count()
    }

    fn node(&mut self, node: &GraphNode) -> Result<(), ModelError> {
        if let "Const" = node.op.as_str() {
            let constant = node.constant().ok_or_else(|| self.bad(node, "has no value that can be read"))?;
            self.made.insert(node.name.clone(), Made::Constant(constant.clone()));
            return Ok(());
        }
        let blob = self.blobs();
        if node.op != "Placeholder" {
            let inputs: Vec<Made> = node.inputs.iter().filter_map(|input| self.made.get(input).cloned()).collect();
            let (op, inputs) = self.op(node, &inputs)?;
            self.nodes.push(Node { op, inputs, outputs: vec![blob] });
        }
        self.made.insert(node.name.clone(), Made::Blob(blob));
        Ok(())
    }

    fn op(&mut self, node: &GraphNode, inputs: &[Made]) -> Result<(Op, Vec<usize>), ModelError> {
        if node.text("data_format").is_some_and(|format| format != "NHWC") {
            return Err(self.bad(node, "orders its channels in a way that is not known"));
        }
        match (node.op.as_str(), inputs) {
            ("Identity", [Made::Blob(x)]) => Ok((Op::Copy, vec![*x])),
            ("Relu", [Made::Blob(x)]) => Ok((Op::Activation(Activation::Relu), vec![*x])),
            ("Tanh", [Made::Blob(x)]) => Ok((Op::Activation(Activation::Tanh), vec![*x])),
            ("Sigmoid", [Made::Blob(x)]) => Ok((Op::Activation(Activation::Sigmoid), vec![*x])),
            // |x| is the larger of x and -x, which is what leaky ReLU of slope -1 gives.
            ("Abs", [Made::Blob(x)]) => Ok((Op::Activation(Activation::LeakyRelu(-1.0)), vec![*x])),
            ("Conv2D", [Made::Blob(x), Made::Constant(weight)]) => Ok((self.convolution(node, weight)?, vec![*x])),
            ("DepthToSpace", [Made::Blob(x)]) => {
                let factor = node.number("block_size").filter(|factor| (1..=16).contains(factor));
                let factor = factor.ok_or_else(|| self.bad(node, "has a factor out of range"))?;
                Ok((Op::DepthToSpace(factor as usize), vec![*x]))
            }
            // Ours are NHWC throughout; a last transposition to NCHW changes nothing of one channel's values.
            ("Transpose", [Made::Blob(x), Made::Constant(order)]) if order.values == [0.0, 3.0, 1.0, 2.0] => {
                Ok((Op::Copy, vec![*x]))
            }
            ("Add" | "AddV2" | "BiasAdd", _) => self.binary(node, Binary::Add, inputs),
            ("Sub", _) => self.binary(node, Binary::Sub, inputs),
            ("Mul", _) => self.binary(node, Binary::Mul, inputs),
            ("Maximum", _) => self.binary(node, Binary::Max, inputs),
            ("Minimum", _) => self.binary(node, Binary::Min, inputs),
            _ => Err(self.bad(node, "is not known, or not with these inputs")),
        }
    }

    fn binary(&mut self, node: &GraphNode, binary: Binary, inputs: &[Made]) -> Result<(Op, Vec<usize>), ModelError> {
        let (x, constant) = match inputs {
            [Made::Blob(a), Made::Blob(b)] => return Ok((Op::Binary(binary), vec![*a, *b])),
            [Made::Blob(x), Made::Constant(constant)] => (*x, constant),
            [Made::Constant(constant), Made::Blob(x)] if binary != Binary::Sub => (*x, constant),
            _ => return Err(self.bad(node, "is not known, or not with these inputs")),
        };
        let values = &constant.values;
        let op = match values.as_slice() {
            [one] => Op::Scalar(binary, *one),
            _ if constant.shape.last() == Some(&values.len()) => {
                self.parameters += values.len();
                Op::Channels(binary, Param::new(&node.name, Tensor::from_slice(values, &[values.len()])?))
            }
            _ => return Err(self.bad(node, "takes a constant that is neither a number nor one for each channel")),
        };
        Ok((op, vec![x]))
    }

    fn convolution(&mut self, node: &GraphNode, constant: &GraphConstant) -> Result<Op, ModelError> {
        let [kh, kw, c_in, c_out] = constant.shape[..] else { return Err(self.bad(node, "has a misshapen weight")) };
        let ones = |name: &str| node.list(name).iter().all(|n| *n == 1);
        if node.text("padding") != Some("SAME") || !ones("strides") || !ones("dilations") || constant.values.is_empty()
        {
            return Err(self.bad(node, "has a border, stride or dilation that is not known"));
        }
        self.parameters += constant.values.len();
        let weight = Tensor::from_slice(&constant.values, &[kh, kw, c_in, c_out])?.permute(&[3, 2, 0, 1])?;
        let dtype = self.options.dtype;
        let weight = Param::new(&node.name, weight.contiguous()?.cast(dtype)?);
        if self.options.prepack {
            weight.prepack_conv(1, dtype);
        }
        // Of an even kernel the larger part of the border lies at the bottom and right.
        let padding = [(kh - 1) / 2, kh / 2, (kw - 1) / 2, kw / 2];
        Ok(Op::Conv { weight, bias: None, options: Conv2dOptions { padding, ..Conv2dOptions::default() } })
    }
}
