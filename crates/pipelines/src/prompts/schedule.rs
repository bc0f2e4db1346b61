//! Prompts that change while sampling, in the A1111 web UI's notation.
//!
//! `[from:to:when]`, `[to:when]` and `[from::when]` change at a step (`12`) or after a share of all steps (`0.5`, any number with
//! a point); `[a|b|c]` takes turns, one step each. They nest, also inside attention brackets. A bracket that is none of these, or
//! is not closed, is left in the text for the attention parser, and so are the brackets around it: this is how the web UI's
//! grammar reads them. One difference: a bare `|` is text here, where the web UI gives up on the whole prompt.

use super::{MAX_DEPTH, PromptError};

/// The sampling pass that a schedule is read for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass {
    pub steps: usize,
    /// Steps of the pass before, in a second pass.
    pub before: Option<usize>,
}

#[derive(Debug)]
enum Node<'a> {
    Text(&'a str),
    /// `before` up to and with step `last` (counted from 1), then `after`.
    Change {
        before: Vec<Node<'a>>,
        after: Vec<Node<'a>>,
        last: usize,
    },
    Turns(Vec<Vec<Node<'a>>>),
}

/// A prompt read once, to be written out for any step.
#[derive(Debug)]
pub(super) struct Schedule<'a> {
    nodes: Vec<Node<'a>>,
    /// The last step (counted from 1) of each stretch in which the text stays the same, ascending; ends with the last step.
    pub ends: Vec<usize>,
}

impl<'a> Schedule<'a> {
    pub(super) fn parse(text: &'a str, pass: Pass) -> Result<Self, PromptError> {
        let mut reader = Reader { pass, root: Vec::new(), open: Vec::new(), ends: vec![pass.steps] };
        let mut at = 0;
        while at < text.len() {
            let length = token_length(&text[at..]);
            reader.token(&text[at..at + length], at)?;
            at += length;
        }
        reader.give_up();
        let mut ends = reader.ends;
        ends.sort_unstable();
        ends.dedup();
        Ok(Self { nodes: reader.root, ends })
    }

    /// The text at a step counted from 1.
    pub(super) fn at(&self, step: usize) -> String {
        let mut text = String::new();
        // The nodes still to be written, innermost list last; nesting is bounded by the parser.
        let mut lists = vec![self.nodes.iter()];
        while let Some(list) = lists.last_mut() {
            match list.next() {
                None => {
                    lists.pop();
                }
                Some(Node::Text(part)) => text.push_str(part),
                Some(Node::Change { before, after, last }) => {
                    lists.push(if step <= *last { before.iter() } else { after.iter() });
                }
                Some(Node::Turns(options)) => lists.push(options[(step - 1) % options.len()].iter()),
            }
        }
        text
    }
}

/// A sign of the grammar, or a run of text with its escapes.
fn token_length(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    if is_sign(bytes[0]) {
        return 1;
    }
    let mut length = 0;
    while length < bytes.len() && !is_sign(bytes[length]) {
        length += if bytes[length] == b'\\' && length + 1 < bytes.len() { 2 } else { 1 };
    }
    // An escaped character of several bytes is passed over whole.
    while !rest.is_char_boundary(length) {
        length += 1;
    }
    length
}

fn is_sign(byte: u8) -> bool {
    matches!(byte, b'[' | b']' | b'(' | b')' | b':' | b'|')
}

/// A bracket that is open: its text so far in sections, with the signs between them.
struct Bracket<'a> {
    open: &'a str,
    sections: Vec<Vec<Node<'a>>>,
    separators: Vec<&'a str>,
}

impl<'a> Bracket<'a> {
    fn separated_by(&self, sign: &str) -> usize {
        self.separators.iter().filter(|separator| **separator == sign).count()
    }

    /// The contents as text again, with the opening bracket.
    fn flatten(self, into: &mut Vec<Node<'a>>) {
        into.push(Node::Text(self.open));
        let mut separators = self.separators.into_iter();
        for section in self.sections {
            into.extend(section);
            into.extend(separators.next().map(Node::Text));
        }
    }
}

struct Reader<'a> {
    pass: Pass,
    root: Vec<Node<'a>>,
    open: Vec<Bracket<'a>>,
    ends: Vec<usize>,
}

impl<'a> Reader<'a> {
    fn token(&mut self, token: &'a str, position: usize) -> Result<(), PromptError> {
        match token {
            "[" | "(" => {
                if self.open.len() >= MAX_DEPTH {
                    return Err(PromptError::TooDeep(position));
                }
                self.open.push(Bracket { open: token, sections: vec![Vec::new()], separators: Vec::new() });
            }
            "]" => self.close_square(token),
            ")" => self.close_round(token),
            // A bar divides only square brackets.
            ":" | "|" => match self.open.last_mut().filter(|bracket| token == ":" || bracket.open == "[") {
                Some(bracket) => {
                    bracket.separators.push(token);
                    bracket.sections.push(Vec::new());
                }
                None => self.push(Node::Text(token)),
            },
            text => self.push(Node::Text(text)),
        }
        Ok(())
    }

    fn push(&mut self, node: Node<'a>) {
        let section = self.open.last_mut().and_then(|bracket| bracket.sections.last_mut());
        section.unwrap_or(&mut self.root).push(node);
    }

