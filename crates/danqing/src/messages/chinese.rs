//! The sentences in Chinese.

use danqing_imaging::{Kind, Warning};
use danqing_models::families::stable_diffusion::{PredictionSource, Predicts};
use danqing_pipelines::TaskError;
use danqing_pipelines::embedded_upscalers::Subject;
use danqing_pipelines::plan::MemoryPlan;
use danqing_pipelines::request::Phase;
use danqing_pipelines::tasks::enlarge::Seen;

use super::{Messages, Refusal};

/// Chinese.
pub(crate) struct Chinese;

impl Messages for Chinese {
    fn error(&self, sentence: &str) -> String {
        format!("错误：{sentence}")
    }

    fn see_help(&self, command: &str) -> String {
        format!("全部选项见 `{command} --help`")
    }

    fn refused(&self, refusal: &Refusal) -> String {
        let meant = |near: &Option<String>| near.as_ref().map(|n| format!("，是否想用 {n}？")).unwrap_or_default();
        match refusal {
            Refusal::UnknownFlag(flag, near) => format!("没有选项 {flag}{}", meant(near)),
            Refusal::UnknownCommand(name, near) => format!("没有命令“{name}”{}", meant(near)),
            Refusal::NoValue(flag) => format!("{flag} 需要一个值"),
            Refusal::Twice(flag) => format!("{flag} 重复出现"),
            Refusal::Superfluous(word) => format!("多出一个词“{word}”；含空格的提示词请加引号"),
            Refusal::NotUnicode => "有参数不是有效的 UTF-8".into(),
            Refusal::Other(words) => words.clone(),
        }
    }

    fn settings_unreadable(&self, path: &str, why: &str) -> String {
        format!("无法读取设置文件 {path}：{why}")
    }

    fn setting_unknown(&self, path: &str, name: &str, near: Option<&str>) -> String {
        let near = near.map(|n| format!("，是否想用“{n}”？")).unwrap_or_default();
        format!("{path}：没有设置项“{name}”{near}（`danqing reference settings` 列出全部）")
    }

    fn damaged(&self, file: &str, why: &str) -> String {
        format!("{file} 不完整：{why}")
    }

    fn says_nothing(&self, file: &str) -> String {
        format!("{file} 没有记录生成参数；请直接给出提示词，不用 --like")
    }

    fn no_prompt(&self) -> String {
        "请说明画什么：danqing draw \"两只红色的猫\" -o cats.png".into()
    }

    fn needs(&self, option: &str, other: &str) -> String {
        format!("{option} 须与 {other} 一起使用")
    }

    fn not_both(&self, one: &str, other: &str) -> String {
        format!("{one} 与 {other} 不能同时使用")
    }

    fn one_run(&self, option: &str) -> String {
        format!("{option} 只用于一次绘制：不要使用 --grid，并用 --batch 一次画完所有图片")
    }

    fn bad_grid(&self, wish: &str, keys: &[&str]) -> String {
        format!(
            "无法理解 --grid “{wish}”；请写一或两个参数及其取值，如 \"steps=10,20;guidance=4,7\"，最多 400 张；可用参数：{}",
            keys.join("、")
        )
    }

    fn mask_shape(&self, mask: (u32, u32), picture: (u32, u32)) -> String {
        format!("蒙版为 {}x{} 像素，图片为 {}x{}：两者的形状须一致", mask.0, mask.1, picture.0, picture.1)
    }

    fn no_model(&self, name: &str, near: Option<&str>) -> String {
        let near = near.map(|n| format!("，是否想用“{n}”？")).unwrap_or_else(|| "。".into());
        format!("没有模型“{name}”{near}请给出路径，或 `danqing models` 列出的名称")
    }

    fn nothing_to_refine(&self) -> String {
        "--stage refine 从已训练的网络继续：请用 --from 指定其文件".into()
    }

    fn training_kept(&self, folder: &str) -> String {
        format!("已停止；再次运行同一命令即可从 {folder} 的检查点继续")
    }

    fn no_folder(&self, folder: &str) -> String {
        format!("没有文件夹 {folder}：请先创建，或改用别的文件夹")
    }

    fn no_models(&self, folders: &[String]) -> String {
        match folders {
            [] => "没有可查看的文件夹：请指定一个，或在设置中写明 `models`".into(),
            _ => format!("{} 中没有模型", folders.join("、")),
        }
    }

    fn embedded(&self) -> String {
        "内置：小物件、颜色和数量，64 像素放大到 512".into()
    }

    fn not_loadable(&self, reason: &str) -> String {
        format!("无法加载：{reason}")
    }

    fn other_model(&self, name: &str) -> String {
        format!("原图由“{name}”绘制，本机没有该模型：换用其他模型，结果会不同")
    }

