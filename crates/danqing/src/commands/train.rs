//! `danqing train`: trains the embedded models on this machine.

use std::path::{Path, PathBuf};

use danqing_training::TrainError;
use danqing_training::run::RunEnd;
use danqing_training::stages::{STAGES, StarterOptions, export_starter, run_stage, score_starter};
use danqing_training::upscalers::{UPSCALER_RECIPES, UpscalerOptions, export_upscaler, train_upscaler};

use super::{CommandSpec, Invocation, print};
use crate::arguments::{Argument, Group, Kind, Value};
use crate::failure::Failure;
use crate::messages::text;
use crate::progress::{catch_interrupts, interrupted};

/// What can be trained.
const METHODS: &[&str] = &["starter", "upscaler"];
/// The upscalers.
const NETWORKS: &[&str] = &["photo-x2", "photo-x4", "art-x4", "clean-x1", "live-x2"];
/// The stages of the starter, the second one of an upscaler, and writing out what they made.
const WORK: &[&str] = &["autoencoder", "denoiser", "evaluator", "refine", "export", "score"];

/// The command.
pub(crate) static COMMAND: CommandSpec = CommandSpec {
    name: "train",
    about: text("Trains the embedded models on this machine.", "在本机训练内置模型。"),
    details: text(
        "An upscaler learns from photographs in a folder and from made pictures; `--stage refine` goes on from the file named by `--from` in a \
         run of its own, on fewer and larger pieces, for the last bit of exactness; `--stage export` writes it as a file for `danqing \
         enlarge`.\n\nThe starter's stages come one after the other: the autoencoder, then the denoiser with its text encoder; `export` writes the \
         averaged weights as a diffusers folder. Apart from them an evaluator learns to tell what a picture shows; `score` counts \
         how many pictures of 600 prompts show what was asked. A stage that is stopped or killed goes on from its last checkpoint, at most \
         three minutes old, when it is called again. Losses, their curve and pictures to look at lie in the stage's folder. \
         The pictures come from icon packages of the npm registry: @iconify-json/fluent-emoji-flat, and noto, twemoji or fxemoji \
         for things that it lacks.",
        "放大网络从文件夹中的照片和人造图片学习；`--stage refine` 在另一训练文件夹中从 `--from` 的文件继续，\
         用更少、更大的图块提高精度；`--stage export` 写出供 `danqing enlarge` 使用的文件。\n\n\
         入门模型的各阶段依次进行：先训练自编码器，再训练去噪网络及其文本编码器；`export` 把平均权重写成 diffusers 文件夹。\
         另外训练一个识别画面内容的评估网络；`score` 用它统计 600 条提示词中画对了多少。\
         被中止的阶段再次运行时会从最近的检查点（最多三分钟前）继续。损失表、损失曲线和样图都在该阶段的文件夹中。\
         图片来自 npm 图标包：@iconify-json/noto、fluent-emoji-flat、twemoji 和 fxemoji。",
    ),
    usage: text(
        "danqing train <starter|upscaler> --run <FOLDER> [OPTIONS]",
        "danqing train <starter|upscaler> --run <文件夹> [选项]",
    ),
    groups: &[Group {
        title: text("Arguments", "参数"),
        arguments: &[
            Argument::positional("method", "METHOD", Kind::Choice(METHODS), text("What to train", "训练什么")),
            Argument::option("stage", "STAGE", Kind::Choice(WORK), text("What to do", "做哪一步")),
            Argument::option("network", "NAME", Kind::Choice(NETWORKS), text("Which upscaler", "哪个放大网络")),
            Argument::option(
                "pictures",
                "FOLDER",
                Kind::Path,
                text("Photographs that an upscaler learns from", "放大网络学习所用的照片文件夹"),
            ),
            Argument::option(
                "validation",
                "FOLDER",
                Kind::Path,
                text("Pictures that an upscaler is judged by", "用于评判放大网络的图片文件夹"),
            ),
            Argument::option("run", "FOLDER", Kind::Path, text("Folder of the run", "训练文件夹")),
            Argument::option(
                "icons",
                "FOLDER",
                Kind::Path,
                text("Folder where the icon packages were installed", "图标包的安装文件夹"),
            ),
            Argument::option("train-steps", "N", Kind::Count(1, 100_000_000), text("Steps in all", "总步数")),
            Argument::option("train-batch", "N", Kind::Count(1, 4096), text("Pictures a step", "每步图片数")),
            Argument::option(
                "from",
                "PATH",
                Kind::Path,
                text(
                    "What a new run begins with: a starter's folder (its vocabulary and weights; also the one that is scored), or an \
                     upscaler's file (what fits of it)",
                    "新训练的起点：入门模型文件夹（词表和权重；也是要评分的模型），或放大网络文件（形状相符的部分）",
                ),
            ),
            Argument::option("out", "FOLDER", Kind::Path, text("Where export writes the model", "导出模型的位置")),
        ],
    }],
    examples: &[
        (
            "danqing train starter --stage autoencoder --run runs/starter --icons icons --train-steps 3000",
            text("The first stage", "第一阶段"),
        ),
        (
            "danqing train starter --stage export --run runs/starter --out starter",
            text("Write what was trained", "写出训练结果"),
        ),
        (
            "danqing train upscaler --network photo-x4 --run runs/photo-x4 --pictures photos --validation held-out",
            text("An upscaler", "训练放大网络"),
        ),
    ],
    run,
};

