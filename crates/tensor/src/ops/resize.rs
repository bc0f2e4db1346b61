//! Other sizes of feature maps `[batch, height, width, channels]`: interpolation, pixel shuffle, pooling.

use danqing_kernels::pool::PooledBuf;
use danqing_kernels::resize::{
    PoolShape, avg_pool2d, avg_pool2d_grad, bilinear, bilinear_grad, max_pool2d, max_pool2d_grad, nearest,
    nearest_grad, pixel_shuffle, pixel_unshuffle,
};

use crate::error::{Result, argument_error, shape_error};
use crate::shape::Dims;
use crate::storage::dispatch;
use crate::tape::record;
use crate::tensor::Tensor;

#[derive(Clone, Copy)]
enum Interpolation {
    Nearest,
    Bilinear,
}

#[derive(Clone, Copy)]
enum Pooling {
    Average,
    Maximum,
}

fn map_dims(op: &'static str, x: &Tensor) -> Result<[usize; 4]> {
    match *x.shape() {
        [b, h, w, c] if x.numel() > 0 => Ok([b, h, w, c]),
        _ => shape_error(op, &[x.shape()], "a map [batch, height, width, channels] that is not empty is needed"),
    }
}

impl Tensor {
    /// Each pixel repeated `factor` times down and across.
    ///
    /// # Errors
    /// If this is not a feature map or the factor is zero; the same holds for the other functions of this file.
    pub fn upsample_nearest(&self, factor: usize) -> Result<Tensor> {
        let [_, h, w, _] = map_dims("upsample_nearest", self)?;
        self.interpolated(
            "upsample_nearest",
            Interpolation::Nearest,
            h.saturating_mul(factor),
            w.saturating_mul(factor),
        )
    }

    /// Every new pixel shows the pixel `floor(i · old / new)`.
    pub fn resize_nearest(&self, height: usize, width: usize) -> Result<Tensor> {
        self.interpolated("resize_nearest", Interpolation::Nearest, height, width)
    }

    /// Bilinear interpolation: half-pixel centres (`align_corners` false), the border repeated, no antialiasing.
    pub fn resize_bilinear(&self, height: usize, width: usize) -> Result<Tensor> {
        self.interpolated("resize_bilinear", Interpolation::Bilinear, height, width)
    }

    fn interpolated(&self, op: &'static str, kind: Interpolation, height: usize, width: usize) -> Result<Tensor> {
        let from = map_dims(op, self)?;
        if height == 0 || width == 0 {
            return argument_error(op, "the new size must be at least one pixel");
        }
        let (shape, to) = (Dims::new(op, &[from[0], height, width, from[3]])?, [height, width]);
        shape.checked_numel(op)?;
        let x = self.dense();
        let out = dispatch!(x.dtype(), E => {
            let mut out = PooledBuf::<E>::dirty(shape.numel());
            match kind {
                Interpolation::Nearest => nearest(x.data::<E>(), from, to, &mut out),
                Interpolation::Bilinear => bilinear(x.data::<E>(), from, to, &mut out),
            }
            Tensor::wrap(out, shape)
        });
        Ok(record(op, out, &[self], &[], |_| {
            let full = self.dims();
            Box::new(move |dy, walk| {
                let dy = dy.dense();
                let dx = dispatch!(dy.dtype(), E => {
                    let mut dx = PooledBuf::<E>::dirty(full.numel());
                    match kind {
                        Interpolation::Nearest => nearest_grad(dy.data::<E>(), from, to, &mut dx),
                        Interpolation::Bilinear => bilinear_grad(dy.data::<E>(), from, to, &mut dx),
                    }
                    Tensor::wrap(dx, full)
                });
                walk.add(0, dx)
            })
        }))
    }

    /// `[b, h, w, c·r²]` → `[b, h·r, w·r, c]`; channel `(c·r + y)·r + x` becomes pixel `(y, x)`, as in PyTorch.
    pub fn pixel_shuffle(&self, factor: usize) -> Result<Tensor> {
        let [b, h, w, c] = map_dims("pixel_shuffle", self)?;
        match factor.checked_mul(factor) {
            Some(square) if square > 0 && c.is_multiple_of(square) => {
                self.shuffled("pixel_shuffle", factor, true, [b, h * factor, w * factor, c / square])
            }
            _ => argument_error("pixel_shuffle", format!("{c} channels do not divide by the square of {factor}")),
        }
    }

