//! The words the starter knows. Shipped beside the weights as `starter/words.json`, so that the program can say which words of a prompt
//! mean nothing to the model, and offer near ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::DataError;
use super::background::BACKGROUNDS;
use super::caption::plural;
use super::colour::OBJECT_COLOURS;
use super::concept::Concept;

/// Words of the captions' grammar, and polite words that a prompt may have and that change nothing.
const GRAMMAR_EN: &[&str] = &[
    "a",
    "an",
    "the",
    "of",
    "on",
    "in",
    "at",
    "to",
    "and",
    "with",
    "next",
    "left",
    "right",
    "above",
    "over",
    "top",
    "below",
    "under",
    "beneath",
    "background",
    "picture",
    "drawing",
    "draw",
    "icon",
    "big",
    "large",
    "small",
    "little",
    "one",
    "two",
    "three",
    "four",
    "some",
    "please",
    "me",
    "image",
    "photo",
    "emoji",
    "colour",
    "color",
    "colored",
    "coloured",
    "pair",
    "x1",
    "x2",
    "x3",
    "x4",
    "1",
    "2",
    "3",
    "4",
];
const GRAMMAR_ZH: &[&str] = &[
    "画",
    "的",
    "图片",
    "图",
    "一",
    "二",
    "两",
    "三",
    "四",
    "大",
    "小",
    "在",
    "是",
    "有",
    "和",
    "与",
    "跟",
    "左边",
    "右边",
    "上面",
    "下面",
    "左",
    "右",
    "上",
    "下",
    "边",
    "背景",
    "背景上",
    "请",
    "一个",
    "帮我",
    "给我",
    "我",
    "颜色",
    "色",
    "里",
    "中",
    "图标",
    "个",
];

/// One thing's names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownThing {
    /// Stable id.
    pub id: String,
    /// English names, plurals included; the usual one first.
    pub en: Vec<String>,
    /// Chinese names, the usual one first.
    pub zh: Vec<String>,
    /// Chinese measure word.
    pub measure: String,
}

/// A colour's or a background's names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownName {
    /// English.
    pub en: String,
    /// Chinese forms.
    pub zh: Vec<String>,
}

/// Everything the starter can be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownWords {
    /// Things.
    pub things: Vec<KnownThing>,
    /// Colours of things.
    pub colours: Vec<KnownName>,
    /// Backgrounds.
    pub backgrounds: Vec<KnownName>,
    /// Words of the grammar, English.
    pub grammar_en: Vec<String>,
    /// Words of the grammar, Chinese.
    pub grammar_zh: Vec<String>,
    /// Words that the model does not know → ids of the things they may mean ("kitten", 🐱, 宠物).
    pub related: BTreeMap<String, Vec<String>>,
}

/// A part of a prompt that the model does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownWord {
    /// As the prompt has it, lower-case.
    pub word: String,
    /// Near names that it knows, best first, in the word's language; at most three.
    pub suggestions: Vec<String>,
}

#[derive(Deserialize)]
struct CldrFile {
    annotations: CldrOuter,
}

#[derive(Deserialize)]
struct CldrOuter {
    annotations: BTreeMap<String, CldrEntry>,
}

#[derive(Deserialize)]
struct CldrEntry {
    #[serde(default)]
    default: Vec<String>,
    #[serde(default)]
    tts: Vec<String>,
}

/// The words of a list of concepts (without CLDR's related words).
pub fn known_words(concepts: &[Concept]) -> KnownWords {
    let owned = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    let things = concepts.iter().map(|concept| {
        let mut en = vec![concept.en.clone(), concept.en_plural.clone()];
        for synonym in &concept.en_synonyms {
            en.extend([synonym.clone(), plural(synonym)]);
        }
        let mut seen = BTreeSet::new();
        en.retain(|name| seen.insert(name.clone()));
        KnownThing { id: concept.id.clone(), en, zh: concept.zh.clone(), measure: concept.measure_word.clone() }
    });
    let mut related = BTreeMap::new();
    for concept in concepts {
        if let Some(character) = concept.emoji.as_deref().and_then(character) {
            related.insert(character.to_string(), vec![concept.id.clone()]);
        }
    }
    KnownWords {
        things: things.collect(),
        colours: OBJECT_COLOURS
            .iter()
            .map(|c| KnownName { en: c.en.to_owned(), zh: owned(&[c.zh, c.zh_short]) })
            .collect(),
        backgrounds: BACKGROUNDS
            .iter()
            .map(|b| KnownName {
                en: b.en.to_owned(),
                zh: owned(&b.place.map_or(vec![b.zh], |[_, phrase]| vec![phrase, b.zh])),
            })
            .collect(),
        grammar_en: owned(GRAMMAR_EN),
        grammar_zh: owned(GRAMMAR_ZH),
        related,
    }
}

fn character(code: &str) -> Option<char> {
    u32::from_str_radix(code, 16).ok().and_then(char::from_u32)
}

