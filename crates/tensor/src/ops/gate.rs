//! SPAN's parameter-free attention (Wan et al., arXiv:2311.12770).

use danqing_kernels::elementwise::{sigmoid_gate, sigmoid_gate_grad};
use danqing_kernels::pool::PooledBuf;

use crate::error::{Result, argument_error, shape_error};
use crate::storage::dispatch;
use crate::tape::record;
use crate::tensor::Tensor;

impl Tensor {
    /// `(h + residual) · (sigmoid(h) - ½)`, `h` being this tensor.
    ///
    /// # Errors
    /// If shapes or types differ.
    pub fn sigmoid_gate(&self, residual: &Tensor) -> Result<Tensor> {
        if self.shape() != residual.shape() {
            return shape_error("sigmoid_gate", &[self.shape(), residual.shape()], "shapes must be equal");
        }
        if self.dtype() != residual.dtype() {
            let why = format!("{:?} and {:?} are not one type", self.dtype(), residual.dtype());
            return argument_error("sigmoid_gate", why);
        }
        let (h, x) = (self.dense(), residual.dense());
        let out = dispatch!(h.dtype(), E => {
            let mut out = PooledBuf::<E>::dirty(h.numel());
            sigmoid_gate(h.data::<E>(), x.data::<E>(), &mut out);
            Tensor::wrap(out, h.dims())
        });
        Ok(record("sigmoid_gate", out, &[self, residual], &[], |_| {
            Box::new(move |dy, walk| {
                let dy = dy.dense();
                let (dh, dx) = dispatch!(h.dtype(), E => {
                    let (mut dh, mut dx) = (PooledBuf::<E>::dirty(h.numel()), PooledBuf::<E>::dirty(h.numel()));
                    sigmoid_gate_grad(h.data::<E>(), x.data::<E>(), dy.data::<E>(), &mut dh, &mut dx);
                    (Tensor::wrap(dh, h.dims()), Tensor::wrap(dx, h.dims()))
                });
                if walk.needs(0) {
                    walk.add(0, dh)?;
                }
                if walk.needs(1) {
                    walk.add(1, dx)?;
                }
                Ok(())
            })
        }))
    }
}
