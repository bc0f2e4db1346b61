//! Where random numbers come from.
//!
//! Values are written in the order in which the reference programs draw them: `[batch, channel, height, width]`. Samplers
//! work element by element, so a run whose state is kept in that order needs no permuting but at the network's door.

pub mod brownian;
pub mod mt19937;
pub mod nv;
pub mod own;
pub mod philox;
pub mod recorded;
mod seed_sequence;
pub mod seeded;
pub mod torch_cpu;
mod torch_tree;
pub mod variation;

pub use recorded::RecordedNoise;
pub use seeded::{DrawOrder, Generator, NoiseShape, SeededNoise};
pub use torch_cpu::DrawType;
pub use variation::Variation;

use crate::error::SampleError;

/// What a draw is for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Draw {
    /// The noise that a picture starts from.
    Initial,
    /// Noise put back in the step between two sigmas.
    Step {
        /// Noise level before the step.
        from: f64,
        /// Noise level after it.
        to: f64,
    },
    /// The increment of a Brownian path between two sigmas, divided by the root of their distance: standard normal, equal
    /// for equal sigmas, and independent where intervals do not overlap. Sources without such a path draw as for a step.
    Between {
        /// Noise level before.
        from: f64,
        /// Noise level after.
        to: f64,
    },
}

/// Gives standard normal noise.
pub trait NoiseSource {
    /// Fills `out` with noise.
    ///
    /// # Errors
    /// Where the source has no more, or the length is none that it can serve.
    fn draw(&mut self, draw: Draw, out: &mut [f32]) -> Result<(), SampleError>;

    /// Is told all sigmas of a run before its first draw; a path over sigma may need their range.
    fn begin(&mut self, sigmas: &[f64]) {
        let _ = sigmas;
    }

    /// Goes to the place after the initial noise and `draws` further draws of `len` values each.
    ///
    /// # Errors
    /// As [`NoiseSource::draw`].
    fn seek(&mut self, draws: u64, len: usize) -> Result<(), SampleError>;
}

/// A source for samplers that draw nothing; it errors when asked.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoNoise;

impl NoiseSource for NoNoise {
    fn draw(&mut self, _: Draw, _: &mut [f32]) -> Result<(), SampleError> {
        Err(SampleError::NoiseExhausted { available: 0, wanted: 0 })
    }

    fn seek(&mut self, _: u64, _: usize) -> Result<(), SampleError> {
        Ok(())
    }
}
