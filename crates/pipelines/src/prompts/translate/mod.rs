//! Chinese prompts for text encoders that know only English: words are replaced from a glossary.
//!
//! This is no translation of language but of picture descriptions. A stretch of Han characters is cut into the fewest known words
//! ([`segment`]), put into English order by a small phrase grammar ([`compose`]: measure words, `的`, `在…上`, verbs before nouns)
//! and given articles and plurals ([`english`]). Everything else in the prompt stays as it is: brackets, weights, tags, English.
//! Words that the glossary lacks are left out and named.
//!
//! ```
//! use danqing_pipelines::prompts::{Glossary, translate};
//! let translation = translate("(两只红色的猫:1.2)在蓝色背景上", Glossary::builtin());
//! assert_eq!(translation.english, "(two red cats:1.2) on a blue background");
//! ```

mod compose;
mod english;
mod glossary;
mod phrase;
mod segment;

pub use glossary::{Glossary, GlossaryError, WordClass};

/// A prompt in English, and what was done to get it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Translation {
    /// The prompt with its Chinese words replaced.
    pub english: String,
    /// Chinese words with the English that stands for them, in order, each once. Words of grammar are not listed.
    pub replaced: Vec<(String, String)>,
    /// Chinese words that the glossary lacks; they are not in the English prompt.
    pub untranslated: Vec<String>,
}

/// Whether a prompt has Chinese words in it.
#[must_use]
pub fn needs_translation(prompt: &str) -> bool {
    prompt.chars().any(is_han)
}

/// Replaces the Chinese words of a prompt.
#[must_use]
pub fn translate(prompt: &str, glossary: &Glossary) -> Translation {
    let mut translation = Translation::default();
    if !needs_translation(prompt) {
        prompt.clone_into(&mut translation.english);
        return translation;
    }
    let mut rest = prompt;
    // Nothing was left of the last clause, so the comma after it is not wanted either.
    let mut dropped = false;
    while let Some(first) = rest.chars().next() {
        let length = verbatim_length(rest, &translation.english);
        if length > 0 {
            space_before(&mut translation.english, first);
            translation.english.push_str(&rest[..length]);
            rest = &rest[length..];
            continue;
        }
        let clause_length = rest.find(|c| !in_clause(c)).unwrap_or(rest.len());
        let (clause, after) = rest.split_at(clause_length);
        if clause.chars().any(is_han) {
            dropped = !clause_in_english(clause, glossary, &mut translation);
        } else if !clause.is_empty() {
            space_before(&mut translation.english, first);
            translation.english.extend(clause.chars().map(narrow));
        }
        rest = after;
        if clause.is_empty() {
            rest = &rest[first.len_utf8()..];
            let between_nothing = translation.english.trim_end().ends_with(',') || translation.english.is_empty();
            if !(std::mem::take(&mut dropped) && narrow(first) == ',' && between_nothing) {
                push_sign(&mut translation.english, first, rest);
            }
        }
    }
    if dropped {
        let kept = translation.english.trim_end_matches([',', ' ']).len();
        translation.english.truncate(kept);
    }
    translation
}

/// Whether anything was written.
fn clause_in_english(clause: &str, glossary: &Glossary, translation: &mut Translation) -> bool {
    let tokens = segment::segment(clause, glossary);
    for token in &tokens {
        if token.class == WordClass::Unknown {
            if !translation.untranslated.contains(&token.chinese) {
                translation.untranslated.push(token.chinese.clone());
            }
        } else if token.class.is_content() {
            let pair = (token.chinese.clone(), token.english.clone());
            // Bounded: a prompt of 32 KiB cannot hold enough different words to make this search slow.
            if !translation.replaced.contains(&pair) {
                translation.replaced.push(pair);
            }
        }
    }
    let text = compose::compose(&tokens);
    if let Some(first) = text.chars().next() {
        if translation.english.ends_with(',') {
            translation.english.push(' ');
        }
        space_before(&mut translation.english, first);
        translation.english.push_str(&text);
    }
    !text.is_empty()
}

/// The length of a tag (`<lora:名字:1>`) or an embedding's name, in which nothing may be replaced.
fn verbatim_length(rest: &str, before: &str) -> usize {
    if rest.starts_with('<') {
        let close = rest.find('>').filter(|&close| rest[..close].contains(':'));
        return close.map_or(0, |close| close + 1);
    }
    if before.ends_with("embedding:") {
        return rest.find(|c: char| c.is_whitespace() || matches!(c, ',' | '，' | ')' | ':')).unwrap_or(rest.len());
    }
    0
}

/// Characters that make up a clause: Han, and letters and digits in between.
fn in_clause(c: char) -> bool {
    is_han(c) || narrow(c).is_ascii_alphanumeric()
}

/// Han characters, the ideographic zero and iteration mark included.
pub(super) fn is_han(c: char) -> bool {
    matches!(c, '\u{3005}' | '\u{3007}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{323af}')
}

/// Full-width letters, digits and signs in half width.
pub(super) fn narrow(c: char) -> char {
    match c {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        '\u{3000}' => ' ',
        '。' => '.',
        '、' => ',',
        '【' | '〔' => '[',
        '】' | '〕' => ']',
        '“' | '”' | '「' | '」' | '『' | '』' | '《' | '》' => '"',
        '‘' | '’' => '\'',
        other => other,
    }
}

fn push_sign(out: &mut String, sign: char, after: &str) {
    let narrowed = narrow(sign);
    if matches!(narrowed, '(' | '[') {
        space_before(out, narrowed);
    }
    out.push(narrowed);
    // Chinese punctuation brings its own room; English wants a blank after it.
    let before_words = narrowed == ':' && after.starts_with(is_han);
    if sign != narrowed
        && (before_words || matches!(narrowed, ',' | '.' | ';' | '!' | '?'))
        && !after.starts_with(char::is_whitespace)
    {
        out.push(' ');
    }
}

/// Parts words that would touch once the Chinese around them is English.
fn space_before(out: &mut String, next: char) {
    let word_ends = out.chars().next_back().is_some_and(|c| c.is_alphanumeric() || matches!(c, ')' | ']' | '>'));
    // `\(` and `\)` are signs of the text, not of the grammar.
    if word_ends && (next.is_alphanumeric() || matches!(next, '(' | '[' | '<')) && !out.ends_with("\\)") {
        out.push(' ');
    }
}
