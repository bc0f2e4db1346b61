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
//! ```
//! use danqing_sampling::noise::{DrawOrder, DrawType, Generator, NoiseShape, SeededNoise};
//! use danqing_sampling::sampler::DenoiseError;
//! use danqing_sampling::start::{StartScale, pure_noise};
//! use danqing_sampling::*;
//!
//! /// Knows one picture: grey.
//! struct Grey;
//! impl Denoiser for Grey {
//!     fn denoise(&mut self, _: &[f32], _: f64, denoised: &mut [f32]) -> Result<(), DenoiseError> {
//!         denoised.fill(0.5);
//!         Ok(())
//!     }
//!     fn noise_path(&self) -> NoisePath {
//!         NoisePath::VarianceExploding
//!     }
//! }
//!
//! # fn main() -> Result<(), SampleError> {
//! let sampler = samplers::find("DPM++ 2M").unwrap();
//! let schedule = schedules::find("karras").unwrap();
//! let training = TrainingNoise::stable_diffusion();
//! let levels = schedules::levels_for(sampler, schedule, &training, 20, &Default::default())?;
//!
//! let shape = NoiseShape { batch: 1, channels: 4, height: 8, width: 8 };
//! let mut noise = SeededNoise::new(Generator::Cpu(DrawType::F32), DrawOrder::A1111, shape, 42);
//! let mut first = vec![0.0; shape.numel()];
//! noise.draw(Draw::Initial, &mut first)?;
//! let mut state = SamplerState::new(pure_noise(&first, levels.sigmas[0], Grey.noise_path(), StartScale::Sigma));
//! sample(sampler, &Default::default(), &mut Grey, &levels.sigmas, &mut noise, &mut state, &mut go_on)?;
//! assert!(state.x.iter().all(|v| (v - 0.5).abs() < 1e-6));
//! # Ok(())
//! # }
//! ```
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
