//! `danqing inspect`: what a picture file says about itself.

use danqing_imaging::DecodeLimits;
use danqing_imaging::inspect::{Language as ReportLanguage, report};

use super::{CommandSpec, Invocation, print};
use crate::arguments::{Argument, Group, Kind};
use crate::failure::Failure;
use crate::messages::{Language, text};

/// The command.
pub(crate) static COMMAND: CommandSpec = CommandSpec {
    name: "inspect",
    about: text("Shows how a picture was generated.", "查看一张图片是如何生成的。"),
    details: text(
        "Reads the prompt, seed and other parameters that danqing, the AUTOMATIC1111 web UI, ComfyUI, InvokeAI, NovelAI, \
         Fooocus, SwarmUI and stable-diffusion.cpp write into their files, also where they are hidden in the pixels, and \
         ComfyUI workflows in JSON. Nothing is changed. A file that is cut off is reported as far as it can be read, and the \
         exit status is 1.",
        "读取 danqing、AUTOMATIC1111、ComfyUI、InvokeAI、NovelAI、Fooocus、SwarmUI 和 stable-diffusion.cpp \
         写入文件的提示词、种子等参数（包括隐藏在像素中的），也能读 ComfyUI 的 JSON 工作流。文件不会被修改。\
         残缺的文件会尽量读取，退出状态为 1。",
    ),
    usage: text("danqing inspect [OPTIONS] <FILE>", "danqing inspect [选项] <文件>"),
    groups: &[Group {
        title: text("Arguments", "参数"),
        arguments: &[
            Argument::positional("file", "FILE", Kind::Path, text("The picture or workflow", "图片或工作流文件")),
            Argument::switch("json", text("Print JSON for other programs", "输出 JSON，供其他程序使用")),
        ],
    }],
    examples: &[
        ("danqing inspect cats.png", text("Who drew this, and how?", "这张图是怎么画的？")),
        ("danqing inspect --json cats.png", text("The same for a program", "供程序读取")),
    ],
    run,
};

fn run(invocation: &Invocation) -> Result<(), Failure> {
    let messages = invocation.messages();
    let Some(file) = invocation.path("file") else {
        return Err(Failure::Usage(messages.see_help("danqing inspect")));
    };
    let report = report(file, &DecodeLimits::default()).map_err(|e| Failure::of(&e))?;
    if invocation.is("json") {
        let json = serde_json::to_string_pretty(&report).map_err(|e| Failure::of(&e))?;
        print(&format!("{json}\n"))?;
    } else {
        let language = match invocation.language {
            Language::English => ReportLanguage::English,
            Language::Chinese => ReportLanguage::Chinese,
        };
        print(&report.to_text(language))?;
    }
    match &report.damage {
        Some(why) => Err(Failure::Failed(messages.damaged(&file.display().to_string(), why))),
        None => Ok(()),
    }
}
