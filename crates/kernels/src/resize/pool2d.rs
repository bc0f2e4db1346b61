//! Average and maximum pooling over windows, as PyTorch's `AvgPool2d` (padding counted) and `MaxPool2d`.

use crate::element::Element;
use crate::elementwise::map::for_pieces;
use crate::threads::Shared;
use std::ops::Range;

/// Shape of a pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolShape {
    /// Images.
    pub batch: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Channels.
    pub channels: usize,
    /// Window height and width.
    pub kernel: [usize; 2],
    /// Steps down and right.
    pub stride: [usize; 2],
    /// Border above and below, left and right; at most half the window.
    pub padding: [usize; 2],
}

impl PoolShape {
    /// Rows of the result.
    pub fn out_height(&self) -> usize {
        (self.height + 2 * self.padding[0]).saturating_sub(self.kernel[0]) / self.stride[0] + 1
    }

    /// Columns of the result.
    pub fn out_width(&self) -> usize {
        (self.width + 2 * self.padding[1]).saturating_sub(self.kernel[1]) / self.stride[1] + 1
    }

    fn check(&self, inner: usize, outer: usize) {
        let sides = [(self.height, 0), (self.width, 1)];
        for (size, side) in sides {
            let (kernel, padding) = (self.kernel[side], self.padding[side]);
            assert!(kernel > 0 && self.stride[side] > 0 && 2 * padding <= kernel, "bad pooling window: {self:?}");
            assert!(size + 2 * padding >= kernel, "the window is larger than the map: {self:?}");
        }
        assert_eq!(inner, self.batch * self.height * self.width * self.channels, "length of the map");
        assert_eq!(outer, self.batch * self.out_height() * self.out_width() * self.channels, "length of the result");
    }

    /// Rows (side 0) or columns (side 1) inside the map that window `i` covers.
    fn window(&self, side: usize, i: usize) -> Range<usize> {
        let size = if side == 0 { self.height } else { self.width };
        let start = i * self.stride[side];
        let end = (start + self.kernel[side]).saturating_sub(self.padding[side]).min(size);
        start.saturating_sub(self.padding[side])..end
    }

    /// Calls `visit(output pixel, input pixel)` for every pair in image `image` and output row `row`, pixels within
    /// the image.
    fn for_window_row(&self, row: usize, mut visit: impl FnMut(usize, usize)) {
        for column in 0..self.out_width() {
            for y in self.window(0, row) {
                for x in self.window(1, column) {
                    visit(row * self.out_width() + column, y * self.width + x);
                }
            }
        }
    }
}

/// Mean over every window; the border counts as zeros.
///
/// # Panics
/// If lengths or window do not fit.
pub fn avg_pool2d<E: Element>(x: &[E], shape: &PoolShape, out: &mut [E]) {
    shape.check(x.len(), out.len());
    let (c, width, height) = (shape.channels, shape.out_width(), shape.out_height());
    let scale = 1.0 / (shape.kernel[0] * shape.kernel[1]) as f32;
    let shared = Shared::new(out);
    for_pieces(shape.batch * height, 2, &|start, len| {
        let mut sums = vec![0.0f32; width * c];
        for row in start..start + len {
            let x = &x[row / height * shape.height * shape.width * c..];
            sums.fill(0.0);
            shape.for_window_row(row % height, |to, from| {
                let to = to % width * c;
                sums[to..to + c].iter_mut().zip(&x[from * c..]).for_each(|(sum, x)| *sum += x.to_f32());
            });
            // SAFETY: every row is visited by one task.
            let out = unsafe { shared.range(row * width * c, width * c) };
            out.iter_mut().zip(&sums).for_each(|(out, sum)| *out = E::from_f32(sum * scale));
        }
    });
}

