//! Element types and the shared, pooled memory that tensors are views of.

use std::fmt;

use danqing_kernels::Element;
use danqing_kernels::pool::PooledBuf;
use half::bf16;

/// Element type of a tensor. It decides the arithmetic: f32 products, or bf16 products summed in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// IEEE single precision.
    F32,
    /// bfloat16: the upper half of a single.
    Bf16,
}

impl DType {
    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            DType::F32 => 4,
            DType::Bf16 => 2,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F32 => "f32",
            DType::Bf16 => "bf16",
        })
    }
}

/// Memory of one or more tensors.
pub(crate) enum Storage {
    F32(PooledBuf<f32>),
    Bf16(PooledBuf<bf16>),
}

impl Storage {
    pub(crate) fn dtype(&self) -> DType {
        match self {
            Storage::F32(_) => DType::F32,
            Storage::Bf16(_) => DType::Bf16,
        }
    }
}

/// An element type as the inside of this crate needs it.
pub(crate) trait Scalar: Element {
    const DTYPE: DType;
    fn wrap(values: PooledBuf<Self>) -> Storage;
    /// The elements, if the storage is of this type.
    fn of(storage: &Storage) -> Option<&[Self]>;
    fn of_mut(storage: &mut Storage) -> Option<&mut [Self]>;
}

macro_rules! scalar {
    ($type:ty, $name:ident) => {
        impl Scalar for $type {
            const DTYPE: DType = DType::$name;
            fn wrap(values: PooledBuf<Self>) -> Storage {
                Storage::$name(values)
            }
            fn of(storage: &Storage) -> Option<&[Self]> {
                match storage {
                    Storage::$name(v) => Some(v),
                    _ => None,
                }
            }
            fn of_mut(storage: &mut Storage) -> Option<&mut [Self]> {
                match storage {
                    Storage::$name(v) => Some(v),
                    _ => None,
                }
            }
        }
    };
}
scalar!(f32, F32);
scalar!(bf16, Bf16);

/// Runs `$body` with the type `$E` standing for `$dtype`.
macro_rules! dispatch {
    ($dtype:expr, $E:ident => $body:expr) => {
        match $dtype {
            $crate::storage::DType::F32 => {
                type $E = f32;
                $body
            }
            $crate::storage::DType::Bf16 => {
                type $E = half::bf16;
                $body
            }
        }
    };
}
pub(crate) use dispatch;
