//! Trains the evaluator on painted scenes, half of them softened and grained, so that it judges what a picture shows and not
//! how crisp it is.

use std::path::Path;

use danqing_nn::ParamStore;
use danqing_tensor::{DType, Rng, Tensor};

use crate::data::{SceneGenerator, SceneLabels, Split};
use crate::error::TrainError;
use crate::evaluator::{Answers, Evaluator};
use crate::run::Method;
use crate::scoring::{colour_of, count_of, trust};
use crate::starter::{Batch, paint_batch};

/// Sides that softened pictures are shrunk to before they are enlarged again.
const SOFTENED: [usize; 4] = [32, 40, 48, 56];
/// Largest grain, as a standard deviation in -1..1.
const GRAIN: f32 = 0.1;
/// Held-out scenes of a review.
const REVIEWED: usize = 2048;

/// The evaluator in training.
pub struct EvaluatorMethod {
    model: Evaluator,
    params: ParamStore,
    data: SceneGenerator,
    held_out: SceneGenerator,
    batch: usize,
    seed: u64,
}

impl EvaluatorMethod {
    /// A fresh evaluator for the things of `data`.
    ///
    /// # Errors
    /// Never for a library that has things.
    pub fn new(data: &SceneGenerator, batch: usize, seed: u64) -> Result<Self, TrainError> {
        let (model, params) = Evaluator::new(data.library().concepts().len(), seed)?;
        // Another seed than the generator's, so that the two never saw the same scenes.
        let (data, held_out) = (data.with(Split::Train, seed), data.with(Split::HeldOut, seed));
        Ok(Self { model, params, data, held_out, batch, seed })
    }

    /// The network.
    pub fn model(&self) -> &Evaluator {
        &self.model
    }
}

/// Softens and grains pictures `[b, h, w, 3]`.
fn worn(pictures: &Tensor, rng: &mut Rng) -> Result<Tensor, TrainError> {
    let (h, w) = (pictures.dim(1), pictures.dim(2));
    let side = SOFTENED[(rng.uniform() * SOFTENED.len() as f32) as usize % SOFTENED.len()];
    let soft = pictures.resize_bilinear(side.min(h), side.min(w))?.resize_bilinear(h, w)?;
    let grain = Tensor::randn(soft.shape(), rng)?.mul_scalar(rng.uniform() * GRAIN)?;
    Ok(soft.add(&grain)?)
}

/// Cross entropy with shares of several things.
fn things_loss(answers: &Answers, labels: &[SceneLabels]) -> Result<Tensor, TrainError> {
    let concepts = answers.things.dim(1);
    let mut shares = vec![0.0; labels.len() * concepts];
    for (row, label) in shares.chunks_exact_mut(concepts).zip(labels) {
        for object in &label.objects {
            row[object.concept] += 1.0 / label.objects.len() as f32;
        }
    }
    let shares = Tensor::from_vec(shares, &[labels.len(), concepts])?;
    Ok(answers.things.log_softmax_last()?.mul(&shares)?.sum_all()?.mul_scalar(-1.0 / labels.len() as f32)?)
}

/// Cross entropy of the rows that have an answer; nothing where none has.
fn rows_loss(logits: &Tensor, answers: &[Option<u32>]) -> Result<Option<Tensor>, TrainError> {
    let rows: Vec<u32> = (0..answers.len() as u32).filter(|&i| answers[i as usize].is_some()).collect();
    let targets: Vec<u32> = answers.iter().flatten().copied().collect();
    if rows.is_empty() {
        return Ok(None);
    }
    Ok(Some(logits.index_select(0, &rows)?.cross_entropy(&targets)?))
}

impl Method for EvaluatorMethod {
    fn params(&self) -> &ParamStore {
        &self.params
    }

    fn batch(&self) -> usize {
        self.batch
    }

    fn loss(&mut self, step: u64) -> Result<Tensor, TrainError> {
        let Batch { pictures, labels, .. } = paint_batch(&self.data, step * self.batch as u64, self.batch);
        let rng = &mut Rng::with_stream(self.seed, step);
        let half = self.batch / 2;
        let worn = worn(&pictures.narrow(0, 0, half)?, rng)?;
        let mixed = Tensor::concat(&[&worn, &pictures.narrow(0, half, self.batch - half)?], 0)?;
        let answers = self.model.forward(&mixed.cast(DType::Bf16)?)?;
        let mut loss = things_loss(&answers, &labels)?;
        let colours: Vec<_> = labels.iter().map(colour_of).collect();
        let counts: Vec<_> = labels.iter().map(count_of).collect();
        for more in [rows_loss(&answers.colour, &colours)?, rows_loss(&answers.count, &counts)?].into_iter().flatten() {
            loss = loss.add(&more)?;
        }
        Ok(loss)
    }

    fn review(&mut self, _step: u64, _folder: &Path) -> Result<String, TrainError> {
        Ok(format!("held-out renders: {}", trust(&self.model, &self.held_out, REVIEWED)?))
    }
}
