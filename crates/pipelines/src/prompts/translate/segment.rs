//! Cuts a clause into words: fewest unknown characters, then fewest words, then the longest words.

use super::glossary::{Glossary, WordClass};
use super::{english, is_han, narrow};

/// Characters of the longest number that is read as one.
const LONGEST_NUMBER: usize = 12;

/// A word of a clause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub chinese: String,
    pub english: String,
    pub class: WordClass,
    /// Of a number.
    pub value: Option<u64>,
}

/// Unknown characters, words, and less the squares of the words' lengths: smaller is better.
type Cost = (u32, u32, i64);

#[derive(Clone, Copy)]
enum Step {
    Word,
    Number,
    Foreign,
    Unknown,
}

pub(super) fn segment(clause: &str, glossary: &Glossary) -> Vec<Token> {
    let original: Vec<char> = clause.chars().collect();
    let simple: Vec<char> = original.iter().map(|&c| narrow(glossary.simplify(c)).to_ascii_lowercase()).collect();
    // best[i]: the cheapest way to read the first i characters, and the last step of it.
    let mut best: Vec<(Cost, usize, Step)> = vec![((u32::MAX, 0, 0), 0, Step::Unknown); simple.len() + 1];
    best[0].0 = (0, 0, 0);
    let mut word = String::new();
    for start in 0..simple.len() {
        let (unknown, words, squares) = best[start].0;
        let mut offer = |end: usize, step: Step, cost: u32| {
            let length = (end - start) as i64;
            let offered = (unknown + cost, words + 1, squares - length * length);
            // On a tie the shorter last word wins: `草地|上`, not `草|地上`.
            if offered <= best[end].0 {
                best[end] = (offered, start, step);
            }
        };
        word.clear();
        for end in start + 1..=simple.len().min(start + glossary.longest()) {
            word.push(simple[end - 1]);
            // A word does not end inside a run of letters or digits (`3d` in `3ds`).
            if !glossary.meanings(&word).is_empty() && is_boundary(&simple, end) {
                offer(end, Step::Word, 0);
            }
        }
        let numerals = simple[start..].iter().take_while(|c| english::is_numeral(**c)).take(LONGEST_NUMBER).count();
        for end in start + 1..=start + numerals {
            if is_boundary(&simple, end) && english::number(&simple[start..end]).is_some() {
                offer(end, Step::Number, 0);
            }
        }
        if is_han(simple[start]) {
            offer(start + 1, Step::Unknown, 1);
        } else {
            let end = start + simple[start..].iter().take_while(|c| !is_han(**c)).count();
            if english::number(&simple[start..end]).is_none() {
                offer(end, Step::Foreign, 0);
            }
        }
    }
    let mut steps = Vec::new();
    let mut end = simple.len();
    while end > 0 {
        let (_, start, step) = best[end];
        steps.push((start, end, step));
        end = start;
    }
    steps.reverse();
    tokens(&steps, &original, &simple, glossary)
}

/// Whether a word may end before character `at`: not between two letters or digits.
fn is_boundary(simple: &[char], at: usize) -> bool {
    let latin = |at: usize| simple.get(at).is_some_and(char::is_ascii_alphanumeric);
    !(latin(at - 1) && latin(at))
}

fn tokens(steps: &[(usize, usize, Step)], original: &[char], simple: &[char], glossary: &Glossary) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    for &(start, end, step) in steps {
        let chinese: String = original[start..end].iter().collect();
        let plain: String = simple[start..end].iter().collect();
        let previous = tokens.last();
        let counted = previous
            .is_some_and(|token| matches!(token.class, WordClass::Number | WordClass::Amount | WordClass::Determiner));
        let token = match step {
            Step::Number => {
                let value = english::number(&simple[start..end]);
                let english = value.map(english::number_word).unwrap_or_default();
                Token { chinese, english, class: WordClass::Number, value }
            }
            Step::Foreign => {
                let english = original[start..end].iter().copied().map(narrow).collect();
                Token { chinese, english, class: WordClass::Foreign, value: None }
            }
            Step::Unknown => {
                if let Some(last) = tokens.last_mut().filter(|token| token.class == WordClass::Unknown) {
                    last.chinese.push_str(&chinese);
                    continue;
                }
                Token { chinese, english: String::new(), class: WordClass::Unknown, value: None }
            }
            Step::Word if plain == "的" => structural(chinese, WordClass::Possessive),
            Step::Word if plain == "被" => structural(chinese, WordClass::Passive),
            Step::Word => {
                let meanings = glossary.meanings(&plain);
                // After a number a measure word is one; elsewhere its other meaning is meant.
                let wanted = meanings.iter().find(|meaning| (meaning.class == WordClass::Measure) == counted);
                match wanted.or(meanings.first()) {
                    Some(meaning) => {
                        Token { chinese, english: meaning.english.clone(), class: meaning.class, value: None }
                    }
                    None => continue,
                }
            }
        };
        tokens.push(token);
    }
    tokens
}

fn structural(chinese: String, class: WordClass) -> Token {
    Token { chinese, english: String::new(), class, value: None }
}
