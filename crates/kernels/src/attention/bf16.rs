//! Attention in bf16 products with f32 sums, on AMX tiles or AVX-512 BF16: forward.
//!
//! As in [`super::single`], scores are computed transposed and softened down vector lanes; then neighbouring keys are
//! rounded and paired, which is the form that the second product wants: nothing is transposed on the way. Keys are
//! padded, and values transposed, once per head before the queries are cut into tasks.

use super::packing::{Source, pack_rows, pack_transposed, pack_transposed_pairs, unpack_transposed};
use super::product::{Operand, STEP, TILE, Tiles, product, round_two};
use super::single::{LOWEST, hide_future};
use super::{AttentionInput, AttentionShape};
use crate::pool::PooledBuf;
use crate::simd::{Avx512, Simd, math};
use crate::threads::{Shared, parallel_for};
use half::bf16;
use std::arch::x86_64::*;
use std::f32::consts::{LN_2, LOG2_E};

/// Queries of a panel.
pub(super) const PANEL: usize = 32;
/// Keys per block.
const KEYS: usize = 128;

/// Sizes of one head, filled up to whole tiles.
#[derive(Clone, Copy)]
pub(super) struct Padded {
    /// Keys, to steps.
    pub(super) keys: usize,
    /// Width where it is summed over, to steps.
    pub(super) deep: usize,
    /// Width where it is a side of the result, to tiles.
    pub(super) wide: usize,
}

impl Padded {
    pub(super) fn new(shape: &AttentionShape) -> Padded {
        let d = shape.head_dim;
        Padded {
            keys: shape.kv_len.next_multiple_of(STEP),
            deep: d.next_multiple_of(STEP),
            wide: d.next_multiple_of(TILE),
        }
    }
}

/// The keys (or values) of a head.
pub(super) fn rows_of<'a>(x: &'a [bf16], shape: &AttentionShape, head: usize) -> Source<'a> {
    Source { x: &x[shape.kv_start(head)..], stride: shape.kv_stride, rows: shape.kv_len, width: shape.head_dim }
}

/// Panels per task: more where heads are wide, so that keys and values are read from far away less often.
fn panels(head_dim: usize) -> usize {
    if head_dim >= 192 { 8 } else { 2 }
}

/// The whole attention; `lse` may be empty.
///
/// # Safety
/// The CPU has AVX-512 BF16 and, with `AMX`, tiles that may be used.
pub(super) unsafe fn forward<const AMX: bool>(
    input: &AttentionInput<'_, bf16>,
    shape: &AttentionShape,
    out: &mut [bf16],
    lse: &mut [f32],
) {
    let heads = shape.batch * shape.heads;
    let padded = Padded::new(shape);
    let (key_len, value_len) = (padded.keys * padded.deep, padded.wide * padded.keys);
    let mut keys = PooledBuf::<bf16>::dirty(heads * key_len);
    let mut values = PooledBuf::<bf16>::dirty(heads * value_len);
    let (shared_keys, shared_values) = (Shared::new(&mut keys), Shared::new(&mut values));
    parallel_for(heads, &|head| {
        // SAFETY: every head is one task; the instruction sets are the caller's promise.
        unsafe {
            pack_rows(rows_of(input.k, shape, head), padded.deep, shared_keys.range(head * key_len, key_len));
            let values = shared_values.range(head * value_len, value_len);
            pack_transposed(rows_of(input.v, shape, head), [padded.wide, padded.keys, KEYS], values);
        }
    });
    let queries = PANEL * panels(shape.head_dim);
    let blocks = shape.q_len.div_ceil(queries);
    let (out, lse) = (Shared::new(out), Shared::new(lse));
    parallel_for(heads * blocks, &|i| {
        let (head, first) = (i / blocks, i % blocks * queries);
        let count = queries.min(shape.q_len - first);
        let (keys, values) = (&keys[head * key_len..][..key_len], &values[head * value_len..][..value_len]);
        let task = Task { input, shape, padded, keys, values, head, first, count, out: &out, lse: &lse };
        // SAFETY: the caller's promise.
        unsafe { task.run::<AMX>() };
    });
}

struct Task<'a> {
    input: &'a AttentionInput<'a, bf16>,
    shape: &'a AttentionShape,
    padded: Padded,
    keys: &'a [bf16],
    values: &'a [bf16],
    head: usize,
    first: usize,
    count: usize,
    out: &'a Shared<'a, bf16>,
    lse: &'a Shared<'a, f32>,
}

/// What a panel of queries carries from block to block.
struct Panel<'a> {
    /// `[deep / 2][32]` pairs.
    queries: &'a mut [bf16],
    /// `[wide][32]`.
    result: &'a mut [f32],
    /// Running maximum (of the unscaled scores) and sum.
    most: &'a mut [f32],
    sum: &'a mut [f32],
}

