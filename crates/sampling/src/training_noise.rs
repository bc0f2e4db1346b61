//! The noise that a model was trained with: betas, cumulated alphas, sigmas, and the map between sigma and timestep.
//!
//! Linear: Ho et al. 2020, arXiv 2006.11239. Cosine: Nichol and Dhariwal 2021, arXiv 2102.09672. Zero terminal SNR: Lin et
//! al. 2023, arXiv 2305.08891, algorithm 1. Flow shift: Esser et al. 2024, arXiv 2403.03206, equation 23.

use crate::error::SampleError;
use crate::path::NoisePath;

/// How the betas run from first to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BetaSchedule {
    /// Equal steps in beta (DDPM).
    Linear,
    /// Equal steps in the root of beta (Stable Diffusion).
    ScaledLinear,
    /// Squared cosine of the cumulated alpha, betas capped at 0.999 (improved DDPM); ignores start and end.
    SquaredCosCapV2,
}

impl BetaSchedule {
    /// Finds a schedule by diffusers' name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "linear" => Some(BetaSchedule::Linear),
            "scaled_linear" => Some(BetaSchedule::ScaledLinear),
            "squaredcos_cap_v2" => Some(BetaSchedule::SquaredCosCapV2),
            _ => None,
        }
    }

    fn betas(self, steps: usize, start: f64, end: f64) -> Vec<f64> {
        let ramp = |i: usize, a: f64, b: f64| if steps == 1 { a } else { a + (b - a) * i as f64 / (steps - 1) as f64 };
        let cosine = |t: f64| {
            let c = libm::cos((t + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2);
            c * c
        };
        (0..steps)
            .map(|i| match self {
                BetaSchedule::Linear => ramp(i, start, end),
                BetaSchedule::ScaledLinear => {
                    let root = ramp(i, start.sqrt(), end.sqrt());
                    root * root
                }
                BetaSchedule::SquaredCosCapV2 => {
                    let (t0, t1) = (i as f64 / steps as f64, (i + 1) as f64 / steps as f64);
                    (1.0 - cosine(t1) / cosine(t0)).min(0.999)
                }
            })
            .collect()
    }
}

/// The cumulated alpha that stands in for 0 with zero terminal SNR, as in diffusers: sigma 4096 instead of infinity.
pub const ZERO_SNR_ALPHA: f64 = 1.0 / 16_777_216.0;

/// The noise levels of training, one for each timestep, ascending.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainingNoise {
    path: NoisePath,
    sigmas: Vec<f64>,
    log_sigmas: Vec<f64>,
    /// Flow only; 1 is no shift.
    shift: f64,
}

impl TrainingNoise {
    /// The discrete noise of `steps` betas.
    ///
    /// # Errors
    /// Where `steps` is 0 or over 100,000, or a beta is outside 0..1.
    pub fn new(schedule: BetaSchedule, steps: usize, beta_start: f64, beta_end: f64) -> Result<Self, SampleError> {
        check_steps(steps)?;
        Self::from_betas(&schedule.betas(steps, beta_start, beta_end))
    }

    /// The noise of given betas, each in 0..1.
    ///
    /// # Errors
    /// Where there is none, or one is outside 0..1.
    pub fn from_betas(betas: &[f64]) -> Result<Self, SampleError> {
        if let Some(bad) = betas.iter().find(|b| !(**b > 0.0 && **b < 1.0)) {
            return Err(SampleError::parameter("beta", bad, "between 0 and 1, both excluded"));
        }
        let mut cumulated = 1.0;
        let alphas: Vec<f64> = betas
            .iter()
            .map(|b| {
                cumulated *= 1.0 - b;
                cumulated
            })
            .collect();
        Self::from_alphas_cumprod(&alphas)
    }

