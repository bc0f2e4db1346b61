//! ONNX networks (`.onnx`, a `ModelProto` protocol buffer): nodes with their attributes, and constants.
//!
//! What networks of pictures are made of is kept: one graph, tensors of floats and whole numbers, and attributes that are numbers,
//! lists, text and tensors. Functions, graphs in attributes, sparse tensors and data in other files are refused or not read; nothing
//! outside the file is ever opened. Source: `onnx/onnx.proto`.

mod numbers;
mod reader;

use std::collections::BTreeMap;
use std::path::Path;

use crate::WeightsError;
use crate::blob::Blob;

const FORMAT: &str = "ONNX";
/// Networks that enlarge pictures have at most some tens of millions of weights.
const MAX_FILE: usize = 512 << 20;

/// The numbers of a tensor in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub enum OnnxValues {
    /// Floats of any width, as f32.
    Real(Vec<f32>),
    /// Whole numbers and truth values.
    Whole(Vec<i64>),
}

impl OnnxValues {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Real(values) => values.len(),
            Self::Whole(values) => values.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A constant.
#[derive(Debug, Clone, PartialEq)]
pub struct OnnxTensor {
    /// Sizes of the dimensions; empty for a single number.
    pub shape: Vec<usize>,
    /// As many numbers as the shape says.
    pub values: OnnxValues,
}

/// An attribute of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum OnnxAttribute {
    /// A number.
    Real(f32),
    /// A whole number.
    Whole(i64),
    /// Text.
    Text(String),
    /// A constant.
    Tensor(OnnxTensor),
    /// A list of numbers.
    Reals(Vec<f32>),
    /// A list of whole numbers.
    Wholes(Vec<i64>),
}

/// A node: what it is, what it reads and makes, and its attributes by name.
#[derive(Debug, Clone, PartialEq)]
pub struct OnnxNode {
    /// Name, for messages; may be empty.
    pub name: String,
    /// Operation, as in `Conv`; with its domain before it where that is not ONNX's own.
    pub op: String,
    /// Names of the values that it reads; an empty one for an input that is left out.
    pub inputs: Vec<String>,
    /// Names of the values that it makes.
    pub outputs: Vec<String>,
    /// Attributes; kinds that are not read are left out.
    pub attributes: BTreeMap<String, OnnxAttribute>,
}

impl OnnxNode {
    /// An attribute that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.attributes.get(name)? {
            OnnxAttribute::Text(text) => Some(text),
            _ => None,
        }
    }

    /// An attribute that is a whole number.
    pub fn whole(&self, name: &str) -> Option<i64> {
        match self.attributes.get(name)? {
            OnnxAttribute::Whole(number) => Some(*number),
            _ => None,
        }
    }

    /// An attribute that is a number.
    pub fn real(&self, name: &str) -> Option<f32> {
        match self.attributes.get(name)? {
            OnnxAttribute::Real(number) => Some(*number),
            _ => None,
        }
    }

    /// An attribute that is a list of whole numbers.
    pub fn wholes(&self, name: &str) -> Option<&[i64]> {
        match self.attributes.get(name)? {
            OnnxAttribute::Wholes(list) => Some(list),
            _ => None,
        }
    }
}

/// What a network takes.
#[derive(Debug, Clone, PartialEq)]
pub struct OnnxInput {
    /// Its name.
    pub name: String,
    /// Whether its numbers are floats.
    pub real: bool,
    /// Sizes of its dimensions; `None` where any will do.
    pub shape: Vec<Option<usize>>,
}

/// A network.
#[derive(Debug, Clone)]
pub struct Onnx {
    source: String,
    version: i64,
    nodes: Vec<OnnxNode>,
    tensors: BTreeMap<String, OnnxTensor>,
    inputs: Vec<OnnxInput>,
    outputs: Vec<String>,
}

