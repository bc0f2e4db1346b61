//! `danqing shrink`: small pictures for storage and the wire, which `danqing enlarge` brings back.

use std::path::Path;

use danqing_imaging::{DecodeLimits, Depth, EncodeOptions, Format, RowFile, RowHeader, read_file};
use danqing_pipelines::TaskError;
use danqing_pipelines::control::Control;
use danqing_pipelines::request::Phase;
use danqing_pipelines::tasks::enlarge::{EnlargeOptions, SampleEnlargement, TargetSize};

use super::batch::{self, Done, Job, Naming};
use super::{CommandSpec, Invocation};
use crate::arguments::{Argument, Group, Kind};
use crate::decoder;
use crate::failure::Failure;
use crate::messages::text;
use crate::progress::{Watch, catch_interrupts};

/// The command.
pub(crate) static COMMAND: CommandSpec = CommandSpec {
    name: "shrink",
    about: text("Makes small pictures that `enlarge` brings back.", "生成可由 enlarge 还原的小图片。"),
    details: text(
        "A picture is reduced by the antialiased cubic filter, which the networks of `danqing enlarge` are trained to undo, and written as \
         JPEG or WebP. Its original size is noted in it: `danqing enlarge` without a size goes back to that. Texts, EXIF, colour profile and labels stay; \
         --strip leaves out texts and EXIF. Fine detail is lost for good: docs/shrink.md tells when this saves more than a lower JPEG quality would, and when not.",
        "用抗锯齿三次滤波缩小图片（`danqing enlarge` 的网络正是为还原它而训练），再写成 JPEG 或 WebP。图片中记下原来的尺寸：\
         `danqing enlarge` 不指定尺寸时会恢复到该尺寸。文字、EXIF、颜色配置和标识会保留；--strip 去掉文字和 EXIF。\
         细节会永久损失：何时比降低 JPEG 质量更省、何时不划算，见 docs/shrink.md。",
    ),
    usage: text("danqing shrink [OPTIONS] <FILE>...", "danqing shrink [选项] <文件>..."),
    groups: &[Group {
        title: text("Arguments", "参数"),
        arguments: &[
            Argument::positional("files", "FILE", Kind::Paths, text("Pictures, or folders of pictures", "图片，或图片文件夹")),
            Argument::option("output", "FILE", Kind::Path, text("Where to write: a file for one picture, a folder for several; beside the pictures, as name-small.jpg, when not given", "输出：单张为文件，多张为文件夹；不给则写在原图旁，名为 原名-small.jpg")).short('o'),
            Argument::option("format", "KIND", Kind::Choice(FORMATS), text("Kind of file; by the ending of --output, or else jpeg. WebP keeps alpha", "文件格式；不给则由 --output 的扩展名决定，否则为 jpeg。WebP 保留透明度")),
            Argument::option("by", "N", Kind::Number(1.0, 8.0), text("How many times smaller each side becomes; 2 unless given", "每边缩小的倍数，默认 2")),
            Argument::option("quality", "N", Kind::Count(1, 100), text("Quality of JPEG or WebP; 70 unless given", "JPEG 或 WebP 的质量，默认 70")),
            Argument::switch("strip", text("Leave out texts and EXIF; the label of how the picture came to be stays", "去掉文字和 EXIF；图片来源的标识会保留")),
            Argument::switch("skip-existing", text("Leave out pictures whose result is already there", "跳过已有结果的图片")),
            Argument::option("report", "FILE", Kind::Path, text("Also write what became of each picture, as .csv or .json", "另存每张图片的处理结果，.csv 或 .json")),
            Argument::switch("quiet", text("Print nothing but errors", "只输出错误")).short('q'),
        ],
    }],
    examples: &[
        ("danqing shrink photo.jpg", text("Half the width and height", "宽高各减半")),
        ("danqing shrink holiday/ -o small/ --quality 60", text("A folder", "整个文件夹")),
        ("danqing enlarge photo-small.jpg -o photo.png", text("Back to the size that it had", "恢复原来的尺寸")),
    ],
    run,
};

const FORMATS: &[&str] = &["jpeg", "webp"];
const QUALITY: u8 = 70;
const BY: f64 = 2.0;

fn run(invocation: &Invocation) -> Result<(), Failure> {
    let format = invocation.text("format");
    let ending: fn(&Path) -> String = match format {
        Some("webp") => |_| "webp".to_owned(),
        _ => |_| "jpg".to_owned(),
    };
    let naming = Naming { command: "danqing shrink", suffix: "small", ending, medical: false };
    let jobs = batch::jobs(invocation, &naming)?;
    if let (Some(format), [job]) = (format, jobs.as_slice())
        && Format::for_writing(&job.to).is_ok_and(|written| !written.name().eq_ignore_ascii_case(format))
    {
        let wish = format!("--format {format}");
        return Err(Failure::Usage(invocation.messages().not_both(&wish, &job.to.display().to_string())));
    }
    catch_interrupts(invocation.messages())?;
    let watch = Watch::new(invocation.language, invocation.is("quiet"), None, false);
    batch::run(invocation, &watch, &jobs, Phase::Shrink, &|job, control| one(invocation, &watch, job, control))
}

fn one(invocation: &Invocation, watch: &Watch, job: &Job, control: &dyn Control) -> Result<Done, Failure> {
    let failed = |e| Failure::of(&e);
    let messages = invocation.messages();
    let bytes = read_file(&job.from, &DecodeLimits::default()).map_err(failed)?;
    let before = bytes.len() as u64;
    let rows = decoder::rows(bytes).map_err(failed)?;
    for warning in rows.warnings() {
        watch.say(&messages.warning(&job.from.display().to_string(), warning));
    }
    let RowHeader { width, height, channels, mut metadata, .. } = rows.header().clone();
    let from = (width, height);
    let to = TargetSize::Scale(1.0 / invocation.number("by").unwrap_or(BY)).of(from, 1);
    if invocation.is("strip") {
        metadata.text.clear();
        metadata.exif = None;
    }
    // What was made small before goes back to where it began.
    let original = metadata.original_size().unwrap_or(from);
    metadata.set_original_size(original);
    let quality = invocation.count("quality").map_or(QUALITY, |n| n as u8);
    let options = EncodeOptions { jpeg_quality: quality, webp_quality: Some(quality), ..Default::default() };
    let task_failed = |error: TaskError| match error {
        TaskError::Stopped => Failure::Stopped(messages.task_error(&error)),
        other => Failure::Failed(messages.task_error(&other)),
    };
    let reduction = SampleEnlargement::new(&[], from, to, channels, Depth::Eight, &EnlargeOptions::default())
        .map_err(task_failed)?;
    let header = RowHeader { width: to.0, height: to.1, channels, depth: Depth::Eight, metadata };
    let file = RowFile::create(&job.to, header, &options).map_err(failed)?;
    batch::rewrite(rows, reduction, file, control).map_err(task_failed)?;
    let after = std::fs::metadata(&job.to).map_or(0, |file| file.len());
    watch.say(&messages.shrunk(&job.to.display().to_string(), before, after));
    Ok(Done { sizes: (from, to), ..Done::default() })
}
