//! Prompts: from the words a person writes to weighted token chunks for every sampling step.
//!
//! [`plan`] reads the grammar of a [`Dialect`] and gives a [`PromptPlan`]: which [`Conjunction`] holds at which steps. A
//! conjunction is a weighted sum of prompts (`AND`); each [`WeightedPrompt`] turns into [`Chunk`]s with a tokenizer, is encoded
//! chunk by chunk, and [`Emphasis`] applies its weights to the encoder's output. A pipeline needs to know nothing of brackets.
//!
//! **Clip skip** is counted as A1111 counts it: 1 is the text encoder's last layer, 2 the one before it, and the encoder's final
//! norm is applied to whichever is taken (SD1.x, SD2.x). SDXL takes both encoders' last but one state *without* that norm. The
//! pooled vector comes from the last layer of the **first** chunk, whatever the skip.

mod attention;
mod chunks;
mod comfy;
mod emphasis;
mod extra_networks;
mod plan;
mod schedule;
pub mod translate;

pub use attention::{Segment, WeightedPrompt};
pub use chunks::{Chunk, equalize};
pub use emphasis::{EMPHASES, Emphasis};
pub use extra_networks::{ExtraNetwork, ExtraNetworkKind};
pub use plan::{Conjunction, Notice, PromptOptions, PromptPart, PromptPlan, PromptSpan, plan};
pub use translate::{Glossary, Translation, needs_translation, translate};

/// The longest prompt that is read, in bytes.
pub const MAX_PROMPT_BYTES: usize = 32 << 10;

/// The deepest nesting of brackets that is read.
pub const MAX_DEPTH: usize = 64;

/// Whose prompt grammar is meant. The same text gives different pictures in different dialects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// The A1111 web UI: `(x)`, `[x]`, `(x:1.3)`, `BREAK`, `[a:b:0.5]`, `[a|b]`, `AND`, `<lora:…>`.
    #[default]
    A1111,
    /// ComfyUI: only `( )`, with absolute inner weights, and `embedding:name`.
    ComfyUi,
    /// No grammar: every character is text.
    Plain,
}

/// Every dialect with its name, for option lists and help.
pub const DIALECTS: [(&str, Dialect); 3] =
    [("a1111", Dialect::A1111), ("comfyui", Dialect::ComfyUi), ("plain", Dialect::Plain)];

impl std::str::FromStr for Dialect {
    type Err = PromptError;

    fn from_str(name: &str) -> Result<Self, PromptError> {
        let found = DIALECTS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, dialect)| *dialect).ok_or_else(|| PromptError::UnknownDialect(name.to_owned()))
    }
}

impl std::fmt::Display for Dialect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = DIALECTS.iter().find(|(_, dialect)| dialect == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// Why a prompt was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PromptError {
    /// Longer than [`MAX_PROMPT_BYTES`].
    #[error("the prompt has {0} bytes; at most {MAX_PROMPT_BYTES} are read: shorten it")]
    TooLong(usize),
    /// Brackets nested deeper than [`MAX_DEPTH`].
    #[error(
        "brackets are nested deeper than {MAX_DEPTH} at byte {0} of the prompt: close some, or write \\( for a plain bracket"
    )]
    TooDeep(usize),
    /// The steps differ so much that the plan would not fit in memory.
    #[error("the prompt changes too often over {steps} steps: use fewer alternatives or fewer steps")]
    TooManyVariants {
        /// Sampling steps asked for.
        steps: usize,
    },
    /// More prompts joined by `AND` than a picture is made of.
    #[error("{parts} prompts are joined by AND; at most {limit} are: each one is a whole evaluation at every step")]
    TooManyParts {
        /// Prompts found.
        parts: usize,
        /// The most there may be.
        limit: usize,
    },
    /// No steps to plan for.
    #[error("a prompt is planned for at least 1 step and at most {limit}, not {steps}")]
    Steps {
        /// Sampling steps asked for.
        steps: usize,
        /// The most that is planned.
        limit: usize,
    },
    /// A dialect that does not exist.
    #[error("there is no prompt dialect {0:?}; choose a1111, comfyui or plain")]
    UnknownDialect(String),
}
