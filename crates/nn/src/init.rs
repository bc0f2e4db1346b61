//! Random starts, as PyTorch's layers make them (its distributions, not its draws).

use danqing_tensor::Rng;

/// How a parameter starts when there is no checkpoint.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Init {
    /// All the same value.
    Constant(f32),
    /// Uniform in ±bound.
    Uniform(f32),
    /// Normal with mean 0 and this standard deviation.
    Normal(f32),
    /// Uniform in ±1/√fan_in, the fan-in being the product of all dimensions but the first: PyTorch's default for linear
    /// layers and convolutions (He et al., arXiv:1502.01852, with a = √5).
    KaimingUniform,
}

impl Init {
    /// All zeros.
    pub const ZEROS: Init = Init::Constant(0.0);
    /// All ones.
    pub const ONES: Init = Init::Constant(1.0);

    /// PyTorch's default for the bias of a layer with this many inputs per output.
    pub fn bias(fan_in: usize) -> Init {
        Init::Uniform(1.0 / (fan_in.max(1) as f32).sqrt())
    }

    /// Draws the values of a parameter of this shape.
    pub fn fill(self, shape: &[usize], rng: &mut Rng, out: &mut [f32]) {
        match self {
            Init::Constant(value) => out.fill(value),
            Init::Uniform(bound) => rng.fill_uniform(out, -bound, bound),
            Init::Normal(deviation) => {
                rng.fill_normal(out);
                out.iter_mut().for_each(|v| *v *= deviation);
            }
            Init::KaimingUniform => {
                let fan_in = shape.iter().skip(1).product::<usize>().max(1);
                let bound = 1.0 / (fan_in as f32).sqrt();
                rng.fill_uniform(out, -bound, bound);
            }
        }
    }
}
