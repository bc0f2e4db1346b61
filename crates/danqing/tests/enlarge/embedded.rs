//! The networks inside the program: chosen where nothing is said, by what a picture looks like, or named.

use std::fs;
use std::path::Path;

use danqing_imaging::{DecodeLimits, EncodeOptions, Infotext, open, save};
use danqing_testing::{assets, fixture_path};

use super::{danqing, folder, said, streamed};

fn size(folder: &Path, name: &str) -> (u32, u32) {
    let picture = open(&folder.join(name), &DecodeLimits::default()).unwrap();
    (picture.width(), picture.height())
}

#[test]
fn as_many_work_as_the_size_asks_for() {
    let folder = folder();
    let folder = folder.path();
    // A file of the same name in the model folders is not meant.
    fs::write(folder.join("photo-x4.safetensors"), "no network").unwrap();
    for (more, wanted, result) in [
        (&[][..], &["photo-x2"][..], (48, 32)),
        (&["--scale", "0.5"], &[], (12, 8)),
        (&["--scale", "1.5"], &["photo-x2"], (36, 24)),
        (&["--scale", "4"], &["photo-x4"], (96, 64)),
        (&["--width", "144"], &["photo-x4", "photo-x2"], (144, 96)),
        (&["-u", "art-x4"], &["art-x4"], (96, 64)),
        (&["-u", "clean-x1,photo-x2"], &["clean-x1", "photo-x2"], (48, 32)),
    ] {
        let report = ["enlarge", "a.png", "-o", "b.png", "--report", "r.json"];
        let output = danqing(folder, &[&report[..], more].concat());
        assert!(output.status.success(), "{more:?}: {}", said(&output));
        assert_eq!(size(folder, "b.png"), result, "{more:?}");
        for name in ["photo-x2", "photo-x4", "art-x4", "clean-x1", "live-x2"] {
            assert_eq!(said(&output).contains(&format!("{name}: SPAN")), wanted.contains(&name), "{more:?}: {name}");
        }
        let report: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(folder.join("r.json")).unwrap()).unwrap();
        let networks = if wanted.is_empty() { "bicubic".into() } else { wanted.join(" + ") };
        assert_eq!(report[0]["networks"], networks, "{more:?}");
        let picture = open(&folder.join("b.png"), &DecodeLimits::default()).unwrap();
        assert_eq!(picture.metadata.digital_source_type().is_some(), !wanted.is_empty(), "{more:?}");
    }
    let path = danqing(folder, &["enlarge", "a.png", "-u", "photo-x4.safetensors"]);
    assert_eq!(path.status.code(), Some(1), "{}", said(&path));
    let near = danqing(folder, &["enlarge", "a.png", "-u", "foto-x4"]);
    assert!(said(&near).contains("did you mean \"photo-x4\"?"), "{}", said(&near));
}

#[test]
fn nothing_is_added_to_medical_pictures_unasked() {
    let folder = folder();
    let folder = folder.path();
    fs::copy(fixture_path("reference/dicom/explicit12.dcm"), folder.join("ct.dcm")).unwrap();
    for (more, word) in [(&[][..], "a medical picture"), (&["-u", "photo-x2"], "photo-x2: SPAN")] {
        for result in ["b.dcm", "b.png"] {
            let line = ["enlarge", "ct.dcm", "--scale", "2", "-o", result];
            let output = danqing(folder, &[&line[..], more].concat());
            assert!(output.status.success() && said(&output).contains(word), "{more:?} {result}: {}", said(&output));
            assert_eq!(said(&output).contains("SPAN"), !more.is_empty(), "{}", said(&output));
        }
    }
}

