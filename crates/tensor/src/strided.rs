//! Copies and sums between strided views and dense memory.

use danqing_kernels::elementwise::add_assign;
use danqing_kernels::layout::strided_copy;
use danqing_kernels::pool::PooledBuf;

use crate::error::{Result, shape_error};
use crate::shape::Layout;
use crate::storage::dispatch;
use crate::tensor::Tensor;

/// A dense copy, without history.
pub(crate) fn copied(tensor: &Tensor) -> Tensor {
    let layout = tensor.layout();
    dispatch!(tensor.dtype(), E => {
        let mut out = PooledBuf::<E>::dirty(tensor.numel());
        if !out.is_empty() {
            strided_copy(&tensor.raw::<E>()[layout.offset..], &layout.shape, &layout.strides, &mut out);
        }
        Tensor::wrap(out, tensor.dims())
    })
}

impl Tensor {
    /// `self += other` for equal shapes and types (checked), in place where the storage is not shared.
    pub(crate) fn add_assign(&mut self, other: &Tensor) -> Result<()> {
        if self.shape() != other.shape() || self.dtype() != other.dtype() {
            return shape_error("gradient sum", &[self.shape(), other.shape()], "shapes and types must be equal");
        }
        let other = other.dense();
        dispatch!(self.dtype(), E => add_assign(other.data::<E>(), self.data_mut::<E>()));
        Ok(())
    }

    /// Adds `part` to the places `start..` along `dim`.
    pub(crate) fn add_assign_part(&mut self, dim: usize, start: usize, part: &Tensor) -> Result<()> {
        let part = part.dense();
        let full = Layout::contiguous(self.dims());
        let len: usize = part.shape()[dim..].iter().product();
        if len == 0 {
            return Ok(());
        }
        let row: usize = self.shape()[dim..].iter().product();
        let at = start * full.strides[dim];
        dispatch!(self.dtype(), E => {
            let rows = self.data_mut::<E>().chunks_exact_mut(row);
            rows.zip(part.data::<E>().chunks_exact(len)).for_each(|(to, from)| add_assign(from, &mut to[at..at + len]));
        });
        Ok(())
    }
}
