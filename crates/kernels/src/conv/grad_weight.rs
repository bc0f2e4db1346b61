//! The pixels of a convolution for its weight gradient.
//!
//! Transposed rows are (kernel column, channel) pairs: for each kernel column the map is shifted, so that a pixel of the
//! output stands where its input pixel does, and no padding is summed. Kernel rows are taps: they lie whole lines apart.
//! With a vertical stride the lines that each kernel row needs are laid out one kernel row after the other.

use super::Conv2dShape;
use crate::element::Element;
use crate::gemm::reduce::{Chunk, Pixels, pixels_per_chunk};
use crate::gemm::transpose::transpose;
use crate::pool::PooledBuf;

/// A convolution's group.
pub(super) struct Group<'a, E> {
    pub x: &'a [E],
    pub dy: &'a [E],
    pub shape: &'a Conv2dShape,
    pub index: usize,
    /// (lines per segment, segments) of each chunk, and the first segment: (picture, line).
    chunks: Vec<Part>,
}

/// The segments of a chunk.
struct Part {
    lines: usize,
    /// Picture and first output line of each segment.
    segments: Vec<(usize, usize)>,
}

impl<'a, E: Element> Group<'a, E> {
    pub fn new(x: &'a [E], dy: &'a [E], shape: &'a Conv2dShape, index: usize) -> Self {
        let (height, width) = (shape.out_height(), shape.out_width());
        let rows = shape.c_in / shape.groups * shape.kernel[1];
        let target = pixels_per_chunk::<E>(rows, shape.c_out / shape.groups);
        // Lines are dealt evenly to the segments of a picture; the shorter last ones form chunks of their own.
        let lines = height.div_ceil(height.div_ceil((target / width).clamp(1, height)));
        let per_chunk = (target / (lines * width)).max(1);
        let (mut whole, mut rest) = (Vec::new(), Vec::new());
        for picture in 0..shape.batch {
            for line in (0..height).step_by(lines) {
                if line + lines <= height { whole.push((picture, line)) } else { rest.push((picture, line)) }
            }
        }
        let cut = |segments: Vec<(usize, usize)>, lines: usize| {
            let parts = segments.chunks(per_chunk).map(move |part| Part { lines, segments: part.to_vec() });
            parts.collect::<Vec<_>>()
        };
        let mut chunks = cut(whole, lines);
        chunks.extend(cut(rest, height % lines));
        Group { x, dy, shape, index, chunks }
    }

    /// Lines of the transposed map that a segment of `lines` output lines needs.
    fn region_lines(&self, lines: usize) -> usize {
        if self.shape.stride[0] == 1 {
            lines + (self.shape.kernel[0] - 1) * self.shape.dilation[0]
        } else {
            lines * self.shape.kernel[0]
        }
    }

    /// The line of the input that line `r` of a region holds, for a segment that begins at output line `first`.
    fn source_line(&self, lines: usize, first: usize, r: usize) -> Option<usize> {
        let (stride, dilation) = (self.shape.stride[0], self.shape.dilation[0]);
        let line = if stride == 1 { first + r } else { (first + r % lines) * stride + r / lines * dilation };
        line.checked_sub(self.shape.padding[0]).filter(|&line| line < self.shape.height)
    }
}

