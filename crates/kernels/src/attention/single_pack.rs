//! Rows of one head in the forms that the products of [`super::single`] and its gradient read, in f32.

use super::single::KEYS;
use super::tile::block_rows;
use super::{AttentionInput, AttentionShape};
use crate::element::Element;
use crate::pool::PooledBuf;
use crate::simd::{Kernel, MAX_LANES, Simd, dispatch};
use crate::threads::{Shared, parallel_for};

struct Sizes;
impl Kernel for Sizes {
    type Output = (usize, usize);
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> (usize, usize) {
        (block_rows::<S>(), 2 * S::LANES)
    }
}

/// Rows of a register block and queries of a panel on the instruction set in use.
pub(super) fn sizes() -> (usize, usize) {
    dispatch(Sizes)
}

/// Up to `LANES` values of a row from `column`, zeros where there are none.
#[inline(always)]
fn load<S: Simd, E: Element>(s: S, x: &[E], stride: usize, [rows, d]: [usize; 2], row: usize, column: usize) -> S::F {
    if row >= rows || column >= d {
        return s.splat(0.0);
    }
    s.load_any(&x[row * stride + column..row * stride + d])
}

/// Rows into blocks of register rows as `[d][block]`, the last one filled up with zeros.
#[inline(always)]
pub(super) fn pack_blocks<S: Simd, E: Element>(s: S, x: &[E], stride: usize, [rows, d]: [usize; 2], out: &mut [f32]) {
    let size = block_rows::<S>();
    for (block, out) in out.chunks_exact_mut(size * d).enumerate() {
        for column in (0..d).step_by(S::LANES) {
            let mut square = [s.splat(0.0); MAX_LANES];
            for (r, row) in square.iter_mut().enumerate().take(size) {
                *row = load(s, x, stride, [rows, d], block * size + r, column);
            }
            s.transpose(&mut square);
            for (row, out) in square.iter().zip(out[column * size..].chunks_exact_mut(size)).take(S::LANES) {
                s.store_part(*row, out);
            }
        }
    }
}

/// Rows into blocks of keys, in these blocks of columns as `[keys][block]`, the last one filled up with zeros.
#[inline(always)]
pub(super) fn pack_columns<S: Simd, E: Element>(s: S, x: &[E], stride: usize, [rows, d]: [usize; 2], out: &mut [f32]) {
    let size = block_rows::<S>();
    for (i, out) in out.chunks_mut(KEYS * d.next_multiple_of(size)).enumerate() {
        let keys = KEYS.min(rows - i * KEYS);
        for (block, out) in out.chunks_exact_mut(keys * size).enumerate() {
            for (j, out) in out.chunks_exact_mut(size).enumerate() {
                s.store_part(load(s, x, stride, [rows, d], i * KEYS + j, block * size), out);
            }
        }
    }
}

/// Rows into rows of `width`, filled up with zeros.
#[inline(always)]
pub(super) fn pack_rows<S: Simd, E: Element>(s: S, x: &[E], stride: usize, d: usize, width: usize, out: &mut [f32]) {
    let rows = out.len() / width;
    for (row, out) in out.chunks_exact_mut(width).enumerate() {
        for (i, out) in out.chunks_mut(S::LANES).enumerate() {
            s.store_any(load(s, x, stride, [rows, d], row, i * S::LANES), out);
        }
    }
}

/// Rows times `scale`, as `[d][panel]`; missing rows are zeros.
#[inline(always)]
pub(super) fn transpose_rows<S: Simd, E: Element>(
    s: S,
    x: &[E],
    stride: usize,
    [rows, d]: [usize; 2],
    scale: f32,
    out: &mut [f32],
) {
    let scale = s.splat(scale);
    for half in 0..2 {
        for column in (0..d).step_by(S::LANES) {
            let mut square = [s.splat(0.0); MAX_LANES];
            for (r, row) in square.iter_mut().enumerate().take(S::LANES) {
                *row = s.mul(load(s, x, stride, [rows, d], half * S::LANES + r, column), scale);
            }
            s.transpose(&mut square);
            for (row, out) in
                square.iter().zip(out[column * 2 * S::LANES..].chunks_exact_mut(2 * S::LANES)).take(S::LANES)
            {
                s.store(*row, &mut out[half * S::LANES..]);
            }
        }
    }
}

