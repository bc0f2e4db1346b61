//! Sharpening by an unsharp mask on luma, with its halos limited, row by row.
//!
//! What a blur takes from luma is added to it again. Luma is taken as it is stored, not as light: stored values are about as even
//! to the eye as can be, so the dark and the bright side of an edge gain alike; in light the dark side would gain several times
//! more. The same amount is added to every channel, so differences between the channels, the colour, stay; only what leaves 0…1
//! is cut off. The result may pass the darkest and brightest luma nearby by a small overshoot and no more, so edges become
//! steep without a rim around them.

use std::collections::VecDeque;

use crate::ImagingError;

/// The blur reaches this many deviations to each side.
const REACH: f32 = 3.0;

/// How to sharpen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SharpenOptions {
    /// How much of what the blur takes is added: 0 changes nothing, 1 doubles fine detail; at most 10.
    pub amount: f32,
    /// Deviation of the Gaussian blur in pixels, 0.2…20: about half of the width of the edges to be made steep.
    pub radius: f32,
    /// Differences up to this, in 0…1, are noise and stay; larger ones count from here.
    pub threshold: f32,
    /// How far the result may pass the darkest and brightest luma around a pixel, in 0…1.
    pub overshoot: f32,
}

impl Default for SharpenOptions {
    /// Half of the detail within one pixel, noise of two levels spared, five levels of overshoot.
    fn default() -> Self {
        Self { amount: 0.5, radius: 1.0, threshold: 2.0 / 255.0, overshoot: 5.0 / 255.0 }
    }
}

impl SharpenOptions {
    fn check(&self) -> Result<(), ImagingError> {
        for (name, value, range) in [
            ("sharpening amount", self.amount, 0.0..=10.0),
            ("sharpening radius", self.radius, 0.2..=20.0),
            ("sharpening threshold", self.threshold, 0.0..=1.0),
            ("sharpening overshoot", self.overshoot, 0.0..=1.0),
        ] {
            if !range.contains(&value) {
                return Err(ImagingError::argument(
                    name,
                    format!("{value} is not in {}…{}", range.start(), range.end()),
                ));
            }
        }
        Ok(())
    }
}

/// A row on its way: as it came, and what its neighbours need of it.
#[derive(Debug)]
struct Held {
    values: Vec<f32>,
    luma: Vec<f32>,
    /// Luma weighted with alpha, and alpha itself, both blurred along the row.
    blurred: Vec<f32>,
    weight: Vec<f32>,
    /// The darkest and brightest visible luma nearby in the row.
    low: Vec<f32>,
    high: Vec<f32>,
}

/// Sharpens a picture whose rows come one after the other; holds as many as the blur is high.
#[derive(Debug)]
pub struct RowSharpener {
    width: usize,
    height: usize,
    channels: usize,
    options: SharpenOptions,
    /// Half of the blur's weights, from the middle outwards.
    kernel: Vec<f32>,
    /// Rows and columns in which the darkest and brightest are looked for.
    around: usize,
    held: VecDeque<Held>,
    /// Number of the first row held, of the next to come, and of the next to leave.
    first: usize,
    next: usize,
    out: usize,
}

impl RowSharpener {
    /// For a picture of `size` (width, height) with values in 0…1: grey, grey and alpha, RGB or RGBA.
    ///
    /// # Errors
    /// [`ImagingError::Argument`] for an option outside its range, a side of zero, or another number of channels than 1…4.
    pub fn new(size: (usize, usize), channels: usize, options: &SharpenOptions) -> Result<Self, ImagingError> {
        options.check()?;
        if !(1..=4).contains(&channels) || size.0 == 0 || size.1 == 0 {
            let reason = format!("{}x{} with {channels} channels is no picture", size.0, size.1);
            return Err(ImagingError::argument("size", reason));
        }
        let reach = (REACH * options.radius).ceil() as usize;
        let bell: Vec<f32> = (0..=reach).map(|i| (-0.5 * (i as f32 / options.radius).powi(2)).exp()).collect();
        let sum = bell[0] + 2.0 * bell[1..].iter().sum::<f32>();
        Ok(Self {
            width: size.0,
            height: size.1,
            channels,
            options: *options,
            kernel: bell.iter().map(|v| v / sum).collect(),
            around: options.radius.ceil() as usize,
            held: VecDeque::new(),
            first: 0,
            next: 0,
            out: 0,
        })
    }

