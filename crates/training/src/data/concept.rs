//! The things that can be drawn: read from the committed list `data-lists/concepts.tsv`.

use super::DataError;

/// One thing with its names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concept {
    /// Stable id, e.g. `pine-tree`.
    pub id: String,
    /// Emoji code point as the icon sets spell it (`1f332`); `None` for a shape of ours.
    pub emoji: Option<String>,
    /// English name.
    pub en: String,
    /// English plural.
    pub en_plural: String,
    /// Further English names.
    pub en_synonyms: Vec<String>,
    /// Chinese names, the usual one first.
    pub zh: Vec<String>,
    /// Chinese measure word.
    pub measure_word: String,
    /// It may be given another colour.
    pub colourable: bool,
    /// Its mirror picture is as good.
    pub mirrors: bool,
    /// One of our procedural shapes is a picture of it.
    pub shape: bool,
    /// English names it without an article and it is not counted ("cheese", "scissors").
    pub uncounted: bool,
    /// Name in the FxEmoji set, which has no code points.
    pub fxemoji: Option<String>,
}

impl Concept {
    /// A procedural shape only, with no icon.
    pub fn is_pure_shape(&self) -> bool {
        self.shape && self.emoji.is_none()
    }

    /// The usual Chinese name.
    pub fn zh_name(&self) -> &str {
        self.zh.first().map_or("", String::as_str)
    }
}

/// The committed list.
pub const CONCEPT_LIST: &str = include_str!("../../data-lists/concepts.tsv");

fn list(field: &str) -> Vec<String> {
    field.split(',').map(str::trim).filter(|word| !word.is_empty() && *word != "-").map(str::to_owned).collect()
}

fn optional(field: &str) -> Option<String> {
    (field != "-" && !field.is_empty()).then(|| field.to_owned())
}

/// Reads a list of concepts (columns as in the committed file; lines that begin with `#` are comments).
///
/// # Errors
/// A line without the nine columns, a doubled id, or a concept without a name in either language.
pub fn parse_concepts(text: &str) -> Result<Vec<Concept>, DataError> {
    let mut concepts: Vec<Concept> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            continue;
        }
        let bad = |why: &str| DataError::ConceptList { line: number + 1, why: why.to_owned() };
        let columns: Vec<&str> = line.split('\t').map(str::trim).collect();
        let [id, emoji, en, plural, synonyms, zh, measure, flags, fx] = columns[..] else {
            return Err(bad("nine columns divided by tabs are needed"));
        };
        let concept = Concept {
            id: id.to_owned(),
            emoji: optional(emoji),
            en: en.to_owned(),
            en_plural: plural.to_owned(),
            en_synonyms: list(synonyms),
            zh: list(zh),
            measure_word: measure.to_owned(),
            colourable: flags.contains('c') || (emoji == "-" && flags.contains('s')),
            mirrors: flags.contains('f'),
            shape: flags.contains('s'),
            uncounted: flags.contains('u'),
            fxemoji: optional(fx),
        };
        if concept.id.is_empty() || concept.en.is_empty() || concept.zh.is_empty() {
            return Err(bad("an id, an English and a Chinese name are needed"));
        }
        if concepts.iter().any(|other| other.id == concept.id) {
            return Err(bad("this id stands twice in the list"));
        }
        concepts.push(concept);
    }
    Ok(concepts)
}

/// The concepts of the committed list.
///
/// # Errors
/// As [`parse_concepts`]; never for the list as committed.
pub fn concepts() -> Result<Vec<Concept>, DataError> {
    parse_concepts(CONCEPT_LIST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn the_committed_list_is_sound() {
        let concepts = concepts().expect("list");
        assert!(concepts.len() >= 160, "{}", concepts.len());
        let mut names: HashMap<&str, &str> = HashMap::new();
        for concept in &concepts {
            assert!(concept.emoji.is_some() || concept.shape, "{}", concept.id);
            let all = std::iter::once(&concept.en).chain(&concept.en_synonyms).chain(&concept.zh);
            for name in all {
                assert_eq!(*name, name.to_lowercase(), "captions are lower-case");
                if let Some(other) = names.insert(name, &concept.id) {
                    panic!("{name} names both {other} and {}", concept.id);
                }
            }
        }
    }

    #[test]
    fn bad_lists_are_refused_with_the_line() {
        for text in [
            "cat\t1f431",
            "# x\n\tx\ty\ty\t-\tz\tz\tc\t-",
            "a\t-\ta\tas\t-\t甲\t个\ts\t-\na\t-\tb\tbs\t-\t乙\t个\ts\t-",
        ] {
            let message = parse_concepts(text).expect_err("bad").to_string();
            assert!(message.contains("line"), "{message}");
        }
    }
}
