//! Noise that was written down before, to compare with other programs draw by draw.

use super::{Draw, NoiseSource};
use crate::error::{SampleError, check_length};

/// Plays back draws in order. The first is not special: the initial noise is expected to be in the state already.
#[derive(Debug, Clone)]
pub struct RecordedNoise {
    draws: Vec<Vec<f32>>,
    next: usize,
}

impl RecordedNoise {
    /// A recording of draws.
    pub fn new(draws: Vec<Vec<f32>>) -> Self {
        RecordedNoise { draws, next: 0 }
    }
}

impl NoiseSource for RecordedNoise {
    fn draw(&mut self, _: Draw, out: &mut [f32]) -> Result<(), SampleError> {
        let (available, wanted) = (self.draws.len(), self.next);
        let draw = self.draws.get(wanted).ok_or(SampleError::NoiseExhausted { available, wanted })?;
        check_length("a recorded draw", draw.len(), out.len())?;
        out.copy_from_slice(draw);
        self.next += 1;
        Ok(())
    }

    fn seek(&mut self, draws: u64, _: usize) -> Result<(), SampleError> {
        self.next = draws as usize;
        Ok(())
    }
}
