//! The parser of the command line, built from the tables with `clap`, which only cuts the line into words: values are read by
//! [`super::Kind`], so that flags and settings obey one rule and complaints come in the user's language.

use std::ffi::{OsStr, OsString};

use clap::builder::ValueParser;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, ArgAction, ArgMatches};

use super::{Argument, Group, Kind};
use crate::commands::{CommandSpec, GLOBAL};
use crate::messages::{Language, Messages, Refusal, Text, text};

const OPTIONS: Text = text("Other options", "其他选项");
const HELP: Text = text("Print help", "显示帮助");
const VERSION: Text = text("Print the version", "显示版本");
const ABOUT: Text = text("Draws pictures from words on your own machine.", "在自己的机器上，用文字画图。");
const USAGE: Text = text("danqing [OPTIONS] <COMMAND>", "danqing [选项] <命令>");
const COMMANDS: Text = text("Commands", "命令");
const AFTER: Text = text(
    "`danqing <COMMAND> --help` says more about a command.\n\nExample:\n  danqing draw \"two red cats\" -o cats.png",
    "各命令的说明见 `danqing <命令> --help`。\n\n示例：\n  danqing draw \"两只红色的猫\" -o cats.png",
);
/// Columns of help on a terminal whose width is not known.
const WIDTH: usize = 100;

/// The language asked for by `--lang` anywhere on the line; it must be known before help can be written.
pub(crate) fn pick_language(line: &[OsString]) -> Option<String> {
    let mut words = line.iter().skip(1).map(|w| w.to_string_lossy());
    while let Some(word) = words.next() {
        if word == "--" {
            return None;
        }
        if word == "--lang" {
            return words.next().map(|w| w.into_owned());
        }
        if let Some(tag) = word.strip_prefix("--lang=") {
            return Some(tag.to_owned());
        }
    }
    None
}

/// The whole parser.
pub(crate) fn build(commands: &'static [&'static CommandSpec], language: Language) -> clap::Command {
    let mut program = clap::Command::new("danqing")
        .version(env!("CARGO_PKG_VERSION"))
        .about(ABOUT.to(language))
        .after_help(AFTER.to(language))
        .override_usage(USAGE.to(language))
        .subcommand_help_heading(COMMANDS.to(language))
        .subcommand_required(true)
        .disable_help_subcommand(true);
    program = shared(program, language).arg(
        Arg::new("version")
            .long("version")
            .short('V')
            .action(ArgAction::Version)
            .help(VERSION.to(language))
            .help_heading(OPTIONS.to(language)),
    );
    for spec in commands {
        program = program.subcommand(one(spec, language));
    }
    program
}

fn one(spec: &'static CommandSpec, language: Language) -> clap::Command {
    let mut command = clap::Command::new(spec.name)
        .about(spec.about.to(language))
        .long_about(format!("{}\n\n{}", spec.about.to(language), spec.details.to(language)).trim().to_owned())
        .override_usage(spec.usage.to(language))
        .allow_negative_numbers(true)
        .after_help(examples(spec, language));
    for Group { title, arguments } in spec.groups {
        for argument in *arguments {
            command = command.arg(arg(argument, title.to(language), language));
        }
    }
    shared(command, language)
}

/// What every command has: language and help, and help's form.
fn shared(command: clap::Command, language: Language) -> clap::Command {
    let usage = match language {
        Language::English => "Usage",
        Language::Chinese => "用法",
    };
    let mut command = command
        .help_template(format!("{{about-with-newline}}\n{usage}: {{usage}}\n\n{{all-args}}{{after-help}}"))
        .max_term_width(WIDTH)
        .disable_help_flag(true)
        .disable_version_flag(true);
    for argument in GLOBAL {
        command = command.arg(arg(argument, OPTIONS.to(language), language));
    }
    let help = Arg::new("help").long("help").short('h').action(ArgAction::Help);
    command.arg(help.help(HELP.to(language)).help_heading(OPTIONS.to(language)))
}

fn arg(argument: &'static Argument, heading: &'static str, language: Language) -> Arg {
    let mut arg = Arg::new(argument.name).help(with_choices(argument, language)).help_heading(heading);
    if !argument.positional {
        arg = arg.long(argument.name);
    }
    if let Some(short) = argument.short {
        arg = arg.short(short);
    }
    if argument.kind == Kind::Switch {
        return arg.action(ArgAction::SetTrue);
    }
    if argument.kind == Kind::Paths {
        arg = arg.num_args(1..).action(ArgAction::Append);
        return arg.value_name(argument.value).value_parser(ValueParser::os_string());
    }
    arg.action(ArgAction::Set).value_name(argument.value).value_parser(ValueParser::os_string())
}

/// The help sentence, with the words of a choice behind it.
pub(crate) fn with_choices(argument: &Argument, language: Language) -> String {
    let help = argument.help.to(language);
    match (argument.kind, language) {
        (Kind::Choice(words), Language::English) => format!("{help} [{}]", words.join("|")),
        (Kind::Choice(words), Language::Chinese) => format!("{help}［{}］", words.join("|")),
        _ => help.to_owned(),
    }
}

fn examples(spec: &CommandSpec, language: Language) -> String {
    let title = match language {
        Language::English => "Examples:",
        Language::Chinese => "示例：",
    };
    let lines = spec.examples.iter().map(|(line, what)| format!("  # {}\n  {line}", what.to(language)));
    format!("{title}\n{}", lines.collect::<Vec<_>>().join("\n\n"))
}

/// What clap complains of, in our words.
pub(crate) fn explain(error: &clap::Error, messages: &dyn Messages) -> String {
    let word = |kind| match error.get(kind) {
        Some(ContextValue::String(s)) => Some(s.clone()),
        Some(ContextValue::Strings(s)) => s.first().cloned(),
        _ => None,
    };
    let named = || word(ContextKind::InvalidArg).unwrap_or_default();
    let flag = || named().split_whitespace().next().unwrap_or_default().to_owned();
    let refusal = match error.kind() {
        ErrorKind::UnknownArgument if named().starts_with('-') => {
            Refusal::UnknownFlag(named(), word(ContextKind::SuggestedArg))
        }
        ErrorKind::UnknownArgument | ErrorKind::TooManyValues => Refusal::Superfluous(named()),
        ErrorKind::InvalidSubcommand => Refusal::UnknownCommand(
            word(ContextKind::InvalidSubcommand).unwrap_or_default(),
            word(ContextKind::SuggestedSubcommand),
        ),
        ErrorKind::InvalidValue | ErrorKind::WrongNumberOfValues | ErrorKind::TooFewValues => Refusal::NoValue(flag()),
        ErrorKind::ArgumentConflict => Refusal::Twice(flag()),
        ErrorKind::InvalidUtf8 => Refusal::NotUnicode,
        _ => {
            let first = error.to_string();
            let first = first.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Refusal::Other(first)
        }
    };
    messages.refused(&refusal)
}

/// The text given for `argument`, if any.
pub(crate) fn given<'a>(matches: &'a ArgMatches, name: &str) -> Vec<&'a OsStr> {
    let values = matches.try_get_many::<OsString>(name).ok().flatten();
    values.into_iter().flatten().map(OsString::as_os_str).collect()
}
