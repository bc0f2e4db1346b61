//! ONNX networks (`.onnx`, a `ModelProto` protocol buffer): nodes with their attributes, and constants.
//!
//! What networks of pictures are made of is kept: one graph, tensors of floats and whole numbers, and attributes that are numbers,
//! lists, text and tensors. Functions, graphs in attributes, sparse tensors and data in other files are refused or not read; nothing
//! outside the file is ever opened. Source: `onnx/onnx.proto`.

use std::collections::BTreeMap;
use std::path::Path;

use half::{bf16, f16};

use crate::WeightsError;
use crate::blob::Blob;
use crate::error::MEND_RESAVE;
use crate::protobuf::{Value, fields, text, varint, visit, whole};

const FORMAT: &str = "ONNX";
/// Bounds: networks that enlarge pictures have some thousand nodes and at most some tens of millions of weights.
const MAX_FILE: usize = 512 << 20;
const MAX_NODES: usize = 50_000;
const MAX_TENSORS: usize = 50_000;
const MAX_PARTS: usize = 64;
const MAX_LIST: usize = 4096;
const MAX_RANK: usize = 8;
/// Numbers of all tensors together.
const MAX_VALUES: usize = 128 << 20;

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
        let mut reader = Reader {
            onnx: Self {
                source: name.to_owned(),
                version: 0,
                nodes: Vec::new(),
                tensors: BTreeMap::new(),
                inputs: Vec::new(),
                outputs: Vec::new(),
            },
            left: MAX_VALUES,
            why: None,
        };
        let mut graphs = 0;
        let read = visit(bytes, |field, value| match (field, value) {
            (7, Value::Bytes(graph)) => {
                graphs += 1;
                if graphs > 1 { reader.refuse("it has more than one graph") } else { reader.graph(graph) }
            }
            (8, Value::Bytes(set)) => reader.operators(set),
            (25, _) => reader.refuse("it has functions of its own, which are not read"),
            _ => Some(()),
        });
        match (read, reader.why) {
            (_, Some(Refusal::Elsewhere(tensor))) => Err(WeightsError::Tensor {
                file: name.to_owned(),
                tensor,
                problem: "its numbers are in another file, which is not opened".to_owned(),
                mend: "Save the network again as one file, with its weights inside",
            }),
            (_, Some(Refusal::Kind(tensor, kind))) => {
                let problem = format!("its numbers are of ONNX's type {kind}, which is not read");
                Err(WeightsError::tensor(name, &tensor, problem, MEND_RESAVE))
            }
            (_, Some(Refusal::Broken(why))) => Err(WeightsError::malformed(name, FORMAT, why)),
            (None, None) => Err(WeightsError::malformed(name, FORMAT, "it is no protocol buffer of a network")),
            (Some(()), None) if reader.onnx.nodes.is_empty() => {
                Err(WeightsError::malformed(name, FORMAT, "it has no nodes"))
            }
            (Some(()), None) => Ok(reader.onnx),
        }
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

/// Why a file is refused.
enum Refusal {
    Broken(String),
    /// A tensor whose numbers are in another file.
    Elsewhere(String),
    /// A tensor of numbers that are not read.
    Kind(String, u64),
}

struct Reader {
    onnx: Onnx,
    /// Numbers that tensors may still have.
    left: usize,
    why: Option<Refusal>,
}

impl Reader {
    fn refuse<T>(&mut self, why: impl Into<String>) -> Option<T> {
        self.why.get_or_insert(Refusal::Broken(why.into()));
        None
    }

    /// The version of a set of operators.
    fn operators(&mut self, bytes: &[u8]) -> Option<()> {
        let (mut own, mut version) = (true, 0);
        for field in fields(bytes, 4)? {
            match field {
                (1, Value::Bytes(domain)) => own = domain.is_empty() || domain == b"ai.onnx",
                (2, Value::Number(number)) => version = number as i64,
                _ => {}
            }
        }
        if own {
            self.onnx.version = version;
        }
        Some(())
    }

