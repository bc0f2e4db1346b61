//! The formulas, one number at a time: what the fast kernels are held against.

use super::{AttentionGrad, AttentionInput, AttentionShape};
use crate::element::Element;

/// Scores of one query, masked ones -inf.
fn scores<E: Element>(input: &AttentionInput<'_, E>, shape: &AttentionShape, b: usize, h: usize, i: usize) -> Vec<f32> {
    let (d, at) = (shape.head_dim, h * shape.head_dim);
    let q = &input.q[(b * shape.q_len + i) * shape.q_stride + at..][..d];
    (0..shape.kv_len)
        .map(|j| {
            if shape.causal && j > i + shape.kv_len - shape.q_len {
                return f32::NEG_INFINITY;
            }
            let k = &input.k[(b * shape.kv_len + j) * shape.kv_stride + at..][..d];
            let dot: f32 = q.iter().zip(k).map(|(q, k)| q.to_f32() * k.to_f32()).sum();
            dot * shape.scale + input.key_bias.map_or(0.0, |bias| bias[b * shape.kv_len + j])
        })
        .collect()
}

fn log_sum_exp(scores: &[f32]) -> f32 {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    if most == f32::NEG_INFINITY { most } else { most + scores.iter().map(|s| (s - most).exp()).sum::<f32>().ln() }
}

/// One query row of one head: the output and log Σ e^score.
pub(super) fn forward<E: Element>(
    input: &AttentionInput<'_, E>,
    shape: &AttentionShape,
    [b, h, i]: [usize; 3],
    out: &mut [E],
) -> f32 {
    let scores = scores(input, shape, b, h, i);
    let lse = log_sum_exp(&scores);
    let mut sums = vec![0.0f32; shape.head_dim];
    for (j, score) in scores.iter().enumerate().filter(|(_, s)| **s > f32::NEG_INFINITY) {
        let v = &input.v[(b * shape.kv_len + j) * shape.kv_stride + h * shape.head_dim..];
        sums.iter_mut().zip(v).for_each(|(sum, v)| *sum += (score - lse).exp() * v.to_f32());
    }
    out.iter_mut().zip(&sums).for_each(|(out, &sum)| *out = E::from_f32(sum));
    lse
}

/// All gradients, whole tensors.
pub(super) fn backward<E: Element>(
    input: &AttentionInput<'_, E>,
    shape: &AttentionShape,
    out: &[E],
    dout: &[E],
    grad: AttentionGrad<'_, E>,
) {
    let (d, width) = (shape.head_dim, shape.heads * shape.head_dim);
    let [mut dq, mut dk, mut dv] = [grad.dq.len(), grad.dk.len(), grad.dv.len()].map(|n| vec![0.0f32; n]);
    for b in 0..shape.batch {
        for h in 0..shape.heads {
            for i in 0..shape.q_len {
                let scores = scores(input, shape, b, h, i);
                let lse = log_sum_exp(&scores);
                let at = (b * shape.q_len + i) * width + h * d;
                let (out, dout) = (&out[at..at + d], &dout[at..at + d]);
                let level: f32 = out.iter().zip(dout).map(|(o, g)| o.to_f32() * g.to_f32()).sum();
                let q = &input.q[(b * shape.q_len + i) * shape.q_stride + h * d..][..d];
                for (j, score) in scores.iter().enumerate().filter(|(_, s)| **s > f32::NEG_INFINITY) {
                    let p = (score - lse).exp();
                    let from = (b * shape.kv_len + j) * shape.kv_stride + h * d;
                    let to = (b * shape.kv_len + j) * width + h * d;
                    let (k, v) = (&input.k[from..from + d], &input.v[from..from + d]);
                    let dp: f32 = v.iter().zip(dout).map(|(v, g)| v.to_f32() * g.to_f32()).sum();
                    let ds = p * (dp - level) * shape.scale;
                    for e in 0..d {
                        dq[at + e] += ds * k[e].to_f32();
                        dk[to + e] += ds * q[e].to_f32();
                        dv[to + e] += p * dout[e].to_f32();
                    }
                }
            }
        }
    }
    for (to, from) in [(grad.dq, dq), (grad.dk, dk), (grad.dv, dv)] {
        to.iter_mut().zip(&from).for_each(|(to, &from)| *to = E::from_f32(from));
    }
}