    /// The noise of given cumulated alphas (some checkpoints carry them), descending, each in 0..1. A last one of 0, as of
    /// models with zero terminal SNR, becomes [`ZERO_SNR_ALPHA`].
    ///
    /// # Errors
    /// Where there is none, one is outside 0..1, or they do not descend.
    pub fn from_alphas_cumprod(alphas: &[f64]) -> Result<Self, SampleError> {
        check_steps(alphas.len())?;
        let mut alphas = alphas.to_vec();
        if let Some(last) = alphas.last_mut().filter(|last| **last == 0.0) {
            *last = ZERO_SNR_ALPHA;
        }
        if let Some(bad) = alphas.iter().find(|a| !(**a > 0.0 && **a < 1.0)) {
            return Err(SampleError::parameter("cumulated alpha", bad, "between 0 and 1, both excluded"));
        }
        if alphas.windows(2).any(|w| w[1] >= w[0]) {
            return Err(SampleError::sigmas("the cumulated alphas of training must descend"));
        }
        let sigmas = alphas.iter().map(|a| ((1.0 - a) / a).sqrt()).collect();
        Ok(Self::from_sigmas(NoisePath::VarianceExploding, sigmas, 1.0))
    }

    /// Stable Diffusion 1.x, 2.x and XL: 1000 steps, scaled linear, 0.00085 to 0.012.
    pub fn stable_diffusion() -> Self {
        let betas = BetaSchedule::ScaledLinear.betas(1000, 0.00085, 0.012);
        Self::from_betas(&betas).expect("the betas of Stable Diffusion are between 0 and 1")
    }

    /// What a model on this path most likely has: Stable Diffusion's noise, or a flow without shift.
    pub(crate) fn standard(path: NoisePath) -> Self {
        match path {
            NoisePath::VarianceExploding => Self::stable_diffusion(),
            NoisePath::Flow => Self::from_sigmas(path, (1..=1000).map(|i| f64::from(i) / 1000.0).collect(), 1.0),
        }
    }

    /// A flow of 1000 timesteps: `sigma = shift * s / (1 + (shift - 1) * s)`, `s` = 0.001 to 1 (SD3: shift 3).
    ///
    /// # Errors
    /// Where `shift` is not a positive number.
    pub fn flow(shift: f64) -> Result<Self, SampleError> {
        if !(shift > 0.0 && shift.is_finite()) {
            return Err(SampleError::parameter("shift", shift, "a positive number"));
        }
        let sigmas = (1..=1000).map(|i| flow_shift(shift, f64::from(i) / 1000.0)).collect();
        Ok(Self::from_sigmas(NoisePath::Flow, sigmas, shift))
    }

    /// A flow whose shift depends on the number of picture tokens, as Flux does: `shift = exp(mu)`, mu from 0.5 at 256
    /// tokens to 1.15 at 4096 and on along that line.
    ///
    /// # Errors
    /// Where so many tokens give no finite shift.
    pub fn flow_for_tokens(tokens: usize) -> Result<Self, SampleError> {
        let slope = (1.15 - 0.5) / (4096.0 - 256.0);
        let mu = 0.5 + slope * (tokens as f64 - 256.0);
        Self::flow(libm::exp(mu))
    }

    fn from_sigmas(path: NoisePath, sigmas: Vec<f64>, shift: f64) -> Self {
        let log_sigmas = sigmas.iter().map(|s| libm::log(*s)).collect();
        TrainingNoise { path, sigmas, log_sigmas, shift }
    }

    /// The same noise stretched so that the last timestep is pure noise; there the cumulated alpha is
    /// [`ZERO_SNR_ALPHA`] instead of 0. What ends so already, as a flow does, is returned as it is.
    pub fn with_zero_terminal_snr(&self) -> Self {
        if self.path == NoisePath::Flow || self.alpha_cumprod(self.steps() - 1) < 1.001 * ZERO_SNR_ALPHA {
            return self.clone();
        }
        let roots: Vec<f64> = self.sigmas.iter().map(|s| 1.0 / (s * s + 1.0).sqrt()).collect();
        let (first, last) = (roots[0], roots[roots.len() - 1]);
        let stretched = roots.iter().map(|r| (r - last) * first / (first - last));
        let alphas = stretched.map(|r| (r * r).max(ZERO_SNR_ALPHA));
        let sigmas = alphas.map(|a| ((1.0 - a) / a).sqrt()).collect();
        Self::from_sigmas(self.path, sigmas, 1.0)
    }

