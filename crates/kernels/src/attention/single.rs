//! Attention in f32 arithmetic, for every instruction set: forward.
//!
//! A task takes some panels of queries (two vectors wide) and walks the keys in blocks. Scores are computed transposed,
//! `s[key][query] = K · Qᵀ`, so that the maximum, the exponentials and the sum run down vector lanes, and the result is
//! gathered transposed, `o[e][query] += Vᵀ · p`. Queries are scaled by `scale · log2 e`, so exponentials are powers of 2.

use super::tile::{Left, Rows, block_rows, product};
use super::{AttentionInput, AttentionShape};
use crate::element::Element;
use crate::pool::PooledBuf;
use crate::simd::{Kernel, Simd, dispatch, math};
use crate::threads::{Shared, parallel_for};
use std::f32::consts::{LN_2, LOG2_E};

/// Keys per block: a multiple of every register block.
pub(super) const KEYS: usize = 96;
/// The start of the running maximum: below every score, but finite, so that differences are never NaN.
pub(super) const LOWEST: f32 = -1e30;

/// Keys and values of every head in f32, laid out for the products.
pub(super) struct Packed {
    /// Per head, blocks of keys as `[head_dim][block rows]`, the last one filled up with zeros.
    pub(super) keys: PooledBuf<f32>,
    /// Per head `[kv_len][width]`, columns filled up with zeros.
    pub(super) values: PooledBuf<f32>,
    pub(super) per_head_keys: usize,
    /// Head width rounded up to a multiple of 4.
    pub(super) width: usize,
}

/// Rows `x` (of one head) into blocks of `size` rows as `[d][size]`.
pub(super) fn pack_blocks<E: Element>(x: &[E], stride: usize, rows: usize, d: usize, size: usize, out: &mut [f32]) {
    for (block, out) in out.chunks_exact_mut(size * d).enumerate() {
        for r in 0..size {
            let row = block * size + r;
            if row < rows {
                for (out, x) in out[r..].iter_mut().step_by(size).zip(&x[row * stride..row * stride + d]) {
                    *out = x.to_f32();
                }
            } else {
                out[r..].iter_mut().step_by(size).for_each(|out| *out = 0.0);
            }
        }
    }
}

/// Rows `x` (of one head) into rows of `width`, filled up with zeros.
pub(super) fn pack_rows<E: Element>(x: &[E], stride: usize, d: usize, width: usize, out: &mut [f32]) {
    for (row, out) in out.chunks_exact_mut(width).enumerate() {
        let (body, rest) = out.split_at_mut(d);
        body.iter_mut().zip(&x[row * stride..]).for_each(|(out, x)| *out = x.to_f32());
        rest.fill(0.0);
    }
}

struct BlockRows;
impl Kernel for BlockRows {
    type Output = (usize, usize);
    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> (usize, usize) {
        (block_rows::<S>(), 2 * S::LANES)
    }
}

/// Rows of a register block and queries of a panel on the instruction set in use.
pub(super) fn sizes() -> (usize, usize) {
    dispatch(BlockRows)
}

impl Packed {
    fn new<E: Element>(input: &AttentionInput<'_, E>, shape: &AttentionShape) -> Packed {
        let (d, n, heads) = (shape.head_dim, shape.kv_len, shape.batch * shape.heads);
        let (block, _) = sizes();
        let width = d.next_multiple_of(4);
        let per_head_keys = n.next_multiple_of(block) * d;
        let mut keys = PooledBuf::dirty(heads * per_head_keys);
        let mut values = PooledBuf::dirty(heads * n * width);
        let (shared_keys, shared_values) = (Shared::new(&mut keys), Shared::new(&mut values));
        parallel_for(heads, &|head| {
            let at = shape.kv_start(head);
            // SAFETY: every head is one task.
            let (keys, values) = unsafe {
                (
                    shared_keys.range(head * per_head_keys, per_head_keys),
                    shared_values.range(head * n * width, n * width),
                )
            };
            pack_blocks(&input.k[at..], shape.kv_stride, n, d, block, keys);
            pack_rows(&input.v[at..], shape.kv_stride, d, width, values);
        });
        Packed { keys, values, per_head_keys, width }
    }
}

/// Panels per task: more where heads are wide, so that keys and values are read from far away less often.
fn panels(head_dim: usize) -> usize {
    if head_dim >= 192 { 4 } else { 2 }
}

