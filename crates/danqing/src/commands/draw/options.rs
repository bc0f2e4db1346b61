//! What `danqing draw` takes.

use crate::arguments::{Argument, Group, Kind};
use crate::messages::text;
use crate::settings::PRECISIONS;

/// Seeds of other programs are 32-bit; larger ones are taken all the same.
const SEED: Kind = Kind::Count(0, u64::MAX);
const SHARE: Kind = Kind::Number(0.0, 1.0);

/// The option groups, in the order of the help.
pub(super) static GROUPS: &[Group] = &[
    Group {
        title: text("What to draw", "画什么"),
        arguments: &[
            Argument::positional("prompt", "PROMPT", Kind::Text, text("What to draw; `-` reads it from standard input", "画面内容；`-` 表示从标准输入读取")),
            Argument::option("output", "FILE", Kind::Path, text("Where to write: .png, .jpg or .webp; several pictures get -1, -2 … before the ending. A file of exactly this name is replaced, others never", "输出文件：.png、.jpg 或 .webp；多张时在扩展名前加 -1、-2……只会替换同名文件，不动其他文件")).short('o'),
            Argument::option("negative", "TEXT", Kind::Text, text("What to keep away from", "要避免的内容")).short('n'),
            Argument::option("size", "WxH", Kind::Size, text("Size in pixels", "图片尺寸（像素）")),
            Argument::option("count", "N", Kind::Count(1, 10_000), text("How many pictures", "画几张")),
            Argument::option("batch", "N", Kind::Count(1, 64), text("How many at once", "同时画几张")),
            Argument::option("seed", "N", SEED, text("The seed of the first picture; random when not given, and printed", "第一张的种子；不给则随机并显示")).short('s'),
            Argument::option("like", "FILE", Kind::Path, text("Take prompt, seed and settings from a picture that any of the common programs made; options override", "沿用一张图片中记录的提示词、种子和参数（支持常见程序）；可用选项覆盖")),
        ],
    },
    Group {
        title: text("Model", "模型"),
        arguments: &[
            Argument::option("model", "MODEL", Kind::Text, text("A checkpoint file, a diffusers folder, a name that `danqing models` lists, or starter", "模型文件、diffusers 文件夹、`danqing models` 列出的名称，或 starter")).short('m'),
            Argument::option("vae", "FILE", Kind::Path, text("A VAE to use instead of the model's: a file or a diffusers folder", "替代模型自带的 VAE：文件或 diffusers 文件夹")),
            Argument::option("prediction", "KIND", Kind::Choice(PREDICTIONS), text("What the network predicts, where the checkpoint does not say", "模型未说明时，指定网络的预测类型")),
            Argument::option("precision", "KIND", Kind::Choice(PRECISIONS), text("Arithmetic", "运算精度")),
            Argument::option("threads", "N", Kind::Count(1, 1024), text("Threads of computation", "计算线程数")),
            Argument::option("memory", "MIB", Kind::Count(64, 1 << 30), text("Memory that may be used", "可用内存（MiB）")),
        ],
    },
    Group {
        title: text("Sampling", "采样"),
        arguments: &[
            Argument::option("steps", "N", Kind::Count(1, 1000), text("Steps", "步数")),
            Argument::option("sampler", "NAME", Kind::Text, text("Sampler; see `danqing samplers`", "采样器，见 `danqing samplers`")),
            Argument::option("schedule", "NAME", Kind::Text, text("Sigma schedule; see `danqing samplers`", "噪声调度，见 `danqing samplers`")),
            Argument::option("guidance", "SCALE", Kind::Number(0.0, 100.0), text("How strongly the prompt is followed (CFG); 1 is without guidance and twice as fast", "对提示词的遵循程度（CFG）；1 为不引导，速度加倍")).short('g'),
            Argument::option("guidance-rescale", "SHARE", SHARE, text("How much of guidance's contrast is taken back", "抵消引导带来的对比度的比例")),
            Argument::option("eta", "N", Kind::Number(0.0, 10.0), text("Strength of ancestral and SDE noise", "祖先采样与 SDE 的噪声强度")),
            Argument::option("clip-skip", "N", Kind::Count(1, 32), text("Layers of the text encoder to stop before the end, 1 is none (as in A1111)", "文本编码器提前结束的层数，1 为不跳过（同 A1111）")),
            Argument::option("noise", "SOURCE", Kind::Choice(NOISES), text("Whose random numbers: torch's on a CPU, an NVIDIA card's, our own", "随机数来源：torch CPU、NVIDIA 显卡、自有")),
            Argument::option("order", "PROGRAM", Kind::Choice(ORDERS), text("Whose order of drawing noise in batches and steps", "按哪个程序的顺序取噪声")),
            Argument::option("variation-seed", "N", SEED, text("Another seed to go towards", "变体种子")),
            Argument::option("variation-strength", "SHARE", SHARE, text("How far to go towards it", "变体强度")),
        ],
    },
    Group {
        title: text("Prompt", "提示词"),
        arguments: &[
            Argument::option("dialect", "NAME", Kind::Choice(DIALECTS), text("Whose prompt grammar", "提示词语法")),
            Argument::option("emphasis", "NAME", Kind::Choice(EMPHASES), text("What prompt weights do", "权重的作用方式")),
            Argument::switch("no-translate", text("Leave Chinese words as they are", "不翻译中文词语")),
        ],
    },
    Group {
        title: text("From a picture", "以图作画"),
        arguments: &[
            Argument::option("init", "FILE", Kind::Path, text("A picture to start from", "起始图片")).short('i'),
            Argument::option("strength", "SHARE", SHARE, text("How much of it may change: 0 nothing, 1 everything [default 0.75, with --extend 1]", "可改变的程度：0 不变，1 全部重画（默认 0.75，配合 --extend 时为 1）")),
            Argument::option("mask", "FILE", Kind::Path, text("A picture of the same shape: white is drawn anew, black is kept", "蒙版：白色处重画，黑色处保留")),
            Argument::option("mask-blur", "PIXELS", Kind::Number(0.0, 256.0), text("Width of the mask's soft edge [default 4, with --extend 8]", "蒙版边缘的柔化宽度（默认 4，配合 --extend 时为 8）")),
            Argument::option("masked-content", "KIND", Kind::Choice(CONTENTS), text("What stands in the masked area first", "蒙版内的初始内容")),
            Argument::option("only-masked", "PADDING", Kind::Count(0, 4096), text("Draw only a crop around the mask, with so many pixels around it, at full size", "只画蒙版周围的区域，并留出若干像素")),
            Argument::option("extend", "L,T,R,B", Kind::Borders, text("Make the picture larger by so many pixels left, above, right, below, and paint them", "向左、上、右、下扩展若干像素并补画")),
        ],
    },
    Group {
        title: text("Larger", "放大"),
        arguments: &[
            Argument::option("hires", "SCALE", Kind::Number(1.0, 8.0), text("Draw a second time at so many times the size", "以若干倍尺寸再画一遍")),
            Argument::option("hires-strength", "SHARE", SHARE, text("How much the second pass may change [default 0.5]", "第二遍可改变的程度（默认 0.5）")),
            Argument::option("hires-steps", "N", Kind::Count(0, 1000), text("Steps of the second pass; 0 is as many as the first", "第二遍的步数；0 与第一遍相同")),
        ],
    },
    Group {
        title: text("Output", "输出"),
        arguments: &[
            Argument::option("grid", "KEY=A,B", Kind::Text, text("Compare settings on one labelled sheet, e.g. \"steps=10,20;guidance=4,7\"", "把不同参数的结果排成一张带标题的对比图，如 \"steps=10,20;guidance=4,7\"")),
            Argument::option("quality", "N", Kind::Count(1, 100), text("Quality of a JPEG; a WebP becomes lossy with it, and is lossless without", "JPEG 质量；给出时 WebP 为有损，不给则为无损")),
            Argument::option("preview", "FILE", Kind::Path, text("Keep a preview in this file while drawing", "绘制过程中不断更新的预览文件")),
            Argument::option("preview-every", "STEPS", Kind::Count(1, 1000), text("Steps between previews [default 5]", "每隔几步更新预览（默认 5）")),
            Argument::option("preview-decoder", "FILE", Kind::Path, text("A TAESD decoder for previews", "用于预览的 TAESD 解码器")),
            Argument::option("save-run", "FILE", Kind::Path, text("When stopped by Ctrl-C, keep the run here", "按 Ctrl-C 停止时，把进度存到此文件")),
            Argument::option("resume", "FILE", Kind::Path, text("Go on with a run kept by --save-run; give the same options again", "继续 --save-run 保存的进度；其余选项须相同")),
            Argument::switch("quiet", text("Print nothing but errors", "只显示错误")).short('q'),
        ],
    },
];

