//! How a prediction with the prompt and one without become one.
//!
//! All kinds are linear in the two predictions, so they may be applied to clean pictures or to raw outputs alike; only
//! rescaled guidance differs between the two, and diffusers applies it to raw outputs.

mod classifier_free;
mod plus_plus;
mod rescaled;

use crate::error::{SampleError, check_length};
use crate::samplers::squeeze;

/// Every kind of guidance.
pub static GUIDANCE: &[&dyn Guidance] = &[&classifier_free::ClassifierFree, &rescaled::Rescaled, &plus_plus::PlusPlus];

/// What is known of a kind of guidance.
#[derive(Debug)]
pub struct GuidanceSpec {
    /// Its id.
    pub id: &'static str,
    /// Its name for people.
    pub name: &'static str,
    /// Names elsewhere.
    pub aliases: &'static [&'static str],
    /// The scale where none is asked for.
    pub default_scale: f64,
    /// Whether the sampler must be one of the CFG++ kind, which asks for both predictions.
    pub needs_plus_plus_sampler: bool,
    /// Where it is from.
    pub paper: &'static str,
}

/// What a user may turn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GuidanceOptions {
    /// How far to go from the prediction without the prompt to the one with it, and on beyond; 1 is the prompt alone.
    pub scale: f64,
    /// Rescaled guidance: share of the result whose spread is brought back, 0 to 1 (the paper's phi, 0.7).
    pub rescale: f64,
}

/// The two predictions.
#[derive(Debug, Clone, Copy)]
pub struct Predictions<'a> {
    /// With the prompt.
    pub conditional: &'a [f32],
    /// Without it, or with the negative prompt.
    pub unconditional: &'a [f32],
    /// Elements of one picture of the batch.
    pub picture: usize,
}

/// Joins two predictions.
pub trait Guidance: Sync + std::fmt::Debug {
    /// What is known of it.
    fn spec(&self) -> &'static GuidanceSpec;

    /// Writes the guided prediction.
    ///
    /// # Errors
    /// Where buffers differ in length, or a number makes no sense.
    fn combine(&self, both: Predictions<'_>, options: GuidanceOptions, guided: &mut [f32]) -> Result<(), SampleError>;
}

/// Finds a kind of guidance by id, name or alias.
pub fn find(name: &str) -> Option<&'static dyn Guidance> {
    let wanted = squeeze(name);
    GUIDANCE.iter().copied().find(|guidance| {
        let spec = guidance.spec();
        [spec.id, spec.name].iter().chain(spec.aliases).any(|known| squeeze(known) == wanted)
    })
}

/// `unconditional + scale * (conditional - unconditional)`.
fn extrapolate(both: Predictions<'_>, scale: f64, guided: &mut [f32]) -> Result<(), SampleError> {
    check_length("the prediction without the prompt", both.unconditional.len(), both.conditional.len())?;
    check_length("the buffer for the guided prediction", guided.len(), both.conditional.len())?;
    if !scale.is_finite() {
        return Err(SampleError::parameter("guidance scale", scale, "a finite number"));
    }
    for ((out, c), u) in guided.iter_mut().zip(both.conditional).zip(both.unconditional) {
        let (c, u) = (f64::from(*c), f64::from(*u));
        *out = (u + scale * (c - u)) as f32;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guide(id: &str, options: GuidanceOptions) -> Vec<f32> {
        let conditional = [1.0, 3.0, -1.0, 0.5, 0.1, -0.2, 0.4, 0.3];
        let unconditional = [0.5, 1.0, -2.0, 0.5, 0.2, 0.2, -0.1, 0.0];
        let mut guided = vec![0.0; 8];
        let both = Predictions { conditional: &conditional, unconditional: &unconditional, picture: 4 };
        find(id).unwrap().combine(both, options, &mut guided).unwrap();
        guided
    }

    #[test]
    fn scale_one_is_the_prompt_alone() {
        for guidance in GUIDANCE {
            let id = guidance.spec().id;
            assert_eq!(guide(id, GuidanceOptions { scale: 1.0, rescale: 0.0 })[..2], [1.0, 3.0], "{id}");
        }
        assert_eq!(guide("cfg", GuidanceOptions { scale: 7.0, rescale: 0.0 })[..2], [4.0, 15.0]);
    }

    /// Values of diffusers' `rescale_noise_cfg`, which takes torch's standard deviation over each picture.
    #[test]
    fn rescaling_brings_back_the_spread_of_the_prompt() {
        let spread = |v: &[f32]| {
            let mean = v.iter().sum::<f32>() / 4.0;
            v.iter().map(|x| (x - mean).powi(2)).sum::<f32>().sqrt()
        };
        let full = guide("cfg_rescale", GuidanceOptions { scale: 7.0, rescale: 1.0 });
        assert!((spread(&full[..4]) - spread(&[1.0, 3.0, -1.0, 0.5])).abs() < 1e-5);
        assert!((spread(&full[4..]) - spread(&[0.1, -0.2, 0.4, 0.3])).abs() < 1e-5);
        let none = guide("cfg_rescale", GuidanceOptions { scale: 7.0, rescale: 0.0 });
        assert_eq!(none, guide("cfg", GuidanceOptions { scale: 7.0, rescale: 0.0 }));
    }

    #[test]
    fn nonsense_is_refused() {
        let both = Predictions { conditional: &[0.0; 4], unconditional: &[0.0; 3], picture: 4 };
        let options = GuidanceOptions { scale: 1.0, rescale: 0.0 };
        for guidance in GUIDANCE {
            assert!(guidance.combine(both, options, &mut [0.0; 4]).is_err());
        }
        let both = Predictions { conditional: &[0.0; 4], unconditional: &[0.0; 4], picture: 0 };
        let options = GuidanceOptions { scale: 1.0, rescale: 2.0 };
        assert!(find("cfg_rescale").unwrap().combine(both, options, &mut [0.0; 4]).is_err());
    }
}