impl<E: Element> Pixels<E> for Group<'_, E> {
    fn rows(&self) -> usize {
        self.shape.c_in / self.shape.groups * self.shape.kernel[1]
    }
    fn columns(&self) -> usize {
        self.shape.c_out / self.shape.groups
    }
    fn taps(&self) -> usize {
        self.shape.kernel[0]
    }
    fn chunks(&self) -> usize {
        self.chunks.len()
    }

    fn chunk(&self, index: usize) -> Chunk {
        let part = &self.chunks[index];
        let (height, width) = (self.shape.out_height(), self.shape.out_width());
        let column = self.index * self.columns();
        let tap_lines = if self.shape.stride[0] == 1 { self.shape.dilation[0] } else { part.lines };
        Chunk {
            starts: part
                .segments
                .iter()
                .map(|&(picture, line)| (picture * height + line) * width * self.shape.c_out + column)
                .collect(),
            len: part.lines * width,
            region: self.region_lines(part.lines) * width,
            taps: (0..self.shape.kernel[0]).map(|ky| ky * tap_lines * width).collect(),
        }
    }

    fn transpose(&self, index: usize, first: usize, count: usize, to: &mut [E], stride: usize) {
        let shape = self.shape;
        let part = &self.chunks[index];
        let (width, out_width) = (shape.width, shape.out_width());
        let channels = shape.c_in / shape.groups;
        let region_lines = self.region_lines(part.lines);
        let used = part.segments.len() * region_lines * out_width;
        for row in to.chunks_exact_mut(stride) {
            row[used..].fill(E::ZERO);
        }
        // The rows wanted, one kernel column at a time.
        let mut row = first;
        while row < first + count {
            let (kx, channel) = (row / channels, row % channels);
            let rows = (channels - channel).min(first + count - row);
            let to = &mut to[(row - first) * stride..];
            // Output columns whose input column, x·stride + shift - padding, lies inside the map.
            let (step, shift, left) = (shape.stride[1], kx * shape.dilation[1], shape.padding[2]);
            let begin = left.saturating_sub(shift).div_ceil(step).min(out_width);
            let end = (width + left).saturating_sub(shift).div_ceil(step).clamp(begin, out_width);
            for (segment, &(picture, line)) in part.segments.iter().enumerate() {
                for r in 0..region_lines {
                    let at = (segment * region_lines + r) * out_width;
                    let source = self.source_line(part.lines, line, r);
                    let (begin, end) = if source.is_some() { (begin, end) } else { (0, 0) };
                    for out in to.chunks_mut(stride).take(rows) {
                        out[at..at + begin].fill(E::ZERO);
                        out[at + end..at + out_width].fill(E::ZERO);
                    }
                    if let Some(y) = source.filter(|_| begin < end) {
                        let x = begin * step + shift - left;
                        let from = ((picture * shape.height + y) * width + x) * shape.c_in;
                        let from = &self.x[from + self.index * channels + channel..];
                        transpose(from, shape.c_in * step, end - begin, rows, &mut to[at + begin..], stride);
                    }
                }
            }
            row += rows;
        }
    }

    fn gradient(&self) -> (&[E], usize) {
        (self.dy, self.shape.c_out)
    }
}

/// The gradient with respect to the weight; see [`super::conv2d_grad_weight`].
pub(super) fn grad_weight<E: Element>(x: &[E], dy: &[E], shape: &Conv2dShape, dw: &mut [f32], accumulate: bool) {
    let (c_in, c_out, taps) = (shape.c_in / shape.groups, shape.c_out / shape.groups, shape.taps());
    if dw.is_empty() {
        return;
    }
    let mut sums = PooledBuf::<f32>::dirty(shape.kernel[0] * shape.kernel[1] * c_in * c_out);
    for index in 0..shape.groups {
        // First as [kernel row][kernel column, channel][c_out], the order of the sums, then turned.
        crate::gemm::reduce::reduce(&Group::new(x, dy, shape, index), |ky, row, column, values| {
            let at = (ky * shape.kernel[1] * c_in + row) * c_out + column;
            sums[at..at + values.len()].copy_from_slice(values);
        });
        let dw = &mut dw[index * c_out * c_in * taps..(index + 1) * c_out * c_in * taps];
        crate::threads::parallel_for_chunks(dw, c_in * taps, &|o, dw| {
            for (i, dw) in dw.chunks_exact_mut(taps).enumerate() {
                for (tap, dw) in dw.iter_mut().enumerate() {
                    let sum = sums[(tap * c_in + i) * c_out + o];
                    *dw = if accumulate { *dw + sum } else { sum };
                }
            }
        });
    }
}
