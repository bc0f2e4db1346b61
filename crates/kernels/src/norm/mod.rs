//! Group norm (Wu and He, arXiv:1803.08494), with an activation in the same pass, and layer norm (Ba et al.,
//! arXiv:1607.06450), with their gradients. Statistics are f32 or better, whatever the element.

mod group;
mod layer;
#[cfg(test)]
mod scalar;
#[cfg(test)]
mod tests;

pub use group::{GroupNorm, group_norm, group_norm_grad};
pub use layer::{layer_norm, layer_norm_grad};
