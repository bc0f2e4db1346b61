//! `danqing enlarge`: larger and cleaner pictures.

mod medical;
mod moving;
mod networks;
mod options;
mod still;
mod stream;
mod whole;

use danqing_imaging::animation::Animation;
use danqing_imaging::dicom::is_dicom;
use danqing_imaging::sharpen::SharpenOptions;
use danqing_imaging::xmp::DigitalSourceType;
use danqing_imaging::{DecodeLimits, Format, Metadata, Warning, read_file};
use danqing_pipelines::TaskError;
use danqing_pipelines::control::Control;
use danqing_pipelines::request::Phase;
use danqing_pipelines::tasks::enlarge::{EnlargeOptions, Link, TargetSize, native_scale};

use super::batch::{self, Done, Job, Naming, own_ending};
use super::{CommandSpec, Invocation};
use crate::failure::Failure;
use crate::messages::text;
use crate::progress::{Watch, catch_interrupts};
use networks::{Chain, Networks};

/// The command.
pub(crate) static COMMAND: CommandSpec = CommandSpec {
    name: "enlarge",
    about: text("Enlarges and restores pictures.", "放大和修复图片。"),
    details: text(
        "Networks of the common architectures are read from .safetensors, .pth, .onnx, ncnn's .param with its .bin, and TensorFlow's .pb, and \
         recognised by what is in them; several work one after the other. Whatever they make is brought to the size that is asked for. Without a network the cubic \
         filter enlarges, and the program says so.\n\n\
         Of a folder every picture in it is taken. Pictures are cut into tiles and written row by row, so that large results need little memory; \
         16 bits, grey and alpha stay where the result's format has them. Moving GIF, PNG and WebP are enlarged frame by frame. Texts, EXIF and \
         colour profile are kept, and the IPTC source type says that the picture was enhanced. DICOM files (.dcm) become derived DICOM files \
         with a new identity, not for diagnosis; in other formats nothing of the patient's data is left.\n\n\
         --stream takes frames from standard input and gives them to standard output, for video programs: y4m, or WIDTHxHEIGHT for bare RGB bytes.",
        "网络文件可以是常见结构的 .safetensors、.pth、.onnx、ncnn 的 .param（连同 .bin）或 TensorFlow 的 .pb，按内容自动识别；可依次使用多个。\
         结果会再缩放到所要求的尺寸。没有指定网络时用三次插值放大，并会说明。\n\n\
         给出文件夹时处理其中所有图片。图片分块处理、逐行写出，结果再大也不占很多内存；格式支持时保留 16 位、灰度和透明度。\
         动态 GIF、PNG 和 WebP 逐帧放大。文字、EXIF 和颜色配置会保留，IPTC 来源类型会注明图片经过增强。\
         DICOM 文件（.dcm）得到带新标识的派生 DICOM 文件，不可用于诊断；写成其他格式时不含任何患者信息。\n\n\
         --stream 从标准输入读取视频帧并写到标准输出，供视频程序使用：y4m，或用 宽x高 表示纯 RGB 字节。",
    ),
    usage: text("danqing enlarge [OPTIONS] <FILE>...", "danqing enlarge [选项] <文件>..."),
    groups: options::GROUPS,
    examples: &[
        ("danqing enlarge photo.jpg -u realesr-general-x4v3.pth -o big.png", text("Four times as large", "放大四倍")),
        (
            "danqing enlarge photo.jpg -u denoise.pth,span-x4.safetensors --width 3000 -o big.jpg",
            text("Clean, enlarge, bring to a width", "先去噪再放大到指定宽度"),
        ),
        (
            "danqing enlarge holiday/ -u span-x2.pth -o large/ --skip-existing",
            text("A folder, going on where it was stopped", "处理整个文件夹，可续做"),
        ),
        (
            "ffmpeg -i in.mp4 -f yuv4mpegpipe - | danqing enlarge --stream y4m -u span-x2.pth | ffmpeg -i - out.mp4",
            text("A video, with ffmpeg at both ends", "视频，两端用 ffmpeg"),
        ),
    ],
    run,
};

