//! Softmax over the last dimension.

use danqing_kernels::elementwise::{log_softmax, log_softmax_grad, softmax, softmax_grad};
use danqing_kernels::pool::PooledBuf;

use crate::error::{Result, shape_error};
use crate::storage::dispatch;
use crate::tape::record;
use crate::tensor::Tensor;

impl Tensor {
    /// Softmax of each row of the last dimension.
    ///
    /// # Errors
    /// If there is no last dimension or it is empty.
    pub fn softmax_last(&self) -> Result<Tensor> {
        self.rows_softmax("softmax_last", false)
    }

    /// Logarithm of the softmax of each row of the last dimension.
    ///
    /// # Errors
    /// If there is no last dimension or it is empty.
    pub fn log_softmax_last(&self) -> Result<Tensor> {
        self.rows_softmax("log_softmax_last", true)
    }

    fn rows_softmax(&self, op: &'static str, log: bool) -> Result<Tensor> {
        let columns = self.shape().last().copied().unwrap_or(0);
        if columns == 0 {
            return shape_error(op, &[self.shape()], "rows of at least one element are needed");
        }
        let x = self.dense();
        let out = dispatch!(x.dtype(), E => {
            let mut out = PooledBuf::<E>::dirty(x.numel());
            match log {
                true => log_softmax(x.data::<E>(), columns, &mut out),
                false => softmax(x.data::<E>(), columns, &mut out),
            }
            Tensor::wrap(out, x.dims())
        });
        Ok(record(op, out, &[self], &[], |y| {
            let y = y.detach();
            Box::new(move |dy, walk| {
                let dy = dy.dense();
                let dx = dispatch!(y.dtype(), E => {
                    let mut dx = PooledBuf::<E>::dirty(y.numel());
                    match log {
                        true => log_softmax_grad(y.data::<E>(), dy.data::<E>(), columns, &mut dx),
                        false => softmax_grad(y.data::<E>(), dy.data::<E>(), columns, &mut dx),
                    }
                    Tensor::wrap(dx, y.dims())
                });
                walk.add(0, dx)
            })
        }))
    }
}
