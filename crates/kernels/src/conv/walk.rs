//! How a convolution becomes a product: a zero-padded copy of the map, in which each tap's rows of A lie at one offset.
//!
//! A tile of 16 output pixels reads, for each tap, 16 pixels of the copy that lie at one stride: 16 neighbours in a row,
//! or, where rows are short, 16 places of the copy in a row, of which those in the padding are computed for nothing.
//! With few channels the taps of a kernel row are read as one longer run of channels ([`Layout::fused`]).

use super::Conv2dShape;
use crate::element::{Element, ElementKind};
use crate::gemm::Precision;
use crate::gemm::engine::{Tile, Tiles};
use crate::gemm::micro::{TILE, Tap};
use crate::gemm::packed::BLOCK;
use crate::pool::PooledBuf;
use crate::threads::{Shared, parallel_for};

/// How a kernel's taps are laid out in its pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// A kernel row is one tap whose `k` runs over its columns and their channels.
    pub fused: bool,
    pub taps: usize,
    pub k: usize,
}

impl Layout {
    /// The layout for `channels` summed over, forward or (`turned`) for the data gradient.
    pub fn of(shape: &Conv2dShape, channels: usize, precision: Precision, turned: bool) -> Layout {
        let [rows, columns] = shape.kernel;
        let possible = columns > 1 && shape.dilation[1] == 1 && (!turned || shape.stride == [1, 1]);
        let cost = |taps: usize, k: usize| match precision {
            Precision::Bf16 => taps * k.next_multiple_of(BLOCK),
            // Short runs of k cost the f32 kernels some start-up each.
            Precision::F32 => taps * (k + 4),
        };
        let fused = possible && cost(rows, columns * channels) * 8 <= cost(rows * columns, channels) * 7;
        let (taps, k) = if fused { (rows, columns * channels) } else { (rows * columns, channels) };
        Layout { fused, taps, k }
    }
}

/// The walk over one axis: which rows (or columns) of the source each output row reads.
#[derive(Clone, Copy, Debug)]
pub(super) struct Axis {
    /// Source positions.
    pub source: usize,
    /// Output positions in this walk, and the first of them and their distance in the output.
    pub outputs: usize,
    pub first: usize,
    pub step: usize,
    /// Source positions per output position.
    pub stride: usize,
    /// The source position at copy position 0 (negative: padding).
    pub origin: isize,
    /// Positions of the copy.
    pub copy: usize,
}

/// The taps of an axis: (kernel index, offset in the copy).
type AxisTaps = Vec<(usize, usize)>;

/// The forward walk over axis `axis`.
pub(super) fn forward(shape: &Conv2dShape, axis: usize) -> (Axis, AxisTaps) {
    let (source, outputs) =
        if axis == 0 { (shape.height, shape.out_height()) } else { (shape.width, shape.out_width()) };
    let (kernel, stride, dilation) = (shape.kernel[axis], shape.stride[axis], shape.dilation[axis]);
    let copy = (outputs - 1) * stride + (kernel - 1) * dilation + 1;
    let origin = -(shape.padding[2 * axis] as isize);
    let taps = (0..kernel).map(|k| (k, k * dilation)).collect();
    (Axis { source, outputs, first: 0, step: 1, stride, origin, copy }, taps)
}

/// The walks of the data gradient over axis `axis`: one for each phase of the stride, all over one copy.
///
/// Input row `i = phase + stride·u` gets, from tap `k`, output row `u + (phase + padding - k·dilation) / stride` where that
/// is whole.
pub(super) fn backward(shape: &Conv2dShape, axis: usize) -> Vec<(Axis, AxisTaps)> {
    let (rows, source) = if axis == 0 { (shape.height, shape.out_height()) } else { (shape.width, shape.out_width()) };
    let (kernel, stride) = (shape.kernel[axis], shape.stride[axis]);
    let (dilation, padding) = (shape.dilation[axis] as isize, shape.padding[2 * axis] as isize);
    let offset = |phase: usize, k: usize| {
        let shift = phase as isize + padding - k as isize * dilation;
        (shift.rem_euclid(stride as isize) == 0).then(|| shift.div_euclid(stride as isize))
    };
    let phases: Vec<usize> = (0..stride.min(rows)).collect();
    let offsets = || phases.iter().flat_map(|&phase| (0..kernel).filter_map(move |k| offset(phase, k)));
    let (low, high) = (offsets().min().unwrap_or(0), offsets().max().unwrap_or(0));
    let copy = rows.div_ceil(stride) + (high - low) as usize;
    let walk = |&phase: &usize| {
        let outputs = (rows - phase).div_ceil(stride);
        let taps = (0..kernel).filter_map(|k| Some((k, (offset(phase, k)? - low) as usize))).collect();
        (Axis { source, outputs, first: phase, step: stride, stride: 1, origin: low, copy }, taps)
    };
    phases.iter().map(walk).collect()
}

