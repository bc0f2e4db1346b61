//! Linear combinations of states. Sums are made in f64 and rounded once: latents are small, and this keeps twenty steps
//! of f32 within 1e-6 of a computation in f64.

/// `sum of coefficient * vector`; all vectors are equally long. A zero coefficient drops its vector, infinities included.
pub(crate) fn combine(terms: &[(f64, &[f32])]) -> Vec<f32> {
    let len = terms.first().map_or(0, |(_, v)| v.len());
    let mut sum = vec![0f64; len];
    for (c, v) in terms.iter().filter(|(c, _)| *c != 0.0) {
        for (s, &value) in sum.iter_mut().zip(*v) {
            *s += c * f64::from(value);
        }
    }
    sum.into_iter().map(|s| s as f32).collect()
}
