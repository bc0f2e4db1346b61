//! `danqing enlarge` and `danqing compare` as a user calls them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use danqing_checkpoints::Weights;
use danqing_imaging::xmp::DigitalSourceType;
use danqing_imaging::{DecodeLimits, EncodeOptions, Picture, open, save};
use danqing_nn::TensorSource;
use danqing_testing::fixture_path;

/// A call with a clean environment in `folder`.
fn danqing(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_danqing"));
    command.args(arguments).current_dir(folder).env_clear().env("HOME", folder).env("LANG", "C.UTF-8");
    command.output().unwrap()
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
    let weights = Weights::open(fixture_path("reference/upscalers/span_branches.safetensors")).unwrap().under("w.");
    let parts: Vec<_> = TensorSource::names(&weights)
        .into_iter()
        .map(|name| {
            let shape = TensorSource::shape(&weights, &name).unwrap();
            let bytes: Vec<u8> = weights.read_f32(&name).unwrap().iter().flat_map(|v| v.to_le_bytes()).collect();
            (name, shape, bytes)
        })
        .collect();
    let tensors: Vec<_> = parts
        .iter()
        .map(|(n, s, b)| (n.as_str(), danqing_checkpoints::StorageType::F32, s.as_slice(), b.as_slice()))
        .collect();
    danqing_checkpoints::safetensors::write(folder.path().join("span.safetensors"), &tensors, &Default::default())
        .unwrap();
    folder
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
