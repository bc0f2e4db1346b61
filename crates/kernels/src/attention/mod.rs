//! Scaled dot-product attention that never stores the scores (Dao et al., FlashAttention, arXiv:2205.14135; online
//! softmax: Milakov and Gimelshein, arXiv:1805.02867).

#[cfg(target_arch = "x86_64")]
mod bf16;
#[cfg(target_arch = "x86_64")]
mod bf16_grad;
#[cfg(target_arch = "x86_64")]
mod packing;
#[cfg(target_arch = "x86_64")]
mod product;
#[cfg(test)]
mod scalar;
mod single;
mod single_grad;
mod single_pack;
#[cfg(test)]
mod tests;
mod tile;

use crate::element::Element;
#[cfg(target_arch = "x86_64")]
use crate::isa::{Isa, isa};

/// Sizes of an attention. Heads lie side by side in a row: element `e` of head `h` is at `h · head_dim + e`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttentionShape {
    /// Independent sequences.
    pub batch: usize,
    /// Heads.
    pub heads: usize,
    /// Queries per sequence.
    pub q_len: usize,
    /// Keys per sequence.
    pub kv_len: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// From one query row to the next, in elements (more than `heads · head_dim` inside a fused projection).
    pub q_stride: usize,
    /// From one key or value row to the next, in elements.
    pub kv_stride: usize,
    /// Factor of the scores, usually 1/sqrt(head_dim).
    pub scale: f32,
    /// Query i sees keys up to i + kv_len - q_len only.
    pub causal: bool,
}

impl AttentionShape {
    /// Contiguous queries, keys and values with the usual scale, not causal.
    pub fn new(batch: usize, heads: usize, q_len: usize, kv_len: usize, head_dim: usize) -> Self {
        let width = heads * head_dim;
        let scale = 1.0 / (head_dim as f32).sqrt();
        AttentionShape {
            batch,
            heads,
            q_len,
            kv_len,
            head_dim,
            q_stride: width,
            kv_stride: width,
            scale,
            causal: false,
        }
    }

    /// Elements from the first to the last of `len` rows per sequence with this stride.
    fn span(&self, len: usize, stride: usize) -> usize {
        let rows = self.batch * len;
        if rows == 0 { 0 } else { (rows - 1) * stride + self.heads * self.head_dim }
    }

    /// Where the queries of a head (counted over all sequences) start.
    fn q_start(&self, head: usize) -> usize {
        head / self.heads * self.q_len * self.q_stride + head % self.heads * self.head_dim
    }

    /// Where the keys and values of a head (counted over all sequences) start.
    fn kv_start(&self, head: usize) -> usize {
        head / self.heads * self.kv_len * self.kv_stride + head % self.heads * self.head_dim
    }

    fn check<E>(&self, input: &AttentionInput<'_, E>) {
        let width = self.heads * self.head_dim;
        assert!(
            self.head_dim > 0 && self.heads > 0 && self.kv_len > 0,
            "attention needs heads, width and keys: {self:?}"
        );
        assert!(self.q_stride >= width && self.kv_stride >= width, "rows overlap: {self:?}");
        assert!(!self.causal || self.kv_len >= self.q_len, "causal attention needs a key for every query: {self:?}");
        assert!(input.q.len() >= self.span(self.q_len, self.q_stride), "too few queries for {self:?}");
        let keys = self.span(self.kv_len, self.kv_stride);
        assert!(input.k.len() >= keys && input.v.len() >= keys, "too few keys or values for {self:?}");
        let bias = input.key_bias.map_or(self.batch * self.kv_len, <[f32]>::len);
        assert_eq!(bias, self.batch * self.kv_len, "the key bias is [batch, kv_len]");
    }
}

/// What an attention reads.
#[derive(Clone, Copy, Debug)]
pub struct AttentionInput<'a, E> {
    /// `[batch, q_len, heads · head_dim]`, rows `q_stride` apart.
    pub q: &'a [E],
    /// `[batch, kv_len, heads · head_dim]`, rows `kv_stride` apart.
    pub k: &'a [E],
    /// As `k`.
    pub v: &'a [E],
    /// `[batch, kv_len]`, added to the scaled scores; -inf hides a key.
    pub key_bias: Option<&'a [f32]>,
}