    fn model(&self, name: &str, family: Option<&str>, predicts: &Predicts) -> String {
        let family = family.map(|f| format!("（{f}）")).unwrap_or_default();
        let source = match predicts.source {
            PredictionSource::Configuration => "文件夹配置",
            PredictionSource::Metadata => "文件元数据",
            PredictionSource::Marker => "文件中的标记张量",
            PredictionSource::Sidecar => "同名 yaml 文件",
            PredictionSource::User => "用户设置",
            PredictionSource::Family => "模型系列",
            PredictionSource::Probe => "一次试算",
        };
        let snr = if predicts.zero_snr { "、零终端信噪比" } else { "" };
        format!("模型  {name}{family}，预测 {}{snr}（依据：{source}）", predicts.prediction.id())
    }

    fn memory(&self, plan: &MemoryPlan) -> String {
        let mib = |bytes: u64| bytes.div_ceil(1 << 20);
        format!(
            "内存  峰值约 {} MiB（权重 {}，采样 {}，解码 {}）",
            mib(plan.peak()),
            mib(plan.weights),
            mib(plan.sampling),
            mib(plan.decoding)
        )
    }

    fn plan(&self, steps: usize, sampler: &str, schedule: &str, guidance: f32, size: (usize, usize)) -> String {
        format!("参数  {steps} 步，{sampler}，{schedule}，引导 {guidance}，{} x {}", size.0, size.1)
    }

    fn seed(&self, seed: u64) -> String {
        format!("种子  {seed}")
    }

    fn english_prompt(&self, prompt: &str) -> String {
        format!("提示词（英文）  {prompt}")
    }

    fn untranslated(&self, words: &[String]) -> String {
        format!("词库中没有、已略去：{}", words.join("、"))
    }

    fn unknown_word(&self, word: &str, near: &[String]) -> String {
        let near = if near.is_empty() { String::new() } else { format!("，它认识：{}", near.join("、")) };
        format!("入门模型不认识“{word}”{near}")
    }

