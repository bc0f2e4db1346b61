//! The prompts of a run: planned for each step, encoded once each.

use danqing_models::families::stable_diffusion::StableDiffusion;

use crate::TaskError;
use crate::conditioning::{EncodeOptions, EncodedPrompts, encode};
use crate::control::Control;
use crate::denoiser::{PromptShare, StepPrompts};
use crate::prompts::{self, Dialect, Emphasis, PromptOptions, PromptPlan, WeightedPrompt};
use crate::request::{DrawRequest, Event};

/// Prompts of one pass, planned and encoded.
#[derive(Debug, Clone)]
pub(crate) struct Prompts {
    pub(crate) encoded: EncodedPrompts,
    pub(crate) steps: Vec<StepPrompts>,
}

/// The encoded prompts of a whole run, pass by pass.
#[derive(Debug, Clone)]
pub struct EncodedRun {
    passes: Vec<Prompts>,
}

impl EncodedRun {
    pub(crate) fn new(passes: Vec<Prompts>) -> Self {
        Self { passes }
    }

    /// The prompts of pass `number`, which has so many steps.
    pub(crate) fn pass(&self, number: usize, steps: usize) -> Result<Prompts, TaskError> {
        let fits = self.passes.get(number).filter(|p| p.steps.len() == steps);
        fits.cloned().ok_or_else(|| TaskError::Request("the prompts were encoded for another request".into()))
    }

    /// The encodings of the first pass.
    pub fn encodings(&self) -> Option<&EncodedPrompts> {
        self.passes.first().map(|p| &p.encoded)
    }
}

/// Plans and encodes the prompts of a pass of `steps` steps; `first_pass` is how many the first has.
pub(crate) fn prompts_of(
    model: &StableDiffusion,
    request: &DrawRequest,
    steps: usize,
    first_pass: usize,
    control: &dyn Control,
) -> Result<Prompts, TaskError> {
    let plan = |text: &str, negative: bool| {
        let first_pass_steps = (first_pass != steps).then_some(first_pass);
        let options = PromptOptions { dialect: request.dialect, steps, first_pass_steps, negative };
        prompts::plan(text, &options).map_err(|e| TaskError::Request(e.to_string()))
    };
    let positive = plan(&request.prompt, false)?;
    let negative = plan(&request.negative_prompt, true)?;
    for notice in positive.notices.iter().chain(&negative.notices) {
        control.event(Event::Notice(notice.clone()));
    }

    // Every different prompt is encoded once; `first` finds its row.
    let mut rows: Vec<&WeightedPrompt> = Vec::new();
    let index = |plan: &PromptPlan, base: usize| -> Vec<usize> {
        plan.conjunctions
            .iter()
            .scan(base, |next, c| {
                let at = *next;
                *next += c.parts.len();
                Some(at)
            })
            .collect()
    };
    let positive_at = index(&positive, 0);
    rows.extend(positive.conjunctions.iter().flat_map(|c| &c.parts).map(|p| &p.prompt));
    let negative_at = index(&negative, rows.len());
    rows.extend(negative.conjunctions.iter().flat_map(|c| &c.parts).map(|p| &p.prompt));

    let emphasis = request.emphasis.unwrap_or(match request.dialect {
        Dialect::ComfyUi => Emphasis::FromEmpty,
        _ => Emphasis::Original,
    });
    let options = EncodeOptions { clip_skip: request.clip_skip, emphasis };
    let mut encoded = encode(model, &rows, options)?;
    if model.zeros_for_empty_prompt && request.negative_prompt.trim().is_empty() {
        for at in &negative_at {
            encoded.blank(*at)?;
        }
    }
    let steps = (0..steps)
        .map(|step| {
            let at = positive.index_at(step);
            let positive = positive.conjunctions[at]
                .parts
                .iter()
                .enumerate()
                .map(|(i, part)| PromptShare { prompt: positive_at[at] + i, weight: part.weight as f32 })
                .collect();
            StepPrompts { positive, negative: negative_at[negative.index_at(step)] }
        })
        .collect();
    Ok(Prompts { encoded, steps })
}
