//! Attention in bf16 products with f32 sums, on AMX tiles or AVX-512 BF16: gradient.
//!
//! A task is one head. Queries are taken in chunks; for a block of keys, probabilities and score gradients of the whole
//! chunk are computed transposed (see [`super::single_grad`]), rounded, and kept in rows, so that the gradients of keys
//! and values are summed over the chunk inside the product; the score gradients are also kept in pairs, for the queries.

use super::bf16::{PANEL, Padded, pairing, rows_of, scale_and_bias, store_pairs};
use super::packing::{Source, pack_pairs, pack_rows, pack_transposed, pack_transposed_pairs, unpack_transposed};
use super::product::{Operand, STEP, TILE, Tiles, product, round_two};
use super::single::hide_future;
use super::single_grad::{Known, dot};
use super::{AttentionGrad, AttentionInput, AttentionShape};
use crate::pool::PooledBuf;
use crate::simd::{Avx512, Simd, math};
use crate::threads::{Shared, parallel_for};
use half::bf16;
use std::arch::x86_64::*;
use std::f32::consts::LOG2_E;

/// Keys per block.
const KEYS: usize = 64;
/// Queries per chunk.
const CHUNK: usize = 256;

/// The whole gradient.
///
/// # Safety
/// The CPU has AVX-512 BF16 and, with `AMX`, tiles that may be used.
pub(super) unsafe fn backward<const AMX: bool>(
    input: &AttentionInput<'_, bf16>,
    shape: &AttentionShape,
    known: Known<'_, bf16>,
    grad: AttentionGrad<'_, bf16>,
) {
    let (dq, dk, dv) = (Shared::new(grad.dq), Shared::new(grad.dk), Shared::new(grad.dv));
    parallel_for(shape.batch * shape.heads, &|head| {
        let padded = Padded::new(shape);
        let task = Head { input, shape, padded, known, head, dq: &dq, dk: &dk, dv: &dv };
        // SAFETY: the caller's promise.
        unsafe { task.run::<AMX>() };
    });
}

struct Head<'a> {
    input: &'a AttentionInput<'a, bf16>,
    shape: &'a AttentionShape,
    padded: Padded,
    known: Known<'a, bf16>,
    head: usize,
    dq: &'a Shared<'a, bf16>,
    dk: &'a Shared<'a, bf16>,
    dv: &'a Shared<'a, bf16>,
}

/// The queries of a chunk in all the forms that the products need.
struct Chunk<'a> {
    /// Per panel `[deep / 2][32]` pairs.
    queries: &'a mut [bf16],
    douts: &'a mut [bf16],
    /// `[len / 2][wide]` pairs.
    query_pairs: &'a mut [bf16],
    dout_pairs: &'a mut [bf16],
    /// Per panel `[wide][32]`.
    result: &'a mut [f32],
    level: &'a mut [f32],
    lse: &'a mut [f32],
}

/// Cuts the next `len` values off.
fn take<'a, T>(rest: &mut &'a mut [T], len: usize) -> &'a mut [T] {
    let (part, after) = std::mem::take(rest).split_at_mut(len);
    *rest = after;
    part
}

