//! Drawing from the command line, with the tiny model that diffusers made for the pipeline fixtures: its pictures are noise, its
//! paths are those of any checkpoint.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use danqing_imaging::inspect::report;
use danqing_imaging::{DecodeLimits, EncodeOptions, Mask, Picture, PixelFormat, open, save};
use danqing_testing::assets;

struct Said {
    status: i32,
    out: String,
    err: String,
}

fn tiny() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/reference/pipelines/tiny")
}

fn program(folder: &Path, arguments: &[&str]) -> Command {
    program_with(folder, arguments, &tiny())
}

fn program_with(folder: &Path, arguments: &[&str], model: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_danqing"));
    command.arg("draw").args(arguments).arg("--model").arg(model);
    command.current_dir(folder).env_clear().env("HOME", folder).env("LANG", "C.UTF-8");
    command
}

fn draw(folder: &Path, arguments: &[&str]) -> Said {
    said(program(folder, arguments))
}

fn said(mut program: Command) -> Said {
    let output = program.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { status: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// Draws, and reads the picture back.
fn drawn(folder: &Path, arguments: &[&str], name: &str) -> Picture {
    let said = draw(folder, arguments);
    assert_eq!(said.status, 0, "{arguments:?}: {}", said.err);
    open(&folder.join(name), &DecodeLimits::default()).unwrap()
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

const SMALL: [&str; 6] = ["--steps", "3", "--size", "32x32", "--seed", "5"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["a cat"][..], &SMALL, more].concat()
}

#[test]
fn a_picture_says_how_it_was_drawn_and_is_drawn_again_from_that() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let flags =
        ["--sampler", "euler_ancestral", "--schedule", "karras", "--negative", "dog", "-g", "4.5", "-o", "a.png"];
    let said = draw(folder, &with(&flags));
    assert_eq!(said.status, 0, "{}", said.err);
    for fact in ["model     tiny", "MiB at the peak", "3 steps, Euler a, Karras, guidance 4.5, 32 x 32", "seed      5"]
    {
        assert!(said.err.contains(fact), "{fact:?} is not in\n{}", said.err);
    }
    assert_eq!(said.out, "wrote a.png: 32 x 32, seed 5\n");

    let info = report(&folder.join("a.png"), &DecodeLimits::default()).unwrap();
    assert!(info.digital_source_type.unwrap().ends_with("/trainedAlgorithmicMedia"));
    let base = info.generation.unwrap().base;
    assert_eq!((base.prompt.as_str(), base.negative_prompt.as_str()), ("a cat", "dog"));
    assert_eq!((base.steps, base.seed, base.guidance_scale), (Some(3), Some(5), Some(4.5)));

    let first = open(&folder.join("a.png"), &DecodeLimits::default()).unwrap();
    let again = drawn(folder, &["--like", "a.png", "-o", "b.png"], "b.png");
    assert_eq!(first.pixels(), again.pixels());
    let other = drawn(folder, &["--like", "a.png", "--seed", "6", "-o", "b.png"], "b.png");
    assert_ne!(first.pixels(), other.pixels());
    assert_eq!(names(folder), ["a.png", "b.png"]);
}

#[test]
fn several_pictures_are_numbered_and_equal_single_ones() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("c-1.png"), "kept").unwrap();
    let said = draw(folder, &with(&["--count", "3", "--batch", "2", "-o", "c.png"]));
    assert_eq!(said.status, 0, "{}", said.err);
    assert_eq!(names(folder), ["c-1.png", "c-2.png", "c-3.png", "c-4.png"]);
    assert_eq!(fs::read(folder.join("c-1.png")).unwrap(), b"kept");
    let third = open(&folder.join("c-4.png"), &DecodeLimits::default()).unwrap();
    let single = drawn(folder, &["a cat", "--steps", "3", "--size", "32x32", "--seed", "7", "-o", "s.png"], "s.png");
    assert_eq!(third.pixels(), single.pixels());
}

#[test]
fn a_mask_keeps_what_it_does_not_cover_and_an_extension_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let pixels = (0..32 * 32u32).flat_map(|i| [(i % 32 * 8) as u8, (i / 32 * 8) as u8, 90]).collect();
    let start = Picture::new(32, 32, PixelFormat::Rgb8, pixels).unwrap();
    save(&folder.join("in.png"), &start, &EncodeOptions::default()).unwrap();
    let inside = |i: u32| (8..24).contains(&(i % 32)) && (8..24).contains(&(i / 32));
    let white = (0..32 * 32u32).flat_map(|i| if inside(i) { [255; 3] } else { [0; 3] }).collect();
    let mask = Picture::new(32, 32, PixelFormat::Rgb8, white).unwrap();
    save(&folder.join("mask.png"), &mask, &EncodeOptions::default()).unwrap();
    assert!(!Mask::from_picture(&mask).is_empty());

    let flags = ["a cat", "--steps", "3", "--seed", "5", "--init", "in.png", "-o", "out.png"];
    let masked = [&flags[..], &["--mask", "mask.png", "--mask-blur", "0", "--strength", "1"]].concat();
    let out = drawn(folder, &masked, "out.png");
    let mut changed = 0;
    for (i, (a, b)) in (0u32..).zip(start.pixels().chunks_exact(3).zip(out.pixels().chunks_exact(3))) {
        assert!(inside(i) || a == b, "pixel {i} is outside of the mask and changed");
        changed += usize::from(a != b);
    }
    assert!(changed > 100, "only {changed} pixels changed");

    let out = drawn(folder, &[&flags[..], &["--extend", "16,0,0,32", "--mask-blur", "0"]].concat(), "out.png");
    assert_eq!((out.width(), out.height()), (48, 64));
    let kept = out.crop(16, 0, 32, 32).unwrap();
    assert_eq!(kept.pixels(), start.pixels());
    let info = report(&folder.join("out.png"), &DecodeLimits::default()).unwrap();
    assert!(info.digital_source_type.unwrap().ends_with("/compositeWithTrainedAlgorithmicMedia"));
}

