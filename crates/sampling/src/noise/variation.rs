//! Variations: noise between the noise of two seeds.

use super::NoiseShape;

/// A second seed, and how far to go towards its noise (A1111's subseed).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Variation {
    /// The other seed; picture `i` takes `seed + i`.
    pub seed: u64,
    /// 0: the picture's own noise; 1: the other.
    pub strength: f64,
}

/// Spherical interpolation from `low` to `high` for one picture of `shape`, as A1111 computes it: angles are measured along
/// the height, separately for each channel and column; nearly parallel noise is mixed straight (with the ends swapped, a
/// slip of A1111's that never shows).
pub(crate) fn slerp(shape: NoiseShape, strength: f64, low: &[f32], high: &[f32]) -> Vec<f32> {
    let (h, w) = (shape.height, shape.width);
    let column = |c: usize, x: usize| (0..h).map(move |y| (c * h + y) * w + x);
    let angles: Vec<f64> = (0..shape.channels * w)
        .map(|i| {
            let sum = |a: &[f32], b: &[f32]| -> f64 {
                column(i / w, i % w).map(|at| f64::from(a[at]) * f64::from(b[at])).sum()
            };
            sum(low, high) / (sum(low, low) * sum(high, high)).sqrt()
        })
        .collect();
    let mut out = vec![0f32; low.len()];
    let straight = angles.iter().sum::<f64>() / angles.len() as f64 > 0.9995;
    for (i, cosine) in angles.iter().enumerate() {
        let omega = libm::acos(cosine.clamp(-1.0, 1.0));
        let so = libm::sin(omega);
        let (a, b) = if straight || so == 0.0 {
            (strength, 1.0 - strength)
        } else {
            (libm::sin((1.0 - strength) * omega) / so, libm::sin(strength * omega) / so)
        };
        for at in column(i / w, i % w) {
            out[at] = (a * f64::from(low[at]) + b * f64::from(high[at])) as f32;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_and_middle() {
        let shape = NoiseShape { batch: 1, channels: 1, height: 2, width: 2 };
        let (low, high) = ([1.0f32, 0.0, 0.0, 1.0], [0.0f32, 1.0, 1.0, 0.0]);
        assert_eq!(slerp(shape, 0.0, &low, &high), low);
        let middle = slerp(shape, 0.5, &low, &high);
        assert!(middle.iter().all(|v| (v - std::f32::consts::FRAC_1_SQRT_2).abs() < 1e-6));
    }
}
