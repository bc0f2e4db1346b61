//! Moving values without changing them: channel order, transposes, strided copies, padding.

mod pad;
#[cfg(test)]
mod tests;
mod transpose;

pub use pad::{PadMode, Padding, pad2d, pad2d_grad};
pub use transpose::{nchw_to_nhwc, nhwc_to_nchw, strided_copy, strided_scatter_add, transpose2d};
