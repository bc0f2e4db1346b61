//! How a picture and noise are mixed at a noise level: `x = alpha(sigma) * x0 + sigma * noise`.
//!
//! Variance exploding: Karras et al. 2022, arXiv 2206.00364. Flow: Liu et al. 2022, arXiv 2209.03003.

/// The path along which noise is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoisePath {
    /// `x = x0 + sigma * noise`, sigma from about 0.03 to 15 (or 4096 with zero terminal SNR).
    VarianceExploding,
    /// `x = (1 - sigma) * x0 + sigma * noise`, sigma from 0 to 1.
    Flow,
}

/// Where the logarithm of a flow's signal would be infinite, it is taken from here instead (as diffusers' UniPC does).
const FLOW_SIGMA_LIMIT: f64 = 1.0 - 1e-6;

impl NoisePath {
    /// Share of the picture at a noise level.
    pub fn alpha(self, sigma: f64) -> f64 {
        match self {
            NoisePath::VarianceExploding => 1.0,
            NoisePath::Flow => 1.0 - sigma,
        }
    }

    /// Half the logarithm of the signal-to-noise ratio, `ln(alpha / sigma)`: infinite at sigma 0, minus infinite where a
    /// flow is all noise.
    pub fn lambda(self, sigma: f64) -> f64 {
        libm::log(self.alpha(sigma) / sigma)
    }

    /// [`NoisePath::lambda`] that is finite at a flow's start, for samplers that interpolate in it.
    pub fn bounded_lambda(self, sigma: f64) -> f64 {
        match self {
            NoisePath::VarianceExploding => self.lambda(sigma),
            NoisePath::Flow => self.lambda(sigma.min(FLOW_SIGMA_LIMIT)),
        }
    }

    /// The noise level at a lambda; inverse of [`NoisePath::lambda`].
    pub fn sigma(self, lambda: f64) -> f64 {
        self.sigma_of_ratio(libm::exp(-lambda))
    }

    /// The noise level at which noise and picture stand in the ratio `sigma / alpha`.
    pub fn sigma_of_ratio(self, ratio: f64) -> f64 {
        match self {
            NoisePath::VarianceExploding => ratio,
            NoisePath::Flow if ratio.is_infinite() => 1.0,
            NoisePath::Flow => ratio / (1.0 + ratio),
        }
    }

    /// The highest noise level that means anything on this path.
    pub fn limit(self) -> f64 {
        match self {
            NoisePath::VarianceExploding => f64::INFINITY,
            NoisePath::Flow => 1.0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lambda_and_sigma_are_inverse() {
        for path in [NoisePath::VarianceExploding, NoisePath::Flow] {
            for sigma in [1e-3, 0.03, 0.5, 0.97] {
                let back = path.sigma(path.lambda(sigma));
                assert!((back - sigma).abs() < 1e-14, "{path:?} {sigma} {back}");
            }
            assert_eq!(path.lambda(0.0), f64::INFINITY);
            assert_eq!(path.sigma(f64::INFINITY), 0.0);
        }
        assert_eq!(NoisePath::Flow.sigma(NoisePath::Flow.lambda(1.0)), 1.0);
        assert!(NoisePath::Flow.bounded_lambda(1.0).is_finite());
    }
}
