//! Scores: how many drawn pictures show what was asked, as the evaluator sees them, and how far the evaluator can be trusted.

use std::path::Path;

use danqing_imaging::Picture;
use danqing_models::families::stable_diffusion::StableDiffusion;
use danqing_pipelines::control::Quiet;
use danqing_pipelines::request::DrawRequest;
use danqing_pipelines::tasks::draw::{DrawTools, draw};
use danqing_tensor::{DType, Tensor, no_grad};
use serde::Serialize;

use crate::data::{EvaluationPrompt, PromptKind, SceneGenerator, SceneKind, SceneLabels};
use crate::error::TrainError;
use crate::evaluator::{Answers, Evaluator, MAX_COUNT};
use crate::starter::{Batch, paint_batch, write_pictures};

/// Pictures of the sheet.
const SHOWN: usize = 128;

/// The colour that a picture of one thing was asked in.
pub(crate) fn colour_of(labels: &SceneLabels) -> Option<u32> {
    match labels.objects.as_slice() {
        [one] => one.colour.map(|c| c as u32),
        _ => None,
    }
}

/// How many of one thing were asked, from 0 for one.
pub(crate) fn count_of(labels: &SceneLabels) -> Option<u32> {
    match labels.objects.as_slice() {
        [one] => Some((one.count.clamp(1, MAX_COUNT) - 1) as u32),
        _ => None,
    }
}

/// Right answers among those asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// How many were right.
    pub right: usize,
    /// How many were asked.
    pub asked: usize,
}

impl Tally {
    /// Counts one answer.
    pub fn add(&mut self, right: bool) {
        self.right += usize::from(right);
        self.asked += 1;
    }

    /// Right answers in percent; 0 of none.
    pub fn percent(self) -> f64 {
        100.0 * self.right as f64 / self.asked.max(1) as f64
    }
}

/// How many of a batch's pictures show what their labels say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Scores {
    /// The thing of pictures with one kind of thing.
    pub top1: Tally,
    /// Its colour, where one was asked for.
    pub colour: Tally,
    /// How many there are.
    pub count: Tally,
    /// Both of two things.
    pub both: Tally,
}

impl Scores {
    /// Adds the answers about pictures with these labels.
    ///
    /// # Errors
    /// When an operation fails.
    pub fn add(&mut self, answers: &Answers, labels: &[SceneLabels]) -> Result<(), TrainError> {
        let concepts = answers.things.dim(1);
        let things = answers.things.to_vec();
        let (colour, count) = (answers.colour.argmax_last()?, answers.count.argmax_last()?);
        for (i, label) in labels.iter().enumerate() {
            let row = &things[i * concepts..(i + 1) * concepts];
            let mut order: Vec<usize> = (0..concepts).collect();
            order.sort_by(|&a, &b| row[b].total_cmp(&row[a]));
            match label.objects.as_slice() {
                [one] => {
                    self.top1.add(order.first() == Some(&one.concept));
                    if let Some(wanted) = colour_of(label) {
                        self.colour.add(colour[i] == wanted);
                    }
                    if let (Some(wanted), SceneKind::Count) = (count_of(label), label.kind) {
                        self.count.add(count[i] == wanted);
                    }
                }
                [x, y] => {
                    let seen = &order[..2.min(order.len())];
                    self.both.add(seen.contains(&x.concept) && seen.contains(&y.concept));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for Scores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { top1, colour, count, both } = self;
        let parts = [("top-1", top1), ("colour", colour), ("count", count), ("both of two", both)];
        for (i, (name, tally)) in parts.into_iter().enumerate() {
            let comma = if i > 0 { ", " } else { "" };
            write!(f, "{comma}{name} {:.1} % ({}/{})", tally.percent(), tally.right, tally.asked)?;
        }
        Ok(())
    }
}

/// What the evaluator says of real held-out scenes: how far it can be trusted.
///
/// # Errors
/// When an operation fails.
pub fn trust(model: &Evaluator, held_out: &SceneGenerator, scenes: usize) -> Result<Scores, TrainError> {
    let mut scores = Scores::default();
    for first in (0..scenes).step_by(64) {
        let Batch { pictures, labels, .. } = paint_batch(held_out, first as u64, 64.min(scenes - first));
        let answers = no_grad(|| model.forward(&pictures.cast(DType::Bf16)?))?;
        scores.add(&answers, &labels)?;
    }
    Ok(scores)
}

/// The scores of a model on prompts, by what they ask about.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct ModelScores {
    /// Plain names.
    pub concept: Scores,
    /// Things in colours that training never showed them in.
    pub colour: Scores,
    /// Numbers of things that training never showed of them.
    pub count: Scores,
    /// Two things that training never showed together.
    pub pair: Scores,
    /// The thing on all held-out combinations of one thing: colours and numbers together.
    pub held_out_top1: Tally,
}

impl std::fmt::Display for ModelScores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rows = [
            ("the thing, held-out colours and counts", self.held_out_top1),
            ("the thing, plain names", self.concept.top1),
            ("colour, held-out (thing, colour)", self.colour.colour),
            ("count, held-out (thing, count)", self.count.count),
            ("both of two, held-out pairs", self.pair.both),
        ];
        for (name, tally) in rows {
            writeln!(f, "{name}: {:.1} % ({}/{})", tally.percent(), tally.right, tally.asked)?;
        }
        Ok(())
    }
}