    fn graph(&mut self, bytes: &[u8]) -> Option<()> {
        visit(bytes, |field, value| match (field, value) {
            (1, Value::Bytes(node)) => {
                if self.onnx.nodes.len() == MAX_NODES {
                    return self.refuse("it has too many nodes");
                }
                match self.node(node) {
                    Some(node) => self.onnx.nodes.push(node),
                    None => return self.refuse(format!("its node {} is broken", self.onnx.nodes.len() + 1)),
                }
                Some(())
            }
            (5, Value::Bytes(tensor)) => {
                if self.onnx.tensors.len() == MAX_TENSORS {
                    return self.refuse("it has too many tensors");
                }
                let Some((name, tensor)) = self.tensor(tensor) else {
                    return self.refuse(format!("its tensor {} is broken", self.onnx.tensors.len() + 1));
                };
                if self.onnx.tensors.insert(name.clone(), tensor).is_some() {
                    return self.refuse(format!("tensor {name:?} is there twice"));
                }
                Some(())
            }
            (11, Value::Bytes(input)) if self.onnx.inputs.len() < MAX_TENSORS => {
                self.onnx.inputs.push(value_info(input)?);
                Some(())
            }
            (12, Value::Bytes(output)) if self.onnx.outputs.len() < MAX_PARTS => {
                self.onnx.outputs.push(value_info(output)?.name);
                Some(())
            }
            (11 | 12, _) => self.refuse("it has too many inputs or results"),
            (15, _) => self.refuse("it has sparse tensors, which are not read"),
            _ => Some(()),
        })
    }

    fn node(&mut self, bytes: &[u8]) -> Option<OnnxNode> {
        let mut node = OnnxNode {
            name: String::new(),
            op: String::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            attributes: BTreeMap::new(),
        };
        let mut domain = String::new();
        visit(bytes, |field, value| {
            match (field, value) {
                (1, Value::Bytes(name)) if node.inputs.len() < MAX_LIST => node.inputs.push(text(name)?),
                (2, Value::Bytes(name)) if node.outputs.len() < MAX_LIST => node.outputs.push(text(name)?),
                (1 | 2, _) => return None,
                (3, Value::Bytes(name)) => node.name = text(name)?,
                (4, Value::Bytes(op)) => node.op = text(op)?,
                (7, Value::Bytes(name)) => domain = text(name)?,
                (5, Value::Bytes(attribute)) if node.attributes.len() < MAX_PARTS => {
                    if let (name, Some(attribute)) = self.attribute(attribute)? {
                        node.attributes.insert(name, attribute);
                    }
                }
                (5, _) => return None,
                _ => {}
            }
            Some(())
        })?;
        if !domain.is_empty() && domain != "ai.onnx" {
            node.op = format!("{domain}.{}", node.op);
        }
        (!node.op.is_empty() && !node.outputs.is_empty()).then_some(node)
    }

    /// An attribute and its name; no value for kinds that are not read.
    fn attribute(&mut self, bytes: &[u8]) -> Option<(String, Option<OnnxAttribute>)> {
        let (mut name, mut found, mut kind) = (String::new(), None, 0);
        let (mut reals, mut wholes) = (Vec::new(), Vec::new());
        visit(bytes, |field, value| {
            match (field, value) {
                (1, Value::Bytes(value)) => name = text(value)?,
                (2, Value::Word(value)) => found = Some(OnnxAttribute::Real(f32::from_bits(value))),
                (3, Value::Number(value)) => found = Some(OnnxAttribute::Whole(value as i64)),
                // Text that is none is bytes, which are not read.
                (4, Value::Bytes(value)) => found = text(value).map(OnnxAttribute::Text),
                (5, Value::Bytes(tensor)) => found = Some(OnnxAttribute::Tensor(self.tensor(tensor)?.1)),
                (7, value) => floats(&mut reals, value, MAX_LIST)?,
                (8, value) => whole(&mut wholes, value, MAX_LIST)?,
                (20, Value::Number(value)) => kind = value,
                _ => {}
            }
            Some(())
        })?;
        // Lists may be empty, which only their kind tells.
        let found = match kind {
            6 => Some(OnnxAttribute::Reals(reals)),
            7 => Some(OnnxAttribute::Wholes(wholes)),
            _ if !reals.is_empty() => Some(OnnxAttribute::Reals(reals)),
            _ if !wholes.is_empty() => Some(OnnxAttribute::Wholes(wholes)),
            // Numbers that are zero may be left out.
            1 => found.or(Some(OnnxAttribute::Real(0.0))),
            2 => found.or(Some(OnnxAttribute::Whole(0))),
            3 => found.or(Some(OnnxAttribute::Text(String::new()))),
            _ => found,
        };
        (!name.is_empty()).then_some((name, found))
    }

