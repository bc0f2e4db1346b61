//! Separable Gaussian blur over interleaved channels; edges are repeated.

use crate::Picture;

/// Blurs `values`, `[height, width, channels]`. The kernel reaches 2.5 `sigma` to each side, as in the A1111 web UI's
/// mask blur. A `sigma` that is not above 0 leaves the values as they are.
pub fn gaussian(values: &mut [f32], width: usize, height: usize, channels: usize, sigma: f32) {
    if !(sigma > 0.0 && sigma.is_finite()) || values.len() != width * height * channels {
        return;
    }
    let longest = width.max(height);
    let kernel = kernel(sigma, longest);
    let row = width * channels;
    let mut line = Vec::new();
    for values in values.chunks_exact_mut(row) {
        for channel in 0..channels {
            blur_line(&mut values[channel..], channels, width, &kernel, &mut line);
        }
    }
    for column in 0..row {
        blur_line(&mut values[column..], row, height, &kernel, &mut line);
    }
}

/// A blurred copy of a picture; alpha is blurred as the colours are.
pub fn blurred(picture: &Picture, sigma: f32) -> Picture {
    let mut values: Vec<f32> = picture.pixels().iter().map(|&v| f32::from(v)).collect();
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    gaussian(&mut values, width, height, picture.format().channels(), sigma);
    let mut result = picture.clone();
    for (out, value) in result.pixels_mut().iter_mut().zip(values) {
        *out = (value + 0.5) as u8;
    }
    result
}

/// Half of the symmetric kernel, from the middle outwards; never longer than the line it runs over.
fn kernel(sigma: f32, longest: usize) -> Vec<f32> {
    let radius = ((2.5 * sigma + 0.5) as usize).clamp(1, longest.max(1));
    let half: Vec<f32> = (0..=radius).map(|i| (-0.5 * (i as f32 / sigma).powi(2)).exp()).collect();
    let sum: f32 = half[0] + 2.0 * half[1..].iter().sum::<f32>();
    half.iter().map(|v| v / sum).collect()
}

fn blur_line(values: &mut [f32], stride: usize, count: usize, kernel: &[f32], line: &mut Vec<f32>) {
    let radius = kernel.len() - 1;
    line.clear();
    let at = |i: usize| values[i.saturating_sub(radius).min(count - 1) * stride];
    line.extend((0..count + 2 * radius).map(at));
    for i in 0..count {
        let middle = i + radius;
        let sides = kernel.iter().enumerate().skip(1).map(|(k, weight)| weight * (line[middle - k] + line[middle + k]));
        values[i * stride] = kernel[0] * line[middle] + sides.sum::<f32>();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_spreads_symmetrically_and_keeps_its_sum() {
        let (width, height) = (41, 37);
        let mut values = vec![0.0; width * height];
        values[18 * width + 20] = 100.0;
        gaussian(&mut values, width, height, 1, 3.0);
        assert!((values.iter().sum::<f32>() - 100.0).abs() < 1e-3);
        assert!((values[18 * width + 17] - values[18 * width + 23]).abs() < 1e-6);
        assert!((values[15 * width + 20] - values[18 * width + 17]).abs() < 1e-6);
        // The ratio of neighbours is that of the Gaussian.
        let ratio = values[18 * width + 21] / values[18 * width + 20];
        assert!((ratio - (-0.5f32 / 9.0).exp()).abs() < 1e-4, "{ratio}");
    }

    #[test]
    fn flat_and_tiny_pictures_stay_as_they_are() {
        for sigma in [0.0, 0.3, 5.0, 1e9, f32::NAN, -1.0] {
            let mut values = vec![7.0; 6];
            gaussian(&mut values, 1, 2, 3, sigma);
            assert!(values.iter().all(|v| (v - 7.0).abs() < 1e-4), "{sigma} {values:?}");
        }
    }
}
