//! Operations on two tensors, element by element, with numpy's broadcasting.

use danqing_kernels::elementwise::{Binary, binary, binary_strided};
use danqing_kernels::pool::PooledBuf;

use crate::error::{Result, TensorError};
use crate::ops::unary::affine;
use crate::shape::broadcast;
use crate::storage::dispatch;
use crate::tape::{Walk, record};
use crate::tensor::Tensor;

/// `op` of two tensors, broadcast against one another; without history.
fn combine(name: &'static str, op: Binary, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if a.dtype() != b.dtype() {
        return Err(TensorError::DType { op: name, left: a.dtype(), right: b.dtype() });
    }
    if a.shape() == b.shape() && a.is_contiguous() && b.is_contiguous() {
        return Ok(dispatch!(a.dtype(), E => {
            let mut out = PooledBuf::<E>::dirty(a.numel());
            binary(op, a.data::<E>(), b.data::<E>(), &mut out);
            Tensor::wrap(out, a.dims())
        }));
    }
    let shape = broadcast(name, &a.dims(), &b.dims())?;
    shape.checked_numel(name)?;
    let (la, lb) = (a.layout().expanded(name, &shape)?, b.layout().expanded(name, &shape)?);
    Ok(dispatch!(a.dtype(), E => {
        let mut out = PooledBuf::<E>::dirty(shape.numel());
        if !out.is_empty() {
            let (va, vb) = (&a.raw::<E>()[la.offset..], &b.raw::<E>()[lb.offset..]);
            binary_strided(op, va, &la.strides, vb, &lb.strides, &shape, &mut out);
        }
        Tensor::wrap(out, shape)
    }))
}

/// Adds `dy · slope`, summed back to the shape of the input.
fn add_scaled(walk: &mut Walk<'_>, input: usize, dy: &Tensor, slope: &Tensor, x: &Tensor) -> Result<()> {
    walk.add(input, combine("mul", Binary::Mul, dy, slope)?.sum_to(x.dims()))
}

impl Tensor {
    /// `a + b`, broadcast.
    ///
    /// # Errors
    /// If shapes cannot be broadcast or types differ; the same holds for the other functions of this file.
    pub fn add(&self, other: &Tensor) -> Result<Tensor> {
        self.add_scaled("add", Binary::Add, other, 1.0)
    }

    /// `a - b`, broadcast.
    pub fn sub(&self, other: &Tensor) -> Result<Tensor> {
        self.add_scaled("sub", Binary::Sub, other, -1.0)
    }

    fn add_scaled(&self, name: &'static str, op: Binary, other: &Tensor, sign: f32) -> Result<Tensor> {
        let out = combine(name, op, self, other)?;
        let (a, b) = (self.dims(), other.dims());
        Ok(record(name, out, &[self, other], &[], |_| {
            Box::new(move |dy, walk| {
                if walk.needs(1) {
                    let db = dy.sum_to(b);
                    walk.add(1, if sign < 0.0 { affine(&db, -1.0, 0.0) } else { db })?;
                }
                if walk.needs(0) {
                    walk.add(0, dy.sum_to(a))?;
                }
                Ok(())
            })
        }))
    }

    /// `a · b` element by element, broadcast.
    pub fn mul(&self, other: &Tensor) -> Result<Tensor> {
        let out = combine("mul", Binary::Mul, self, other)?;
        Ok(record("mul", out, &[self, other], &[], |_| {
            let (a, b) = (self.detach(), other.detach());
            Box::new(move |dy, walk| {
                if walk.needs(0) {
                    add_scaled(walk, 0, &dy, &b, &a)?;
                }
                if walk.needs(1) {
                    add_scaled(walk, 1, &dy, &a, &b)?;
                }
                Ok(())
            })
        }))
    }

    /// `a / b`, broadcast.
    pub fn div(&self, other: &Tensor) -> Result<Tensor> {
        let out = combine("div", Binary::Div, self, other)?;
        Ok(record("div", out, &[self, other], &[], |y| {
            let (a, b, y) = (self.dims(), other.detach(), y.detach());
            Box::new(move |dy, walk| {
                let da = combine("div", Binary::Div, &dy, &b)?;
                if walk.needs(1) {
                    let db = combine("div", Binary::Mul, &da, &y)?;
                    walk.add(1, affine(&db, -1.0, 0.0).sum_to(b.dims()))?;
                }
                if walk.needs(0) {
                    walk.add(0, da.sum_to(a))?;
                }
                Ok(())
            })
        }))
    }

    /// The larger of two, broadcast; at equality each gets half the gradient.
    pub fn maximum(&self, other: &Tensor) -> Result<Tensor> {
        self.chosen("maximum", Binary::Maximum, Binary::Greater, other)
    }

    /// The smaller of two, broadcast; at equality each gets half the gradient.
    pub fn minimum(&self, other: &Tensor) -> Result<Tensor> {
        self.chosen("minimum", Binary::Minimum, Binary::Less, other)
    }

    fn chosen(&self, name: &'static str, op: Binary, wins: Binary, other: &Tensor) -> Result<Tensor> {
        let out = combine(name, op, self, other)?;
        Ok(record(name, out, &[self, other], &[], |_| {
            let (a, b) = (self.detach(), other.detach());
            Box::new(move |dy, walk| {
                let ties = affine(&combine(name, Binary::Equal, &a, &b)?, 0.5, 0.0);
                for (input, x, y) in [(0, &a, &b), (1, &b, &a)] {
                    if walk.needs(input) {
                        let share = combine(name, Binary::Add, &combine(name, wins, x, y)?, &ties)?;
                        add_scaled(walk, input, &dy, &share, x)?;
                    }
                }
                Ok(())
            })
        }))
    }
}