    /// A tensor and its name.
    fn tensor(&mut self, bytes: &[u8]) -> Option<(String, OnnxTensor)> {
        let (mut name, mut kind, mut dims, mut elsewhere) = (String::new(), 0, Vec::new(), false);
        let mut raw = None;
        visit(bytes, |field, value| {
            match (field, value) {
                (1, value) => whole(&mut dims, value, MAX_RANK)?,
                (2, Value::Number(value)) => kind = value,
                (8, Value::Bytes(value)) => name = text(value)?,
                (9, Value::Bytes(value)) => raw = Some(value),
                (13, _) | (14, Value::Number(1..)) => elsewhere = true,
                _ => {}
            }
            Some(())
        })?;
        if elsewhere {
            self.why.get_or_insert(Refusal::Elsewhere(name));
            return None;
        }
        let shape: Vec<usize> = dims.iter().map(|dim| usize::try_from(*dim).ok()).collect::<Option<_>>()?;
        let count = shape.iter().try_fold(1usize, |n, dim| n.checked_mul(*dim))?;
        let Some(left) = self.left.checked_sub(count) else {
            return self.refuse("its tensors have more numbers than are accepted");
        };
        // Every number takes a byte at least, so that nothing is allocated for what is not there.
        if count > bytes.len() {
            return None;
        }
        self.left = left;
        let kind = Kind::of(kind).or_else(|| {
            self.why.get_or_insert(Refusal::Kind(name.clone(), kind));
            None
        })?;
        let values = match raw {
            Some(raw) => kind.raw(raw, count)?,
            None => kind.listed(bytes, count)?,
        };
        (values.len() == count).then_some((name, OnnxTensor { shape, values }))
    }
}

/// Types of numbers that are read: `TensorProto.DataType`.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    F32,
    F16,
    Bf16,
    F64,
    I32,
    I64,
    U8,
    Bool,
}

impl Kind {
    fn of(number: u64) -> Option<Self> {
        Some(match number {
            1 => Self::F32,
            2 => Self::U8,
            6 => Self::I32,
            7 => Self::I64,
            9 => Self::Bool,
            10 => Self::F16,
            11 => Self::F64,
            16 => Self::Bf16,
            _ => return None,
        })
    }

    /// Little-endian numbers, exactly `count` of them.
    fn raw(self, bytes: &[u8], count: usize) -> Option<OnnxValues> {
        let wide = match self {
            Self::U8 | Self::Bool => 1,
            Self::F16 | Self::Bf16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        };
        if count.checked_mul(wide) != Some(bytes.len()) {
            return None;
        }
        let (two, four, eight) = (bytes.as_chunks::<2>().0, bytes.as_chunks::<4>().0, bytes.as_chunks::<8>().0);
        Some(match self {
            Self::F32 => OnnxValues::Real(four.iter().map(|b| f32::from_le_bytes(*b)).collect()),
            Self::F16 => OnnxValues::Real(two.iter().map(|b| f16::from_le_bytes(*b).to_f32()).collect()),
            Self::Bf16 => OnnxValues::Real(two.iter().map(|b| bf16::from_le_bytes(*b).to_f32()).collect()),
            Self::F64 => OnnxValues::Real(eight.iter().map(|b| f64::from_le_bytes(*b) as f32).collect()),
            Self::I32 => OnnxValues::Whole(four.iter().map(|b| i64::from(i32::from_le_bytes(*b))).collect()),
            Self::I64 => OnnxValues::Whole(eight.iter().map(|b| i64::from_le_bytes(*b)).collect()),
            Self::U8 | Self::Bool => OnnxValues::Whole(bytes.iter().map(|b| i64::from(*b)).collect()),
        })
    }

