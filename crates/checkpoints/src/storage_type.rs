//! How numbers lie in a weight file.

use std::fmt;

/// The stored type of a tensor's elements. All multi-byte types are little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // The names are the definition.
pub enum StorageType {
    F64,
    F32,
    F16,
    BF16,
    /// 8-bit float, 4 exponent and 3 mantissa bits, no infinities (OCP "E4M3FN").
    F8E4M3,
    /// 8-bit float, 5 exponent and 2 mantissa bits, with infinities.
    F8E5M2,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    /// One byte, zero is false.
    Bool,
}

use StorageType::*;

/// Every type with its name in a safetensors header.
pub const STORAGE_TYPES: &[(StorageType, &str)] = &[
    (F64, "F64"),
    (F32, "F32"),
    (F16, "F16"),
    (BF16, "BF16"),
    (F8E4M3, "F8_E4M3"),
    (F8E5M2, "F8_E5M2"),
    (I8, "I8"),
    (U8, "U8"),
    (I16, "I16"),
    (U16, "U16"),
    (I32, "I32"),
    (U32, "U32"),
    (I64, "I64"),
    (U64, "U64"),
    (Bool, "BOOL"),
];

impl StorageType {
    /// Bytes per element.
    pub const fn size(self) -> usize {
        match self {
            F64 | I64 | U64 => 8,
            F32 | I32 | U32 => 4,
            F16 | BF16 | I16 | U16 => 2,
            F8E4M3 | F8E5M2 | I8 | U8 | Bool => 1,
        }
    }

    /// The name in a safetensors header, such as `BF16` or `F8_E4M3`.
    pub fn name(self) -> &'static str {
        STORAGE_TYPES.iter().find(|(t, _)| *t == self).map_or("", |(_, name)| name)
    }

    /// The type of a safetensors header's name.
    pub fn from_name(name: &str) -> Option<Self> {
        STORAGE_TYPES.iter().find(|(_, n)| *n == name).map(|(t, _)| *t)
    }

    /// True for the floating-point types.
    pub const fn is_float(self) -> bool {
        matches!(self, F64 | F32 | F16 | BF16 | F8E4M3 | F8E5M2)
    }
}

impl fmt::Display for StorageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
