//! ComfyUI's prompt dialect.
//!
//! Only round brackets mean something. `(x)` multiplies the weight around it by 1.1; `(x:1.2)` *is* 1.2, whatever is around it.
//! `\(` is a plain bracket. `embedding:name` names a textual inversion. There is no `BREAK`, no scheduling, no `AND`.

use super::extra_networks::{ExtraNetwork, ExtraNetworkKind};
use super::schedule::parse_number;
use super::{MAX_DEPTH, PromptError, Segment, WeightedPrompt};

const STEP: f64 = 1.1;
const EMBEDDING: &str = "embedding:";
/// Stand-ins for escaped brackets while brackets are matched; control characters that no prompt needs.
const ESCAPED_CLOSE: char = '\u{1}';
const ESCAPED_OPEN: char = '\u{2}';

/// Reads a prompt; embeddings are taken out and listed.
pub(super) fn parse(text: &str) -> Result<(WeightedPrompt, Vec<ExtraNetwork>), PromptError> {
    let text: String = text.chars().filter(|c| !matches!(*c, ESCAPED_OPEN | ESCAPED_CLOSE)).collect();
    let text = text.replace("\\)", "\u{1}").replace("\\(", "\u{2}");
    let mut segments = Vec::new();
    let mut embeddings = Vec::new();
    // What is still to be read, the next part last: text, weight around it, depth.
    let mut waiting = vec![(text.as_str(), 1.0, 0)];
    while let Some((part, weight, depth)) = waiting.pop() {
        let inside = part.strip_prefix('(').and_then(|rest| rest.strip_suffix(')'));
        let Some(inside) = inside.filter(|_| depth > 0) else {
            if depth > 0 {
                push_text(part, weight, &mut segments, &mut embeddings);
            } else {
                waiting.extend(top_level(part).into_iter().rev().map(|item| (item, weight, 1)));
            }
            continue;
        };
        if depth > MAX_DEPTH {
            return Err(PromptError::TooDeep(part.as_ptr() as usize - text.as_ptr() as usize));
        }
        let (inside, weight) = match inside.rsplit_once(':').filter(|(words, _)| !words.is_empty()) {
            Some((words, number)) => match parse_number(number.trim()) {
                Some(absolute) => (words, absolute),
                None => (inside, weight * STEP),
            },
            None => (inside, weight * STEP),
        };
        waiting.extend(top_level(inside).into_iter().rev().map(|item| (item, weight, depth + 1)));
    }
    if segments.is_empty() {
        segments.push(Segment::Text { text: String::new(), weight: 1.0 });
    }
    Ok((WeightedPrompt { segments, whole_groups: true }, embeddings))
}

/// Cuts a text into bracketed groups and what is between them. A closing bracket too many makes the count negative, and then no
/// group begins until it is made up for.
fn top_level(text: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let (mut start, mut level) = (0, 0i64);
    for (at, sign) in text.bytes().enumerate() {
        match sign {
            b'(' => {
                if level == 0 {
                    items.push(&text[start..at]);
                    start = at;
                }
                level += 1;
            }
            b')' => {
                level -= 1;
                if level == 0 {
                    items.push(&text[start..=at]);
                    start = at + 1;
                }
            }
            _ => {}
        }
    }
    items.push(&text[start..]);
    items.retain(|item| !item.is_empty());
    items
}

fn push_text(part: &str, weight: f64, segments: &mut Vec<Segment>, embeddings: &mut Vec<ExtraNetwork>) {
    let part = part.replace(ESCAPED_CLOSE, ")").replace(ESCAPED_OPEN, "(");
    let mut push = |text: &str| {
        if !text.is_empty() {
            segments.push(Segment::Text { text: text.to_owned(), weight });
        }
    };
    let mut rest = part.as_str();
    while let Some(at) = find_embedding(rest) {
        push(&rest[..at]);
        let after = &rest[at..].trim_start()[EMBEDDING.len()..];
        let after = after.trim_start();
        let word = after.find(char::is_whitespace).unwrap_or(after.len());
        let name = after[..word].trim_matches(',');
        if !name.is_empty() {
            let (name, kind) = (name.to_owned(), ExtraNetworkKind::Embedding);
            embeddings.push(ExtraNetwork { kind, name, text_encoder: weight, unet: weight, dynamic_rank: None });
        }
        // Commas that follow the name stay words.
        rest = &after[after[..word].trim_end_matches(',').len()..];
    }
    push(rest);
}

/// The place of `embedding:` at the start of the text or after a blank or line end (the place of that blank).
fn find_embedding(text: &str) -> Option<usize> {
    if text.starts_with(EMBEDDING) {
        return Some(0);
    }
    text.match_indices(EMBEDDING).map(|(at, _)| at).find(|&at| text[..at].ends_with([' ', '\n'])).map(|at| at - 1)
}