/// The whole attention; `lse` may be empty.
pub(super) fn forward<E: Element>(
    input: &AttentionInput<'_, E>,
    shape: &AttentionShape,
    out: &mut [E],
    lse: &mut [f32],
) {
    let packed = Packed::new(input, shape);
    let (_, panel) = sizes();
    let queries = panel * panels(shape.head_dim);
    let blocks = shape.q_len.div_ceil(queries);
    let (out, lse) = (Shared::new(out), Shared::new(lse));
    parallel_for(shape.batch * shape.heads * blocks, &|task| {
        let (head, first) = (task / blocks, task % blocks * queries);
        let count = queries.min(shape.q_len - first);
        dispatch(Task { input, shape, packed: &packed, head, first, count, out: &out, lse: &lse });
    });
}

struct Task<'a, E> {
    input: &'a AttentionInput<'a, E>,
    shape: &'a AttentionShape,
    packed: &'a Packed,
    head: usize,
    first: usize,
    count: usize,
    out: &'a Shared<'a, E>,
    lse: &'a Shared<'a, f32>,
}

impl<E: Element> Kernel for Task<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Task { input, shape, packed, head, first, count, .. } = self;
        let (d, n, width, panel) = (shape.head_dim, shape.kv_len, packed.width, 2 * S::LANES);
        let panels = count.div_ceil(panel);
        let batch = head / shape.heads;
        // Per panel: transposed queries, transposed result, running maximum and sum; then the scores of one panel.
        let state = (d + width + 2) * panel;
        let mut scratch = PooledBuf::<f32>::dirty(panels * state + KEYS * panel);
        let (states, scores) = scratch.split_at_mut(panels * state);
        for (p, state) in states.chunks_exact_mut(state).enumerate() {
            let start = first + p * panel;
            let rows = panel.min(first + count - start);
            let at = shape.q_start(head) + start * shape.q_stride;
            let (queries, rest) = state.split_at_mut(d * panel);
            transpose_rows(&input.q[at..], shape.q_stride, [rows, d], shape.scale * LOG2_E, panel, queries);
            rest.fill(0.0);
            rest[width * panel..][..panel].fill(LOWEST);
        }
        let keys = &packed.keys[head * packed.per_head_keys..][..packed.per_head_keys];
        let values = &packed.values[head * n * width..][..n * width];
        let seen = if shape.causal { (first + count + n - shape.q_len).min(n) } else { n };
        for start in (0..seen).step_by(KEYS) {
            let len = KEYS.min(seen - start);
            for (p, state) in states.chunks_exact_mut(state).enumerate() {
                let (queries, rest) = state.split_at_mut(d * panel);
                let (result, sums) = rest.split_at_mut(width * panel);
                score_block::<S>(s, &keys[start * d..], queries, [len, d], scores);
                if let Some(bias) = input.key_bias {
                    add_bias::<S>(s, &bias[batch * n + start..][..len], scores);
                }
                if shape.causal {
                    hide_future(scores, panel, len, first + p * panel + n - shape.q_len, start);
                }
                let changed = soften::<S>(s, &mut scores[..len * panel], sums);
                if let Some(factors) = changed {
                    rescale::<S>(s, result, factors);
                }
                let a = Left { at: values[start * width..].as_ptr(), row: 1, column: width };
                let (b, c) = (Rows { at: scores.as_ptr(), row: panel }, Rows { at: result.as_mut_ptr(), row: panel });
                // SAFETY: `values` has len rows of width from start, scores len rows and result width rows of a panel.
                unsafe { product::<S, 2>(s, [width, len], a, b, c, true) };
            }
        }
        for (p, state) in states.chunks_exact_mut(state).enumerate() {
            let start = first + p * panel;
            let rows = panel.min(first + count - start);
            let (result, sums) = state[d * panel..].split_at(width * panel);
            for q in 0..rows {
                let (most, sum) = (sums[q], sums[panel + q]);
                let at = ((batch * shape.q_len + start + q) * shape.heads + head % shape.heads) * d;
                let factor = if sum > 0.0 { 1.0 / sum } else { 0.0 };
                // SAFETY: every (head, query) belongs to one task.
                let out = unsafe { self.out.range(at, d) };
                out.iter_mut()
                    .zip(result[q..].iter().step_by(panel))
                    .for_each(|(out, &o)| *out = E::from_f32(o * factor));
                if !self.lse.is_empty() {
                    // SAFETY: as above.
                    let lse = unsafe { self.lse.range(head * shape.q_len + start + q, 1) };
                    lse.fill(if sum > 0.0 { most * LN_2 + sum.ln() } else { f32::NEG_INFINITY });
                }
            }
        }
    }
}

