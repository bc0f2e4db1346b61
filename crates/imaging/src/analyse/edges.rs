//! The width of edges: their whole step over the steepest slope on the way.
//!
//! A step blurred by a Gaussian of deviation σ is σ·√(2π) wide by this measure, one that no blur touched is 1 wide.

use super::Window;

/// Slope at the steepest place, and step of the whole, from which an edge counts.
const STEEP: f32 = 8.0;
const STRONG: f32 = 32.0;
/// An edge ends where its slope falls below this share of the steepest.
const ENDS: f32 = 0.05;
/// Widths are counted in such parts of a pixel, up to 32 pixels.
const PARTS: f32 = 16.0;
const BINS: usize = 512;
/// Edges from which anything can be told.
const FEWEST: u64 = 64;

pub(super) struct Gathered {
    widths: [u64; BINS],
}

impl Default for Gathered {
    fn default() -> Self {
        Self { widths: [0; BINS] }
    }
}

impl Gathered {
    pub(super) fn look(&mut self, window: &Window) {
        self.lines(&window.luma, window.width);
        self.lines(&window.turned(), window.height);
    }

    pub(super) fn sharpest_quarter(&self) -> Option<f32> {
        let count: u64 = self.widths.iter().sum();
        if count < FEWEST {
            return None;
        }
        let mut left = count / 4;
        let at = self.widths.iter().position(|n| {
            let here = *n > left;
            left = left.saturating_sub(*n);
            here
        })?;
        Some((at as f32 + 0.5) / PARTS)
    }

    /// Every second line is enough.
    fn lines(&mut self, luma: &[f32], length: usize) {
        for line in luma.chunks_exact(length.max(1)).step_by(2) {
            let slopes: Vec<f32> = line.windows(2).map(|p| p[1] - p[0]).collect();
            for (before, three) in slopes.windows(3).enumerate() {
                let [a, slope, b] = [three[0].abs(), three[1], three[2].abs()];
                if slope.abs() < STEEP || slope.abs() < a || slope.abs() <= b {
                    continue;
                }
                let goes_on = |s: &f32| s * slope.signum() > ENDS * slope.abs();
                let at = before + 1;
                let first = at - slopes[..at].iter().rev().take_while(|s| goes_on(s)).count();
                let last = at + slopes[at + 1..].iter().take_while(|s| goes_on(s)).count();
                let step = (line[last + 1] - line[first]).abs();
                if step > STRONG {
                    let width = step / slope.abs();
                    self.widths[((width * PARTS) as usize).min(BINS - 1)] += 1;
                }
            }
        }
    }
}
