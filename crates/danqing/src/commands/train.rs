//! `danqing train`: trains the embedded models on this machine.

use std::path::PathBuf;

use danqing_training::TrainError;
use danqing_training::run::RunEnd;
use danqing_training::stages::{STAGES, StarterOptions, export_starter, run_stage, score_starter};

use super::{CommandSpec, Invocation, print};
use crate::arguments::{Argument, Group, Kind, Value};
use crate::failure::Failure;
use crate::messages::text;
use crate::progress::{catch_interrupts, interrupted};

/// What can be trained.
const METHODS: &[&str] = &["starter"];
/// The stages of the starter, and writing out what they made.
const WORK: &[&str] = &["autoencoder", "denoiser", "evaluator", "export", "score"];

/// The command.
pub(crate) static COMMAND: CommandSpec = CommandSpec {
    name: "train",
    about: text("Trains the starter model on this machine.", "在本机训练入门模型。"),
    details: text(
        "The stages come one after the other: the autoencoder, then the denoiser with its text encoder; `export` writes the \
         averaged weights as a diffusers folder. Apart from them an evaluator learns to tell what a picture shows; `score` counts \
         how many pictures of 600 prompts show what was asked. A stage that is stopped or killed goes on from its last checkpoint, at most \
         three minutes old, when it is called again. Losses, their curve and pictures to look at lie in the stage's folder. \
         The pictures come from icon packages of the npm registry: @iconify-json/fluent-emoji-flat, and noto, twemoji or fxemoji \
         for things that it lacks.",
        "各阶段依次进行：先训练自编码器，再训练去噪网络及其文本编码器；`export` 把平均权重写成 diffusers 文件夹。\
         另外训练一个识别画面内容的评估网络；`score` 用它统计 600 条提示词中画对了多少。\
         被中止的阶段再次运行时会从最近的检查点（最多三分钟前）继续。损失表、损失曲线和样图都在该阶段的文件夹中。\
         图片来自 npm 图标包：@iconify-json/noto、fluent-emoji-flat、twemoji 和 fxemoji。",
    ),
    usage: text(
        "danqing train starter --stage <STAGE> --run <FOLDER> [OPTIONS]",
        "danqing train starter --stage <阶段> --run <文件夹> [选项]",
    ),
    groups: &[Group {
        title: text("Arguments", "参数"),
        arguments: &[
            Argument::positional("method", "METHOD", Kind::Choice(METHODS), text("What to train", "训练什么")),
            Argument::option("stage", "STAGE", Kind::Choice(WORK), text("What to do", "做哪一步")),
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
                "FOLDER",
                Kind::Path,
                text(
                    "A starter's folder: a new run begins with its vocabulary and weights; the one that is scored",
                    "入门模型文件夹：新训练从其词表和权重开始；或要评分的模型",
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
    ],
    run,
};

/// Steps of a stage where none are asked for.
const STEPS: u64 = 20_000;
/// Pictures a step where none are asked for.
const BATCH: u64 = 48;

fn run(invocation: &Invocation) -> Result<(), Failure> {
    let messages = invocation.messages();
    let failed = |e: TrainError| Failure::of(&e);
    let help = || Failure::Usage(messages.see_help("danqing train"));
    if invocation.text("method") != Some("starter") {
        return Err(help());
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
    let count = |name: &str, or: u64| match invocation.flag(name) {
        Some(Value::Count(n)) => *n,
        _ => or,
    };
    let options = StarterOptions {
        icons,
        folder: folder.to_owned(),
        steps: count("train-steps", STEPS),
        batch: count("train-batch", BATCH) as usize,
        from: invocation.path("from").map(PathBuf::from),
    };
    catch_interrupts(messages)?;
    let mut log = |line: &str| drop(print(&format!("{line}\n")));
    match run_stage(*stage, &options, &mut log, &interrupted).map_err(failed)? {
        RunEnd::Finished => Ok(()),
        RunEnd::Stopped => Err(Failure::Stopped(messages.training_kept(&folder.display().to_string()))),
    }
}
