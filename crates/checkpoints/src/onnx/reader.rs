//! The messages of an ONNX file, field by field.

use std::collections::BTreeMap;

use super::numbers::{Kind, floats};
use super::{FORMAT, Onnx, OnnxAttribute, OnnxInput, OnnxNode, OnnxTensor};
use crate::WeightsError;
use crate::error::MEND_RESAVE;
use crate::protobuf::{Value, fields, text, varint, visit, whole};

/// Bounds: networks that enlarge pictures have some thousand nodes.
const MAX_NODES: usize = 50_000;
const MAX_TENSORS: usize = 50_000;
const MAX_PARTS: usize = 64;
const MAX_LIST: usize = 4096;
const MAX_RANK: usize = 8;
/// Numbers of all tensors together.
const MAX_VALUES: usize = 128 << 20;

/// The network in a file's bytes; `name` is the file's.
pub(super) fn read(name: &str, bytes: &[u8]) -> Result<Onnx, WeightsError> {
    let onnx = Onnx {
        source: name.to_owned(),
        version: 0,
        nodes: Vec::new(),
        tensors: BTreeMap::new(),
        inputs: Vec::new(),
        outputs: Vec::new(),
    };
    let mut reader = Reader { onnx, left: MAX_VALUES, why: None };
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
