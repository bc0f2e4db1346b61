//! `danqing enlarge`: larger and cleaner pictures.

mod files;

use danqing_imaging::sheet::{SheetOptions, contact_sheet};
use danqing_imaging::xmp::DigitalSourceType;
use danqing_imaging::{DecodeLimits, EncodeOptions, Filter, Picture, ResizeOptions, open, resize, save};
use danqing_models::upscalers::Upscaler;
use danqing_pipelines::DrawError;
use danqing_pipelines::tasks::enlarge::{EnlargeOptions, TargetSize, enlarge};

use super::{CommandSpec, Invocation};
use crate::arguments::{Argument, Group, Kind};
use crate::failure::Failure;
use crate::messages::text;
use crate::progress::{Watch, catch_interrupts};
use crate::settings::PRECISIONS;
use crate::wire::{self, NamedUpscaler};
use files::Job;

/// The command.
pub(crate) static COMMAND: CommandSpec = CommandSpec {
    name: "enlarge",
    about: text("Enlarges and restores pictures.", "放大和修复图片。"),
    details: text(
        "Networks of the common architectures are read from .safetensors, .pth, ncnn's .param with its .bin, and TensorFlow's .pb, and \
         recognised by what is in them; several work one after the other. Whatever they make is brought to the size that is asked for. Without a network the cubic \
         filter enlarges, and the program says so.\n\n\
         Of a folder every picture in it is taken. Pictures are cut into tiles, so that large ones need little memory. Texts, EXIF and \
         colour profile are kept, and the IPTC source type says that the picture was enhanced.",
        "网络文件可以是常见结构的 .safetensors、.pth、ncnn 的 .param（连同 .bin）或 TensorFlow 的 .pb，按内容自动识别；可依次使用多个。\
         结果会再缩放到所要求的尺寸。没有指定网络时用三次插值放大，并会说明。\n\n\
         给出文件夹时处理其中所有图片。图片分块处理，大图也不占很多内存。文字、EXIF 和颜色配置会保留，\
         IPTC 来源类型会注明图片经过增强。",
    ),
    usage: text("danqing enlarge [OPTIONS] <FILE>...", "danqing enlarge [选项] <文件>..."),
    groups: &[
        Group {
            title: text("Pictures", "图片"),
            arguments: &[
                Argument::positional("files", "FILE", Kind::Paths, text("Pictures, or folders of pictures", "图片，或图片文件夹")),
                Argument::option("output", "FILE", Kind::Path, text("Where to write: a file for one picture, a folder for several; beside the pictures, as name-enlarged, when not given", "输出：单张为文件，多张为文件夹；不给则写在原图旁，名为 原名-enlarged")).short('o'),
                Argument::switch("skip-existing", text("Leave out pictures whose result is already there", "跳过已有结果的图片")),
                Argument::option("compare", "FILE", Kind::Path, text("Also write a sheet: the cubic filter beside the result", "另存对比图：三次插值与结果并排")),
                Argument::option("quality", "N", Kind::Count(1, 100), text("Quality of JPEG", "JPEG 质量")),
            ],
        },
        Group {
            title: text("Size", "尺寸"),
            arguments: &[
                Argument::option("scale", "N", Kind::Number(0.01, 64.0), text("Times the picture's size; the network's own when no size is given", "放大倍数；不指定尺寸时由网络决定")),
                Argument::option("width", "N", Kind::Count(1, 65_535), text("To this width", "放大到此宽度")),
                Argument::option("height", "N", Kind::Count(1, 65_535), text("To this height", "放大到此高度")),
                Argument::option("fit", "WxH", Kind::Size, text("The largest that fits", "放大到不超过此尺寸")),
            ],
        },
        Group {
            title: text("Networks", "网络"),
            arguments: &[
                Argument::option("upscaler", "NAME,...", Kind::Text, text("Network files, or names of files in the model folders; several with commas, in their order", "网络文件或模型文件夹中的名称；多个用逗号分隔，依次使用")).short('u'),
                Argument::option("tile", "N", Kind::Count(16, 8192), text("Side of a tile in pixels; smaller needs less memory", "分块边长（像素），越小越省内存")),
                Argument::option("precision", "KIND", Kind::Choice(PRECISIONS), text("Arithmetic", "运算精度")),
                Argument::option("threads", "N", Kind::Count(1, 1024), text("Threads of computation", "计算线程数")),
                Argument::switch("quiet", text("Print nothing but errors", "只输出错误")).short('q'),
            ],
        },
    ],
    examples: &[
        ("danqing enlarge photo.jpg -u realesr-general-x4v3.pth -o big.png", text("Four times as large", "放大四倍")),
        ("danqing enlarge photo.jpg -u denoise.pth,span-x4.safetensors --width 3000 -o big.jpg", text("Clean, enlarge, bring to a width", "先去噪再放大到指定宽度")),
        ("danqing enlarge holiday/ -u span-x2.pth -o large/ --skip-existing", text("A folder, going on where it was stopped", "处理整个文件夹，可续做")),
    ],
    run,
};

