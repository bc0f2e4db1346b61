//! What is done to a product before it is stored: bias, activation, residual.

use crate::element::Element;

/// A function applied to each value.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Activation {
    /// The identity.
    #[default]
    None,
    /// `max(x, 0)`.
    Relu,
    /// `x` where positive, else the slope times `x`.
    LeakyRelu(f32),
    /// `x · sigmoid(x)`.
    Silu,
    /// `x · Φ(x)`, with the error function.
    Gelu,
    /// The tanh approximation of GELU.
    GeluTanh,
    /// `x · sigmoid(1.702 x)`.
    QuickGelu,
    /// `1 / (1 + e⁻ˣ)`.
    Sigmoid,
    /// Hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// The function's value, in double precision: the reference for the vector versions.
    pub fn exact(self, x: f64) -> f64 {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        match self {
            Activation::None => x,
            Activation::Relu => x.max(0.0),
            Activation::LeakyRelu(slope) => {
                if x > 0.0 {
                    x
                } else {
                    x * f64::from(slope)
                }
            }
            Activation::Silu => x * sigmoid(x),
            Activation::Gelu => 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
            Activation::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x * x * x);
                0.5 * x * (1.0 + inner.tanh())
            }
            Activation::QuickGelu => x * sigmoid(1.702 * x),
            Activation::Sigmoid => sigmoid(x),
            Activation::Tanh => x.tanh(),
        }
    }
}

/// The error function in double precision: its Taylor series near 0, a continued fraction (Lentz) beyond.
fn erf(x: f64) -> f64 {
    let a = x.abs();
    if a > 6.0 {
        return 1f64.copysign(x);
    }
    let value = if a < 2.5 {
        let (mut term, mut sum) = (a, a);
        for n in 1..80 {
            term *= -a * a / n as f64;
            sum += term / (2 * n + 1) as f64;
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    } else {
        let mut fraction = a;
        for n in (1..=60).rev() {
            fraction = a + 0.5 * n as f64 / fraction;
        }
        1.0 - (-a * a).exp() / (fraction * std::f64::consts::PI.sqrt())
    };
    value.copysign(x)
}

/// The end of a product: `out = activation(product + bias + row_bias) + residual`.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a, E> {
    /// One value per column.
    pub bias: Option<&'a [f32]>,
    /// `[groups, n]` and the rows per group: one bias row for each run of that many rows (for each image, say).
    pub row_bias: Option<(&'a [f32], usize)>,
    /// `[m, n]`, dense.
    pub residual: Option<&'a [E]>,
    /// Applied before the residual is added.
    pub activation: Activation,
}

impl<E> Default for Epilogue<'_, E> {
    fn default() -> Self {
        Epilogue { bias: None, row_bias: None, residual: None, activation: Activation::None }
    }
}

impl<E: Element> Epilogue<'_, E> {
    /// Panics unless the parts fit a product of `m` rows and `n` columns.
    pub(crate) fn check(&self, m: usize, n: usize) {
        if let Some(bias) = self.bias {
            assert_eq!(bias.len(), n, "bias: one value for each of {n} columns");
        }
        if let Some((bias, rows)) = self.row_bias {
            assert!(
                rows > 0 && bias.len() >= m.div_ceil(rows) * n,
                "row bias: {n} values for every {rows} of {m} rows"
            );
        }
        if let Some(residual) = self.residual {
            assert!(residual.len() >= m * n, "residual: {} elements for {m} rows of {n}", residual.len());
        }
    }

    /// Finishes row `row` of the product in double precision.
    #[cfg(test)]
    pub(crate) fn finish_row(&self, row: usize, sums: &[f64], out: &mut [E]) {
        let n = sums.len();
        for (column, (&sum, target)) in sums.iter().zip(out).enumerate() {
            let mut value = sum;
            if let Some(bias) = self.bias {
                value += f64::from(bias[column]);
            }
            if let Some((bias, rows)) = self.row_bias {
                value += f64::from(bias[row / rows * n + column]);
            }
            value = self.activation.exact(value);
            if let Some(residual) = self.residual {
                value += f64::from(residual[row * n + column].to_f32());
            }
            *target = E::from_f32(value as f32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn erf_at_known_points() {
        // Abramowitz & Stegun, table 7.1.
        for (x, y) in [(0.5, 0.520_499_877_8), (1.0, 0.842_700_792_9), (2.0, 0.995_322_265_0), (3.0, 0.999_977_909_5)] {
            assert!((erf(x) - y).abs() < 1e-10 && (erf(-x) + y).abs() < 1e-10);
        }
        assert!((erf(2.499_999) - erf(2.500_001)).abs() < 1e-8);
    }
}
