//! Group norm over `[batch, pixels, channels]`: one pass for the statistics, one that normalises and activates.
//!
//! Vectors run along the channels, so that a group may have any width: sums are kept per channel and joined per group at
//! the end (parallel variance: Chan, Golub and LeVeque, 1979). Each channel is shifted by its first pixel, which keeps
//! the sum of squares from drowning a small variance in a large mean.

use crate::element::Element;
use crate::elementwise::map::{Map, for_pieces};
use crate::gemm::Activation;
use crate::pool::PooledBuf;
use crate::simd::{Kernel, Simd, dispatch};
use crate::threads::Shared;

/// Shape and parameters of a group norm.
#[derive(Clone, Copy, Debug)]
pub struct GroupNorm<'a> {
    /// Images.
    pub batch: usize,
    /// Height × width.
    pub pixels: usize,
    /// Channels, a multiple of `groups`.
    pub channels: usize,
    /// Groups of neighbouring channels.
    pub groups: usize,
    /// Scale per channel.
    pub gamma: &'a [f32],
    /// Offset per channel.
    pub beta: &'a [f32],
    /// Added to the variance.
    pub epsilon: f32,
    /// Applied to the result.
    pub activation: Activation,
}

/// Values per task.
const GRAIN: usize = 32 * 1024;

impl GroupNorm<'_> {
    fn check(&self, lengths: &[usize]) {
        let &GroupNorm { batch, pixels, channels, groups, gamma, beta, .. } = self;
        assert!(
            groups > 0 && channels > 0 && channels % groups == 0,
            "{channels} channels do not form {groups} groups"
        );
        assert!(gamma.len() == channels && beta.len() == channels, "gamma and beta must have {channels} values");
        assert!(pixels > 0, "a group norm needs at least one pixel");
        for &len in lengths {
            assert_eq!(len, batch * pixels * channels, "length must be {batch}x{pixels}x{channels}");
        }
    }

    /// Pixels per task and tasks per image.
    fn blocks(&self) -> (usize, usize) {
        let pixels = (GRAIN / self.channels).clamp(1, self.pixels);
        (pixels, self.pixels.div_ceil(pixels))
    }

    /// Runs `task(image, first pixel, pixels, number)` over blocks of pixels.
    fn for_blocks(&self, task: &(dyn Fn(usize, usize, usize, usize) + Sync)) {
        let (size, count) = self.blocks();
        for_pieces(self.batch * count, 1, &|i, _| {
            let first = i % count * size;
            task(i / count, first, size.min(self.pixels - first), i);
        });
    }

    /// Mean and reciprocal deviation, `[batch, groups, 2]`.
    fn statistics<E: Element>(&self, x: &[E], stats: &mut [f32]) {
        let channels = self.channels;
        let (_, count) = self.blocks();
        let mut sums = PooledBuf::<f32>::dirty(self.batch * count * 2 * channels);
        let shared = Shared::new(&mut sums);
        self.for_blocks(&|image, first, pixels, i| {
            let x = &x[image * self.pixels * channels..][..self.pixels * channels];
            // SAFETY: every block has its own sums.
            let (sum, square) = unsafe { shared.range(i * 2 * channels, 2 * channels) }.split_at_mut(channels);
            let rows = &x[first * channels..(first + pixels) * channels];
            dispatch(Moments { x: rows, shift: &x[..channels], sum, square });
        });
        let width = channels / self.groups;
        let n = self.pixels as f64;
        let mut means = vec![(0.0f64, 0.0f64); channels];
        for image in 0..self.batch {
            let sums = &sums[image * count * 2 * channels..][..count * 2 * channels];
            let shift = &x[image * self.pixels * channels..][..channels];
            for (c, mean) in means.iter_mut().enumerate() {
                let total =
                    |offset: usize| sums[offset + c..].iter().step_by(2 * channels).map(|&v| f64::from(v)).sum::<f64>();
                let (sum, square) = (total(0), total(channels));
                *mean = (f64::from(shift[c].to_f32()) + sum / n, square - sum * sum / n);
            }
            for (g, means) in means.chunks_exact(width).enumerate() {
                let mean = means.iter().map(|m| m.0).sum::<f64>() / width as f64;
                let squares = means.iter().map(|m| m.1 + n * (m.0 - mean) * (m.0 - mean)).sum::<f64>();
                let variance = (squares / (n * width as f64)).max(0.0);
                let at = 2 * (image * self.groups + g);
                stats[at] = mean as f32;
                stats[at + 1] = (1.0 / (variance + f64::from(self.epsilon)).sqrt()) as f32;
            }
        }
    }

    /// Per image and channel: `x · scale + offset` is the normalised value before the activation.
    fn affine(&self, stats: &[f32]) -> PooledBuf<f32> {
        let channels = self.channels;
        let width = channels / self.groups;
        let mut affine = PooledBuf::<f32>::dirty(self.batch * 2 * channels);
        for (image, affine) in affine.chunks_exact_mut(2 * channels).enumerate() {
            let (scale, offset) = affine.split_at_mut(channels);
            for c in 0..channels {
                let at = 2 * (image * self.groups + c / width);
                scale[c] = self.gamma[c] * stats[at + 1];
                offset[c] = self.beta[c] - stats[at] * scale[c];
            }
        }
        affine
    }
}

