//! Padding of feature maps: constant, reflected, or with the border repeated.

use crate::element::Element;
use crate::elementwise::map::for_pieces;
use crate::threads::Shared;

/// What stands in the border.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    /// One value.
    Constant(f32),
    /// Mirrored without repeating the edge; needs borders smaller than the map.
    Reflect,
    /// The edge repeated.
    Replicate,
}

/// Border widths in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns left.
    pub left: usize,
    /// Columns right.
    pub right: usize,
}

/// For each padded position along one side, the position that it shows.
fn sources(size: usize, before: usize, after: usize, mode: PadMode) -> Vec<Option<usize>> {
    if mode == PadMode::Reflect {
        assert!(before < size && after < size, "reflecting {before}+{after} pixels needs more than {size}");
    }
    let inside = |at: isize| -> Option<usize> {
        let last = size as isize - 1;
        match mode {
            PadMode::Constant(_) => (0..=last).contains(&at).then_some(at as usize),
            PadMode::Reflect => Some(if at < 0 {
                -at
            } else if at > last {
                2 * last - at
            } else {
                at
            } as usize),
            PadMode::Replicate => Some(at.clamp(0, last) as usize),
        }
    };
    (0..before + size + after).map(|at| inside(at as isize - before as isize)).collect()
}

/// `x` `[batch, height, width, channels]` → `[batch, top + height + bottom, left + width + right, channels]`.
///
/// # Panics
/// If lengths do not fit, the map is empty, or a reflected border is not smaller than the map.
pub fn pad2d<E: Element>(x: &[E], shape: [usize; 4], padding: Padding, mode: PadMode, out: &mut [E]) {
    let [batch, height, width, channels] = shape;
    let (rows, columns) = padded(shape, x.len(), out.len(), padding);
    let fill = E::from_f32(if let PadMode::Constant(value) = mode { value } else { 0.0 });
    let from_row = sources(height, padding.top, padding.bottom, mode);
    let from_column = sources(width, padding.left, padding.right, mode);
    let shared = Shared::new(out);
    for_pieces(batch * rows, 4, &|start, len| {
        for row in start..start + len {
            // SAFETY: every row is visited by one task.
            let out = unsafe { shared.range(row * columns * channels, columns * channels) };
            let Some(y) = from_row[row % rows] else {
                out.fill(fill);
                continue;
            };
            let x = &x[(row / rows * height + y) * width * channels..][..width * channels];
            for (out, from) in out.chunks_exact_mut(channels).zip(&from_column) {
                match *from {
                    Some(from) => out.copy_from_slice(&x[from * channels..(from + 1) * channels]),
                    None => out.fill(fill),
                }
            }
        }
    });
}

/// Gradient of [`pad2d`]: `dy` of the padded shape → `dx` of `shape`.
///
/// # Panics
/// As [`pad2d`].
pub fn pad2d_grad<E: Element>(dy: &[E], shape: [usize; 4], padding: Padding, mode: PadMode, dx: &mut [E]) {
    let [batch, height, width, channels] = shape;
    let (rows, columns) = padded(shape, dx.len(), dy.len(), padding);
    let from_row = sources(height, padding.top, padding.bottom, mode);
    let from_column = sources(width, padding.left, padding.right, mode);
    let shared = Shared::new(dx);
    for_pieces(batch * height, 4, &|start, len| {
        let mut sums = vec![0.0f32; width * channels];
        for row in start..start + len {
            sums.fill(0.0);
            let (image, y) = (row / height, row % height);
            for (padded_row, _) in from_row.iter().enumerate().filter(|&(_, &from)| from == Some(y)) {
                let dy = &dy[(image * rows + padded_row) * columns * channels..][..columns * channels];
                for (dy, from) in dy.chunks_exact(channels).zip(&from_column) {
                    let Some(from) = *from else { continue };
                    sums[from * channels..(from + 1) * channels].iter_mut().zip(dy).for_each(|(s, d)| *s += d.to_f32());
                }
            }
            // SAFETY: every row is visited by one task.
            let dx = unsafe { shared.range(row * width * channels, width * channels) };
            dx.iter_mut().zip(&sums).for_each(|(dx, &sum)| *dx = E::from_f32(sum));
        }
    });
}

/// Rows and columns of the padded map, lengths checked.
fn padded([batch, height, width, channels]: [usize; 4], inner: usize, outer: usize, p: Padding) -> (usize, usize) {
    let (rows, columns) = (p.top + height + p.bottom, p.left + width + p.right);
    assert!(height > 0 && width > 0 && channels > 0, "an empty map cannot be padded");
    assert_eq!(inner, batch * height * width * channels, "length of the map");
    assert_eq!(outer, batch * rows * columns * channels, "length of the padded map");
    (rows, columns)
}