fn run(invocation: &Invocation) -> Result<(), Failure> {
    let messages = invocation.messages();
    let options = EnlargeOptions {
        size: size(invocation)?,
        tile: invocation.count("tile").map_or(EnlargeOptions::default().tile, |n| n as usize),
    };
    let jobs = files::jobs(invocation)?;
    if jobs.len() > 1 && invocation.path("compare").is_some() {
        return Err(Failure::Usage(messages.one_picture("--compare")));
    }
    let networks = wire::open_upscalers(invocation)?;
    catch_interrupts(messages)?;
    let watch = Watch::new(invocation.language, invocation.is("quiet"), None, false);
    if networks.is_empty() {
        watch.say(&messages.cubic_only());
    }
    for NamedUpscaler { name, network } in &networks {
        let info = network.info();
        watch.say(&messages.upscaler(name, info.architecture, info.scale, info.parameters));
    }
    let session = Session { invocation, watch, networks, options };
    let several = jobs.len() > 1;
    let mut failed = 0;
    for (i, job) in jobs.iter().enumerate() {
        if several {
            session.watch.picture(format!("{}/{} ", i + 1, jobs.len()));
        }
        match session.one(job) {
            Ok(()) => {}
            // With several pictures one that fails is no reason to leave out the others.
            Err(Failure::Failed(why)) if several => {
                session.watch.finish();
                eprintln!("{}", messages.error(&format!("{}: {why}", job.from.display())));
                failed += 1;
            }
            Err(failure) => return Err(failure),
        }
    }
    if failed > 0 { Err(Failure::Failed(messages.some_failed(failed, jobs.len()))) } else { Ok(()) }
}

/// The size that was asked for.
fn size(invocation: &Invocation) -> Result<TargetSize, Failure> {
    let side = |name: &str| invocation.count(name).map(|n| n as u32);
    let asked = [
        ("--scale", invocation.number("scale").map(TargetSize::Scale)),
        ("--width", side("width").map(TargetSize::Width)),
        ("--height", side("height").map(TargetSize::Height)),
        ("--fit", invocation.size("fit").map(|(w, h)| TargetSize::Fit(w, h))),
    ];
    let mut given = asked.into_iter().filter_map(|(name, size)| Some((name, size?)));
    match (given.next(), given.next()) {
        (Some((one, _)), Some((other, _))) => Err(Failure::Usage(invocation.messages().not_both(one, other))),
        (Some((_, size)), None) => Ok(size),
        (None, _) => Ok(TargetSize::Native),
    }
}

struct Session<'a> {
    invocation: &'a Invocation,
    watch: Watch,
    networks: Vec<NamedUpscaler>,
    options: EnlargeOptions,
}

impl Session<'_> {
    fn one(&self, job: &Job) -> Result<(), Failure> {
        let messages = self.invocation.messages();
        if self.invocation.is("skip-existing") && job.to.exists() {
            self.watch.say(&messages.already_there(&job.to.display().to_string()));
            return Ok(());
        }
        let failed = |e: &dyn std::fmt::Display| Failure::of(e);
        let picture = open(&job.from, &DecodeLimits::default()).map_err(|e| failed(&e))?;
        let networks: Vec<&dyn Upscaler> = self.networks.iter().map(|n| n.network.as_ref()).collect();
        let result = enlarge(&picture, &networks, &self.options, &self.watch);
        self.watch.finish();
        let mut enlarged = result.map_err(|error| match error {
            DrawError::Stopped => Failure::Stopped(messages.draw_error(&error)),
            other => Failure::Failed(messages.draw_error(&other)),
        })?;
        // A picture that a model drew stays one that a model drew.
        if enlarged.metadata.digital_source_type().is_none() && !networks.is_empty() {
            enlarged.metadata.set_digital_source_type(DigitalSourceType::AlgorithmicallyEnhanced);
        }
        let quality = self.invocation.count("quality").map_or(EncodeOptions::default().jpeg_quality, |n| n as u8);
        let encoding = EncodeOptions { jpeg_quality: quality, ..Default::default() };
        save(&job.to, &enlarged, &encoding).map_err(|e| failed(&e))?;
        if let Some(path) = self.invocation.path("compare") {
            save(path, &self.sheet(&picture, &enlarged)?, &encoding).map_err(|e| failed(&e))?;
        }
        let size = (enlarged.width(), enlarged.height());
        self.watch.say(&messages.wrote(&job.to.display().to_string(), size, None, false));
        Ok(())
    }

    /// What the cubic filter makes of the picture, beside the result.
    fn sheet(&self, picture: &Picture, enlarged: &Picture) -> Result<Picture, Failure> {
        let cubic = ResizeOptions { filter: Filter::Bicubic, ..Default::default() };
        let plain = resize(picture, enlarged.width(), enlarged.height(), &cubic).map_err(|e| Failure::of(&e))?;
        let options = SheetOptions { columns: 2, ..Default::default() };
        let names: Vec<&str> = self.networks.iter().map(|n| n.name.as_str()).collect();
        contact_sheet(&[&plain, enlarged], &["bicubic", &names.join(" + ")], &options).map_err(|e| Failure::of(&e))
    }
}
