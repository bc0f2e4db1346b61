//! Attention weights in the A1111 web UI's notation.
//!
//! `(x)` multiplies by 1.1, `[x]` divides by it, `(x:1.3)` multiplies by the number; brackets nest and multiply, and one that is
//! never closed holds to the end. `\(` is a plain bracket. `BREAK` on its own ends a chunk.

use super::{MAX_DEPTH, PromptError};

const STEP: f64 = 1.1;

/// A stretch of a prompt.
#[derive(Debug, Clone, PartialEq)]
pub enum Segment {
    /// Words with one weight.
    Text {
        /// The words, brackets and escapes resolved.
        text: String,
        /// 1 is plain.
        weight: f64,
    },
    /// The chunk ends here and is filled up.
    Break,
}

/// A prompt with a weight on every word; turned into tokens by [`WeightedPrompt::chunks`].
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedPrompt {
    /// In order; neighbours differ in weight.
    pub segments: Vec<Segment>,
    /// Words are kept together at the end of a chunk as ComfyUI does it rather than moved back to a comma as A1111 does.
    pub(super) whole_groups: bool,
}

impl WeightedPrompt {
    /// Text without any grammar.
    #[must_use]
    pub fn plain(text: &str) -> Self {
        Self { segments: vec![Segment::Text { text: text.to_owned(), weight: 1.0 }], whole_groups: false }
    }

    /// Reads A1111's notation.
    ///
    /// # Errors
    /// [`PromptError::TooDeep`] for more than [`MAX_DEPTH`] open brackets.
    pub fn parse(text: &str) -> Result<Self, PromptError> {
        let mut reader = Reader::default();
        let mut rest = text;
        while !rest.is_empty() {
            let position = text.len() - rest.len();
            let taken = reader.step(rest, position)?;
            rest = &rest[taken..];
        }
        Ok(Self { segments: reader.finish(), whole_groups: false })
    }

    /// The words alone, weights dropped, chunks joined by a blank.
    #[must_use]
    pub fn text(&self) -> String {
        let words = self.segments.iter().map(|segment| match segment {
            Segment::Text { text, .. } => text.as_str(),
            Segment::Break => " ",
        });
        words.collect()
    }

    /// Whether some word has a weight other than 1.
    #[must_use]
    pub fn is_weighted(&self) -> bool {
        self.segments.iter().any(|segment| matches!(segment, Segment::Text { weight, .. } if *weight != 1.0))
    }
}

#[derive(Default)]
struct Reader {
    pieces: Vec<Segment>,
    /// Where each open bracket's contents begin in `pieces`.
    round: Vec<usize>,
    square: Vec<usize>,
}

impl Reader {
    /// Reads one sign or run of plain text; returns its length in bytes.
    fn step(&mut self, rest: &str, position: usize) -> Result<usize, PromptError> {
        let bytes = rest.as_bytes();
        match bytes[0] {
            b'\\' => {
                let escaped = matches!(bytes.get(1), Some(b'(' | b')' | b'[' | b']' | b'\\'));
                let taken = if escaped { 2 } else { 1 };
                self.push(&rest[taken - 1..taken]);
                return Ok(taken);
            }
            b'(' | b'[' => {
                if self.round.len() + self.square.len() >= MAX_DEPTH {
                    return Err(PromptError::TooDeep(position));
                }
                let open = if bytes[0] == b'(' { &mut self.round } else { &mut self.square };
                open.push(self.pieces.len());
            }
            b':' => {
                if let Some((weight, taken)) = closing_weight(rest)
                    && let Some(start) = self.round.pop()
                {
                    self.multiply(start, weight);
                    return Ok(taken);
                }
                self.push(":");
            }
            b')' => match self.round.pop() {
                Some(start) => self.multiply(start, STEP),
                None => self.push(")"),
            },
            b']' => match self.square.pop() {
                Some(start) => self.multiply(start, 1.0 / STEP),
                None => self.push("]"),
            },
            _ => {
                let end = rest.find(['\\', '(', ')', '[', ']', ':']).unwrap_or(rest.len());
                self.push_words(&rest[..end]);
                return Ok(end);
            }
        }
        Ok(1)
    }

