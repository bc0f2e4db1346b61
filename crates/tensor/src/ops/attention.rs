//! Scaled dot-product attention; the scores are never stored.

use danqing_kernels::attention::{AttentionGrad, AttentionInput, AttentionShape, attention, attention_grad};
use danqing_kernels::pool::PooledBuf;

use crate::error::{Result, TensorError, argument_error, shape_error};
use crate::shape::Dims;
use crate::storage::{DType, Scalar, dispatch};
use crate::tape::{record, records};
use crate::tensor::Tensor;

/// How queries see keys.
#[derive(Clone, Copy, Default)]
pub struct AttentionOptions<'a> {
    /// Query `i` sees keys up to `i + kv_len - q_len` only.
    pub causal: bool,
    /// `[batch, kv_len]`, added to the scaled scores; -inf hides a key. It gets no gradient.
    pub key_bias: Option<&'a Tensor>,
    /// Factor of the scores; `1 / √head_width` if not given.
    pub scale: Option<f32>,
}

/// A tensor `[batch, len, width]` as rows at one distance: a view where strides allow, else a copy; and that distance.
fn rows(x: &Tensor) -> (Tensor, usize) {
    let layout = x.layout();
    let (batch, len, width) = (layout.shape[0], layout.shape[1], layout.shape[2]);
    let [outer, step, inner] = [layout.strides[0], layout.strides[1], layout.strides[2]];
    if (inner == 1 || width == 1) && step >= width && (batch == 1 || outer == len * step) {
        return (x.detach(), step);
    }
    (x.dense(), width)
}

/// The part of the storage that a view of rows starts at.
fn from_offset<E: Scalar>(x: &Tensor) -> &[E] {
    &x.raw::<E>()[x.layout().offset..]
}

impl Tensor {
    /// Attention of `heads` heads that lie side by side in a row: queries `[batch, q_len, width]`, keys and values
    /// `[batch, kv_len, width]` → `[batch, q_len, width]`. Parts of a fused projection (`narrow`, `chunk`) cost no copy.
    ///
    /// # Errors
    /// If shapes or types do not fit.
    pub fn attention(
        queries: &Tensor,
        keys: &Tensor,
        values: &Tensor,
        heads: usize,
        options: AttentionOptions<'_>,
    ) -> Result<Tensor> {
        let op = "attention";
        let shapes = [queries.shape(), keys.shape(), values.shape()];
        let (&[batch, q_len, width], &[kv_batch, kv_len, kv_width]) = (queries.shape(), keys.shape()) else {
            return shape_error(op, &shapes, "[batch, length, width] is needed");
        };
        if keys.shape() != values.shape() || batch != kv_batch || width != kv_width {
            return shape_error(op, &shapes, "keys and values must be equal, batch and width those of the queries");
        }
        if heads == 0 || width == 0 || !width.is_multiple_of(heads) || kv_len == 0 {
            return argument_error(op, format!("width {width} must divide into {heads} heads, with at least one key"));
        }
        if options.causal && kv_len < q_len {
            return shape_error(op, &shapes, "causal attention needs a key for every query");
        }
        for other in [keys, values] {
            if other.dtype() != queries.dtype() {
                return Err(TensorError::DType { op, left: queries.dtype(), right: other.dtype() });
            }
        }
        if let Some(bias) = options.key_bias
            && bias.shape() != [batch, kv_len]
        {
            return shape_error(op, &[bias.shape(), &[batch, kv_len]], "the key bias must be [batch, kv_len]");
        }
        let full = queries.dims();
        if queries.numel() == 0 {
            return queries.contiguous();
        }
        let (q, q_stride) = rows(queries);
        let ((mut k, mut kv_stride), (mut v, v_stride)) = (rows(keys), rows(values));
        if kv_stride != v_stride {
            (k, v, kv_stride) = (k.dense(), v.dense(), width);
        }
        let bias = options.key_bias.map(|b| b.detach().cast(DType::F32)).transpose()?.map(|b| b.dense());
        let head_dim = width / heads;
        let scale = options.scale.unwrap_or(1.0 / (head_dim as f32).sqrt());
        let causal = options.causal;
        let shape = AttentionShape { batch, heads, q_len, kv_len, head_dim, q_stride, kv_stride, scale, causal };
        let keep = records(&[queries, keys, values], &[]);
        let mut lse = PooledBuf::<f32>::dirty(if keep { batch * heads * q_len } else { 0 });
        let out = dispatch!(q.dtype(), E => {
            let input = AttentionInput {
                q: from_offset::<E>(&q),
                k: from_offset::<E>(&k),
                v: from_offset::<E>(&v),
                key_bias: bias.as_ref().map(|b| b.data::<f32>()),
            };
            let mut out = PooledBuf::<E>::dirty(full.numel());
            attention(&input, &shape, &mut out, keep.then_some(&mut lse[..]));
            Tensor::wrap(out, full)
        });
        Ok(record(op, out, &[queries, keys, values], &[], |out| {
            let out = out.detach();
            let kv_dims: Dims = keys.dims();
            Box::new(move |dy, walk| {
                let dy = dy.dense();
                let grads = dispatch!(dy.dtype(), E => {
                    let input = AttentionInput {
                        q: from_offset::<E>(&q),
                        k: from_offset::<E>(&k),
                        v: from_offset::<E>(&v),
                        key_bias: bias.as_ref().map(|b| b.data::<f32>()),
                    };
                    let mut dq = PooledBuf::<E>::dirty(full.numel());
                    let mut dk = PooledBuf::<E>::dirty(kv_dims.numel());
                    let mut dv = PooledBuf::<E>::dirty(kv_dims.numel());
                    let grad = AttentionGrad { dq: &mut dq, dk: &mut dk, dv: &mut dv };
                    attention_grad(&input, &shape, out.data::<E>(), dy.data::<E>(), &lse, grad);
                    [Tensor::wrap(dq, full), Tensor::wrap(dk, kv_dims), Tensor::wrap(dv, kv_dims)]
                });
                for (input, grad) in grads.into_iter().enumerate() {
                    walk.add(input, grad)?;
                }
                Ok(())
            })
        }))
    }
}