/// `rows` rows of `x` times `scale`, as `[d][panel]`; missing rows are zeros.
#[inline(always)]
pub(super) fn transpose_rows<E: Element>(
    x: &[E],
    stride: usize,
    [rows, d]: [usize; 2],
    scale: f32,
    panel: usize,
    out: &mut [f32],
) {
    for q in 0..panel {
        let column = out[q..].iter_mut().step_by(panel);
        if q < rows {
            column.zip(&x[q * stride..q * stride + d]).for_each(|(out, x)| *out = x.to_f32() * scale);
        } else {
            column.for_each(|out| *out = 0.0);
        }
    }
}

/// `scores[key][query]` for `len` keys, from blocks of keys and transposed queries.
#[inline(always)]
pub(super) fn score_block<S: Simd>(s: S, keys: &[f32], queries: &[f32], [len, d]: [usize; 2], scores: &mut [f32]) {
    let (block, panel) = (block_rows::<S>(), 2 * S::LANES);
    assert!(queries.len() >= d * panel && scores.len() >= len.next_multiple_of(block) * panel);
    assert!(keys.len() >= len.next_multiple_of(block) * d);
    for first in (0..len).step_by(block) {
        let a = Left { at: keys[first * d..].as_ptr(), row: 1, column: block };
        let b = Rows { at: queries.as_ptr(), row: panel };
        let c = Rows { at: scores[first * panel..].as_mut_ptr(), row: panel };
        // SAFETY: lengths asserted above; a block of keys is [d][block].
        unsafe { product::<S, 2>(s, [block, d], a, b, c, false) };
    }
}

#[inline(always)]
pub(super) fn add_bias<S: Simd>(s: S, bias: &[f32], scores: &mut [f32]) {
    for (row, bias) in scores.chunks_exact_mut(2 * S::LANES).zip(bias) {
        let bias = s.splat(bias * LOG2_E);
        for scores in row.chunks_exact_mut(S::LANES) {
            s.store(s.add(s.load(scores), bias), scores);
        }
    }
}

/// Hides key `start + j` from query q where it lies after `limit + q`.
#[inline(always)]
pub(super) fn hide_future(scores: &mut [f32], panel: usize, len: usize, limit: usize, start: usize) {
    for (j, row) in scores.chunks_exact_mut(panel).take(len).enumerate() {
        let hidden = (start + j).saturating_sub(limit).min(panel);
        row[..hidden].fill(f32::NEG_INFINITY);
    }
}

/// Scores become 2^(score - maximum); `sums` holds the running maximum and sum per query. Returns the factors by which
/// earlier results shrink, unless all are 1.
#[inline(always)]
fn soften<S: Simd>(s: S, scores: &mut [f32], sums: &mut [f32]) -> Option<[S::F; 2]> {
    let (panel, lanes) = (2 * S::LANES, S::LANES);
    let mut factors = [s.splat(1.0); 2];
    let mut changed = false;
    for half in 0..2 {
        let old = s.load(&sums[half * lanes..(half + 1) * lanes]);
        let mut most = [old; 2];
        for pair in scores.chunks(2 * panel) {
            for (most, row) in most.iter_mut().zip(pair.chunks_exact(panel)) {
                *most = s.max(*most, s.load(&row[half * lanes..(half + 1) * lanes]));
            }
        }
        let most = s.max(most[0], most[1]);
        let mut total = [s.splat(0.0); 2];
        for pair in scores.chunks_mut(2 * panel) {
            for (total, row) in total.iter_mut().zip(pair.chunks_exact_mut(panel)) {
                let at = &mut row[half * lanes..(half + 1) * lanes];
                let p = math::exp2(s, s.sub(s.load(at), most));
                *total = s.add(*total, p);
                s.store(p, at);
            }
        }
        factors[half] = math::exp2(s, s.sub(old, most));
        let (low, high) = sums.split_at_mut(panel);
        let sum = &mut high[half * lanes..(half + 1) * lanes];
        s.store(s.fma(s.load(sum), factors[half], s.add(total[0], total[1])), sum);
        s.store(most, &mut low[half * lanes..(half + 1) * lanes]);
        changed |= s.largest(s.sub(most, old)) > 0.0;
    }
    changed.then_some(factors)
}

#[inline(always)]
fn rescale<S: Simd>(s: S, result: &mut [f32], factors: [S::F; 2]) {
    for row in result.chunks_exact_mut(2 * S::LANES) {
        for (part, factor) in row.chunks_exact_mut(S::LANES).zip(factors) {
            s.store(s.mul(s.load(part), factor), part);
        }
    }
}
