//! What happens to text before byte-pair merging: normalisation and the split into words, as transformers 5's
//! `CLIPTokenizer` does them (NFC, runs of white space to one space, lower case, then a regular expression).
//!
//! Two details are easily missed. Lower-casing is per character (no final sigma), after NFC, so `İ` becomes `i` and a
//! combining dot that is a word of its own. And each piece goes once more through GPT-2's split, which takes a written-out
//! `<|startoftext|>` apart where it was not taken out as a special token before.

use std::sync::LazyLock;

use regex::Regex;
use unicode_normalization::{UnicodeNormalization, is_nfc};

static PIECE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+")
        .expect("the pattern is a constant and its test compiles it")
});

/// Text in Unicode normal form C, white space runs made one space, lower-cased.
#[must_use]
pub fn normalize(text: &str) -> String {
    if text.is_ascii() {
        return squeeze(text.chars()).to_ascii_lowercase();
    }
    let composed = if is_nfc(text) { squeeze(text.chars()) } else { squeeze(text.nfc()) };
    composed.chars().flat_map(char::to_lowercase).collect()
}

fn squeeze(chars: impl Iterator<Item = char>) -> String {
    let mut out = String::new();
    let mut in_space = false;
    for c in chars {
        if c.is_whitespace() {
            if !in_space {
                out.push(' ');
            }
            in_space = true;
        } else {
            out.push(c);
            in_space = false;
        }
    }
    out
}

/// The words of already normalised text, in order; white space is dropped.
pub fn words(normalized: &str) -> impl Iterator<Item = &str> {
    PIECE.find_iter(normalized).flat_map(|found| {
        let piece = found.as_str();
        match piece {
            "<|startoftext|>" | "<|endoftext|>" => [&piece[..2], &piece[2..piece.len() - 2], &piece[piece.len() - 2..]],
            _ => [piece, "", ""],
        }
        .into_iter()
        .filter(|part| !part.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<String> {
        words(&normalize(text)).map(str::to_owned).collect()
    }

    #[test]
    fn words_digits_and_signs_part() {
        assert_eq!(split("It's 12 cats, isn't it?!"), ["it", "'s", "1", "2", "cats", ",", "isn", "'t", "it", "?!"]);
        assert_eq!(split("两只红色的猫，good"), ["两只红色的猫", "，", "good"]);
    }

    #[test]
    fn special_tokens_written_out_fall_apart() {
        assert_eq!(split("a<|endoftext|>!"), ["a", "<|", "endoftext", "|>", "!"]);
    }

    #[test]
    fn normal_form_and_lower_case() {
        assert_eq!(normalize("E\u{301}  \t\u{3000}ΑΣ"), "é ασ");
        assert_eq!(split("İ"), ["i", "\u{307}"]);
    }
}
