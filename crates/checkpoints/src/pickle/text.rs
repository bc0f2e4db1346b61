//! The textual arguments of protocol 0: decimal numbers and escaped strings.

/// A Python `repr` string with its quotes, as bytes.
pub(super) fn unquote(line: &[u8]) -> Option<Vec<u8>> {
    let (&quote, rest) = line.split_first()?;
    let (&last, body) = rest.split_last()?;
    if quote != last || !matches!(quote, b'\'' | b'"') {
        return None;
    }
    let mut out = Vec::with_capacity(body.len());
    let mut bytes = body.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next()? {
            b'n' => out.push(b'\n'),
            b't' => out.push(b'\t'),
            b'r' => out.push(b'\r'),
            b'x' => {
                let digits = [bytes.next()?, bytes.next()?];
                out.push(u8::try_from(hex(&digits)?).ok()?);
            }
            other => out.push(other),
        }
    }
    Some(out)
}

/// Python's "raw-unicode-escape": Latin-1 bytes with `\uXXXX` and `\UXXXXXXXX`.
pub(super) fn raw_unicode(line: &[u8]) -> Option<String> {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, tail)) = rest.split_first() {
        let width = match (byte, tail.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                out.push(char::from(byte));
                rest = tail;
                continue;
            }
        };
        out.push(char::from_u32(hex(tail.get(1..1 + width)?)?)?);
        rest = tail.get(1 + width..)?;
    }
    Some(out)
}

fn hex(digits: &[u8]) -> Option<u32> {
    let text = String::from_utf8(digits.to_vec()).ok()?;
    if text.starts_with('+') { None } else { u32::from_str_radix(&text, 16).ok() }
}

/// A decimal line of `INT` or `LONG`: `Some(None)` for a number beyond 64 bits.
pub(super) fn decimal(line: &[u8]) -> Option<Option<i64>> {
    let text = String::from_utf8(line.to_vec()).ok()?;
    let text = text.trim_end_matches('L');
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().ok())
}

/// A little-endian two's complement number of any length: `None` beyond 64 bits.
pub(super) fn long(bytes: &[u8]) -> Option<i64> {
    if bytes.len() > 8 {
        return None;
    }
    let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
    let mut raw = [if negative { 0xff } else { 0 }; 8];
    raw[..bytes.len()].copy_from_slice(bytes);
    Some(i64::from_le_bytes(raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_strings_are_unescaped() {
        assert_eq!(unquote(br"'a\'b\n\x41'").unwrap(), b"a'b\nA");
        assert!(unquote(b"'a").is_none() && unquote(b"").is_none() && unquote(br"'\x4'").is_none());
        assert_eq!(raw_unicode(br"\u4e2dx\U0001f600").unwrap(), "中x😀");
        assert!(raw_unicode(br"\ud800").is_none() && raw_unicode(br"\u12").is_none());
    }

    #[test]
    fn numbers_of_any_length_are_told_apart() {
        assert_eq!(decimal(b"-12L"), Some(Some(-12)));
        assert_eq!(decimal(b"99999999999999999999"), Some(None));
        assert!(decimal(b"").is_none() && decimal(b"1x").is_none());
        assert_eq!(long(&[]), Some(0));
        assert_eq!(long(&[0xff]), Some(-1));
        assert_eq!(long(&[0xff, 0x00]), Some(255));
        assert_eq!(long(&[0; 9]), None);
    }
}
