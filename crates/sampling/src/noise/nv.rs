//! The noise of an NVIDIA card (`torch.randn` on CUDA), as A1111's "NV" source and stable-diffusion.cpp compute it on a
//! CPU: Philox, one counter per element, the offset counting the calls. Real cards agree to 5e-7 while a tensor has no more
//! elements than the card has resident threads.

use super::philox::philox4x32;

/// Angle per unit of a random word, as the reference rounds it.
const ANGLE: f64 = 1.462918119976564e-09;

/// The generator: a seed and the number of calls made.
#[derive(Debug, Clone)]
pub struct NvPhilox {
    seed: u64,
    calls: u32,
}

impl NvPhilox {
    /// A generator from all 64 bits of a seed.
    pub fn new(seed: u64) -> Self {
        NvPhilox { seed, calls: 0 }
    }

    /// Fills `out`; one call moves the offset on by one whatever the length.
    pub fn normal(&mut self, out: &mut [f32]) {
        let key = [self.seed as u32, (self.seed >> 32) as u32];
        for (element, value) in out.iter_mut().enumerate() {
            let [g0, g1, ..] = philox4x32([self.calls, 0, element as u32, 0], key);
            let u = f64::from(g0) * 2f64.powi(-32) + 2f64.powi(-33);
            let v = f64::from(g1) * ANGLE + ANGLE / 2.0;
            *value = ((-2.0 * libm::log(u)).sqrt() * libm::sin(v)) as f32;
        }
        self.calls = self.calls.wrapping_add(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_references_values() {
        let draw = |g: &mut NvPhilox| {
            let mut out = [0f32; 4];
            g.normal(&mut out);
            out
        };
        assert_eq!(draw(&mut NvPhilox::new(0)), [-0.9246624, -0.42534396, -2.6438458, 0.14518388]);
        let mut g = NvPhilox::new(42);
        assert_eq!(draw(&mut g), [0.19401887, 2.1613739, -0.17205095, 0.84906]);
        assert_eq!(draw(&mut g)[..2], [0.13913749, -0.10821616]);
    }
}
