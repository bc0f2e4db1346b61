//! Leaky ReLU with a learned slope for each channel (He et al., arXiv:1502.01852).

use danqing_kernels::Element;
use danqing_kernels::pool::PooledBuf;

use crate::error::{Result, shape_error};
use crate::param::Param;
use crate::storage::dispatch;
use crate::strided::for_each_row;
use crate::tape::record;
use crate::tensor::Tensor;

impl Tensor {
    /// `x`, or `slope · x` below zero; `slope` has one value for each of the last dimension, or one for all.
    ///
    /// # Errors
    /// If the slopes are neither.
    pub fn prelu(&self, slope: &Param) -> Result<Tensor> {
        let channels = self.shape().last().copied().unwrap_or(0);
        let shared = slope.shape() == [1];
        if channels == 0 || !shared && slope.shape() != [channels] {
            let why = format!("`{}` must have one value, or one for each of the last dimension", slope.name());
            return shape_error("prelu", &[self.shape(), slope.shape()], why);
        }
        let x = self.dense();
        let slopes = match shared {
            true => vec![slope.wide().data::<f32>()[0]; channels],
            false => slope.wide().data::<f32>().to_vec(),
        };
        let out = dispatch!(x.dtype(), E => {
            let mut out = PooledBuf::<E>::dirty(x.numel());
            let values = x.data::<E>();
            for_each_row(&mut out, channels, |i, row| {
                for ((out, x), slope) in row.iter_mut().zip(&values[i * channels..]).zip(&slopes) {
                    let x = Element::to_f32(*x);
                    *out = <E as Element>::from_f32(x.max(0.0) + slope * x.min(0.0));
                }
            });
            Tensor::wrap(out, x.dims())
        });
        Ok(record("prelu", out, &[self], &[slope], |_| {
            let slope = slope.clone();
            Box::new(move |dy, walk| {
                let dy = dy.dense();
                if walk.needs(0) {
                    let dx = dispatch!(x.dtype(), E => {
                        let mut dx = PooledBuf::<E>::dirty(x.numel());
                        let (values, dy) = (x.data::<E>(), dy.data::<E>());
                        for_each_row(&mut dx, channels, |i, row| {
                            let from = i * channels..;
                            for (((dx, x), dy), slope) in
                                row.iter_mut().zip(&values[from.clone()]).zip(&dy[from]).zip(&slopes)
                            {
                                let factor = if Element::to_f32(*x) > 0.0 { 1.0 } else { *slope };
                                *dx = <E as Element>::from_f32(factor * Element::to_f32(*dy));
                            }
                        });
                        Tensor::wrap(dx, x.dims())
                    });
                    walk.add(0, dx)?;
                }
                walk.param(&slope, |sums, first| {
                    if first {
                        sums.fill(0.0);
                    }
                    dispatch!(x.dtype(), E => {
                        let rows = x.data::<E>().chunks_exact(channels).zip(dy.data::<E>().chunks_exact(channels));
                        for (x, dy) in rows {
                            for (c, (x, dy)) in x.iter().zip(dy).enumerate() {
                                let part = Element::to_f32(*x).min(0.0) * Element::to_f32(*dy);
                                sums[if shared { 0 } else { c }] += part;
                            }
                        }
                    });
                    Ok(())
                })
            })
        }))
    }
}
