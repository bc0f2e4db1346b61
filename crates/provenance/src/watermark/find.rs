//! Finding the watermark, wherever the picture was cut and however it was resized.

use std::sync::Arc;

use danqing_imaging::Picture;
use rustfft::num_complex::Complex;
use rustfft::{Fft, FftPlanner};

use super::pattern::{Pattern, WatermarkKey, message_of};
use super::plane::Plane;
use super::{BITS, CHIPS, TILE};

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// How far the pattern stands out of what chance does, in standard deviations. Without a mark it stays under 6.
    pub score: f32,
    /// How many times larger the picture is than it was when it was marked.
    pub scale: f64,
    /// The bits as they were read, sure or not.
    pub bits: [bool; BITS],
    /// The message, if its checksum fits.
    pub message: Option<u32>,
    /// Whether so little happens in the picture that a mark may have had no room.
    pub flat: bool,
}

impl Found {
    /// Whether there is a mark of the key at all.
    pub fn is_marked(&self) -> bool {
        self.score >= MARKED
    }
}

/// A pattern that stands out so far is one.
const MARKED: f32 = 7.0;
/// One that stands out so far needs no further search.
const SURE: f32 = 14.0;
/// Squares along a side of the pattern in which pixels are gathered: two a chip.
const BINS: usize = 2 * CHIPS;
/// Radius in pixels of what is taken for the picture itself and not for the mark, at the scale at which it was marked.
const AROUND: f64 = 7.0;
/// Deviations from the surroundings beyond this many of the usual ones are edges.
const EDGE: f32 = 2.5;
/// Levels that are noise anyway.
const NOISE: f32 = 0.7;
/// Scales that people use.
const USUAL: [f64; 9] = [1.0, 0.5, 2.0, 0.75, 1.5, 2.0 / 3.0, 0.25, 4.0, 0.8];
/// Scales that are tried otherwise, from the first to the last by steps of the third.
const SWEEP: (f64, f64, f64) = (0.3, 2.2, 1.003);
/// Side in pixels of the middle that is looked at while all scales are tried.
const MIDDLE: usize = 640;
/// A picture whose luma deviates by less than this in nearly all places is flat.
const FLAT: (f32, f64) = (1.5, 0.9);

/// Looks for a mark of `key`.
pub fn find(picture: &Picture, key: &WatermarkKey) -> Found {
    let luma = Plane::luma(picture);
    let search = Search::new(key);
    let deviations = luma.deviation(4).values;
    let quiet = deviations.iter().filter(|deviation| **deviation < FLAT.0).count();
    let flat = quiet as f64 >= FLAT.1 * deviations.len().max(1) as f64;

    let mut best = search.look(&prepared(&luma, 1.0), 1.0);
    let better = |candidate: Look, best: &mut Look| {
        if candidate.score > best.score {
            *best = candidate;
        }
    };
    for scale in &USUAL[1..] {
        if best.score >= SURE {
            break;
        }
        better(search.look(&prepared(&luma, *scale), *scale), &mut best);
    }
    if best.score < SURE {
        let middle = middle(&luma);
        let mut coarse = (0.0, 1.0);
        let (mut scale, mut made_for, mut plane) = (SWEEP.0, 0.0, None);
        while scale < SWEEP.1 {
            // The surroundings need not follow every step.
            if scale > made_for * 1.1 || plane.is_none() {
                (made_for, plane) = (scale, Some(prepared(&middle, scale)));
            }
            let look = plane.as_ref().map(|plane| search.look(plane, scale));
            if let Some(look) = look.filter(|look| look.score > coarse.0) {
                coarse = (look.score, scale);
            }
            scale *= SWEEP.2;
        }
        let plane = prepared(&luma, coarse.1);
        for step in -6..=6 {
            let scale = coarse.1 * (1.0 + 0.0005 * f64::from(step));
            better(search.look(&plane, scale), &mut best);
        }
    }
    let (bits, strength) = search.read(&best);
    let message = if best.score >= MARKED { message_of(&bits, &strength) } else { None };
    Found { score: best.score, scale: best.scale, bits, message, flat }
}

/// What is left of a picture without itself: the difference from its surroundings, as strong everywhere.
fn prepared(luma: &Plane, scale: f64) -> Plane {
    let radius = ((AROUND * scale).round() as usize).max(2);
    let around = luma.mean(radius);
    let differs = luma.map(|i, v| v - around.values[i]);
    let usual = differs.map(|_, v| v * v).mean(radius);
    differs.map(|i, v| (v / (usual.values[i].max(0.0).sqrt() + NOISE)).clamp(-EDGE, EDGE))
}

