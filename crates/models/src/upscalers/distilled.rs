//! The block of RFDN and BSRN: in each of three steps a part of the features is set aside, and all parts are joined in the end.

use danqing_nn::{LoadError, Loader};
use danqing_tensor::{Activation, Tensor, TensorError};

use super::esa::Esa;
use super::layers::{Layer, Style};

/// The block without its shortcut.
#[derive(Debug)]
pub(super) struct Distilled {
    /// What is set aside, and what goes on, in each step.
    steps: [(Layer, Layer); 3],
    rest: Layer,
    joined: Layer,
    attention: Esa,
    activation: Activation,
}

impl Distilled {
    /// `aside` channels are set aside in a step, `inner` are the attention's.
    pub fn load(
        at: &Loader,
        [channels, aside, inner]: [usize; 3],
        style: Style,
        activation: Activation,
        attention: Activation,
    ) -> Result<Self, LoadError> {
        let step = |i: usize| -> Result<(Layer, Layer), LoadError> {
            Ok((
                style.point(&at.at(format!("c{i}_d")), channels, aside)?,
                style.spatial(&at.at(format!("c{i}_r")), channels, channels)?,
            ))
        };
        let small = ["conv_max", "conv3", "conv3_"];
        Ok(Self {
            steps: [step(1)?, step(2)?, step(3)?],
            rest: style.spatial(&at.at("c4"), channels, aside)?,
            joined: style.point(&at.at("c5"), 4 * aside, channels)?,
            attention: Esa::load(&at.at("esa"), channels, inner, style, &small, attention)?,
            activation,
        })
    }

    pub fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let mut x = x.clone();
        let mut parts = Vec::with_capacity(4);
        for (aside, on) in &self.steps {
            parts.push(aside.activated(&x, self.activation)?);
            x = on.forward(&x)?.add(&x)?.activation(self.activation)?;
        }
        parts.push(self.rest.activated(&x, self.activation)?);
        let joined = self.joined.forward(&Tensor::concat(&parts.iter().collect::<Vec<_>>(), 3)?)?;
        self.attention.forward(&joined)
    }
}
