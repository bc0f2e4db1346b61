//! `danqing enlarge` and `danqing compare` as a user calls them.

mod bad_input;
mod embedded;
mod faces;

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use danqing_checkpoints::Weights;
use danqing_imaging::animation::{Animation, AnimationHeader, AnimationWriter, Frame, Plays};
use danqing_imaging::dicom::Dicom;
use danqing_imaging::xmp::DigitalSourceType;
use danqing_imaging::{
    Channels, DecodeLimits, DeepPicture, Depth, EncodeOptions, Format, Picture, Samples, open, open_deep, save,
    save_deep,
};
use danqing_nn::TensorSource;
use danqing_testing::fixture_path;

/// A call with a clean environment in `folder`.
fn danqing(folder: &Path, arguments: &[&str]) -> Output {
    command(folder, arguments).output().unwrap()
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_danqing"));
    command.args(arguments).current_dir(folder).env_clear().env("HOME", folder).env("LANG", "C.UTF-8");
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder with `a.png` of 24×16 pixels and the tiny twofold network `span.safetensors`.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut picture = Picture::filled(24, 16, &[40, 90, 160]).unwrap();
    picture.pixels_mut().iter_mut().enumerate().for_each(|(i, v)| *v = v.wrapping_add((i * 7 % 50) as u8));
    picture.metadata.set_text("Title", "blue");
    save(&folder.path().join("a.png"), &picture, &EncodeOptions::default()).unwrap();
    network(folder.path(), |v| v);
    folder
}

/// Writes the tiny network, its weights changed.
fn network(folder: &Path, changed: impl Fn(f32) -> f32) {
    write_network("span_branches", &folder.join("span.safetensors"), changed);
}

/// Writes the network of a fixture to a file of its own, its weights changed.
fn write_network(fixture: &str, path: &Path, changed: impl Fn(f32) -> f32) {
    let fixture = fixture_path(format!("reference/upscalers/{fixture}.safetensors"));
    let weights = Weights::open(fixture).unwrap().under("w.");
    let parts: Vec<_> = TensorSource::names(&weights)
        .into_iter()
        .map(|name| {
            let shape = TensorSource::shape(&weights, &name).unwrap();
            let values = weights.read_f32(&name).unwrap();
            let bytes: Vec<u8> = values.iter().flat_map(|v| changed(*v).to_le_bytes()).collect();
            (name, shape, bytes)
        })
        .collect();
    let tensors: Vec<_> = parts
        .iter()
        .map(|(n, s, b)| (n.as_str(), danqing_checkpoints::StorageType::F32, s.as_slice(), b.as_slice()))
        .collect();
    danqing_checkpoints::safetensors::write(path, &tensors, &Default::default()).unwrap();
}

