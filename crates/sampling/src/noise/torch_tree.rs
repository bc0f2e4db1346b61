//! torchsde's `BrownianTree` over sigma, as k-diffusion's SDE samplers use it in A1111 and ComfyUI.
//!
//! The range of the run's sigmas is halved again and again; each node has a seed by its place, and its left half's increment
//! is the Brownian bridge with the noise of that seed. Times are rounded to six decimals, where the halving ends. (Li et al.
//! 2020, arXiv 2001.01328; the tree of torchsde 0.2.6.)

use super::seed_sequence::SeedSequence;

const POOL: usize = 24;
/// Halvings after which any range up to 100,000 is at the sixth decimal.
const DEEPEST: usize = 64;

/// Fills `out` with `(W(to) - W(from)) / sqrt(|to - from|)` of the tree over `range` with this `entropy`; `normal` fills with
/// the noise of a seed.
pub(crate) fn increment(
    entropy: u64,
    range: (f64, f64),
    (from, to): (f64, f64),
    normal: &dyn Fn(u64, &mut [f32]),
    out: &mut [f32],
) {
    let [low, high, from_time, to_time] = [range.0, range.1, from, to].map(|t| rounded(f64::from(t as f32)));
    let tree = Tree { entropy, low, high, len: out.len(), normal };
    let [a, b] = [from_time, to_time].map(|t| tree.path(t.clamp(low, high)));
    let distance = (f64::from(to as f32) - f64::from(from as f32)).abs();
    let norm = if distance > 0.0 { 1.0 / distance.sqrt() } else { 0.0 };
    for ((value, a), b) in out.iter_mut().zip(a).zip(b) {
        *value = ((b - a) * norm) as f32;
    }
}

struct Tree<'a> {
    entropy: u64,
    low: f64,
    high: f64,
    len: usize,
    normal: &'a dyn Fn(u64, &mut [f32]),
}

impl Tree<'_> {
    /// The path at `time`, counted from the low end.
    fn path(&self, time: f64) -> Vec<f64> {
        let (mut start, mut end) = (self.low, self.high);
        let mut value = vec![0f64; self.len];
        if time <= start {
            return value;
        }
        let top = SeedSequence::new(self.entropy, &[], POOL).first();
        let root = (end - start).sqrt();
        let mut whole: Vec<f64> = self.noise(top).iter().map(|n| f64::from(*n) * root).collect();
        let mut node = 0u64;
        for depth in 0..DEEPEST {
            if time >= end {
                break;
            }
            let middle = rounded(0.5 * (end + start));
            let (left, right, all) = (middle - start, end - middle, end - start);
            let spread = (left * right / all).max(0.0).sqrt();
            let noise = self.noise(SeedSequence::new(self.entropy, &[node, depth as u64], POOL).first());
            let to_the_left = time <= middle;
            for ((whole, value), n) in whole.iter_mut().zip(&mut value).zip(noise) {
                let half = left * *whole / all + spread * f64::from(n);
                if to_the_left {
                    *whole = half;
                } else {
                    *value += half;
                    *whole -= half;
                }
            }
            (start, end) = if to_the_left { (start, middle) } else { (middle, end) };
            node = 2 * node + u64::from(!to_the_left);
        }
        value.iter_mut().zip(whole).for_each(|(value, rest)| *value += rest);
        value
    }

    fn noise(&self, seed: u32) -> Vec<f32> {
        let mut out = vec![0f32; self.len];
        (self.normal)(u64::from(seed), &mut out);
        out
    }
}

/// As Python rounds to six decimals: by the exact decimal value.
fn rounded(time: f64) -> f64 {
    let text = format!("{time:.6}");
    text.parse().unwrap_or(time)
}