/// Gradient of [`avg_pool2d`].
///
/// # Panics
/// If lengths or window do not fit.
pub fn avg_pool2d_grad<E: Element>(dy: &[E], shape: &PoolShape, dx: &mut [E]) {
    shape.check(dx.len(), dy.len());
    let (c, pixels) = (shape.channels, shape.height * shape.width);
    let scale = 1.0 / (shape.kernel[0] * shape.kernel[1]) as f32;
    for_images(shape, dx, &|image, sums| {
        let dy = &dy[image * shape.out_height() * shape.out_width() * c..];
        for row in 0..shape.out_height() {
            shape.for_window_row(row, |to, from| {
                sums[from * c..(from + 1) * c]
                    .iter_mut()
                    .zip(&dy[to * c..])
                    .for_each(|(sum, dy)| *sum += scale * dy.to_f32());
            });
        }
        debug_assert_eq!(sums.len(), pixels * c);
    });
}

/// Largest value in every window; NaN wins.
///
/// # Panics
/// If lengths or window do not fit.
pub fn max_pool2d<E: Element>(x: &[E], shape: &PoolShape, out: &mut [E]) {
    shape.check(x.len(), out.len());
    let (c, width, height) = (shape.channels, shape.out_width(), shape.out_height());
    let shared = Shared::new(out);
    for_pieces(shape.batch * height, 2, &|start, len| {
        for row in start..start + len {
            let x = &x[row / height * shape.height * shape.width * c..];
            // SAFETY: every row is visited by one task.
            let out = unsafe { shared.range(row * width * c, width * c) };
            out.fill(E::from_f32(f32::NEG_INFINITY));
            shape.for_window_row(row % height, |to, from| {
                let to = to % width * c;
                for (out, &x) in out[to..to + c].iter_mut().zip(&x[from * c..]) {
                    if wins(x.to_f32(), out.to_f32()) {
                        *out = x;
                    }
                }
            });
        }
    });
}

fn wins(x: f32, best: f32) -> bool {
    x > best || x.is_nan()
}

/// Gradient of [`max_pool2d`]: goes to the first largest value of each window.
///
/// # Panics
/// If lengths or window do not fit.
pub fn max_pool2d_grad<E: Element>(x: &[E], dy: &[E], shape: &PoolShape, dx: &mut [E]) {
    shape.check(x.len(), dy.len());
    assert_eq!(dx.len(), x.len(), "gradient and operand must have one length");
    let (c, pixels, width) = (shape.channels, shape.height * shape.width, shape.out_width());
    for_images(shape, dx, &|image, sums| {
        let x = &x[image * pixels * c..][..pixels * c];
        let dy = &dy[image * shape.out_height() * width * c..];
        let mut best = vec![(0usize, f32::NEG_INFINITY); width * c];
        for row in 0..shape.out_height() {
            best.fill((usize::MAX, f32::NEG_INFINITY));
            shape.for_window_row(row, |to, from| {
                let to = to % width * c;
                for (i, best) in best[to..to + c].iter_mut().enumerate() {
                    let x = x[from * c + i].to_f32();
                    if best.0 == usize::MAX || wins(x, best.1) {
                        *best = (from * c + i, x);
                    }
                }
            });
            let dy = &dy[row * width * c..];
            best.iter()
                .zip(dy)
                .filter(|(best, _)| best.0 != usize::MAX)
                .for_each(|(best, dy)| sums[best.0] += dy.to_f32());
        }
    });
}

/// Lets `task(image, sums)` fill f32 sums per image, then rounds them into `dx`.
fn for_images<E: Element>(shape: &PoolShape, dx: &mut [E], task: &(dyn Fn(usize, &mut [f32]) + Sync)) {
    let len = shape.height * shape.width * shape.channels;
    let shared = Shared::new(dx);
    for_pieces(shape.batch, 1, &|image, _| {
        let mut sums = vec![0.0f32; len];
        task(image, &mut sums);
        // SAFETY: every image is visited by one task.
        let dx = unsafe { shared.range(image * len, len) };
        dx.iter_mut().zip(&sums).for_each(|(dx, &sum)| *dx = E::from_f32(sum));
    });
}