/// `out = activation((x - mean) / sqrt(variance + epsilon) · gamma + beta)`; mean and 1/deviation are left in `stats`
/// (`[batch, groups, 2]`) for the gradient.
///
/// # Panics
/// If lengths do not fit the shape.
pub fn group_norm<E: Element>(x: &[E], norm: &GroupNorm<'_>, out: &mut [E], stats: Option<&mut [f32]>) {
    norm.check(&[x.len(), out.len()]);
    let mut own = PooledBuf::<f32>::dirty(if stats.is_none() { norm.batch * norm.groups * 2 } else { 0 });
    let stats = stats.unwrap_or(&mut own);
    assert_eq!(stats.len(), norm.batch * norm.groups * 2, "statistics are [batch, groups, 2]");
    norm.statistics(x, stats);
    let (channels, affine) = (norm.channels, norm.affine(stats));
    let shared = Shared::new(out);
    norm.for_blocks(&|image, first, pixels, _| {
        let (at, len) = ((image * norm.pixels + first) * channels, pixels * channels);
        let (scale, offset) = affine[image * 2 * channels..][..2 * channels].split_at(channels);
        // SAFETY: blocks are disjoint.
        let out = unsafe { shared.range(at, len) };
        dispatch(Apply { x: &x[at..at + len], scale, offset, out, activation: norm.activation });
    });
}

