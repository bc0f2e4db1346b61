//! `danqing samplers`: what can be sampled with.

use danqing_sampling::guidance::GUIDANCE;
use danqing_sampling::listing;
use danqing_sampling::samplers::SAMPLERS;
use danqing_sampling::schedules::SCHEDULES;

use super::{CommandSpec, Invocation, print};
use crate::arguments::{Argument, Group};
use crate::failure::Failure;
use crate::messages::{Text, text};

/// The command.
pub(crate) static COMMAND: CommandSpec = CommandSpec {
    name: "samplers",
    about: text("Lists samplers, schedules and kinds of guidance.", "列出采样器、噪声调度和引导方式。"),
    details: text(
        "Any of the names can be given to `danqing draw --sampler` and `--schedule`: the id, the AUTOMATIC1111 web UI's label, \
         ComfyUI's id or diffusers' class. Case, spaces and signs do not matter.",
        "`danqing draw --sampler` 和 `--schedule` 接受任一名称：id、AUTOMATIC1111 的名称、ComfyUI 的 id 或 diffusers 的类名；\
         不区分大小写、空格和符号。",
    ),
    usage: text("danqing samplers [OPTIONS]", "danqing samplers [选项]"),
    groups: &[Group {
        title: text("Arguments", "参数"),
        arguments: &[Argument::switch(
            "markdown",
            text("Print Markdown tables with papers", "输出含论文出处的 Markdown 表格"),
        )],
    }],
    examples: &[("danqing samplers", text("What can be chosen?", "有哪些可选？"))],
    run,
};

fn run(invocation: &Invocation) -> Result<(), Failure> {
    if invocation.is("markdown") {
        return print(&listing::reference_page());
    }
    let samplers = SAMPLERS.iter().map(|s| s.spec()).map(|s| {
        let noise = if s.uses_noise { text("adds noise", "加噪") } else { text("", "") };
        let times = if s.evaluations > 1 { format!("{}x ", s.evaluations) } else { String::new() };
        [s.id.to_owned(), s.name.to_owned(), format!("{times}{}", noise.to(invocation.language))]
    });
    let schedules = SCHEDULES.iter().map(|s| s.spec()).map(|s| [s.id.to_owned(), s.name.to_owned(), String::new()]);
    let guidance = GUIDANCE.iter().map(|g| g.spec()).map(|g| [g.id.to_owned(), g.name.to_owned(), String::new()]);
    let sections: [(Text, Vec<[String; 3]>); 3] = [
        (text("Samplers", "采样器"), samplers.collect()),
        (text("Schedules", "噪声调度"), schedules.collect()),
        (text("Guidance", "引导"), guidance.collect()),
    ];
    let mut out = String::new();
    for (title, rows) in sections {
        out.push_str(&format!("{}\n", title.to(invocation.language)));
        for [id, name, note] in rows {
            out.push_str(format!("  {id:<24} {name:<28} {note}").trim_end());
            out.push('\n');
        }
        out.push('\n');
    }
    print(&out)
}
