//! Elementwise functions, broadcasting, reductions, rows (softmax, GEGLU) and weight updates.
//!
//! Arithmetic is f32 whatever the element; results are rounded once. Work is cut by length alone, so results are
//! bit-equal for every thread count.

mod binary;
mod gate;
mod geglu;
pub(crate) mod map;
pub(crate) mod reduce;
#[cfg(test)]
mod scalar;
mod softmax;
#[cfg(test)]
mod tests;
pub(crate) mod unary;
mod update;

pub use binary::{Binary, MAX_RANK, binary, binary_strided};
pub(crate) use binary::{Walk, last_index};
pub use gate::{sigmoid_gate, sigmoid_gate_grad};
pub use geglu::{geglu, geglu_grad};
pub use reduce::{Reduction, column_sums, reduce, sum_of_squares};
pub use softmax::{log_softmax, log_softmax_grad, softmax, softmax_grad};
pub use unary::{Unary, unary, unary_grad};
pub use update::{AdamW, adamw, add_assign, axpy, cast, ema};
