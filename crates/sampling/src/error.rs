//! Errors of this crate. Each says what is wrong and what would mend it.

/// Anything that can go wrong while a schedule is made or a picture is sampled.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    /// The denoiser (network, guidance, conditioning) failed.
    #[error("the denoiser failed at step {step}, sigma {sigma}: {source}")]
    Denoiser {
        /// Step, counted from 0.
        step: usize,
        /// Noise level at which it was asked.
        sigma: f64,
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A prediction, or the state made from it, held NaN or infinity.
    #[error(
        "the picture at step {step}, sigma {sigma} is not finite (first at element {index}): the weights may be damaged, or a precision too small for them; try f32"
    )]
    NotFinite {
        /// Step, counted from 0.
        step: usize,
        /// Noise level at which it was asked.
        sigma: f64,
        /// First element that is NaN or infinite.
        index: usize,
    },
    /// A list of noise levels that cannot be sampled along.
    #[error("these noise levels cannot be sampled: {reason}")]
    Sigmas {
        /// What is wrong with them.
        reason: String,
    },
    /// A parameter outside its range.
    #[error("{name} is {value}, but must be {expected}")]
    Parameter {
        /// Name of the parameter.
        name: &'static str,
        /// Value that was given.
        value: String,
        /// Range that is accepted.
        expected: &'static str,
    },
    /// Two buffers that must be equally long are not.
    #[error("{what} has {found} elements, but {expected} are needed")]
    Length {
        /// Name of the buffer.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The length that fits.
        expected: usize,
    },
    /// The recorded noise does not reach.
    #[error("recorded noise has {available} draws, but draw {wanted} was asked for")]
    NoiseExhausted {
        /// Draws in the recording.
        available: usize,
        /// Draw that was wanted, counted from 0.
        wanted: usize,
    },
    /// A saved state that does not belong to this run.
    #[error("the saved state does not fit this run: {reason}")]
    State {
        /// What does not fit.
        reason: String,
    },
}

impl SampleError {
    pub(crate) fn parameter(name: &'static str, value: impl ToString, expected: &'static str) -> Self {
        SampleError::Parameter { name, value: value.to_string(), expected }
    }

    pub(crate) fn sigmas(reason: impl Into<String>) -> Self {
        SampleError::Sigmas { reason: reason.into() }
    }
}

/// Errors with [`SampleError::Length`] unless `found == expected`.
pub(crate) fn check_length(what: &'static str, found: usize, expected: usize) -> Result<(), SampleError> {
    if found == expected { Ok(()) } else { Err(SampleError::Length { what, found, expected }) }
}
