//! Attention in f32 arithmetic, for every instruction set: forward.
//!
//! A task takes some panels of queries (two vectors wide) and walks the keys in blocks. Scores are computed transposed,
//! `s[key][query] = K · Qᵀ`, so that the maximum, the exponentials and the sum run down vector lanes, and the result is
//! gathered transposed, `o[e][query] += Vᵀ · p`. Queries are scaled by `scale · log2 e`, so exponentials are powers of 2.

use super::single_pack::{Packed, sizes, transpose_rows, untranspose_rows};
use super::tile::{Left, Rows, block_rows, product};
use super::{AttentionInput, AttentionShape};
use crate::element::Element;
use crate::pool::PooledBuf;
use crate::simd::{Kernel, MAX_LANES, Simd, dispatch, math};
use crate::threads::{Shared, parallel_for};
use std::f32::consts::{LN_2, LOG2_E};

/// Keys per block: a multiple of every register block.
pub(super) const KEYS: usize = 96;
/// The start of the running maximum: below every score, but finite, so that differences are never NaN.
pub(super) const LOWEST: f32 = -1e30;

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
            transpose_rows(s, &input.q[at..], shape.q_stride, [rows, d], shape.scale * LOG2_E, queries);
            rest.fill(0.0);
            rest[width * panel..][..panel].fill(LOWEST);
        }
        let keys = packed.keys(head);
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
                gather_block::<S>(s, &packed.values(head)[start * packed.blocked..], [n - start, len], scores, result);
            }
        }
        for (p, state) in states.chunks_exact_mut(state).enumerate() {
            let start = first + p * panel;
            let rows = panel.min(first + count - start);
            let (result, sums) = state[d * panel..].split_at(width * panel);
            let (most, sum) = sums.split_at(panel);
            let mut factors = [0.0f32; 2 * MAX_LANES];
            for (factor, &sum) in factors.iter_mut().zip(sum) {
                *factor = if sum > 0.0 { 1.0 / sum } else { 0.0 };
            }
            let at = |q| ((batch * shape.q_len + start + q) * shape.heads + head % shape.heads) * d;
            // SAFETY: every (head, query) belongs to one task.
            untranspose_rows(s, result, &factors, [rows, d], |q| unsafe { self.out.range(at(q), d) });
            if !self.lse.is_empty() {
                // SAFETY: as above.
                let lse = unsafe { self.lse.range(head * shape.q_len + start, rows) };
                for (q, lse) in lse.iter_mut().enumerate() {
                    *lse = if sum[q] > 0.0 { most[q] * LN_2 + sum[q].ln() } else { f32::NEG_INFINITY };
                }
            }
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

/// `result[e][query] += Vᵀ · p` for `len` keys; `values` starts at a block of keys, with `left` keys to come.
#[inline(always)]
pub(super) fn gather_block<S: Simd>(s: S, values: &[f32], [left, len]: [usize; 2], p: &[f32], result: &mut [f32]) {
    let (block, panel) = (block_rows::<S>(), 2 * S::LANES);
    let (width, stored) = (result.len() / panel, KEYS.min(left));
    assert!(p.len() >= len * panel && len <= stored && values.len() >= width.next_multiple_of(block) * stored);
    for first in (0..width).step_by(block) {
        let a = Left { at: values[first * stored..].as_ptr(), row: 1, column: block };
        let (b, c) =
            (Rows { at: p.as_ptr(), row: panel }, Rows { at: result[first * panel..].as_mut_ptr(), row: panel });
        // SAFETY: lengths asserted above; a block of columns is [stored][block].
        unsafe { product::<S, 2>(s, [block.min(width - first), len], a, b, c, true) };
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
