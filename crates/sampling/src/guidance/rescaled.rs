//! Rescaled guidance: Lin et al. 2023, arXiv 2305.08891, equations 14 to 16.

use super::{Guidance, GuidanceOptions, GuidanceSpec, Predictions, extrapolate};
use crate::error::SampleError;

/// Classifier-free guidance whose spread is brought back to that of the prediction with the prompt, picture by picture.
#[derive(Debug)]
pub(super) struct Rescaled;

impl Guidance for Rescaled {
    fn spec(&self) -> &'static GuidanceSpec {
        &GuidanceSpec {
            id: "cfg_rescale",
            name: "Classifier-free, rescaled",
            aliases: &["rescale_cfg", "guidance_rescale"],
            default_scale: 7.0,
            needs_plus_plus_sampler: false,
            paper: "Lin et al. 2023, arXiv 2305.08891",
        }
    }

    fn combine(&self, both: Predictions<'_>, options: GuidanceOptions, guided: &mut [f32]) -> Result<(), SampleError> {
        if !(0.0..=1.0).contains(&options.rescale) {
            return Err(SampleError::parameter("guidance rescale", options.rescale, "between 0 and 1"));
        }
        if both.picture == 0 {
            return Err(SampleError::parameter("elements of a picture", 0, "at least 1"));
        }
        extrapolate(both, options.scale, guided)?;
        for (guided, conditional) in guided.chunks_mut(both.picture).zip(both.conditional.chunks(both.picture)) {
            let (wanted, found) = (spread(conditional), spread(guided));
            let factor = if found > 0.0 { 1.0 + options.rescale * (wanted / found - 1.0) } else { 1.0 };
            guided.iter_mut().for_each(|v| *v = (f64::from(*v) * factor) as f32);
        }
        Ok(())
    }
}

/// Root of the summed squared distance from the mean: the standard deviation but for a factor that cancels.
fn spread(values: &[f32]) -> f64 {
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64;
    values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>().sqrt()
}