/// Gradient of [`group_norm`], through the activation: `dx` and, summed over images and pixels, `dgamma`, `dbeta`.
///
/// # Panics
/// If lengths do not fit the shape.
pub fn group_norm_grad<E: Element>(
    x: &[E],
    dy: &[E],
    norm: &GroupNorm<'_>,
    stats: &[f32],
    dx: &mut [E],
    dgamma: &mut [f32],
    dbeta: &mut [f32],
) {
    norm.check(&[x.len(), dy.len(), dx.len()]);
    let channels = norm.channels;
    assert_eq!(stats.len(), norm.batch * norm.groups * 2, "statistics are [batch, groups, 2]");
    assert!(dgamma.len() == channels && dbeta.len() == channels, "dgamma and dbeta must have {channels} values");
    let affine = norm.affine(stats);
    let (_, count) = norm.blocks();
    // Per block and channel: Σ dz and Σ dz · x, z being the value before the activation.
    let mut sums = PooledBuf::<f32>::dirty(norm.batch * count * 2 * channels);
    let shared = Shared::new(&mut sums);
    norm.for_blocks(&|image, first, pixels, i| {
        let at = (image * norm.pixels + first) * channels..(image * norm.pixels + first + pixels) * channels;
        let (scale, offset) = affine[image * 2 * channels..][..2 * channels].split_at(channels);
        let shift = &x[image * norm.pixels * channels..][..channels];
        // SAFETY: every block has its own sums.
        let (plain, weighted) = unsafe { shared.range(i * 2 * channels, 2 * channels) }.split_at_mut(channels);
        let (x, dy, activation) = (&x[at.clone()], &dy[at], norm.activation);
        dispatch(GradSums { x, dy, scale, offset, shift, plain, weighted, activation });
    });
    let width = channels / norm.groups;
    let n = (norm.pixels * width) as f64;
    // dx = dz · scale - x · slope - level, with slope and level per image and channel.
    let mut lines = PooledBuf::<f32>::dirty(norm.batch * 2 * channels);
    let mut totals = vec![(0.0f64, 0.0f64); channels];
    let (mut gamma_sums, mut beta_sums) = (vec![0.0f64; channels], vec![0.0f64; channels]);
    for (image, lines) in lines.chunks_exact_mut(2 * channels).enumerate() {
        let sums = &sums[image * count * 2 * channels..][..count * 2 * channels];
        let (slope, level) = lines.split_at_mut(channels);
        for g in 0..norm.groups {
            let stat = &stats[2 * (image * norm.groups + g)..][..2];
            let (mean, rstd) = (f64::from(stat[0]), f64::from(stat[1]));
            let (mut level_sum, mut slope_sum) = (0.0, 0.0);
            for c in g * width..(g + 1) * width {
                let total =
                    |offset: usize| sums[offset + c..].iter().step_by(2 * channels).map(|&v| f64::from(v)).sum::<f64>();
                let shift = f64::from(x[image * norm.pixels * channels + c].to_f32());
                let plain = total(0);
                // Σ dz · x̂ from Σ dz · (x - shift).
                let weighted = (total(channels) + plain * (shift - mean)) * rstd;
                totals[c] = (plain, weighted);
                beta_sums[c] += plain;
                gamma_sums[c] += weighted;
                level_sum += f64::from(norm.gamma[c]) * plain;
                slope_sum += f64::from(norm.gamma[c]) * weighted;
            }
            let (a, b) = (rstd * rstd * slope_sum / n, rstd * level_sum / n);
            slope[g * width..(g + 1) * width].fill(a as f32);
            level[g * width..(g + 1) * width].fill((b - a * mean) as f32);
        }
    }
    dgamma.iter_mut().zip(&gamma_sums).for_each(|(d, &s)| *d = s as f32);
    dbeta.iter_mut().zip(&beta_sums).for_each(|(d, &s)| *d = s as f32);
    let shared = Shared::new(dx);
    norm.for_blocks(&|image, first, pixels, _| {
        let (at, len) = ((image * norm.pixels + first) * channels, pixels * channels);
        let (scale, offset) = affine[image * 2 * channels..][..2 * channels].split_at(channels);
        let (slope, level) = lines[image * 2 * channels..][..2 * channels].split_at(channels);
        // SAFETY: blocks are disjoint.
        let dx = unsafe { shared.range(at, len) };
        let (x, dy, activation) = (&x[at..at + len], &dy[at..at + len], norm.activation);
        dispatch(GradApply { x, dy, scale, offset, slope, level, dx, activation });
    });
}

#[inline(always)]
fn load_two<S: Simd, E: Element>(s: S, x: &[E]) -> [S::F; 2] {
    [s.load_of(&x[..S::LANES]), s.load_of(&x[S::LANES..2 * S::LANES])]
}

/// Σ (x - shift) and Σ (x - shift)² per channel.
struct Moments<'a, E> {
    x: &'a [E],
    shift: &'a [E],
    sum: &'a mut [f32],
    square: &'a mut [f32],
}