impl Task<'_> {
    /// # Safety
    /// As [`forward`].
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    unsafe fn run<const AMX: bool>(&self) {
        let &Task { input, shape, padded, head, first, count, .. } = self;
        let Padded { deep, wide, .. } = padded;
        // SAFETY: the caller's promise.
        let _tiles = AMX.then(|| unsafe { Tiles::ready() });
        // SAFETY: the features of this function.
        let s = unsafe { Avx512::assume() };
        let (panels, n) = (count.div_ceil(PANEL), shape.kv_len);
        let mut queries = PooledBuf::<bf16>::dirty(panels * deep * PANEL + KEYS * PANEL);
        let mut sums = PooledBuf::<f32>::dirty(panels * (wide + 2) * PANEL + KEYS * PANEL);
        let (queries, probabilities) = queries.split_at_mut(panels * deep * PANEL);
        let (sums, scores) = sums.split_at_mut(panels * (wide + 2) * PANEL);
        let split = |(queries, sums)| -> Panel<'_> {
            let sums: &mut [f32] = sums;
            let (result, rest) = sums.split_at_mut(wide * PANEL);
            let (most, sum) = rest.split_at_mut(PANEL);
            Panel { queries, result, most, sum }
        };
        let parts = queries.chunks_exact_mut(deep * PANEL).zip(sums.chunks_exact_mut((wide + 2) * PANEL));
        let mut states: Vec<Panel<'_>> = parts.map(split).collect();
        for (p, state) in states.iter_mut().enumerate() {
            let start = first + p * PANEL;
            let at = shape.q_start(head) + start * shape.q_stride;
            let rows = PANEL.min(first + count - start);
            let source = Source { x: &input.q[at..], stride: shape.q_stride, rows, width: shape.head_dim };
            pack_transposed_pairs(source, deep, state.queries);
            state.result.fill(0.0);
            state.most.fill(LOWEST);
            state.sum.fill(0.0);
        }
        let premultiply = input.key_bias.is_some() || shape.scale <= 0.0;
        let factor = if premultiply { 1.0 } else { shape.scale * LOG2_E };
        let seen = if shape.causal { (first + count + n - shape.q_len).min(n) } else { n };
        for start in (0..seen).step_by(KEYS) {
            let len = KEYS.min(seen - start);
            let steps = len.div_ceil(STEP);
            for (p, state) in states.iter_mut().enumerate() {
                let a = Operand { at: self.keys[start * deep..].as_ptr().cast(), stride: 2 * deep };
                let b = Operand { at: state.queries.as_ptr().cast(), stride: 4 * PANEL };
                let c = Operand { at: scores.as_mut_ptr().cast(), stride: 4 * PANEL };
                // SAFETY: keys are filled up to whole steps, queries to `deep`, and scores hold KEYS rows.
                unsafe { product::<AMX>([len.div_ceil(TILE), 2, deep / STEP], a, b, c, false) };
                if premultiply {
                    let bias = input.key_bias.map(|bias| &bias[head / shape.heads * n + start..][..len]);
                    scale_and_bias(s, &mut scores[..len * PANEL], shape.scale, bias);
                }
                if shape.causal {
                    hide_future(scores, PANEL, len, first + p * PANEL + n - shape.q_len, start);
                }
                soften(s, &scores[..len * PANEL], factor, state, &mut probabilities[..steps * STEP * PANEL]);
                let stride = 2 * KEYS.min(padded.keys - start);
                let a = Operand { at: self.values[start * wide..].as_ptr().cast(), stride };
                let b = Operand { at: probabilities.as_ptr().cast(), stride: 4 * PANEL };
                let c = Operand { at: state.result.as_mut_ptr().cast(), stride: 4 * PANEL };
                // SAFETY: values hold `wide` rows of whole steps, probabilities `steps` of them, result `wide` rows.
                unsafe { product::<AMX>([wide / TILE, 2, steps], a, b, c, true) };
            }
        }
        for (p, state) in states.iter().enumerate() {
            self.finish(first + p * PANEL, state, factor);
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
    fn finish(&self, start: usize, state: &Panel<'_>, factor: f32) {
        let (shape, head) = (self.shape, self.head);
        let rows = PANEL.min(self.first + self.count - start);
        let factors: [f32; PANEL] = std::array::from_fn(|q| if state.sum[q] > 0.0 { 1.0 / state.sum[q] } else { 0.0 });
        let d = shape.head_dim;
        let at = |q| ((head / shape.heads * shape.q_len + start + q) * shape.heads + head % shape.heads) * d;
        // SAFETY: every (head, query) belongs to one task.
        unpack_transposed(state.result, &factors, [rows, d], |q| unsafe { self.out.range(at(q), d) });
        if !self.lse.is_empty() {
            // SAFETY: as above.
            let lse = unsafe { self.lse.range(head * shape.q_len + start, rows) };
            for (q, lse) in lse.iter_mut().enumerate() {
                let sum = state.sum[q];
                *lse = if sum > 0.0 { state.most[q] * factor * LN_2 + sum.ln() } else { f32::NEG_INFINITY };
            }
        }
    }
}

