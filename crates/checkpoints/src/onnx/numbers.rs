//! The numbers of an ONNX tensor in each form in which files have them.

use half::{bf16, f16};

use super::OnnxValues;
use crate::protobuf::{Value, visit, whole};

/// Types of numbers that are read: `TensorProto.DataType`.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Kind {
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
    pub(super) fn of(number: u64) -> Option<Self> {
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
    pub(super) fn raw(self, bytes: &[u8], count: usize) -> Option<OnnxValues> {
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
    pub(super) fn listed(self, tensor: &[u8], count: usize) -> Option<OnnxValues> {
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
pub(super) fn floats(out: &mut Vec<f32>, value: Value<'_>, most: usize) -> Option<()> {
    match value {
        Value::Word(value) => out.push(f32::from_bits(value)),
        Value::Bytes(packed) if packed.len() / 4 <= most => {
            out.extend(packed.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)));
        }
        _ => return None,
    }
    (out.len() <= most).then_some(())
}