impl Onnx {
    /// Opens a `.onnx` file.
    ///
    /// # Errors
    /// When it cannot be read, is no sound network, or keeps its weights in other files.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let blob = Blob::open(path.as_ref())?;
        Self::parse(blob.name(), blob.all()?)
    }

    /// Reads a network held in memory; `name` stands for the file name in messages.
    ///
    /// # Errors
    /// As [`Onnx::open`].
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, WeightsError> {
        if bytes.len() > MAX_FILE {
            return Err(WeightsError::malformed(name, FORMAT, "it is larger than the 512 MiB accepted"));
        }
        reader::read(name, bytes)
    }

    /// File name or other origin, for messages.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The version of ONNX's own operators; 0 where the file does not say.
    pub fn version(&self) -> i64 {
        self.version
    }

    /// The nodes, in the order of computation if the file keeps to its format.
    pub fn nodes(&self) -> &[OnnxNode] {
        &self.nodes
    }

    /// The constants by name.
    pub fn tensors(&self) -> &BTreeMap<String, OnnxTensor> {
        &self.tensors
    }

    /// What the network takes; older files list their constants here too.
    pub fn inputs(&self) -> &[OnnxInput] {
        &self.inputs
    }

    /// Names of what the network gives.
    pub fn outputs(&self) -> &[String] {
        &self.outputs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(field: u8, bytes: &[u8]) -> Vec<u8> {
        [&[field << 3 | 2, bytes.len() as u8], bytes].concat()
    }

    /// Two numbers in a tensor called `w`.
    fn tensor(rest: &[u8]) -> Vec<u8> {
        [&[8, 2][..], &message(8, b"w"), rest].concat()
    }

    /// A network that adds `w`, a tensor of floats, to its input.
    fn network(tensor: &[u8]) -> Vec<u8> {
        let axis = message(5, &[&message(1, b"axis")[..], &[24, 3, 160, 1, 2]].concat());
        let node = [message(1, b"x"), message(1, b"w"), message(2, b"y"), message(4, b"Add"), axis].concat();
        // Floats of [any, 3].
        let shape = message(2, &[message(1, &message(2, b"n")), message(1, &[8, 3])].concat());
        let kind = message(2, &message(1, &[&[8, 1][..], &shape].concat()));
        let input = message(11, &[message(1, b"x"), kind].concat());
        let graph = [message(1, &node), message(5, tensor), input, message(12, &message(1, b"y"))].concat();
        [message(8, &[16, 17]), message(7, &graph)].concat()
    }

    fn floats_of_two() -> Vec<u8> {
        [&[16, 1][..], &message(9, &[0, 0, 128, 63, 0, 0, 0, 64])].concat()
    }

    #[test]
    fn a_small_network_is_read() {
        let onnx = Onnx::parse("small.onnx", &network(&tensor(&floats_of_two()))).unwrap();
        let [node] = onnx.nodes() else { panic!("{:?}", onnx.nodes()) };
        assert_eq!((node.op.as_str(), node.inputs.as_slice()), ("Add", &["x".to_owned(), "w".to_owned()][..]));
        assert_eq!((onnx.version(), node.whole("axis"), onnx.outputs()), (17, Some(3), &["y".to_owned()][..]));
        let input = &onnx.inputs()[0];
        assert_eq!((input.real, input.shape.as_slice()), (true, &[None, Some(3)][..]));
        assert_eq!(onnx.tensors()["w"].values, OnnxValues::Real(vec![1.0, 2.0]));
    }

    #[test]
    fn numbers_are_read_in_every_form() {
        let real = |values: &[f32]| OnnxValues::Real(values.to_vec());
        let whole = |values: &[i64]| OnnxValues::Whole(values.to_vec());
        for (rest, want) in [
            (floats_of_two(), real(&[1.0, 2.0])),
            ([&[16, 1][..], &message(4, &[0, 0, 128, 63, 0, 0, 0, 64])].concat(), real(&[1.0, 2.0])),
            (vec![16, 1, 37, 0, 0, 128, 63, 37, 0, 0, 0, 64], real(&[1.0, 2.0])),
            ([&[16, 10][..], &message(9, &[0, 60, 0, 64])].concat(), real(&[1.0, 2.0])),
            ([&[16, 10][..], &message(5, &[128, 120, 128, 128, 1])].concat(), real(&[1.0, 2.0])),
            ([&[16, 16][..], &message(9, &[128, 63, 0, 64])].concat(), real(&[1.0, 2.0])),
            (
                [&[16, 7][..], &message(7, &[5, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1])].concat(),
                whole(&[5, -1]),
            ),
            ([&[16, 6][..], &message(9, &[5, 0, 0, 0, 255, 255, 255, 255])].concat(), whole(&[5, -1])),
            ([&[16, 9][..], &message(9, &[0, 1])].concat(), whole(&[0, 1])),
        ] {
            let onnx =
                Onnx::parse("numbers.onnx", &network(&tensor(&rest))).unwrap_or_else(|e| panic!("{rest:?}: {e}"));
            assert_eq!(onnx.tensors()["w"].values, want, "{rest:?}");
        }
    }

    #[test]
    fn what_is_not_read_is_refused_with_a_reason() {
        let whole = network(&tensor(&floats_of_two()));
        let external = [&[16, 1, 112, 1][..], &message(13, &message(1, b"location"))].concat();
        for (bytes, part) in [
            (whole[..whole.len() - 3].to_vec(), "no protocol buffer"),
            (Vec::new(), "no nodes"),
            (message(7, &message(1, &message(4, b"Add"))), "node 1 is broken"),
            ([whole.clone(), whole.clone()].concat(), "more than one graph"),
            ([whole.clone(), message(5, b""), vec![202, 1, 0]].concat(), "functions of its own"),
            (network(&tensor(&external)), "its numbers are in another file"),
            (network(&tensor(&[&[16, 8][..], &message(6, b"no")].concat())), "type 8, which is not read"),
            (network(&tensor(&[&[16, 1][..], &message(9, &[0; 4])].concat())), "tensor 1 is broken"),
            (network(&[8, 255, 255, 255, 255, 15, 16, 1]), "more numbers than are accepted"),
            (network(&[8, 255, 255, 63, 16, 1]), "tensor 1 is broken"),
        ] {
            let error = Onnx::parse("broken.onnx", &bytes).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("broken.onnx"), "{part}: {error}");
        }
    }
}
