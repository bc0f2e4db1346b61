//! The embedded upscalers: networks of our own inside the program, so that pictures are enlarged without a download. The cards beside
//! their files in `upscalers/` say what each was trained on and what it reaches.

use std::path::Path;

use danqing_checkpoints::Weights;
use danqing_models::upscalers::{Upscaler, open_upscaler};
use danqing_nn::LoadOptions;

use crate::TaskError;
use crate::tasks::enlarge::open_network;

/// What a network was trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// Photographs, and whatever is as rich.
    Photograph,
    /// Drawings, icons, writing.
    Drawing,
    /// Frames of a video, one after the other in little time.
    Video,
    /// Noisy photographs and traces of JPEG, of which clean ones of the same size are made.
    Damage,
}

/// A network inside the program.
#[derive(Debug)]
pub struct EmbeddedUpscaler {
    /// Its name.
    pub name: &'static str,
    /// Sides of the result per side of the input.
    pub scale: usize,
    /// What it is for.
    pub subject: Subject,
    bytes: &'static [u8],
}

macro_rules! embedded {
    ($name:literal, $scale:literal, $subject:ident) => {
        EmbeddedUpscaler {
            name: $name,
            scale: $scale,
            subject: Subject::$subject,
            bytes: include_bytes!(concat!("../../../upscalers/", $name, ".safetensors")),
        }
    };
}

/// Every network, those of one subject by their scale.
pub static EMBEDDED_UPSCALERS: &[EmbeddedUpscaler] = &[
    embedded!("photo-x2", 2, Photograph),
    embedded!("photo-x4", 4, Photograph),
    embedded!("art-x4", 4, Drawing),
    embedded!("live-x2", 2, Video),
    embedded!("clean-x1", 1, Damage),
];

/// Enlargements beyond what networks do by less than this share are left to the filter.
const SLIGHT: f64 = 1.01;

impl EmbeddedUpscaler {
    /// Loads it.
    ///
    /// # Errors
    /// Only when the program was built from damaged files.
    pub fn open(&self, options: &LoadOptions) -> Result<Box<dyn Upscaler>, TaskError> {
        Ok(open_upscaler(&Weights::from_static(&format!("upscalers/{}", self.name), self.bytes)?, options)?)
    }
}

/// The network of this name.
pub fn embedded_upscaler(name: &str) -> Option<&'static EmbeddedUpscaler> {
    EMBEDDED_UPSCALERS.iter().find(|network| network.name == name)
}

/// Opens the embedded network of this name, or else the file at this path.
///
/// # Errors
/// As [`open_network`].
pub fn open_named(wanted: &str, options: &LoadOptions) -> Result<Box<dyn Upscaler>, TaskError> {
    match embedded_upscaler(wanted) {
        Some(embedded) => embedded.open(options),
        None => open_network(Path::new(wanted), options),
    }
}

/// The networks that make pictures of a subject at least `factor` times as large, in their order: as few as it takes, none for
/// what is hardly an enlargement.
pub fn enlarging(subject: Subject, factor: f64) -> Vec<&'static EmbeddedUpscaler> {
    let fitting = || EMBEDDED_UPSCALERS.iter().filter(|network| network.subject == subject && network.scale > 1);
    let (mut chain, mut left) = (Vec::new(), factor);
    while left > SLIGHT {
        let enough = fitting().find(|network| network.scale as f64 * SLIGHT >= left);
        let Some(next) = enough.or_else(|| fitting().next_back()) else { break };
        chain.push(next);
        left /= next.scale as f64;
    }
    chain
}

#[cfg(test)]
mod tests {
    use danqing_tensor::{DType, Tensor};

    use super::*;

    #[test]
    fn each_opens_and_is_what_the_table_says() {
        for network in EMBEDDED_UPSCALERS {
            let opened = network.open(&LoadOptions::inference(DType::F32)).unwrap();
            let info = opened.info();
            assert_eq!((info.scale, info.channels), (network.scale, 3), "{}", network.name);
            let grey = Tensor::full(&[1, 32, 32, 3], 0.5, DType::F32).unwrap();
            let made = opened.forward(&grey).unwrap().to_vec();
            // At the border the networks see the zeros beyond it.
            let (side, border) = (32 * network.scale, 8 * network.scale);
            let inside = |at: usize| (border..side - border).contains(&at);
            let mut inner = made.chunks_exact(3).enumerate().filter(|(i, _)| inside(i / side) && inside(i % side));
            assert!(inner.all(|(_, pixel)| pixel.iter().all(|v| (v - 0.5).abs() < 0.03)), "{}", network.name);
            assert!(network.subject != Subject::Video || info.parameters <= 12_000, "{}", network.name);
            assert!(embedded_upscaler(network.name).is_some());
        }
    }

    #[test]
    fn as_few_as_it_takes() {
        let names = |subject, factor| enlarging(subject, factor).iter().map(|n| n.name).collect::<Vec<_>>();
        for (factor, photograph, drawing, video) in [
            (0.5, &[][..], &[][..], &[][..]),
            (1.0, &[], &[], &[]),
            (1.5, &["photo-x2"], &["art-x4"], &["live-x2"]),
            (2.0, &["photo-x2"], &["art-x4"], &["live-x2"]),
            (3.3, &["photo-x4"], &["art-x4"], &["live-x2", "live-x2"]),
            (4.0, &["photo-x4"], &["art-x4"], &["live-x2", "live-x2"]),
            (6.0, &["photo-x4", "photo-x2"], &["art-x4", "art-x4"], &["live-x2"; 3]),
            (16.0, &["photo-x4", "photo-x4"], &["art-x4", "art-x4"], &["live-x2"; 4]),
        ] {
            assert_eq!(names(Subject::Photograph, factor), photograph, "{factor}");
            assert_eq!(names(Subject::Drawing, factor), drawing, "{factor}");
            assert_eq!(names(Subject::Video, factor), video, "{factor}");
        }
        assert!(enlarging(Subject::Damage, 2.0).is_empty());
    }
}
