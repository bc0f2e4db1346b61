//! Trains an upscaler on pairs of patches: absolute error, or squared error to refine; then validation as super-resolution measures it.
//!
//! Source: Wan et al., arXiv:2311.12770 (SPAN and its training); Lim et al., arXiv:1707.02921 (absolute error); Li et al., NTIRE 2022
//! challenge on efficient super-resolution, arXiv:2205.05675 (larger patches and squared error at the end).

use std::path::Path;
use std::sync::Mutex;

use danqing_checkpoints::Weights;
use danqing_imaging::quality::compare;
use danqing_imaging::resample::{Kernel, resample};
use danqing_imaging::{DecodeLimits, EncodeOptions, Format, Picture, PixelFormat, decode, encode};
use danqing_kernels::threads::parallel_for;
use danqing_models::upscalers::Network;
use danqing_models::upscalers::span::{Span, SpanConfig};
use danqing_nn::{Loader, ParamStore};
use danqing_tensor::{DType, Tensor, no_grad};

use crate::data::{DataError, Degradation, PatchPair, PatchSource};
use crate::error::TrainError;
use crate::losses::{l1, luma_mse};
use crate::run::Method;
use crate::starter::write_pictures;

/// JPEG quality at which cleaning is validated.
const SPOILT: u8 = 50;

/// An upscaler in training.
pub struct UpscalerMethod {
    network: Span,
    params: ParamStore,
    source: PatchSource,
    config: SpanConfig,
    degradation: Degradation,
    validation: Vec<Picture>,
    batch: usize,
    side: usize,
    loss: PatchLoss,
}

/// How a patch is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchLoss {
    /// Mean absolute error.
    Absolute,
    /// Squared error, most of it that of luma: [`luma_mse`].
    SquaredLuma,
}

impl UpscalerMethod {
    /// A fresh network of `config`. `source` must make patches of `side` for its scale; `validation` are pictures that were not
    /// trained on.
    ///
    /// # Errors
    /// A configuration that cannot be built.
    pub fn new(
        config: SpanConfig,
        (source, side): (PatchSource, usize),
        degradation: Degradation,
        validation: Vec<Picture>,
        (batch, loss): (usize, PatchLoss),
        seed: u64,
    ) -> Result<Self, TrainError> {
        let loader = Loader::random(seed);
        let network = Span::load(&loader, config)?;
        let params = loader.finish()?;
        Ok(Self { network, params, source, config, degradation, validation, batch, side, loss })
    }

    /// Readies a fresh network by the first pictures: [`Span::even_out`].
    ///
    /// # Errors
    /// Pictures that cannot be made.
    pub fn even_out(&self) -> Result<(), TrainError> {
        let [small, _] = self.pairs(0)?;
        Ok(no_grad(|| self.network.even_out(&small))?)
    }

    /// Begins with the weights of another upscaler, as far as names and shapes agree: its body, if it enlarges by another factor.
    /// Returns how many tensors were taken.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn begin_with(&self, weights: &Weights) -> Result<usize, TrainError> {
        let mut taken = 0;
        for param in self.params.iter() {
            if weights.info(param.name()).is_some_and(|info| info.shape == param.shape()) {
                param.set(Tensor::from_vec(weights.read_f32(param.name())?, param.shape())?)?;
                taken += 1;
            }
        }
        Ok(taken)
    }

    /// Pairs `first`, … of a batch, made by all threads.
    fn pairs(&self, first: u64) -> Result<[Tensor; 2], TrainError> {
        let slots: Vec<Mutex<Option<Result<PatchPair, DataError>>>> =
            (0..self.batch).map(|_| Mutex::default()).collect();
        parallel_for(self.batch, &|i| {
            let pair = self.source.pair(first + i as u64);
            if let Ok(mut slot) = slots[i].lock() {
                *slot = Some(pair);
            }
        });
        let (mut small, mut large) = (Vec::new(), Vec::new());
        // Every index was made: a task that panics takes this thread along.
        for pair in slots.into_iter().filter_map(|slot| slot.into_inner().ok().flatten()) {
            let pair = pair?;
            small.extend(pair.small);
            large.extend(pair.large);
        }
        let sides = [self.side, self.side * self.config.scale];
        let tensor = |values, side| Tensor::from_vec(values, &[self.batch, side, side, 3]);
        Ok([tensor(small, sides[0])?, tensor(large, sides[1])?])
    }

    /// A validation picture cut to whole pixels, what the network is given of it, and that by the plain filter.
    fn spoil(&self, picture: &Picture) -> Result<[Picture; 3], TrainError> {
        let scale = self.config.scale as u32;
        let picture = picture.crop(0, 0, picture.width() / scale * scale, picture.height() / scale * scale)?;
        if self.degradation == Degradation::NoiseAndJpeg {
            let options = EncodeOptions { jpeg_quality: SPOILT, ..Default::default() };
            let spoilt = decode(&encode(&picture, Format::Jpeg, &options)?, &DecodeLimits::default())?;
            return Ok([picture, spoilt.clone(), spoilt]);
        }
        let size = |p: &Picture| (p.width() as usize, p.height() as usize);
        let resized = |p: &Picture, to: (usize, usize)| {
            let values = resample(&p.to_unit_f32(), size(p), to, 3, Kernel::Bicubic);
            Picture::from_unit_f32(to.0 as u32, to.1 as u32, PixelFormat::Rgb8, &values)
        };
        let (width, height) = size(&picture);
        let small = resized(&picture, (width / self.config.scale, height / self.config.scale))?;
        let plain = resized(&small, (width, height))?;
        Ok([picture, small, plain])
    }
}

