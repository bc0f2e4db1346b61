//! Computation on slices: convolution, GEMM, attention, norms; scalar, AVX2, AVX-512, AMX.
//!
//! Every operation is multi-threaded inside through [`threads`], and its result is bit-equal for every thread count:
//! work is cut into tasks by shape alone, and a reduction is never split by the number of threads.

// This crate and the safetensors memory map are the two places of the project where `unsafe` may live.
#![allow(unsafe_code)]

pub mod alloc;
pub mod attention;
pub mod ceilings;
pub mod conv;
pub mod element;
pub mod elementwise;
pub mod gemm;
pub mod isa;
pub mod layout;
pub mod norm;
pub mod pool;
pub mod resize;
#[cfg(test)]
mod samples;
mod simd;
pub mod threads;

pub use element::{Element, ElementKind};