    fn phase(&self, phase: Phase) -> &'static str {
        match phase {
            Phase::Encode => "读取提示词",
            Phase::Sample => "绘制",
            Phase::Hires => "绘制大图",
            Phase::Decode => "显影",
            Phase::Enlarge => "放大",
            Phase::Shrink => "缩小",
        }
    }

    fn step(&self, phase: &str, step: usize, total: usize, seconds: u64) -> String {
        format!("{phase}：第 {step}/{total} 步，还需 {seconds} 秒")
    }

    fn stopping(&self) -> String {
        "完成这一步后停止；再按一次 Ctrl-C 立即退出".into()
    }

    fn wrote(&self, file: &str, size: (u32, u32), seed: Option<u64>, enlarged: Option<&str>) -> String {
        let seed = seed.map(|s| format!("，种子 {s}")).unwrap_or_default();
        let enlarged = enlarged.map(|by| format!("，经 {by} 放大")).unwrap_or_default();
        format!("已写入 {file}：{} x {}{enlarged}{seed}", size.0, size.1)
    }

    fn cubic_only(&self) -> String {
        "用三次插值放大，不会增加细节".into()
    }

    fn upscaler(&self, name: &str, architecture: &str, scale: usize, parameters: usize) -> String {
        format!("{name}：{architecture}，{scale} 倍，{parameters} 个权重")
    }

    fn seen(&self, seen: &Seen) -> String {
        let kind = match seen.kind {
            Kind::Photograph => "照片",
            Kind::Drawing => "图画",
            Kind::Text => "文字",
        };
        let jpeg = match (seen.quality, seen.blocks) {
            (Some(quality), _) => format!("，JPEG 质量 {quality}"),
            (None, Some(_)) => "，曾经是 JPEG".into(),
            (None, None) => String::new(),
        };
        format!("{kind}{jpeg}，噪声 {:.1}", seen.noise)
    }

    fn chosen(&self, file: &str, seen: &str, networks: &str) -> String {
        format!("{file}：{seen}，使用 {networks}")
    }

    fn medical_filter(&self, file: &str) -> String {
        format!("{file}：医学图像，只用不增加内容的三次插值；可用 --upscaler 指定网络")
    }

    fn embedded_upscaler(&self, subject: Subject, scale: usize) -> String {
        match subject {
            Subject::Photograph => format!("内置：照片放大 {scale} 倍"),
            Subject::Drawing => format!("内置：图画、图标放大 {scale} 倍"),
            Subject::Video => format!("内置：视频帧放大 {scale} 倍"),
            Subject::Damage => "内置：去除噪点和 JPEG 痕迹".into(),
        }
    }

    fn no_face_network(&self) -> String {
        "没有找到重画人脸的网络：请用 --face 指定 GFPGAN 文件，或将其放入模型文件夹（设置项 `models`）".into()
    }

    fn no_face_detector(&self) -> String {
        "没有找到查找人脸的网络：请用 --face-detector 指定 RetinaFace 或 RFB-320 文件，或将其放入模型文件夹（设置项 `models`）".into()
    }

    fn not_for_faces(&self, name: &str) -> String {
        format!("{name} 不是重画人脸的网络：--face 需要 GFPGAN 一类的网络")
    }

    fn faces(&self, file: &str, found: usize, upright: usize) -> String {
        let restored = if found == 0 { "没有找到人脸".into() } else { format!("修复了 {found} 张人脸") };
        let unrotated = match upright {
            0 => String::new(),
            n if n == found => "（未旋转：检测网络不给出人脸的朝向）".into(),
            n => format!("（其中 {n} 张未旋转：朝向未知）"),
        };
        format!("{file}：{restored}{unrotated}")
    }

    fn no_upscaler(&self, name: &str, near: Option<&str>) -> String {
        let near = near.map_or_else(String::new, |n| format!("，是否指 {n:?}？"));
        format!(
            "没有名为 {name:?} 的放大网络{near}。请给出路径、内置网络名（见 `danqing models`），或模型文件夹（设置项 `models`）下 upscale_models、ESRGAN、RealESRGAN、SwinIR 中的文件名"
        )
    }

    fn one_picture(&self, option: &str) -> String {
        format!("{option} 只用于一张图片：请单独放大那一张")
    }

    fn no_pictures(&self) -> String {
        "其中没有图片：查找的是 .png、.jpg、.webp、.avif、.bmp、.gif 和 .tiff".into()
    }

    fn same_result(&self, file: &str) -> String {
        format!("两张图片会写到同一个文件 {file}：请分别处理，或先改名")
    }

    fn already_there(&self, file: &str) -> String {
        format!("{file} 已存在")
    }

    fn some_failed(&self, failed: usize, of: usize) -> String {
        format!("{of} 张图片中有 {failed} 张未能完成")
    }

    fn percent(&self, phase: &str, percent: f64, seconds: u64) -> String {
        format!("{phase}：{percent:.0}%，还需 {seconds} 秒")
    }

    fn warning(&self, file: &str, warning: &Warning) -> String {
        let said = match warning {
            Warning::LeftOut { what, .. } => format!("其中的 {what} 未保留（{warning}）"),
            Warning::FirstFrame => "这是动图，只取第一帧".into(),
            Warning::FirstPage => "有多页，只取第一页".into(),
            Warning::FloatValues => "浮点数值转换为 16 位，0…1 之外的部分被截去".into(),
            Warning::NotForDiagnosis => "这是医学图像，此处的显示和结果不可用于诊断".into(),
            Warning::InksWithoutProfile => "油墨色（CMYK）在没有可用配置文件的情况下转换，颜色可能与别处不同".into(),
            other => other.to_string(),
        };
        format!("{file}：{said}")
    }

    fn frames(&self, frames: u64, per_second: f64) -> String {
        format!("{frames} 帧，每秒 {per_second:.1} 帧")
    }

    fn bad_stream(&self, kind: &str) -> String {
        format!("--stream 可为 y4m，或用 宽x高 表示 RGB 字节，不能是 {kind:?}")
    }

    fn broken_stream(&self, why: &str) -> String {
        format!("无法写出视频帧：{why}")
    }

    fn no_dicom(&self, file: &str) -> String {
        format!("只有 DICOM 文件才能写成 DICOM 文件：请把 {file} 改为 .png、.tiff、.jpg 或 .webp")
    }

    fn shrunk(&self, file: &str, before: u64, after: u64) -> String {
        let saved = 100.0 * (1.0 - after as f64 / before.max(1) as f64);
        format!("{file}：{before} 字节变为 {after} 字节（节省 {saved:.0}%）")
    }

    fn kept(&self, file: &str, seed: u64) -> String {
        format!("已停止；用同样的选项加 --seed {seed} --resume {file} 可继续")
    }

    fn task_error(&self, error: &TaskError) -> String {
        match error {
            TaskError::Stopped => "已停止，这张图片没有写入".into(),
            TaskError::Memory { needed, available } => format!(
                "约需 {} MiB 内存，可用 {} MiB：请减小尺寸或同时绘制的张数，或关闭其他程序",
                needed.div_ceil(1 << 20),
                available >> 20
            ),
            TaskError::NotANumber(what) => {
                format!("网络产生了非数值（{what}）：可试 --precision f32，或换用其他模型或 VAE")
            }
            other => other.to_string(),
        }
    }
}
