//! Light instead of stored values: the transfer function of sRGB, and resampling that averages light, row by row.
//!
//! Stored values are not proportional to light; their mean is darker than the mean of what they stand for, so fine bright
//! detail fades where a picture shrinks and edges of saturated colours grow dark seams. Colours under alpha are weighted with it:
//! what cannot be seen does not leak into what can.
//!
//! Source: IEC 61966-2-1.

use crate::ImagingError;
use crate::resample::{Kernel, RowResampler};

/// The light that a stored value in 0…1 stands for. Values below zero, which filters leave, mirror those above.
pub fn srgb_to_light(v: f32) -> f32 {
    let size = v.abs();
    let light = if size <= 0.040_45 { size / 12.92 } else { ((size + 0.055) / 1.055).powf(2.4) };
    light.copysign(v)
}

/// The stored value of an amount of light.
pub fn light_to_srgb(v: f32) -> f32 {
    let size = v.abs();
    let stored = if size <= 0.003_130_8 { size * 12.92 } else { 1.055 * size.powf(1.0 / 2.4) - 0.055 };
    stored.copysign(v)
}

/// A [`RowResampler`] for pictures: with alpha weighted, in light or in stored values.
#[derive(Debug)]
pub struct ColourResampler {
    rows: RowResampler,
    channels: usize,
    linear: bool,
    prepared: Vec<f32>,
    finished: Vec<f32>,
}

impl ColourResampler {
    /// From `from` (width, height) to `to`, for rows of values in 0…1: grey, grey and alpha, RGB or RGBA. `linear` averages
    /// light; else stored values are averaged, as most programs do.
    ///
    /// # Errors
    /// [`ImagingError::Argument`] for another number of channels than 1…4.
    pub fn new(
        from: (usize, usize),
        to: (usize, usize),
        channels: usize,
        kernel: Kernel,
        linear: bool,
    ) -> Result<Self, ImagingError> {
        if !(1..=4).contains(&channels) {
            return Err(ImagingError::argument("channels", format!("{channels} are not 1 to 4")));
        }
        let rows = RowResampler::new(from, to, channels, kernel);
        Ok(Self { rows, channels, linear, prepared: Vec::new(), finished: Vec::new() })
    }

    /// Values of an input row.
    pub fn row_len(&self) -> usize {
        self.rows.row_len()
    }

    /// Takes the next row and hands every output row that is complete to `emit`. Alpha is cut to 0…1; colours may lie a
    /// little outside where the filter overshoots.
    ///
    /// # Errors
    /// What `emit` returns; nothing should be pushed after that.
    pub fn push<E>(&mut self, row: &[f32], mut emit: impl FnMut(&[f32]) -> Result<(), E>) -> Result<(), E> {
        let (channels, linear) = (self.channels, self.linear);
        let to_light = |v: f32| if linear { srgb_to_light(v) } else { v };
        let to_stored = |v: f32| if linear { light_to_srgb(v) } else { v };
        let colours = if channels.is_multiple_of(2) { channels - 1 } else { channels };
        self.prepared.clear();
        for pixel in row.chunks_exact(channels) {
            let alpha = pixel.get(colours).copied();
            self.prepared.extend(pixel[..colours].iter().map(|v| to_light(*v) * alpha.unwrap_or(1.0)));
            self.prepared.extend(alpha);
        }
        let finished = &mut self.finished;
        self.rows.push(&self.prepared, |line| {
            finished.clear();
            for pixel in line.chunks_exact(channels) {
                let alpha = pixel.get(colours).copied();
                // Colours overshoot as alpha does, so they are divided by what the filter made of it, not by what is kept.
                let share = match alpha {
                    // Nothing is seen there: any colour is right, black compresses best.
                    Some(a) if a < 1e-6 => 0.0,
                    Some(a) => 1.0 / a,
                    None => 1.0,
                };
                finished.extend(pixel[..colours].iter().map(|v| to_stored(v * share)));
                finished.extend(alpha.map(|a| a.clamp(0.0, 1.0)));
            }
            emit(finished)
        })
    }
}

/// Resamples a whole picture of interleaved values in 0…1; see [`ColourResampler::new`].
///
/// # Errors
/// As [`ColourResampler::new`].
pub fn resample_colours(
    values: &[f32],
    from: (usize, usize),
    to: (usize, usize),
    channels: usize,
    kernel: Kernel,
    linear: bool,
) -> Result<Vec<f32>, ImagingError> {
    let mut rows = ColourResampler::new(from, to, channels, kernel, linear)?;
    let mut out = Vec::with_capacity(to.0 * to.1 * channels);
    for row in values.chunks_exact(rows.row_len().max(1)) {
        rows.push(row, |line| {
            out.extend_from_slice(line);
            Ok::<(), ImagingError>(())
        })?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_and_meet_the_standard() {
        for v in [-0.5, 0.0, 0.01, 0.040_45, 0.2, 0.735_356_9, 1.0, 1.3] {
            assert!((light_to_srgb(srgb_to_light(v)) - v).abs() < 1e-5, "{v}");
        }
        // Half of the light is stored as 188 of 255.
        assert!((light_to_srgb(0.5) * 255.0 - 187.52).abs() < 0.01);
        assert!((srgb_to_light(128.0 / 255.0) - 0.215_86).abs() < 1e-5);
    }

    #[test]
    fn fine_lines_keep_their_light() {
        let lines: Vec<f32> = (0..64 * 64).map(|i| (i % 2) as f32).collect();
        let half = |linear: bool| resample_colours(&lines, (64, 64), (32, 32), 1, Kernel::Box, linear).unwrap();
        assert!(half(true).iter().all(|v| (v - 0.735_36).abs() < 1e-4));
        assert!(half(false).iter().all(|v| (v - 0.5).abs() < 1e-6));
    }

    #[test]
    fn hidden_colours_do_not_leak() {
        // Red, and bright green under full transparency beside it.
        let pixel = |i: usize| if i % 16 < 8 { [1.0, 0.0, 0.0, 1.0] } else { [0.0, 1.0, 0.0, 0.0] };
        let values: Vec<f32> = (0..256).flat_map(pixel).collect();
        for linear in [false, true] {
            let small = resample_colours(&values, (16, 16), (5, 5), 4, Kernel::Bicubic, linear).unwrap();
            for pixel in small.chunks_exact(4).filter(|p| p[3] > 0.01) {
                assert!((pixel[0] - 1.0).abs() < 1e-4 && pixel[1].abs() < 1e-4, "{pixel:?}");
            }
        }
        assert!(ColourResampler::new((4, 4), (2, 2), 5, Kernel::Box, true).is_err());
    }
}
