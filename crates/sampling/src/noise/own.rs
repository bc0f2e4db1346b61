//! Our own noise: a pure function of seed, purpose, draw and element. Any draw can be had without the ones before it.

use super::philox::philox4x32;

/// What the numbers are for; keeps streams of one seed apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Initial = 0,
    Step = 1,
    Brownian = 2,
}

/// Two standard normals for the elements `2 * pair` and `2 * pair + 1` of a draw (Box and Muller 1958, in f64 from words
/// that are never 0).
pub(crate) fn normal_pair(seed: u64, stream: Stream, draw: u32, pair: u32, place: u32) -> [f64; 2] {
    let key = [seed as u32, (seed >> 32) as u32];
    let words = philox4x32([pair, draw, place, 0xda9_0000 + stream as u32], key);
    let uniform = |high: u32, low: u32| {
        let bits = u64::from(high) << 21 | u64::from(low) >> 11;
        (bits as f64 + 0.5) * 2f64.powi(-53)
    };
    let (u, v) = (uniform(words[0], words[1]), uniform(words[2], words[3]));
    let radius = (-2.0 * libm::log(u)).sqrt();
    let (sin, cos) = libm::sincos(2.0 * std::f64::consts::PI * v);
    [radius * cos, radius * sin]
}

/// Fills `out` with the values of one draw.
pub(crate) fn normal(seed: u64, stream: Stream, draw: u32, out: &mut [f32]) {
    for (pair, two) in out.chunks_mut(2).enumerate() {
        for (value, normal) in two.iter_mut().zip(normal_pair(seed, stream, draw, pair as u32, 0)) {
            *value = normal as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_standard_normal_and_streams_differ() {
        let mut out = vec![0f32; 100_001];
        normal(7, Stream::Initial, 0, &mut out);
        let n = out.len() as f64;
        let mean = out.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let square = out.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / n;
        let fourth = out.iter().map(|v| f64::from(*v).powi(4)).sum::<f64>() / n;
        assert!(mean.abs() < 0.01 && (square - 1.0).abs() < 0.02 && (fourth - 3.0).abs() < 0.15);
        let mut other = vec![0f32; 4];
        normal(7, Stream::Step, 0, &mut other);
        assert_ne!(other, out[..4]);
        normal(7, Stream::Initial, 0, &mut other);
        assert_eq!(other, out[..4]);
    }
}
