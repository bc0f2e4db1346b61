//! What a network predicts, and who says so: folder configuration, file metadata or marker tensors, a sidecar yaml, the
//! user, or one probe evaluation, in this order.

use std::fmt;

use danqing_checkpoints::Weights;
use danqing_sampling::PredictionType;
use danqing_tensor::{DType, Tensor, TensorError};

use crate::unet::{Unet, UnetConditioning};

/// Who said what the network predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredictionSource {
    /// A folder's `scheduler_config.json`.
    Configuration,
    /// A file's metadata.
    Metadata,
    /// Marker tensors in the file.
    Marker,
    /// A yaml file beside the checkpoint.
    Sidecar,
    /// The user.
    User,
    /// The family: all its releases agree.
    Family,
    /// One evaluation of the network.
    Probe,
}

impl fmt::Display for PredictionSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configuration => "the folder's configuration",
            Self::Metadata => "the file's metadata",
            Self::Marker => "a marker tensor in the file",
            Self::Sidecar => "the yaml file beside it",
            Self::User => "your setting",
            Self::Family => "its family",
            Self::Probe => "a probe evaluation",
        })
    }
}

/// What a network predicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Predicts {
    /// The prediction type.
    pub prediction: PredictionType,
    /// Who says so.
    pub source: PredictionSource,
    /// Whether it was trained down to no signal at all.
    pub zero_snr: bool,
}

impl fmt::Display for Predicts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snr = if self.zero_snr { ", zero terminal SNR" } else { "" };
        write!(f, "{}{snr} (from {})", self.prediction.id(), self.source)
    }
}

/// What a single file and the yaml beside it say: prediction type with its source, and zero-SNR.
pub(super) fn of_single(
    weights: &Weights,
    sidecar: Option<&str>,
) -> (Option<(PredictionType, PredictionSource)>, bool) {
    let zero_marker = weights.contains("ztsnr");
    let metadata = weights.metadata();
    let said = metadata.get("modelspec.prediction_type").or_else(|| metadata.get("prediction_type"));
    if let Some(prediction) = said.and_then(|s| PredictionType::parse(s)) {
        return (Some((prediction, PredictionSource::Metadata)), zero_marker);
    }
    if metadata.get("modelspec.architecture").is_some_and(|a| a.ends_with("-768-v")) {
        return (Some((PredictionType::VPrediction, PredictionSource::Metadata)), zero_marker);
    }
    if weights.contains("v_pred") {
        return (Some((PredictionType::VPrediction, PredictionSource::Marker)), zero_marker);
    }
    let Some(text) = sidecar else { return (None, zero_marker) };
    let value = |key: &str| {
        text.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == key).then(|| value.split('#').next().unwrap_or("").trim().trim_matches(['"', '\'']))
        })
    };
    let prediction = value("parameterization").and_then(PredictionType::parse);
    let zero = zero_marker || value("zero_terminal_snr").or(value("ztsnr")) == Some("true");
    (prediction.map(|p| (p, PredictionSource::Sidecar)), zero)
}

/// Tells epsilon from v by one evaluation at the last timestep: there a v network answers with the negative picture,
/// an epsilon network with the input itself. The threshold on the mean is the one that the A1111 web UI uses.
pub(super) fn probe(unet: &Unet) -> Result<PredictionType, TensorError> {
    let config = unet.config();
    let side = config.downscale().max(8);
    let sample = Tensor::full(&[1, side, side, config.in_channels], 0.5, DType::F32)?;
    let context = Tensor::full(&[1, 2, config.cross_attention_dim], 0.5, DType::F32)?;
    let conditioning = UnetConditioning { context, added: None, guidance: None };
    let out = unet.forward(&sample, &[999.0], &conditioning)?.to_vec();
    let mean = out.iter().map(|v| f64::from(*v) - 0.5).sum::<f64>() / out.len() as f64;
    Ok(if mean < -1.0 { PredictionType::VPrediction } else { PredictionType::Epsilon })
}