impl Head<'_> {
    /// # Safety
    /// As [`backward`].
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    unsafe fn run<const AMX: bool>(&self) {
        let &Head { input, shape, padded, head, .. } = self;
        let Padded { keys: n, deep, wide } = padded;
        // SAFETY: the caller's promise.
        let _tiles = AMX.then(|| unsafe { Tiles::ready() });
        // SAFETY: the features of this function.
        let s = unsafe { Avx512::assume() };
        let chunk = CHUNK.min(shape.q_len.next_multiple_of(PANEL));
        let halves = 2 * n * deep + wide * n + 2 * chunk * (deep + wide) + 2 * KEYS * chunk + KEYS * PANEL;
        let mut halves = PooledBuf::<bf16>::dirty(halves);
        let mut floats = PooledBuf::<f32>::dirty(2 * n * wide + chunk * (wide + 2) + 2 * KEYS * PANEL);
        let (mut rest, mut floats) = (&mut halves[..], &mut floats[..]);
        let (keys, values) = (take(&mut rest, n * deep), take(&mut rest, n * deep));
        let keys_across = take(&mut rest, wide * n);
        let (p_rows, ds_rows) = (take(&mut rest, KEYS * chunk), take(&mut rest, KEYS * chunk));
        let ds_pairs = take(&mut rest, KEYS * PANEL);
        let (dk, dv) = (take(&mut floats, n * wide), take(&mut floats, n * wide));
        let (scores, slopes) = (take(&mut floats, KEYS * PANEL), take(&mut floats, KEYS * PANEL));
        let mut queries = Chunk {
            queries: take(&mut rest, chunk * deep),
            douts: take(&mut rest, chunk * deep),
            query_pairs: take(&mut rest, chunk * wide),
            dout_pairs: take(&mut rest, chunk * wide),
            result: take(&mut floats, chunk * wide),
            level: take(&mut floats, chunk),
            lse: take(&mut floats, chunk),
        };
        pack_rows(rows_of(input.k, shape, head), deep, keys);
        pack_rows(rows_of(input.v, shape, head), deep, values);
        pack_transposed(rows_of(input.k, shape, head), [wide, n, KEYS], keys_across);
        let premultiply = input.key_bias.is_some();
        let factor = if premultiply { 1.0 } else { shape.scale * LOG2_E };
        for first in (0..shape.q_len).step_by(chunk) {
            let rows = chunk.min(shape.q_len - first);
            let panels = rows.div_ceil(PANEL);
            self.load(s, first, rows, &mut queries);
            for start in (0..n).step_by(KEYS) {
                // Rows beyond `len` (the keys that exist) up to whole steps are zeros.
                let (len, steps) = (KEYS.min(shape.kv_len - start), KEYS.min(n - start) / STEP);
                let tiles = steps * (STEP / TILE);
                for p in 0..panels {
                    let left = |x: &[bf16]| Operand { at: x[start * deep..].as_ptr().cast(), stride: 2 * deep };
                    let right = |x: &[bf16]| Operand { at: x[p * deep * PANEL..].as_ptr().cast(), stride: 4 * PANEL };
                    let into = |x: &mut [f32]| Operand { at: x.as_mut_ptr().cast(), stride: 4 * PANEL };
                    // SAFETY: keys and values are filled up to whole steps, panels to `deep`; scores hold KEYS rows.
                    unsafe {
                        product::<AMX>(
                            [tiles, 2, deep / STEP],
                            left(keys),
                            right(queries.queries),
                            into(scores),
                            false,
                        );
                        product::<AMX>(
                            [tiles, 2, deep / STEP],
                            left(values),
                            right(queries.douts),
                            into(slopes),
                            false,
                        );
                    }
                    if premultiply {
                        let bias = input.key_bias.map(|bias| &bias[head / shape.heads * shape.kv_len + start..][..len]);
                        scale_and_bias(s, &mut scores[..len * PANEL], shape.scale, bias);
                    }
                    if shape.causal {
                        hide_future(scores, PANEL, len, first + p * PANEL + shape.kv_len - shape.q_len, start);
                    }
                    let at = p * PANEL..(p + 1) * PANEL;
                    let lines =
                        Lines { lse: &queries.lse[at.clone()], level: &queries.level[at], factor, scale: shape.scale };
                    scores[len * PANEL..steps * STEP * PANEL].fill(f32::NEG_INFINITY);
                    let rows = [&mut p_rows[p * PANEL..], &mut ds_rows[p * PANEL..]];
                    let (scores, slopes) = (&scores[..steps * STEP * PANEL], &slopes[..steps * STEP * PANEL]);
                    slope_block(s, scores, slopes, &lines, rows, chunk, ds_pairs);
                    let a = Operand { at: keys_across[start * wide..].as_ptr().cast(), stride: 2 * STEP * steps };
                    let b = Operand { at: ds_pairs.as_ptr().cast(), stride: 4 * PANEL };
                    let result = &mut queries.result[p * wide * PANEL..];
                    let c = Operand { at: result.as_mut_ptr().cast(), stride: 4 * PANEL };
                    // SAFETY: keys_across holds `wide` rows of whole steps, ds_pairs `steps` of them, result `wide` rows.
                    unsafe { product::<AMX>([wide / TILE, 2, steps], a, b, c, true) };
                }
                for (rows, pairs, sums) in
                    [(&p_rows, &queries.dout_pairs, &mut *dv), (&ds_rows, &queries.query_pairs, &mut *dk)]
                {
                    let a = Operand { at: rows.as_ptr().cast(), stride: 2 * chunk };
                    let b = Operand { at: pairs.as_ptr().cast(), stride: 4 * wide };
                    let c = Operand { at: sums[start * wide..].as_mut_ptr().cast(), stride: 4 * wide };
                    // SAFETY: rows hold whole tiles of `panels` steps, pairs as many, and the sums as many rows as keys.
                    unsafe { product::<AMX>([tiles, wide / TILE, panels], a, b, c, first > 0) };
                }
            }
            for p in 0..panels {
                let at = |q| self.dense(first + p * PANEL + q);
                let (rows, d) = (PANEL.min(rows - p * PANEL), shape.head_dim);
                let result = &queries.result[p * wide * PANEL..][..wide * PANEL];
                // SAFETY: every head is one task.
                unpack_transposed(result, &[1.0; PANEL], [rows, d], |q| unsafe { self.dq.range(at(q), d) });
            }
        }
        self.store(s, dk, self.dk);
        self.store(s, dv, self.dv);
    }

    /// Where row `q` of this head starts in the dense tensors of queries.
    fn dense(&self, q: usize) -> usize {
        let (shape, head) = (self.shape, self.head);
        ((head / shape.heads * shape.q_len + q) * shape.heads + head % shape.heads) * shape.head_dim
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    fn load(&self, s: Avx512, first: usize, rows: usize, chunk: &mut Chunk<'_>) {
        let &Head { input, shape, padded, known, head, .. } = self;
        let (d, stride) = (shape.head_dim, shape.heads * shape.head_dim);
        let Padded { deep, wide, .. } = padded;
        for (p, start) in (first..first + rows).step_by(PANEL).enumerate() {
            let rows = PANEL.min(first + rows - start);
            let q = &input.q[shape.q_start(head) + start * shape.q_stride..];
            let q = Source { x: q, stride: shape.q_stride, rows, width: d };
            let dout = Source { x: &known.dout[self.dense(start)..], stride, rows, width: d };
            pack_transposed_pairs(q, deep, &mut chunk.queries[p * deep * PANEL..][..deep * PANEL]);
            pack_transposed_pairs(dout, deep, &mut chunk.douts[p * deep * PANEL..][..deep * PANEL]);
            pack_pairs(q, wide, &mut chunk.query_pairs[p * wide * PANEL..][..wide * PANEL]);
            pack_pairs(dout, wide, &mut chunk.dout_pairs[p * wide * PANEL..][..wide * PANEL]);
            for q in 0..PANEL {
                let (level, lse) = (&mut chunk.level[p * PANEL + q], &mut chunk.lse[p * PANEL + q]);
                // Missing queries, and those that see no key, get probabilities 2^-inf = 0.
                (*level, *lse) = (0.0, f32::INFINITY);
                let sum = if q < rows { known.lse[head * shape.q_len + start + q] } else { f32::NEG_INFINITY };
                if sum > f32::NEG_INFINITY {
                    *lse = sum * LOG2_E;
                    let at = self.dense(start + q);
                    *level = dot(s, &known.out[at..at + d], &known.dout[at..at + d]);
                }
            }
        }
        chunk.result[..rows.next_multiple_of(PANEL) * wide].fill(0.0);
    }

    /// Sums `[keys][wide]` into the dense gradient.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    fn store(&self, s: Avx512, sums: &[f32], to: &Shared<'_, bf16>) {
        let (shape, head) = (self.shape, self.head);
        for (j, sums) in sums.chunks_exact(self.padded.wide).take(shape.kv_len).enumerate() {
            let at = ((head / shape.heads * shape.kv_len + j) * shape.heads + head % shape.heads) * shape.head_dim;
            // SAFETY: every head is one task.
            let to = unsafe { to.range(at, shape.head_dim) };
            for (to, sums) in to.chunks_mut(16).zip(sums.chunks_exact(16)) {
                s.store_any(s.load(sums), to);
            }
        }
    }
}

