//! What a command takes, as static tables: help in both languages, the reference page and the parser are made from them.

mod kind;
mod line;

pub(crate) use kind::{Kind, Value};
pub(crate) use line::{build, explain, given, pick_language, with_choices};

use crate::messages::Text;

/// One flag, option or positional argument.
#[derive(Debug)]
pub(crate) struct Argument {
    /// Its long name, without the dashes.
    pub(crate) name: &'static str,
    /// Its short name.
    pub(crate) short: Option<char>,
    /// Whether it stands without a flag.
    pub(crate) positional: bool,
    /// What its value is called in help; empty for a switch.
    pub(crate) value: &'static str,
    /// What it may hold.
    pub(crate) kind: Kind,
    /// One sentence.
    pub(crate) help: Text,
}

impl Argument {
    /// A switch.
    pub(crate) const fn switch(name: &'static str, help: Text) -> Self {
        Self { name, short: None, positional: false, value: "", kind: Kind::Switch, help }
    }

    /// An option with a value.
    pub(crate) const fn option(name: &'static str, value: &'static str, kind: Kind, help: Text) -> Self {
        Self { name, short: None, positional: false, value, kind, help }
    }

    /// A value without a flag.
    pub(crate) const fn positional(name: &'static str, value: &'static str, kind: Kind, help: Text) -> Self {
        Self { name, short: None, positional: true, value, kind, help }
    }

    /// The same with a short name.
    pub(crate) const fn short(self, short: char) -> Self {
        Self { short: Some(short), ..self }
    }

    /// As it stands in help: `-o, --output <FILE>`.
    pub(crate) fn signature(&self) -> String {
        if self.positional {
            return format!("[{}]", self.value);
        }
        let short = self.short.map(|c| format!("-{c}, ")).unwrap_or_default();
        let value = if self.value.is_empty() { String::new() } else { format!(" <{}>", self.value) };
        format!("{short}--{}{value}", self.name)
    }
}

/// Arguments under one heading.
#[derive(Debug)]
pub(crate) struct Group {
    /// The heading.
    pub(crate) title: Text,
    /// Its arguments, in the order of the help.
    pub(crate) arguments: &'static [Argument],
}
