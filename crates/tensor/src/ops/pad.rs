//! Borders around feature maps.

use danqing_kernels::layout::{PadMode, Padding, pad2d, pad2d_grad};
use danqing_kernels::pool::PooledBuf;

use crate::error::{Result, argument_error, shape_error};
use crate::shape::Dims;
use crate::storage::dispatch;
use crate::tape::record;
use crate::tensor::Tensor;

impl Tensor {
    /// `[batch, height, width, channels]` with borders of `[top, bottom, left, right]` pixels.
    ///
    /// # Errors
    /// If this is not a feature map, is empty, or a reflected border is not smaller than the map.
    pub fn pad2d(&self, border: [usize; 4], mode: PadMode) -> Result<Tensor> {
        let &[b, h, w, c] = self.shape() else {
            return shape_error("pad2d", &[self.shape()], "[batch, height, width, channels] is needed");
        };
        let [top, bottom, left, right] = border;
        if self.numel() == 0 {
            return shape_error("pad2d", &[self.shape()], "an empty map has no border");
        }
        if mode == PadMode::Reflect && (top.max(bottom) >= h || left.max(right) >= w) {
            return argument_error(
                "pad2d",
                format!("reflected borders {border:?} must be smaller than the map {h}x{w}"),
            );
        }
        let sides = h.checked_add(top).and_then(|h| h.checked_add(bottom));
        let sides = sides.zip(w.checked_add(left).and_then(|w| w.checked_add(right)));
        let Some((rows, columns)) = sides else { return argument_error("pad2d", "the borders are too large") };
        let shape = Dims::new("pad2d", &[b, rows, columns, c])?;
        shape.checked_numel("pad2d")?;
        let padding = Padding { top, bottom, left, right };
        let x = self.dense();
        let out = dispatch!(x.dtype(), E => {
            let mut out = PooledBuf::<E>::dirty(shape.numel());
            pad2d(x.data::<E>(), [b, h, w, c], padding, mode, &mut out);
            Tensor::wrap(out, shape)
        });
        Ok(record("pad2d", out, &[self], &[], |_| {
            let full = self.dims();
            Box::new(move |dy, walk| {
                let dy = dy.dense();
                let dx = dispatch!(dy.dtype(), E => {
                    let mut dx = PooledBuf::<E>::dirty(full.numel());
                    pad2d_grad(dy.data::<E>(), [b, h, w, c], padding, mode, &mut dx);
                    Tensor::wrap(dx, full)
                });
                walk.add(0, dx)
            })
        }))
    }
}
