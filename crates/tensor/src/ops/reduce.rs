//! Sums, means, maxima.

use danqing_kernels::elementwise::{Reduction, reduce};
use danqing_kernels::pool::PooledBuf;

use crate::error::{Result, argument_error};
use crate::ops::unary::affine;
use crate::shape::{Dims, MAX_RANK};
use crate::storage::{Scalar, dispatch};
use crate::tape::record;
use crate::tensor::Tensor;

/// Sum or mean over the dimensions flagged in `reduced`; `shape` is that of the result.
fn reduced(kind: Reduction, x: &Tensor, reduced: &[bool], shape: Dims) -> Tensor {
    let x = x.dense();
    dispatch!(x.dtype(), E => {
        if x.numel() == 0 {
            return Tensor::zeros_dims(shape, x.dtype());
        }
        let mut out = PooledBuf::<E>::dirty(shape.numel());
        reduce(kind, x.data::<E>(), x.shape(), reduced, &mut out[..]);
        Tensor::wrap(out, shape)
    })
}

/// Which of `rank` dimensions `dims` names.
fn flags(dims: &[usize], rank: usize) -> [bool; MAX_RANK] {
    std::array::from_fn(|d| d < rank && dims.contains(&d))
}

impl Tensor {
    /// Summed to a shape that broadcasts to this one: the backward of broadcasting. Without history.
    pub(crate) fn sum_to(&self, shape: Dims) -> Tensor {
        if self.shape() == &shape[..] {
            return self.detach();
        }
        let lead = self.rank() - shape.len();
        let over = std::array::from_fn::<bool, MAX_RANK, _>(|d| {
            d < self.rank() && (d < lead || shape[d - lead] != self.dim(d))
        });
        reduced(Reduction::Sum, self, &over[..self.rank()], shape)
    }

    /// Shape after reducing `dims`: `(with ones, without them)`.
    fn reduced_shapes(&self, op: &'static str, dims: &[usize]) -> Result<(Dims, Dims)> {
        let mut ones = self.dims();
        for &d in dims {
            if d >= self.rank() {
                return argument_error(op, format!("shape {:?} has no dimension {d}", self.shape()));
            }
            ones[d] = 1;
        }
        let mut left = self.dims();
        for d in (0..self.rank()).rev().filter(|d| dims.contains(d)) {
            left = left.without(d);
        }
        Ok((ones, left))
    }

    /// Sum over `dims`; `keepdim` leaves them with size one.
    ///
    /// # Errors
    /// If there is no such dimension; the same holds for the other reductions.
    pub fn sum(&self, dims: &[usize], keepdim: bool) -> Result<Tensor> {
        self.summed("sum", Reduction::Sum, dims, keepdim)
    }

    /// Mean over `dims`; `keepdim` leaves them with size one.
    pub fn mean(&self, dims: &[usize], keepdim: bool) -> Result<Tensor> {
        self.summed("mean", Reduction::Mean, dims, keepdim)
    }

    /// Sum of all elements, shape `[]`.
    pub fn sum_all(&self) -> Result<Tensor> {
        self.sum(&[0, 1, 2, 3, 4, 5, 6, 7][..self.rank()], false)
    }

    /// Mean of all elements, shape `[]`.
    pub fn mean_all(&self) -> Result<Tensor> {
        self.mean(&[0, 1, 2, 3, 4, 5, 6, 7][..self.rank()], false)
    }

    fn summed(&self, op: &'static str, kind: Reduction, dims: &[usize], keepdim: bool) -> Result<Tensor> {
        let (ones, left) = self.reduced_shapes(op, dims)?;
        let shape = if keepdim { ones } else { left };
        let out = reduced(kind, self, &flags(dims, self.rank())[..self.rank()], shape);
        let full = self.dims();
        Ok(record(op, out, &[self], &[], |_| {
            Box::new(move |dy, walk| {
                let dy = match kind {
                    Reduction::Mean => affine(&dy, ones.numel() as f32 / full.numel() as f32, 0.0),
                    _ => dy.dense(),
                };
                walk.add(0, dy.shaped(ones).expand(&full)?)
            })
        }))
    }

    /// Largest element along `dim`, which is dropped; the first of equals gets the gradient.
    pub fn max(&self, dim: usize) -> Result<Tensor> {
        let (ones, left) = self.reduced_shapes("max", &[dim])?;
        let size = self.dim(dim);
        if size == 0 {
            return argument_error("max", format!("dimension {dim} of {:?} is empty", self.shape()));
        }
        let dense = self.dense();
        let inner: usize = self.shape()[dim + 1..].iter().product();
        let mut at = vec![0u32; ones.numel()];
        let out = dispatch!(dense.dtype(), E => largest::<E>(dense.data(), size, inner, &mut at, left));
        let full = self.dims();
        Ok(record("max", out, &[self], &[], |_| {
            Box::new(move |dy, walk| {
                let dy = dy.dense();
                let mut dx = Tensor::zeros_dims(full, dy.dtype());
                dispatch!(dy.dtype(), E => {
                    let out = dx.data_mut::<E>();
                    for (i, (&at, &v)) in at.iter().zip(dy.data::<E>()).enumerate() {
                        out[(i / inner * size + at as usize) * inner + i % inner] = v;
                    }
                });
                walk.add(0, dx)
            })
        }))
    }

    /// Index of the largest element of each row of the last dimension (the first of equals).
    pub fn argmax_last(&self) -> Result<Vec<u32>> {
        let size = self.shape().last().copied().unwrap_or(1);
        if size == 0 {
            return argument_error("argmax_last", format!("rows of {:?} are empty", self.shape()));
        }
        let dense = self.dense();
        let mut at = vec![0u32; self.numel() / size];
        let shape = Dims::vector(at.len());
        dispatch!(dense.dtype(), E => drop(largest::<E>(dense.data(), size, 1, &mut at, shape)));
        Ok(at)
    }
}

/// Largest along the middle dimension of `[outer, size, inner]`, and where it was.
fn largest<E: Scalar>(values: &[E], size: usize, inner: usize, at: &mut [u32], shape: Dims) -> Tensor {
    let mut out = PooledBuf::<E>::dirty(at.len());
    for (i, (o, at)) in out.iter_mut().zip(at).enumerate() {
        let base = i / inner * size * inner + i % inner;
        *o = values[base];
        for k in 1..size {
            if values[base + k * inner] > *o {
                *o = values[base + k * inner];
                *at = k as u32;
            }
        }
    }
    Tensor::wrap(out, shape)
}