/// Scores in powers of two, with the bias of their keys.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) fn scale_and_bias(s: Avx512, scores: &mut [f32], scale: f32, bias: Option<&[f32]>) {
    let scale = s.splat(scale * LOG2_E);
    for (j, row) in scores.chunks_exact_mut(PANEL).enumerate() {
        let bias = s.splat(bias.map_or(0.0, |bias| bias[j] * LOG2_E));
        for scores in row.chunks_exact_mut(16) {
            s.store(s.fma(s.load(scores), scale, bias), scores);
        }
    }
}

/// The order of 16-bit values that pairs the lower and upper half of a register.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn pairing() -> __m512i {
    let mut order = [0u16; 32];
    order.iter_mut().enumerate().for_each(|(i, order)| *order = (i / 2 + i % 2 * 16) as u16);
    // SAFETY: 64 bytes.
    unsafe { _mm512_loadu_si512(order.as_ptr().cast()) }
}

/// Probabilities 2^((score - maximum) · factor), rounded and paired along the keys, rows beyond the scores zero; updates
/// the panel's maximum and sum, and shrinks its earlier result where the maximum grew.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")]
fn soften(s: Avx512, scores: &[f32], factor: f32, panel: &mut Panel<'_>, out: &mut [bf16]) {
    let (order, factor) = (pairing(), s.splat(factor));
    let rows = scores.len() / PANEL;
    out[rows.div_ceil(2) * 2 * PANEL..].fill(bf16::ZERO);
    let mut grown = 0;
    let mut shrink = [s.splat(1.0); 2];
    for (half, shrink) in shrink.iter_mut().enumerate() {
        let lane = half * 16;
        let old = s.load(&panel.most[lane..]);
        let mut most = [old; 4];
        let mut quads = scores.chunks_exact(4 * PANEL);
        for quad in quads.by_ref() {
            for (i, most) in most.iter_mut().enumerate() {
                *most = s.max(*most, s.load(&quad[i * PANEL + lane..]));
            }
        }
        for row in quads.remainder().chunks_exact(PANEL) {
            most[0] = s.max(most[0], s.load(&row[lane..]));
        }
        let most = s.max(s.max(most[0], most[1]), s.max(most[2], most[3]));
        let shift = s.mul(most, s.mul(factor, s.splat(-1.0)));
        let mut total = [s.splat(0.0); 2];
        let mut pairs = scores.chunks_exact(2 * PANEL);
        let mut out = out.chunks_exact_mut(2 * PANEL);
        for (pair, out) in pairs.by_ref().zip(out.by_ref()) {
            let low = math::exp2_for_bf16(s, s.fma(s.load(&pair[lane..]), factor, shift));
            let high = math::exp2_for_bf16(s, s.fma(s.load(&pair[PANEL + lane..]), factor, shift));
            total = [s.add(total[0], low), s.add(total[1], high)];
            store_pairs(&mut out[2 * lane..], _mm512_permutexvar_epi16(order, round_two(low, high)));
        }
        if let (false, Some(out)) = (pairs.remainder().is_empty(), out.next()) {
            let low = math::exp2_for_bf16(s, s.fma(s.load(&pairs.remainder()[lane..]), factor, shift));
            total[0] = s.add(total[0], low);
            store_pairs(&mut out[2 * lane..], _mm512_permutexvar_epi16(order, round_two(low, s.splat(0.0))));
        }
        *shrink = math::exp2(s, s.fma(old, factor, shift));
        let sum = s.fma(s.load(&panel.sum[lane..]), *shrink, s.add(total[0], total[1]));
        s.store(sum, &mut panel.sum[lane..]);
        s.store(most, &mut panel.most[lane..]);
        grown |= s.less(old, most);
    }
    if grown != 0 {
        for row in panel.result.chunks_exact_mut(PANEL) {
            let (low, high) = row.split_at_mut(16);
            s.store(s.mul(s.load(low), shrink[0]), low);
            s.store(s.mul(s.load(high), shrink[1]), high);
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store_pairs(out: &mut [bf16], v: __m512i) {
    assert!(out.len() >= 32);
    // SAFETY: 64 bytes, asserted.
    unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), v) }
}
