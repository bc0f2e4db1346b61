//! The plan of a prompt: which weighted prompts hold at which sampling steps.

use std::ops::Range;

use super::{Dialect, MAX_PROMPT_BYTES, PromptError, WeightedPrompt};

/// The most sampling steps that a plan is made for.
const MAX_STEPS: usize = 10_000;

/// What decides how a prompt is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptOptions {
    /// Whose grammar.
    pub dialect: Dialect,
    /// Sampling steps of the pass that the plan is for.
    pub steps: usize,
    /// Steps of the pass before, when this is the second (hires) one: step numbers go on from there, and fractions above 1 mean
    /// the second pass.
    pub first_pass_steps: Option<usize>,
    /// A negative prompt: `AND` has no meaning in it and stays text.
    pub negative: bool,
}

impl Default for PromptOptions {
    fn default() -> Self {
        Self { dialect: Dialect::A1111, steps: 20, first_pass_steps: None, negative: false }
    }
}

/// One prompt of a conjunction.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptPart {
    /// Its words.
    pub prompt: WeightedPrompt,
    /// Its share: `denoised = negative + guidance_scale · Σ weight · (part − negative)`.
    pub weight: f64,
}

/// Prompts that hold together (`a AND b:0.5`); most often one with weight 1.
#[derive(Debug, Clone, PartialEq)]
pub struct Conjunction {
    /// At least one.
    pub parts: Vec<PromptPart>,
}

/// A range of steps and the conjunction that holds in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptSpan {
    /// Steps counted from 0.
    pub steps: Range<usize>,
    /// Index into [`PromptPlan::conjunctions`].
    pub conjunction: usize,
}

/// Something the reader of the picture should know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// LoRA tags were read; they do nothing yet.
    LoraNotApplied(Vec<String>),
}

impl Notice {
    /// The sentence in English.
    #[must_use]
    pub fn english(&self) -> String {
        match self {
            Self::LoraNotApplied(names) => format!("LoRA is not applied yet: {} has no effect", names.join(", ")),
        }
    }

    /// The sentence in Chinese.
    #[must_use]
    pub fn chinese(&self) -> String {
        match self {
            Self::LoraNotApplied(names) => format!("LoRA 尚未应用：{} 不起作用", names.join("、")),
        }
    }
}

/// What a prompt asks for at every step.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptPlan {
    /// The different conjunctions; each needs encoding once.
    pub conjunctions: Vec<Conjunction>,
    /// Adjoining ranges from step 0 to the last, in order.
    pub spans: Vec<PromptSpan>,
    /// What to tell the user.
    pub notices: Vec<Notice>,
}

impl PromptPlan {
    /// The conjunction of a step counted from 0; the last one for steps beyond the plan.
    #[must_use]
    pub fn at(&self, step: usize) -> &Conjunction {
        &self.conjunctions[self.index_at(step)]
    }

    /// The index in [`conjunctions`](Self::conjunctions) of a step counted from 0.
    #[must_use]
    pub fn index_at(&self, step: usize) -> usize {
        let span = self.spans.iter().find(|span| span.steps.contains(&step)).or(self.spans.last());
        span.map_or(0, |span| span.conjunction)
    }
}

/// Reads a prompt.
///
/// # Errors
/// When it is too long, too deeply nested, or changes too often; the sentence says which.
pub fn plan(prompt: &str, options: &PromptOptions) -> Result<PromptPlan, PromptError> {
    if prompt.len() > MAX_PROMPT_BYTES {
        return Err(PromptError::TooLong(prompt.len()));
    }
    if options.steps == 0 || options.steps > MAX_STEPS {
        return Err(PromptError::Steps { steps: options.steps, limit: MAX_STEPS });
    }
    let prompt = match options.dialect {
        Dialect::A1111 => WeightedPrompt::parse(prompt)?,
        Dialect::ComfyUi | Dialect::Plain => WeightedPrompt::plain(prompt),
    };
    Ok(PromptPlan {
        conjunctions: vec![Conjunction { parts: vec![PromptPart { prompt, weight: 1.0 }] }],
        spans: vec![PromptSpan { steps: 0..options.steps, conjunction: 0 }],
        notices: Vec::new(),
    })
}
