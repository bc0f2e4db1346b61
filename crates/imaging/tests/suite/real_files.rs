//! Real, odd and hostile picture files: the right picture or a clear error, never a panic.
//!
//! The right pictures are Pillow's (`reference/gen_decoded_pictures.py`); what must be refused is said by
//! `formats/EXPECTED_RESULTS.md` of the assets.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use danqing_imaging::{DecodeLimits, Picture, open, probe};
use serde_json::Value;

const GRID: u32 = 6;

/// Files on which we and Pillow differ, and why that is right.
const DIFFERENT: [(&str, &str); 26] = [
    ("broken/pil_no_palette.gif", "has no colours; an error here"),
    ("broken/pil_png_decompression_dos.png", "the text is the bomb; it is left out, the pixel is sound"),
    ("broken/pil_unknown_compression_method.png", "of the text only; the pixels are sound"),
    ("formats/image-rs/bmp/images/Bad_badplanes.bad_bmp", "must be refused"),
    ("formats/image-rs/bmp/images/Bad_rletopdown.bad_bmp", "must be refused"),
    ("formats/image-rs/bmp/images/V3_A1_R5_G5_B5.bmp", "has alpha, which Pillow drops"),
    ("formats/image-rs/bmp/images/V3_A1_R5_G5_B5_Top_Down.bmp", "has alpha, which Pillow drops"),
    ("formats/image-rs/bmp/images/V3_A4_R4_G4_B4.bmp", "a bit layout that Pillow does not know"),
    ("formats/image-rs/bmp/images/V3_A4_R4_G4_B4_Top_Down.bmp", "a bit layout that Pillow does not know"),
    ("formats/image-rs/bmp/images/V3_X4_R4_G4_B4.bmp", "a bit layout that Pillow does not know"),
    ("formats/image-rs/bmp/images/V3_X4_R4_G4_B4_Top_Down.bmp", "a bit layout that Pillow does not know"),
    ("formats/image-rs/bmp/images/pal2.bmp", "two bits a pixel, which Pillow does not know"),
    ("formats/image-rs/bmp/images/pal2color.bmp", "two bits a pixel, which Pillow does not know"),
    ("formats/image-rs/bmp/images/pal4rlecut.bmp", "leaves pixels out, which its run lengths allow"),
    ("formats/image-rs/bmp/images/rgb16-231.bmp", "a bit layout that Pillow does not know"),
    ("formats/image-rs/bmp/images/rgb32-111110.bmp", "a bit layout that Pillow does not know"),
    ("formats/image-rs/bmp/images/rgb32bf.bmp", "a bit layout that Pillow does not know"),
    ("formats/image-rs/bmp/images/rgba16-1924.bmp", "a bit layout that Pillow does not know"),
    ("formats/image-rs/bmp/images/rgba32-61754.bmp", "a bit layout that Pillow does not know"),
    ("formats/image-rs/gif/anim/border_touching_layers.gif", "transparent where no frame is, as in browsers"),
    ("formats/image-rs/gif/anim/issue_1455_undersized.gif", "transparent where no frame is, as in browsers"),
    ("formats/image-rs/gif/anim/oob.gif", "the screen's size counts, not the frame's"),
    ("formats/image-rs/gif/simple/issue_1455_oversized.gif", "the screen's size counts, not the frame's"),
    ("formats/misc/moz_testimgari.jpg", "arithmetic coding, which is refused by name"),
    ("formats/misc/xmp_tags_orientation.png", "only EXIF turns a picture here, as in browsers"),
    ("formats/pngsuite/xcsn0g01.png", "wrong checksum: must be refused"),
];
/// Endings of names for which the same holds.
const DIFFERENT_ENDINGS: [(&str, &str); 4] = [
    ("tbbn0g04.png", "the transparent grey stands in 4 bits, which Pillow compares with 8"),
    ("tbwn0g16.png", "has transparency, which Pillow drops at 16 bits"),
    ("testsuite/rgb32f_bw.tiff", "predicted floats, which Pillow does not know"),
    ("testsuite/rgb32f_color.tiff", "predicted floats, which Pillow does not know"),
];

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

