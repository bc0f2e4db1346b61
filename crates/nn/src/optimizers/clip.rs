//! Limiting the length of the gradient (Pascanu et al., arXiv:1211.5063).

use danqing_kernels::elementwise::sum_of_squares;
use danqing_tensor::Gradients;

use crate::store::ParamStore;

/// Euclidean length of all gradients together; NaN or infinite if one of them is.
pub fn grad_norm(store: &ParamStore, gradients: &Gradients) -> f64 {
    store.iter().filter_map(|param| gradients.slice(param)).map(sum_of_squares).sum::<f64>().sqrt()
}

/// The factor that makes gradients of length `norm` at most `max` long: for [`crate::AdamW::step_scaled`], which saves a pass
/// over them. 1 for a length that is not finite: skip such a step.
pub fn clip_scale(norm: f64, max: f64) -> f32 {
    // As PyTorch: 1e-6 keeps the quotient finite.
    if norm > max && norm.is_finite() { (max / (norm + 1e-6)) as f32 } else { 1.0 }
}

/// Scales all gradients so that their length is at most `max`; returns the length before.
///
/// A length that is not finite is returned without scaling: skip such a step.
pub fn clip_grad_norm(store: &ParamStore, gradients: &mut Gradients, max: f64) -> f64 {
    let norm = grad_norm(store, gradients);
    let scale = clip_scale(norm, max);
    if scale != 1.0 {
        for param in store.iter() {
            if let Some(values) = gradients.slice_mut(param) {
                values.iter_mut().for_each(|v| *v *= scale);
            }
        }
    }
    norm
}
