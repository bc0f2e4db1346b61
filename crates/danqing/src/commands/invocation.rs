//! One call of a command: its values from flags and settings, and the user's language.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use danqing_imaging::EncodeOptions;

use super::{CommandSpec, GLOBAL};
use crate::arguments::{self, Kind, Value};
use crate::failure::Failure;
use crate::messages::{Language, Messages};
use crate::settings::Settings;

/// One call of a command.
#[derive(Debug)]
pub(crate) struct Invocation {
    /// The user's language.
    pub(crate) language: Language,
    settings: Settings,
    values: BTreeMap<&'static str, Value>,
}

impl Invocation {
    /// Reads every value that the line gives.
    ///
    /// # Errors
    /// A value that does not fit its argument.
    pub(crate) fn new(
        spec: &'static CommandSpec,
        matches: &ArgMatches,
        settings: Settings,
        language: Language,
    ) -> Result<Self, Failure> {
        let mut values = BTreeMap::new();
        for argument in spec.groups.iter().flat_map(|g| g.arguments).chain(GLOBAL) {
            if argument.kind == Kind::Switch {
                if matches.get_flag(argument.name) {
                    values.insert(argument.name, Value::Toggle(true));
                }
                continue;
            }
            for given in arguments::given(matches, argument.name) {
                let shown =
                    if argument.positional { argument.value.to_owned() } else { format!("--{}", argument.name) };
                let value = argument.kind.parse(given).map_err(|c| Failure::Usage(c.about(&shown, language)))?;
                match (values.get_mut(argument.name), value) {
                    (Some(Value::Paths(paths)), Value::Paths(more)) => paths.extend(more),
                    (_, value) => drop(values.insert(argument.name, value)),
                }
            }
        }
        Ok(Self { language, settings, values })
    }

    /// The user's sentences.
    pub(crate) fn messages(&self) -> &'static dyn Messages {
        self.language.messages()
    }

    /// The value that the line gives.
    pub(crate) fn flag(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// The value that line or settings give.
    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.flag(name).or_else(|| self.settings.get(name))
    }

    /// Whether a switch is there, or a toggle is true.
    pub(crate) fn is(&self, name: &str) -> bool {
        matches!(self.value(name), Some(Value::Toggle(true)))
    }

    /// A text from line or settings.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self.value(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A path.
    pub(crate) fn path(&self, name: &str) -> Option<&Path> {
        match self.value(name) {
            Some(Value::Path(path)) => Some(path),
            _ => None,
        }
    }

    /// Paths that the line gives.
    pub(crate) fn paths(&self, name: &str) -> &[PathBuf] {
        match self.flag(name) {
            Some(Value::Paths(paths)) => paths,
            _ => &[],
        }
    }

    /// A toggle, if anything says.
    pub(crate) fn toggle(&self, name: &str) -> Option<bool> {
        match self.value(name) {
            Some(Value::Toggle(on)) => Some(*on),
            _ => None,
        }
    }

    /// A whole number.
    pub(crate) fn count(&self, name: &str) -> Option<u64> {
        match self.value(name) {
            Some(Value::Count(n)) => Some(*n),
            _ => None,
        }
    }

    /// A number.
    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        match self.value(name) {
            Some(Value::Number(n)) => Some(*n),
            _ => None,
        }
    }

    /// Width and height.
    pub(crate) fn size(&self, name: &str) -> Option<(u32, u32)> {
        match self.value(name) {
            Some(Value::Size(w, h)) => Some((*w, *h)),
            _ => None,
        }
    }

    /// How pictures are written, as `--quality` asks: JPEG by it, and WebP, which is lossless where nobody asks.
    pub(crate) fn encoding(&self) -> EncodeOptions {
        let quality = self.count("quality").map(|n| n as u8);
        let default = EncodeOptions::default();
        EncodeOptions { jpeg_quality: quality.unwrap_or(default.jpeg_quality), webp_quality: quality, ..default }
    }

    /// Left, top, right, bottom.
    pub(crate) fn borders(&self, name: &str) -> Option<[u32; 4]> {
        match self.value(name) {
            Some(Value::Borders(sides)) => Some(*sides),
            _ => None,
        }
    }
}
