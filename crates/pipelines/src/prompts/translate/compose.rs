//! Puts the words of a clause into English order.
//!
//! A clause is read from left to right into parts: noun phrases, places (`在…上`), actions with their objects. `的` joins what
//! stands before it to the noun phrase after it: qualities and owners stay in front, places and actions follow the noun, and all
//! of it follows a kind of picture ("photo of …").

use super::glossary::WordClass;
use super::phrase::{Count, NounPhrase, Part, finish, join, wants_object};
use super::segment::Token;

/// The English of a clause.
pub(super) fn compose(tokens: &[Token]) -> String {
    let known: Vec<&Token> =
        tokens.iter().filter(|token| !matches!(token.class, WordClass::Unknown | WordClass::Silent)).collect();
    // `画一只猫` asks for a picture; it does not show somebody painting.
    let asks = matches!(known.as_slice(), [first, second, ..]
        if matches!(first.chinese.as_str(), "画" | "畫") && second.class == WordClass::Number);
    let mut composer = Composer { tokens: &known[usize::from(asks)..], at: 0, parts: Vec::new() };
    composer.read();
    finish(composer.parts)
}

struct Composer<'a> {
    tokens: &'a [&'a Token],
    at: usize,
    parts: Vec<Part>,
}

impl<'a> Composer<'a> {
    fn class(&self, ahead: usize) -> Option<WordClass> {
        self.tokens.get(self.at + ahead).map(|token| token.class)
    }

