//! Frozen TensorFlow graphs (`.pb`, a `GraphDef` protocol buffer): nodes with their inputs, attributes and constants.
//!
//! Only what small frozen networks are made of is kept: text, numbers, lists of whole numbers, and constants of f32 and i32.
//! Functions, control flow and references to other files are not read. Source: `tensorflow/core/framework/*.proto`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::WeightsError;
use crate::blob::Blob;
use crate::protobuf::{Value, fields, text, varint};

const FORMAT: &str = "TensorFlow graph";
/// Bounds: small networks have some hundred nodes with a few attributes each.
const MAX_FILE: usize = 256 << 20;
const MAX_NODES: usize = 20_000;
const MAX_PARTS: usize = 64;
const MAX_RANK: usize = 8;
/// `DataType` of `types.proto`.
const FLOAT: u64 = 1;
const INT32: u64 = 3;

/// A constant.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphConstant {
    /// Sizes of the dimensions; empty for a single number.
    pub shape: Vec<usize>,
    /// The numbers in row-major order.
    pub values: Vec<f32>,
}

/// An attribute of a node.
#[derive(Debug, Clone, PartialEq)]
pub enum GraphAttribute {
    /// Text, as in `padding` = `SAME`.
    Text(String),
    /// A whole number.
    Number(i64),
    /// A list of whole numbers, as in `strides`.
    List(Vec<i64>),
    /// The value of a constant.
    Constant(GraphConstant),
}

/// A node: what it is, what it reads, and its attributes by name.
#[derive(Debug, Clone, PartialEq)]
pub struct GraphNode {
    /// Name, by which others read it.
    pub name: String,
    /// Operation, as in `Conv2D`.
    pub op: String,
    /// Names of the nodes that it reads, without output numbers.
    pub inputs: Vec<String>,
    /// Attributes; kinds that are not read are left out.
    pub attributes: BTreeMap<String, GraphAttribute>,
}

impl GraphNode {
    /// An attribute that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.attributes.get(name)? {
            GraphAttribute::Text(text) => Some(text),
            _ => None,
        }
    }

    /// An attribute that is a whole number.
    pub fn number(&self, name: &str) -> Option<i64> {
        match self.attributes.get(name)? {
            GraphAttribute::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// An attribute that is a list; empty where there is none.
    pub fn list(&self, name: &str) -> &[i64] {
        match self.attributes.get(name) {
            Some(GraphAttribute::List(list)) => list,
            _ => &[],
        }
    }

    /// The value of a `Const` node.
    pub fn constant(&self) -> Option<&GraphConstant> {
        match self.attributes.get("value")? {
            GraphAttribute::Constant(constant) => Some(constant),
            _ => None,
        }
    }
}

/// A frozen graph.
#[derive(Debug, Clone)]
pub struct GraphDef {
    source: String,
    nodes: Vec<GraphNode>,
}

impl GraphDef {
    /// Opens a `.pb` file.
    ///
    /// # Errors
    /// When it cannot be read or is no sound graph of constants and operations.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        let blob = Blob::open(path.as_ref())?;
        Self::parse(blob.name(), blob.all()?)
    }

    /// Reads a graph held in memory; `name` stands for the file name in messages.
    ///
    /// # Errors
    /// As [`GraphDef::open`].
    pub fn parse(name: &str, bytes: &[u8]) -> Result<Self, WeightsError> {
        let bad = |why: &str| WeightsError::malformed(name, FORMAT, why);
        if bytes.len() > MAX_FILE {
            return Err(bad("it is larger than the 256 MiB accepted"));
        }
        let (mut nodes, mut names) = (Vec::new(), BTreeSet::new());
        for field in fields(bytes, usize::MAX).ok_or_else(|| bad("it is no protocol buffer"))? {
            match field {
                (1, Value::Bytes(node)) if nodes.len() < MAX_NODES => {
                    let node = self::node(node).ok_or_else(|| bad("a node of it is broken"))?;
                    if !names.insert(node.name.clone()) {
                        return Err(bad(&format!("node {:?} is there twice", node.name)));
                    }
                    nodes.push(node);
                }
                (1, _) => return Err(bad("it has too many nodes, or broken ones")),
                // Versions, and a library of functions that must be empty.
                (2, Value::Bytes(library)) if !library.is_empty() => {
                    return Err(bad("it has functions, which are not read"));
                }
                (2..=4, _) => {}
                _ => return Err(bad("it holds something that graphs do not")),
            }
        }
        if nodes.is_empty() {
            return Err(bad("it has no nodes"));
        }
        Ok(Self { source: name.to_owned(), nodes })
    }

    /// File name or other origin, for messages.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The nodes in the order of the file, which need not be that of computation.
    pub fn nodes(&self) -> &[GraphNode] {
        &self.nodes
    }
}

fn node(bytes: &[u8]) -> Option<GraphNode> {
    let mut node =
        GraphNode { name: String::new(), op: String::new(), inputs: Vec::new(), attributes: BTreeMap::new() };
    for field in fields(bytes, 4 * MAX_PARTS)? {
        match field {
            (1, Value::Bytes(name)) => node.name = text(name)?,
            (2, Value::Bytes(op)) => node.op = text(op)?,
            (3, Value::Bytes(input)) => {
                let input = text(input)?;
                // A first output may be written with its number; others are not read, nor are mere dependencies.
                let plain = input.strip_suffix(":0").unwrap_or(&input);
                if plain.contains(':') || plain.starts_with('^') || node.inputs.len() == MAX_PARTS {
                    return None;
                }
                node.inputs.push(plain.to_owned());
            }
            (5, Value::Bytes(entry)) => {
                let (mut key, mut value) = (None, None);
                for part in fields(entry, 4)? {
                    match part {
                        (1, Value::Bytes(name)) => key = Some(text(name)?),
                        (2, Value::Bytes(bytes)) => value = Some(bytes),
                        _ => return None,
                    }
                }
                if let Some(value) = attribute(value.unwrap_or_default())? {
                    node.attributes.insert(key?, value);
                }
            }
            _ => {}
        }
    }
    (!node.name.is_empty() && !node.op.is_empty()).then_some(node)
}

