//! The sentences in English.

use super::{Messages, Refusal};

/// English.
pub(crate) struct English;

impl Messages for English {
    fn error(&self, sentence: &str) -> String {
        format!("error: {sentence}")
    }

    fn see_help(&self, command: &str) -> String {
        format!("for all options see `{command} --help`")
    }

    fn refused(&self, refusal: &Refusal) -> String {
        let meant = |near: &Option<String>| near.as_ref().map(|n| format!("; did you mean {n}?")).unwrap_or_default();
        match refusal {
            Refusal::UnknownFlag(flag, near) => format!("there is no option {flag}{}", meant(near)),
            Refusal::UnknownCommand(name, near) => format!("there is no command {name:?}{}", meant(near)),
            Refusal::NoValue(flag) => format!("{flag} needs a value"),
            Refusal::Twice(flag) => format!("{flag} is given twice"),
            Refusal::Superfluous(word) => {
                format!("{word:?} is one word too many; put a prompt of several words into quotes")
            }
            Refusal::NotUnicode => "an argument is not valid UTF-8".into(),
            Refusal::Other(words) => words.clone(),
        }
    }

    fn settings_unreadable(&self, path: &str, why: &str) -> String {
        format!("the settings file {path} cannot be read: {why}")
    }

    fn setting_unknown(&self, path: &str, name: &str, near: Option<&str>) -> String {
        let near = near.map(|n| format!("; did you mean {n:?}?")).unwrap_or_default();
        format!("{path}: there is no setting {name:?}{near} (`danqing reference settings` lists them)")
    }

    fn damaged(&self, file: &str, why: &str) -> String {
        format!("{file} is not whole: {why}")
    }
}
