//! Operations on tensors, a file for each kind; every one of them can be differentiated.

mod attention;
mod binary;
mod conv;
mod gate;
mod index;
mod linear;
mod loss;
mod matmul;
mod norm;
mod pad;
mod prelu;
mod reduce;
mod resize;
mod softmax;
mod unary;
mod views;

pub use attention::AttentionOptions;
pub use conv::{Conv2dOptions, ConvFusion};
pub use linear::LinearFusion;
pub(crate) use unary::converted;
