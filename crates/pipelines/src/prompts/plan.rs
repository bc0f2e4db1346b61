//! The plan of a prompt: which weighted prompts hold at which sampling steps.

use std::collections::HashMap;
use std::ops::Range;

use super::attention::find_word;
use super::extra_networks::{self, ExtraNetwork, ExtraNetworkKind};
use super::schedule::{Pass, Schedule};
use super::{Dialect, Emphasis, MAX_PROMPT_BYTES, PromptError, WeightedPrompt, comfy};

/// The most sampling steps that a plan is made for.
const MAX_STEPS: usize = 10_000;
/// The most prompts joined by `AND`; each costs an evaluation of the network at every step.
const MAX_PARTS: usize = 32;
/// The most text, in bytes, that the prompts of all stretches may have together.
const MAX_EXPANDED: usize = 64 << 20;

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

/// Something the person who asked for the picture should know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// LoRA tags were read; they do nothing yet.
    LoraNotApplied(Vec<String>),
    /// Hypernetwork tags were read; they do nothing.
    HypernetworkNotApplied(Vec<String>),
    /// Textual inversions were named; they do nothing yet.
    EmbeddingNotApplied(Vec<String>),
    /// A tag that means nothing here, or whose numbers cannot be read, was taken out.
    TagLeftOut(String),
}

impl Notice {
    /// The sentence in English.
    #[must_use]
    pub fn english(&self) -> String {
        match self {
            Self::LoraNotApplied(names) => format!("LoRA is not applied yet: {} has no effect", names.join(", ")),
            Self::HypernetworkNotApplied(names) => {
                format!("hypernetworks are not applied: {} has no effect", names.join(", "))
            }
            Self::EmbeddingNotApplied(names) => {
                format!("textual inversions are not applied yet: {} has no effect", names.join(", "))
            }
            Self::TagLeftOut(tag) => format!("{tag} is not understood and was left out of the prompt"),
        }
    }

    /// The sentence in Chinese.
    #[must_use]
    pub fn chinese(&self) -> String {
        match self {
            Self::LoraNotApplied(names) => format!("LoRA 尚未应用：{} 不起作用", names.join("、")),
            Self::HypernetworkNotApplied(names) => format!("超网络不会应用：{} 不起作用", names.join("、")),
            Self::EmbeddingNotApplied(names) => format!("文本反转嵌入尚未应用：{} 不起作用", names.join("、")),
            Self::TagLeftOut(tag) => format!("无法理解 {tag}，已从提示词中略去"),
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
    /// Further weights that the prompt asks for.
    pub extra_networks: Vec<ExtraNetwork>,
    /// How the dialect's own program applies weights.
    pub emphasis: Emphasis,
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
        let after = self.spans.partition_point(|span| span.steps.end <= step);
        self.spans.get(after).or(self.spans.last()).map_or(0, |span| span.conjunction)
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
    match options.dialect {
        Dialect::A1111 => plan_a1111(prompt, options),
        Dialect::ComfyUi => {
            let (prompt, embeddings) = comfy::parse(prompt)?;
            Ok(constant(prompt, options.steps, embeddings, Emphasis::FromEmpty))
        }
        Dialect::Plain => Ok(constant(WeightedPrompt::plain(prompt), options.steps, Vec::new(), Emphasis::Ignore)),
    }
}

fn constant(prompt: WeightedPrompt, steps: usize, extra: Vec<ExtraNetwork>, emphasis: Emphasis) -> PromptPlan {
    PromptPlan {
        conjunctions: vec![Conjunction { parts: vec![PromptPart { prompt, weight: 1.0 }] }],
        spans: vec![PromptSpan { steps: 0..steps, conjunction: 0 }],
        notices: network_notices(&extra),
        extra_networks: extra,
        emphasis,
    }
}

fn network_notices(networks: &[ExtraNetwork]) -> Vec<Notice> {
    let names = |kind| -> Vec<String> {
        networks.iter().filter(|network| network.kind == kind).map(|network| network.name.clone()).collect()
    };
    let all = [
        (names(ExtraNetworkKind::Lora), Notice::LoraNotApplied as fn(_) -> _),
        (names(ExtraNetworkKind::Hypernetwork), Notice::HypernetworkNotApplied),
        (names(ExtraNetworkKind::Embedding), Notice::EmbeddingNotApplied),
    ];
    all.into_iter().filter(|(names, _)| !names.is_empty()).map(|(names, notice)| notice(names)).collect()
}

fn plan_a1111(prompt: &str, options: &PromptOptions) -> Result<PromptPlan, PromptError> {
    let mut unreadable = Vec::new();
    let (text, extra_networks) = extra_networks::extract(prompt, &mut unreadable);
    let mut notices = network_notices(&extra_networks);
    notices.extend(unreadable);

    let parts = if options.negative { vec![(text.as_str(), 1.0)] } else { conjuncts(&text) };
    if parts.len() > MAX_PARTS {
        return Err(PromptError::TooManyParts { parts: parts.len(), limit: MAX_PARTS });
    }
    let pass = Pass { steps: options.steps, before: options.first_pass_steps };
    let mut schedules = Vec::new();
    for (part, weight) in parts {
        schedules.push((Schedule::parse(part, pass)?, weight));
    }
    let mut ends: Vec<usize> = schedules.iter().flat_map(|(schedule, _)| schedule.ends.iter().copied()).collect();
    ends.sort_unstable();
    ends.dedup();
    if ends.len() * text.len() > MAX_EXPANDED {
        return Err(PromptError::TooManyVariants { steps: options.steps });
    }

    let mut conjunctions = Vec::new();
    let mut known: HashMap<Vec<String>, usize> = HashMap::new();
    let mut spans: Vec<PromptSpan> = Vec::new();
    let mut start = 0;
    for end in ends {
        let texts: Vec<String> = schedules.iter().map(|(schedule, _)| schedule.at(end)).collect();
        let conjunction = match known.get(&texts) {
            Some(&index) => index,
            None => {
                let mut parts = Vec::new();
                for (text, (_, weight)) in texts.iter().zip(&schedules) {
                    parts.push(PromptPart { prompt: WeightedPrompt::parse(text)?, weight: *weight });
                }
                conjunctions.push(Conjunction { parts });
                known.insert(texts, conjunctions.len() - 1);
                conjunctions.len() - 1
            }
        };
        match spans.last_mut().filter(|last| last.conjunction == conjunction) {
            Some(last) => last.steps.end = end,
            None => spans.push(PromptSpan { steps: start..end, conjunction }),
        }
        start = end;
    }
    Ok(PromptPlan { conjunctions, spans, extra_networks, emphasis: Emphasis::Original, notices })
}

/// The prompts between the `AND`s with their weights (`:0.5` at the end of one). A prompt without `AND` has no weight of its
/// own, so that `ratio 16:9` stays text.
fn conjuncts(text: &str) -> Vec<(&str, f64)> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(at) = find_word(rest, "AND") {
        pieces.push(&rest[..at]);
        rest = &rest[at + "AND".len()..];
    }
    pieces.push(rest);
    if pieces.len() == 1 {
        return vec![(text, 1.0)];
    }
    pieces.into_iter().map(weighted).collect()
}

fn weighted(piece: &str) -> (&str, f64) {
    let piece = piece.trim_end();
    let split = piece.rsplit_once(':').and_then(|(words, number)| {
        let number = number.trim();
        let plain = number.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'+' | b'-'));
        let weight: f64 = if plain { number.parse().ok()? } else { return None };
        Some((words.trim_end(), weight))
    });
    split.unwrap_or((piece, 1.0))
}
