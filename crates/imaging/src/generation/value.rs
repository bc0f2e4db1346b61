//! Reading JSON that other programs wrote: numbers as numbers or strings, `NaN` where JSON has none.

use serde_json::{Map, Value};

use super::Extra;

/// Text longer than this is not parsed as JSON: it would need many times its size in memory.
const LONGEST_JSON: usize = 8 << 20;

/// An object. Python writes `NaN` and `Infinity`, which are read as null.
pub(super) fn object(text: &str) -> Option<Map<String, Value>> {
    let text = text.trim();
    if text.len() > LONGEST_JSON || !text.starts_with('{') {
        return None;
    }
    let value = serde_json::from_str(text).or_else(|_| serde_json::from_str(&without_nan(text)));
    match value {
        Ok(Value::Object(object)) => Some(object),
        _ => None,
    }
}

fn without_nan(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let (mut in_string, mut escaped) = (false, false);
    while let Some(c) = rest.chars().next() {
        let word = ["-Infinity", "Infinity", "NaN"].into_iter().find(|w| !in_string && rest.starts_with(w));
        if let Some(word) = word {
            out.push_str("null");
            rest = &rest[word.len()..];
            continue;
        }
        if in_string && !escaped && c == '\\' {
            escaped = true;
        } else {
            if c == '"' && !escaped {
                in_string = !in_string;
            }
            escaped = false;
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

pub(super) fn text(value: Option<&Value>) -> Option<String> {
    value?.as_str().map(str::to_owned)
}

/// A text that says something.
pub(super) fn filled(value: Option<&Value>) -> Option<String> {
    text(value).filter(|t| !t.trim().is_empty())
}

/// A whole number, also as text or as a float without fraction; `None` when negative.
pub(super) fn whole(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::Number(n) => n.as_u64().or_else(|| whole_float(n.as_f64()?)),
        Value::String(s) => s.trim().parse().ok(),
        _ => None,
    }
}

fn whole_float(number: f64) -> Option<u64> {
    ((0.0..=9e15).contains(&number) && number.fract() == 0.0).then_some(number as u64)
}

pub(super) fn number(value: Option<&Value>) -> Option<f64> {
    match value? {
        Value::Number(n) => n.as_f64(),
        Value::String(s) => s.trim().parse().ok().filter(|n: &f64| n.is_finite()),
        _ => None,
    }
}

/// A value as a reader would write it: texts bare, the rest as JSON.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        other => other.to_string(),
    }
}

/// All members but the named ones, nulls and empty texts left out.
pub(super) fn others(object: &Map<String, Value>, known: &[&str]) -> Extra {
    let kept = object.iter().filter(|(key, value)| !known.contains(&key.as_str()) && !value.is_null());
    Extra(kept.map(|(key, value)| (key.clone(), plain(value))).filter(|(_, value)| !value.is_empty()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_outside_strings_is_null() {
        let read = object(r#"{"a": [NaN, -Infinity], "b": "NaN \" NaN", "c": 3.0, "d": "7"}"#).unwrap();
        assert_eq!(read["a"], serde_json::json!([null, null]));
        assert_eq!(text(read.get("b")).as_deref(), Some("NaN \" NaN"));
        assert_eq!((whole(read.get("c")), whole(read.get("d")), whole(read.get("b"))), (Some(3), Some(7), None));
        assert!(object("[1]").is_none());
        assert!(object(&("{\"a\":".repeat(100_000))).is_none());
    }
}
