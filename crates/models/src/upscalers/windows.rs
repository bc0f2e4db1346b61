//! Attention inside windows of a map (Swin, arXiv:2103.14030): windows, shifts, biases by relative position, masks.

use std::sync::Arc;

use danqing_nn::{Init, Linear, LoadError, Loader};
use danqing_tensor::{Param, Tensor, TensorError};

/// Rows and columns of a window, or of a shift.
pub(crate) type Sides = [usize; 2];

/// Longest side of a window that is believed: the published ones have 16 pixels, in DAT 32. What is made for pairs of pixels grows
/// with its fourth power.
pub(crate) const LONGEST: usize = 32;

/// Scores held at a time: windows are attended to in parts of not more.
const SCORES: usize = 4 << 20;

/// `[b, h, w, c]` → `[b · windows, pixels of a window, c]`; sides are multiples of the window's.
pub(crate) fn cut(x: &Tensor, [p, q]: Sides) -> Result<Tensor, TensorError> {
    let (b, h, w, c) = (x.dim(0), x.dim(1), x.dim(2), x.dim(3));
    let parts = x.reshape(&[b, h / p, p, w / q, q, c])?.permute(&[0, 1, 3, 2, 4, 5])?;
    parts.reshape(&[b * (h / p) * (w / q), p * q, c])
}

/// The reverse of [`cut`]: the map `[b, h, w, c]` of `size` `[b, h, w]`.
pub(crate) fn join(windows: &Tensor, [p, q]: Sides, [b, h, w]: [usize; 3]) -> Result<Tensor, TensorError> {
    let c = windows.dim(2);
    let parts = windows.reshape(&[b, h / p, w / q, p, q, c])?.permute(&[0, 1, 3, 2, 4, 5])?;
    parts.reshape(&[b, h, w, c])
}

/// The map moved up and left by `shift`; what leaves it comes in at the other side.
pub(crate) fn rolled(x: &Tensor, shift: Sides) -> Result<Tensor, TensorError> {
    let mut x = x.clone();
    for (dim, by) in [(1, shift[0]), (2, shift[1])] {
        let size = x.dim(dim);
        let by = by % size;
        if by > 0 {
            x = Tensor::concat(&[&x.narrow(dim, by, size - by)?, &x.narrow(dim, 0, by)?], dim)?;
        }
    }
    Ok(x)
}

/// The reverse of [`rolled`].
pub(crate) fn rolled_back(x: &Tensor, shift: Sides) -> Result<Tensor, TensorError> {
    let (h, w) = (x.dim(1), x.dim(2));
    rolled(x, [h - shift[0] % h, w - shift[1] % w])
}

/// For each pair of pixels of a window the number of their relative position, counted by rows from the most negative.
pub(crate) fn relative_positions([p, q]: Sides) -> Arc<[u32]> {
    let pixels = || (0..p).flat_map(|y| (0..q).map(move |x| (y, x)));
    let number = |(a, b): (usize, usize), (c, d): (usize, usize)| (a + p - 1 - c) * (2 * q - 1) + b + q - 1 - d;
    pixels().flat_map(|i| pixels().map(move |j| number(i, j) as u32)).collect()
}

/// `[heads, queries, keys]` of a table `[heads, positions]` and the number of each pair's position.
pub(crate) fn by_position(table: &Tensor, positions: &[u32], pairs: [usize; 2]) -> Result<Tensor, TensorError> {
    table.index_select(1, positions)?.reshape(&[table.dim(0), pairs[0], pairs[1]])
}

/// A learned bias of scores by relative position.
#[derive(Debug)]
pub(crate) struct PositionBias {
    table: Param,
    heads_first: bool,
    heads: usize,
    positions: Arc<[u32]>,
    /// Queries and keys of a window.
    pairs: [usize; 2],
}

impl PositionBias {
    /// A table `[positions, heads]`.
    pub fn load(
        at: &Loader,
        name: &str,
        [numbers, heads]: [usize; 2],
        positions: &Arc<[u32]>,
        pairs: [usize; 2],
    ) -> Result<Self, LoadError> {
        let table = at.param(name, &[numbers, heads], Init::Normal(0.02))?;
        Ok(Self { table, heads_first: false, heads, positions: positions.clone(), pairs })
    }

