//! What a value may be, for flags and settings alike, and what to say when it is something else.

use std::ffi::OsStr;
use std::path::PathBuf;

use crate::messages::Language;

/// What an argument or a setting may hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// There or not.
    Switch,
    /// `true` or `false`.
    Toggle,
    /// Any text.
    Text,
    /// A file or folder.
    Path,
    /// Files or folders, at least one.
    Paths,
    /// A whole number in a range.
    Count(u64, u64),
    /// A number in a range.
    Number(f64, f64),
    /// One of some words.
    Choice(&'static [&'static str]),
    /// `WIDTHxHEIGHT`.
    Size,
    /// Four whole numbers: left, top, right, bottom.
    Borders,
}

/// A value of some [`Kind`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    /// Of a toggle.
    Toggle(bool),
    /// Of a text or a choice.
    Text(String),
    /// Of a path.
    Path(PathBuf),
    /// Of paths.
    Paths(Vec<PathBuf>),
    /// Of a count.
    Count(u64),
    /// Of a number.
    Number(f64),
    /// Width and height.
    Size(u32, u32),
    /// Left, top, right, bottom.
    Borders([u32; 4]),
}

/// Why a text is no value of a kind.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Complaint {
    /// The text.
    pub(crate) given: String,
    /// What was wanted.
    pub(crate) wanted: Kind,
}

impl Kind {
    /// Reads a value.
    ///
    /// # Errors
    /// A complaint that names the text and what was wanted.
    pub(crate) fn parse(self, given: &OsStr) -> Result<Value, Complaint> {
        if self == Self::Path && !given.is_empty() {
            return Ok(Value::Path(PathBuf::from(given)));
        }
        if self == Self::Paths && !given.is_empty() {
            return Ok(Value::Paths(vec![PathBuf::from(given)]));
        }
        let text = given.to_str();
        text.and_then(|t| self.read(t.trim(), t))
            .ok_or_else(|| Complaint { given: given.to_string_lossy().into_owned(), wanted: self })
    }

    fn read(self, text: &str, whole: &str) -> Option<Value> {
        match self {
            Self::Switch | Self::Path | Self::Paths => None,
            Self::Toggle => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" | "1" => Some(Value::Toggle(true)),
                "false" | "no" | "off" | "0" => Some(Value::Toggle(false)),
                _ => None,
            },
            Self::Text => Some(Value::Text(whole.to_owned())),
            Self::Count(low, high) => text.parse().ok().filter(|n| (low..=high).contains(n)).map(Value::Count),
            Self::Number(low, high) => text.parse().ok().filter(|n| (low..=high).contains(n)).map(Value::Number),
            Self::Choice(words) => {
                let found = words.iter().find(|w| w.eq_ignore_ascii_case(text));
                found.map(|w| Value::Text((*w).to_owned()))
            }
            Self::Size => {
                let (width, height) = text.split_once(['x', 'X', '×', '*'])?;
                let side = |s: &str| s.trim().parse::<u32>().ok().filter(|n| (1..=16_384).contains(n));
                Some(Value::Size(side(width)?, side(height)?))
            }
            Self::Borders => {
                let sides = text.split(',').map(|s| s.trim().parse::<u32>().ok().filter(|n| *n <= 16_384));
                let sides: Vec<u32> = sides.collect::<Option<_>>()?;
                Some(Value::Borders(sides.try_into().ok()?))
            }
        }
    }

    /// What may stand there, in words.
    pub(crate) fn describe(self, language: Language) -> String {
        let chinese = language == Language::Chinese;
        let said = |english: &str, zh: &str| if chinese { zh.to_owned() } else { english.to_owned() };
        match self {
            Self::Switch => said("nothing", "无值"),
            Self::Toggle => said("true or false", "true 或 false"),
            Self::Text => said("a text", "文本"),
            Self::Path => said("a path", "路径"),
            Self::Paths => said("paths", "路径"),
            Self::Count(low, u64::MAX) => {
                if chinese {
                    format!("不小于 {low} 的整数")
                } else {
                    format!("a whole number from {low}")
                }
            }
            Self::Count(low, high) => {
                if chinese {
                    format!("{low} 到 {high} 的整数")
                } else {
                    format!("a whole number from {low} to {high}")
                }
            }
            Self::Number(low, high) => {
                if chinese {
                    format!("{low} 到 {high} 的数")
                } else {
                    format!("a number from {low} to {high}")
                }
            }
            Self::Choice(words) => {
                let (comma, or) = if chinese { ("、", "") } else { (", ", "one of ") };
                format!("{or}{}", words.join(comma))
            }
            Self::Size => said("a size such as 768x512, sides from 1 to 16384", "形如 768x512 的尺寸，边长 1 到 16384"),
            Self::Borders => {
                said("four whole numbers up to 16384: left,top,right,bottom", "四个不超过 16384 的整数：左,上,右,下")
            }
        }
    }
}

impl Complaint {
    /// The sentence, about the flag or setting `name`.
    pub(crate) fn about(&self, name: &str, language: Language) -> String {
        let wanted = self.wanted.describe(language);
        match language {
            Language::English => format!("{name}: {:?} is not {wanted}", self.given),
            Language::Chinese => format!("{name}：“{}”不合要求，应为{wanted}", self.given),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(kind: Kind, text: &str) -> Option<Value> {
        kind.parse(OsStr::new(text)).ok()
    }

    #[test]
    fn values_in_range_are_read_and_others_refused() {
        assert_eq!(parse(Kind::Count(1, 10), "7"), Some(Value::Count(7)));
        assert_eq!(parse(Kind::Count(1, 10), "11"), None);
        assert_eq!(parse(Kind::Count(1, 10), "-1"), None);
        assert_eq!(parse(Kind::Number(0.0, 1.0), "0.5"), Some(Value::Number(0.5)));
        assert_eq!(parse(Kind::Number(0.0, 1.0), "NaN"), None);
        assert_eq!(parse(Kind::Size, "768x512"), Some(Value::Size(768, 512)));
        assert_eq!(parse(Kind::Size, "768"), None);
        assert_eq!(parse(Kind::Size, "0x512"), None);
        assert_eq!(parse(Kind::Borders, "1, 2,3,4"), Some(Value::Borders([1, 2, 3, 4])));
        assert_eq!(parse(Kind::Borders, "1,2,3"), None);
        assert_eq!(parse(Kind::Choice(&["bf16", "f32"]), "BF16"), Some(Value::Text("bf16".into())));
        assert_eq!(parse(Kind::Toggle, "off"), Some(Value::Toggle(false)));
        assert_eq!(parse(Kind::Path, ""), None);
    }

    #[test]
    fn complaints_name_the_flag_the_text_and_what_is_wanted() {
        let complaint = Kind::Count(1, 1000).parse(OsStr::new("many")).unwrap_err();
        let english = complaint.about("--steps", Language::English);
        assert_eq!(english, "--steps: \"many\" is not a whole number from 1 to 1000");
        assert!(complaint.about("--steps", Language::Chinese).contains("1 到 1000 的整数"));
    }
}
