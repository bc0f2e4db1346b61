//! Trains the starter's autoencoder: absolute error, edges, a breath of divergence.
//!
//! Source: Esser et al. 2021, Rombach et al. 2022 §3.1 (without adversary and perceptual network, whose weights are not
//! ours).

use std::path::Path;

use danqing_models::autoencoders::{AutoencoderKl, AutoencoderKlConfig};
use danqing_nn::{Loader, ParamStore};
use danqing_tensor::{DType, Rng, Tensor, no_grad};

use crate::data::{SceneGenerator, Split};
use crate::error::TrainError;
use crate::losses::{gradient_l1, kl, l1};
use crate::run::Method;
use crate::starter::{Batch, paint_batch, write_grid};

/// Weight of the edges beside the absolute error.
const EDGES: f32 = 0.2;
/// Weight of the squared error: what PSNR measures.
const SQUARES: f32 = 1.0;
/// Weight of the divergence.
const DIVERGENCE: f32 = 1e-6;

/// The autoencoder in training.
pub struct AutoencoderMethod {
    model: AutoencoderKl,
    params: ParamStore,
    data: SceneGenerator,
    held_out: SceneGenerator,
    batch: usize,
    seed: u64,
}

impl AutoencoderMethod {
    /// A fresh autoencoder; data from `data`.
    ///
    /// # Errors
    /// A configuration that cannot be built.
    pub fn new(
        config: &AutoencoderKlConfig,
        data: &SceneGenerator,
        batch: usize,
        seed: u64,
    ) -> Result<Self, TrainError> {
        let loader = Loader::random(seed);
        let model = AutoencoderKl::load(&loader, config)?;
        let params = loader.finish()?;
        let held_out = data.with(Split::HeldOut, seed);
        Ok(Self { model, params, data: data.clone(), held_out, batch, seed })
    }

    /// The network.
    pub fn model(&self) -> &AutoencoderKl {
        &self.model
    }

    fn reconstruct(&self, pictures: &Tensor, noise: Option<&Tensor>) -> Result<[Tensor; 3], TrainError> {
        let posterior = self.model.encode(&pictures.cast(DType::Bf16)?)?;
        let latent = match noise {
            Some(noise) => posterior.sample(&noise.cast(DType::Bf16)?)?,
            None => posterior.mean.clone(),
        };
        Ok([self.model.decode(&latent)?, posterior.mean, posterior.log_variance])
    }
}

impl Method for AutoencoderMethod {
    fn params(&self) -> &ParamStore {
        &self.params
    }

    fn batch(&self) -> usize {
        self.batch
    }

    fn loss(&mut self, step: u64) -> Result<Tensor, TrainError> {
        let Batch { pictures, .. } = paint_batch(&self.data, step * self.batch as u64, self.batch);
        let config = self.model.config();
        let (f, c) = (config.downscale(), config.latent_channels);
        let shape = [self.batch, pictures.dim(1) / f, pictures.dim(2) / f, c];
        let noise = Tensor::randn(&shape, &mut Rng::with_stream(self.seed, step))?;
        let [decoded, mean, log_variance] = self.reconstruct(&pictures, Some(&noise))?;
        let squares = decoded.cast(DType::F32)?.sub(&pictures)?.square()?.mean_all()?;
        let loss = l1(&decoded, &pictures)?
            .add(&squares.mul_scalar(SQUARES)?)?
            .add(&gradient_l1(&decoded, &pictures)?.mul_scalar(EDGES)?)?
            .add(&kl(&mean, &log_variance)?.mul_scalar(DIVERGENCE)?)?;
        Ok(loss)
    }

    fn review(&mut self, step: u64, folder: &Path) -> Result<String, TrainError> {
        let Batch { pictures, .. } = paint_batch(&self.held_out, 0, 64);
        let decoded = no_grad(|| self.reconstruct(&pictures, None))?[0].cast(DType::F32)?.clamp(-1.0, 1.0)?;
        let error = f64::from(decoded.sub(&pictures)?.square()?.mean_all()?.item()?);
        let psnr = -10.0 * (error / 4.0).log10();
        let both = Tensor::concat(&[&pictures.narrow(0, 0, 32)?, &decoded.narrow(0, 0, 32)?], 0)?;
        write_grid(&folder.join(format!("review-{step:07}.png")), &both, 8)?;
        Ok(format!("held-out PSNR {psnr:.2} dB"))
    }
}