fn samples(picture: &Picture) -> Vec<[u8; 4]> {
    let at = |i: u32, side: u32| (2 * i + 1) * side / (2 * GRID);
    let points = (0..GRID).flat_map(|y| (0..GRID).map(move |x| (x, y)));
    points
        .map(|(x, y)| {
            let pixel = picture.pixel(at(x, picture.width()), at(y, picture.height())).unwrap();
            [pixel[0], pixel[1], pixel[2], pixel.get(3).copied().unwrap_or(255)]
        })
        .collect()
}

/// Greatest difference of a sampled value; colour under full transparency does not count.
fn difference(picture: &Picture, hex: &str) -> u8 {
    let wanted: Vec<u8> = (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
    let pairs = samples(picture).into_iter().zip(wanted.chunks_exact(4));
    let pixel = |(a, b): ([u8; 4], &[u8])| {
        let all = a.iter().zip(b).map(|(x, y)| x.abs_diff(*y)).max().unwrap_or(0);
        if a[3] == 0 && b[3] == 0 { 0 } else { all }
    };
    pairs.map(pixel).max().unwrap_or(0)
}

#[test]
fn pictures_are_those_of_pillow() {
    let Some(assets) = danqing_testing::assets() else { return };
    let path = danqing_testing::fixture_path("reference/decoded-pictures/pillow.json");
    let fixture: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut wrong = Vec::new();
    for (name, wanted) in fixture["files"].as_object().unwrap() {
        let known = DIFFERENT.iter().any(|(file, _)| file == name);
        if known || DIFFERENT_ENDINGS.iter().any(|(ending, _)| name.ends_with(ending)) {
            continue;
        }
        let read = open(&assets.join("images").join(name), &DecodeLimits::default());
        match (read, wanted["width"].as_u64()) {
            (Ok(picture), Some(width)) => {
                let size = (u64::from(picture.width()), u64::from(picture.height()));
                if size != (width, wanted["height"].as_u64().unwrap()) {
                    wrong.push(format!("{name}: size {size:?}, Pillow {wanted}"));
                    continue;
                }
                let difference = difference(&picture, wanted["pixels"].as_str().unwrap());
                if difference > 2 {
                    wrong.push(format!("{name}: differs by {difference} ({})", wanted["mode"]));
                }
            }
            (Err(error), Some(_)) => wrong.push(format!("{name}: {error}")),
            (Ok(picture), None) => {
                wrong.push(format!("{name}: Pillow refuses, we {}x{}", picture.width(), picture.height()))
            }
            (Err(_), None) => {}
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_must_be_refused_is_refused_with_a_reason() {
    let Some(assets) = danqing_testing::assets() else { return };
    let images = assets.join("images");
    let broken = files(&images.join("formats/pngsuite")).into_iter().filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with('x') && name.ends_with(".png")
    });
    let broken: Vec<PathBuf> = broken.collect();
    assert_eq!(broken.len(), 14);
    let bad = files(&images.join("formats"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e.to_string_lossy().starts_with("bad_")));
    let bad: Vec<PathBuf> = bad.collect();
    assert!(bad.len() >= 10, "{}", bad.len());
    let named = [
        ("broken/pil_truncated_jpeg.jpg", "cut off"),
        ("broken/vips_truncated.jpg", "cut off"),
        ("broken/vips_17000x17000.avif", "too large"),
        ("broken/sdp_empty_file.png", "an empty file"),
        ("formats/misc/moz_testimgari.jpg", "arithmetic coding"),
    ];
    for path in broken.iter().chain(&bad) {
        assert!(open(path, &DecodeLimits::default()).is_err(), "{}", path.display());
    }
    for (name, reason) in named {
        let message = open(&images.join(name), &DecodeLimits::server()).map_err(|e| e.to_string()).unwrap_err();
        assert!(message.contains(reason), "{name}: {message}");
    }
}

#[test]
fn nothing_panics_hangs_or_takes_much_memory() {
    let Some(assets) = danqing_testing::assets() else { return };
    for folder in ["broken", "formats", "metadata", "c2pa", "dicom"] {
        for path in files(&assets.join("images").join(folder)) {
            let start = Instant::now();
            match open(&path, &DecodeLimits::server()) {
                Ok(picture) => assert!(!picture.pixels().is_empty(), "{}", path.display()),
                Err(error) => assert!(error.to_string().len() > 10, "{}: {error}", path.display()),
            }
            assert!(start.elapsed() < Duration::from_secs(5), "{} took {:?}", path.display(), start.elapsed());
            let _ = probe(&std::fs::read(&path).unwrap(), &DecodeLimits::default());
        }
    }
}
