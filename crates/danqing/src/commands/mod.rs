//! The commands. Each is one file with a [`CommandSpec`]: help, reference page and parser are made from it.

mod batch;
mod compare;
mod draw;
mod enlarge;
mod inspect;
mod invocation;
mod models;
mod reference;
mod samplers;
mod shrink;
mod train;

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

pub(crate) use invocation::Invocation;

use crate::arguments::{self, Argument, Group, Kind};
use crate::failure::Failure;
use crate::messages::{Language, Text, text};
use crate::settings::{LANGUAGES, Settings};

/// One command.
#[derive(Debug)]
pub(crate) struct CommandSpec {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it does, in one sentence.
    pub(crate) about: Text,
    /// What one should know beyond that.
    pub(crate) details: Text,
    /// How it is called.
    pub(crate) usage: Text,
    /// What it takes.
    pub(crate) groups: &'static [Group],
    /// Command lines, and what they do.
    pub(crate) examples: &'static [(&'static str, Text)],
    /// Does it.
    pub(crate) run: fn(&Invocation) -> Result<(), Failure>,
}

/// Every command, in the order of the help.
pub(crate) static COMMANDS: &[&CommandSpec] = &[
    &draw::COMMAND,
    &enlarge::COMMAND,
    &shrink::COMMAND,
    &compare::COMMAND,
    &inspect::COMMAND,
    &models::COMMAND,
    &samplers::COMMAND,
    &train::COMMAND,
    &reference::COMMAND,
];

/// What every command takes.
pub(crate) static GLOBAL: &[Argument] = &[Argument::option(
    "lang",
    "LANGUAGE",
    Kind::Choice(LANGUAGES),
    text("Language of messages and help", "消息和帮助的语言"),
)];

/// Runs a command line.
pub(crate) fn run(mut line: Vec<OsString>) -> ExitCode {
    let asked = arguments::pick_language(&line).or_else(|| std::env::var("DANQING_LANG").ok());
    let mut language = asked.as_deref().filter(|t| !t.is_empty()).map_or_else(Language::of_environment, Language::of);
    // `danqing help draw` is `danqing draw --help`.
    if line.get(1).is_some_and(|word| word == "help") {
        line.remove(1);
        line.push("--help".into());
    }
    let result = Settings::load(language).and_then(|settings| {
        if let (None, Some(arguments::Value::Text(tag))) = (&asked, settings.get("lang")) {
            language = Language::of(tag);
        }
        dispatch(&line, settings, language)
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{}", language.messages().error(failure.sentence()));
            ExitCode::from(failure.status())
        }
    }
}

fn dispatch(line: &[OsString], settings: Settings, language: Language) -> Result<(), Failure> {
    let messages = language.messages();
    let matches = match arguments::build(COMMANDS, language).try_get_matches_from(line) {
        Ok(matches) => matches,
        Err(error) if !error.use_stderr() => return print(&error.to_string()),
        Err(error) if error.kind() == clap::error::ErrorKind::MissingSubcommand => {
            return print(&arguments::build(COMMANDS, language).render_help().to_string());
        }
        Err(error) => {
            let named = COMMANDS.iter().find(|c| line.get(1).is_some_and(|word| word == c.name));
            let command = named.map_or_else(|| "danqing".to_owned(), |c| format!("danqing {}", c.name));
            let sentence = arguments::explain(&error, messages);
            return Err(Failure::Usage(format!("{sentence}\n{}", messages.see_help(&command))));
        }
    };
    let Some((name, given)) = matches.subcommand() else { return Ok(()) };
    let Some(spec) = COMMANDS.iter().find(|c| c.name == name) else { return Ok(()) };
    (spec.run)(&Invocation::new(spec, given, settings, language)?)
}

/// Writes to standard output; a reader that went away (`danqing samplers | head`) is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => Err(Failure::of(&e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parser_is_sound_in_both_languages() {
        for language in [Language::English, Language::Chinese] {
            arguments::build(COMMANDS, language).debug_assert();
        }
    }

    #[test]
    fn every_argument_says_what_it_does_in_both_languages() {
        for spec in COMMANDS {
            let arguments = spec.groups.iter().flat_map(|g| g.arguments);
            for argument in arguments.chain(GLOBAL) {
                assert!(!argument.help.en.ends_with('.'), "{}: {}", spec.name, argument.name);
                assert!(argument.help.zh.chars().any(|c| c as u32 > 0x2e80), "{}: {}", spec.name, argument.name);
                assert_eq!(argument.value.is_empty(), argument.kind == Kind::Switch, "{}", argument.name);
            }
        }
    }
}
