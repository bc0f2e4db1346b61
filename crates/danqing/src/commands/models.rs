//! `danqing models`: which models are there, and why one does not load.

use std::path::PathBuf;

use danqing_pipelines::checkpoint::{Listed, list};
use danqing_pipelines::embedded_upscalers::EMBEDDED_UPSCALERS;

use super::{CommandSpec, Invocation, print};
use crate::arguments::{Argument, Group, Kind};
use crate::failure::Failure;
use crate::messages::text;
use crate::wire::{STARTER, expanded, name_of, places};

/// The command.
pub(crate) static COMMAND: CommandSpec = CommandSpec {
    name: "models",
    about: text("Lists models and says why one does not load.", "列出模型，并说明某个模型为何无法加载。"),
    details: text(
        "Looks through FOLDER, or through the folders of the setting `models` and the Hugging Face cache. ComfyUI's and the \
         AUTOMATIC1111 web UI's trees, diffusers folders and an extra_model_paths.yaml are understood. Only names and shapes of \
         tensors are read. Any name of the list can be given to `danqing draw --model`; embedded networks that enlarge go to `danqing enlarge --upscaler`.",
        "查看指定文件夹，或设置项 `models` 中的文件夹和 Hugging Face 缓存。支持 ComfyUI 和 AUTOMATIC1111 的目录结构、\
         diffusers 文件夹和 extra_model_paths.yaml。只读取张量的名称和形状。列出的名称可用于 `danqing draw --model`；内置的放大网络用于 `danqing enlarge --upscaler`。",
    ),
    usage: text("danqing models [OPTIONS] [FOLDER]", "danqing models [选项] [文件夹]"),
    groups: &[Group {
        title: text("Arguments", "参数"),
        arguments: &[
            Argument::positional("folder", "FOLDER", Kind::Path, text("Where to look", "要查看的文件夹")),
            Argument::switch("json", text("Print JSON for other programs", "输出 JSON，供其他程序使用")),
        ],
    }],
    examples: &[("danqing models ~/ComfyUI/models", text("What is in this tree?", "这个目录里有什么？"))],
    run,
};

fn run(invocation: &Invocation) -> Result<(), Failure> {
    let messages = invocation.messages();
    let places: Vec<PathBuf> = match invocation.path("folder") {
        Some(folder) if !folder.exists() => {
            return Err(Failure::Failed(messages.no_folder(&folder.display().to_string())));
        }
        Some(folder) => expanded(folder),
        None => places(invocation),
    };
    let found: Vec<Listed> = places.iter().flat_map(|place| list(place)).collect();
    let embedded = invocation.path("folder").is_none();
    if invocation.is("json") {
        let rows = found.iter().map(|entry| {
            serde_json::json!({
                "name": name_of(&entry.path),
                "path": entry.path.display().to_string(),
                "kind": entry.kind,
                "title": entry.title,
                "reason_not_loadable": entry.reason_not_loadable,
            })
        });
        let starter = serde_json::json!({ "name": STARTER, "path": null, "kind": "embedded", "title": STARTER, "reason_not_loadable": null });
        let upscalers = EMBEDDED_UPSCALERS.iter().map(|network| {
            let title = format!("x{}", network.scale);
            serde_json::json!({ "name": network.name, "path": null, "kind": "embedded upscaler", "title": title, "reason_not_loadable": null })
        });
        let within = std::iter::once(starter).chain(upscalers).filter(|_| embedded);
        let all: Vec<serde_json::Value> = within.chain(rows).collect();
        let json = serde_json::to_string_pretty(&all).map_err(|e| Failure::of(&e))?;
        return print(&format!("{json}\n"));
    }
    let mut out = String::new();
    if embedded {
        out.push_str(&format!("{STARTER}\n  {}\n", messages.embedded()));
        for network in EMBEDDED_UPSCALERS {
            let about = messages.embedded_upscaler(network.subject, network.scale);
            out.push_str(&format!("{}\n  {about}\n", network.name));
        }
    }
    for entry in &found {
        out.push_str(&format!("{}\n  {}\n", name_of(&entry.path), entry.path.display()));
        match &entry.reason_not_loadable {
            None => out.push_str(&format!("  {}, {}\n", entry.title, entry.kind)),
            Some(reason) => out.push_str(&format!("  {}\n", messages.not_loadable(reason))),
        }
    }
    if found.is_empty() {
        let looked: Vec<String> = places.iter().map(|p| p.display().to_string()).collect();
        out.push_str(&format!("{}\n", messages.no_models(&looked)));
    }
    print(&out)
}
