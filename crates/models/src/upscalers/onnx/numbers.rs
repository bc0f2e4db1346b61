//! Whole numbers that a file computes while it runs: sizes, places, borders. Those that depend on the picture are followed as far as
//! they are multiples of a side.

use danqing_checkpoints::{OnnxAttribute, OnnxNode};

use super::{Builder, Constant, Inputs, Layout, Made};
use crate::error::ModelError;

/// Most numbers in a list.
pub(super) const MOST: usize = 4096;
/// Most floats that are taken for sizes or factors.
const FEW: usize = 64;

/// A number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Known(f64),
    /// Times the height (0) or width (1) of a blob.
    Side {
        blob: usize,
        axis: usize,
        times: f64,
    },
    /// Something else that the picture tells, such as how many there are.
    Unknown,
}

impl Number {
    pub fn known(self) -> Option<f64> {
        match self {
            Self::Known(value) => Some(value),
            _ => None,
        }
    }

    pub fn count(self) -> Option<usize> {
        self.known().filter(|v| (0.0..=f64::from(u32::MAX)).contains(v) && v.fract() == 0.0).map(|v| v as usize)
    }

    fn combined(op: &str, a: Self, b: Self, whole: bool) -> Option<Self> {
        use Number::{Known, Side, Unknown};
        Some(match (op, a, b) {
            ("Add", Known(a), Known(b)) => Known(a + b),
            ("Sub", Known(a), Known(b)) => Known(a - b),
            ("Mul", Known(a), Known(b)) => Known(a * b),
            ("Div", Known(_), Known(0.0)) => return None,
            ("Div", Known(a), Known(b)) if whole => Known((a / b).trunc()),
            ("Div", Known(a), Known(b)) => Known(a / b),
            ("Mul", Side { blob, axis, times }, Known(k)) | ("Mul", Known(k), Side { blob, axis, times }) => {
                Side { blob, axis, times: times * k }
            }
            // Where this does not come out even, the sizes of maps will not either, and the network says which sides it takes.
            ("Div", Side { blob, axis, times }, Known(k)) if k != 0.0 => Side { blob, axis, times: times / k },
            ("Add" | "Sub", side @ Side { .. }, Known(0.0)) => side,
            ("Add" | "Sub" | "Mul" | "Div", ..) => Unknown,
            _ => return None,
        })
    }
}

