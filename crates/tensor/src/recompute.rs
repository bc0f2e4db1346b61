//! Activation checkpointing (Chen et al., "Training deep nets with sublinear memory cost", arXiv:1604.06174).

use crate::error::Result;
use crate::tape::{is_recording, record_opaque, without_recording};
use crate::tensor::Tensor;

/// `f(inputs)`, saving nothing inside: the backward walk runs `f` again and walks through what it then records.
///
/// Gradients reach the inputs, the parameters that `f` uses, and any other tensor that it captures. `f` must compute
/// the same values each time: a random draw inside must be seeded inside.
///
/// # Errors
/// Those of `f`, now or in the backward walk.
pub fn checkpoint(inputs: &[&Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor> + Send + 'static) -> Result<Tensor> {
    let inputs: Vec<Tensor> = inputs.iter().map(|&t| t.clone()).collect();
    let (out, wanted) = without_recording(|| f(&inputs));
    let out = out?;
    if !wanted || !is_recording() {
        return Ok(out);
    }
    Ok(record_opaque("checkpoint", out, Box::new(move |dy, walk| walk.replay(dy, || f(&inputs)))))
}