impl KnownWords {
    /// Adds the keywords of Unicode CLDR (npm package `cldr-annotations-full` below `folder`) as related words: those that point to at
    /// most three things and are no names already.
    ///
    /// # Errors
    /// The package is not there or cannot be read.
    pub fn add_cldr(&mut self, folder: &Path, concepts: &[Concept]) -> Result<(), DataError> {
        let known = self.vocabulary();
        let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for language in ["en", "zh"] {
            let place = format!("cldr-annotations-full/annotations/{language}/annotations.json");
            let inside = folder.join("node_modules").join(&place);
            let path = if inside.is_file() { inside } else { folder.join(place) };
            let bytes = fs::read(&path).map_err(|error| DataError::Read { path: path.clone(), error })?;
            let file: CldrFile = serde_json::from_slice(&bytes)
                .map_err(|error| DataError::Annotations { path: path.clone(), why: error.to_string() })?;
            for concept in concepts {
                let entry = concept
                    .emoji
                    .as_deref()
                    .and_then(character)
                    .and_then(|c| file.annotations.annotations.get(&c.to_string()));
                for word in entry.into_iter().flat_map(|e| e.default.iter().chain(&e.tts)) {
                    let word = word.to_lowercase();
                    if word.chars().count() > 1 && !known.contains(word.as_str()) {
                        found.entry(word).or_default().insert(concept.id.clone());
                    }
                }
            }
        }
        found.retain(|_, ids| ids.len() <= 3);
        for (word, ids) in found {
            self.related.entry(word).or_insert_with(|| ids.into_iter().collect());
        }
        Ok(())
    }

    /// As JSON text.
    ///
    /// # Errors
    /// Never in practice: all keys are texts.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// From JSON text.
    ///
    /// # Errors
    /// The text has another form.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Every word and name that a prompt may have.
    fn vocabulary(&self) -> BTreeSet<String> {
        let names = self.colours.iter().chain(&self.backgrounds);
        let things = self.things.iter().flat_map(|t| t.en.iter().chain(&t.zh).chain(std::iter::once(&t.measure)));
        names
            .flat_map(|n| std::iter::once(&n.en).chain(&n.zh))
            .chain(things)
            .chain(self.grammar_en.iter().chain(&self.grammar_zh))
            .cloned()
            .collect()
    }

    /// The parts of a prompt that the model does not know, in order, each once.
    pub fn unknown(&self, prompt: &str) -> Vec<UnknownWord> {
        let known = self.vocabulary();
        let longest = known.iter().map(|w| w.chars().count()).max().unwrap_or(1);
        let mut found: Vec<UnknownWord> = Vec::new();
        let mut add = |word: &str| {
            if !word.is_empty() && !found.iter().any(|u| u.word == word) {
                found.push(UnknownWord { word: word.to_owned(), suggestions: self.suggest(word) });
            }
        };
        for run in runs(&prompt.to_lowercase()) {
            match run {
                Run::Latin(words) => {
                    let mut rest = words.as_slice();
                    while let Some(first) = rest.first() {
                        // The longest name of up to four words that begins here.
                        let taken = (1..=rest.len().min(4)).rev().find(|&n| known.contains(&rest[..n].join(" ")));
                        if taken.is_none() {
                            add(first);
                        }
                        rest = &rest[taken.unwrap_or(1)..];
                    }
                }
                Run::Wide(characters) => {
                    let mut stray = String::new();
                    let mut rest = characters.as_slice();
                    while let Some(first) = rest.first() {
                        let taken = (1..=rest.len().min(longest))
                            .rev()
                            .find(|&n| known.contains(&rest[..n].iter().collect::<String>()));
                        if taken.is_some() {
                            add(&std::mem::take(&mut stray));
                        } else {
                            stray.push(*first);
                        }
                        rest = &rest[taken.unwrap_or(1)..];
                    }
                    add(&stray);
                }
            }
        }
        found
    }

    /// Up to three known names near a word: related words first, then names that share letters.
    fn suggest(&self, word: &str) -> Vec<String> {
        let wide = word.chars().any(is_wide);
        let name = |id: &String| {
            let thing = self.things.iter().find(|t| t.id == *id)?;
            if wide { thing.zh.first() } else { thing.en.first() }.cloned()
        };
        if let Some(ids) = self.related.get(word) {
            return ids.iter().filter_map(name).take(3).collect();
        }
        let letters: Vec<char> = word.chars().collect();
        let colours = self.colours.iter().map(|c| if wide { c.zh[0].as_str() } else { c.en.as_str() });
        // Plurals stand behind their singular and are not offered.
        let singular = |thing: &&KnownThing, name: &&String| !thing.en.iter().any(|other| plural(other) == **name);
        let names = self.things.iter().flat_map(|thing| {
            let names = if wide { &thing.zh } else { &thing.en };
            names.iter().filter(move |name| singular(&thing, name)).map(String::as_str)
        });
        let mut near: Vec<(usize, &str)> = names
            .chain(colours)
            .filter_map(|candidate| {
                let other: Vec<char> = candidate.chars().collect();
                let far = if wide {
                    let shared = letters.iter().filter(|c| other.contains(c)).count();
                    if shared == 0 { return None } else { other.len() + letters.len() - 2 * shared }
                } else {
                    edits(&letters, &other)
                };
                let limit = if wide { 4 } else { letters.len() / 3 };
                (far <= limit).then_some((far, candidate))
            })
            .collect();
        near.sort();
        near.into_iter().map(|(_, name)| name.to_owned()).take(3).collect()
    }
}

