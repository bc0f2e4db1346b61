//! The text in which the A1111 web UI, and most programs after it, write how a picture was generated.
//!
//! ```text
//! <prompt>
//! Negative prompt: <negative>
//! Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7, Seed: 1, Size: 512x512, …
//! ```
//!
//! The reader follows A1111's regular expression
//! `\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)`, by hand and in one pass, so that no text makes it slow.

use std::fmt;

/// Generation parameters as text: prompt, negative prompt, and an ordered list of keys and values.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Infotext {
    /// What was asked for; may have several lines.
    pub prompt: String,
    /// What was to be avoided; empty when nothing.
    pub negative: String,
    /// Keys and values, in the order of the file or of setting; values are unquoted.
    pub params: Vec<(String, String)>,
}

/// The keys that have a fixed place, in that order; all others follow in the order in which they were set.
const ORDER: [&str; 29] = [
    "Steps",
    "Sampler",
    "Schedule type",
    "CFG scale",
    "Distilled CFG Scale",
    "Image CFG scale",
    "Seed",
    "Face restoration",
    "Size",
    "Model hash",
    "Model",
    "FP8 weight",
    "Cache FP16 weight for LoRA",
    "VAE hash",
    "VAE",
    "Variation seed",
    "Variation seed strength",
    "Seed resize from",
    "Denoising strength",
    "Conditional mask weight",
    "Clip skip",
    "ENSD",
    "Token merging ratio",
    "Token merging ratio hr",
    "Init image hash",
    "RNG",
    "Tiling",
    // Extra parameters stand between the two groups.
    "Version",
    "User",
];
const FIRST_LAST: usize = 27;
/// A last line with fewer pairs than this belongs to the prompt.
const FEWEST_PAIRS: usize = 3;
const NEGATIVE: &str = "Negative prompt:";

impl Infotext {
    /// A text with prompt and negative prompt and no parameters yet.
    pub fn new(prompt: impl Into<String>, negative: impl Into<String>) -> Self {
        Self { prompt: prompt.into(), negative: negative.into(), params: Vec::new() }
    }

    /// Sets a parameter, in place of any of that name.
    pub fn set(&mut self, key: &str, value: impl fmt::Display) -> &mut Self {
        let value = value.to_string();
        match self.params.iter_mut().find(|(k, _)| k == key) {
            Some(pair) => pair.1 = value,
            None => self.params.push((key.to_owned(), value)),
        }
        self
    }

    /// A parameter's value; the last one when a file has it twice.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.params.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// Reads a text. Every text can be read: one without parameters is all prompt.
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let (mut body, last) = text.rsplit_once('\n').unwrap_or(("", text));
        let mut params = parse_pairs(last);
        if params.len() < FEWEST_PAIRS {
            params.clear();
            body = text;
        }
        let mut prompt: Vec<&str> = Vec::new();
        let mut negative: Vec<&str> = Vec::new();
        let mut in_negative = false;
        for line in body.lines() {
            let mut line = line.trim();
            if let Some(rest) = line.strip_prefix(NEGATIVE) {
                in_negative = true;
                line = rest.trim();
            }
            if in_negative { negative.push(line) } else { prompt.push(line) }
        }
        Self { prompt: prompt.join("\n").trim().to_owned(), negative: negative.join("\n").trim().to_owned(), params }
    }
}

impl fmt::Display for Infotext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.prompt)?;
        if !self.negative.is_empty() {
            let line_break = if self.prompt.is_empty() { "" } else { "\n" };
            write!(f, "{line_break}{NEGATIVE} {}", self.negative)?;
        }
        let text_before = !self.prompt.is_empty() || !self.negative.is_empty();
        let mut params: Vec<&(String, String)> = self.params.iter().collect();
        params.sort_by_key(|(key, _)| place(key));
        for (index, (key, value)) in params.into_iter().enumerate() {
            f.write_str(match index {
                0 if text_before => "\n",
                0 => "",
                _ => ", ",
            })?;
            if key == value { f.write_str(key)? } else { write!(f, "{key}: {}", quoted(value))? }
        }
        Ok(())
    }
}

/// Sort key: the fixed keys by their index, extras between the two groups.
fn place(key: &str) -> usize {
    match ORDER.iter().position(|known| *known == key) {
        Some(index) if index >= FIRST_LAST => index + 1,
        Some(index) => index,
        None => FIRST_LAST,
    }
}