    /// The reverse of [`Tensor::pixel_shuffle`].
    pub fn pixel_unshuffle(&self, factor: usize) -> Result<Tensor> {
        let [b, h, w, c] = map_dims("pixel_unshuffle", self)?;
        if factor == 0 || !h.is_multiple_of(factor) || !w.is_multiple_of(factor) {
            return argument_error("pixel_unshuffle", format!("a map of {h}x{w} does not divide by {factor}"));
        }
        self.shuffled("pixel_unshuffle", factor, false, [b, h / factor, w / factor, c * factor * factor])
    }

    fn shuffled(&self, op: &'static str, factor: usize, spread: bool, shape: [usize; 4]) -> Result<Tensor> {
        fn run(x: &Tensor, factor: usize, spread: bool, dims: Dims) -> Tensor {
            let x = x.dense();
            let from = [x.dim(0), x.dim(1), x.dim(2), x.dim(3)];
            dispatch!(x.dtype(), E => {
                let mut out = PooledBuf::<E>::dirty(dims.numel());
                match spread {
                    true => pixel_shuffle(x.data::<E>(), from, factor, &mut out),
                    false => pixel_unshuffle(x.data::<E>(), from, factor, &mut out),
                }
                Tensor::wrap(out, dims)
            })
        }
        let out = run(self, factor, spread, Dims::new(op, &shape)?);
        Ok(record(op, out, &[self], &[], |_| {
            let full = self.dims();
            Box::new(move |dy, walk| walk.add(0, run(&dy, factor, !spread, full)))
        }))
    }

    /// Mean over windows; the border counts as zeros (PyTorch's default).
    pub fn avg_pool2d(&self, kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Result<Tensor> {
        self.pooled("avg_pool2d", Pooling::Average, kernel, stride, padding)
    }

    /// Largest value of each window.
    pub fn max_pool2d(&self, kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Result<Tensor> {
        self.pooled("max_pool2d", Pooling::Maximum, kernel, stride, padding)
    }

    fn pooled(
        &self,
        op: &'static str,
        kind: Pooling,
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [usize; 2],
    ) -> Result<Tensor> {
        let [batch, height, width, channels] = map_dims(op, self)?;
        let fits = |side: usize, size: usize| {
            let (k, p) = (kernel[side], padding[side]);
            k > 0 && stride[side] > 0 && p <= k / 2 && size + 2 * p >= k
        };
        if !fits(0, height) || !fits(1, width) {
            let why = format!(
                "window {kernel:?}, stride {stride:?}, border {padding:?} do not suit a map of {height}x{width}"
            );
            return argument_error(op, why);
        }
        let shape = PoolShape { batch, height, width, channels, kernel, stride, padding };
        let dims = Dims::new(op, &[batch, shape.out_height(), shape.out_width(), channels])?;
        let x = self.dense();
        let out = dispatch!(x.dtype(), E => {
            let mut out = PooledBuf::<E>::dirty(dims.numel());
            match kind {
                Pooling::Average => avg_pool2d(x.data::<E>(), &shape, &mut out),
                Pooling::Maximum => max_pool2d(x.data::<E>(), &shape, &mut out),
            }
            Tensor::wrap(out, dims)
        });
        Ok(record(op, out, &[self], &[], |_| {
            Box::new(move |dy, walk| {
                let dy = dy.dense();
                let dx = dispatch!(dy.dtype(), E => {
                    let mut dx = PooledBuf::<E>::dirty(x.numel());
                    match kind {
                        Pooling::Average => avg_pool2d_grad(dy.data::<E>(), &shape, &mut dx),
                        Pooling::Maximum => max_pool2d_grad(x.data::<E>(), dy.data::<E>(), &shape, &mut dx),
                    }
                    Tensor::wrap(dx, x.dims())
                });
                walk.add(0, dx)
            })
        }))
    }
}