    /// The path of the noise.
    pub fn path(&self) -> NoisePath {
        self.path
    }

    /// Number of timesteps.
    pub fn steps(&self) -> usize {
        self.sigmas.len()
    }

    /// The sigma of each timestep, ascending.
    pub fn sigmas(&self) -> &[f64] {
        &self.sigmas
    }

    /// The flow's shift; 1 for discrete noise.
    pub fn shift(&self) -> f64 {
        self.shift
    }

    /// The lowest sigma.
    pub fn sigma_min(&self) -> f64 {
        self.sigmas[0]
    }

    /// The highest sigma.
    pub fn sigma_max(&self) -> f64 {
        self.sigmas[self.sigmas.len() - 1]
    }

    /// The cumulated alpha of a timestep; for a flow, the like ratio `alpha^2 / (alpha^2 + sigma^2)`.
    /// A timestep past the last counts as the last.
    pub fn alpha_cumprod(&self, timestep: usize) -> f64 {
        let sigma = self.sigmas[timestep.min(self.sigmas.len() - 1)];
        let alpha = self.path.alpha(sigma);
        alpha * alpha / (alpha * alpha + sigma * sigma)
    }

    /// The sigma at a place in the table, which may lie between two timesteps: then interpolated in its logarithm, as
    /// k-diffusion does. A flow's is exact: `timestep` + 1 thousandths, shifted.
    pub fn sigma_at(&self, timestep: f64) -> f64 {
        let last = self.sigmas.len() - 1;
        let t = timestep.clamp(0.0, last as f64);
        if self.path == NoisePath::Flow {
            return flow_shift(self.shift, (t + 1.0) / self.sigmas.len() as f64);
        }
        let (low, w) = (t.floor() as usize, t - t.floor());
        if w == 0.0 {
            return self.sigmas[low];
        }
        libm::exp((1.0 - w) * self.log_sigmas[low] + w * self.log_sigmas[low + 1])
    }

    /// [`TrainingNoise::sigma_at`] interpolated in sigma itself, as diffusers' Euler does.
    pub fn sigma_at_linear(&self, timestep: f64) -> f64 {
        let t = timestep.clamp(0.0, (self.sigmas.len() - 1) as f64);
        let (low, w) = (t.floor() as usize, t - t.floor());
        if w == 0.0 { self.sigmas[low] } else { self.sigmas[low] + w * (self.sigmas[low + 1] - self.sigmas[low]) }
    }

    /// The timestep that the network is told at a noise level: for discrete noise a fractional place in the table (by the
    /// logarithm of sigma, held within the table), for a flow `1000 * sigma`.
    pub fn timestep(&self, sigma: f64) -> f64 {
        if self.path == NoisePath::Flow {
            return sigma * self.sigmas.len() as f64;
        }
        self.place(sigma)
    }

    /// The fractional place of a sigma in the table; inverse of [`TrainingNoise::sigma_at`].
    pub fn place(&self, sigma: f64) -> f64 {
        let last = self.sigmas.len() - 1;
        let high = self.sigmas.partition_point(|s| *s <= sigma);
        if high == 0 {
            return 0.0;
        }
        if high > last {
            return last as f64;
        }
        if self.path == NoisePath::Flow {
            let s = sigma / (self.shift - (self.shift - 1.0) * sigma);
            return s * self.sigmas.len() as f64 - 1.0;
        }
        let (a, b) = (self.log_sigmas[high - 1], self.log_sigmas[high]);
        if sigma == self.sigmas[high - 1] {
            return (high - 1) as f64;
        }
        (high - 1) as f64 + (libm::log(sigma) - a) / (b - a)
    }

    /// The table's timestep whose sigma is nearest (by logarithm): A1111's "quantize sigmas", k-diffusion's `quantize`.
    pub fn quantised_timestep(&self, sigma: f64) -> f64 {
        if self.path == NoisePath::Flow {
            return self.timestep(sigma).round();
        }
        let low = self.timestep(sigma).floor();
        let (i, log) = (low as usize, libm::log(sigma));
        let nearer =
            i + 1 < self.sigmas.len() && (self.log_sigmas[i + 1] - log).abs() < (log - self.log_sigmas[i]).abs();
        if nearer { low + 1.0 } else { low }
    }