/// The first columns of `[d][panel]`, each times its factor, into the rows that `row` gives.
#[inline(always)]
pub(super) fn untranspose_rows<'a, S: Simd, E: Element>(
    s: S,
    x: &[f32],
    factors: &[f32; 2 * MAX_LANES],
    [rows, d]: [usize; 2],
    row: impl Fn(usize) -> &'a mut [E],
) {
    let panel = 2 * S::LANES;
    for half in 0..rows.div_ceil(S::LANES) {
        let factor = s.load(&factors[half * S::LANES..]);
        for column in (0..d).step_by(S::LANES) {
            let mut square = [s.splat(0.0); MAX_LANES];
            for (i, square) in square.iter_mut().enumerate().take(S::LANES.min(d - column)) {
                *square = s.mul(s.load(&x[(column + i) * panel + half * S::LANES..]), factor);
            }
            s.transpose(&mut square);
            for (i, values) in square.iter().enumerate().take(S::LANES.min(rows - half * S::LANES)) {
                let to = &mut row(half * S::LANES + i)[column..];
                let len = to.len().min(S::LANES);
                s.store_any(*values, &mut to[..len]);
            }
        }
    }
}

/// Keys and values of every head.
pub(super) struct Packed {
    keys: PooledBuf<f32>,
    values: PooledBuf<f32>,
    key_len: usize,
    value_len: usize,
    /// Head width rounded up to a multiple of 4: rows of a transposed result.
    pub(super) width: usize,
    /// Head width rounded up to whole register blocks.
    pub(super) blocked: usize,
}

impl Packed {
    pub(super) fn new<E: Element>(input: &AttentionInput<'_, E>, shape: &AttentionShape) -> Packed {
        let (d, n, heads) = (shape.head_dim, shape.kv_len, shape.batch * shape.heads);
        let (block, _) = sizes();
        let (width, blocked) = (d.next_multiple_of(4), d.next_multiple_of(block));
        let (key_len, value_len) = (n.next_multiple_of(block) * d, n * blocked);
        let mut keys = PooledBuf::dirty(heads * key_len);
        let mut values = PooledBuf::dirty(heads * value_len);
        let (shared_keys, shared_values) = (Shared::new(&mut keys), Shared::new(&mut values));
        parallel_for(heads, &|head| {
            // SAFETY: every head is one task.
            let (keys, values) = unsafe {
                (shared_keys.range(head * key_len, key_len), shared_values.range(head * value_len, value_len))
            };
            let at = shape.kv_start(head);
            dispatch(PackHead { k: &input.k[at..], v: &input.v[at..], shape, keys, values });
        });
        Packed { keys, values, key_len, value_len, width, blocked }
    }

    /// Blocks of keys as `[head_dim][block]`.
    pub(super) fn keys(&self, head: usize) -> &[f32] {
        &self.keys[head * self.key_len..][..self.key_len]
    }

    /// Blocks of [`KEYS`] keys, in these blocks of columns as `[keys][block]`.
    pub(super) fn values(&self, head: usize) -> &[f32] {
        &self.values[head * self.value_len..][..self.value_len]
    }
}

struct PackHead<'a, E> {
    k: &'a [E],
    v: &'a [E],
    shape: &'a AttentionShape,
    keys: &'a mut [f32],
    values: &'a mut [f32],
}

impl<E: Element> Kernel for PackHead<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let size = [self.shape.kv_len, self.shape.head_dim];
        pack_blocks(s, self.k, self.shape.kv_stride, size, self.keys);
        pack_columns(s, self.v, self.shape.kv_stride, size, self.values);
    }
}
