//! Text encoders.

mod clip;

pub use clip::{ClipTextConfig, ClipTextEncoder, TextEncoding};