    /// A table `[heads, rows, columns]` of a window's relative positions.
    pub fn load_heads_first(
        at: &Loader,
        name: &str,
        heads: usize,
        [p, q]: Sides,
        positions: &Arc<[u32]>,
    ) -> Result<Self, LoadError> {
        let table = at.param(name, &[heads, 2 * p - 1, 2 * q - 1], Init::Normal(0.02))?;
        Ok(Self { table, heads_first: true, heads, positions: positions.clone(), pairs: [p * q; 2] })
    }

    /// `[heads, queries, keys]` in the type of `like`.
    pub fn tensor(&self, like: &Tensor) -> Result<Tensor, TensorError> {
        let table = self.table.tensor().cast(like.dtype())?;
        let table = match self.heads_first {
            true => table.reshape(&[self.heads, self.table.numel() / self.heads])?,
            false => table.transpose(0, 1)?,
        };
        by_position(&table, &self.positions, self.pairs)
    }
}

/// What pixels of a shifted map's windows do not see: those that only the shift has brought together.
pub(crate) struct Mask {
    /// `[4, n, n]`, added to scores: of windows inside, at the right, at the bottom, in the corner.
    kinds: Tensor,
    /// Which of them holds for each window.
    of: Vec<u32>,
}

impl Mask {
    /// For maps of `size` `[b, h, w]` in the type of `like`; `hidden` is added to the scores of what is not seen.
    pub fn new(size: [usize; 3], window: Sides, shift: Sides, hidden: f32, like: &Tensor) -> Result<Self, TensorError> {
        let [b, rows, columns] = [size[0], size[1] / window[0], size[2] / window[1]];
        let [p, q] = window;
        // Whether a pixel of a window at the end came from the map's start.
        let wrapped = |i: usize| [i % q >= q - shift[1], i / q >= p - shift[0]];
        let n = p * q;
        let mut kinds = Vec::with_capacity(4 * n * n);
        for kind in 0..4usize {
            for i in 0..n {
                let apart = |j: usize| (0..2).any(|axis| kind >> axis & 1 == 1 && wrapped(i)[axis] != wrapped(j)[axis]);
                kinds.extend((0..n).map(|j| if apart(j) { hidden } else { 0.0 }));
            }
        }
        let one = |y: usize, x: usize| u32::from(x + 1 == columns) + 2 * u32::from(y + 1 == rows);
        let of = (0..b).flat_map(|_| (0..rows).flat_map(move |y| (0..columns).map(move |x| one(y, x)))).collect();
        Ok(Self { kinds: Tensor::from_vec(kinds, &[4, n, n])?.cast(like.dtype())?, of })
    }

    /// The scores of windows `start ..` with what is hidden.
    fn on(&self, scores: Tensor, start: usize) -> Result<Tensor, TensorError> {
        let of = &self.of[start..start + scores.dim(0)];
        if of.iter().all(|kind| *kind == 0) {
            return Ok(scores);
        }
        scores.add(&self.kinds.index_select(0, of)?.unsqueeze(1)?)
    }
}

/// Attention of `heads` heads, scores biased: queries `[windows, n, c]`, keys and values `[windows, m, c]`, bias
/// `[heads, n, m]` → `[windows, n, c]`. Only the scores of some windows are held at a time.
pub(crate) fn attended(
    [queries, keys, values]: [&Tensor; 3],
    bias: &Tensor,
    mask: Option<&Mask>,
) -> Result<Tensor, TensorError> {
    let (windows, n, c, m, heads) = (queries.dim(0), queries.dim(1), queries.dim(2), keys.dim(1), bias.dim(0));
    let scale = 1.0 / ((c / heads) as f32).sqrt();
    let part = |x: &Tensor, start: usize, len: usize| {
        let x = x.narrow(0, start, len)?;
        x.reshape(&[len, x.dim(1), heads, c / heads])?.permute(&[0, 2, 1, 3])?.contiguous()
    };
    let step = (SCORES / (heads * n * m).max(1)).max(1);
    let mut parts = Vec::with_capacity(windows.div_ceil(step));
    for start in (0..windows).step_by(step) {
        let len = step.min(windows - start);
        let queries = part(queries, start, len)?.mul_scalar(scale)?;
        let scores = queries.matmul(&part(keys, start, len)?.transpose(2, 3)?)?.add(bias)?;
        let scores = match mask {
            Some(mask) => mask.on(scores, start)?,
            None => scores,
        };
        let seen = scores.softmax_last()?.matmul(&part(values, start, len)?)?;
        parts.push(seen.permute(&[0, 2, 1, 3])?.reshape(&[len, n, c])?);
    }
    match parts.as_slice() {
        [one] => Ok(one.clone()),
        parts => Tensor::concat(&parts.iter().collect::<Vec<_>>(), 0),
    }
}