/// Steps of a stage where none are asked for.
const STEPS: u64 = 20_000;
/// Pictures a step where none are asked for.
const BATCH: u64 = 48;
/// Pairs of patches a step where none are asked for.
const PAIRS: u64 = 16;

fn run(invocation: &Invocation) -> Result<(), Failure> {
    let messages = invocation.messages();
    let failed = |e: TrainError| Failure::of(&e);
    let help = || Failure::Usage(messages.see_help("danqing train"));
    match invocation.text("method") {
        Some("starter") => {}
        Some("upscaler") => return upscaler(invocation),
        _ => return Err(help()),
    }
    let (Some(stage), Some(folder)) = (invocation.text("stage"), invocation.path("run")) else { return Err(help()) };
    if stage == "export" {
        let out = invocation.path("out").ok_or_else(help)?;
        return export_starter(folder, out).map_err(failed);
    }
    let icons = invocation.path("icons").map_or_else(|| PathBuf::from("."), PathBuf::from);
    if stage == "score" {
        let model = invocation.path("from").ok_or_else(help)?;
        let mut log = |line: &str| drop(print(&format!("{line}\n")));
        let (_, scores) = score_starter(folder, &icons, model, &mut log).map_err(failed)?;
        return print(&scores.to_string());
    }
    let Some((_, stage)) = STAGES.iter().find(|(name, _)| *name == stage) else { return Err(help()) };
    let options = StarterOptions {
        icons,
        folder: folder.to_owned(),
        steps: count(invocation, "train-steps", STEPS),
        batch: count(invocation, "train-batch", BATCH) as usize,
        from: invocation.path("from").map(PathBuf::from),
    };
    catch_interrupts(messages)?;
    let mut log = |line: &str| drop(print(&format!("{line}\n")));
    ended(invocation, run_stage(*stage, &options, &mut log, &interrupted).map_err(failed)?, folder)
}

/// A count of the line; settings do not hold it.
fn count(invocation: &Invocation, name: &str, or: u64) -> u64 {
    match invocation.flag(name) {
        Some(Value::Count(n)) => *n,
        _ => or,
    }
}

fn ended(invocation: &Invocation, end: RunEnd, folder: &Path) -> Result<(), Failure> {
    match end {
        RunEnd::Finished => Ok(()),
        RunEnd::Stopped => Err(Failure::Stopped(invocation.messages().training_kept(&folder.display().to_string()))),
    }
}

fn upscaler(invocation: &Invocation) -> Result<(), Failure> {
    let messages = invocation.messages();
    let help = || Failure::Usage(messages.see_help("danqing train"));
    let recipe = UPSCALER_RECIPES.iter().find(|r| Some(r.name) == invocation.text("network")).ok_or_else(help)?;
    let folder = invocation.path("run").ok_or_else(help)?;
    let failed = |e: TrainError| Failure::of(&e);
    if invocation.text("stage") == Some("export") {
        return export_upscaler(recipe, folder, invocation.path("out").ok_or_else(help)?).map_err(failed);
    }
    let refine = match invocation.text("stage") {
        None => false,
        Some("refine") if invocation.path("from").is_some() => true,
        Some("refine") => return Err(Failure::Usage(messages.nothing_to_refine())),
        Some(_) => return Err(help()),
    };
    let mut validation = Vec::new();
    if let Some(path) = invocation.path("validation") {
        let unread = |e: std::io::Error| Failure::Failed(format!("{}: {e}", path.display()));
        let entries = std::fs::read_dir(path).map_err(unread)?;
        validation = entries.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>().map_err(unread)?;
        validation.sort();
    }
    let options = UpscalerOptions {
        recipe: *recipe,
        folder: folder.to_owned(),
        pictures: invocation.path("pictures").map(PathBuf::from),
        icons: invocation.path("icons").map(PathBuf::from),
        validation,
        from: invocation.path("from").map(PathBuf::from),
        steps: count(invocation, "train-steps", STEPS),
        batch: count(invocation, "train-batch", if refine { PAIRS / 4 } else { PAIRS }) as usize,
        refine,
    };
    catch_interrupts(messages)?;
    let mut log = |line: &str| drop(print(&format!("{line}\n")));
    ended(invocation, train_upscaler(&options, &mut log, &interrupted).map_err(failed)?, folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_what_can_be_trained() {
        assert!(UPSCALER_RECIPES.iter().map(|recipe| recipe.name).eq(NETWORKS.iter().copied()));
        assert!(STAGES.iter().all(|(name, _)| WORK.contains(name)));
    }
}
