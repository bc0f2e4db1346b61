//! What a picture needs before and while it is enlarged, told by looking at it.

use danqing_imaging::analyse::{Analysis, JpegQuality, Kind};

use crate::embedded_upscalers::Subject;

/// What a picture was seen to be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// Photograph, drawing or text.
    pub kind: Kind,
    /// Standard deviation of its noise, in levels of 255.
    pub noise: f32,
    /// Quality of the JPEG that it is, 1…100.
    pub quality: Option<u8>,
    /// How plainly blocks of a JPEG stand out, 0…1.
    pub blocks: Option<f32>,
}

/// Noise that is left, and from which the whole of the cleaning is taken. These and the next ones follow the share that brought Kodak
/// photographs nearest to what they were, after noise or JPEG, when clean-x1 had taken 683 steps.
const NOISE: (f32, f32) = (1.2, 8.5);
/// The same for the quality of a JPEG; less is worse.
const QUALITY: (f32, f32) = (100.0, 60.0);
/// The same for its blocks.
const BLOCKS: (f32, f32) = (0.0, 0.48);
/// Less than this share is not worth a network.
const LEAST: f32 = 0.15;

impl Seen {
    /// From the analysis of a picture, and the quality that its file states.
    pub fn new(analysis: &Analysis, quality: Option<JpegQuality>) -> Self {
        Self {
            kind: analysis.kind,
            noise: analysis.noise,
            quality: quality.map(|quality| quality.luma),
            blocks: analysis.blocking.map(|blocking| blocking.contrast),
        }
    }

    /// How much of what a cleaning network changes should be taken, 0…1: as much as the worst of noise, quality and blocks asks for.
    pub fn cleaning(&self) -> f32 {
        let share = |value: f32, (none, whole): (f32, f32)| ((value - none) / (whole - none)).clamp(0.0, 1.0);
        let quality = self.quality.map_or(0.0, |quality| share(f32::from(quality), QUALITY));
        let blocks = self.blocks.map_or(0.0, |blocks| share(blocks, BLOCKS));
        let worst = share(self.noise, NOISE).max(quality).max(blocks);
        if worst < LEAST { 0.0 } else { worst }
    }

    /// Which networks enlarge it: writing has the edges of a drawing.
    pub fn subject(&self) -> Subject {
        match self.kind {
            Kind::Photograph => Subject::Photograph,
            Kind::Drawing | Kind::Text => Subject::Drawing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_decides_and_what_is_good_is_left_alone() {
        let seen = |noise, quality, blocks| Seen { kind: Kind::Photograph, noise, quality, blocks };
        for (seen, wanted) in [
            (seen(0.0, None, None), 0.0),
            (seen(2.0, Some(95), None), 0.0),
            (seen(4.85, None, None), 0.5),
            (seen(30.0, Some(90), None), 1.0),
            (seen(1.0, Some(72), Some(0.1)), 0.7),
            (seen(1.0, Some(98), Some(0.45)), 0.9375),
            (seen(1.0, Some(20), None), 1.0),
        ] {
            assert!((seen.cleaning() - wanted).abs() < 1e-5, "{seen:?}: {}", seen.cleaning());
        }
        assert_eq!(Seen { kind: Kind::Text, ..seen(0.0, None, None) }.subject(), Subject::Drawing);
    }
}