/// What the micro-kernels read: the padded copy, or the source itself where it already has the form.
pub(super) enum Plane<'a> {
    Source(&'a [u8]),
    Copy(PooledBuf<u8>),
}

impl Plane<'_> {
    pub fn pointer(&self) -> *const u8 {
        match self {
            Plane::Source(bytes) => bytes.as_ptr(),
            Plane::Copy(bytes) => bytes.as_ptr(),
        }
    }
}

/// A map as the walk sees it: `[batch][rows][columns][pixel bytes]`.
pub(super) struct Map<'a> {
    pub plane: Plane<'a>,
    pub rows: usize,
    pub columns: usize,
    pub pixel: usize,
}

/// The channels of one group of a map `[batch, height, width, channels]`.
pub(super) struct Channels<'a, E> {
    pub x: &'a [E],
    pub batch: usize,
    pub channels: usize,
    pub first: usize,
    pub count: usize,
}

impl<'a, E: Element> Channels<'a, E> {
    /// Lays the channels out for walks over `rows` and `columns` and a pack of `layout` and `precision`.
    pub fn map(&self, rows: &Axis, columns: &Axis, layout: Layout, precision: Precision) -> Map<'a> {
        let same_element = precision == Precision::of::<E>();
        let dense = self.count == self.channels;
        let whole = precision == Precision::F32 || (!layout.fused && self.count.is_multiple_of(BLOCK));
        let unpadded = |axis: &Axis| axis.origin == 0 && axis.copy <= axis.source;
        if same_element && whole && (!layout.fused || dense) && unpadded(rows) && unpadded(columns) {
            let bytes = size_of_val(self.x);
            // SAFETY: the same memory seen as bytes.
            let bytes = unsafe { std::slice::from_raw_parts(self.x.as_ptr().cast::<u8>(), bytes) };
            let size = size_of::<E>();
            return Map {
                plane: Plane::Source(&bytes[(self.first * size).min(bytes.len())..]),
                rows: rows.source,
                columns: columns.source,
                pixel: self.channels * size,
            };
        }
        match precision {
            Precision::F32 => self.copy::<f32>(rows, columns, layout),
            Precision::Bf16 => self.copy::<half::bf16>(rows, columns, layout),
        }
    }

    fn copy<T: Element>(&self, rows: &Axis, columns: &Axis, layout: Layout) -> Map<'a> {
        let pixel = if layout.fused { self.count } else { spread::<T>(self.count) };
        let row_len = columns.copy * pixel;
        // Fused taps read beyond the last pixel, up to a whole block, and what they read must be finite.
        let behind = if layout.fused { 2 * BLOCK } else { 0 };
        let total = self.batch * rows.copy * row_len;
        let mut plane = PooledBuf::<u8>::dirty((total + behind) * size_of::<T>());
        let end = total * size_of::<T>();
        plane[end..].fill(0);
        let left = (-columns.origin).max(0) as usize;
        let skip = columns.origin.max(0) as usize;
        let inside = columns.source.saturating_sub(skip).min(columns.copy.saturating_sub(left));
        let out = Shared::new(&mut plane);
        let lines = self.batch * rows.copy;
        // About 64 KiB a task.
        let per_task = 65_536 / (row_len * size_of::<T>()).max(1) + 1;
        parallel_for(lines.div_ceil(per_task), &|task| {
            for line in task * per_task..lines.min((task + 1) * per_task) {
                // SAFETY: each line is written by one task; the buffer is aligned for T and lines are whole elements.
                let line_out = unsafe {
                    let bytes = out.range(line * row_len * size_of::<T>(), row_len * size_of::<T>());
                    std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast::<T>(), row_len)
                };
                let (image, row) = (line / rows.copy, (line % rows.copy) as isize + rows.origin);
                if row < 0 || row >= rows.source as isize {
                    line_out.fill(T::ZERO);
                    continue;
                }
                let (before, rest) = line_out.split_at_mut(left * pixel);
                let (middle, after) = rest.split_at_mut(inside * pixel);
                before.fill(T::ZERO);
                after.fill(T::ZERO);
                let start = ((image * rows.source + row as usize) * columns.source + skip) * self.channels;
                let x = &self.x[start..start + inside * self.channels];
                if self.count == self.channels && self.count == pixel {
                    convert(x, middle);
                } else {
                    for (x, out) in x.chunks_exact(self.channels).zip(middle.chunks_exact_mut(pixel)) {
                        convert(&x[self.first..self.first + self.count], out);
                        out[self.count..].fill(T::ZERO);
                    }
                }
            }
        });
        Map { plane: Plane::Copy(plane), rows: rows.copy, columns: columns.copy, pixel: pixel * size_of::<T>() }
    }
}