impl Builder<'_> {
    /// A list of known whole numbers from an input or, in older files, from an attribute; `Ok(None)` where there is neither.
    pub(super) fn list(
        &self,
        node: &OnnxNode,
        inputs: &Inputs,
        at: usize,
        attribute: &str,
    ) -> Result<Option<Vec<Number>>, ModelError> {
        if let Some(Some(made)) = inputs.get(at) {
            let numbers =
                self.numbers(made).ok_or_else(|| self.bad(node, &format!("reads no list as its {attribute}")))?;
            return Ok(Some(numbers.1));
        }
        Ok(node.wholes(attribute).map(|list| list.iter().map(|v| Number::Known(*v as f64)).collect()))
    }

    /// Numbers with their shape, where these are some.
    pub(super) fn numbers(&self, made: &Made) -> Option<(Vec<usize>, Vec<Number>)> {
        match made {
            Made::Numbers(shape, numbers) => Some((shape.clone(), numbers.clone())),
            Made::Constant(constant) if constant.values.len() <= FEW => {
                let numbers = constant.values.iter().map(|v| Number::Known(f64::from(*v))).collect();
                Some((constant.shape.clone(), numbers))
            }
            _ => None,
        }
    }

    /// Floats, where these are some or known numbers.
    pub(super) fn reals(&self, made: &Made) -> Option<Constant> {
        match made {
            Made::Constant(constant) => Some(constant.clone()),
            Made::Numbers(shape, numbers) => {
                let values: Option<Vec<f32>> = numbers.iter().map(|n| n.known().map(|v| v as f32)).collect();
                Some(Constant { shape: shape.clone(), values: values?.into() })
            }
            _ => None,
        }
    }

    /// What a node makes that has nothing to do with the values of maps; `None` for other nodes.
    pub(super) fn number_op(&self, node: &OnnxNode, inputs: &Inputs) -> Result<Option<Made>, ModelError> {
        let first = inputs.first().and_then(Option::as_ref);
        match (node.op.as_str(), first) {
            ("Constant", None) => return self.constant_node(node).map(Some),
            ("Shape", Some(Made::Map(map))) => {
                let [_, _, c] = self.sizes[map.blob];
                let side = |axis| Number::Side { blob: map.blob, axis, times: 1.0 };
                let (c, one) = (Number::Known(c as f64), Number::Unknown);
                let all = match map.layout {
                    Layout::First => vec![one, c, side(0), side(1)],
                    Layout::Last => vec![one, side(0), side(1), c],
                    Layout::Vector => vec![one, c],
                    Layout::Line => vec![one, c, Number::Known(1.0)],
                };
                let place = |name: &str, or: usize| {
                    let at = node.whole(name).map_or(or as i64, |at| if at < 0 { at + all.len() as i64 } else { at });
                    at.clamp(0, all.len() as i64) as usize
                };
                let part = all.get(place("start", 0)..place("end", all.len())).unwrap_or_default().to_vec();
                return Ok(Some(Made::Numbers(vec![part.len()], part)));
            }
            ("Identity" | "Dropout", Some(made @ (Made::Constant(_) | Made::Numbers(..)))) => {
                return Ok(Some(made.clone()));
            }
            ("Cast", Some(made @ (Made::Constant(_) | Made::Numbers(..)))) => return Ok(Some(self.cast(node, made))),
            ("Transpose", Some(Made::Constant(constant))) => {
                let order = node.wholes("perm").map(|order| order.iter().map(|d| *d as usize).collect::<Vec<_>>());
                let order = order.unwrap_or_else(|| (0..constant.shape.len()).rev().collect());
                let turned = danqing_tensor::Tensor::from_slice(&constant.values, &constant.shape)?.permute(&order)?;
                return Ok(Some(Made::Constant(Constant {
                    shape: turned.shape().to_vec(),
                    values: turned.to_vec().into(),
                })));
            }
            _ => {}
        }
        let all: Option<Vec<(Vec<usize>, Vec<Number>)>> = inputs
            .iter()
            .map(|made| made.as_ref().map_or(Some((vec![0], Vec::new())), |made| self.numbers(made)))
            .collect();
        let known = [
            "Add",
            "Sub",
            "Mul",
            "Div",
            "Concat",
            "Gather",
            "Unsqueeze",
            "Squeeze",
            "Floor",
            "Ceil",
            "Slice",
            "Reshape",
            "Transpose",
            "ConstantOfShape",
        ];
        let Some(all) = all.filter(|all| !all.is_empty() && known.contains(&node.op.as_str())) else { return Ok(None) };
        let made = self.computed(node, inputs, &all).filter(|(shape, numbers)| {
            let count = shape.iter().try_fold(1usize, |n, d| n.checked_mul(*d));
            numbers.len() <= MOST && count == Some(numbers.len())
        });
        let (shape, numbers) = made.ok_or_else(|| self.bad(node, "computes sizes in a way that is not known"))?;
        Ok(Some(Made::Numbers(shape, numbers)))
    }

    /// Floats become whole numbers where that is asked for and they are few.
    fn cast(&self, node: &OnnxNode, made: &Made) -> Made {
        let whole = matches!(node.whole("to"), Some(6 | 7));
        match (self.numbers(made), whole) {
            (Some((shape, numbers)), true) => {
                let cut = |number: Number| number.known().map_or(number, |v| Number::Known(v.trunc()));
                Made::Numbers(shape, numbers.into_iter().map(cut).collect())
            }
            _ => made.clone(),
        }
    }

    fn constant_node(&self, node: &OnnxNode) -> Result<Made, ModelError> {
        let known = |list: &[f64]| list.iter().map(|v| Number::Known(*v)).collect::<Vec<_>>();
        let reals = |shape: Vec<usize>, values: &[f32]| Made::Constant(Constant { shape, values: values.into() });
        Ok(match node.attributes.iter().next() {
            Some((_, OnnxAttribute::Tensor(tensor))) => self.constant(node, tensor)?,
            Some((_, OnnxAttribute::Whole(value))) => Made::Numbers(Vec::new(), known(&[*value as f64])),
            Some((_, OnnxAttribute::Wholes(list))) => {
                Made::Numbers(vec![list.len()], list.iter().map(|v| Number::Known(*v as f64)).collect())
            }
            Some((_, OnnxAttribute::Real(value))) => reals(Vec::new(), &[*value]),
            Some((_, OnnxAttribute::Reals(list))) => reals(vec![list.len()], list),
            _ => return Err(self.bad(node, "has a value that is not read")),
        })
    }

    fn computed(
        &self,
        node: &OnnxNode,
        inputs: &Inputs,
        all: &[(Vec<usize>, Vec<Number>)],
    ) -> Option<(Vec<usize>, Vec<Number>)> {
        let (shape, numbers) = all.first()?;
        let list = |at: usize, attribute: &str| -> Option<Vec<f64>> {
            match all.get(at) {
                Some((_, numbers)) if inputs.get(at).is_some_and(Option::is_some) => {
                    numbers.iter().map(|n| n.known()).collect()
                }
                _ => node.wholes(attribute).map(|list| list.iter().map(|v| *v as f64).collect()),
            }
        };
        let place = |at: f64, len: usize| {
            let at = if at < 0.0 { at + len as f64 } else { at };
            at.clamp(0.0, len as f64) as usize
        };
        Some(match node.op.as_str() {
            op @ ("Add" | "Sub" | "Mul" | "Div") => {
                let (other_shape, others) = all.get(1)?;
                // Both are whole where neither came as floats.
                let whole = inputs.iter().all(|made| matches!(made, Some(Made::Numbers(..))));
                let count = numbers.len().max(others.len());
                let of = |list: &[Number], i: usize| list.get(if list.len() == 1 { 0 } else { i }).copied();
                let each = |i| Number::combined(op, of(numbers, i)?, of(others, i)?, whole);
                let shape =
                    if shape.len() >= other_shape.len() && numbers.len() == count { shape } else { other_shape };
                (shape.clone(), (0..count).map(each).collect::<Option<_>>()?)
            }
            "Floor" | "Ceil" => {
                let rounded = |n: &Number| match *n {
                    Number::Known(v) if node.op == "Floor" => Number::Known(v.floor()),
                    Number::Known(v) => Number::Known(v.ceil()),
                    other => other,
                };
                (shape.clone(), numbers.iter().map(rounded).collect())
            }
            "Concat" => {
                let flat: Vec<Number> = all.iter().flat_map(|(_, numbers)| numbers.iter().copied()).collect();
                all.iter().all(|(shape, _)| shape.len() == 1).then_some((vec![flat.len()], flat))?
            }
            "Gather" if shape.len() == 1 => {
                let (shape, ids) = all.get(1)?;
                let one = |id: &Number| {
                    let id = id.known()?;
                    numbers.get(if id < 0.0 { id + numbers.len() as f64 } else { id } as usize).copied()
                };
                (shape.clone(), ids.iter().map(one).collect::<Option<_>>()?)
            }
            "Unsqueeze" if shape.is_empty() => (vec![1], numbers.clone()),
            "Squeeze" if numbers.len() == 1 => (Vec::new(), numbers.clone()),
            "Slice" => {
                let (starts, ends) = (list(1, "starts")?, list(2, "ends")?);
                let (axes, steps) = (list(3, "axes").unwrap_or(vec![0.0]), list(4, "steps").unwrap_or(vec![1.0]));
                let ([start], [end], [axis], [step]) = (&starts[..], &ends[..], &axes[..], &steps[..]) else {
                    return None;
                };
                if *axis != 0.0 || !(1..=2).contains(&shape.len()) {
                    return None;
                }
                // Rows of a table, or numbers of a list.
                let (len, row) = (shape[0], shape.get(1).copied().unwrap_or(1));
                let rows: Vec<usize> = match *step {
                    1.0 => (place(*start, len)..place(*end, len)).collect(),
                    // From the last to the first, as PyTorch's exporter turns borders round.
                    -1.0 if *start == -1.0 && *end < -(len as f64) => (0..len).rev().collect(),
                    _ => return None,
                };
                let out = rows.iter().flat_map(|i| numbers[i * row..][..row].iter().copied()).collect();
                ([&[rows.len()], &shape[1..]].concat(), out)
            }
            "Reshape" => {
                let sizes = list(1, "shape")?;
                let rest: f64 = sizes.iter().filter(|d| **d > 0.0).product();
                let size = |d: &f64| if *d == -1.0 { numbers.len() as f64 / rest } else { *d } as usize;
                (sizes.iter().map(size).collect(), numbers.clone())
            }
            "Transpose" => {
                let &[rows, columns] = shape.as_slice() else { return None };
                let out = (0..numbers.len()).map(|i| numbers[i % rows * columns + i / rows]).collect();
                (vec![columns, rows], out)
            }
            "ConstantOfShape" => {
                let sizes: Vec<usize> = numbers.iter().map(|n| n.count()).collect::<Option<_>>()?;
                let count = sizes.iter().try_fold(1usize, |n, d| n.checked_mul(*d)).filter(|n| *n <= MOST)?;
                let value = match node.attributes.get("value") {
                    Some(OnnxAttribute::Tensor(tensor)) => {
                        self.numbers(&self.constant(node, tensor).ok()?)?.1.first().copied()?
                    }
                    _ => Number::Known(0.0),
                };
                (sizes, vec![value; count])
            }
            _ => return None,
        })
    }
}
