//! The left factor in the form that a pack's micro-kernels can read: where it lies if it has that form, else copied.

use super::engine::padded_k;
use super::packed::{PackedB, Precision};
use crate::element::{Element, ElementKind};
use crate::pool::PooledBuf;
use crate::threads::{Shared, parallel_for};
use std::borrow::Cow;

/// Rows copied per task.
const ROWS: usize = 64;

pub(crate) enum Operand<'a> {
    /// The caller's own memory: its bytes are borrowed, the stride is in bytes.
    Direct(&'a [u8], usize),
    /// A copy, with its stride.
    Copied(PooledBuf<u8>, usize),
}

impl<'a> Operand<'a> {
    /// Makes `a`, `[m, k]` at `lda`, readable for `b`; converts `b` if it was packed in bf16 for f32 activations.
    pub(crate) fn prepare<'b, E: Element>(
        a: &'a [E],
        lda: usize,
        m: usize,
        b: &'b PackedB,
    ) -> (Operand<'a>, Cow<'b, PackedB>) {
        let k = b.k();
        match (E::KIND, b.precision()) {
            (ElementKind::F32, Precision::Bf16) => {
                let wide = PackedB::pack(&b.unpack(), b.taps(), k, b.n(), [k * b.n(), b.n(), 1], Precision::F32);
                (Self::direct(a, lda), Cow::Owned(wide))
            }
            (ElementKind::Bf16, Precision::Bf16) if padded_k(b) != k => {
                (copied(a, lda, m, k, padded_k(b)), Cow::Borrowed(b))
            }
            (ElementKind::Bf16, Precision::F32) => (widened(a, lda, m, k), Cow::Borrowed(b)),
            _ => (Self::direct(a, lda), Cow::Borrowed(b)),
        }
    }

    fn direct<E: Element>(a: &'a [E], lda: usize) -> Operand<'a> {
        // SAFETY: the same memory seen as bytes.
        let bytes = unsafe { std::slice::from_raw_parts(a.as_ptr().cast(), size_of_val(a)) };
        Operand::Direct(bytes, lda * size_of::<E>())
    }

    pub(crate) fn pointer(&self) -> *const u8 {
        match self {
            Operand::Direct(bytes, _) => bytes.as_ptr(),
            Operand::Copied(bytes, _) => bytes.as_ptr(),
        }
    }

    pub(crate) fn stride(&self) -> usize {
        match self {
            Operand::Direct(_, stride) | Operand::Copied(_, stride) => *stride,
        }
    }
}

/// Rows of `k` copied to rows of `padded`, zero behind `k`.
fn copied<E: Element>(a: &[E], lda: usize, m: usize, k: usize, padded: usize) -> Operand<'static> {
    let stride = padded * size_of::<E>();
    let mut bytes = PooledBuf::<u8>::dirty(m * stride);
    rows(&mut bytes, m, stride, |row, out: &mut [E]| {
        out[..k].copy_from_slice(&a[row * lda..row * lda + k]);
        out[k..].fill(E::ZERO);
    });
    Operand::Copied(bytes, stride)
}

/// Rows of `k` as f32.
fn widened<E: Element>(a: &[E], lda: usize, m: usize, k: usize) -> Operand<'static> {
    let stride = k * 4;
    let mut bytes = PooledBuf::<u8>::dirty(m * stride);
    rows(&mut bytes, m, stride, |row, out: &mut [f32]| {
        for (out, value) in out.iter_mut().zip(&a[row * lda..row * lda + k]) {
            *out = value.to_f32();
        }
    });
    Operand::Copied(bytes, stride)
}

/// Calls `fill(row, its elements)` for each of `m` rows of `stride` bytes.
fn rows<T: Element>(bytes: &mut [u8], m: usize, stride: usize, fill: impl Fn(usize, &mut [T]) + Sync) {
    let bytes = Shared::new(bytes);
    parallel_for(m.div_ceil(ROWS), &|task| {
        for row in task * ROWS..m.min((task + 1) * ROWS) {
            // SAFETY: each row is written by one task; the buffer is 64-byte aligned and the stride whole elements.
            let out = unsafe {
                let row = bytes.range(row * stride, stride);
                std::slice::from_raw_parts_mut(row.as_mut_ptr().cast::<T>(), stride / size_of::<T>())
            };
            fill(row, out);
        }
    });
}