/// Copies values, changing their element if need be.
fn convert<E: Element, T: Element>(from: &[E], to: &mut [T]) {
    match (E::as_f32(from), E::as_bf16(from), T::KIND) {
        (Some(from), _, ElementKind::F32) => {
            if let Some(to) = T::as_f32_mut(to) {
                to[..from.len()].copy_from_slice(from);
            }
        }
        (_, Some(from), ElementKind::Bf16) => {
            if let Some(to) = T::as_bf16_mut(to) {
                to[..from.len()].copy_from_slice(from);
            }
        }
        _ => {
            for (to, from) in to.iter_mut().zip(from) {
                *to = T::from_f32(from.to_f32());
            }
        }
    }
}

/// Elements from pixel to pixel of a copy: whole blocks for bf16, and not a multiple of 512 bytes, at which the rows of a
/// tile would fall into few sets of the first-level cache.
fn spread<T: Element>(channels: usize) -> usize {
    let (whole, line) = match T::KIND {
        ElementKind::Bf16 => (channels.next_multiple_of(BLOCK), 32),
        ElementKind::F32 => (channels, 16),
    };
    if whole >= 8 * line && whole.is_multiple_of(8 * line) { whole + line } else { whole }
}

/// The tiles of a walk over a map, with the byte stride of their rows.
pub(super) fn tiles(map: &Map<'_>, batch: usize, rows: &Axis, columns: &Axis, out: [usize; 2]) -> (Tiles, usize) {
    let [out_height, out_width] = out;
    let stride = columns.stride * map.pixel;
    let line_bytes = rows.stride * map.columns * map.pixel;
    let first_of =
        |image: usize, y: usize| (image * out_height + rows.first + y * rows.step) * out_width + columns.first;
    let line = rows.step * out_width;
    // Whole lines of the map as one run, if the stride divides a line.
    let pitch = line_bytes / stride;
    let run = if line_bytes.is_multiple_of(stride) { (rows.outputs - 1) * pitch + columns.outputs } else { usize::MAX };
    let by_line = rows.outputs * columns.outputs.div_ceil(TILE);
    let mut list = Vec::new();
    let linear = run != usize::MAX && run.div_ceil(TILE) < by_line;
    for image in 0..batch {
        let start = image * map.rows * map.columns * map.pixel;
        if linear {
            list.extend((0..run).step_by(TILE).map(|p| Tile {
                a: start + p * stride,
                out: first_of(image, p / pitch),
                x: p % pitch,
                rows: TILE.min(run - p),
            }));
        } else {
            for y in 0..rows.outputs {
                list.extend((0..columns.outputs).step_by(TILE).map(|x| Tile {
                    a: start + y * line_bytes + x * stride,
                    out: first_of(image, y),
                    x,
                    rows: TILE.min(columns.outputs - x),
                }));
            }
        }
    }
    let (pitch, width) = if linear { (pitch, columns.outputs) } else { (usize::MAX, usize::MAX) };
    (Tiles { list, pitch, width, step: columns.step, line }, stride)
}

/// The taps of a walk: offsets into the map and the pack's tap for each.
pub(super) fn taps(
    map: &Map<'_>,
    layout: Layout,
    kernel: [usize; 2],
    rows: &[(usize, usize)],
    columns: &[(usize, usize)],
    turned: bool,
) -> Vec<Tap> {
    let at = |y: usize, x: usize| ((y * map.columns + x) * map.pixel) as isize;
    let turn = |index: usize, count: usize| if turned { count - 1 - index } else { index };
    let mut taps = Vec::new();
    for &(ky, y) in rows {
        if layout.fused {
            let x = columns.iter().map(|&(_, x)| x).min().unwrap_or(0);
            taps.push(Tap { a: at(y, x), b: turn(ky, kernel[0]) });
        } else {
            for &(kx, x) in columns {
                taps.push(Tap { a: at(y, x), b: turn(ky, kernel[0]) * kernel[1] + turn(kx, kernel[1]) });
            }
        }
    }
    taps
}
