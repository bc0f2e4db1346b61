//! The Chinese–English glossary: a table of tab-separated lines `Chinese, English, class`.

use std::collections::HashMap;
use std::sync::LazyLock;

/// What a word does in a phrase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WordClass {
    /// A thing that can be counted (`n`).
    Noun,
    /// A person or animal (`b`): `的` after it is `'s`.
    Being,
    /// What is not counted, is one of a kind, or is already plural (`u`): no article.
    Mass,
    /// A kind of picture (`i`): `…的照片` is "photo of …".
    Image,
    /// A quality (`a`).
    Adjective,
    /// A degree (`d`), before a quality.
    Degree,
    /// An action (`v`), in its -ing form.
    Verb,
    /// A preposition (`r`).
    Relation,
    /// A place word that follows its noun (`l`): `桌子上` is "on a table".
    Locative,
    /// A measure word (`m`), with English where it has any ("cup of").
    Measure,
    /// An amount (`q`) that makes the noun plural.
    Amount,
    /// This, that, every (`t`): stands where an article would.
    Determiner,
    /// And, or (`c`).
    Conjunction,
    /// A word without English (`x`).
    Silent,
    /// `的`.
    Possessive,
    /// `被`.
    Passive,
    /// A number.
    Number,
    /// Letters or digits in the middle of Chinese.
    Foreign,
    /// Not in the glossary.
    Unknown,
}

impl WordClass {
    fn from_code(code: &str) -> Option<Self> {
        Some(match code {
            "n" => Self::Noun,
            "b" => Self::Being,
            "u" => Self::Mass,
            "i" => Self::Image,
            "a" => Self::Adjective,
            "d" => Self::Degree,
            "v" => Self::Verb,
            "r" => Self::Relation,
            "l" => Self::Locative,
            "m" => Self::Measure,
            "q" => Self::Amount,
            "t" => Self::Determiner,
            "c" => Self::Conjunction,
            "x" => Self::Silent,
            _ => return None,
        })
    }

    /// Words that stand for something in the picture.
    pub(super) fn is_content(self) -> bool {
        matches!(self, Self::Noun | Self::Being | Self::Mass | Self::Image | Self::Adjective | Self::Verb)
    }

    /// Words that can end a noun phrase.
    pub(super) fn is_noun(self) -> bool {
        matches!(self, Self::Noun | Self::Being | Self::Mass | Self::Image | Self::Foreign)
    }
}

/// Why a glossary was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the glossary: {problem}; a line is Chinese, English and class with tabs between")]
pub struct GlossaryError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub problem: &'static str,
}

/// One meaning of a word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meaning {
    pub english: String,
    pub class: WordClass,
}

/// Words with their meanings, and traditional characters with their simplified forms.
#[derive(Debug, Clone, Default)]
pub struct Glossary {
    words: HashMap<String, Vec<Meaning>>,
    simplified: HashMap<char, char>,
    longest: usize,
}

/// A word longer than this is no word; it keeps the search for words short.
const LONGEST: usize = 16;

impl Glossary {
    /// The glossary that is part of the program.
    #[must_use]
    pub fn builtin() -> &'static Self {
        static BUILTIN: LazyLock<Glossary> = LazyLock::new(|| {
            Glossary::parse(include_str!("../../../../../data/glossary/zh-en.tsv")).unwrap_or_default()
        });
        &BUILTIN
    }

    /// Reads a table. Lines that begin with `#` are remarks; class `s` gives the simplified form of a character.
    ///
    /// # Errors
    /// For the first line that has not three fields or an unknown class.
    pub fn parse(table: &str) -> Result<Self, GlossaryError> {
        let mut glossary = Self::default();
        for (number, line) in table.lines().enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = |problem| GlossaryError { line: number + 1, problem };
            let mut fields = line.split('\t');
            let (Some(chinese), Some(english), Some(code), None) =
                (fields.next(), fields.next(), fields.next(), fields.next())
            else {
                return Err(wrong("not three fields"));
            };
            let length = chinese.chars().count();
            if length == 0 || length > LONGEST {
                return Err(wrong("the Chinese word is empty or too long"));
            }
            if code == "s" {
                let (Some(from), Some(to)) = (chinese.chars().next(), english.chars().next()) else {
                    return Err(wrong("a character without its simplified form"));
                };
                glossary.simplified.insert(from, to);
                continue;
            }
            let class = WordClass::from_code(code).ok_or_else(|| wrong("an unknown class"))?;
            glossary.longest = glossary.longest.max(length);
            let meaning = Meaning { english: english.to_owned(), class };
            glossary.words.entry(chinese.to_lowercase()).or_default().push(meaning);
        }
        Ok(glossary)
    }

    /// Number of Chinese words.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.len()
    }

    /// Whether there are no words at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    pub(super) fn meanings(&self, word: &str) -> &[Meaning] {
        self.words.get(word).map_or(&[], Vec::as_slice)
    }

    pub(super) fn simplify(&self, c: char) -> char {
        self.simplified.get(&c).copied().unwrap_or(c)
    }

    /// Characters of the longest word.
    pub(super) fn longest(&self) -> usize {
        self.longest
    }
}