#[cfg(target_arch = "x86_64")]
impl<'a, E: Element> AttentionInput<'a, E> {
    /// The input itself if its elements are bf16.
    fn as_bf16(&self) -> Option<AttentionInput<'a, half::bf16>> {
        Some(AttentionInput {
            q: E::as_bf16(self.q)?,
            k: E::as_bf16(self.k)?,
            v: E::as_bf16(self.v)?,
            key_bias: self.key_bias,
        })
    }
}

/// Where the gradients go: contiguous, heads side by side.
#[derive(Debug)]
pub struct AttentionGrad<'a, E> {
    /// `[batch, q_len, heads · head_dim]`.
    pub dq: &'a mut [E],
    /// `[batch, kv_len, heads · head_dim]`.
    pub dk: &'a mut [E],
    /// As `dk`.
    pub dv: &'a mut [E],
}

/// `out = softmax(q kᵀ · scale + bias) v` per sequence and head; `out` is contiguous. `lse`, if asked for, receives
/// log Σ e^score as `[batch, heads, q_len]`, which the gradient needs. A query that sees no key gets zeros.
///
/// # Panics
/// If lengths do not fit the shape.
pub fn attention<E: Element>(
    input: &AttentionInput<'_, E>,
    shape: &AttentionShape,
    out: &mut [E],
    lse: Option<&mut [f32]>,
) {
    shape.check(input);
    let (d, rows) = (shape.head_dim, shape.batch * shape.q_len);
    assert_eq!(out.len(), rows * shape.heads * d, "the result is [batch, q_len, heads * head_dim]");
    assert!(lse.as_ref().is_none_or(|lse| lse.len() == rows * shape.heads), "lse is [batch, heads, q_len]");
    let lse = lse.unwrap_or_default();
    #[cfg(target_arch = "x86_64")]
    if let (Some(input), Some(out)) = (input.as_bf16(), E::as_bf16_mut(out)) {
        // SAFETY: `isa` never names a set that the CPU lacks.
        unsafe {
            match isa() {
                Isa::Amx => return bf16::forward::<true>(&input, shape, out, lse),
                Isa::Avx512Bf16 => return bf16::forward::<false>(&input, shape, out, lse),
                _ => {}
            }
        }
    }
    single::forward(input, shape, out, lse);
}

/// Gradient of [`attention`] from its result `out`, that result's gradient `dout` (both contiguous) and `lse`.
/// Probabilities are computed again from `lse`, block by block.
///
/// # Panics
/// If lengths do not fit the shape.
pub fn attention_grad<E: Element>(
    input: &AttentionInput<'_, E>,
    shape: &AttentionShape,
    out: &[E],
    dout: &[E],
    lse: &[f32],
    mut grad: AttentionGrad<'_, E>,
) {
    shape.check(input);
    let (queries, keys) = (shape.batch * shape.q_len, shape.batch * shape.kv_len);
    let width = shape.heads * shape.head_dim;
    assert!(
        [out.len(), dout.len(), grad.dq.len()] == [queries * width; 3],
        "out, dout and dq are [batch, q_len, heads * head_dim]"
    );
    assert!([grad.dk.len(), grad.dv.len()] == [keys * width; 2], "dk and dv are [batch, kv_len, heads * head_dim]");
    assert_eq!(lse.len(), queries * shape.heads, "lse is [batch, heads, q_len]");
    #[cfg(target_arch = "x86_64")]
    if let (Some(input), Some(out), Some(dout)) = (input.as_bf16(), E::as_bf16(out), E::as_bf16(dout))
        && let AttentionGrad { dq, dk, dv } = &mut grad
        && let (Some(dq), Some(dk), Some(dv)) = (E::as_bf16_mut(dq), E::as_bf16_mut(dk), E::as_bf16_mut(dv))
    {
        let (known, grad) = (single_grad::Known { out, dout, lse }, AttentionGrad { dq, dk, dv });
        // SAFETY: `isa` never names a set that the CPU lacks.
        unsafe {
            match isa() {
                Isa::Amx => return bf16_grad::backward::<true>(&input, shape, known, grad),
                Isa::Avx512Bf16 => return bf16_grad::backward::<false>(&input, shape, known, grad),
                _ => {}
            }
        }
    }
    single_grad::backward(input, shape, single_grad::Known { out, dout, lse }, grad);
}
