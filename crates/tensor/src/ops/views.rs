//! Views: the same storage under another shape, order or part; joining and cutting.

use danqing_kernels::pool::PooledBuf;

use crate::error::{Result, TensorError, argument_error, shape_error};
use crate::shape::{Dims, MAX_RANK};
use crate::storage::{DType, dispatch};
use crate::strided;
use crate::tape::{record, records};
use crate::tensor::Tensor;

fn check_dim(op: &'static str, tensor: &Tensor, dim: usize) -> Result<()> {
    if dim < tensor.rank() {
        return Ok(());
    }
    argument_error(op, format!("shape {:?} has no dimension {dim}", tensor.shape()))
}

impl Tensor {
    /// The same elements in row-major order under another shape; copies only where strides forbid a view.
    ///
    /// # Errors
    /// If the number of elements differs.
    pub fn reshape(&self, shape: &[usize]) -> Result<Tensor> {
        let dims = Dims::new("reshape", shape)?;
        if dims.checked_numel("reshape")? != self.numel() {
            return shape_error("reshape", &[self.shape(), shape], "the numbers of elements must be equal");
        }
        Ok(self.reshape_dims(dims))
    }

    /// `reshape` to a shape that is known to have the same number of elements.
    fn reshape_dims(&self, dims: Dims) -> Tensor {
        let out = match self.layout().reshaped(dims) {
            Some(layout) => self.view(layout),
            None => strided::copied(self).shaped(dims),
        };
        let before = self.dims();
        record("reshape", out, &[self], &[], |_| Box::new(move |dy, walk| walk.add(0, dy.reshape_dims(before))))
    }

    /// Dimensions in another order: dimension `i` of the result is dimension `order[i]` of `self`.
    ///
    /// # Errors
    /// If `order` does not name each dimension once.
    pub fn permute(&self, order: &[usize]) -> Result<Tensor> {
        let rank = self.rank();
        let mut inverse = [usize::MAX; MAX_RANK];
        for (i, &d) in order.iter().enumerate() {
            if d < rank {
                inverse[d] = i;
            }
        }
        if order.len() != rank || inverse[..rank].contains(&usize::MAX) {
            return argument_error("permute", format!("{order:?} must name each of {rank} dimensions once"));
        }
        let mut layout = *self.layout();
        for (i, &d) in order.iter().enumerate() {
            layout.shape[i] = self.layout().shape[d];
            layout.strides[i] = self.layout().strides[d];
        }
        let out = self.view(layout);
        Ok(record("permute", out, &[self], &[], |_| {
            Box::new(move |dy, walk| walk.add(0, dy.permute(&inverse[..rank])?))
        }))
    }

    /// With dimensions `a` and `b` exchanged.
    ///
    /// # Errors
    /// If there is no such dimension.
    pub fn transpose(&self, a: usize, b: usize) -> Result<Tensor> {
        check_dim("transpose", self, a.max(b))?;
        let mut order: [usize; MAX_RANK] = std::array::from_fn(|i| i);
        order.swap(a, b);
        self.permute(&order[..self.rank()])
    }

    /// The part `start .. start + len` along `dim`.
    ///
    /// # Errors
    /// If it does not lie inside.
    pub fn narrow(&self, dim: usize, start: usize, len: usize) -> Result<Tensor> {
        check_dim("narrow", self, dim)?;
        if start.checked_add(len).is_none_or(|end| end > self.dim(dim)) {
            let why = format!("{start}..{start}+{len} is not inside dimension {dim} of {:?}", self.shape());
            return argument_error("narrow", why);
        }
        let mut layout = *self.layout();
        layout.offset += start * layout.strides[dim];
        layout.shape[dim] = len;
        let full = self.dims();
        Ok(record("narrow", self.view(layout), &[self], &[], |_| {
            Box::new(move |dy, walk| walk.add_part(0, full, dim, start, &dy))
        }))
    }

    /// Cut into `n` equal parts along `dim`.
    ///
    /// # Errors
    /// If the dimension is not divisible by `n`.
    pub fn chunk(&self, n: usize, dim: usize) -> Result<Vec<Tensor>> {
        check_dim("chunk", self, dim)?;
        let size = self.dim(dim);
        if n == 0 || !size.is_multiple_of(n) {
            return argument_error("chunk", format!("dimension {dim} of {:?} is not divisible by {n}", self.shape()));
        }
        (0..n).map(|i| self.narrow(dim, i * (size / n), size / n)).collect()
    }

    /// The same values laid out in row-major order.
    ///
    /// # Errors
    /// None today.
    pub fn contiguous(&self) -> Result<Tensor> {
        if self.is_contiguous() {
            return Ok(self.clone());
        }
        let out = strided::copied(self);
        Ok(record("contiguous", out, &[self], &[], |_| Box::new(|dy, walk| walk.add(0, dy))))
    }

