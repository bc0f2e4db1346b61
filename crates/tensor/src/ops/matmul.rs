//! Products of two activations.

use danqing_kernels::gemm::matmul;
use danqing_kernels::pool::PooledBuf;

use crate::error::{Result, TensorError, shape_error};
use crate::shape::{Dims, broadcast};
use crate::storage::dispatch;
use crate::tape::record;
use crate::tensor::Tensor;

/// A stack of matrices in dense memory, and whether rows and columns are exchanged in it.
fn operand(x: &Tensor) -> (Tensor, bool) {
    if !x.is_contiguous() {
        let rank = x.rank();
        let mut layout = *x.layout();
        layout.shape.swap(rank - 1, rank - 2);
        layout.strides.swap(rank - 1, rank - 2);
        if layout.is_contiguous() {
            return (x.view(layout), true);
        }
    }
    (x.dense(), false)
}

/// The product without history.
fn product(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.rank() < 2 || b.rank() < 2 || a.dim(a.rank() - 1) != b.dim(b.rank() - 2) {
        return shape_error("matmul", &[a.shape(), b.shape()], "[…, m, k] and […, k, n] are needed");
    }
    if a.dtype() != b.dtype() {
        return Err(TensorError::DType { op: "matmul", left: a.dtype(), right: b.dtype() });
    }
    let (m, k, n) = (a.dim(a.rank() - 2), a.dim(a.rank() - 1), b.dim(b.rank() - 1));
    let lead = |t: &Tensor| Dims::new("matmul", &t.shape()[..t.rank() - 2]);
    let (lead_a, lead_b) = (lead(a)?, lead(b)?);
    let lead = broadcast("matmul", &lead_a, &lead_b)?;
    let shape = Dims::new("matmul", &[&lead, &[m, n][..]].concat())?;
    shape.checked_numel("matmul")?;
    if lead_b.numel() == 1 && lead.numel() > 1 && a.is_contiguous() {
        // One right-hand matrix for all: the left ones are one tall matrix.
        let tall = a.dense().shaped(Dims::new("matmul", &[lead_a.numel() * m, k])?);
        let right = b.dense_last_two();
        return Ok(product(&tall, &right)?.shaped(shape));
    }
    let (a, a_trans) = operand(&a.detach().expand(&[&lead, &[m, k][..]].concat())?);
    let (b, b_trans) = operand(&b.detach().expand(&[&lead, &[k, n][..]].concat())?);
    Ok(dispatch!(a.dtype(), E => {
        let mut out = PooledBuf::<E>::dirty(shape.numel());
        matmul(a.data::<E>(), a_trans, b.data::<E>(), b_trans, lead.numel(), m, k, n, &mut out);
        Tensor::wrap(out, shape)
    }))
}

impl Tensor {
    /// The last two dimensions alone, all others being of size one.
    fn dense_last_two(&self) -> Tensor {
        let mut layout = *self.layout();
        while layout.shape.len() > 2 {
            (layout.shape, layout.strides) = (layout.shape.without(0), layout.strides.without(0));
        }
        self.view(layout)
    }

    /// Matrix product of `[…, m, k]` and `[…, k, n]`; leading dimensions are broadcast. Exchanged rows and columns
    /// (`transpose`) cost no copy.
    ///
    /// # Errors
    /// If shapes do not fit or types differ.
    pub fn matmul(&self, other: &Tensor) -> Result<Tensor> {
        let out = product(self, other)?;
        Ok(record("matmul", out, &[self, other], &[], |_| {
            let (a, b) = (self.detach(), other.detach());
            Box::new(move |dy, walk| {
                if walk.needs(0) {
                    let da = product(&dy, &b.transpose(b.rank() - 2, b.rank() - 1)?)?;
                    walk.add(0, da.sum_to(a.dims()))?;
                }
                if walk.needs(1) {
                    let db = product(&a.transpose(a.rank() - 2, a.rank() - 1)?, &dy)?;
                    walk.add(1, db.sum_to(b.dims()))?;
                }
                Ok(())
            })
        }))
    }
}