impl<E: Element> Kernel for Moments<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let channels = self.shift.len();
        let mut c = 0;
        // Two vectors at a time down the pixels: the sums stay in registers.
        while c + 2 * S::LANES <= channels {
            let shift = load_two(s, &self.shift[c..]);
            let (mut sum, mut square) = ([s.splat(0.0); 2], [s.splat(0.0); 2]);
            for row in self.x.chunks_exact(channels) {
                let x = load_two(s, &row[c..]);
                for i in 0..2 {
                    let d = s.sub(x[i], shift[i]);
                    sum[i] = s.add(sum[i], d);
                    square[i] = s.fma(d, d, square[i]);
                }
            }
            for i in 0..2 {
                s.store(sum[i], &mut self.sum[c + i * S::LANES..c + (i + 1) * S::LANES]);
                s.store(square[i], &mut self.square[c + i * S::LANES..c + (i + 1) * S::LANES]);
            }
            c += 2 * S::LANES;
        }
        while c < channels {
            let end = channels.min(c + S::LANES);
            let shift = s.load_any(&self.shift[c..end]);
            let (mut sum, mut square) = (s.splat(0.0), s.splat(0.0));
            for row in self.x.chunks_exact(channels) {
                let d = s.sub(s.load_any(&row[c..end]), shift);
                sum = s.add(sum, d);
                square = s.fma(d, d, square);
            }
            s.store_any(sum, &mut self.sum[c..end]);
            s.store_any(square, &mut self.square[c..end]);
            c = end;
        }
    }
}

struct Apply<'a, E> {
    x: &'a [E],
    scale: &'a [f32],
    offset: &'a [f32],
    out: &'a mut [E],
    activation: Activation,
}

impl<E: Element> Kernel for Apply<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let channels = self.scale.len();
        for (x, out) in self.x.chunks_exact(channels).zip(self.out.chunks_exact_mut(channels)) {
            let vectors = x.chunks(S::LANES).zip(out.chunks_mut(S::LANES));
            let lines = self.scale.chunks(S::LANES).zip(self.offset.chunks(S::LANES));
            for ((x, out), (scale, offset)) in vectors.zip(lines) {
                let z = s.fma(s.load_any(x), s.load_any(scale), s.load_any(offset));
                s.store_any(self.activation.apply(s, [z]), out);
            }
        }
    }
}

struct GradSums<'a, E> {
    x: &'a [E],
    dy: &'a [E],
    scale: &'a [f32],
    offset: &'a [f32],
    shift: &'a [E],
    plain: &'a mut [f32],
    weighted: &'a mut [f32],
    activation: Activation,
}

impl<E: Element> Kernel for GradSums<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let channels = self.scale.len();
        for c in (0..channels).step_by(S::LANES) {
            let at = c..channels.min(c + S::LANES);
            let (scale, offset) = (s.load_any(&self.scale[at.clone()]), s.load_any(&self.offset[at.clone()]));
            let shift = s.load_any(&self.shift[at.clone()]);
            let (mut plain, mut weighted) = (s.splat(0.0), s.splat(0.0));
            for (x, dy) in self.x.chunks_exact(channels).zip(self.dy.chunks_exact(channels)) {
                let (x, dy) = (s.load_any(&x[at.clone()]), s.load_any(&dy[at.clone()]));
                let dz = self.activation.apply(s, [s.fma(x, scale, offset), dy]);
                plain = s.add(plain, dz);
                weighted = s.fma(dz, s.sub(x, shift), weighted);
            }
            s.store_any(plain, &mut self.plain[at.clone()]);
            s.store_any(weighted, &mut self.weighted[at]);
        }
    }
}

struct GradApply<'a, E> {
    x: &'a [E],
    dy: &'a [E],
    scale: &'a [f32],
    offset: &'a [f32],
    slope: &'a [f32],
    level: &'a [f32],
    dx: &'a mut [E],
    activation: Activation,
}

impl<E: Element> Kernel for GradApply<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let channels = self.scale.len();
        for (row, dx) in self.dx.chunks_exact_mut(channels).enumerate() {
            let [x, dy] = [self.x, self.dy].map(|v| &v[row * channels..(row + 1) * channels]);
            for c in (0..channels).step_by(S::LANES) {
                let at = c..channels.min(c + S::LANES);
                let (scale, offset) = (s.load_any(&self.scale[at.clone()]), s.load_any(&self.offset[at.clone()]));
                let (slope, level) = (s.load_any(&self.slope[at.clone()]), s.load_any(&self.level[at.clone()]));
                let (x, dy) = (s.load_any(&x[at.clone()]), s.load_any(&dy[at.clone()]));
                let dz = self.activation.apply(s, [s.fma(x, scale, offset), dy]);
                let rest = s.fma(x, slope, level);
                s.store_any(s.sub(s.mul(dz, scale), rest), &mut dx[at]);
            }
        }
    }
}