#[test]
fn a_network_enlarges_and_texts_are_kept() {
    let folder = folder();
    let output = danqing(folder.path(), &["enlarge", "a.png", "-u", "span.safetensors", "-o", "b.png"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("SPAN, x2"), "{}", said(&output));
    let enlarged = open(&folder.path().join("b.png"), &DecodeLimits::default()).unwrap();
    assert_eq!((enlarged.width(), enlarged.height()), (48, 32));
    assert_eq!(enlarged.metadata.text("Title"), Some("blue"));
    assert_eq!(
        enlarged.metadata.digital_source_type().as_deref(),
        Some(DigitalSourceType::AlgorithmicallyEnhanced.uri())
    );

    let two = danqing(
        folder.path(),
        &[
            "enlarge",
            "a.png",
            "-u",
            "span.safetensors,span.safetensors",
            "--width",
            "30",
            "-o",
            "c.jpg",
            "--compare",
            "s.png",
        ],
    );
    assert!(two.status.success(), "{}", said(&two));
    let enlarged = open(&folder.path().join("c.jpg"), &DecodeLimits::default()).unwrap();
    assert_eq!((enlarged.width(), enlarged.height()), (30, 20));
    assert!(folder.path().join("s.png").exists());
}

#[test]
fn folders_go_on_where_they_were_and_one_failure_leaves_the_others() {
    let folder = folder();
    let inside = folder.path().join("in");
    fs::create_dir(&inside).unwrap();
    fs::copy(folder.path().join("a.png"), inside.join("one.png")).unwrap();
    fs::write(inside.join("two.png"), "no picture").unwrap();
    let output = danqing(folder.path(), &["enlarge", "in", "-o", "out", "--scale", "2"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("two.png") && said(&output).contains("1 of 2"), "{}", said(&output));
    assert!(folder.path().join("out/one.png").exists() && !folder.path().join("out/two.png").exists());
    let again = danqing(folder.path(), &["enlarge", "in/one.png", "-o", "out", "--scale", "2", "--skip-existing"]);
    assert!(again.status.success() && said(&again).contains("already there"), "{}", said(&again));
}

#[test]
fn wishes_that_make_no_sense_are_refused() {
    let folder = folder();
    for (arguments, status, wanted) in [
        (&["enlarge"][..], 2, "danqing enlarge --help"),
        (&["enlarge", "a.png", "--scale", "2", "--width", "9"], 2, "--scale and --width"),
        (&["enlarge", "a.png", "-u", "gone"], 1, "there is no upscaler \"gone\""),
        (&["enlarge", "a.png", "-u", "gone"], 1, "`danqing models` lists them"),
        (&["enlarge", "a.png", "-u", "photo-x3"], 1, "did you mean \"photo-x2\""),
        (&["enlarge", "a.png", "-u", "a.png"], 1, "a.png"),
        (&["enlarge", "a.png", "a.png", "-o", "out", "--compare", "s.png"], 1, "two pictures"),
        (&["enlarge", ".", "b.png", "-o", "out", "--compare", "s.png"], 2, "--compare is for one picture"),
        (&["enlarge", "a.png", "-o", "b.bmp"], 1, "label"),
        (&["enlarge", "a.png", "--height", "65535"], 1, "too large"),
        (&["enlarge", "gone.png"], 1, "gone.png"),
        (&["enlarge", "a.png", "-o", "b.tga"], 1, "tga"),
        (&["compare", "a.png"], 2, "danqing compare --help"),
    ] {
        let output = danqing(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(wanted), "{arguments:?}: {}", said(&output));
    }
}

#[test]
fn compare_measures() {
    let folder = folder();
    let output = danqing(folder.path(), &["compare", "a.png", "a.png", "--json"]);
    assert!(output.status.success(), "{}", said(&output));
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((rows[0]["psnr_y"].is_null(), rows[0]["ssim_y"].as_f64()), (true, Some(1.0)));
}

#[test]
fn grey_alpha_and_16_bits_stay() {
    let folder = folder();
    let values: Vec<u16> = (0..12 * 10 * 2).map(|i| (i * 271 % 65_536) as u16).collect();
    let picture = DeepPicture::new(12, 10, Channels::GreyAlpha, Samples::U16(values)).unwrap();
    save_deep(&folder.path().join("deep.png"), &picture, &EncodeOptions::default()).unwrap();
    let output = danqing(folder.path(), &["enlarge", "deep.png", "-u", "span.safetensors", "-o", "large.tiff"]);
    assert!(output.status.success(), "{}", said(&output));
    let large = open_deep(&folder.path().join("large.tiff"), &DecodeLimits::default()).unwrap();
    assert_eq!((large.width(), large.height()), (24, 20));
    assert_eq!((large.channels(), large.depth()), (Channels::GreyAlpha, Depth::Sixteen));
    // Eight bits would leave 256 levels 257 apart.
    let fine = match large.samples() {
        danqing_imaging::SamplesRef::U16(values) => values.iter().any(|v| v % 257 != 0),
        danqing_imaging::SamplesRef::U8(_) => false,
    };
    assert!(fine);
}

#[test]
fn animations_move_after_it() {
    let folder = folder();
    let mut gif = Cursor::new(Vec::new());
    let header = AnimationHeader {
        width: 9,
        height: 7,
        frames: 3,
        alpha: false,
        plays: Plays::Times(4),
        metadata: Default::default(),
    };
    let mut writer = AnimationWriter::begin(Format::Gif, header, &mut gif).unwrap();
    for i in 0..3u8 {
        let picture = Picture::filled(9, 7, &[i * 80, 90, 200]).unwrap();
        writer.write_frame(&Frame { picture, delay: Duration::from_millis(50) }).unwrap();
    }
    writer.finish().unwrap();
    fs::write(folder.path().join("m.gif"), gif.into_inner()).unwrap();
    for name in ["m-enlarged.gif", "m.webp", "m.png"] {
        let mut line = vec!["enlarge", "m.gif", "--scale", "2", "-u", "cubic"];
        if name != "m-enlarged.gif" {
            line.extend(["-o", name]);
        }
        let output = danqing(folder.path(), &line);
        assert!(output.status.success(), "{}", said(&output));
        let bytes = fs::read(folder.path().join(name)).unwrap();
        let animation = Animation::open(&bytes, &DecodeLimits::default()).unwrap();
        assert_eq!((animation.size(), animation.frames(), animation.plays()), ((18, 14), 3, Plays::Times(4)), "{name}");
        for (i, frame) in animation.enumerate() {
            let frame = frame.unwrap();
            assert_eq!(frame.delay, Duration::from_millis(50));
            let wanted = [i as u8 * 80, 90, 200];
            assert!(frame.picture.pixel(9, 7).unwrap().iter().zip(wanted).all(|(a, b)| a.abs_diff(b) <= 2), "{name}");
        }
    }
}

#[test]
fn medical_pictures_become_derived_ones() {
    let folder = folder();
    fs::copy(fixture_path("reference/dicom/explicit12.dcm"), folder.path().join("ct.dcm")).unwrap();
    let output = danqing(folder.path(), &["enlarge", "ct.dcm", "--scale", "2"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("not for diagnosis"), "{}", said(&output));
    let limits = DecodeLimits::default();
    let [before, after] = ["ct.dcm", "ct-enlarged.dcm"].map(|name| fs::read(folder.path().join(name)).unwrap());
    let (before, after) = (Dicom::open(&before, &limits).unwrap(), Dicom::open(&after, &limits).unwrap());
    assert_eq!((after.width(), after.height()), (2 * before.width(), 2 * before.height()));
    if let (Some((a, b)), Some((c, d))) = (before.spacing(), after.spacing()) {
        assert!((a / 2.0 - c).abs() < 1e-6 && (b / 2.0 - d).abs() < 1e-6);
    }
    let shown = danqing(folder.path(), &["enlarge", "ct.dcm", "-o", "ct.png", "--scale", "2"]);
    assert!(shown.status.success(), "{}", said(&shown));
    let picture = open_deep(&folder.path().join("ct.png"), &limits).unwrap();
    assert_eq!((picture.depth(), picture.channels()), (Depth::Sixteen, Channels::Grey));
    let wrong = danqing(folder.path(), &["enlarge", "a.png", "-o", "a.dcm"]);
    assert!(!wrong.status.success() && said(&wrong).contains("only a DICOM file"), "{}", said(&wrong));
}

/// What comes out of `danqing enlarge --stream`.
fn streamed(folder: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_danqing"));
    command.arg("enlarge").args(arguments).current_dir(folder).env_clear().env("HOME", folder).env("LANG", "C.UTF-8");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        // A program that refuses does not read to the end.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output().unwrap()
    })
}

#[test]
fn frames_go_through_a_pipe() {
    let folder = folder();
    let frame = |i: u8| [&b"FRAME\n"[..], &[40 + i; 16 * 8], &[128; 2 * 8 * 4]].concat();
    let mut video = b"YUV4MPEG2 W16 H8 F25:1 Ip A1:1 C420jpeg\n".to_vec();
    (0..50).for_each(|i| video.extend(frame(i)));
    let output = streamed(folder.path(), &["--stream", "y4m", "--scale", "2", "-u", "cubic"], &video);
    assert!(output.status.success() && said(&output).contains("50 frames"), "{}", said(&output));
    let header = b"YUV4MPEG2 W32 H16 F25:1 A1:1 Ip C420jpeg\n";
    assert!(output.stdout.starts_with(header));
    let frames: Vec<&[u8]> = output.stdout[header.len()..].chunks(6 + 32 * 16 * 3 / 2).collect();
    assert_eq!(frames.len(), 50);
    for (i, frame) in frames.iter().enumerate() {
        assert!(frame.starts_with(b"FRAME\n") && frame[6..6 + 512].iter().all(|v| *v == 40 + i as u8), "frame {i}");
    }

    let rgb = streamed(folder.path(), &["--stream", "4x2", "-u", "span.safetensors"], &[77; 4 * 2 * 3 * 3]);
    assert!(rgb.status.success(), "{}", said(&rgb));
    assert_eq!(rgb.stdout.len(), 3 * 8 * 4 * 3);
    let cut = streamed(folder.path(), &["--stream", "y4m", "--scale", "2", "-u", "cubic"], &video[..video.len() - 5]);
    assert!(!cut.status.success() && said(&cut).contains("ends within a frame"), "{}", said(&cut));
    assert_eq!(cut.stdout.len(), output.stdout.len() - (6 + 32 * 16 * 3 / 2));
    let nonsense = streamed(folder.path(), &["--stream", "mp4"], b"");
    assert_eq!(nonsense.status.code(), Some(2));
}

#[test]
fn a_report_tells_what_became_of_each() {
    let folder = folder();
    fs::create_dir(folder.path().join("in")).unwrap();
    fs::copy(folder.path().join("a.png"), folder.path().join("in/one.png")).unwrap();
    fs::write(folder.path().join("in/two.png"), "no picture").unwrap();
    let output = danqing(folder.path(), &["enlarge", "in", "-o", "out", "--scale", "2", "--report", "r.json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: serde_json::Value =
        serde_json::from_str(&fs::read_to_string(folder.path().join("r.json")).unwrap()).unwrap();
    assert_eq!((report[0]["outcome"].as_str(), report[0]["result"]["width"].as_u64()), (Some("written"), Some(48)));
    assert_eq!(report[1]["outcome"], "failed");
}

#[test]
fn small_pictures_go_back_to_the_size_that_they_had() {
    let folder = folder();
    let mut picture = Picture::filled(41, 23, &[90, 120, 60]).unwrap();
    picture.metadata.set_text("Title", "meadow");
    picture.metadata.set_digital_source_type(DigitalSourceType::TrainedAlgorithmicMedia);
    save(&folder.path().join("m.png"), &picture, &EncodeOptions::default()).unwrap();
    let small = danqing(folder.path(), &["shrink", "m.png", "--strip"]);
    assert!(small.status.success() && said(&small).contains("bytes became"), "{}", said(&small));
    let limits = DecodeLimits::default();
    let small = open(&folder.path().join("m-small.jpg"), &limits).unwrap();
    assert_eq!((small.width(), small.height(), small.metadata.original_size()), (21, 12, Some((41, 23))));
    let label = DigitalSourceType::TrainedAlgorithmicMedia.uri();
    assert_eq!((small.metadata.digital_source_type().as_deref(), small.metadata.text("Title")), (Some(label), None));
    for (network, size) in [(None, (41, 23)), (Some("span.safetensors"), (41, 23))] {
        let mut line = vec!["enlarge", "m-small.jpg", "-o", "back.png"];
        line.extend(network.into_iter().flat_map(|n| ["-u", n]));
        let back = danqing(folder.path(), &line);
        assert!(back.status.success(), "{}", said(&back));
        let back = open(&folder.path().join("back.png"), &limits).unwrap();
        assert_eq!((back.width(), back.height()), size);
    }
}

#[test]
fn onnx_networks_and_the_filter_are_named_like_any_other() {
    let folder = folder();
    fs::copy(fixture_path("reference/upscalers/onnx/span.onnx"), folder.path().join("net.onnx")).unwrap();
    for (wish, size, wanted) in [("net.onnx", (48, 32), "net: "), ("cubic", (36, 24), "cubic filter")] {
        let mut line = vec!["enlarge", "a.png", "-u", wish, "-o", "b.png"];
        line.extend(["--scale", "1.5"].into_iter().filter(|_| wish == "cubic"));
        let output = danqing(folder.path(), &line);
        assert!(output.status.success() && said(&output).contains(wanted), "{wish}: {}", said(&output));
        let picture = open(&folder.path().join("b.png"), &DecodeLimits::default()).unwrap();
        assert_eq!((picture.width(), picture.height()), size, "{wish}");
    }
    let both = danqing(folder.path(), &["enlarge", "a.png", "-u", "cubic,net.onnx"]);
    assert_eq!(both.status.code(), Some(2), "{}", said(&both));
}

#[test]
fn webp_is_lossless_until_a_quality_is_asked_for() {
    let folder = folder();
    let limits = DecodeLimits::default();
    let enlarged = |name: &str, more: &[&str]| {
        let line = [&["enlarge", "a.png", "-u", "cubic", "--scale", "4", "-o", name], more].concat();
        let output = danqing(folder.path(), &line);
        assert!(output.status.success(), "{}", said(&output));
        (open(&folder.path().join(name), &limits).unwrap(), fs::metadata(folder.path().join(name)).unwrap().len())
    };
    let (png, _) = enlarged("b.png", &[]);
    let (lossless, large) = enlarged("b.webp", &[]);
    let (lossy, small) = enlarged("c.webp", &["--quality", "40"]);
    assert_eq!(png.pixels(), lossless.pixels());
    assert!(lossy.pixels() != png.pixels() && 2 * small < large, "{small} {large}");
    for (line, name) in [
        (&["shrink", "b.png", "--format", "webp"][..], "b-small.webp"),
        (&["shrink", "b.png", "-o", "d.webp", "--quality", "30"], "d.webp"),
        (&["shrink", "b.png", "-o", "d.jpg"], "d.jpg"),
    ] {
        let output = danqing(folder.path(), line);
        assert!(output.status.success(), "{}", said(&output));
        let bytes = fs::read(folder.path().join(name)).unwrap();
        assert_eq!(Format::sniff(&bytes), Format::for_writing(Path::new(name)).ok());
        // A lossy WebP says so in its chunks.
        assert!(name.ends_with("jpg") || bytes.windows(4).any(|chunk| chunk == b"VP8 "), "{name}");
        let small = open(&folder.path().join(name), &limits).unwrap();
        assert_eq!((small.width(), small.height(), small.metadata.original_size()), (48, 32, Some((96, 64))));
    }
    let wrong = danqing(folder.path(), &["shrink", "b.png", "--format", "webp", "-o", "e.jpg"]);
    assert!(wrong.status.code() == Some(2) && said(&wrong).contains("--format webp"), "{}", said(&wrong));
}
