//! Counter-based random numbers: Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
//!
//! The same seed gives the same bits on every machine: integers come from Philox, and the normal distribution uses
//! its own logarithm and cosine in plain f64 arithmetic. For initial weights and training; the noise of other programs
//! (torch, CUDA) lives with the samplers.

use std::f64::consts::{LN_2, PI};

/// A stream of random numbers. Cloning forks the stream at its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rng {
    key: [u32; 2],
    counter: u64,
    stream: u64,
    block: [u32; 4],
    used: u8,
}

impl Rng {
    /// The stream of `seed`.
    pub fn new(seed: u64) -> Rng {
        Rng::with_stream(seed, 0)
    }

    /// One of 2^64 independent streams of `seed`.
    pub fn with_stream(seed: u64, stream: u64) -> Rng {
        Rng { key: [seed as u32, (seed >> 32) as u32], counter: 0, stream, block: [0; 4], used: 4 }
    }

    /// How many 32-bit numbers have been drawn; [`Rng::seek`] goes back to it.
    pub fn position(&self) -> u64 {
        self.counter * 4 - (4 - self.used as u64)
    }

    /// Goes to `position` of the stream.
    pub fn seek(&mut self, position: u64) {
        self.counter = position / 4;
        self.used = 4;
        for _ in 0..position % 4 {
            self.next_u32();
        }
    }

    /// The next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            let (c, s) = (self.counter, self.stream);
            self.block = philox([c as u32, (c >> 32) as u32, s as u32, (s >> 32) as u32], self.key);
            self.counter += 1;
            self.used = 0;
        }
        self.used += 1;
        self.block[self.used as usize - 1]
    }

    /// Uniform in `[0, 1)`, in steps of 2^-24.
    pub fn uniform(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 / (1 << 24) as f32
    }

    /// An integer in `0..n`; `n = 0` gives 0.
    pub fn below(&mut self, n: usize) -> usize {
        let wide = (u64::from(self.next_u32()) << 32) | u64::from(self.next_u32());
        ((u128::from(wide) * n as u128) >> 64) as usize
    }

    /// Normal of mean 0 and standard deviation 1.
    pub fn normal(&mut self) -> f32 {
        let mut one = [0.0];
        self.fill_normal(&mut one);
        one[0]
    }

    /// Fills with uniform values in `[low, high)`.
    pub fn fill_uniform(&mut self, out: &mut [f32], low: f32, high: f32) {
        for v in out {
            // Rounding may reach `high`: the largest value below it is meant then.
            *v = (low + (high - low) * self.uniform()).min(high.next_down().max(low));
        }
    }

    /// Fills with normal values (Box and Muller, two at a time; the second of the last pair is thrown away if odd).
    pub fn fill_normal(&mut self, out: &mut [f32]) {
        for pair in out.chunks_mut(2) {
            let u = (f64::from(self.next_u32()) + 0.5) * 2f64.powi(-32);
            let v = (f64::from(self.next_u32()) + 0.5) * 2f64.powi(-32);
            let radius = (-2.0 * ln(u)).sqrt();
            let (sin, cos) = sin_cos_turn(v);
            pair[0] = (radius * cos) as f32;
            if let Some(second) = pair.get_mut(1) {
                *second = (radius * sin) as f32;
            }
        }
    }

    /// Puts `items` in random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i + 1));
        }
    }
}

fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let a = u64::from(counter[0]) * 0xD251_1F53;
        let b = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [(b >> 32) as u32 ^ counter[1] ^ key[0], b as u32, (a >> 32) as u32 ^ counter[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

/// Natural logarithm of a positive normal number, by additions, multiplications and divisions only.
fn ln(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i64 - 1023;
    let mut mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)), |argument| < 0.172
    let t = (mantissa - 1.0) / (mantissa + 1.0);
    let square = t * t;
    let mut sum = 0.0;
    for n in (0..11).rev() {
        sum = sum * square + 1.0 / (2 * n + 1) as f64;
    }
    2.0 * t * sum + exponent as f64 * LN_2
}

/// Sine and cosine of `turn` × 2π, `turn` in `[0, 1)`.
fn sin_cos_turn(turn: f64) -> (f64, f64) {
    let eighth = (turn * 8.0) as u32;
    let quarter = eighth.div_ceil(2);
    let x = (turn - f64::from(quarter) * 0.25) * (2.0 * PI); // |x| <= π/4
    let square = x * x;
    let (mut sin, mut cos) = (0.0, 0.0);
    for n in (0..9).rev() {
        let (even, odd) = (2 * n + 1, 2 * n + 2);
        sin = 1.0 - sin * square / (odd * (odd + 1)) as f64;
        cos = 1.0 - cos * square / (even * (even + 1)) as f64;
    }
    sin *= x;
    match quarter % 4 {
        0 => (sin, cos),
        1 => (cos, -sin),
        2 => (-sin, -cos),
        _ => (-cos, sin),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_known_answers() {
        // Vectors of the Random123 distribution (kat_vectors, philox4x32 10).
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn own_functions_agree_with_the_platform() {
        let mut x = 2f64.powi(-33);
        while x < 1.0 {
            assert!((ln(x) - x.ln()).abs() <= 1e-15 * x.ln().abs() + 1e-16, "{x}");
            let (sin, cos) = sin_cos_turn(x);
            assert!((sin - (2.0 * PI * x).sin()).abs() < 1e-14 && (cos - (2.0 * PI * x).cos()).abs() < 1e-14, "{x}");
            x = x * 1.0007 + 1e-9;
        }
    }

    #[test]
    fn moments_and_positions() {
        let mut rng = Rng::new(7);
        let mut values = vec![0.0; 200_001];
        rng.fill_normal(&mut values);
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / values.len() as f32;
        assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.01, "{mean} {variance}");
        let mut again = Rng::new(7);
        again.seek(rng.position());
        assert_eq!(again.next_u32(), rng.next_u32());
        let mut counts = [0; 5];
        (0..5000).for_each(|_| counts[rng.below(5)] += 1);
        assert!(counts.iter().all(|c| (900..1100).contains(c)), "{counts:?}");
    }
}