/// Self-attention inside windows, of a map that may be shifted before.
#[derive(Debug)]
pub(crate) struct WindowAttention {
    /// Queries, keys and values.
    pub all: Linear,
    pub joined: Linear,
    pub bias: PositionBias,
    pub window: Sides,
    pub shift: Sides,
    /// Added to the scores of what is hidden.
    pub hidden: f32,
}

impl WindowAttention {
    /// `[b, h, w, c]` → `[b, h, w, c]`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let (size, c) = ([x.dim(0), x.dim(1), x.dim(2)], x.dim(3));
        let all = self.all.forward(&cut(&rolled(x, self.shift)?, self.window)?)?;
        let [queries, keys, values] = [all.narrow(2, 0, c)?, all.narrow(2, c, c)?, all.narrow(2, 2 * c, c)?];
        let shifted = self.shift != [0; 2];
        let mask = shifted.then(|| Mask::new(size, self.window, self.shift, self.hidden, x)).transpose()?;
        let seen = attended([&queries, &keys, &values], &self.bias.tensor(x)?, mask.as_ref())?;
        rolled_back(&join(&self.joined.forward(&seen)?, self.window, size)?, self.shift)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(shape: &[usize]) -> Tensor {
        Tensor::arange(shape.iter().product()).unwrap().reshape(shape).unwrap()
    }

    #[test]
    fn windows_and_shifts_are_undone() {
        let x = counted(&[2, 4, 6, 3]);
        let windows = cut(&x, [2, 3]).unwrap();
        assert_eq!(windows.shape(), [8, 6, 3]);
        // The second window begins with the pixel (0, 3).
        assert_eq!(windows.narrow(0, 1, 1).unwrap().to_vec()[..3], [9.0, 10.0, 11.0]);
        assert_eq!(join(&windows, [2, 3], [2, 4, 6]).unwrap().to_vec(), x.to_vec());
        let moved = rolled(&x, [1, 2]).unwrap();
        assert_eq!(moved.to_vec()[0], ((6 + 2) * 3) as f32);
        assert_eq!(rolled_back(&moved, [1, 2]).unwrap().to_vec(), x.to_vec());
        assert_eq!(rolled_back(&x, [0, 0]).unwrap().to_vec(), x.to_vec());
    }

    #[test]
    fn relative_positions_count_from_the_most_negative() {
        // A row of two pixels: same, one to the right of the other, one to the left.
        assert_eq!(relative_positions([1, 2])[..], [1, 0, 2, 1]);
        assert_eq!(relative_positions([2, 1])[..], [1, 0, 2, 1]);
    }

    #[test]
    fn masks_part_what_a_shift_brought_together() {
        let x = counted(&[1, 2, 4, 1]);
        let mask = Mask::new([1, 2, 4], [2, 2], [1, 1], -9.0, &x).unwrap();
        assert_eq!(mask.of, [2, 3]);
        let kinds = mask.kinds.to_vec();
        assert_eq!(kinds[..16], [0.0; 16]);
        // At the right columns are parted, at the bottom rows.
        assert_eq!(kinds[16..20], [0.0, -9.0, 0.0, -9.0]);
        assert_eq!(kinds[32..36], [0.0, 0.0, -9.0, -9.0]);
        assert_eq!(kinds[48..52], [0.0, -9.0, -9.0, -9.0]);
    }
}
