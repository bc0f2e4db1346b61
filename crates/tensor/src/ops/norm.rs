//! Group norm (arXiv:1803.08494) and layer norm (arXiv:1607.06450).

use danqing_kernels::elementwise::add_assign;
use danqing_kernels::gemm::Activation;
use danqing_kernels::norm::{GroupNorm, group_norm, group_norm_grad, layer_norm, layer_norm_grad};
use danqing_kernels::pool::PooledBuf;

use crate::error::{Result, shape_error};
use crate::param::Param;
use crate::storage::dispatch;
use crate::tape::{Walk, record, records};
use crate::tensor::Tensor;

fn add_param(walk: &mut Walk<'_>, param: &Param, values: &[f32]) -> Result<()> {
    walk.param(param, |sum, first| {
        match first {
            true => sum.copy_from_slice(values),
            false => add_assign(values, sum),
        }
        Ok(())
    })
}

fn check_affine(op: &'static str, x: &Tensor, gamma: &Param, beta: &Param) -> Result<usize> {
    let channels = x.shape().last().copied().unwrap_or(0);
    for param in [gamma, beta] {
        if param.shape() != [channels] || channels == 0 {
            let why = format!("`{}` must have one value for each of the last dimension", param.name());
            return shape_error(op, &[x.shape(), param.shape()], why);
        }
    }
    Ok(channels)
}

impl Tensor {
    /// Group norm of `[batch, …, channels]` with `groups` groups of neighbouring channels, then `activation`.
    ///
    /// # Errors
    /// If the channels are not divisible by the groups, or scale and offset are not `[channels]`.
    pub fn group_norm(
        &self,
        groups: usize,
        gamma: &Param,
        beta: &Param,
        epsilon: f32,
        activation: Activation,
    ) -> Result<Tensor> {
        let channels = check_affine("group_norm", self, gamma, beta)?;
        if self.rank() < 2 || groups == 0 || !channels.is_multiple_of(groups) {
            return shape_error(
                "group_norm",
                &[self.shape(), &[groups]],
                "[batch, …, channels in equal groups] is needed",
            );
        }
        let batch = self.dim(0);
        if self.numel() == 0 {
            return Ok(self.clone());
        }
        let pixels = self.numel() / (batch * channels);
        let x = self.dense();
        let (scale, offset) = (gamma.wide(), beta.wide());
        let norm = move |gamma: &Tensor, beta: &Tensor, f: &mut dyn FnMut(&GroupNorm<'_>)| {
            let (gamma, beta) = (gamma.data::<f32>(), beta.data::<f32>());
            f(&GroupNorm { batch, pixels, channels, groups, gamma, beta, epsilon, activation });
        };
        let keep = records(&[self], &[gamma, beta]);
        let mut stats = PooledBuf::<f32>::dirty(if keep { batch * groups * 2 } else { 0 });
        let out = dispatch!(x.dtype(), E => {
            let mut out = PooledBuf::<E>::dirty(x.numel());
            norm(&scale, &offset, &mut |norm| group_norm(x.data::<E>(), norm, &mut out, keep.then_some(&mut stats[..])));
            Tensor::wrap(out, x.dims())
        });
        Ok(record("group_norm", out, &[self], &[gamma, beta], |_| {
            let (gamma, beta) = (gamma.clone(), beta.clone());
            Box::new(move |dy, walk| {
                let dy = dy.dense();
                let mut sums = PooledBuf::<f32>::dirty(2 * channels);
                let (dgamma, dbeta) = sums.split_at_mut(channels);
                let dx = dispatch!(x.dtype(), E => {
                    let mut dx = PooledBuf::<E>::dirty(x.numel());
                    norm(&scale, &offset, &mut |norm| {
                        group_norm_grad(x.data::<E>(), dy.data::<E>(), norm, &stats, &mut dx, dgamma, dbeta);
                    });
                    Tensor::wrap(dx, x.dims())
                });
                add_param(walk, &gamma, dgamma)?;
                add_param(walk, &beta, dbeta)?;
                walk.add(0, dx)
            })
        }))
    }

    /// Layer norm of each row of the last dimension.
    ///
    /// # Errors
    /// If scale and offset do not have the length of the last dimension.
    pub fn layer_norm(&self, gamma: &Param, beta: &Param, epsilon: f32) -> Result<Tensor> {
        let channels = check_affine("layer_norm", self, gamma, beta)?;
        if self.numel() == 0 {
            return Ok(self.clone());
        }
        let x = self.dense();
        let (scale, offset) = (gamma.wide(), beta.wide());
        let keep = records(&[self], &[gamma, beta]);
        let mut stats = PooledBuf::<f32>::dirty(if keep { 2 * (x.numel() / channels) } else { 0 });
        let out = dispatch!(x.dtype(), E => {
            let mut out = PooledBuf::<E>::dirty(x.numel());
            let stats = keep.then_some(&mut stats[..]);
            layer_norm(x.data::<E>(), scale.data(), offset.data(), epsilon, &mut out, stats);
            Tensor::wrap(out, x.dims())
        });
        Ok(record("layer_norm", out, &[self], &[gamma, beta], |_| {
            let (gamma, beta) = (gamma.clone(), beta.clone());
            Box::new(move |dy, walk| {
                let dy = dy.dense();
                let mut sums = PooledBuf::<f32>::dirty(2 * channels);
                let (dgamma, dbeta) = sums.split_at_mut(channels);
                let dx = dispatch!(x.dtype(), E => {
                    let mut dx = PooledBuf::<E>::dirty(x.numel());
                    layer_norm_grad(x.data::<E>(), dy.data::<E>(), scale.data(), &stats, &mut dx, dgamma, dbeta);
                    Tensor::wrap(dx, x.dims())
                });
                add_param(walk, &gamma, dgamma)?;
                add_param(walk, &beta, dbeta)?;
                walk.add(0, dx)
            })
        }))
    }
}
