//! CFG++: Chung et al. 2024, arXiv 2406.08070. The guided picture is classifier-free guidance's, with a scale mostly between
//! 0 and 1; what differs is the renoising, which the samplers of that name do.

use super::{Guidance, GuidanceOptions, GuidanceSpec, Predictions, extrapolate};
use crate::error::SampleError;

/// Guidance for the samplers `*_cfg_pp`.
#[derive(Debug)]
pub(super) struct PlusPlus;

impl Guidance for PlusPlus {
    fn spec(&self) -> &'static GuidanceSpec {
        &GuidanceSpec {
            id: "cfg_pp",
            name: "CFG++",
            aliases: &["cfgpp"],
            default_scale: 0.6,
            needs_plus_plus_sampler: true,
            paper: "Chung et al. 2024, arXiv 2406.08070",
        }
    }

    fn combine(&self, both: Predictions<'_>, options: GuidanceOptions, guided: &mut [f32]) -> Result<(), SampleError> {
        extrapolate(both, options.scale, guided)
    }
}
