//! Model families, text encoders, autoencoders and their key maps.
//!
//! Networks are pure functions of tensors, used for drawing and for training alike. They take weights by name, never
//! paths; their tensor names are diffusers' and transformers'.

pub mod autoencoders;
pub mod detectors;
mod error;
pub mod families;
pub mod text_encoders;
pub mod tokenizers;
pub mod unet;
pub mod upscalers;

pub use error::ModelError;
