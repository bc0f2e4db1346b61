//! Attention in f32 arithmetic, for every instruction set: gradient.
//!
//! A task is one head: it walks panels of queries and blocks of keys, computes the probabilities again from `lse`, and
//! adds to the gradients of keys and values, which stay in f32 until the end. With `s` and `p` transposed as in the
//! forward pass: `dp = V · dOᵀ`, `ds = p · (dp - level)`, where `level` is Σ out · dout per query, and
//! `dQᵀ += Kᵀ · ds`, `dK += ds · Q`, `dV += p · dO`.

use super::single::{KEYS, add_bias, gather_block, hide_future, score_block};
use super::single_pack::{pack_blocks, pack_columns, pack_rows, sizes, transpose_rows, untranspose_rows};
use super::tile::{Left, Rows, product};
use super::{AttentionGrad, AttentionInput, AttentionShape};
use crate::element::Element;
use crate::pool::PooledBuf;
use crate::simd::{Kernel, MAX_LANES, Simd, dispatch, math};
use crate::threads::{Shared, parallel_for};
use std::f32::consts::LOG2_E;

/// What the gradient reads besides the inputs of the forward pass.
#[derive(Clone, Copy)]
pub(super) struct Known<'a, E> {
    pub(super) out: &'a [E],
    pub(super) dout: &'a [E],
    pub(super) lse: &'a [f32],
}

/// The whole gradient.
pub(super) fn backward<E: Element>(
    input: &AttentionInput<'_, E>,
    shape: &AttentionShape,
    known: Known<'_, E>,
    grad: AttentionGrad<'_, E>,
) {
    let (dq, dk, dv) = (Shared::new(grad.dq), Shared::new(grad.dk), Shared::new(grad.dv));
    parallel_for(shape.batch * shape.heads, &|head| {
        dispatch(Head { input, shape, known, head, dq: &dq, dk: &dk, dv: &dv });
    });
}

struct Head<'a, E> {
    input: &'a AttentionInput<'a, E>,
    shape: &'a AttentionShape,
    known: Known<'a, E>,
    head: usize,
    dq: &'a Shared<'a, E>,
    dk: &'a Shared<'a, E>,
    dv: &'a Shared<'a, E>,
}