impl Method for UpscalerMethod {
    fn params(&self) -> &ParamStore {
        &self.params
    }

    fn batch(&self) -> usize {
        self.batch
    }

    fn loss(&mut self, step: u64) -> Result<Tensor, TrainError> {
        let [small, large] = self.pairs(step * self.batch as u64)?;
        let enlarged = self.network.forward(&small.cast(DType::Bf16)?)?;
        Ok(match self.loss {
            PatchLoss::Absolute => l1(&enlarged, &large)?,
            PatchLoss::SquaredLuma => luma_mse(&enlarged, &large)?,
        })
    }

    fn review(&mut self, step: u64, folder: &Path) -> Result<String, TrainError> {
        let (mut ours, mut plains) = (0.0, 0.0);
        let mut shown = Vec::new();
        for picture in &self.validation {
            let [picture, small, plain] = self.spoil(picture)?;
            let (w, h) = (small.width() as usize, small.height() as usize);
            let x = Tensor::from_vec(small.to_unit_f32(), &[1, h, w, 3])?;
            let values = no_grad(|| self.network.forward(&x))?.cast(DType::F32)?.to_vec();
            let made = Picture::from_unit_f32(picture.width(), picture.height(), PixelFormat::Rgb8, &values)?;
            let border = self.config.scale as u32;
            ours += compare(&picture, &made, border)?.psnr;
            plains += compare(&picture, &plain, border)?.psnr;
            if shown.len() < 12 {
                for view in [&plain, &made, &picture] {
                    let side = 192.min(view.width()).min(view.height());
                    shown.push(view.crop((view.width() - side) / 2, (view.height() - side) / 2, side, side)?);
                }
            }
        }
        if !shown.is_empty() {
            write_pictures(&folder.join(format!("review-{step:07}.png")), &shown, 3)?;
        }
        let n = self.validation.len().max(1) as f64;
        Ok(format!(
            "PSNR-Y {:.3} dB, without the network {:.3} dB, on {} pictures",
            ours / n,
            plains / n,
            self.validation.len()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much of what a result varies by, from pixel to pixel, has come through all blocks.
    fn share_of_the_last_block(method: &UpscalerMethod) -> f32 {
        let pair = method.source.pair(0).unwrap();
        let x = Tensor::from_vec(pair.small, &[1, method.side, method.side, 3]).unwrap();
        let made = || no_grad(|| method.network.forward(&x)).unwrap().cast(DType::F32).unwrap().to_vec();
        let whole = made();
        let last = method.params.iter().find(|param| param.name() == "conv_2.eval_conv.weight").unwrap();
        last.update(|values| values.fill(0.0)).unwrap();
        let through: Vec<f32> = made().iter().zip(&whole).map(|(without, with)| with - without).collect();
        let varies = |values: &[f32]| {
            let channel = |c: usize| values.iter().skip(c).step_by(3);
            let n = values.len() as f32 / 3.0;
            let mean = [0, 1, 2].map(|c| channel(c).sum::<f32>() / n);
            let squares = |c: usize| channel(c).map(|v| (v - mean[c]).powi(2)).sum::<f32>();
            (squares(0) + squares(1) + squares(2)).sqrt()
        };
        varies(&through) / varies(&whole)
    }

    #[test]
    fn every_block_takes_part_from_the_start() {
        // Of one scale, so that a pixel's place does not matter.
        let config = SpanConfig { colours: 3, channels: 32, blocks: 6, scale: 1, centred: false };
        let method = || {
            let source = PatchSource::new(None, Degradation::Bicubic, 1, 32, 1).unwrap();
            let loss = (1, PatchLoss::Absolute);
            UpscalerMethod::new(config, (source, 32), Degradation::Bicubic, Vec::new(), loss, 1).unwrap()
        };
        let (even, plain) = (method(), method());
        even.even_out().unwrap();
        let [even, plain] = [even, plain].map(|method| share_of_the_last_block(&method));
        assert!(even > 0.1 && even > 10.0 * plain, "{even} {plain}");
    }
}
