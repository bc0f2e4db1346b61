//! Faces in photographs: found by a real detector, drawn by a tiny network with random weights.

use std::fs;
use std::path::Path;

use danqing_imaging::{DecodeLimits, EncodeOptions, Picture, open, save};
use danqing_testing::assets;

use super::{command, danqing, folder, said, write_network};

/// Where the detector has the face of `kodak15.png`, widely; it takes it for two.
const FACE: [u32; 4] = [250, 0, 768, 512];

/// A folder with the photograph of a face, the detector and the network that draws; none without the assets.
fn photograph() -> Option<tempfile::TempDir> {
    let assets = assets()?;
    let folder = folder();
    fs::copy(assets.join("images/photos/kodak15.png"), folder.path().join("face.png")).unwrap();
    fs::copy(assets.join("weights/face/version-RFB-320.pth"), folder.path().join("version-RFB-320.pth")).unwrap();
    write_network("gfpgan", &folder.path().join("GFPGANtiny.safetensors"), |v| v);
    Some(folder)
}

fn read(folder: &Path, name: &str) -> Picture {
    open(&folder.join(name), &DecodeLimits::default()).unwrap()
}

/// Whether a pixel differs, at places inside the face's area and outside of it; `scale` times as large as the photograph.
fn changed(a: &Picture, b: &Picture, scale: u32) -> (bool, bool) {
    let differ = |inside: bool| {
        let within = |x: u32, y: u32| {
            let [left, top, right, bottom] = FACE.map(|v| v * scale);
            (left..=right).contains(&x) && (top..=bottom).contains(&y)
        };
        let places = (0..a.height()).step_by(5).flat_map(|y| (0..a.width()).step_by(5).map(move |x| (x, y)));
        places.into_iter().any(|(x, y)| within(x, y) == inside && a.pixel(x, y) != b.pixel(x, y))
    };
    (differ(true), differ(false))
}

#[test]
fn a_face_is_found_and_drawn_anew_and_the_rest_stays() {
    let Some(folder) = photograph() else { return };
    let folder = folder.path();
    let found = |line: &[&str]| command(folder, line).env("DANQING_MODELS", folder).output().unwrap();
    let output = found(&["enlarge", "face.png", "-u", "face", "-o", "out.png"]);
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("face.png: 2 faces restored (unrotated"), "{}", said(&output));
    assert_eq!(changed(&read(folder, "face.png"), &read(folder, "out.png"), 1), (true, false));

    // Nothing of the change taken: the photograph itself.
    let detector = ["--face-detector", "version-RFB-320.pth"];
    let none = ["enlarge", "face.png", "-u", "GFPGANtiny.safetensors", "--strength", "0", "-o", "none.png"];
    let output = danqing(folder, &[&none[..], &detector].concat());
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(changed(&read(folder, "face.png"), &read(folder, "none.png"), 1), (false, false));

    // After an enlargement, where only the face's place differs from the enlargement alone.
    let face = ["--face", "GFPGANtiny.safetensors", "--report", "r.json"];
    for (more, name) in [(&[][..], "plain.png"), (&[&face[..], &detector].concat(), "faces.png")] {
        let line = ["enlarge", "face.png", "-u", "cubic", "--scale", "2", "-o", name];
        let output = danqing(folder, &[&line[..], more].concat());
        assert!(output.status.success(), "{}", said(&output));
    }
    assert_eq!(changed(&read(folder, "plain.png"), &read(folder, "faces.png"), 2), (true, false));
    let report: serde_json::Value = serde_json::from_str(&fs::read_to_string(folder.join("r.json")).unwrap()).unwrap();
    assert_eq!(report[0]["networks"], "GFPGANtiny");

    // A part without a face, in Chinese.
    let part = read(folder, "face.png").crop(0, 0, 150, 150).unwrap();
    save(&folder.join("part.png"), &part, &EncodeOptions::default()).unwrap();
    let output = found(&["enlarge", "part.png", "-u", "face", "--lang", "zh"]);
    assert!(output.status.success() && said(&output).contains("没有找到人脸"), "{}", said(&output));
}

#[test]
fn wishes_about_faces_that_make_no_sense_are_refused() {
    let folder = folder();
    let folder = folder.path();
    write_network("gfpgan", &folder.join("gfpgan.safetensors"), |v| v);
    for (arguments, status, wanted) in [
        (&["enlarge", "a.png", "-u", "face"][..], 1, "no network that draws faces was found"),
        (&["enlarge", "a.png", "--face", "span.safetensors"], 1, "span does not draw faces"),
        (&["enlarge", "a.png", "--face", "gfpgan.safetensors"], 1, "no network that finds faces was found"),
        (
            &["enlarge", "a.png", "-u", "gfpgan.safetensors", "--face-detector", "span.safetensors"],
            1,
            "no face detector",
        ),
        (&["enlarge", "a.png", "--face-detector", "span.safetensors"], 2, "--face-detector means something only"),
    ] {
        let output = danqing(folder, arguments);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {}", said(&output));
        assert!(said(&output).contains(wanted), "{arguments:?}: {}", said(&output));
    }
}
