//! The element types of activations: `f32` and `bf16`.
//!
//! The element of the activations decides the arithmetic: f32 products for `f32`, bf16 products with f32 sums for
//! `bf16`. Operations are generic over [`Element`] at their edge and pick a kernel by [`Element::KIND`] inside.

use crate::alloc::Plain;
use half::bf16;

/// Names an [`Element`] at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ElementKind {
    /// IEEE single precision.
    F32,
    /// The upper half of a single: 8 exponent bits, 7 fraction bits.
    Bf16,
}

impl ElementKind {
    /// Bytes of one element.
    pub const fn bytes(self) -> usize {
        match self {
            ElementKind::F32 => 4,
            ElementKind::Bf16 => 2,
        }
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for half::bf16 {}
}

/// An element of activations. Sealed: `f32` and [`half::bf16`].
pub trait Element: Plain + PartialEq + PartialOrd + std::fmt::Debug + sealed::Sealed {
    /// Which of the two this is.
    const KIND: ElementKind;
    /// The value 0.
    const ZERO: Self;
    /// Widens, exactly.
    fn to_f32(self) -> f32;
    /// Rounds to nearest, ties to even.
    fn from_f32(value: f32) -> Self;
    /// `slice` itself if this is `f32`.
    fn as_f32(slice: &[Self]) -> Option<&[f32]>;
    /// `slice` itself if this is `bf16`.
    fn as_bf16(slice: &[Self]) -> Option<&[bf16]>;
    /// `slice` itself if this is `f32`.
    fn as_f32_mut(slice: &mut [Self]) -> Option<&mut [f32]>;
    /// `slice` itself if this is `bf16`.
    fn as_bf16_mut(slice: &mut [Self]) -> Option<&mut [bf16]>;
}

impl Element for f32 {
    const KIND: ElementKind = ElementKind::F32;
    const ZERO: f32 = 0.0;
    #[inline(always)]
    fn to_f32(self) -> f32 {
        self
    }
    #[inline(always)]
    fn from_f32(value: f32) -> f32 {
        value
    }
    fn as_f32(slice: &[f32]) -> Option<&[f32]> {
        Some(slice)
    }
    fn as_bf16(_: &[f32]) -> Option<&[bf16]> {
        None
    }
    fn as_f32_mut(slice: &mut [f32]) -> Option<&mut [f32]> {
        Some(slice)
    }
    fn as_bf16_mut(_: &mut [f32]) -> Option<&mut [bf16]> {
        None
    }
}

impl Element for bf16 {
    const KIND: ElementKind = ElementKind::Bf16;
    const ZERO: bf16 = bf16::ZERO;
    #[inline(always)]
    fn to_f32(self) -> f32 {
        f32::from_bits((self.to_bits() as u32) << 16)
    }
    #[inline(always)]
    fn from_f32(value: f32) -> bf16 {
        let bits = value.to_bits();
        // Branch-free so that loops over it vectorise; a NaN stays a (quiet) NaN.
        let rounded = bits.wrapping_add(0x7fff + ((bits >> 16) & 1));
        let quiet = bits | 0x0040_0000;
        bf16::from_bits((if value.is_nan() { quiet } else { rounded } >> 16) as u16)
    }
    fn as_f32(_: &[bf16]) -> Option<&[f32]> {
        None
    }
    fn as_bf16(slice: &[bf16]) -> Option<&[bf16]> {
        Some(slice)
    }
    fn as_f32_mut(_: &mut [bf16]) -> Option<&mut [f32]> {
        None
    }
    fn as_bf16_mut(slice: &mut [bf16]) -> Option<&mut [bf16]> {
        Some(slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_rounding_is_that_of_half() {
        let mut bits = 0u32;
        for _ in 0..200_000 {
            bits = bits.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let value = f32::from_bits(bits);
            let ours = <bf16 as Element>::from_f32(value);
            let theirs = bf16::from_f32(value);
            assert!(ours.to_bits() == theirs.to_bits() || (value.is_nan() && ours.is_nan()), "{value}");
            assert!(ours.is_nan() || Element::to_f32(ours) == theirs.to_f32());
        }
    }
}