enum Run {
    Latin(Vec<String>),
    Wide(Vec<char>),
}

fn is_wide(c: char) -> bool {
    // Han with extensions, compatibility forms, and anything beyond the basic plane (emoji).
    matches!(c, '\u{2e80}'..='\u{2fdf}' | '\u{3040}'..='\u{9fff}' | '\u{f900}'..='\u{faff}') || c >= '\u{10000}'
}

/// Divides a prompt into runs of Latin words and of wide characters; punctuation ends a run.
fn runs(prompt: &str) -> Vec<Run> {
    let mut out: Vec<Run> = Vec::new();
    let mut ended = true;
    for c in prompt.chars() {
        if is_wide(c) {
            match out.last_mut() {
                Some(Run::Wide(characters)) if !ended => characters.push(c),
                _ => out.push(Run::Wide(vec![c])),
            }
            ended = false;
        } else if c.is_alphanumeric() || matches!(c, '-' | '\'') {
            match out.last_mut() {
                Some(Run::Latin(words)) if !ended => {
                    if let Some(word) = words.last_mut() {
                        word.push(c);
                    }
                }
                Some(Run::Latin(words)) => words.push(c.to_string()),
                _ => out.push(Run::Latin(vec![c.to_string()])),
            }
            ended = false;
        } else {
            ended = true;
        }
    }
    out
}

/// Optimal string alignment distance: insertions, deletions, changes, and swaps of neighbours.
fn edits(x: &[char], y: &[char]) -> usize {
    let mut before = vec![0; y.len() + 1];
    let mut row: Vec<usize> = (0..=y.len()).collect();
    for i in 0..x.len() {
        let mut next = vec![i + 1; y.len() + 1];
        for j in 0..y.len() {
            next[j + 1] = (row[j] + usize::from(x[i] != y[j])).min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && x[i] == y[j - 1] && x[i - 1] == y[j] {
                next[j + 1] = next[j + 1].min(before[j - 1] + 1);
            }
        }
        before = std::mem::replace(&mut row, next);
    }
    row[y.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::concept::concepts;

    fn words() -> KnownWords {
        known_words(&concepts().expect("list"))
    }

    #[test]
    fn ordinary_prompts_are_known() {
        for prompt in [
            "两只红色的猫",
            "a red cat",
            "Two red cats",
            "red cat and blue dog",
            "猫",
            "cat on a green background",
            "左边是一只狗\u{ff0c}右边是一棵棕榈树",
            "a bus to the left of three french fries, white background",
            "画三个红苹果\u{ff0c}蓝色背景",
            "4 puppies",
            "夜晚有一只小青蛙",
        ] {
            assert_eq!(words().unknown(prompt), [], "{prompt}");
        }
    }

    #[test]
    fn unknown_words_are_named_with_near_ones() {
        let found = words().unknown("a purple castel beside two zorgs");
        let named: Vec<&str> = found.iter().map(|u| u.word.as_str()).collect();
        assert_eq!(named, ["castel", "beside", "zorgs"]);
        assert_eq!(found[0].suggestions, ["castle"]);
        let found = words().unknown("一只红色的霸王龙在月亮上面");
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].word, "霸王龙");
        assert_eq!(words().unknown("🐱")[0].suggestions, ["猫"]);
        let mut more = words();
        more.related.insert("moggy".to_owned(), vec!["cat".to_owned()]);
        assert_eq!(more.unknown("moggy")[0].suggestions, ["cat"]);
    }

    #[test]
    fn the_shipped_list_is_that_of_the_concepts() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../starter/words.json");
        let shipped = KnownWords::from_json(&fs::read_to_string(path).expect("starter/words.json")).expect("parses");
        let now = words();
        assert!(shipped.things == now.things, "write it anew with the example starter_words");
        assert_eq!((&shipped.colours, &shipped.backgrounds), (&now.colours, &now.backgrounds));
        assert_eq!((&shipped.grammar_en, &shipped.grammar_zh), (&now.grammar_en, &now.grammar_zh));
    }

    #[test]
    fn json_round_trip_and_hostile_prompts() {
        let words = words();
        let again = KnownWords::from_json(&words.to_json().expect("json")).expect("parses");
        assert_eq!(again, words);
        assert!(KnownWords::from_json("{}").is_err());
        for prompt in ["", "   ", "\u{0}\u{ff0c}---''", "🇨🇳👨‍👩‍👧", &"猫x".repeat(300)] {
            words.unknown(prompt);
        }
    }
}