    /// The numbers in a tensor's fields of their own type; halves stand there as the whole numbers of their bits.
    fn listed(self, tensor: &[u8], count: usize) -> Option<OnnxValues> {
        let (mut reals, mut wholes) = (Vec::new(), Vec::new());
        visit(tensor, |field, value| match (field, value, self) {
            (4, value, Self::F32) => floats(&mut reals, value, count),
            (5, value, Self::I32 | Self::U8 | Self::Bool | Self::F16 | Self::Bf16) | (7, value, Self::I64) => {
                whole(&mut wholes, value, count)
            }
            (10, Value::Bytes(packed), Self::F64) => {
                reals.extend(packed.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b) as f32));
                (reals.len() <= count).then_some(())
            }
            _ => Some(()),
        })?;
        let bits = |wholes: Vec<i64>, wide: fn(u16) -> f32| wholes.into_iter().map(|bits| wide(bits as u16)).collect();
        Some(match self {
            Self::F32 | Self::F64 => OnnxValues::Real(reals),
            Self::F16 => OnnxValues::Real(bits(wholes, |bits| f16::from_bits(bits).to_f32())),
            Self::Bf16 => OnnxValues::Real(bits(wholes, |bits| bf16::from_bits(bits).to_f32())),
            _ => OnnxValues::Whole(wholes),
        })
    }
}

/// Floats that may stand one by one or packed; at most `most` in all.
fn floats(out: &mut Vec<f32>, value: Value<'_>, most: usize) -> Option<()> {
    match value {
        Value::Word(value) => out.push(f32::from_bits(value)),
        Value::Bytes(packed) if packed.len() / 4 <= most => {
            out.extend(packed.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)));
        }
        _ => return None,
    }
    (out.len() <= most).then_some(())
}

/// Name, type and shape of what goes in or comes out.
fn value_info(bytes: &[u8]) -> Option<OnnxInput> {
    let mut input = OnnxInput { name: String::new(), real: false, shape: Vec::new() };
    for field in fields(bytes, MAX_PARTS)? {
        match field {
            (1, Value::Bytes(name)) => input.name = text(name)?,
            (2, Value::Bytes(kind)) => {
                for field in fields(kind, 4)? {
                    let (1, Value::Bytes(tensor)) = field else { continue };
                    for field in fields(tensor, 4)? {
                        match field {
                            (1, Value::Number(number)) => {
                                input.real = matches!(Kind::of(number), Some(Kind::F32 | Kind::F16 | Kind::F64));
                            }
                            (2, Value::Bytes(shape)) => input.shape = dimensions(shape)?,
                            _ => {}
                        }
                    }
                }
            }
            _ => {}
        }
    }
    Some(input)
}

fn dimensions(bytes: &[u8]) -> Option<Vec<Option<usize>>> {
    let dimension = |(_, value): (u64, Value<'_>)| {
        let Value::Bytes(mut dimension) = value else { return None };
        // Either a number or a name, which stands for any number.
        let size = match dimension.split_first() {
            Some((&8, rest)) => {
                dimension = rest;
                usize::try_from(varint(&mut dimension)?).ok().filter(|size| *size > 0)
            }
            _ => None,
        };
        Some(size)
    };
    fields(bytes, MAX_RANK)?.into_iter().map(dimension).collect()
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
