//! `danqing reference`: the pages of `docs/reference`, made from the same tables as the program itself.

use danqing_sampling::listing;

use super::{COMMANDS, CommandSpec, GLOBAL, Invocation, print};
use crate::arguments::{Argument, Group, Kind, with_choices};
use crate::failure::Failure;
use crate::messages::{Language, text};
use crate::settings::SETTINGS;

const PAGES: &[&str] = &["commands", "samplers", "settings"];

/// The command.
pub(crate) static COMMAND: CommandSpec = CommandSpec {
    name: "reference",
    about: text("Prints a page of the reference as Markdown.", "以 Markdown 输出一页参考文档。"),
    details: text(
        "The pages under docs/reference are printed by this command, so that they cannot differ from the program.",
        "docs/reference 下的页面由此命令输出，因此不会与程序不符。",
    ),
    usage: text("danqing reference <PAGE>", "danqing reference <页面>"),
    groups: &[Group {
        title: text("Arguments", "参数"),
        arguments: &[Argument::positional("page", "PAGE", Kind::Choice(PAGES), text("Which page", "哪一页"))],
    }],
    examples: &[("danqing reference settings", text("All settings", "全部设置"))],
    run,
};

fn run(invocation: &Invocation) -> Result<(), Failure> {
    match invocation.text("page") {
        Some("commands") => print(&commands()),
        Some("samplers") => print(&listing::reference_page()),
        Some("settings") => print(&settings()),
        _ => Err(Failure::Usage(invocation.messages().see_help("danqing reference"))),
    }
}

fn commands() -> String {
    let mut page = String::from(
        "# Commands\n\nPrinted by `danqing reference commands`. Every option that is also a [setting](settings.md) takes its value \
         from there where it is not given.\n\nExit status: 0 done, 1 failed, 2 a command line or setting that makes no sense, \
         130 stopped by Ctrl-C.\n",
    );
    for spec in COMMANDS {
        page.push_str(&format!(
            "\n## danqing {}\n\n{}\n\n{}\n\n```text\n{}\n```\n",
            spec.name,
            spec.about.en,
            spec.details.en.trim(),
            spec.usage.en
        ));
        for group in spec.groups {
            page.push_str(&format!("\n**{}**\n\n| option | |\n|---|---|\n", group.title.en));
            group.arguments.iter().for_each(|argument| page.push_str(&row(argument)));
        }
        let examples = spec.examples.iter().map(|(line, what)| format!("# {}\n{line}\n", what.en));
        page.push_str(&format!("\n```sh\n{}```\n", examples.collect::<Vec<_>>().join("\n")));
    }
    page.push_str("\n## For every command\n\n| option | |\n|---|---|\n");
    GLOBAL.iter().for_each(|argument| page.push_str(&row(argument)));
    page.push_str("| `-h, --help` | Print help |\n");
    page
}

fn row(argument: &Argument) -> String {
    let help = with_choices(argument, Language::English);
    format!("| `{}` | {} |\n", argument.signature(), help.replace('|', "\\|"))
}

fn settings() -> String {
    let mut page = String::from(
        "# Settings\n\nPrinted by `danqing reference settings`.\n\nA setting stands in a TOML file; the environment variable overrides \
         the file, and the flag of the same name overrides both. The file is the one that `DANQING_CONFIG` names, else \
         `danqing/settings.toml` in `$XDG_CONFIG_HOME` (`~/.config`, on Windows `%APPDATA%`).\n\n\
         ```toml\nmodel = \"starter\"\nmodels = [\"/home/me/ComfyUI/models\"]\nthreads = 4\n```\n\n\
         | setting | variable | value | default | what it does | 说明 |\n|---|---|---|---|---|---|\n",
    );
    for s in SETTINGS {
        page.push_str(&format!(
            "| `{}` | `{}` | {} | {} | {} | {} |\n",
            s.name,
            s.variable,
            s.kind.describe(Language::English),
            s.default.en,
            s.help.en,
            s.help.zh
        ));
    }
    page
}
