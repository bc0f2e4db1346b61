//! Shapes and strides of at most [`MAX_RANK`] dimensions, kept inline so that views allocate nothing.

use std::ops::{Deref, DerefMut};

use crate::error::{Result, argument_error, shape_error};

/// Most dimensions a tensor may have.
pub const MAX_RANK: usize = 8;

/// A short list of sizes: a shape or the strides that go with it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dims {
    values: [usize; MAX_RANK],
    rank: u8,
}

impl Dims {
    /// The dimensions as given; refuses more than [`MAX_RANK`].
    pub(crate) fn new(op: &'static str, dims: &[usize]) -> Result<Self> {
        if dims.len() > MAX_RANK {
            return argument_error(op, format!("shape {dims:?} has more than {MAX_RANK} dimensions"));
        }
        let mut values = [0; MAX_RANK];
        values[..dims.len()].copy_from_slice(dims);
        Ok(Self { values, rank: dims.len() as u8 })
    }

    /// The shape of a vector.
    pub(crate) fn vector(len: usize) -> Self {
        let mut values = [0; MAX_RANK];
        values[0] = len;
        Self { values, rank: 1 }
    }

    /// Number of elements, refused where it overflows.
    pub(crate) fn checked_numel(&self, op: &'static str) -> Result<usize> {
        match self.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) {
            Some(n) if n <= isize::MAX as usize / 8 => Ok(n),
            _ => argument_error(op, format!("shape {:?} has too many elements", &self[..])),
        }
    }

    pub(crate) fn numel(&self) -> usize {
        self.iter().product()
    }

    /// Row-major strides of this shape.
    pub(crate) fn row_major(&self) -> Dims {
        let mut strides = *self;
        let mut step = 1;
        for i in (0..self.len()).rev() {
            strides[i] = step;
            step *= self[i].max(1);
        }
        strides
    }

    pub(crate) fn without(&self, dim: usize) -> Dims {
        let mut out = *self;
        for i in dim..self.len() - 1 {
            out.values[i] = out.values[i + 1];
        }
        out.rank -= 1;
        out
    }

    /// With `value` put in before `dim`; the rank must be below [`MAX_RANK`].
    pub(crate) fn with(&self, dim: usize, value: usize) -> Dims {
        let mut out = *self;
        out.rank += 1;
        for i in (dim + 1..out.len()).rev() {
            out.values[i] = out.values[i - 1];
        }
        out.values[dim] = value;
        out
    }
}

impl Deref for Dims {
    type Target = [usize];
    fn deref(&self) -> &[usize] {
        &self.values[..self.rank as usize]
    }
}

impl DerefMut for Dims {
    fn deref_mut(&mut self) -> &mut [usize] {
        &mut self.values[..self.rank as usize]
    }
}

/// Where the elements of a tensor lie in its storage.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) shape: Dims,
    pub(crate) strides: Dims,
    pub(crate) offset: usize,
}

impl Layout {
    pub(crate) fn contiguous(shape: Dims) -> Self {
        Self { shape, strides: shape.row_major(), offset: 0 }
    }

    /// Whether elements follow one another in row-major order (dimensions of size one do not matter).
    pub(crate) fn is_contiguous(&self) -> bool {
        let mut step = 1;
        for i in (0..self.shape.len()).rev() {
            if self.shape[i] != 1 && self.strides[i] != step {
                return false;
            }
            step *= self.shape[i].max(1);
        }
        true
    }

    /// The same elements under another shape, where no copy is needed for it.
    pub(crate) fn reshaped(&self, shape: Dims) -> Option<Layout> {
        if self.is_contiguous() {
            return Some(Layout { shape, strides: shape.row_major(), offset: self.offset });
        }
        // Walk both shapes together: a run of old dimensions that are contiguous among themselves may be cut anew.
        let (old_shape, old_strides): (Vec<usize>, Vec<usize>) =
            self.shape.iter().zip(self.strides.iter()).filter(|(d, _)| **d != 1).map(|(d, s)| (*d, *s)).unzip();
        let mut strides = shape;
        let (mut old, mut new) = (0, 0);
        while old < old_shape.len() && new < shape.len() {
            let (mut old_end, mut new_end) = (old + 1, new + 1);
            let (mut old_size, mut new_size) = (old_shape[old], shape[new]);
            while old_size != new_size {
                if new_size < old_size {
                    new_size *= *shape.get(new_end)?;
                    new_end += 1;
                } else {
                    old_size *= *old_shape.get(old_end)?;
                    old_end += 1;
                }
            }
            if (old..old_end - 1).any(|i| old_strides[i] != old_strides[i + 1] * old_shape[i + 1]) {
                return None;
            }
            let mut step = old_strides[old_end - 1];
            for i in (new..new_end).rev() {
                strides[i] = step;
                step *= shape[i];
            }
            (old, new) = (old_end, new_end);
        }
        for i in new..shape.len() {
            strides[i] = 1;
        }
        Some(Layout { shape, strides, offset: self.offset })
    }

    /// Broadcast to `shape` (numpy's rule), repeated dimensions having stride zero.
    pub(crate) fn expanded(&self, op: &'static str, shape: &Dims) -> Result<Layout> {
        let fits = self.shape.len() <= shape.len()
            && self.shape.iter().rev().zip(shape.iter().rev()).all(|(&a, &b)| a == b || a == 1);
        if !fits {
            return shape_error(
                op,
                &[&self.shape, shape],
                "each dimension must be equal or one, counted from the last",
            );
        }
        let lead = shape.len() - self.shape.len();
        let mut strides = *shape;
        for i in 0..shape.len() {
            strides[i] = match i.checked_sub(lead) {
                Some(j) if self.shape[j] == shape[i] => self.strides[j],
                _ => 0,
            };
        }
        Ok(Layout { shape: *shape, strides, offset: self.offset })
    }
}

/// Result shape of two operands under numpy's broadcasting rule.
pub(crate) fn broadcast(op: &'static str, a: &Dims, b: &Dims) -> Result<Dims> {
    let (long, short) = if a.len() >= b.len() { (a, b) } else { (b, a) };
    let lead = long.len() - short.len();
    let mut out = *long;
    for (i, &d) in short.iter().enumerate() {
        let o = &mut out[lead + i];
        if *o == 1 {
            *o = d;
        } else if d != 1 && d != *o {
            return shape_error(op, &[a, b], "each dimension must be equal or one, counted from the last");
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dims(d: &[usize]) -> Dims {
        Dims::new("test", d).unwrap()
    }

    #[test]
    fn reshaping_a_permuted_layout_copies_only_where_it_must() {
        let base = Layout::contiguous(dims(&[2, 3, 4]));
        let swapped = Layout { shape: dims(&[3, 2, 4]), strides: dims(&[4, 12, 1]), offset: 0 };
        assert!(base.reshaped(dims(&[6, 4])).is_some());
        assert!(swapped.reshaped(dims(&[6, 4])).is_none());
        let split = swapped.reshaped(dims(&[3, 1, 2, 2, 2])).unwrap();
        assert_eq!(&split.strides[..], &[4, 24, 12, 2, 1]);
    }
}
