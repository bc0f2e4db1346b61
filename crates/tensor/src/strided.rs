//! Copies and sums between strided views and dense memory.

use std::sync::{Mutex, PoisonError};

use danqing_kernels::Element;
use danqing_kernels::elementwise::add_assign;
use danqing_kernels::layout::strided_copy;
use danqing_kernels::pool::PooledBuf;
use danqing_kernels::threads::parallel_for;

use crate::error::{Result, shape_error};
use crate::shape::Layout;
use crate::storage::{Scalar, dispatch};
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

/// Calls `f(i, row)` for each row of `row` elements, on several threads where there is enough to do.
pub(crate) fn for_each_row<E: Scalar>(values: &mut [E], row: usize, f: impl Fn(usize, &mut [E]) + Sync) {
    /// Elements that one task moves.
    const GRAIN: usize = 64 * 1024;
    if row == 0 {
        return;
    }
    let rows = GRAIN.div_ceil(row);
    let tasks: Vec<Mutex<&mut [E]>> = values.chunks_mut(rows * row).map(Mutex::new).collect();
    parallel_for(tasks.len(), &|task| {
        let mut values = tasks[task].lock().unwrap_or_else(PoisonError::into_inner);
        values.chunks_exact_mut(row).enumerate().for_each(|(i, values)| f(task * rows + i, values));
    });
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
            let part = part.data::<E>();
            if row == len {
                add_assign(part, self.data_mut::<E>());
            } else {
                for_each_row(self.data_mut::<E>(), row, |i, to| {
                    let from = &part[i * len..(i + 1) * len];
                    for (to, from) in to[at..at + len].iter_mut().zip(from) {
                        *to = <E as Element>::from_f32(Element::to_f32(*to) + Element::to_f32(*from));
                    }
                });
            }
        });
        Ok(())
    }
}
