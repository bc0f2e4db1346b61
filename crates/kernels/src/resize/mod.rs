//! Changing the size of feature maps `[batch, height, width, channels]`: nearest, bilinear, pixel shuffle, pooling; each
//! with its gradient.

mod interpolate;
mod pool2d;
mod shuffle;
#[cfg(test)]
mod tests;

pub use interpolate::{bilinear, bilinear_grad, nearest, nearest_grad};
pub use pool2d::{PoolShape, avg_pool2d, avg_pool2d_grad, max_pool2d, max_pool2d_grad};
pub use shuffle::{pixel_shuffle, pixel_unshuffle};
