//! Training methods: what a step's loss is, for each kind of network.

pub mod autoencoder;
pub mod denoiser;
pub mod evaluator;
pub mod upscaler;
