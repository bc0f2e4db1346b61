//! Autoencoders: `AutoencoderKl` of the Stable Diffusion families, `AutoencoderTiny` for previews.

mod kl;
mod tiny;

pub use kl::{AutoencoderKl, AutoencoderKlConfig, Posterior};
pub use tiny::{TinyDecoder, TinyEncoder};
