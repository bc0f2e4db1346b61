//! `danqing compare`: how near pictures are to others.

use danqing_imaging::quality::{Quality, compare};
use danqing_imaging::{DecodeLimits, open};

use super::{CommandSpec, Invocation, print};
use crate::arguments::{Argument, Group, Kind};
use crate::failure::Failure;
use crate::messages::text;

/// The command.
pub(crate) static COMMAND: CommandSpec = CommandSpec {
    name: "compare",
    about: text("Measures how near pictures are to a reference.", "测量图片与参考图的接近程度。"),
    details: text(
        "The first picture is the reference, of which the others are judged: PSNR and SSIM on luma, as super-resolution is measured \
         (BT.601 studio range, 11 x 11 Gaussian window), PSNR over all colours, and the largest difference of a value. --border \
         leaves out pixels at the edges; papers leave out as many as the scale.",
        "第一张为参考图，其余与之比较：亮度 PSNR 和 SSIM（与超分辨率论文相同：BT.601 有限范围、11 x 11 高斯窗）、\
         全部颜色的 PSNR，以及最大差值。--border 去掉边缘像素；论文通常去掉与倍数相同的像素数。",
    ),
    usage: text("danqing compare [OPTIONS] <REFERENCE> <FILE>...", "danqing compare [选项] <参考图> <文件>..."),
    groups: &[Group {
        title: text("Arguments", "参数"),
        arguments: &[
            Argument::positional(
                "files",
                "FILE",
                Kind::Paths,
                text("The reference, then the pictures to judge", "参考图，然后是要评判的图片"),
            ),
            Argument::option(
                "border",
                "N",
                Kind::Count(0, 4096),
                text("Pixels to leave out at each edge", "每边去掉的像素数"),
            ),
            Argument::switch("json", text("Print JSON for other programs", "输出 JSON，供其他程序使用")),
        ],
    }],
    examples: &[(
        "danqing compare photo.png enlarged.png --border 4",
        text("PSNR and SSIM as papers give them", "论文口径的 PSNR 和 SSIM"),
    )],
    run,
};

fn run(invocation: &Invocation) -> Result<(), Failure> {
    let messages = invocation.messages();
    let [reference, others @ ..] = invocation.paths("files") else {
        return Err(Failure::Usage(messages.see_help("danqing compare")));
    };
    if others.is_empty() {
        return Err(Failure::Usage(messages.see_help("danqing compare")));
    }
    let border = invocation.count("border").unwrap_or(0) as u32;
    let read = |path: &std::path::Path| open(path, &DecodeLimits::default()).map_err(|e| Failure::of(&e));
    let wanted = read(reference)?;
    let mut rows = Vec::with_capacity(others.len());
    for path in others {
        let quality =
            compare(&wanted, &read(path)?, border).map_err(|e| Failure::Failed(format!("{}: {e}", path.display())))?;
        rows.push((path.display().to_string(), quality));
    }
    if invocation.is("json") {
        let values: Vec<_> = rows.iter().map(|(name, quality)| json(name, quality)).collect();
        return print(&format!("{:#}\n", serde_json::Value::Array(values)));
    }
    let mut out = format!("{:>10} {:>8} {:>10} {:>8}\n", "PSNR-Y dB", "SSIM-Y", "PSNR dB", "max");
    for (name, q) in rows {
        out.push_str(&format!("{:>10.3} {:>8.5} {:>10.3} {:>8}  {name}\n", q.psnr, q.ssim, q.psnr_rgb, q.largest));
    }
    print(&out)
}

/// Numbers of JSON cannot be infinite: equal pictures have no PSNR there.
fn json(name: &str, quality: &Quality) -> serde_json::Value {
    let finite = |v: f64| v.is_finite().then_some(v);
    serde_json::json!({
        "file": name,
        "psnr_y": finite(quality.psnr),
        "ssim_y": quality.ssim,
        "psnr": finite(quality.psnr_rgb),
        "largest_difference": quality.largest,
    })
}
