//! What `danqing enlarge` takes.

use crate::arguments::{Argument, Group, Kind};
use crate::messages::text;
use crate::settings::PRECISIONS;

/// The option groups, in the order of the help.
pub(super) static GROUPS: &[Group] = &[
    Group {
        title: text("Pictures", "图片"),
        arguments: &[
            Argument::positional("files", "FILE", Kind::Paths, text("Pictures, or folders of pictures", "图片，或图片文件夹")),
            Argument::option("output", "FILE", Kind::Path, text("Where to write: a file for one picture, a folder for several; beside the pictures, as name-enlarged, when not given", "输出：单张为文件，多张为文件夹；不给则写在原图旁，名为 原名-enlarged")).short('o'),
            Argument::switch("skip-existing", text("Leave out pictures whose result is already there", "跳过已有结果的图片")),
            Argument::option("report", "FILE", Kind::Path, text("Also write what became of each picture, as .csv or .json", "另存每张图片的处理结果，.csv 或 .json")),
            Argument::option("stream", "KIND", Kind::Text, text("Frames from standard input to standard output: y4m, or WIDTHxHEIGHT for RGB bytes", "从标准输入到标准输出处理视频帧：y4m，或 宽x高（RGB 字节）")),
            Argument::option("compare", "FILE", Kind::Path, text("Also write a sheet: the cubic filter beside the result", "另存对比图：三次插值与结果并排")),
            Argument::option("quality", "N", Kind::Count(1, 100), text("Quality of JPEG; WebP that stands still becomes lossy with it, and is lossless without", "JPEG 质量；给出时静态 WebP 为有损，不给则为无损")),
        ],
    },
    Group {
        title: text("Size", "尺寸"),
        arguments: &[
            Argument::option("scale", "N", Kind::Number(0.01, 64.0), text("Times the picture's size; when no size is given, two, or as often as the networks of --upscaler make it larger", "放大倍数；不指定尺寸时为两倍，或由 --upscaler 的网络决定")),
            Argument::option("width", "N", Kind::Count(1, 65_535), text("To this width", "放大到此宽度")),
            Argument::option("height", "N", Kind::Count(1, 65_535), text("To this height", "放大到此高度")),
            Argument::option("fit", "WxH", Kind::Size, text("The largest that fits", "放大到不超过此尺寸")),
        ],
    },
    Group {
        title: text("Networks", "网络"),
        arguments: &[
            Argument::option("upscaler", "NAME,...", Kind::Text, text("Networks, several with commas, in their order: embedded ones (photo-x2, photo-x4, art-x4, live-x2, clean-x1, whatever other file has such a name; a path means the file), files, or names of files in the model folders; `face` restores faces there, `cubic` alone is the filter", "网络，多个用逗号分隔，依次使用：内置网络（photo-x2、photo-x4、art-x4、live-x2、clean-x1，同名文件须写路径）、文件，或模型文件夹中的名称；`face` 在该处修复人脸，单独的 `cubic` 为三次插值")).short('u'),
            Argument::switch("auto", text("Look at each picture (noise, JPEG, drawing or photograph) and choose by that what cleans and enlarges it", "查看每张图片（噪点、JPEG、图画或照片），据此选择清理和放大的网络")),
            Argument::option("strength", "N", Kind::Number(0.0, 1.0), text("How much of what networks that clean or draw faces without enlarging change is taken", "不放大的去噪、修复和人脸网络的强度")),
            Argument::option("face", "FILE", Kind::Text, text("Network that draws faces anew (GFPGAN), file or name; faces are restored last unless `face` stands in --upscaler", "重画人脸的网络（GFPGAN），文件或名称；除非 --upscaler 中有 `face`，否则最后修复人脸")),
            Argument::option("face-detector", "FILE", Kind::Path, text("Network that finds them: RetinaFace, or RFB-320, which takes every face for upright; looked for in the model folders when not given", "查找人脸的网络：RetinaFace，或把人脸一律视为正立的 RFB-320；不给则在模型文件夹中查找")),
            Argument::option("sharpen", "N", Kind::Number(0.0, 10.0), text("Sharpen the result: 0.5 a little, 1 plainly; edges get no rims", "锐化结果：0.5 轻微，1 明显；边缘不产生光晕")),
            Argument::option("tile", "N", Kind::Count(16, 8192), text("Side of a tile in pixels; smaller needs less memory", "分块边长（像素），越小越省内存")),
            Argument::option("precision", "KIND", Kind::Choice(PRECISIONS), text("Arithmetic", "运算精度")),
            Argument::option("threads", "N", Kind::Count(1, 1024), text("Threads of computation", "计算线程数")),
            Argument::switch("quiet", text("Print nothing but errors", "只输出错误")).short('q'),
        ],
    },
];
