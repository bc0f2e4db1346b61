//! Writing the watermark.

use danqing_imaging::Picture;

use super::pattern::{Pattern, WatermarkKey, bits_of};
use super::plane::Plane;
use super::{CHIP, CHIPS};

/// How strong the mark is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EmbedOptions {
    /// Distance to the picture without it, in dB of luma; smaller is stronger. Flat pictures stay farther away.
    pub psnr: f64,
}

impl Default for EmbedOptions {
    fn default() -> Self {
        Self { psnr: 41.3 }
    }
}

/// Radius in pixels around which the eye overlooks changes where much happens.
const AROUND: usize = 4;
/// What a pixel may change where nothing happens around it, by how much of the deviation around it more, and at most; before all is scaled.
const GAIN: (f32, f32, f32) = (1.0, 0.22, 5.0);
/// The scale never makes flat places change by more than this many levels.
const FLATTEST: f32 = 1.6;

/// Writes `message` into a picture, and returns the distance to what it was in dB of luma.
///
/// Pictures with a side under [`super::SMALLEST`] carry no whole pattern; what fits is written.
pub fn embed(picture: &mut Picture, key: &WatermarkKey, message: u32, options: &EmbedOptions) -> f64 {
    let before = Plane::luma(picture);
    let pattern = Pattern::new(key);
    let bits = bits_of(message);
    let chips: Vec<f32> = (0..CHIPS * CHIPS)
        .map(|chip| {
            let carried = if bits[pattern.bit[chip]] { pattern.sign[chip] } else { -pattern.sign[chip] };
            (pattern.pilot[chip] + carried) * std::f32::consts::FRAC_1_SQRT_2
        })
        .collect();
    let (floor, slope, most) = GAIN;
    let gain = before.deviation(AROUND).map(|_, deviation| (floor + slope * deviation).min(most));
    let Plane { width, height, .. } = before;
    let chip_at = |i: usize| {
        let (x, y) = (i % width / CHIP % CHIPS, i / width / CHIP % CHIPS);
        chips[y * CHIPS + x]
    };
    // Edges of chips are softened: they show, and carry nothing.
    let change = gain.map(|i, gain| gain * chip_at(i)).mean(1);
    let energy = |scale: f32| {
        let squares = change.values.iter().zip(&before.values).map(|(change, luma)| {
            let after = (luma + change * scale).clamp(0.0, 255.0);
            f64::from(after - luma).powi(2)
        });
        squares.sum::<f64>() / (width * height).max(1) as f64
    };
    let wanted = 255.0_f64.powi(2) / 10.0_f64.powf(options.psnr / 10.0);
    let flattest = FLATTEST / floor;
    // What is clipped at white and black carries less: the scale is found by halving.
    let (mut low, mut high) = (0.0, flattest);
    if energy(flattest) > wanted {
        for _ in 0..20 {
            let middle = (low + high) / 2.0;
            if energy(middle) > wanted { high = middle } else { low = middle }
        }
    } else {
        low = flattest;
    }
    let channels = picture.format().channels();
    let colours = if channels >= 3 { 3 } else { 1 };
    for (pixel, change) in picture.pixels_mut().chunks_exact_mut(channels).zip(&change.values) {
        for value in &mut pixel[..colours] {
            *value = (f32::from(*value) + change * low).round().clamp(0.0, 255.0) as u8;
        }
    }
    let after = Plane::luma(picture);
    let squares = after.values.iter().zip(&before.values).map(|(a, b)| f64::from(a - b).powi(2));
    let mse = squares.sum::<f64>() / (width * height).max(1) as f64;
    10.0 * (255.0_f64.powi(2) / mse).log10()
}
