//! Frozen evaluation prompts on held-out combinations, English and Chinese twins with their labels.

use std::collections::BTreeSet;

use super::caption::Captions;
use super::choices::Choices;
use super::dice::Dice;
use super::labels::{Language, ObjectLabel, Relation, SceneKind, SceneLabels};
use super::sprites::SpriteLibrary;

/// What a prompt asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PromptKind {
    /// The plain name of one thing (not held out: every name is trained).
    Concept,
    /// A thing in a colour that training never showed it in.
    Colour,
    /// A number of things that training never showed of it.
    Count,
    /// Two things that training never showed together.
    Pair,
}

/// One prompt in both languages.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaluationPrompt {
    /// What it asks about.
    pub kind: PromptKind,
    /// English text.
    pub en: String,
    /// Chinese text.
    pub zh: String,
    /// What a picture of it must show (no boxes; the background is free).
    pub labels: SceneLabels,
}

const SEED: u64 = 0x000E_7A1A_1E00;

/// Up to `count` prompts (600 is the frozen set), the four kinds in turn, so that a shorter list is balanced too.
/// A small library has fewer combinations and gives fewer prompts.
pub fn evaluation_prompts(library: &SpriteLibrary, count: usize) -> Vec<EvaluationPrompt> {
    let choices = Choices::new(library);
    let mut dice = Dice::new(SEED, 0);
    let mut prompts: Vec<EvaluationPrompt> = Vec::new();
    let mut seen = BTreeSet::new();
    let captions = Captions { concepts: library.concepts() };
    let mut stale = 0;
    while prompts.len() < count && stale < 2_000 {
        let kind =
            [PromptKind::Concept, PromptKind::Colour, PromptKind::Count, PromptKind::Pair][(prompts.len() + stale) % 4];
        let labels = match kind {
            PromptKind::Concept => dice.pick(&choices.icons).map(|&c| one(c, None, 1)),
            PromptKind::Colour => dice.pick(&choices.held_colours).map(|&(c, colour)| one(c, Some(colour), 1)),
            // There are too few (thing, number) to ask for each once: trained colours tell prompts of the same apart.
            PromptKind::Count => dice.pick(&choices.held_counts).map(|&(c, n)| {
                let colour = if dice.chance(0.5) { dice.pick(&choices.colours[c]).copied() } else { None };
                one(c, colour, n)
            }),
            PromptKind::Pair => dice.pick(&choices.held_pairs).map(|&(x, y)| {
                let mut labels = one(x, None, 1);
                labels.kind = SceneKind::Pair;
                labels.relation = Some(Relation::ALL[dice.below(4)]);
                labels.objects.push(object(y, None, 1));
                labels
            }),
        };
        let Some(labels) = labels else {
            stale += 1;
            continue;
        };
        let en = captions.plain(&labels, Language::English);
        let zh = captions.plain(&labels, Language::Chinese);
        if seen.insert(en.clone()) {
            prompts.push(EvaluationPrompt { kind, en, zh, labels });
            stale = 0;
        } else {
            stale += 4;
        }
    }
    prompts
}

fn object(concept: usize, colour: Option<usize>, count: usize) -> ObjectLabel {
    ObjectLabel { concept, colour, count, boxes: Vec::new() }
}

fn one(concept: usize, colour: Option<usize>, count: usize) -> SceneLabels {
    SceneLabels {
        kind: if count > 1 { SceneKind::Count } else { SceneKind::Single },
        objects: vec![object(concept, colour, count)],
        background: 0,
        relation: None,
        size: None,
        language: Language::English,
    }
}
