//! The parts of a clause and how they are written in English.

use super::english;
use super::glossary::WordClass;

/// A part of a clause.
#[derive(Debug, Clone)]
pub(super) enum Part {
    Noun(NounPhrase),
    /// A number and measure word whose noun has not come yet.
    Pending(Count),
    /// Qualities without a noun.
    Quality(String),
    Place(String),
    Action {
        verb: String,
        object: Option<String>,
    },
    Link(String),
}

/// How many, and of what measure.
#[derive(Debug, Clone, Default)]
pub(super) struct Count {
    pub value: Option<u64>,
    /// Number word, amount or determiner.
    pub word: String,
    pub many: bool,
    pub measure: String,
    /// The measure word is one of pictures (`张`, `幅`).
    pub pictures: bool,
}

/// A noun with what stands around it.
#[derive(Debug, Clone)]
pub(super) struct NounPhrase {
    pub count: Option<Count>,
    /// Qualities and nouns, in order.
    pub words: Vec<String>,
    pub class: WordClass,
    /// What follows the head: relative clauses, "of …".
    pub tail: String,
}

impl NounPhrase {
    /// Its English; with `article`, an uncounted thing gets one.
    pub fn text(&self, article: bool) -> String {
        // "the sky" after a quality: "the blue sky".
        let definite = self.words.iter().skip(1).any(|word| word.starts_with("the "));
        let words = self.words.iter().map(|word| if definite { word.trim_start_matches("the ") } else { word });
        let mut head = join(words);
        let mut front = String::new();
        match &self.count {
            Some(count) => {
                if !count.measure.is_empty() {
                    let measure = if count.many { english::plural_of(&count.measure) } else { count.measure.clone() };
                    if self.class != WordClass::Mass {
                        head = english::plural(&head);
                    }
                    head = format!("{measure} {head}");
                } else if count.many && self.class != WordClass::Mass {
                    head = english::plural(&head);
                }
                front = if count.value == Some(1) && (self.class != WordClass::Mass || !count.measure.is_empty()) {
                    english::article(&head).to_owned()
                } else if count.value == Some(1) {
                    String::new()
                } else {
                    count.word.clone()
                };
            }
            None if article && !matches!(self.class, WordClass::Mass | WordClass::Foreign) => {
                english::article(&head).clone_into(&mut front);
            }
            None if definite => front.push_str("the"),
            None => {}
        }
        join([front.as_str(), &head, &self.tail])
    }
}

/// Joins what is not empty with blanks.
pub(super) fn join<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let filled: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    filled.join(" ")
}

/// Whether an action needs something to act on.
pub(super) fn wants_object(verb: &str) -> bool {
    let last = verb.rsplit(' ').next().unwrap_or(verb);
    matches!(last, "at" | "of" | "with" | "to" | "for" | "toward" | "by" | "against" | "on" | "up" | "into")
        || matches!(
            verb,
            "wearing"
                | "holding"
                | "hugging"
                | "carrying"
                | "leading"
                | "eating"
                | "drinking"
                | "pushing"
                | "pulling"
                | "chasing"
                | "catching"
                | "attacking"
                | "feeding"
                | "petting"
                | "guarding"
                | "riding"
                | "emitting"
                | "kissing"
                | "exploring"
                | "opening"
                | "closing"
                | "containing"
                | "painting"
                | "writing"
                | "driving"
                | "celebrating"
                | "cooking"
        )
}

/// Writes the parts out; a place goes behind the actions that follow it, and behind what is there (`桌子上有猫`).
pub(super) fn finish(mut parts: Vec<Part>) -> String {
    let mut at = 0;
    while at + 1 < parts.len() {
        if let (Part::Place(_), Part::Action { verb, .. }) = (&parts[at], &parts[at + 1]) {
            // `坐在椅子上看书`: the place is where one sits.
            let taken = at > 0 && matches!(parts[at - 1], Part::Action { object: None, .. });
            let there_is = verb == "with" && (at == 0 || !matches!(parts[at - 1], Part::Noun(_)));
            if taken {
                at += 1;
                continue;
            }
            parts.swap(at, at + 1);
            // `用木头做`: "with wood" is the object of "made of".
            if let [.., Part::Action { verb, object: object @ None }, Part::Place(place)] = &mut parts[..at + 2]
                && (verb.ends_with(" of") || verb.ends_with(" with"))
                && let Some(material) = place.strip_prefix("with ")
            {
                *object = Some(material.to_owned());
                parts.remove(at + 1);
                continue;
            }
            if there_is && let Part::Action { object: Some(object), .. } = &parts[at] {
                parts[at] = Part::Quality(object.clone());
            }
        }
        at += 1;
    }
    let pieces: Vec<String> = parts
        .iter()
        .map(|part| match part {
            Part::Noun(noun) => noun.text(false),
            Part::Pending(count) => count.word.clone(),
            Part::Quality(words) | Part::Place(words) | Part::Link(words) => words.clone(),
            Part::Action { verb, object } => join([verb.as_str(), object.as_deref().unwrap_or("")]),
        })
        .collect();
    let text = join(pieces.iter().map(String::as_str));
    // A link at either end joins nothing.
    let text = text.trim_start_matches("and ").trim_end_matches(" and");
    text.to_owned()
}
