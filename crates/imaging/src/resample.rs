//! Resampling of float pictures, row by row: the whole picture is never needed. The cubic filter is MATLAB's antialiased
//! `imresize`, by which super-resolution is trained and measured.
//!
//! Source: R. Keys, "Cubic convolution interpolation for digital image processing", 1981 (a = −0.5); MATLAB's documentation
//! of `imresize`: the filter widens by the scale where a picture shrinks, and borders are mirrored.

use std::collections::VecDeque;
use std::f64::consts::PI;

/// The filter between samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kernel {
    /// Cubic with a = −0.5.
    #[default]
    Bicubic,
    /// Windowed sinc over three lobes.
    Lanczos3,
    /// Linear.
    Triangle,
    /// Mean over the area.
    Box,
}

impl Kernel {
    /// Half of the filter's width at scale 1, in samples.
    fn radius(self) -> f64 {
        match self {
            Kernel::Bicubic => 2.0,
            Kernel::Lanczos3 => 3.0,
            Kernel::Triangle => 1.0,
            Kernel::Box => 0.5,
        }
    }

    fn at(self, x: f64) -> f64 {
        let x = x.abs();
        match self {
            Kernel::Bicubic if x <= 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
            Kernel::Bicubic if x <= 2.0 => ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0,
            Kernel::Lanczos3 if x == 0.0 => 1.0,
            Kernel::Lanczos3 if x < 3.0 => 3.0 * (PI * x).sin() * (PI * x / 3.0).sin() / (PI * x).powi(2),
            Kernel::Triangle if x < 1.0 => 1.0 - x,
            Kernel::Box if x <= 0.5 => 1.0,
            _ => 0.0,
        }
    }
}

/// What each output sample of one axis takes from which input samples.
#[derive(Clone, Debug)]
struct Axis {
    taps: usize,
    /// Input sample and weight, `taps` for each output.
    entries: Vec<(u32, f32)>,
}

impl Axis {
    fn new(from: usize, to: usize, kernel: Kernel) -> Axis {
        let scale = to as f64 / from as f64;
        let narrow = scale.min(1.0);
        let radius = kernel.radius() / narrow;
        let taps = (2.0 * radius).ceil() as usize + 2;
        let mut entries = Vec::with_capacity(to * taps);
        for out in 0..to {
            let centre = (out as f64 + 0.5) / scale - 0.5;
            let first = (centre - radius).floor() as i64;
            let weights: Vec<f64> =
                (0..taps as i64).map(|t| kernel.at(narrow * (centre - (first + t) as f64))).collect();
            let sum: f64 = weights.iter().sum();
            entries.extend((first..).zip(&weights).map(|(at, w)| (mirrored(at, from), (w / sum) as f32)));
        }
        // Columns of zeros at the ends are common: whole scales need fewer taps than the widest case.
        let used = |t: usize| (0..to).any(|out| entries[out * taps + t].1 != 0.0);
        let (skip, end) =
            ((0..taps).find(|t| used(*t)).unwrap_or(0), (0..taps).rev().find(|t| used(*t)).unwrap_or(0) + 1);
        let entries = entries.chunks_exact(taps).flat_map(|row| row[skip..end].iter().copied()).collect();
        Axis { taps: end - skip, entries }
    }

    fn of(&self, out: usize) -> &[(u32, f32)] {
        &self.entries[out * self.taps..][..self.taps]
    }
}

/// The sample that stands for one outside the picture: …1 0 | 0 1 … n−1 | n−1 n−2….
fn mirrored(at: i64, n: usize) -> u32 {
    let at = at.rem_euclid(2 * n as i64) as usize;
    at.min(2 * n - 1 - at) as u32
}

/// Resamples a picture whose rows come one after the other; holds as many as the filter is high.
#[derive(Debug)]
pub struct RowResampler {
    across: Axis,
    down: Axis,
    channels: usize,
    width: usize,
    height: usize,
    out_width: usize,
    out_height: usize,
    /// The first input row that the outputs from each on still need.
    oldest: Vec<u32>,
    held: VecDeque<Vec<f32>>,
    /// Number of the first row held, of the next to come, and of the next output.
    first: usize,
    next: usize,
    out: usize,
}

