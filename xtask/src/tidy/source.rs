//! A Rust file with its comments and literals told apart from its code.

/// One file in two versions of equal line structure.
pub(super) struct Source {
    pub(super) path: String,
    pub(super) text: String,
    /// The text with the contents of comments, strings and characters blanked.
    pub(super) code: String,
}

impl Source {
    pub(super) fn new(path: &str, text: String) -> Self {
        let code = blank(&text);
        Self { path: path.to_owned(), text, code }
    }

    /// Lines of code with their numbers.
    pub(super) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.code.lines().enumerate().map(|(i, line)| (i + 1, line))
    }
}

/// True when `line` contains `word` with no name character on either side.
pub(super) fn has_word(line: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .any(|(at, _)| !line[..at].ends_with(is_name) && !line[at + word.len()..].starts_with(is_name))
}

fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes[at..].starts_with(b"//") => line_end(bytes, at),
            b'/' if bytes[at..].starts_with(b"/*") => comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' | b'b' | b'c' if !follows_name(bytes, at) => raw_end(bytes, at),
            b'\'' => char_end(bytes, at),
            _ => at,
        };
        if end > at {
            out[at..end].iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b' ');
            at = end;
        } else {
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn follows_name(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|&b| b == b'\n').map_or(bytes.len(), |n| at + n)
}

fn comment_end(bytes: &[u8], start: usize) -> usize {
    let (mut depth, mut at) = (0usize, start);
    while at < bytes.len() {
        if bytes[at..].starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if bytes[at..].starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    at
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// `r"..."`, `br#"..."#`, `c"..."`; returns `start` when it is a plain name.
fn raw_end(bytes: &[u8], start: usize) -> usize {
    let prefix = bytes[start..].iter().take(2).take_while(|b| matches!(b, b'r' | b'b' | b'c')).count();
    let after = start + prefix;
    let hashes = bytes[after..].iter().take_while(|&&b| b == b'#').count();
    if bytes.get(after + hashes) != Some(&b'"') {
        return start;
    }
    if !bytes[start..after].contains(&b'r') {
        return if hashes == 0 { string_end(bytes, after) } else { start };
    }
    let close: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let body = after + hashes + 1;
    bytes[body..].windows(close.len()).position(|w| w == close).map_or(bytes.len(), |n| body + n + close.len())
}

/// A character literal; returns `start` for a lifetime.
fn char_end(bytes: &[u8], start: usize) -> usize {
    let rest = &bytes[start + 1..];
    let body = match rest.first() {
        Some(b'\\') => 1 + rest.iter().skip(2).position(|&b| b == b'\'').map_or(0, |n| n + 1),
        Some(_) => std::str::from_utf8(&rest[..rest.len().min(4)]).map_or_else(
            |e| {
                std::str::from_utf8(&rest[..e.valid_up_to()])
                    .ok()
                    .and_then(|t| t.chars().next())
                    .map_or(1, char::len_utf8)
            },
            |text| text.chars().next().map_or(1, char::len_utf8),
        ),
        None => return start,
    };
    if rest.get(body) == Some(&b'\'') { start + body + 2 } else { start }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_blanked() {
        for (text, want) in [
            ("a // unsafe\nb", "a          \nb"),
            ("x(\"unsafe \\\" \") y", "x(            ) y"),
            ("/* a /* b */ c */ d", "                  d"),
            ("let c = 'x'; fn f<'a>() {}", "let c =    ; fn f<'a>() {}"),
            ("r#\"un\"safe\"# z", "             z"),
            ("b\"x\" '\\n' '\\'' for", "               for"),
            ("'中' x", "      x"),
        ] {
            assert_eq!(blank(text).trim_end(), want.trim_end(), "{text}");
        }
    }

    #[test]
    fn words_stand_alone() {
        assert!(
            has_word("unsafe {", "unsafe") && !has_word("unsafe_code", "unsafe") && !has_word("an_unsafe", "unsafe")
        );
    }
}