fn middle(luma: &Plane) -> Plane {
    let (width, height) = (luma.width.min(MIDDLE), luma.height.min(MIDDLE));
    let (left, top) = ((luma.width - width) / 2, (luma.height - height) / 2);
    let row = |y: usize| luma.values[(top + y) * luma.width + left..][..width].iter().copied();
    Plane { width, height, values: (0..height).flat_map(row).collect() }
}

/// The pattern at one scale.
struct Look {
    score: f32,
    scale: f64,
    /// What was gathered in each square.
    gathered: Vec<f32>,
    /// Where in it the pattern begins.
    at: (usize, usize),
}

struct Search {
    pattern: Pattern,
    forward: Arc<dyn Fft<f32>>,
    inverse: Arc<dyn Fft<f32>>,
    /// The conjugate spectrum of the pilot.
    pilot: Vec<Complex<f32>>,
}

impl Search {
    fn new(key: &WatermarkKey) -> Self {
        let pattern = Pattern::new(key);
        let mut planner = FftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(BINS), planner.plan_fft_inverse(BINS));
        let mut pilot: Vec<Complex<f32>> =
            (0..BINS * BINS).map(|i| Complex::new(pattern.pilot[i / BINS / 2 * CHIPS + i % BINS / 2], 0.0)).collect();
        both_ways(&mut pilot, forward.as_ref());
        pilot.iter_mut().for_each(|value| *value = value.conj());
        Self { pattern, forward, inverse, pilot }
    }

    /// Gathers all repetitions of the pattern in one and finds where it begins.
    fn look(&self, plane: &Plane, scale: f64) -> Look {
        let bin = |i: usize| ((i as f64 + 0.5) / scale * (BINS as f64 / TILE as f64)) as usize % BINS;
        let columns: Vec<usize> = (0..plane.width).map(bin).collect();
        let (mut sums, mut counts) = (vec![0.0_f32; BINS * BINS], vec![0_u32; BINS * BINS]);
        for (y, row) in plane.values.chunks_exact(plane.width.max(1)).enumerate() {
            let start = bin(y) * BINS;
            let (sums, counts) = (&mut sums[start..start + BINS], &mut counts[start..start + BINS]);
            for (column, value) in columns.iter().zip(row) {
                sums[*column] += value;
                counts[*column] += 1;
            }
        }
        // Means would give squares that few pixels meet too much weight, sums too little.
        let gathered: Vec<f32> = sums.iter().zip(&counts).map(|(sum, n)| sum / (*n as f32).sqrt().max(1.0)).collect();
        let mut spectrum: Vec<Complex<f32>> = gathered.iter().map(|v| Complex::new(*v, 0.0)).collect();
        both_ways(&mut spectrum, self.forward.as_ref());
        spectrum.iter_mut().zip(&self.pilot).for_each(|(value, pilot)| *value *= pilot);
        // The mean says nothing.
        spectrum[0] = Complex::default();
        both_ways(&mut spectrum, self.inverse.as_ref());
        let energy = spectrum.iter().map(|v| v.re * v.re).sum::<f32>() / (BINS * BINS) as f32;
        let peak = spectrum.iter().enumerate().max_by(|a, b| a.1.re.total_cmp(&b.1.re));
        let (at, height) = peak.map_or((0, 0.0), |(at, value)| (at, value.re));
        let score = if energy > 0.0 { height / energy.sqrt() } else { 0.0 };
        Look { score, scale, gathered, at: (at % BINS, at / BINS) }
    }

    /// The bits and how sure each is.
    fn read(&self, look: &Look) -> ([bool; BITS], [f32; BITS]) {
        let mut sums = [0.0_f32; BITS];
        for chip in 0..CHIPS * CHIPS {
            let (x, y) = (2 * (chip % CHIPS) + look.at.0, 2 * (chip / CHIPS) + look.at.1);
            let value: f32 = [(0, 0), (1, 0), (0, 1), (1, 1)]
                .iter()
                .map(|(dx, dy)| look.gathered[(y + dy) % BINS * BINS + (x + dx) % BINS])
                .sum();
            sums[self.pattern.bit[chip]] += value * self.pattern.sign[chip];
        }
        (sums.map(|sum| sum > 0.0), sums.map(f32::abs))
    }
}

/// The transform of rows, then of columns.
fn both_ways(values: &mut [Complex<f32>], fft: &dyn Fft<f32>) {
    for _ in 0..2 {
        fft.process(values);
        let turned: Vec<Complex<f32>> = (0..BINS * BINS).map(|i| values[i % BINS * BINS + i / BINS]).collect();
        values.copy_from_slice(&turned);
    }
}