/// JSON string syntax where a value would otherwise end early.
fn quoted(value: &str) -> String {
    if value.contains([',', '\n', ':']) { serde_json::Value::from(value).to_string() } else { value.to_owned() }
}

fn unquoted(value: &str) -> String {
    if value.len() >= 2 && value.starts_with('"') && value.ends_with('"') {
        serde_json::from_str(value).unwrap_or_else(|_| value.to_owned())
    } else {
        value.to_owned()
    }
}

/// All `key: value` pairs of a line, as `findall` with the expression above would give them.
pub(crate) fn parse_pairs(line: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let trimmed = rest.trim_start();
        let Some((key, after)) = key_and_rest(trimmed) else {
            rest = after_failed_key(trimmed);
            continue;
        };
        let value = after.trim_start();
        let length = quoted_length(value).unwrap_or_else(|| value.find(',').unwrap_or(value.len()));
        pairs.push((key.to_owned(), unquoted(&value[..length])));
        rest = value.get(length + 1..).unwrap_or_default();
    }
    pairs
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_key(c: char) -> bool {
    is_word(c) || matches!(c, ' ' | '-' | '/')
}

/// `(\w[\w \-/]+):` at the start of `text`.
fn key_and_rest(text: &str) -> Option<(&str, &str)> {
    let first = text.chars().next().filter(|c| is_word(*c))?;
    let end = text.find(|c| !is_key(c))?;
    let after = text[end..].strip_prefix(':')?;
    (end > first.len_utf8()).then_some((&text[..end], after))
}

/// Where the search for a key goes on: every start within one run of key characters meets the same end, so that the
/// whole run and what ended it can be skipped.
fn after_failed_key(text: &str) -> &str {
    let starts_word = text.chars().next().is_some_and(is_word);
    let end = if starts_word { text.find(|c| !is_key(c)) } else { Some(0) };
    let Some(end) = end else { return "" };
    let mut rest = text[end..].chars();
    rest.next();
    rest.as_str()
}

/// The length of a quoted value with its quotes, if a comma or the end follows it.
fn quoted_length(text: &str) -> Option<usize> {
    let inner = text.strip_prefix('"')?;
    let mut chars = inner.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => {
                chars.next()?;
            }
            '"' => {
                let length = at + 2;
                let closed = text[length..].is_empty() || text[length..].starts_with(',');
                return (at > 0 && closed).then_some(length);
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_written_in_the_fixed_order_with_extras_before_the_version() {
        let mut text = Infotext::new("a cat", "");
        text.set("Version", "danqing 0.1").set("Eta", 0.5).set("Seed", 7).set("Lora hashes", "a: 01, b: 02");
        text.set("Steps", 20).set("Size", "512x512").set("Tiling", "Tiling");
        assert_eq!(
            text.to_string(),
            "a cat\nSteps: 20, Seed: 7, Size: 512x512, Tiling, Eta: 0.5, Lora hashes: \"a: 01, b: 02\", \
             Version: danqing 0.1"
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut text = Infotext::new("two lines\nof 丹青: (red:1.2), é", "bad\nugly");
        text.set("Steps", 20).set("Sampler", "DPM++ 2M").set("Hires prompt", "a, \"quoted\"\nthing: \\ 猫");
        text.set("Version", "x");
        assert_eq!(Infotext::parse(&text.to_string()), text);
    }

    #[test]
    fn a_last_line_with_few_pairs_is_prompt() {
        let text = Infotext::parse("a cat\nwith: hat, and: coat");
        assert_eq!(text.prompt, "a cat\nwith: hat, and: coat");
        assert!(text.params.is_empty());
        assert_eq!(Infotext::parse(""), Infotext::default());
    }

    #[test]
    fn a_prompt_of_nothing_leaves_the_parameters() {
        let text = Infotext::parse("Steps: 1, Sampler: Euler a, Seed: 2");
        assert_eq!((text.prompt.as_str(), text.get("Sampler")), ("", Some("Euler a")));
        assert_eq!(text.to_string(), "Steps: 1, Sampler: Euler a, Seed: 2");
    }

    #[test]
    fn unclosed_quotes_end_at_the_comma() {
        let text = Infotext::parse("x\nAa: \"b, Cc: \"d\"e, Ff: \"\", Gg: \"h\\\"i\"");
        let expected = [("Aa", "\"b"), ("Cc", "\"d\"e"), ("Ff", ""), ("Gg", "h\"i")];
        assert_eq!(text.params, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }
}
