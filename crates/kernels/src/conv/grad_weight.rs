//! The pixels of a convolution for its weight gradient.
//!
//! Transposed rows are (kernel column, channel) pairs: for each kernel column the map is shifted, so that a pixel of the
//! output stands where its input pixel does, and no padding is summed. Kernel rows are taps: they lie whole lines apart.
//! With a vertical stride the lines that each kernel row needs are laid out one kernel row after the other.

use super::Conv2dShape;
use crate::element::Element;
use crate::gemm::packed::PANEL;
use crate::gemm::reduce::{Chunk, Pixels, pixels_per_chunk};
use crate::gemm::transpose::transpose;
use crate::pool::PooledBuf;
use crate::threads::parallel_for_chunks;

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

    /// Lays `rows` channels from `channel` on out for kernel column `kx`, into rows that begin at `to`.
    fn lay_out(&self, part: &Part, kx: usize, channel: usize, rows: usize, to: &mut [E], stride: usize) {
        let shape = self.shape;
        let (width, out_width) = (shape.width, shape.out_width());
        let region_lines = self.region_lines(part.lines);
        // Output columns whose input column, x·step + shift - left, lies inside the map.
        let (step, shift, left) = (shape.stride[1], kx * shape.dilation[1], shape.padding[2]);
        let begin = left.saturating_sub(shift).div_ceil(step).min(out_width);
        let end = (width + left).saturating_sub(shift).div_ceil(step).clamp(begin, out_width);
        let channel = self.index * (shape.c_in / shape.groups) + channel;
        for (segment, &(picture, first)) in part.segments.iter().enumerate() {
            let mut r = 0;
            while r < region_lines {
                let at = (segment * region_lines + r) * out_width;
                let Some(y) = self.source_line(part.lines, first, r) else {
                    to.chunks_mut(stride).take(rows).for_each(|row| row[at..at + out_width].fill(E::ZERO));
                    r += 1;
                    continue;
                };
                // Lines that follow each other in the map as they do here are laid out as one, across their ends; what
                // comes from a neighbouring line that way is overwritten.
                let joined = step == 1 && out_width == width && shape.stride[0] == 1;
                let lines = if joined { (region_lines - r).min(shape.height - y) } else { 1 };
                let line = (picture * shape.height + y) * width;
                let from = (line + shift).checked_sub(left).map(|pixel| pixel * shape.c_in + channel);
                let len = lines * out_width;
                let reach = (len - 1) * step * shape.c_in + rows;
                match from.filter(|from| from + reach <= self.x.len()) {
                    Some(from) => transpose(&self.x[from..], shape.c_in * step, len, rows, &mut to[at..], stride),
                    // At the very first and last pixels there is no neighbour to read.
                    None => {
                        for l in 0..lines {
                            if begin < end {
                                let from = (line + l * width + begin * step + shift - left) * shape.c_in + channel;
                                let to = &mut to[at + l * out_width + begin..];
                                transpose(&self.x[from..], shape.c_in * step, end - begin, rows, to, stride);
                            }
                        }
                    }
                }
                if begin > 0 || end < out_width {
                    for row in to.chunks_mut(stride).take(rows) {
                        for line in row[at..at + len].chunks_exact_mut(out_width) {
                            line[..begin].fill(E::ZERO);
                            line[end..].fill(E::ZERO);
                        }
                    }
                }
                r += lines;
            }
        }
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
        let channels = shape.c_in / shape.groups;
        let used = part.segments.len() * self.region_lines(part.lines) * shape.out_width();
        for row in to.chunks_exact_mut(stride) {
            row[used..].fill(E::ZERO);
        }
        // The rows wanted, one kernel column at a time.
        let mut row = first;
        while row < first + count {
            let (kx, channel) = (row / channels, row % channels);
            let rows = (channels - channel).min(first + count - row);
            self.lay_out(part, kx, channel, rows, &mut to[(row - first) * stride..], stride);
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
    const BAND: usize = 16;
    for index in 0..shape.groups {
        let sums = crate::gemm::reduce::reduce(&Group::new(x, dy, shape, index));
        let dw = &mut dw[index * c_out * c_in * taps..(index + 1) * c_out * c_in * taps];
        // A panel of output channels at a time, some input channels of it at a time: first as [channel, tap][c_out], the
        // order of the sums, then turned.
        parallel_for_chunks(dw, PANEL * c_in * taps, &|panel, dw| {
            let outputs = dw.len() / (c_in * taps);
            let mut rows = PooledBuf::<f32>::dirty(BAND * taps * PANEL);
            let mut turned = PooledBuf::<f32>::dirty(BAND * taps * PANEL);
            for first in (0..c_in).step_by(BAND) {
                let channels = BAND.min(c_in - first);
                let len = channels * taps;
                for (at, row) in rows.chunks_exact_mut(PANEL).take(len).enumerate() {
                    let (channel, tap) = (first + at / taps, at % taps);
                    let (ky, kx) = (tap / shape.kernel[1], tap % shape.kernel[1]);
                    row.copy_from_slice(sums.lanes(ky, kx * c_in + channel, panel));
                }
                transpose(&rows, PANEL, len, PANEL, &mut turned, len);
                for (dw, turned) in dw.chunks_exact_mut(c_in * taps).zip(turned.chunks_exact(len)).take(outputs) {
                    let dw = &mut dw[first * taps..first * taps + len];
                    if accumulate {
                        dw.iter_mut().zip(turned).for_each(|(dw, sum)| *dw += sum);
                    } else {
                        dw.copy_from_slice(turned);
                    }
                }
            }
        });
    }
}
