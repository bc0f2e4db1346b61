//! Losses, as means over all values; f32.

use danqing_tensor::{DType, Tensor, TensorError};

/// Mean absolute difference.
///
/// # Errors
/// Shapes that differ.
pub fn l1(a: &Tensor, b: &Tensor) -> Result<Tensor, TensorError> {
    a.cast(DType::F32)?.sub(b)?.abs()?.mean_all()
}

/// Share of the squared error of all colours beside that of luma in [`luma_mse`].
const COLOURS: f32 = 0.1;

/// Mean squared difference of the luma (BT.601) of RGB maps `[b, h, w, 3]`, which eyes see and super-resolution is measured by, and a
/// tenth of that of their colours.
///
/// # Errors
/// Shapes that differ, or are not of three channels.
pub fn luma_mse(a: &Tensor, b: &Tensor) -> Result<Tensor, TensorError> {
    let difference = a.cast(DType::F32)?.sub(b)?;
    let channel = |c: usize, share: f32| difference.narrow(3, c, 1)?.mul_scalar(share);
    let luma = channel(0, 0.299)?.add(&channel(1, 0.587)?)?.add(&channel(2, 0.114)?)?;
    luma.square()?.mean_all()?.add(&difference.square()?.mean_all()?.mul_scalar(COLOURS)?)
}

/// Mean squared difference, each row of the batch weighted.
///
/// # Errors
/// Shapes that differ, or weights that are not one a row.
pub fn weighted_mse(a: &Tensor, b: &Tensor, weights: &[f32]) -> Result<Tensor, TensorError> {
    let difference = a.cast(DType::F32)?.sub(b)?.square()?;
    let rows = difference.dim(0);
    let per_row = difference.reshape(&[rows, difference.numel() / rows.max(1)])?.mean(&[1], false)?;
    per_row.mul(&Tensor::from_slice(weights, &[rows])?)?.mean_all()
}

/// Mean absolute difference of the steps between neighbouring pixels of maps `[b, h, w, c]`: keeps edges.
///
/// # Errors
/// Shapes that differ.
pub fn gradient_l1(a: &Tensor, b: &Tensor) -> Result<Tensor, TensorError> {
    let difference = a.cast(DType::F32)?.sub(b)?;
    let steps = |dim: usize| -> Result<Tensor, TensorError> {
        let n = difference.dim(dim);
        difference.narrow(dim, 1, n - 1)?.sub(&difference.narrow(dim, 0, n - 1)?)?.abs()?.mean_all()
    };
    steps(1)?.add(&steps(2)?)
}

/// Divergence of a diagonal Gaussian from the standard one, mean over values (Kingma & Welling 2014, appendix B).
///
/// # Errors
/// Shapes that differ.
pub fn kl(mean: &Tensor, log_variance: &Tensor) -> Result<Tensor, TensorError> {
    let (mean, lv) = (mean.cast(DType::F32)?, log_variance.cast(DType::F32)?);
    mean.square()?.add(&lv.exp()?)?.sub(&lv)?.add_scalar(-1.0)?.mul_scalar(0.5)?.mean_all()
}

/// Weight of the squared v error at a signal-to-noise ratio: 1 where noise rules, `gamma / (snr + 1)` where signal does
/// (min-SNR, Hang et al. 2023, for v-prediction with `snr + 1` clamped, so that the noisiest step is trained too).
pub fn min_snr_v(snr: f64, gamma: f64) -> f32 {
    ((snr + 1.0).min(gamma) / (snr + 1.0)) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(values: &[f32], shape: &[usize]) -> Tensor {
        Tensor::from_slice(values, shape).unwrap()
    }

    #[test]
    fn grey_errors_count_more_than_errors_of_colour() {
        let zero = t(&[0.0; 3], &[1, 1, 1, 3]);
        let loss = |values: [f32; 3]| luma_mse(&t(&values, &[1, 1, 1, 3]), &zero).unwrap().item().unwrap();
        // All channels by 0.2: luma by 0.2 as well.
        assert!((loss([0.2; 3]) - 0.04 * 1.1).abs() < 1e-6);
        // Blue alone: 0.114 of it in luma.
        assert!((loss([0.0, 0.0, 0.3]) - (0.0342_f32.powi(2) + 0.1 * 0.03)).abs() < 1e-6);
    }

    #[test]
    fn values_follow_from_the_formulas() {
        let (a, b) = (t(&[1.0, 2.0, 3.0, 4.0], &[2, 2]), t(&[0.0, 4.0, 3.0, 8.0], &[2, 2]));
        assert_eq!(l1(&a, &b).unwrap().item().unwrap(), 7.0 / 4.0);
        // Rows: (1 + 4) / 2 and (0 + 16) / 2, weighted 2 and 0.5.
        assert_eq!(weighted_mse(&a, &b, &[2.0, 0.5]).unwrap().item().unwrap(), (5.0 + 4.0) / 2.0);
        // A standard Gaussian does not diverge from itself; mean 2 diverges by 2.
        let zero = t(&[0.0, 0.0], &[2]);
        assert_eq!(kl(&zero, &zero).unwrap().item().unwrap(), 0.0);
        assert_eq!(kl(&t(&[2.0, 2.0], &[2]), &zero).unwrap().item().unwrap(), 2.0);
        let (x, y) = (t(&[0.0, 1.0, 0.0, 3.0], &[1, 2, 2, 1]), t(&[0.0; 4], &[1, 2, 2, 1]));
        // Down: |0-0|, |3-1| -> 1; across: |1-0|, |3-0| -> 2.
        assert_eq!(gradient_l1(&x, &y).unwrap().item().unwrap(), 3.0);
        assert_eq!(min_snr_v(0.0, 5.0), 1.0);
        assert_eq!(min_snr_v(9.0, 5.0), 0.5);
    }
}