/// Prompt grammars.
pub(super) const DIALECTS: &[&str] = &["a1111", "comfyui", "plain"];
/// What weights do.
pub(super) const EMPHASES: &[&str] = &["original", "no-norm", "ignore", "comfyui"];
/// Where random numbers come from.
pub(super) const NOISES: &[&str] = &["cpu", "nv", "own"];
/// Orders of drawing.
pub(super) const ORDERS: &[&str] = &["a1111", "comfyui", "diffusers"];
/// Prediction types.
const PREDICTIONS: &[&str] = &["epsilon", "v_prediction", "sample", "flow"];
/// What stands under a mask.
pub(super) const CONTENTS: &[&str] = &["fill", "original", "latent-noise", "latent-nothing"];

/// The argument of this name.
pub(super) fn find(name: &str) -> Option<&'static Argument> {
    GROUPS.iter().flat_map(|g| g.arguments).find(|a| a.name == name)
}

#[cfg(test)]
mod tests {
    use danqing_pipelines::prompts;
    use danqing_sampling::PredictionType;

    use super::*;

    #[test]
    fn choices_are_what_the_libraries_know() {
        let dialects: Vec<&str> = prompts::DIALECTS.iter().map(|d| d.0).collect();
        assert_eq!(dialects, DIALECTS);
        let emphases: Vec<&str> = prompts::EMPHASES.iter().map(|e| e.0).collect();
        assert_eq!(emphases, EMPHASES);
        assert!(PREDICTIONS.iter().all(|p| PredictionType::parse(p).is_some()));
    }
}