/// Per query of a panel: log Σ (in powers of two) and Σ out · dout; factor of the scores and scale of their gradients.
struct Lines<'a> {
    lse: &'a [f32],
    level: &'a [f32],
    factor: f32,
    scale: f32,
}

/// Probabilities and score gradients of a block of keys (an even number), rounded: both as rows `stride` apart, the
/// gradients also paired along the keys.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
fn slope_block(
    s: Avx512,
    scores: &[f32],
    slopes: &[f32],
    lines: &Lines<'_>,
    [p_rows, ds_rows]: [&mut [bf16]; 2],
    stride: usize,
    ds_pairs: &mut [bf16],
) {
    let (order, factor, scale) = (pairing(), s.splat(lines.factor), s.splat(lines.scale));
    let load = |x: &[f32]| [s.load(x), s.load(&x[16..])];
    let shift = load(lines.lse).map(|lse| s.sub(s.splat(0.0), lse));
    // ds = p · (dp · scale - level · scale)
    let level = load(lines.level).map(|level| s.mul(level, s.sub(s.splat(0.0), scale)));
    let blocks = scores.chunks_exact(2 * PANEL).zip(slopes.chunks_exact(2 * PANEL));
    for (pair, ((scores, slopes), paired)) in blocks.zip(ds_pairs.chunks_exact_mut(2 * PANEL)).enumerate() {
        let mut ds = [[s.splat(0.0); 2]; 2];
        for row in 0..2 {
            let (score, slope) = (load(&scores[row * PANEL..]), load(&slopes[row * PANEL..]));
            let mut p = [s.splat(0.0); 2];
            for half in 0..2 {
                p[half] = math::exp2_for_bf16(s, s.fma(score[half], factor, shift[half]));
                ds[row][half] = s.mul(p[half], s.fma(slope[half], scale, level[half]));
            }
            let at = (2 * pair + row) * stride;
            store_pairs(&mut p_rows[at..], round_two(p[0], p[1]));
            store_pairs(&mut ds_rows[at..], round_two(ds[row][0], ds[row][1]));
        }
        for half in 0..2 {
            let both = round_two(ds[0][half], ds[1][half]);
            store_pairs(&mut paired[half * 32..], _mm512_permutexvar_epi16(order, both));
        }
    }
}