    fn push(&mut self, text: &str) {
        self.pieces.push(Segment::Text { text: text.to_owned(), weight: 1.0 });
    }

    fn push_words(&mut self, mut text: &str) {
        while let Some(at) = find_word(text, "BREAK") {
            self.push(text[..at].trim_end());
            self.pieces.push(Segment::Break);
            text = text[at + "BREAK".len()..].trim_start();
        }
        self.push(text);
    }

    fn multiply(&mut self, start: usize, factor: f64) {
        for piece in &mut self.pieces[start..] {
            if let Segment::Text { weight, .. } = piece {
                *weight *= factor;
            }
        }
    }

    fn finish(mut self) -> Vec<Segment> {
        for start in std::mem::take(&mut self.round) {
            self.multiply(start, STEP);
        }
        for start in std::mem::take(&mut self.square) {
            self.multiply(start, 1.0 / STEP);
        }
        merge(self.pieces)
    }
}

/// Joins neighbours of equal weight and drops empty text; a prompt without words is one empty text.
pub(super) fn merge(pieces: Vec<Segment>) -> Vec<Segment> {
    let mut merged: Vec<Segment> = Vec::new();
    for piece in pieces {
        match (merged.last_mut(), piece) {
            (_, Segment::Text { text, .. }) if text.is_empty() => {}
            (Some(Segment::Text { text, weight }), Segment::Text { text: more, weight: same }) if *weight == same => {
                text.push_str(&more);
            }
            (_, piece) => merged.push(piece),
        }
    }
    if merged.is_empty() {
        merged.push(Segment::Text { text: String::new(), weight: 1.0 });
    }
    merged
}

/// `: 1.3 )` at the start of `rest`: the number, and the length up to and with the bracket.
fn closing_weight(rest: &str) -> Option<(f64, usize)> {
    let close = rest.find(')')?;
    let number = rest[1..close].trim();
    let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
    if digits.is_empty() || !digits.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit()) {
        return None;
    }
    let weight: f64 = number.parse().ok()?;
    weight.is_finite().then_some((weight, close + 1))
}

/// The place of `word` in `text` where no letter, digit or underscore touches it.
pub(super) fn find_word(text: &str, word: &str) -> Option<usize> {
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).map(|(at, _)| at).find(|&at| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(in_word) && !after.is_some_and(in_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Vec<(String, f64)> {
        let pairs = WeightedPrompt::parse(text).unwrap().segments.into_iter().map(|segment| match segment {
            Segment::Text { text, weight } => (text, weight),
            Segment::Break => ("BREAK".to_owned(), -1.0),
        });
        pairs.collect()
    }

    fn check(text: &str, expected: &[(&str, f64)]) {
        let expected: Vec<_> = expected.iter().map(|(text, weight)| ((*text).to_owned(), *weight)).collect();
        assert_eq!(parse(text), expected, "{text:?}");
    }

    #[test]
    fn the_published_case() {
        check(
            "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
            &[
                ("a ", 1.0),
                ("house", 1.5730000000000004),
                (" ", 1.1),
                ("on", 1.0),
                (" a ", 1.1),
                ("hill", 0.55),
                (", sun, ", 1.1),
                ("sky", 1.4641000000000006),
                (".", 1.1),
            ],
        );
    }

    #[test]
    fn the_number_must_be_one() {
        check("(a:1.2.3)", &[("a:1.2.3", 1.1)]);
        check("(a: -0.5 )", &[("a", -0.5)]);
        check("a:1.5)", &[("a:1.5)", 1.0)]);
    }

    #[test]
    fn break_ends_a_chunk_inside_brackets_too() {
        check("a BREAK  b", &[("a", 1.0), ("BREAK", -1.0), ("b", 1.0)]);
        check("(a BREAK b:2)", &[("a", 2.0), ("BREAK", -1.0), ("b", 2.0)]);
        check("BREAKFAST at _BREAK_", &[("BREAKFAST at _BREAK_", 1.0)]);
    }

    #[test]
    fn too_many_brackets_are_refused() {
        let text = "(".repeat(MAX_DEPTH + 1);
        assert_eq!(WeightedPrompt::parse(&text), Err(PromptError::TooDeep(MAX_DEPTH)));
    }
}
