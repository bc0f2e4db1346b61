//! `danqing enlarge`: larger and cleaner pictures.

mod medical;
mod moving;
mod networks;
mod options;
mod still;
mod stream;
mod whole;

use danqing_imaging::analyse::{analyse_rows, jpeg_quality};
use danqing_imaging::animation::Animation;
use danqing_imaging::dicom::is_dicom;
use danqing_imaging::sharpen::SharpenOptions;
use danqing_imaging::xmp::DigitalSourceType;
use danqing_imaging::{DecodeLimits, Format, Metadata, Warning, read_file};
use danqing_pipelines::TaskError;
use danqing_pipelines::control::Control;
use danqing_pipelines::request::Phase;
use danqing_pipelines::tasks::enlarge::{EnlargeOptions, Link, Seen, TargetSize, native_scale};

use super::batch::{self, Done, Job, Naming, own_ending};
use super::{CommandSpec, Invocation};
use crate::decoder;
use crate::failure::Failure;
use crate::messages::text;
use crate::progress::{Watch, catch_interrupts};
use networks::{Chain, Look, Networks};

/// The command.
pub(crate) static COMMAND: CommandSpec = CommandSpec {
    name: "enlarge",
    about: text("Enlarges and restores pictures.", "放大和修复图片。"),
    details: text(
        "Photographs are enlarged by networks of our own that are inside the program; --auto looks at each picture, takes noise and traces of \
         JPEG away first, and enlarges drawings by a network for those. Other networks of the common architectures are read from \
         .safetensors, .pth, .onnx, ncnn's .param with its .bin, and TensorFlow's .pb, and recognised by what is in them; several work \
         one after the other. Whatever they make is brought to the size that is asked for. `--upscaler cubic` enlarges by the filter alone, which \
         invents nothing.\n\n\
         Of a folder every picture in it is taken. Pictures are cut into tiles and written row by row, so that large results need little memory; \
         16 bits, grey and alpha stay where the result's format has them. Where faces are restored the picture is held whole, in 8 bits. Moving \
         GIF, PNG and WebP are enlarged frame by frame. Texts, EXIF and \
         colour profile are kept, and the IPTC source type says that the picture was enhanced. DICOM files (.dcm) become derived DICOM files \
         with a new identity, not for diagnosis, enlarged by the filter unless --upscaler names a network; in other formats nothing of the patient's \
         data is left.\n\n\
         --stream takes frames from standard input and gives them to standard output, for video programs: y4m, or WIDTHxHEIGHT for bare RGB bytes. \
         It uses live-x2, a small network.",
        "照片由程序内置的自有网络放大；--auto 会查看每张图片，先去除噪点和 JPEG 痕迹，图画则用专门的网络。\
         也可使用常见结构的网络文件：.safetensors、.pth、.onnx、ncnn 的 .param（连同 .bin）或 TensorFlow 的 .pb，按内容自动识别；可依次使用多个。\
         结果会再缩放到所要求的尺寸。`--upscaler cubic` 只用三次插值，不增加任何内容。\n\n\
         给出文件夹时处理其中所有图片。图片分块处理、逐行写出，结果再大也不占很多内存；格式支持时保留 16 位、灰度和透明度。修复人脸时整张图片以 8 位保存在内存中。\
         动态 GIF、PNG 和 WebP 逐帧放大。文字、EXIF 和颜色配置会保留，IPTC 来源类型会注明图片经过增强。\
         DICOM 文件（.dcm）得到带新标识的派生 DICOM 文件，不可用于诊断，除非 --upscaler 指定网络，否则只用插值；写成其他格式时不含任何患者信息。\n\n\
         --stream 从标准输入读取视频帧并写到标准输出，供视频程序使用：y4m，或用 宽x高 表示纯 RGB 字节；使用小网络 live-x2。",
    ),
    usage: text("danqing enlarge [OPTIONS] <FILE>...", "danqing enlarge [选项] <文件>..."),
    groups: options::GROUPS,
    examples: &[
        ("danqing enlarge photo.jpg --scale 4 -o big.png", text("Four times as large", "放大四倍")),
        (
            "danqing enlarge old/ --auto --width 3000 -o large/ --skip-existing",
            text(
                "A folder, each picture as it needs, going on where it was stopped",
                "处理整个文件夹，按每张图片的情况选择，可续做",
            ),
        ),
        (
            "danqing enlarge photo.jpg -u denoise.pth,realesr-general-x4v3.pth -o big.jpg",
            text("With networks of others: clean, then enlarge", "使用其他网络：先去噪再放大"),
        ),
        (
            "danqing enlarge family.jpg --scale 2 --face GFPGANv1.4.pth -o big.png",
            text("Restore faces as well", "同时修复人脸"),
        ),
        (
            "ffmpeg -i in.mp4 -f yuv4mpegpipe - | danqing enlarge --stream y4m | ffmpeg -i - out.mp4",
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
    let networks = Networks::open(invocation, &watch, options.size)?;
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
    networks: Networks<'a>,
    options: EnlargeOptions,
}

impl Session<'_> {
    fn one(&self, job: &Job, control: &dyn Control) -> Result<Done, Failure> {
        let limits = DecodeLimits::default();
        let bytes = read_file(&job.from, &limits).map_err(|e| Failure::of(&e))?;
        let look = self.look(job, &bytes)?;
        if batch::is_medical(&job.to) {
            return self.medical(&bytes, job, &look, control);
        }
        let format = Format::for_labelled(&job.to).map_err(|e| Failure::of(&e))?;
        if matches!(format, Format::Gif | Format::Png | Format::WebP) && !is_dicom(&bytes) {
            let animation = Animation::open(&bytes, &limits).map_err(|e| Failure::of(&e))?;
            if animation.is_moving() {
                return self.moving(animation, format, job, &look, control);
            }
        }
        if self.networks.restores_faces() {
            return self.still_whole(&bytes, job, &look, control);
        }
        self.still(bytes, format, job, &look, control)
    }

    /// What the choice of networks goes by.
    fn look(&self, job: &Job, bytes: &[u8]) -> Result<Look, Failure> {
        if !self.networks.chooses() {
            return Ok(Look::Picture);
        }
        if is_dicom(bytes) {
            self.watch.say(&self.invocation.messages().medical_filter(&job.from.display().to_string()));
            return Ok(Look::Medical);
        }
        if !self.invocation.is("auto") {
            return Ok(Look::Picture);
        }
        let failed = |e| Failure::of(&e);
        let mut rows = decoder::rows(bytes.to_vec()).map_err(failed)?;
        let analysis = analyse_rows(&mut rows).map_err(failed)?;
        Ok(Look::Seen(Seen::new(&analysis, jpeg_quality(bytes))))
    }

    /// The networks for a picture of `from`, that `danqing shrink` made of one of `original`; says which and why where they are chosen.
    fn chain(
        &self,
        job: &Job,
        from: (u32, u32),
        original: Option<(u32, u32)>,
        look: &Look,
    ) -> Result<Chain<'_>, Failure> {
        let chain = self.networks.chain(from, original, look)?;
        if let Some(seen) = &chain.seen {
            let messages = self.invocation.messages();
            self.watch.say(&messages.chosen(&job.from.display().to_string(), &messages.seen(seen), &chain.name()));
        }
        Ok(chain)
    }

    /// What the report says of a picture of `from`.
    fn done(&self, chain: &Chain<'_>, from: (u32, u32)) -> Done {
        let seen = chain.seen.map(|seen| self.invocation.messages().seen(&seen)).unwrap_or_default();
        Done { sizes: (from, chain.to), networks: chain.name(), seen }
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