impl RowResampler {
    /// From `from` (width, height) to `to`, with interleaved channels. Sides of zero are taken for one.
    pub fn new(from: (usize, usize), to: (usize, usize), channels: usize, kernel: Kernel) -> Self {
        let one = |(w, h): (usize, usize)| (w.max(1), h.max(1));
        let ((width, height), (out_width, out_height)) = (one(from), one(to));
        let down = Axis::new(height, out_height, kernel);
        let mut oldest = vec![0; out_height];
        let mut least = u32::MAX;
        for out in (0..out_height).rev() {
            least = down.of(out).iter().filter(|e| e.1 != 0.0).map(|e| e.0).fold(least, u32::min);
            oldest[out] = least;
        }
        let across = Axis::new(width, out_width, kernel);
        let held = VecDeque::new();
        Self { across, down, channels, width, height, out_width, out_height, oldest, held, first: 0, next: 0, out: 0 }
    }

    /// Values of an input row.
    pub fn row_len(&self) -> usize {
        self.width * self.channels
    }

    /// Takes the next row and hands every output row that is complete to `emit`. Rows beyond the last are ignored.
    ///
    /// # Errors
    /// What `emit` returns; nothing should be pushed after that.
    pub fn push<E>(&mut self, row: &[f32], mut emit: impl FnMut(&[f32]) -> Result<(), E>) -> Result<(), E> {
        if self.next >= self.height || row.len() < self.row_len() {
            return Ok(());
        }
        self.held.push_back(self.stretch(row));
        self.next += 1;
        let mut line = vec![0.0; self.out_width * self.channels];
        while self.out < self.out_height {
            let entries = self.down.of(self.out);
            if entries.iter().any(|&(at, weight)| weight != 0.0 && at as usize >= self.next) {
                break;
            }
            line.fill(0.0);
            for &(at, weight) in entries.iter().filter(|e| e.1 != 0.0) {
                let source = &self.held[at as usize - self.first];
                line.iter_mut().zip(source).for_each(|(sum, v)| *sum += weight * v);
            }
            self.out += 1;
            emit(&line)?;
            let oldest = self.oldest.get(self.out).map_or(self.next, |&at| at as usize);
            while self.first < oldest.min(self.next) {
                self.held.pop_front();
                self.first += 1;
            }
        }
        Ok(())
    }

    fn stretch(&self, row: &[f32]) -> Vec<f32> {
        let c = self.channels;
        let mut out = vec![0.0; self.out_width * c];
        for (x, pixel) in out.chunks_exact_mut(c).enumerate() {
            for &(at, weight) in self.across.of(x) {
                let source = &row[at as usize * c..][..c];
                pixel.iter_mut().zip(source).for_each(|(sum, v)| *sum += weight * v);
            }
        }
        out
    }
}

/// Resamples a whole picture of interleaved values, `from` and `to` being (width, height).
pub fn resample(values: &[f32], from: (usize, usize), to: (usize, usize), channels: usize, kernel: Kernel) -> Vec<f32> {
    let mut rows = RowResampler::new(from, to, channels, kernel);
    let mut out = Vec::with_capacity(to.0 * to.1 * channels);
    for row in values.chunks_exact(rows.row_len().max(1)) {
        let pushed: Result<(), std::convert::Infallible> = rows.push(row, |line| {
            out.extend_from_slice(line);
            Ok(())
        });
        match pushed {
            Ok(()) => {}
            Err(never) => match never {},
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_stays_constant_and_the_same_size_is_the_same() {
        for kernel in [Kernel::Bicubic, Kernel::Lanczos3, Kernel::Triangle, Kernel::Box] {
            for (from, to) in [((7, 5), (3, 9)), ((1, 1), (4, 4)), ((16, 12), (4, 3)), ((5, 4), (50, 41))] {
                let out = resample(&vec![0.25; from.0 * from.1 * 2], from, to, 2, kernel);
                assert_eq!(out.len(), to.0 * to.1 * 2);
                assert!(out.iter().all(|v| (v - 0.25).abs() < 1e-6), "{kernel:?} {from:?} {to:?}");
            }
            let values: Vec<f32> = (0..30).map(|i| (i * 7 % 11) as f32).collect();
            let same = resample(&values, (5, 6), (5, 6), 1, kernel);
            assert!(values.iter().zip(&same).all(|(a, b)| (a - b).abs() < 1e-5), "{kernel:?}");
        }
    }

    #[test]
    fn few_rows_are_held() {
        let mut rows = RowResampler::new((4, 1000), (16, 4000), 1, Kernel::Bicubic);
        let (mut most, mut count) = (0, 0);
        for y in 0..1000 {
            let counted: Result<(), ()> = rows.push(&[y as f32; 4], |_| {
                count += 1;
                Ok(())
            });
            counted.unwrap();
            most = most.max(rows.held.len());
        }
        assert_eq!(count, 4000);
        assert!(most <= 5, "{most} rows held");
    }
}
