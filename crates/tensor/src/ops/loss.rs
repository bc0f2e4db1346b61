//! Losses that are not a chain of simple operations.

use danqing_kernels::pool::PooledBuf;

use crate::error::{Result, argument_error, shape_error};
use crate::storage::DType;
use crate::tape::record;
use crate::tensor::Tensor;

impl Tensor {
    /// Mean cross-entropy of `[…, classes]` logits with one target class per row; f32, shape `[]`.
    ///
    /// # Errors
    /// If the number of targets is not that of the rows, or a target is not a class.
    pub fn cross_entropy(&self, targets: &[u32]) -> Result<Tensor> {
        let classes = self.shape().last().copied().unwrap_or(0);
        if classes == 0 || targets.len() * classes != self.numel() || targets.is_empty() {
            return shape_error("cross_entropy", &[self.shape(), &[targets.len()]], "one target per row is needed");
        }
        if let Some(target) = targets.iter().find(|&&t| t as usize >= classes) {
            return argument_error("cross_entropy", format!("target {target} is not below {classes}"));
        }
        let logs = self.detach().cast(DType::F32)?.log_softmax_last()?;
        let total: f64 =
            logs.data::<f32>().chunks_exact(classes).zip(targets).map(|(r, &t)| f64::from(r[t as usize])).sum();
        let out = Tensor::full(&[], (-total / targets.len() as f64) as f32, DType::F32)?;
        let dtype = self.dtype();
        Ok(record("cross_entropy", out, &[self], &[], |_| {
            let targets = targets.to_vec();
            Box::new(move |dy, walk| {
                let scale = dy.item()? / targets.len() as f32;
                let mut dx = PooledBuf::<f32>::dirty(logs.numel());
                let rows = dx.chunks_exact_mut(classes).zip(logs.data::<f32>().chunks_exact(classes));
                for ((dx, logs), &target) in rows.zip(&targets) {
                    dx.iter_mut().zip(logs).for_each(|(d, l)| *d = l.exp() * scale);
                    dx[target as usize] -= scale;
                }
                walk.add(0, Tensor::wrap(dx, logs.dims()).cast(dtype)?)
            })
        }))
    }
}
