//! Sigma schedules, samplers, guidance and noise. Knows no network: a sampler is handed a [`Denoiser`], a list of
//! noise levels and a [`NoiseSource`], so every formula here can be tested with a denoiser in closed form.
//!
//! - [`training_noise`]: how a model was trained: betas, sigmas, the map between sigma and timestep.
//! - [`prediction`]: what a network's output means, and how to get the clean picture from it.
//! - [`schedules`]: the sigmas that a run visits. One file each, listed in [`schedules::SCHEDULES`].
//! - [`samplers`]: how to get from one sigma to the next. One file each, listed in [`samplers::SAMPLERS`].
//! - [`guidance`]: how two predictions become one, listed in [`guidance::GUIDANCE`].
//! - [`noise`]: where random numbers come from: torch's CPU generator, NVIDIA's Philox, our own.
//! - [`start`]: the first state, from noise or from a picture.
//! - [`diffusers`]: what diffusers' scheduler classes are called here.
//! - [`listing`]: the tables of the documentation.
//! - [`drive`]: [`sample`], which runs a sampler, reports progress, stops when asked and resumes.
//!
//! All transcendental functions come from `libm`, never from the platform, so that equal seeds give equal bits everywhere.

#![forbid(unsafe_code)]

pub mod diffusers;
pub mod drive;
pub mod error;
pub mod guidance;
pub mod listing;
pub mod noise;
pub mod path;
pub mod prediction;
pub mod sampler;
pub mod samplers;
pub mod schedules;
pub mod start;
pub mod training_noise;
mod vector;

pub use drive::{Outcome, Progress, go_on, sample};
pub use error::SampleError;
pub use noise::{Draw, NoiseSource};
pub use path::NoisePath;
pub use prediction::PredictionType;
pub use sampler::{Denoiser, Sampler, SamplerOptions, SamplerSpec, SamplerState, Step};
pub use training_noise::TrainingNoise;