/// Draws every prompt with `model`, English and Chinese in turn, prompt `i` from seed `i`, and counts what `evaluator` sees.
/// The pictures of the first prompts are written to `sheet`. `log` is told how far it is.
///
/// # Errors
/// When drawing or writing fails.
pub fn score(
    model: &StableDiffusion,
    evaluator: &Evaluator,
    prompts: &[EvaluationPrompt],
    sheet: &Path,
    log: &mut dyn FnMut(&str),
) -> Result<ModelScores, TrainError> {
    let mut scores = ModelScores::default();
    let mut shown: Vec<Picture> = Vec::new();
    for (i, prompt) in prompts.iter().enumerate() {
        // The four kinds come in turn: the language changes with each four.
        let text = if (i / 4).is_multiple_of(2) { &prompt.en } else { &prompt.zh };
        let request = DrawRequest { prompt: text.clone(), seed: i as u64, translate: false, ..Default::default() };
        let drawn = no_grad(|| draw(model, &request, &DrawTools::default(), &Quiet))?;
        for picture in drawn.into_iter().map(|d| d.picture) {
            let values = picture.pixels().iter().map(|v| f32::from(*v) / 127.5 - 1.0).collect();
            let map = Tensor::from_vec(values, &[1, picture.height() as usize, picture.width() as usize, 3])?;
            let answers = no_grad(|| evaluator.forward(&map.cast(DType::Bf16)?))?;
            let part = match prompt.kind {
                PromptKind::Concept => &mut scores.concept,
                PromptKind::Colour => &mut scores.colour,
                PromptKind::Count => &mut scores.count,
                PromptKind::Pair => &mut scores.pair,
            };
            part.add(&answers, std::slice::from_ref(&prompt.labels))?;
            if shown.len() < SHOWN {
                shown.push(picture);
            }
        }
        if (i + 1).is_multiple_of(50) {
            log(&format!("drew {} of {} prompts", i + 1, prompts.len()));
        }
    }
    scores.held_out_top1.right = scores.colour.top1.right + scores.count.top1.right;
    scores.held_out_top1.asked = scores.colour.top1.asked + scores.count.top1.asked;
    write_pictures(sheet, &shown, 16)?;
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Language, ObjectLabel};

    fn label(kind: SceneKind, objects: &[(usize, Option<usize>, usize)]) -> SceneLabels {
        let objects = objects
            .iter()
            .map(|&(concept, colour, count)| ObjectLabel { concept, colour, count, boxes: Vec::new() })
            .collect();
        SceneLabels { kind, objects, background: 0, relation: None, size: None, language: Language::English }
    }

    fn logits(rows: &[&[f32]]) -> Tensor {
        Tensor::from_vec(rows.concat(), &[rows.len(), rows[0].len()]).unwrap()
    }

    #[test]
    fn answers_are_counted_by_what_was_asked() {
        let answers = Answers {
            things: logits(&[&[3.0, 1.0, 0.0], &[0.0, 1.0, 2.0], &[2.0, 0.0, 1.0], &[2.0, 1.0, 0.0]]),
            colour: logits(&[&[0.0, 1.0], &[1.0, 0.0], &[1.0, 0.0], &[1.0, 0.0]]),
            count: logits(&[&[1.0, 0.0, 0.0, 0.0], &[0.0, 0.0, 1.0, 0.0], &[1.0; 4], &[1.0; 4]]),
        };
        let labels = [
            // Right thing, right colour; one thing is not a question of number.
            label(SceneKind::Single, &[(0, Some(1), 1)]),
            // Wrong thing, three of it as asked, no colour asked.
            label(SceneKind::Count, &[(1, None, 3)]),
            // Both of the two highest, in whichever order.
            label(SceneKind::Pair, &[(2, None, 1), (0, None, 1)]),
            label(SceneKind::Pair, &[(2, None, 1), (0, None, 1)]),
        ];
        let mut scores = Scores::default();
        scores.add(&answers, &labels).unwrap();
        let tally = |right, asked| Tally { right, asked };
        assert_eq!(scores, Scores { top1: tally(1, 2), colour: tally(1, 1), count: tally(1, 1), both: tally(1, 2) });
        assert_eq!(scores.both.percent(), 50.0);
    }
}
