//! How near a picture is to another: PSNR and SSIM on luma as super-resolution is measured.
//!
//! Source: Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004 (11 × 11 Gaussian
//! window, σ = 1.5, K = 0.01 and 0.03, valid positions only); luma of ITU-R BT.601 in studio range, as MATLAB's `rgb2ycbcr`.

use crate::{ImagingError, Picture};

/// Measures of one picture against another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// Peak signal-to-noise ratio on luma in dB; infinite for equal pictures.
    pub psnr: f64,
    /// Structural similarity on luma, 1 for equal pictures.
    pub ssim: f64,
    /// Peak signal-to-noise ratio over all colour values in dB.
    pub psnr_rgb: f64,
    /// Largest difference of a colour value, 0–255.
    pub largest: u8,
}

const WINDOW: usize = 11;
const SIGMA: f64 = 1.5;

/// Compares two pictures of one size without their outermost `border` pixels (a scale's usual crop). Alpha is not looked at.
///
/// # Errors
/// [`ImagingError::Argument`] when the sizes differ or less than the window of 11 pixels is left.
pub fn compare(a: &Picture, b: &Picture, border: u32) -> Result<Quality, ImagingError> {
    let size = |p: &Picture| (p.width(), p.height());
    if size(a) != size(b) {
        let ((w, h), (v, g)) = (size(a), size(b));
        return Err(ImagingError::argument(
            "pictures",
            format!("{w}x{h} and {v}x{g} cannot be compared; bring them to one size"),
        ));
    }
    let left = |side: u32| side.saturating_sub(border.saturating_mul(2)) as usize;
    let (width, height) = (left(a.width()), left(a.height()));
    if width < WINDOW || height < WINDOW {
        let reason =
            format!("{width}x{height} pixels are left inside the border; at least {WINDOW}x{WINDOW} are needed");
        return Err(ImagingError::argument("border", reason));
    }
    let inner = |p: &Picture| p.crop(border, border, width as u32, height as u32);
    let (a, b) = (inner(a)?, inner(b)?);
    let (colours_a, colours_b) = (colours(&a), colours(&b));
    let pairs = || colours_a.iter().zip(&colours_b);
    let largest = pairs().map(|(x, y)| x.abs_diff(*y)).max().unwrap_or(0);
    let squared: f64 = pairs().map(|(x, y)| f64::from(x.abs_diff(*y)).powi(2)).sum();
    let (luma_a, luma_b) = (luma(&colours_a), luma(&colours_b));
    let luma_squared: f64 = luma_a.iter().zip(&luma_b).map(|(x, y)| (x - y) * (x - y)).sum();
    Ok(Quality {
        psnr: decibels(luma_squared / luma_a.len() as f64),
        ssim: ssim(&luma_a, &luma_b, width, height),
        psnr_rgb: decibels(squared / colours_a.len() as f64),
        largest,
    })
}

fn decibels(mean_square: f64) -> f64 {
    if mean_square == 0.0 { f64::INFINITY } else { 10.0 * (255.0 * 255.0 / mean_square).log10() }
}

fn colours(picture: &Picture) -> Vec<u8> {
    let channels = picture.format().channels();
    picture.pixels().chunks_exact(channels).flat_map(|p| [p[0], p[1], p[2]]).collect()
}

fn luma(colours: &[u8]) -> Vec<f64> {
    let weigh = |p: &[u8]| 65.481 * f64::from(p[0]) + 128.553 * f64::from(p[1]) + 24.966 * f64::from(p[2]);
    colours.chunks_exact(3).map(|p| weigh(p) / 255.0 + 16.0).collect()
}

/// Mean structural similarity of two maps of values 0–255.
fn ssim(a: &[f64], b: &[f64], width: usize, height: usize) -> f64 {
    let (c1, c2) = ((0.01f64 * 255.0).powi(2), (0.03f64 * 255.0).powi(2));
    let product = |x: &[f64], y: &[f64]| -> Vec<f64> { x.iter().zip(y).map(|(x, y)| x * y).collect() };
    let blurred = |v: &[f64]| blur(v, width, height);
    let (mean_a, mean_b) = (blurred(a), blurred(b));
    let (aa, bb, ab) = (blurred(&product(a, a)), blurred(&product(b, b)), blurred(&product(a, b)));
    let mut sum = 0.0;
    for i in 0..mean_a.len() {
        let (ma, mb) = (mean_a[i], mean_b[i]);
        let (va, vb, covariance) = (aa[i] - ma * ma, bb[i] - mb * mb, ab[i] - ma * mb);
        sum += (2.0 * ma * mb + c1) * (2.0 * covariance + c2) / ((ma * ma + mb * mb + c1) * (va + vb + c2));
    }
    sum / mean_a.len() as f64
}

/// The Gaussian mean at every position where the window lies inside.
fn blur(values: &[f64], width: usize, height: usize) -> Vec<f64> {
    let middle = (WINDOW / 2) as f64;
    let bell: Vec<f64> = (0..WINDOW).map(|i| (-(i as f64 - middle).powi(2) / (2.0 * SIGMA * SIGMA)).exp()).collect();
    let sum: f64 = bell.iter().sum();
    let out_width = width + 1 - WINDOW;
    let mut rows = vec![0.0; height * out_width];
    for (row, out) in values.chunks_exact(width).zip(rows.chunks_exact_mut(out_width)) {
        for (x, out) in out.iter_mut().enumerate() {
            *out = row[x..x + WINDOW].iter().zip(&bell).map(|(v, w)| v * w).sum::<f64>() / sum;
        }
    }
    let mut out = vec![0.0; (height + 1 - WINDOW) * out_width];
    for (y, line) in out.chunks_exact_mut(out_width).enumerate() {
        for (row, weight) in rows[y * out_width..].chunks_exact(out_width).zip(&bell) {
            line.iter_mut().zip(row).for_each(|(sum, v)| *sum += v * weight);
        }
        line.iter_mut().for_each(|v| *v /= sum);
    }
    out
}