    /// Values of a row.
    pub fn row_len(&self) -> usize {
        self.width * self.channels
    }

    /// Takes the next row and hands every row that is ready to `emit`; with the last one come all that are left. Rows beyond
    /// the last are ignored.
    ///
    /// # Errors
    /// What `emit` returns; nothing should be pushed after that.
    pub fn push<E>(&mut self, row: &[f32], mut emit: impl FnMut(&[f32]) -> Result<(), E>) -> Result<(), E> {
        if self.next >= self.height || row.len() < self.row_len() {
            return Ok(());
        }
        let held = self.prepare(&row[..self.row_len()]);
        self.held.push_back(held);
        self.next += 1;
        let reach = self.kernel.len() - 1;
        while self.out < self.height && (self.out + reach < self.next || self.next == self.height) {
            let line = self.sharpened(self.out);
            self.out += 1;
            emit(&line)?;
            while self.first + reach < self.out {
                self.held.pop_front();
                self.first += 1;
            }
        }
        Ok(())
    }

    fn colours(&self) -> usize {
        self.channels - usize::from(self.channels.is_multiple_of(2))
    }

    fn prepare(&self, row: &[f32]) -> Held {
        let colours = self.colours();
        let luma_of = |p: &[f32]| if colours == 1 { p[0] } else { 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2] };
        let luma: Vec<f32> = row.chunks_exact(self.channels).map(luma_of).collect();
        let alpha: Vec<f32> =
            row.chunks_exact(self.channels).map(|p| p.get(colours).map_or(1.0, |a| a.clamp(0.0, 1.0))).collect();
        let weighted: Vec<f32> = luma.iter().zip(&alpha).map(|(y, a)| y * a).collect();
        let extreme = |start: f32, better: fn(f32, f32) -> f32| -> Vec<f32> {
            let nearby = |x: usize| {
                let range = x.saturating_sub(self.around)..(x + self.around + 1).min(self.width);
                range.filter(|at| alpha[*at] > 0.0).fold(start, |best, at| better(best, luma[at]))
            };
            (0..self.width).map(nearby).collect()
        };
        Held {
            values: row.to_vec(),
            blurred: self.blurred(&weighted),
            weight: self.blurred(&alpha),
            low: extreme(f32::INFINITY, f32::min),
            high: extreme(f32::NEG_INFINITY, f32::max),
            luma,
        }
    }

    /// Along the row; what lies outside is the outermost value.
    fn blurred(&self, line: &[f32]) -> Vec<f32> {
        let last = line.len() - 1;
        let at = |x: usize| {
            let side = |(k, weight): (usize, &f32)| weight * (line[x.saturating_sub(k)] + line[(x + k).min(last)]);
            self.kernel[0] * line[x] + self.kernel.iter().enumerate().skip(1).map(side).sum::<f32>()
        };
        (0..line.len()).map(at).collect()
    }

    fn sharpened(&self, y: usize) -> Vec<f32> {
        let row = |at: usize| &self.held[at - self.first];
        let last = self.height - 1;
        let mut sums = vec![[0.0f32; 2]; self.width];
        for (k, weight) in self.kernel.iter().enumerate() {
            // The middle row is its own opposite.
            let opposite = if k == 0 { 0.0 } else { *weight };
            let (above, below) = (row(y.saturating_sub(k)), row((y + k).min(last)));
            for (x, [luma, alpha]) in sums.iter_mut().enumerate() {
                *luma += weight * above.blurred[x] + opposite * below.blurred[x];
                *alpha += weight * above.weight[x] + opposite * below.weight[x];
            }
        }
        let near = y.saturating_sub(self.around)..=(y + self.around).min(last);
        let here = row(y);
        let mut line = here.values.clone();
        for (x, pixel) in line.chunks_exact_mut(self.channels).enumerate() {
            let [luma, alpha] = sums[x];
            let detail = if alpha > 0.0 { here.luma[x] - luma / alpha } else { 0.0 };
            let beyond = (detail.abs() - self.options.threshold).max(0.0).copysign(detail);
            let low = near.clone().fold(f32::INFINITY, |best, at| best.min(row(at).low[x])) - self.options.overshoot;
            let high =
                near.clone().fold(f32::NEG_INFINITY, |best, at| best.max(row(at).high[x])) + self.options.overshoot;
            let wanted = here.luma[x] + self.options.amount * beyond;
            // Where nothing is visible nearby there is nothing to keep to.
            let kept = if low <= high { wanted.clamp(low, high) } else { here.luma[x] };
            let added = kept - here.luma[x];
            for value in &mut pixel[..self.colours()] {
                if added != 0.0 {
                    *value = (*value + added).clamp(0.0, 1.0);
                }
            }
        }
        line
    }
}

