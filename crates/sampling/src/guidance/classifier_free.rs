//! Classifier-free guidance: Ho and Salimans 2022, arXiv 2207.12598.

use super::{Guidance, GuidanceOptions, GuidanceSpec, Predictions, extrapolate};
use crate::error::SampleError;

/// Goes from the prediction without the prompt through the one with it, and beyond.
#[derive(Debug)]
pub(super) struct ClassifierFree;

impl Guidance for ClassifierFree {
    fn spec(&self) -> &'static GuidanceSpec {
        &GuidanceSpec {
            id: "cfg",
            name: "Classifier-free",
            aliases: &["classifier_free_guidance"],
            default_scale: 7.0,
            needs_plus_plus_sampler: false,
            paper: "Ho and Salimans 2022, arXiv 2207.12598",
        }
    }

    fn combine(&self, both: Predictions<'_>, options: GuidanceOptions, guided: &mut [f32]) -> Result<(), SampleError> {
        extrapolate(both, options.scale, guided)
    }
}
