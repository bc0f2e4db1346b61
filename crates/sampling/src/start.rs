//! Where a run starts: the scale of the first noise, and which steps are left when it starts from a picture.

use crate::error::{SampleError, check_length};
use crate::path::NoisePath;
use crate::schedules::{Levels, check_steps};
use crate::vector::combine;

/// How strong the noise of a run without a picture is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartScale {
    /// The first sigma: k-diffusion, A1111; diffusers' Euler with linspace or trailing spacing.
    Sigma,
    /// `sqrt(sigma^2 + 1)`, unit variance for the network: DDIM, DPM++ and UniPC in diffusers, its Euler with leading
    /// spacing, ComfyUI at full denoise.
    UnitVariance,
}

/// The state before the first step of a run from nothing, at the first sigma. A flow starts from the noise alone.
pub fn pure_noise(noise: &[f32], sigma: f64, path: NoisePath, scale: StartScale) -> Vec<f32> {
    let factor = match (path, scale) {
        (NoisePath::Flow, _) | (_, StartScale::Sigma) => sigma,
        (NoisePath::VarianceExploding, StartScale::UnitVariance) => (sigma * sigma + 1.0).sqrt(),
    };
    combine(&[(factor, noise)])
}

/// The state at `sigma` that comes from a picture (its latent).
///
/// # Errors
/// Where picture and noise differ in length.
pub fn noised_picture(picture: &[f32], noise: &[f32], sigma: f64, path: NoisePath) -> Result<Vec<f32>, SampleError> {
    check_length("the noise", noise.len(), picture.len())?;
    Ok(combine(&[(path.alpha(sigma), picture), (sigma, noise)]))
}

/// How many steps a run from a picture makes, in the manner of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StrengthRule {
    /// `int(min(strength, 0.999) * steps) + 1` of the steps asked for.
    A1111,
    /// All the steps asked for, from a schedule of `int(steps / strength)`.
    ComfyUi,
    /// `int(steps * strength)` of the steps asked for.
    Diffusers,
}

impl StrengthRule {
    /// `(steps of the schedule, steps to make at its end)`. Strength 0 makes no step in every manner: the picture stays.
    ///
    /// # Errors
    /// Where `strength` is outside 0..=1, `steps` is 0, or the schedule would be longer than 10,000 steps.
    pub fn steps(self, steps: usize, strength: f64) -> Result<(usize, usize), SampleError> {
        check_steps(steps)?;
        if !(0.0..=1.0).contains(&strength) {
            return Err(SampleError::parameter("strength", strength, "between 0 and 1"));
        }
        if strength == 0.0 {
            return Ok((steps, 0));
        }
        Ok(match self {
            StrengthRule::A1111 => (steps, (strength.min(0.999) * steps as f64) as usize + 1),
            StrengthRule::Diffusers => (steps, (steps as f64 * strength) as usize),
            StrengthRule::ComfyUi => {
                let total = if strength > 0.9999 { steps } else { (steps as f64 / strength) as usize };
                check_steps(total)?;
                (total, steps)
            }
        })
    }
}

/// The last `steps` steps of a schedule, or none where no step is to be made.
pub fn last_steps(levels: &Levels, steps: usize) -> Option<Levels> {
    (steps > 0).then(|| levels.tail(steps))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strength_as_each_program_counts_it() {
        assert_eq!(StrengthRule::A1111.steps(20, 0.75).unwrap(), (20, 16));
        assert_eq!(StrengthRule::A1111.steps(20, 1.0).unwrap(), (20, 20));
        assert_eq!(StrengthRule::ComfyUi.steps(20, 0.75).unwrap(), (26, 20));
        assert_eq!(StrengthRule::ComfyUi.steps(20, 1.0).unwrap(), (20, 20));
        assert_eq!(StrengthRule::Diffusers.steps(20, 0.75).unwrap(), (20, 15));
        for rule in [StrengthRule::A1111, StrengthRule::ComfyUi, StrengthRule::Diffusers] {
            assert_eq!(rule.steps(20, 0.0).unwrap().1, 0);
            assert!(rule.steps(20, 1.1).is_err() && rule.steps(0, 0.5).is_err() && rule.steps(20, f64::NAN).is_err());
        }
        assert!(StrengthRule::ComfyUi.steps(20, 1e-9).is_err());
    }

    #[test]
    fn starts_have_the_right_noise() {
        let ve = NoisePath::VarianceExploding;
        assert_eq!(pure_noise(&[2.0], 3.0, ve, StartScale::Sigma), [6.0]);
        assert_eq!(pure_noise(&[1.0], 3.0, ve, StartScale::UnitVariance), [10f32.sqrt()]);
        assert_eq!(pure_noise(&[2.0], 1.0, NoisePath::Flow, StartScale::UnitVariance), [2.0]);
        assert_eq!(noised_picture(&[1.0], &[2.0], 0.25, NoisePath::Flow).unwrap(), [1.25]);
        assert!(noised_picture(&[1.0], &[], 0.25, ve).is_err());
    }
}
