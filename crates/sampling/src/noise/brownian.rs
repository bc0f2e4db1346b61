//! A Brownian path over sigma that needs no memory: any increment is a function of the seed.
//!
//! SDE samplers ask for the path's increments. Because the path is one and the same for a seed, a run with more steps sees
//! the same noise at a finer grain and draws nearly the same picture (the idea of k-diffusion's Brownian tree; Li et al.
//! 2020, arXiv 2001.01328). Our path is made of octaves `2^k..2^(k+1)`, each with an end point and a bridge that is halved
//! sixteen times; below that it is straight. It is not torchsde's, so seeds do not carry over from there.

use super::own::{Stream, normal_pair};

const LOWEST_OCTAVE: i32 = -12;
const HALVINGS: u32 = 16;

/// Fills `out` with `(W(to) - W(from)) / sqrt(|to - from|)`, every element with its own path.
pub(crate) fn increment(seed: u64, from: f64, to: f64, out: &mut [f32]) {
    let norm = 1.0 / (to - from).abs().sqrt();
    let base = octave(from.min(to));
    for (pair, two) in out.chunks_mut(2).enumerate() {
        let [a, b] = [from, to].map(|sigma| path_at(seed, pair as u32, base, sigma));
        for (value, (a, b)) in two.iter_mut().zip(a.into_iter().zip(b)) {
            *value = ((b - a) * norm) as f32;
        }
    }
}

/// The paths of a pair of elements at `sigma`, counted from the start of the octave `base`.
fn path_at(seed: u64, pair: u32, base: i32, sigma: f64) -> [f64; 2] {
    let top = octave(sigma);
    let mut value = [0.0; 2];
    for k in base..top {
        add(&mut value, octave_step(seed, pair, k), 1.0);
    }
    let (mut start, mut width) = bounds(top);
    if sigma <= start {
        return value;
    }
    let mut left = value;
    let mut right = value;
    add(&mut right, octave_step(seed, pair, top), 1.0);
    let mut node = 1u32;
    for _ in 0..HALVINGS {
        width /= 2.0;
        let mut middle = [(left[0] + right[0]) / 2.0, (left[1] + right[1]) / 2.0];
        let place = octave_place(top) | node;
        add(&mut middle, normal_pair(seed, Stream::Brownian, 1, pair, place), (width / 2.0).sqrt());
        if sigma < start + width {
            right = middle;
            node *= 2;
        } else {
            left = middle;
            start += width;
            node = node * 2 + 1;
        }
    }
    let w = ((sigma - start) / width).clamp(0.0, 1.0);
    [0, 1].map(|i| left[i] + w * (right[i] - left[i]))
}

/// What the path does over a whole octave.
fn octave_step(seed: u64, pair: u32, octave: i32) -> [f64; 2] {
    let (_, width) = bounds(octave);
    normal_pair(seed, Stream::Brownian, 0, pair, octave_place(octave)).map(|n| n * width.sqrt())
}

/// The octave in which a sigma lies; all below the lowest counts as one.
fn octave(sigma: f64) -> i32 {
    let exponent = if sigma > 0.0 { libm::ilogb(sigma) } else { LOWEST_OCTAVE - 1 };
    exponent.clamp(LOWEST_OCTAVE - 1, 30)
}

/// Start and width of an octave.
fn bounds(octave: i32) -> (f64, f64) {
    if octave < LOWEST_OCTAVE {
        (0.0, libm::exp2(f64::from(LOWEST_OCTAVE)))
    } else {
        let start = libm::exp2(f64::from(octave));
        (start, start)
    }
}

/// Room for the nodes of one octave's bridge.
fn octave_place(octave: i32) -> u32 {
    ((octave - LOWEST_OCTAVE + 1) as u32) << (HALVINGS + 1)
}

fn add(value: &mut [f64; 2], normal: [f64; 2], factor: f64) {
    value[0] += factor * normal[0];
    value[1] += factor * normal[1];
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(seed: u64, from: f64, to: f64, len: usize) -> Vec<f64> {
        let mut out = vec![0f32; len];
        increment(seed, from, to, &mut out);
        out.iter().map(|v| f64::from(*v) * (to - from).abs().sqrt()).collect()
    }

    #[test]
    fn increments_add_up() {
        let whole = path(3, 0.03, 14.6, 9);
        let parts = [path(3, 0.03, 0.7, 9), path(3, 0.7, 9.0, 9), path(3, 9.0, 14.6, 9)];
        for (i, w) in whole.iter().enumerate() {
            assert!((w - parts.iter().map(|p| p[i]).sum::<f64>()).abs() < 1e-5);
        }
        let back = path(3, 14.6, 0.03, 9);
        assert!(whole.iter().zip(&back).all(|(a, b)| (a + b).abs() < 1e-6));
    }

    #[test]
    fn increments_are_standard_and_independent() {
        let n = 20_000;
        let (mut a, mut b) = (vec![0f32; n], vec![0f32; n]);
        for (from, to, after) in [(14.6, 9.1, 5.5), (0.9, 0.45, 0.2), (4096.0, 60.0, 9.0), (1.0, 0.95, 0.9)] {
            increment(11, from, to, &mut a);
            increment(11, to, after, &mut b);
            let mean = |f: &dyn Fn(usize) -> f64| (0..n).map(f).sum::<f64>() / n as f64;
            assert!(mean(&|i| f64::from(a[i])).abs() < 0.03);
            assert!((mean(&|i| f64::from(a[i]).powi(2)) - 1.0).abs() < 0.04);
            assert!(mean(&|i| f64::from(a[i]) * f64::from(b[i])).abs() < 0.03);
        }
    }
}