/// An attribute; `Some(None)` for kinds that are not read.
fn attribute(bytes: &[u8]) -> Option<Option<GraphAttribute>> {
    let mut found = None;
    for field in fields(bytes, MAX_PARTS)? {
        found = match field {
            // Text of other kinds than names is left out.
            (2, Value::Bytes(value)) => text(value).map(GraphAttribute::Text),
            (3 | 5 | 6, Value::Number(value)) => Some(GraphAttribute::Number(value as i64)),
            (1, Value::Bytes(list)) => Some(GraphAttribute::List(numbers(list)?)),
            (8, Value::Bytes(tensor)) => Some(GraphAttribute::Constant(constant(tensor)?)),
            _ => found,
        };
    }
    Some(found)
}

/// The whole numbers of a list attribute, packed or one by one.
fn numbers(bytes: &[u8]) -> Option<Vec<i64>> {
    let mut out = Vec::new();
    for field in fields(bytes, MAX_PARTS)? {
        match field {
            (3, Value::Number(value)) => out.push(value as i64),
            (3, Value::Bytes(mut packed)) => {
                while !packed.is_empty() && out.len() < MAX_PARTS {
                    out.push(varint(&mut packed)? as i64);
                }
            }
            _ => {}
        }
    }
    Some(out)
}

/// A tensor: its numbers as bytes, or one by one where one may stand for all.
fn constant(bytes: &[u8]) -> Option<GraphConstant> {
    let (mut dtype, mut shape, mut content, mut listed) = (0, Vec::new(), None, Vec::new());
    for field in fields(bytes, usize::MAX)? {
        match field {
            (1, Value::Number(value)) => dtype = value,
            (2, Value::Bytes(dims)) => {
                for dim in fields(dims, MAX_RANK)? {
                    let (2, Value::Bytes(dim)) = dim else { return None };
                    let size = fields(dim, 2)?.into_iter().find_map(|field| match field {
                        (1, Value::Number(size)) => usize::try_from(size).ok(),
                        _ => None,
                    });
                    shape.push(size.unwrap_or(0));
                }
            }
            (4, Value::Bytes(value)) => content = Some(value),
            (5, Value::Word(value)) => listed.push(f32::from_bits(value)),
            (5, Value::Bytes(packed)) => {
                listed.extend(packed.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)))
            }
            (7, Value::Number(value)) => listed.push(value as i32 as f32),
            (7, Value::Bytes(mut packed)) => {
                while !packed.is_empty() {
                    listed.push(varint(&mut packed)? as i32 as f32);
                }
            }
            _ => {}
        }
    }
    let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).filter(|n| *n <= MAX_FILE / 4)?;
    let values = match (content, listed.as_slice()) {
        (Some(content), _) => {
            let words = content.as_chunks::<4>().0.iter();
            match dtype {
                FLOAT => words.map(|b| f32::from_le_bytes(*b)).collect(),
                INT32 => words.map(|b| i32::from_le_bytes(*b) as f32).collect(),
                _ => return None,
            }
        }
        // One number stands for all of a small constant.
        (None, [one]) if count <= 1 << 16 => vec![*one; count],
        (None, _) => listed,
    };
    (values.len() == count && values.iter().all(|v| v.is_finite())).then_some(GraphConstant { shape, values })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(field: u8, bytes: &[u8]) -> Vec<u8> {
        [&[field << 3 | 2, bytes.len() as u8], bytes].concat()
    }

    /// A constant of two numbers and an addition that reads it twice.
    fn graph() -> Vec<u8> {
        let tensor =
            [&[8, 1][..], &message(2, &message(2, &[8, 2])), &message(4, &[0, 0, 128, 63, 0, 0, 0, 64])].concat();
        let value = message(5, &[message(1, b"value"), message(2, &message(8, &tensor))].concat());
        let constant = [message(1, b"c"), message(2, b"Const"), value].concat();
        let strides = message(5, &[message(1, b"strides"), message(2, &message(1, &[26, 2, 1, 2]))].concat());
        let sum = [message(1, b"s"), message(2, b"Add"), message(3, b"c"), message(3, b"c:0"), strides].concat();
        [message(1, &constant), message(1, &sum), message(2, b"")].concat()
    }

    #[test]
    fn a_small_graph_is_read() {
        let graph = GraphDef::parse("small.pb", &graph()).unwrap();
        let [constant, sum] = graph.nodes() else { panic!("{:?}", graph.nodes()) };
        assert_eq!(constant.constant().unwrap(), &GraphConstant { shape: vec![2], values: vec![1.0, 2.0] });
        assert_eq!(
            (sum.op.as_str(), sum.inputs.as_slice(), sum.list("strides")),
            ("Add", &["c".to_owned(), "c".to_owned()][..], &[1, 2][..])
        );
    }

    #[test]
    fn broken_graphs_are_refused_with_a_reason() {
        let whole = graph();
        for (bytes, part) in [
            (&whole[..whole.len() - 3], "no protocol buffer"),
            (&[], "no nodes"),
            (&[10, 0], "a node of it is broken"),
            (&[18, 1, 0], "functions"),
            (&[58, 0], "something that graphs do not"),
            (&[whole.clone(), whole.clone()].concat(), "\"c\" is there twice"),
        ] {
            let error = GraphDef::parse("broken.pb", bytes).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("broken.pb"), "{error}");
        }
    }
}
