//! `torch.randn` on the CPU, value for value to 2e-6 (torch's vector paths have their own logarithm), and equal to itself
//! bit for bit on every machine.
//!
//! From 16 values on, torch fills with 24-bit uniforms and turns each sixteen into normals (Box and Muller 1958), the last
//! sixteen from new uniforms where the length is no multiple. Below 16 it draws pairs in f64 and keeps the second. In half
//! precision it makes sixteen normals at a time in f32 and rounds them (torch 2.15; older ones drew uniforms of fewer bits,
//! so that their half-precision pictures are others).

use super::mt19937::Mt19937;

/// The element type that torch would draw in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DrawType {
    /// `torch.float32`.
    #[default]
    F32,
    /// `torch.float16`, which diffusers draws in when a pipeline runs in it.
    F16,
    /// `torch.bfloat16`.
    Bf16,
}

/// Torch's CPU generator.
#[derive(Debug, Clone)]
pub struct TorchCpu {
    bits: Mt19937,
    spare: Option<f64>,
}

impl TorchCpu {
    /// `torch.Generator().manual_seed(seed)`: only the low 32 bits count.
    pub fn new(seed: u64) -> Self {
        TorchCpu { bits: Mt19937::new(seed as u32), spare: None }
    }

    /// `torch.randn(out.len(), dtype=draw_type, generator=self)`, widened to f32.
    pub fn normal(&mut self, draw_type: DrawType, out: &mut [f32]) {
        if out.len() < 16 {
            for value in out {
                *value = draw_type.round(self.normal_f64() as f32);
            }
            return;
        }
        let (whole, tail) = (out.len() / 16 * 16, out.len() - 16);
        let filled = if draw_type == DrawType::F32 { out.len() } else { whole };
        self.uniform(&mut out[..filled]);
        out[..whole].chunks_exact_mut(16).for_each(transform);
        if whole < out.len() {
            self.uniform(&mut out[tail..]);
            transform(&mut out[tail..]);
        }
        for value in out {
            *value = draw_type.round(*value);
        }
    }

    fn uniform(&mut self, out: &mut [f32]) {
        for value in out {
            *value = (self.bits.next_u32() & 0xff_ffff) as f32 / 16_777_216.0;
        }
    }

    fn normal_f64(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let mut uniform = || (self.bits.next_u64() & ((1 << 53) - 1)) as f64 / (1u64 << 53) as f64;
        let (u1, u2) = (uniform(), uniform());
        let r = (-2.0 * libm::log1p(-u2)).sqrt();
        let theta = 2.0 * std::f64::consts::PI * u1;
        self.spare = Some(r * libm::sin(theta));
        r * libm::cos(theta)
    }
}

impl DrawType {
    /// The nearest value of the type, ties to even. Normal draws stay within 6 in these widths: nothing overflows.
    fn round(self, value: f32) -> f32 {
        let digits = match self {
            DrawType::F32 => return value,
            DrawType::F16 if value.abs() < 2f32.powi(-14) => {
                let ulp = 2f32.powi(-24);
                return (value / ulp).round_ties_even() * ulp;
            }
            DrawType::F16 => 11,
            DrawType::Bf16 => 8,
        };
        let dropped = 24 - digits;
        let bits = value.to_bits();
        let half = (1u32 << (dropped - 1)) - 1 + ((bits >> dropped) & 1);
        f32::from_bits((bits + half) >> dropped << dropped)
    }
}

/// Turns sixteen uniforms into normals: the first eight are radii, the last eight angles.
fn transform(d: &mut [f32]) {
    for j in 0..8 {
        let u1 = f64::from(1.0 - d[j]);
        let theta = f64::from(std::f32::consts::TAU * d[j + 8]);
        let radius = (-2.0 * libm::log(u1)).sqrt();
        d[j] = (radius * libm::cos(theta)) as f32;
        d[j + 8] = (radius * libm::sin(theta)) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &[f32], wanted: &[f32], tolerance: f32) {
        for (a, b) in found.iter().zip(wanted) {
            assert!((a - b).abs() <= tolerance, "{found:?} {wanted:?}");
        }
    }

    #[test]
    fn seed_42_gives_the_well_known_values() {
        let mut four = [0f32; 4];
        TorchCpu::new(42).normal(DrawType::F32, &mut four);
        close(&four, &[0.3367, 0.1288, 0.2345, 0.2303], 5e-5);
        let mut latent = vec![0f32; 4 * 64 * 64];
        TorchCpu::new(42).normal(DrawType::F32, &mut latent);
        close(&latent, &[1.926915, 1.487284, 0.900717, -2.105521], 2e-6);
        close(&latent[latent.len() - 1..], &[-0.293406], 2e-6);
        TorchCpu::new(0).normal(DrawType::F32, &mut latent);
        close(&latent, &[-1.12584, -1.15236, -0.250579, -0.433879], 2e-6);
    }

    #[test]
    fn rounding_to_half_precision() {
        assert_eq!(DrawType::F16.round(1.0 + 2f32.powi(-11)), 1.0);
        assert_eq!(DrawType::F16.round(1.0 + 3.0 * 2f32.powi(-11)), 1.0 + 2f32.powi(-9));
        assert_eq!(DrawType::F16.round(1.4 * 2f32.powi(-24)), 2f32.powi(-24));
        assert_eq!(DrawType::Bf16.round(-1.0 - 2f32.powi(-8)), -1.0);
    }
}
