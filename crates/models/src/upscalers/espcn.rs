//! ESPCN, the efficient sub-pixel network (Shi et al., arXiv:1609.05158; tensor names of yjn870/ESPCN-pytorch).

use danqing_checkpoints::Weights;
use danqing_nn::{Conv2d, LoadError, LoadOptions, Loader};
use danqing_tensor::{Activation, Tensor, TensorError};

use super::layers::{activated, conv};
use super::shapes::shuffle_factor;
use super::{Network, Opened, Shapes, UpscalerArchitecture, UpscalerInfo, finished, misshapen};

/// ESPCN.
pub static ARCHITECTURE: UpscalerArchitecture = UpscalerArchitecture {
    name: NAME,
    names: &["first_part.*.weight", "first_part.*.bias", "last_part.*.weight", "last_part.*.bias"],
    detect: |shapes| shapes.has(&["first_part.0.weight", "first_part.2.weight", "last_part.0.weight"]),
    load,
};

const NAME: &str = "ESPCN";

fn load(weights: &Weights, shapes: &Shapes, options: LoadOptions) -> Opened {
    let get = |name: &str| shapes.get::<4>(name).filter(|s| s[2] == s[3] && s[2] % 2 == 1);
    let config = || {
        let names = ["first_part.0.weight", "first_part.2.weight", "last_part.0.weight"];
        let [first, second, last] = [get(names[0])?, get(names[1])?, get(names[2])?];
        Some((first, second, last, shuffle_factor(last[0], first[1])?))
    };
    let (first, second, last, scale) = config().ok_or_else(|| misshapen(weights, NAME))?;
    let radius = (first[2] + second[2] + last[2] - 3) / 2;
    let loader = Loader::new(weights.clone(), options);
    let part = |at: Loader, [c_out, c_in, kernel, _]: [usize; 4]| -> Result<Conv2d, LoadError> {
        conv(&at, c_in, c_out, kernel)
    };
    let network = Espcn {
        body: [part(loader.at("first_part").at(0), first)?, part(loader.at("first_part").at(2), second)?],
        shuffled: part(loader.at("last_part").at(0), last)?,
        scale,
    };
    finished(&loader, network, UpscalerInfo::new(NAME, scale, first[1], Some(radius)))
}

#[derive(Debug)]
struct Espcn {
    body: [Conv2d; 2],
    shuffled: Conv2d,
    scale: usize,
}

impl Network for Espcn {
    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        let body = self.body.iter().try_fold(x.clone(), |x, conv| activated(conv, &x, Activation::Tanh))?;
        self.shuffled.forward(&body)?.pixel_shuffle(self.scale)
    }
}