    /// `(picture, grain)`: a picture noised to `timestep` for training is `picture * x0 + grain * noise`, which is also what
    /// the network sees (scaled already): `sqrt(abar)` and `sqrt(1 - abar)`, or a flow's `1 - sigma` and `sigma`.
    pub fn mix(&self, timestep: usize) -> (f64, f64) {
        let sigma = self.sigmas[timestep.min(self.sigmas.len() - 1)];
        match self.path {
            NoisePath::Flow => (1.0 - sigma, sigma),
            NoisePath::VarianceExploding => {
                let norm = (sigma * sigma + 1.0).sqrt();
                (1.0 / norm, sigma / norm)
            }
        }
    }
}

/// Moves a flow's noise levels towards more noise: `shift * s / (1 + (shift - 1) * s)`.
pub fn flow_shift(shift: f64, s: f64) -> f64 {
    shift * s / (1.0 + (shift - 1.0) * s)
}

fn check_steps(steps: usize) -> Result<(), SampleError> {
    if steps == 0 || steps > 100_000 {
        return Err(SampleError::parameter("number of training timesteps", steps, "between 1 and 100000"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_diffusion_has_its_well_known_ends() {
        let noise = TrainingNoise::stable_diffusion();
        assert!((noise.sigma_min() - 0.0291671582).abs() < 1e-9);
        assert!((noise.sigma_max() - 14.6146412293).abs() < 1e-9);
        assert!((noise.alpha_cumprod(999) - 0.00466009851).abs() < 1e-10);
    }

    #[test]
    fn sigma_and_timestep_are_inverse() {
        for noise in [
            TrainingNoise::stable_diffusion(),
            TrainingNoise::stable_diffusion().with_zero_terminal_snr(),
            TrainingNoise::new(BetaSchedule::SquaredCosCapV2, 100, 0.0, 0.0).unwrap(),
        ] {
            for t in [0.0, 0.25, 1.0, 30.5, 98.75, 99.0] {
                assert!((noise.timestep(noise.sigma_at(t)) - t).abs() < 1e-9);
            }
            assert_eq!(noise.timestep(0.0), 0.0);
            assert_eq!(noise.timestep(1e9), (noise.steps() - 1) as f64);
            assert_eq!(noise.quantised_timestep(noise.sigma_at(7.4)), 7.0);
            assert_eq!(noise.quantised_timestep(noise.sigma_at(7.6)), 8.0);
        }
        let flow = TrainingNoise::flow(3.0).unwrap();
        assert_eq!(flow.sigma_at(999.0), 1.0);
        assert_eq!(flow.timestep(0.25), 250.0);
    }

    #[test]
    fn zero_terminal_snr_ends_at_sigma_4096_and_keeps_the_start() {
        let plain = TrainingNoise::stable_diffusion();
        let zero = plain.with_zero_terminal_snr();
        assert!((zero.sigma_max() - 4096.0).abs() < 0.001);
        assert!((zero.sigma_min() - plain.sigma_min()).abs() < 1e-12);
        assert!(zero.sigmas().windows(2).all(|w| w[0] < w[1]));
        assert_eq!(zero.with_zero_terminal_snr(), zero);
        let mut alphas: Vec<f64> = (0..1000).map(|t| zero.alpha_cumprod(t)).collect();
        alphas[999] = 0.0;
        let read = TrainingNoise::from_alphas_cumprod(&alphas).unwrap();
        assert!((read.sigma_max() - 4096.0).abs() < 0.001);
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(TrainingNoise::from_betas(&[]).is_err());
        assert!(TrainingNoise::from_betas(&[0.1, f64::NAN]).is_err());
        assert!(TrainingNoise::from_alphas_cumprod(&[0.5, 0.5]).is_err());
        assert!(TrainingNoise::new(BetaSchedule::Linear, 10, 0.1, 1.5).is_err());
        assert!(TrainingNoise::flow(0.0).is_err());
    }
}
