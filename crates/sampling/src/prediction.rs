//! What a network's output means, and the clean picture in it.
//!
//! With `x = x0 + sigma * noise` (variance exploding) the network of a discrete model sees `x / sqrt(sigma^2 + 1)`, which is
//! the variance-preserving `sqrt(abar) * x0 + sqrt(1 - abar) * noise`. Epsilon: Ho et al. 2020, arXiv 2006.11239.
//! V: Salimans and Ho 2022, arXiv 2202.00512. Flow: Lipman et al. 2022, arXiv 2210.02747.

use crate::error::{SampleError, check_length};
use crate::path::NoisePath;
use crate::vector::combine;

/// What the network predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PredictionType {
    /// The noise.
    Epsilon,
    /// `sqrt(abar) * noise - sqrt(1 - abar) * x0`.
    VPrediction,
    /// The clean picture.
    Sample,
    /// The velocity `noise - x0` of a straight path.
    Flow,
}

impl PredictionType {
    /// All of them, for sweeps and listings.
    pub const ALL: [PredictionType; 4] =
        [PredictionType::Epsilon, PredictionType::VPrediction, PredictionType::Sample, PredictionType::Flow];

    /// The name that diffusers writes into `scheduler_config.json`.
    pub fn id(self) -> &'static str {
        match self {
            PredictionType::Epsilon => "epsilon",
            PredictionType::VPrediction => "v_prediction",
            PredictionType::Sample => "sample",
            PredictionType::Flow => "flow_prediction",
        }
    }

    /// Finds a type by [`PredictionType::id`] or a name used elsewhere (`eps`, `v`, `x0`, `flow`).
    pub fn parse(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "epsilon" | "eps" => Some(PredictionType::Epsilon),
            "v_prediction" | "v-prediction" | "v" | "vpred" => Some(PredictionType::VPrediction),
            "sample" | "x0" => Some(PredictionType::Sample),
            "flow_prediction" | "flow" => Some(PredictionType::Flow),
            _ => None,
        }
    }

    /// The path that a model of this type was trained on.
    pub fn path(self) -> NoisePath {
        match self {
            PredictionType::Flow => NoisePath::Flow,
            _ => NoisePath::VarianceExploding,
        }
    }

    /// What to multiply the state by before the network sees it.
    pub fn input_scale(self, sigma: f64) -> f64 {
        match self {
            PredictionType::Flow => 1.0,
            _ => 1.0 / (sigma * sigma + 1.0).sqrt(),
        }
    }

    /// `(a, b)` of `x0 = a * x + b * output`, with `x` the state (not yet scaled by [`PredictionType::input_scale`]).
    pub fn coefficients(self, sigma: f64) -> (f64, f64) {
        let s2 = sigma * sigma + 1.0;
        match self {
            PredictionType::Epsilon | PredictionType::Flow => (1.0, -sigma),
            PredictionType::VPrediction => (1.0 / s2, -sigma / s2.sqrt()),
            PredictionType::Sample => (0.0, 1.0),
        }
    }

    /// Writes the clean picture that a network's `output` for the state `x` means.
    ///
    /// # Errors
    /// [`SampleError::Length`] where the buffers differ in length.
    pub fn denoised(self, x: &[f32], output: &[f32], sigma: f64, denoised: &mut [f32]) -> Result<(), SampleError> {
        check_length("the network's output", output.len(), x.len())?;
        check_length("the buffer for the clean picture", denoised.len(), x.len())?;
        let (a, b) = self.coefficients(sigma);
        for ((out, &x), &y) in denoised.iter_mut().zip(x).zip(output) {
            *out = (a * f64::from(x) + b * f64::from(y)) as f32;
        }
        Ok(())
    }

    /// What a perfect network answers for the picture `x0` mixed with `noise` at `sigma`: the target of training, and the
    /// way back from a clean picture to an output.
    ///
    /// # Errors
    /// [`SampleError::Length`] where the buffers differ in length.
    pub fn target(self, x0: &[f32], noise: &[f32], sigma: f64) -> Result<Vec<f32>, SampleError> {
        check_length("noise", noise.len(), x0.len())?;
        let norm = (sigma * sigma + 1.0).sqrt();
        let (picture, grain) = match self {
            PredictionType::Epsilon => (0.0, 1.0),
            PredictionType::VPrediction => (-sigma / norm, 1.0 / norm),
            PredictionType::Sample => (1.0, 0.0),
            PredictionType::Flow => (-1.0, 1.0),
        };
        Ok(combine(&[(picture, x0), (grain, noise)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_perfect_output_gives_back_the_picture() {
        let (x0, noise) = ([0.3f32, -1.2, 0.8], [1.1f32, 0.2, -0.7]);
        for kind in PredictionType::ALL {
            assert_eq!(PredictionType::parse(kind.id()), Some(kind));
            for sigma in [0.03, 0.4, 0.9] {
                let x = combine(&[(kind.path().alpha(sigma), &x0), (sigma, &noise)]);
                let output = kind.target(&x0, &noise, sigma).unwrap();
                let mut found = [0f32; 3];
                kind.denoised(&x, &output, sigma, &mut found).unwrap();
                for (a, b) in found.iter().zip(&x0) {
                    assert!((a - b).abs() < 1e-6, "{kind:?} {sigma}: {found:?}");
                }
            }
        }
        assert!(PredictionType::Sample.denoised(&x0, &noise[..2], 1.0, &mut [0.0; 3]).is_err());
    }
}