fn run(invocation: &Invocation) -> Result<(), Failure> {
    let messages = invocation.messages();
    let options = EnlargeOptions {
        size: size(invocation)?,
        tile: invocation.count("tile").map_or(EnlargeOptions::default().tile, |n| n as usize),
        sharpen: invocation
            .number("sharpen")
            .filter(|amount| *amount > 0.0)
            .map(|amount| SharpenOptions { amount: amount as f32, ..Default::default() }),
    };
    if let Some(kind) = invocation.text("stream") {
        return stream::run(invocation, kind, &options);
    }
    let naming = Naming { command: "danqing enlarge", suffix: "enlarged", ending: own_ending, medical: true };
    let jobs = batch::jobs(invocation, &naming)?;
    if jobs.len() > 1 && invocation.path("compare").is_some() {
        return Err(Failure::Usage(messages.one_picture("--compare")));
    }
    catch_interrupts(messages)?;
    let watch = Watch::new(invocation.language, invocation.is("quiet"), None, false);
    let networks = Networks::open(invocation, &watch)?;
    let session = Session { invocation, watch: &watch, networks, options };
    batch::run(invocation, &watch, &jobs, Phase::Enlarge, &|job, control| session.one(job, control))
}

/// A size after networks.
fn times((width, height): (u32, u32), links: &[Link<'_>]) -> (u32, u32) {
    TargetSize::Native.of((width, height), native_scale(links))
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
    watch: &'a Watch,
    networks: Networks,
    options: EnlargeOptions,
}

impl Session<'_> {
    fn one(&self, job: &Job, control: &dyn Control) -> Result<Done, Failure> {
        let limits = DecodeLimits::default();
        let bytes = read_file(&job.from, &limits).map_err(|e| Failure::of(&e))?;
        if batch::is_medical(&job.to) {
            return self.medical(&bytes, job, control);
        }
        let format = Format::for_labelled(&job.to).map_err(|e| Failure::of(&e))?;
        if matches!(format, Format::Gif | Format::Png | Format::WebP) && !is_dicom(&bytes) {
            let animation = Animation::open(&bytes, &limits).map_err(|e| Failure::of(&e))?;
            if animation.is_moving() {
                return self.moving(animation, format, job, control);
            }
        }
        if self.networks.chain().restores_faces() {
            return self.still_whole(&bytes, job, control);
        }
        self.still(bytes, format, job, control)
    }

    /// The size of the result for a picture of `from`. Where none is asked for, a picture that `danqing shrink` made goes back to
    /// what it was.
    fn target(&self, from: (u32, u32), chain: &Chain<'_>, original: Option<(u32, u32)>) -> (u32, u32) {
        match original {
            Some(size) if self.options.size == TargetSize::Native && size.0 >= from.0 && size.1 >= from.1 => size,
            _ => self.options.size.of(from, chain.scale()),
        }
    }

    /// States that the picture was enhanced. One that a model drew stays one that a model drew.
    fn label(&self, metadata: &mut Metadata, chain: &Chain<'_>) {
        if metadata.digital_source_type().is_none() && !chain.is_empty() {
            metadata.set_digital_source_type(DigitalSourceType::AlgorithmicallyEnhanced);
        }
    }

    fn warn(&self, job: &Job, warnings: &[Warning]) {
        for warning in warnings {
            self.watch.say(&self.invocation.messages().warning(&job.from.display().to_string(), warning));
        }
    }

    fn failed(&self, error: &TaskError) -> Failure {
        let sentence = self.invocation.messages().task_error(error);
        if matches!(error, TaskError::Stopped) { Failure::Stopped(sentence) } else { Failure::Failed(sentence) }
    }
}