    /// No open bracket can be closed any more: all of them are text.
    fn give_up(&mut self) {
        for bracket in std::mem::take(&mut self.open) {
            bracket.flatten(&mut self.root);
        }
    }

    fn keep_as_text(&mut self, bracket: Bracket<'a>, close: &'a str) {
        let section = self.open.last_mut().and_then(|outer| outer.sections.last_mut());
        let into = section.unwrap_or(&mut self.root);
        bracket.flatten(into);
        into.push(Node::Text(close));
    }

    fn close_round(&mut self, close: &'a str) {
        match self.open.pop() {
            Some(bracket) if bracket.open == "(" && bracket.separators.len() <= 1 => self.keep_as_text(bracket, close),
            other => self.unmatched(other, close),
        }
    }

    fn unmatched(&mut self, bracket: Option<Bracket<'a>>, close: &'a str) {
        self.open.extend(bracket);
        self.give_up();
        self.root.push(Node::Text(close));
    }

    fn close_square(&mut self, close: &'a str) {
        let Some(mut bracket) = self.open.pop() else { return self.unmatched(None, close) };
        let (colons, bars) = (bracket.separated_by(":"), bracket.separated_by("|"));
        if bracket.open != "[" {
            return self.unmatched(Some(bracket), close);
        }
        match (colons, bars) {
            (0, 0) => self.keep_as_text(bracket, close),
            (0, _) => {
                self.ends.extend(1..=self.pass.steps);
                self.push(Node::Turns(bracket.sections));
            }
            (1 | 2, 0) => match bracket.sections.last().and_then(|section| self.when(section)) {
                Some(last) => {
                    bracket.sections.pop();
                    let after = bracket.sections.pop().unwrap_or_default();
                    let before = bracket.sections.pop().unwrap_or_default();
                    if last >= 1 {
                        self.ends.push(last);
                    }
                    self.push(Node::Change { before, after, last });
                }
                None => self.unmatched(Some(bracket), close),
            },
            _ => self.unmatched(Some(bracket), close),
        }
    }

    /// The last step before the change, when `section` is nothing but a number.
    fn when(&self, section: &[Node<'a>]) -> Option<usize> {
        let [Node::Text(text)] = section else { return None };
        let text = text.trim();
        let number = parse_number(text)?;
        let steps = match (text.contains('.'), self.pass.before) {
            (true, None) => number * self.pass.steps as f64,
            (true, Some(_)) => (number - 1.0) * self.pass.steps as f64,
            (false, before) => number - before.unwrap_or(0) as f64,
        };
        // The cast truncates and turns what is below 0 into 0.
        Some((steps as usize).min(self.pass.steps))
    }
}

/// A finite decimal number with an optional sign and exponent; no `inf`, no `nan`.
pub(super) fn parse_number(text: &str) -> Option<f64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'));
    let number: f64 = if plain { text.parse().ok()? } else { return None };
    number.is_finite().then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_pass(text: &str, pass: Pass, expected: &[(usize, &str)]) {
        let schedule = Schedule::parse(text, pass).unwrap();
        let got: Vec<(usize, String)> = schedule.ends.iter().map(|&end| (end, schedule.at(end))).collect();
        let expected: Vec<(usize, String)> = expected.iter().map(|(end, text)| (*end, (*text).to_owned())).collect();
        assert_eq!(got, expected, "{text:?}");
    }

    fn check(text: &str, expected: &[(usize, &str)]) {
        check_pass(text, Pass { steps: 10, before: None }, expected);
    }

    /// The cases that the web UI's own documentation gives.
    #[test]
    fn the_published_cases() {
        check("test", &[(10, "test")]);
        check("a [b:3]", &[(3, "a "), (10, "a b")]);
        check("a [b: 3]", &[(3, "a "), (10, "a b")]);
        check("a [[[b]]:2]", &[(2, "a "), (10, "a [[b]]")]);
        check("[(a:2):3]", &[(3, ""), (10, "(a:2)")]);
        check("a [b : c : 1] d", &[(1, "a b  d"), (10, "a  c  d")]);
        check("a[b:[c:d:2]:1]e", &[(1, "abe"), (2, "ace"), (10, "ade")]);
        check("a [unbalanced", &[(10, "a [unbalanced")]);
        check("a [b:.5] c", &[(5, "a  c"), (10, "a b c")]);
        check("((a][:b:c [d:3]", &[(3, "((a][:b:c "), (10, "((a][:b:c d")]);
        let turns = |first: &'static str, others: &[&'static str]| -> Vec<(usize, &'static str)> {
            let cycle: Vec<&str> = [first].iter().chain(others).copied().collect();
            (1..=10).map(|step| (step, cycle[(step - 1) % cycle.len()])).collect()
        };
        check("[a|(b:1.1)]", &turns("a", &["(b:1.1)"]));
        check("[fe|]male", &turns("female", &["male"]));
        check("[fe|||]male", &turns("female", &["male", "male", "male"]));
    }

    #[test]
    fn a_second_pass_counts_on() {
        let second = Pass { steps: 10, before: Some(10) };
        check_pass("a [b:.5] c", second, &[(10, "a b c")]);
        check_pass("a [b:1.5] c", second, &[(5, "a  c"), (10, "a b c")]);
        check_pass("a [b:13] c", second, &[(3, "a  c"), (10, "a b c")]);
    }
}