    fn take(&mut self) -> &'a str {
        let text = self.tokens.get(self.at).map_or("", |token| token.english.as_str());
        self.at += 1;
        text
    }

    fn read(&mut self) {
        while let Some(class) = self.class(0) {
            match class {
                WordClass::Possessive => self.possessive(),
                WordClass::Relation => self.place(),
                WordClass::Verb => self.action(),
                WordClass::Passive => self.passive(),
                WordClass::Locative => self.bare_locative(),
                WordClass::Conjunction => {
                    let word = self.take().to_owned();
                    self.parts.push(Part::Link(word));
                }
                _ => match self.phrase() {
                    Some(part) => self.after_phrase(part),
                    None => self.at += 1,
                },
            }
        }
    }

    /// A noun phrase, a count without a noun, or qualities without one.
    fn phrase(&mut self) -> Option<Part> {
        let mut count = self.count();
        let mut words: Vec<String> = Vec::new();
        let mut class = None;
        // `五岁的女孩`: an age is a quality.
        if let Some(age) = count.take_if(|count| count.measure == "year old") {
            words.push(format!("{} {}", age.word, age.measure));
            self.at += usize::from(self.class(0) == Some(WordClass::Possessive));
        }
        while let Some(next) = self.class(0) {
            match next {
                WordClass::Adjective if class.is_none() => {
                    words.push(self.take().to_owned());
                    // `红色的猫`: the quality's `的` says nothing, unless nothing follows it.
                    if self.class(0) == Some(WordClass::Possessive)
                        && matches!(self.class(1), Some(next) if next.is_noun() || matches!(next, WordClass::Adjective | WordClass::Degree))
                    {
                        self.at += 1;
                    }
                }
                WordClass::Degree if class.is_none() => words.push(self.take().to_owned()),
                next if next.is_noun() => {
                    words.push(self.take().to_owned());
                    class = Some(next);
                }
                // A number directly before a noun that already stands: `三月`, `第2章` and the like; leave it to the next phrase.
                _ => break,
            }
        }
        match (class, count) {
            (Some(class), count) => Some(Part::Noun(NounPhrase { count, words, class, tail: String::new() })),
            (None, Some(count)) if words.is_empty() => Some(Part::Pending(count)),
            (None, Some(count)) => {
                self.parts.push(Part::Pending(count));
                Some(Part::Quality(words.join(" ")))
            }
            (None, None) if words.is_empty() => None,
            (None, None) => Some(Part::Quality(words.join(" "))),
        }
    }

    fn count(&mut self) -> Option<Count> {
        let token = *self.tokens.get(self.at)?;
        let mut count = match token.class {
            WordClass::Number => Count {
                value: token.value,
                word: token.english.clone(),
                many: token.value != Some(1),
                ..Count::default()
            },
            WordClass::Amount => Count { word: token.english.clone(), many: true, ..Count::default() },
            WordClass::Determiner => Count { word: token.english.clone(), ..Count::default() },
            _ => return None,
        };
        self.at += 1;
        if let Some(measure) = self.tokens.get(self.at).filter(|token| token.class == WordClass::Measure) {
            count.measure.clone_from(&measure.english);
            count.pictures = matches!(measure.chinese.as_str(), "张" | "張" | "幅" | "副" | "帧" | "幀");
            self.at += 1;
        }
        Some(count)
    }

    /// A noun phrase may be the place of what follows (`桌子上`), belong to a picture, or follow "and".
    fn after_phrase(&mut self, part: Part) {
        match part {
            Part::Noun(noun) => {
                let skip = usize::from(self.class(0) == Some(WordClass::Possessive));
                if self.class(skip) == Some(WordClass::Locative) {
                    self.at += skip;
                    let preposition = self.take();
                    let text = join([preposition, &noun.text(true)]);
                    self.parts.push(Part::Place(text));
                } else {
                    self.push_noun(noun);
                }
            }
            other => self.parts.push(other),
        }
    }

    fn push_noun(&mut self, mut noun: NounPhrase) {
        if noun.count.is_none()
            && let Some(Part::Pending(_)) = self.parts.last()
            && let Some(Part::Pending(count)) = self.parts.pop()
        {
            noun.count = Some(count);
        }
        self.parts.push(Part::Noun(noun));
    }

    /// Noun phrases joined by "and", as the object of a verb or the noun of a place.
    fn objects(&mut self) -> Option<String> {
        let mut text = String::new();
        loop {
            let before = self.at;
            let Some(Part::Noun(mut noun)) = self.phrase_without_side_effects() else {
                self.at = before;
                break;
            };
            while let Some(inner) = self.owned_place() {
                noun = NounPhrase { words: vec![noun.text(false), inner.words.join(" ")], ..inner };
            }
            text = join([text.as_str(), &noun.text(true)]);
            if self.class(0) != Some(WordClass::Conjunction) {
                return Some(text);
            }
            let conjunction = self.at;
            let link = self.take();
            if !matches!(self.class(0), Some(next) if next.is_noun() || matches!(next, WordClass::Number | WordClass::Amount | WordClass::Adjective | WordClass::Determiner))
            {
                self.at = conjunction;
                break;
            }
            text = join([text.as_str(), link]);
        }
        (!text.is_empty()).then_some(text)
    }

    /// `的街道上` after a noun: the noun belongs to the place and is not what the place belongs to.
    fn owned_place(&mut self) -> Option<NounPhrase> {
        let before = self.at;
        if self.class(0) == Some(WordClass::Possessive) {
            self.at += 1;
            if let Some(Part::Noun(noun)) = self.phrase_without_side_effects()
                && matches!(self.class(0), Some(WordClass::Locative | WordClass::Possessive))
                && (self.class(0) == Some(WordClass::Locative) || self.class(1) == Some(WordClass::Locative))
            {
                return Some(noun);
            }
        }
        self.at = before;
        None
    }

    fn phrase_without_side_effects(&mut self) -> Option<Part> {
        let parts = self.parts.len();
        let phrase = self.phrase();
        self.parts.truncate(parts);
        phrase
    }

    fn place(&mut self) {
        let preposition = self.take();
        match self.class(0) {
            // `在跑步`: the verb's progressive form.
            Some(WordClass::Verb) | None => return,
            Some(WordClass::Locative) => return self.bare_locative(),
            _ => {}
        }
        let start = self.at;
        let Some(object) = self.objects() else {
            self.at = start;
            return;
        };
        let skip = usize::from(self.class(0) == Some(WordClass::Possessive));
        let has_preposition =
            ["in ", "on ", "under", "indoors", "outdoors"].iter().any(|start| object.starts_with(start));
        let text = if has_preposition {
            object
        } else if self.class(skip) == Some(WordClass::Locative) {
            self.at += skip;
            let locative = self.take();
            let preposition = if preposition == "in" { "" } else { preposition };
            join([preposition, locative, &object])
        } else {
            join([preposition, &object])
        };
        self.parts.push(Part::Place(text));
    }

    /// `左边` without a noun: "on the left".
    fn bare_locative(&mut self) {
        let place = match self.take() {
            "to the left of" => "on the left",
            "to the right of" => "on the right",
            "in front of" => "in the foreground",
            "behind" => "in the back",
            "between" => "in the middle",
            "in" => "inside",
            "beside" => "at the side",
            "under" => "below",
            "on" => "above",
            "outside" => "outside",
            other => other,
        };
        self.parts.push(Part::Place(place.to_owned()));
    }

    fn action(&mut self) {
        let verb = self.take().to_owned();
        let start = self.at;
        let object = self.objects();
        // `桌子上`: the noun is a place, not what is acted on.
        let object = if object.is_some() && self.class(0) == Some(WordClass::Locative) {
            self.at = start;
            None
        } else {
            object
        };
        self.parts.push(Part::Action { verb, object });
    }

    /// `被雪覆盖`: "covered with snow".
    fn passive(&mut self) {
        self.at += 1;
        let object = self.objects();
        if self.class(0) == Some(WordClass::Verb) {
            let verb = self.take().to_owned();
            self.parts.push(Part::Action { verb, object });
        } else if let Some(object) = object {
            self.parts.push(Part::Place(format!("by {object}")));
        }
    }

    fn possessive(&mut self) {
        self.at += 1;
        let before = self.at;
        let Some(Part::Noun(mut head)) = self.phrase_without_side_effects() else {
            self.at = before;
            return;
        };
        if head.class == WordClass::Image {
            return self.picture_of(head);
        }
        match self.parts.pop() {
            Some(Part::Noun(owner)) => {
                let owner_text = if owner.class == WordClass::Being && owner.tail.is_empty() {
                    format!("{}'s", NounPhrase { count: None, ..owner.clone() }.text(false))
                } else {
                    NounPhrase { count: None, ..owner.clone() }.text(false)
                };
                head.words.insert(0, owner_text);
                head.count = head.count.or(owner.count);
                self.push_noun(head);
            }
            Some(part @ (Part::Place(_) | Part::Action { .. })) => {
                self.parts.push(part);
                self.relative(head);
            }
            Some(Part::Quality(quality)) => {
                head.words.insert(0, quality);
                self.push_noun(head);
            }
            other => {
                self.parts.extend(other);
                self.push_noun(head);
            }
        }
    }

    /// Everything so far is what the picture shows.
    fn picture_of(&mut self, mut picture: NounPhrase) {
        let mut shown = std::mem::take(&mut self.parts);
        if picture.count.is_none() {
            match shown.first_mut() {
                Some(Part::Pending(_)) => {
                    if let Part::Pending(count) = shown.remove(0) {
                        picture.count = Some(count);
                    }
                }
                Some(Part::Noun(first)) if first.count.as_ref().is_some_and(|count| count.pictures) => {
                    picture.count = first.count.take();
                }
                _ => {}
            }
        }
        let shown = match shown.as_slice() {
            [Part::Noun(only)] => only.text(true),
            _ => finish(shown),
        };
        if !shown.is_empty() {
            picture.tail = format!("of {shown}");
        }
        self.parts.push(Part::Noun(picture));
    }

    /// Actions and places before `的` follow the noun. An action that wants an object and has none governs what comes after it
    /// and ends the clause: in `女孩抱着穿裙子的猫` the cat is held.
    fn relative(&mut self, mut head: NounPhrase) {
        let mut clause: Vec<Part> = Vec::new();
        while let Some(part) = self.parts.last() {
            match part {
                Part::Action { verb, object: None }
                    if !clause.is_empty() && self.parts.len() > 1 && wants_object(verb) =>
                {
                    break;
                }
                Part::Place(_) | Part::Action { .. } => clause.extend(self.parts.pop()),
                // `漂浮在云上的城堡`: a quality that is in a place.
                Part::Quality(_) if !clause.is_empty() => clause.extend(self.parts.pop()),
                // `木头做的房子`: what it is made of stands in front.
                Part::Noun(noun) => match clause.last_mut() {
                    Some(Part::Action { verb, object: object @ None })
                        if verb.ends_with(" of") || verb.ends_with(" with") =>
                    {
                        *object = Some(noun.text(true));
                        self.parts.pop();
                    }
                    _ => break,
                },
                _ => break,
            }
        }
        clause.reverse();
        head.tail = finish(clause);
        if let Some(Part::Pending(_)) = self.parts.last()
            && head.count.is_none()
            && let Some(Part::Pending(count)) = self.parts.pop()
        {
            head.count = Some(count);
        }
        match self.parts.last_mut() {
            Some(Part::Action { object: object @ None, .. }) => *object = Some(head.text(true)),
            _ => self.push_noun(head),
        }
    }
}
