//! Stored bytes to `f32` and `bf16`. Conversions round to nearest even; integers become the nearest float.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

use crate::StorageType::{self, *};

/// Numbers converted at a time where a buffer between is needed.
const BLOCK: usize = 1024;

/// Decodes `bytes` (a whole number of little-endian elements of `dtype`) into `out` of the same count.
pub(crate) fn to_f32(dtype: StorageType, bytes: &[u8], out: &mut [f32]) {
    fn each<const N: usize>(bytes: &[u8], out: &mut [f32], f: impl Fn([u8; N]) -> f32) {
        for (out, chunk) in out.iter_mut().zip(bytes.as_chunks::<N>().0) {
            *out = f(*chunk);
        }
    }
    match dtype {
        F64 => each(bytes, out, |b| f64::from_le_bytes(b) as f32),
        F32 => each(bytes, out, f32::from_le_bytes),
        F16 => f16_to_f32(bytes, out),
        BF16 => each(bytes, out, |b| bf16::from_le_bytes(b).to_f32()),
        F8E4M3 => each(bytes, out, |[b]| f8_e4m3(b)),
        F8E5M2 => each(bytes, out, |[b]| f8_e5m2(b)),
        I8 => each(bytes, out, |b| i8::from_le_bytes(b).into()),
        U8 => each(bytes, out, |[b]| b.into()),
        I16 => each(bytes, out, |b| i16::from_le_bytes(b).into()),
        U16 => each(bytes, out, |b| u16::from_le_bytes(b).into()),
        I32 => each(bytes, out, |b| i32::from_le_bytes(b) as f32),
        U32 => each(bytes, out, |b| u32::from_le_bytes(b) as f32),
        I64 => each(bytes, out, |b| i64::from_le_bytes(b) as f32),
        U64 => each(bytes, out, |b| u64::from_le_bytes(b) as f32),
        Bool => each(bytes, out, |[b]| f32::from(b != 0)),
    }
}

/// Half precision has an instruction of its own, which whole slices use where the machine has it.
fn f16_to_f32(bytes: &[u8], out: &mut [f32]) {
    let mut block = [f16::ZERO; BLOCK];
    for (out, bytes) in out.chunks_mut(BLOCK).zip(bytes.chunks(2 * BLOCK)) {
        let block = &mut block[..out.len()];
        for (half, chunk) in block.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *half = f16::from_le_bytes(*chunk);
        }
        block.convert_to_f32_slice(out);
    }
}

/// As [`to_f32`] but into bfloat16; `BF16` is copied, everything else goes through `f32`.
pub(crate) fn to_bf16(dtype: StorageType, bytes: &[u8], out: &mut [bf16]) {
    if dtype == BF16 {
        for (out, chunk) in out.iter_mut().zip(bytes.as_chunks::<2>().0) {
            *out = bf16::from_le_bytes(*chunk);
        }
        return;
    }
    let mut block = [0f32; BLOCK];
    for (out, bytes) in out.chunks_mut(BLOCK).zip(bytes.chunks(BLOCK * dtype.size())) {
        let block = &mut block[..out.len()];
        to_f32(dtype, bytes, block);
        for (out, value) in out.iter_mut().zip(block) {
            *out = bf16::from_f32(*value);
        }
    }
}

/// Index and value of the first NaN or infinity.
pub(crate) fn first_non_finite(dtype: StorageType, bytes: &[u8]) -> Option<(usize, f32)> {
    let mut block = [0f32; BLOCK];
    for (i, bytes) in bytes.chunks(BLOCK * dtype.size()).enumerate() {
        let block = &mut block[..bytes.len() / dtype.size()];
        to_f32(dtype, bytes, block);
        // Without an early end the test runs in vectors.
        if block.iter().fold(true, |fine, v| fine & v.is_finite()) {
            continue;
        }
        return block.iter().position(|v| !v.is_finite()).map(|at| (i * BLOCK + at, block[at]));
    }
    None
}

/// OCP 8-bit floating point E4M3: bias 7, `S.1111.111` is NaN, no infinities, largest 448.
fn f8_e4m3(bits: u8) -> f32 {
    let (exponent, mantissa) = (i32::from(bits >> 3 & 15), f32::from(bits & 7));
    let magnitude = match (exponent, bits & 7) {
        (15, 7) => f32::NAN,
        (0, _) => mantissa / 8.0 * 2f32.powi(-6),
        _ => (1.0 + mantissa / 8.0) * 2f32.powi(exponent - 7),
    };
    if bits & 0x80 != 0 { -magnitude } else { magnitude }
}

/// OCP 8-bit floating point E5M2: the upper byte of an IEEE half.
fn f8_e5m2(bits: u8) -> f32 {
    f16::from_bits(u16::from(bits) << 8).to_f32()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn eight_bit_floats_have_the_values_of_the_ocp_tables() {
        for (bits, want) in
            [(0x00, 0.0), (0x01, 2f32.powi(-9)), (0x08, 2f32.powi(-6)), (0x38, 1.0), (0x7e, 448.0), (0xb8, -1.0)]
        {
            assert_eq!(f8_e4m3(bits), want, "E4M3 {bits:#x}");
        }
        assert!(f8_e4m3(0x7f).is_nan() && f8_e4m3(0xff).is_nan());
        for (bits, want) in [(0x01, 2f32.powi(-16)), (0x3c, 1.0), (0x7b, 57344.0), (0x7c, f32::INFINITY)] {
            assert_eq!(f8_e5m2(bits), want, "E5M2 {bits:#x}");
        }
    }

    #[test]
    fn bf16_of_every_type_equals_bf16_of_its_f32() {
        for &(dtype, _) in crate::storage_type::STORAGE_TYPES {
            let n = 1500;
            let bytes: Vec<u8> = (0..n * dtype.size()).map(|i| (i * 37 + i / 251) as u8).collect();
            let (mut single, mut brain) = (vec![0f32; n], vec![bf16::ZERO; n]);
            to_f32(dtype, &bytes, &mut single);
            to_bf16(dtype, &bytes, &mut brain);
            for (i, (s, b)) in single.iter().zip(&brain).enumerate() {
                assert!(s.is_nan() && b.is_nan() || bf16::from_f32(*s) == *b, "{dtype} element {i}: {s} {b}");
            }
        }
    }
}