/// Sharpens a whole picture of interleaved values in 0…1; see [`RowSharpener::new`].
///
/// # Errors
/// As [`RowSharpener::new`]; [`ImagingError::Shape`] when the length does not fit.
pub fn sharpen(
    values: &[f32],
    size: (usize, usize),
    channels: usize,
    options: &SharpenOptions,
) -> Result<Vec<f32>, ImagingError> {
    let mut rows = RowSharpener::new(size, channels, options)?;
    let expected = rows.row_len() * size.1;
    if values.len() != expected {
        let (width, height) = (size.0 as u32, size.1 as u32);
        let (expected, found) = (expected as u64, values.len() as u64);
        return Err(ImagingError::Shape { width, height, channels, expected, found });
    }
    let mut out = Vec::with_capacity(values.len());
    for row in values.chunks_exact(rows.row_len()) {
        rows.push(row, |line| {
            out.extend_from_slice(line);
            Ok::<(), ImagingError>(())
        })?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(count: usize) -> Vec<f32> {
        (0..count as u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 24) as f32).collect()
    }

    /// The same, pixel by pixel over the whole picture, in f64.
    fn plainly(values: &[f32], (width, height): (usize, usize), channels: usize, options: &SharpenOptions) -> Vec<f32> {
        let alpha = channels.is_multiple_of(2);
        let colours = channels - usize::from(alpha);
        let pixel = |x: i64, y: i64| {
            let (x, y) = (x.clamp(0, width as i64 - 1) as usize, y.clamp(0, height as i64 - 1) as usize);
            let p = &values[(y * width + x) * channels..][..channels];
            let [r, g, b] = [p[0], p[1 % colours], p[2 % colours]].map(f64::from);
            (0.299 * r + 0.587 * g + 0.114 * b, if alpha { f64::from(p[colours]) } else { 1.0 })
        };
        let reach = (REACH * options.radius).ceil() as i64;
        let bell = |i: i64| (-0.5 * (i as f64 / f64::from(options.radius)).powi(2)).exp();
        let around = options.radius.ceil() as i64;
        let mut out = values.to_vec();
        for y in 0..height as i64 {
            for x in 0..width as i64 {
                let (mut sum, mut weight) = (0.0, 0.0);
                let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
                for (i, j) in (-reach..=reach).flat_map(|i| (-reach..=reach).map(move |j| (i, j))) {
                    let (luma, alpha) = pixel(x + j, y + i);
                    sum += bell(i) * bell(j) * luma * alpha;
                    weight += bell(i) * bell(j) * alpha;
                    if i.abs() <= around && j.abs() <= around && alpha > 0.0 {
                        (low, high) = (low.min(luma), high.max(luma));
                    }
                }
                let here = pixel(x, y).0;
                if weight <= 0.0 || low > high {
                    continue;
                }
                let detail = here - sum / weight;
                let beyond = (detail.abs() - f64::from(options.threshold)).max(0.0) * detail.signum();
                let over = f64::from(options.overshoot);
                let kept = (here + f64::from(options.amount) * beyond).clamp(low - over, high + over);
                let start = (y as usize * width + x as usize) * channels;
                for value in &mut out[start..start + colours] {
                    *value = (f64::from(*value) + kept - here).clamp(0.0, 1.0) as f32;
                }
            }
        }
        out
    }

    #[test]
    fn rows_make_what_the_whole_picture_would() {
        for (channels, size) in [(1, (19, 17)), (2, (16, 9)), (3, (23, 31)), (4, (12, 14)), (3, (1, 1)), (1, (3, 40))] {
            for options in [
                SharpenOptions::default(),
                SharpenOptions { amount: 2.0, radius: 2.3, threshold: 0.0, overshoot: 0.0 },
                SharpenOptions { amount: 4.0, radius: 0.4, threshold: 0.05, overshoot: 1.0 },
            ] {
                let mut values = noise(size.0 * size.1 * channels);
                if channels % 2 == 0 {
                    values.chunks_exact_mut(channels).step_by(3).for_each(|p| p[channels - 1] = 0.0);
                }
                let found = sharpen(&values, size, channels, &options).unwrap();
                let wanted = plainly(&values, size, channels, &options);
                let worst = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst < 2e-5, "{channels} channels, {size:?}, {options:?}: {worst}");
            }
        }
    }

    #[test]
    fn few_rows_are_held_and_all_come_out() {
        let options = SharpenOptions { radius: 2.0, ..SharpenOptions::default() };
        let mut rows = RowSharpener::new((5, 300), 1, &options).unwrap();
        let (mut most, mut count) = (0, 0);
        for _ in 0..305 {
            let pushed: Result<(), ()> = rows.push(&[0.5; 5], |line| {
                assert_eq!(line, [0.5; 5]);
                count += 1;
                Ok(())
            });
            pushed.unwrap();
            most = most.max(rows.held.len());
        }
        assert_eq!(count, 300);
        assert!(most <= 13, "{most} rows held");
    }

    #[test]
    fn edges_become_steep_without_a_rim_and_keep_their_colour() {
        // A soft edge between two colours.
        let mix = |x: usize| 1.0 / (1.0 + (-(x as f32 - 20.0) / 2.0).exp());
        let values: Vec<f32> = (0..40 * 9).flat_map(|i| [0.2, 0.3, 0.4].map(|v| v + 0.4 * mix(i % 40))).collect();
        let options = SharpenOptions { amount: 3.0, radius: 3.0, threshold: 0.0, overshoot: 0.01 };
        let sharp = sharpen(&values, (40, 9), 3, &options).unwrap();
        let row = |values: &[f32]| -> Vec<f32> { values[40 * 3 * 4..40 * 3 * 5].to_vec() };
        let steepest = |row: &[f32]| {
            let greens: Vec<f32> = row.iter().skip(1).step_by(3).copied().collect();
            greens.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f32::max)
        };
        let (before, after) = (steepest(&row(&values)), steepest(&row(&sharp)));
        assert!(after > 1.8 * before, "{before} became {after}");
        assert!(sharp.iter().skip(1).step_by(3).all(|v| (0.289..=0.711).contains(v)));
        for pixel in sharp.chunks_exact(3) {
            assert!((pixel[1] - pixel[0] - 0.1).abs() < 1e-5 && (pixel[2] - pixel[1] - 0.1).abs() < 1e-5, "{pixel:?}");
        }
    }

    #[test]
    fn options_outside_their_range_are_refused() {
        for options in [
            SharpenOptions { amount: -1.0, ..SharpenOptions::default() },
            SharpenOptions { radius: f32::NAN, ..SharpenOptions::default() },
            SharpenOptions { radius: 100.0, ..SharpenOptions::default() },
            SharpenOptions { threshold: 2.0, ..SharpenOptions::default() },
        ] {
            assert!(RowSharpener::new((4, 4), 3, &options).is_err(), "{options:?}");
        }
        assert!(RowSharpener::new((0, 4), 3, &SharpenOptions::default()).is_err());
        assert!(sharpen(&[0.0; 5], (2, 2), 1, &SharpenOptions::default()).is_err());
    }
}