    /// With a dimension of size one put in before `dim` (`dim = rank` appends).
    ///
    /// # Errors
    /// If `dim` is beyond the end or the rank would be above [`MAX_RANK`].
    pub fn unsqueeze(&self, dim: usize) -> Result<Tensor> {
        if dim > self.rank() || self.rank() == MAX_RANK {
            return argument_error("unsqueeze", format!("no place {dim} in shape {:?}", self.shape()));
        }
        Ok(self.reshape_dims(self.dims().with(dim, 1)))
    }

    /// Without dimension `dim`, which must be of size one.
    ///
    /// # Errors
    /// If it is not.
    pub fn squeeze(&self, dim: usize) -> Result<Tensor> {
        check_dim("squeeze", self, dim)?;
        if self.dim(dim) != 1 {
            return argument_error("squeeze", format!("dimension {dim} of {:?} is not of size one", self.shape()));
        }
        Ok(self.reshape_dims(self.dims().without(dim)))
    }

    /// Repeated to `shape` by numpy's broadcasting rule, without a copy.
    ///
    /// # Errors
    /// If a dimension is neither one nor that of `shape`.
    pub fn expand(&self, shape: &[usize]) -> Result<Tensor> {
        let dims = Dims::new("expand", shape)?;
        dims.checked_numel("expand")?;
        let out = self.view(self.layout().expanded("expand", &dims)?);
        let before = self.dims();
        Ok(record("expand", out, &[self], &[], |_| Box::new(move |dy, walk| walk.add(0, dy.sum_to(before)))))
    }

    /// Joined along `dim`.
    ///
    /// # Errors
    /// If the list is empty, or other dimensions or the types differ.
    pub fn concat(parts: &[&Tensor], dim: usize) -> Result<Tensor> {
        let Some(first) = parts.first() else { return argument_error("concat", "nothing to join") };
        check_dim("concat", first, dim)?;
        let mut shape = first.dims();
        shape[dim] = 0;
        for part in parts {
            let fits = part.rank() == first.rank() && (0..part.rank()).all(|d| d == dim || part.dim(d) == first.dim(d));
            if !fits {
                let why = format!("all dimensions but {dim} must be equal");
                return shape_error("concat", &[first.shape(), part.shape()], why);
            }
            if part.dtype() != first.dtype() {
                return Err(TensorError::DType { op: "concat", left: first.dtype(), right: part.dtype() });
            }
            shape[dim] += part.dim(dim);
        }
        shape.checked_numel("concat")?;
        let out = dispatch!(first.dtype(), E => {
            let mut out = PooledBuf::<E>::dirty(shape.numel());
            let dense: Vec<(Tensor, usize)> =
                parts.iter().map(|p| (p.dense(), p.shape()[dim..].iter().product())).filter(|(_, len)| *len > 0).collect();
            let sources: Vec<(&[E], usize)> = dense.iter().map(|(part, len)| (part.data::<E>(), *len)).collect();
            strided::for_each_row(&mut out, shape[dim..].iter().product(), |i, mut row| {
                for (source, len) in &sources {
                    let (to, rest) = row.split_at_mut(*len);
                    to.copy_from_slice(&source[i * len..(i + 1) * len]);
                    row = rest;
                }
            });
            Tensor::wrap(out, shape)
        });
        if !records(parts, &[]) {
            return Ok(out);
        }
        let sizes: Vec<usize> = parts.iter().map(|p| p.dim(dim)).collect();
        Ok(record("concat", out, parts, &[], |_| {
            Box::new(move |dy, walk| {
                let mut start = 0;
                for (i, &size) in sizes.iter().enumerate() {
                    if walk.needs(i) {
                        walk.add(i, dy.narrow(dim, start, size)?)?;
                    }
                    start += size;
                }
                Ok(())
            })
        }))
    }

    /// In the other element type; the same tensor if it has it already.
    ///
    /// # Errors
    /// None today.
    pub fn cast(&self, dtype: DType) -> Result<Tensor> {
        let from = self.dtype();
        if from == dtype {
            return Ok(self.clone());
        }
        Ok(record("cast", crate::ops::converted(self, dtype), &[self], &[], |_| {
            Box::new(move |dy, walk| walk.add(0, dy.cast(from)?))
        }))
    }

    /// The elements of dimension `dim` in reverse order.
    ///
    /// # Errors
    /// If there is no such dimension.
    pub fn flip(&self, dim: usize) -> Result<Tensor> {
        check_dim("flip", self, dim)?;
        let size = self.dim(dim);
        let ids: Vec<u32> = (0..size as u32).rev().collect();
        self.index_select(dim, &ids)
    }
}
