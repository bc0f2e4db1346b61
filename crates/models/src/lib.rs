//! Model families, text encoders, autoencoders and their key maps.

pub mod tokenizers;