#[test]
fn a_look_at_the_picture_chooses() {
    let folder = folder();
    let folder = folder.path();
    for (arguments, wanted) in [
        (&["enlarge", "a.png", "--auto", "-u", "photo-x2"][..], "--auto and --upscaler"),
        (&["enlarge", "--stream", "y4m", "--auto"], "--stream and --auto"),
    ] {
        let output = danqing(folder, arguments);
        assert!(output.status.code() == Some(2) && said(&output).contains(wanted), "{}", said(&output));
    }
    let Some(assets) = assets() else { return };
    let photo = open(&assets.join("images/photos/kodak23.png"), &DecodeLimits::default()).unwrap();
    let part = photo.crop(200, 100, 160, 128).unwrap();
    for (name, jpeg_quality) in [("bad.jpg", 30), ("good.png", 92)] {
        save(&folder.join(name), &part, &EncodeOptions { jpeg_quality, ..Default::default() }).unwrap();
    }
    // Bars of two colours.
    let mut bars = part.clone();
    bars.pixels_mut().chunks_exact_mut(3).enumerate().for_each(|(i, pixel)| {
        let colour = if i / 16 % 2 == 0 { [20, 40, 200] } else { [250, 240, 30] };
        pixel.copy_from_slice(&colour);
    });
    save(&folder.join("bars.png"), &bars, &EncodeOptions::default()).unwrap();
    let line = ["enlarge", "bad.jpg", "good.png", "bars.png", "--auto", "-o", "out", "--report", "r.json"];
    let output = danqing(folder, &line);
    assert!(output.status.success(), "{}", said(&output));
    let report: serde_json::Value = serde_json::from_str(&fs::read_to_string(folder.join("r.json")).unwrap()).unwrap();
    let rows: Vec<[&str; 2]> = report
        .as_array()
        .unwrap()
        .iter()
        .map(|row| ["seen", "networks"].map(|key| row[key].as_str().unwrap()))
        .collect();
    assert!(rows[0][0].starts_with("a photograph, JPEG of quality 30, noise"), "{rows:?}");
    assert_eq!(rows[0][1], "clean-x1 + photo-x2");
    assert!(rows[1][0].starts_with("a photograph, noise") && rows[1][1] == "photo-x2", "{rows:?}");
    assert!(rows[2][0].starts_with("a drawing") && rows[2][1] == "art-x4", "{rows:?}");
    for [seen, networks] in rows {
        assert!(said(&output).contains(&format!(": {seen}: {networks}")), "{}", said(&output));
    }
    let chinese = danqing(folder, &["enlarge", "bars.png", "--auto", "--lang", "zh", "-o", "c.png"]);
    assert!(said(&chinese).contains("bars.png：图画") && said(&chinese).contains("使用 art-x4"), "{}", said(&chinese));
}

#[test]
fn videos_go_through_the_small_network() {
    let folder = folder();
    let output = streamed(folder.path(), &["--stream", "20x10"], &[90; 20 * 10 * 3 * 2]);
    assert!(output.status.success() && said(&output).contains("live-x2: SPAN"), "{}", said(&output));
    assert_eq!(output.stdout.len(), 2 * 40 * 20 * 3);
}

#[test]
fn they_are_listed() {
    let folder = folder();
    let output = danqing(folder.path(), &["models"]);
    let list = String::from_utf8(output.stdout).unwrap();
    assert!(list.contains("photo-x4\n  embedded: makes photographs 4 times as large\n"), "{list}");
    let output = danqing(folder.path(), &["models", "--json"]);
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let names: Vec<&str> = rows.as_array().unwrap().iter().filter_map(|row| row["name"].as_str()).collect();
    assert_eq!(names, ["starter", "photo-x2", "photo-x4", "art-x4", "live-x2", "clean-x1"]);
}

#[test]
fn drawings_of_the_starter_are_enlarged_and_say_by_what() {
    let folder = folder();
    let folder = folder.path();
    for (more, size, by) in [(&[][..], (512, 512), Some("art-x4")), (&["--size", "64x64"], (64, 64), None)] {
        let line = ["draw", "a red apple", "--steps", "1", "--seed", "1", "-o", "apple.png"];
        let output = danqing(folder, &[&line[..], more].concat());
        assert!(output.status.success(), "{}", said(&output));
        let told = String::from_utf8(output.stdout).unwrap();
        let picture = open(&folder.join("apple.png"), &DecodeLimits::default()).unwrap();
        assert_eq!((picture.width(), picture.height()), size);
        let infotext = Infotext::parse(&picture.metadata.infotext().unwrap());
        let upscaler = infotext.get("Postprocess upscaler").map(str::to_owned);
        assert_eq!(upscaler.is_some(), by.is_some());
        if let Some((by, upscaler)) = by.zip(upscaler) {
            assert!(upscaler.starts_with(by), "{upscaler}");
            assert!(told.contains(&format!("512 x 512, enlarged by {upscaler}, seed 1")), "{told}");
        }
    }
}