impl<E: Element> Kernel for Head<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Head { input, shape, known, head, .. } = self;
        let (d, n, panel) = (shape.head_dim, shape.kv_len, 2 * S::LANES);
        let (batch, column) = (head / shape.heads, head % shape.heads * shape.head_dim);
        let (block, _) = sizes();
        let narrow = d.next_multiple_of(4);
        // Rows whose columns are a left operand are multiples of 4 wide, those that vectors run along whole vectors.
        let wide = d.next_multiple_of(S::LANES);
        let padded = n.next_multiple_of(block);
        let lens = [padded * d, padded * d, n * d.next_multiple_of(block), padded * wide, padded * wide];
        let small = [d * panel, d * panel, panel * wide, panel * wide, narrow * panel, KEYS * panel, KEYS * panel];
        let mut scratch = PooledBuf::<f32>::dirty(lens.iter().chain(&small).sum());
        let mut rest = &mut scratch[..];
        let mut take = |len: usize| {
            let (part, after) = std::mem::take(&mut rest).split_at_mut(len);
            rest = after;
            part
        };
        let [keys, values, key_rows, key_sums, value_sums] = lens.map(&mut take);
        let [queries, douts, query_rows, dout_rows, result, scores, slopes] = small.map(&mut take);
        let at = shape.kv_start(head);
        pack_blocks(s, &input.k[at..], shape.kv_stride, [n, d], keys);
        pack_blocks(s, &input.v[at..], shape.kv_stride, [n, d], values);
        pack_columns(s, &input.k[at..], shape.kv_stride, [n, d], key_rows);
        key_sums.fill(0.0);
        value_sums.fill(0.0);
        let stride = shape.heads * d;
        for first in (0..shape.q_len).step_by(panel) {
            let rows = panel.min(shape.q_len - first);
            let q = &input.q[shape.q_start(head) + first * shape.q_stride..];
            let dense = (batch * shape.q_len + first) * stride + column;
            let (out, dout) = (&known.out[dense..], &known.dout[dense..]);
            transpose_rows(s, q, shape.q_stride, [rows, d], shape.scale * LOG2_E, queries);
            transpose_rows(s, dout, stride, [rows, d], 1.0, douts);
            // Rows beyond the last query stay zero and add nothing.
            query_rows[rows * wide..].fill(0.0);
            dout_rows[rows * wide..].fill(0.0);
            pack_rows(s, q, shape.q_stride, d, wide, &mut query_rows[..rows * wide]);
            pack_rows(s, dout, stride, d, wide, &mut dout_rows[..rows * wide]);
            let (mut level, mut lse) = ([0.0f32; 32], [0.0f32; 32]);
            for i in 0..rows {
                let (out, dout) = (&out[i * stride..][..d], &dout[i * stride..][..d]);
                level[i] = dot(s, out, dout);
                let sum = known.lse[head * shape.q_len + first + i];
                // A query that sees nothing has no probabilities: 2^(-inf - 0) = 0.
                lse[i] = if sum == f32::NEG_INFINITY { 0.0 } else { sum * LOG2_E };
            }
            result.fill(0.0);
            let seen = if shape.causal { (first + rows + n - shape.q_len).min(n) } else { n };
            for start in (0..seen).step_by(KEYS) {
                let len = KEYS.min(seen - start);
                score_block::<S>(s, &keys[start * d..], queries, [len, d], scores);
                if let Some(bias) = input.key_bias {
                    add_bias::<S>(s, &bias[batch * n + start..][..len], scores);
                }
                if shape.causal {
                    hide_future(scores, panel, len, first + n - shape.q_len, start);
                }
                score_block::<S>(s, &values[start * d..], douts, [len, d], slopes);
                slope_block(s, &mut scores[..len * panel], &mut slopes[..len * panel], &lse, &level, shape.scale);
                let padded = len.next_multiple_of(block);
                scores[len * panel..padded * panel].fill(0.0);
                slopes[len * panel..padded * panel].fill(0.0);
                let (p, ds) = (
                    Left { at: scores.as_ptr(), row: panel, column: 1 },
                    Left { at: slopes.as_ptr(), row: panel, column: 1 },
                );
                gather_block::<S>(s, &key_rows[start * d.next_multiple_of(block)..], [n - start, len], slopes, result);
                for part in (0..wide).step_by(panel) {
                    let b = |rows: &[f32]| Rows { at: rows[part..].as_ptr(), row: wide };
                    let c = |sums: &mut [f32]| Rows { at: sums[start * wide + part..].as_mut_ptr(), row: wide };
                    // SAFETY: p and ds are padded rows of a panel; query and dout rows number a panel; the sums have
                    // `padded` rows from start, since both are multiples of the register block.
                    unsafe {
                        if wide - part == S::LANES {
                            product::<S, 1>(s, [padded, panel], ds, b(query_rows), c(key_sums), true);
                            product::<S, 1>(s, [padded, panel], p, b(dout_rows), c(value_sums), true);
                        } else {
                            product::<S, 2>(s, [padded, panel], ds, b(query_rows), c(key_sums), true);
                            product::<S, 2>(s, [padded, panel], p, b(dout_rows), c(value_sums), true);
                        }
                    }
                }
            }
            // SAFETY: every head is one task.
            untranspose_rows(s, result, &[1.0; 2 * MAX_LANES], [rows, d], |q| unsafe {
                self.dq.range(dense + q * stride, d)
            });
        }
        for (to, from) in [(self.dk, key_sums), (self.dv, value_sums)] {
            for (j, from) in from.chunks_exact(wide).take(n).enumerate() {
                // SAFETY: every head is one task.
                let to = unsafe { to.range((batch * n + j) * stride + column, d) };
                for (to, from) in to.chunks_mut(S::LANES).zip(from.chunks_exact(S::LANES)) {
                    s.store_any(s.load(from), to);
                }
            }
        }
    }
}

/// Scores become probabilities, and the probabilities' gradients those of the unscaled products q · k.
#[inline(always)]
fn slope_block<S: Simd>(s: S, scores: &mut [f32], slopes: &mut [f32], lse: &[f32; 32], level: &[f32; 32], scale: f32) {
    let scale = s.splat(scale);
    for half in 0..2 {
        let at = half * S::LANES..(half + 1) * S::LANES;
        let (lse, level) = (s.load(&lse[at.clone()]), s.load(&level[at.clone()]));
        for (p, ds) in scores.chunks_exact_mut(2 * S::LANES).zip(slopes.chunks_exact_mut(2 * S::LANES)) {
            let (p, ds) = (&mut p[at.clone()], &mut ds[at.clone()]);
            let probability = math::exp2(s, s.sub(s.load(p), lse));
            s.store(probability, p);
            s.store(s.mul(s.mul(probability, scale), s.sub(s.load(ds), level)), ds);
        }
    }
}

/// Σ a · b.
#[inline(always)]
pub(super) fn dot<S: Simd, E: Element>(s: S, a: &[E], b: &[E]) -> f32 {
    let mut sum = s.splat(0.0);
    for (a, b) in a.chunks(S::LANES).zip(b.chunks(S::LANES)) {
        sum = s.fma(s.load_any(a), s.load_any(b), sum);
    }
    s.sum(sum)
}