#[test]
fn a_grid_is_one_sheet_and_a_preview_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let flags = ["--grid", "steps=1,2,3;guidance=1,5", "--preview", "p.png", "--preview-every", "1", "-o", "g.jpg"];
    let sheet = drawn(folder, &with(&flags), "g.jpg");
    assert!(sheet.width() > 3 * 32 && sheet.height() > 2 * 32);
    assert_eq!(names(folder), ["g.jpg", "p.png"]);
}

#[test]
fn previews_of_a_taesd_decoder_are_larger_than_the_guess() {
    let Some(assets) = assets() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let decoder = assets.join("weights/vae/taesd/taesd_decoder.safetensors");
    let decoder = decoder.to_str().unwrap();
    let flags = ["--preview", "p.png", "--preview-every", "1", "--preview-decoder", decoder, "-o", "a.png"];
    drawn(folder, &with(&flags), "a.png");
    // The tiny model's latents are 16 cells wide, which TAESD makes eight times as many pixels.
    let preview = open(&folder.join("p.png"), &DecodeLimits::default()).unwrap();
    assert_eq!((preview.width(), preview.height()), (128, 128));
    let wrong = draw(folder, &with(&["--preview", "p.png", "--preview-decoder", "a.png", "-o", "b.png"]));
    assert_eq!(wrong.status, 1, "{}", wrong.err);
    assert!(!folder.join("b.png").exists());
}

#[test]
fn a_network_of_pixels_draws_without_words() {
    let Some(assets) = assets() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let model = assets.join("weights/diffusion/ddpm_mnist.pt");
    let flags = ["", "--steps", "5", "--seed", "3", "--count", "2", "-o", "digit.png"];
    let done = said(program_with(folder, &flags, &model));
    assert_eq!(done.status, 0, "{}", done.err);
    assert_eq!(done.out, "wrote digit-1.png: 28 x 28, seed 3\nwrote digit-2.png: 28 x 28, seed 4\n");
    assert!(done.err.contains("5 steps, DDIM"), "{}", done.err);
    let info = report(&folder.join("digit-2.png"), &DecodeLimits::default()).unwrap();
    assert_eq!(info.generation.unwrap().base.seed, Some(4));
    for (flags, wanted) in [
        (&["a seven", "-o", "x.png"][..], "knows no words"),
        (&["", "--hires", "2", "-o", "x.png"], "from noise alone"),
        (&["", "--grid", "steps=1,2", "-o", "x.png"], "--grid and ddpm_mnist"),
    ] {
        let refused = said(program_with(folder, flags, &model));
        assert_ne!(refused.status, 0, "{flags:?}");
        assert!(refused.err.contains(wanted), "{flags:?}: {}", refused.err);
    }
    assert_eq!(names(folder), ["digit-1.png", "digit-2.png"]);
}

#[test]
fn wishes_that_cannot_be_met_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for (flags, wanted) in [
        (&["--sampler", "eulr"][..], "sampler \"eulr\" is not known"),
        (&["--schedule", "carras"], "schedule \"carras\" is not known"),
        (&["--clip-skip", "30"], "clip skip"),
        (&["--size", "16384x16384", "--steps", "1", "--memory", "64"], "this needs about"),
    ] {
        let said = draw(folder, &[&["a cat", "-o", "x.png"], flags].concat());
        assert_eq!(said.status, 1, "{flags:?}: {}", said.err);
        let sentence = said.err.lines().last().unwrap();
        assert!(sentence.starts_with("error: ") && sentence.contains(wanted), "{flags:?}: {}", said.err);
        assert_eq!(names(folder), [] as [&str; 0]);
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_is_kept_and_goes_on_to_the_same_picture() {
    use std::io::{BufRead, BufReader};
    use std::process::Stdio;

    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let flags = ["a cat", "--steps", "24", "--size", "32x32", "--seed", "5", "--sampler", "euler_ancestral"];
    let straight = drawn(folder, &[&flags[..], &["-o", "straight.png"]].concat(), "straight.png");

    let kept = [&flags[..], &["-o", "cut.png", "--save-run", "run"]].concat();
    let preview = [&kept[..], &["--preview", "p.png", "--preview-every", "1"]].concat();
    let mut child = program(folder, &preview).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().starts_with("seed")));
    // The first preview shows that steps are being done.
    let shown: PathBuf = folder.join("p.png");
    while !shown.exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest:?}");
    assert!(rest.last().unwrap().contains("--seed 5 --resume run"), "{rest:?}");
    assert_eq!(names(folder), ["p.png", "run", "straight.png"]);

    let resumed = drawn(folder, &[&flags[..], &["-o", "cut.png", "--resume", "run"]].concat(), "cut.png");
    assert_eq!(straight.pixels(), resumed.pixels());
}
