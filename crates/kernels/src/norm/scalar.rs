//! The formulas in double precision, one group or row at a time.

/// Indices of every group of `[batch, pixels, channels]`, image by image.
pub(super) fn groups(batch: usize, pixels: usize, channels: usize, groups: usize) -> Vec<Vec<usize>> {
    let width = channels / groups;
    let mut all = vec![];
    for image in 0..batch {
        for g in 0..groups {
            let at = |p: usize, c: usize| (image * pixels + p) * channels + g * width + c;
            all.push((0..pixels).flat_map(|p| (0..width).map(move |c| at(p, c))).collect());
        }
    }
    all
}

/// Normalised values x̂, for each set of indices.
pub(super) fn normalise(x: &[f64], sets: &[Vec<usize>], epsilon: f64) -> Vec<f64> {
    let mut out = vec![0.0; x.len()];
    for set in sets {
        let n = set.len() as f64;
        let mean = set.iter().map(|&i| x[i]).sum::<f64>() / n;
        let variance = set.iter().map(|&i| (x[i] - mean).powi(2)).sum::<f64>() / n;
        set.iter().for_each(|&i| out[i] = (x[i] - mean) / (variance + epsilon).sqrt());
    }
    out
}
