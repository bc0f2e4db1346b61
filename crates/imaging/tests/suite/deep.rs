//! Channels, depth and frames of real files, as pypng, tifffile and Pillow read them
//! (`reference/gen_deep_pictures.py`).

use danqing_imaging::animation::{Animation, Plays};
use danqing_imaging::{DecodeLimits, DeepPicture, SamplesRef, Warning, open_deep};
use serde_json::Value;

const GRID: u32 = 6;

/// Files on which we and the others differ, and why that is right.
const DIFFERENT: [(&str, &str); 4] = [
    ("broken/pil_no_palette.gif", "has no colours; an error here"),
    ("broken/vips_big-height.webp", "cut off: its frames stop before the count that its structure shows"),
    ("formats/image-rs/gif/anim/border_touching_layers.gif", "transparent where no frame is, as in browsers"),
    ("formats/image-rs/gif/anim/issue_1455_undersized.gif", "transparent where no frame is, as in browsers"),
];

fn fixture() -> Value {
    let path = danqing_testing::fixture_path("reference/decoded-pictures/deep.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn grid(values: usize, width: u32, height: u32) -> impl Iterator<Item = usize> {
    let at = |i: u32, side: u32| ((2 * i + 1) * side / (2 * GRID)) as usize;
    let points = (0..GRID).flat_map(|y| (0..GRID).map(move |x| (x, y)));
    points.flat_map(move |(x, y)| {
        let start = (at(y, height) * width as usize + at(x, width)) * values;
        start..start + values
    })
}

fn values(picture: &DeepPicture) -> Vec<u64> {
    let places = grid(picture.channels().count(), picture.width(), picture.height());
    match picture.samples() {
        SamplesRef::U8(values) => places.map(|i| u64::from(values[i])).collect(),
        SamplesRef::U16(values) => places.map(|i| u64::from(values[i])).collect(),
    }
}

#[test]
fn pictures_keep_channels_depth_and_every_bit() {
    let Some(assets) = danqing_testing::assets() else { return };
    let fixture = fixture();
    let (mut wrong, mut deep) = (Vec::new(), 0);
    for (name, wanted) in fixture["stills"].as_object().unwrap() {
        // Their alpha is associated: the values of the file are multiplied with it, ours are not.
        if name.ends_with("hpredict.tiff") || name.ends_with("hpredict_packbits.tiff") {
            continue;
        }
        let picture = match open_deep(&assets.join("images").join(name), &DecodeLimits::default()) {
            Ok(picture) => picture,
            Err(error) => {
                wrong.push(format!("{name}: {error}"));
                continue;
            }
        };
        let bits = 8 * picture.depth().bytes() as u64;
        deep += u32::from(bits == 16);
        let found = (u64::from(picture.width()), u64::from(picture.height()), picture.channels().count() as u64, bits);
        let number = |key: &str| wanted[key].as_u64().unwrap();
        if found != (number("width"), number("height"), number("channels"), number("depth")) {
            wrong.push(format!("{name}: {found:?} where {wanted} is wanted"));
        } else if values(&picture)
            != wanted["values"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).collect::<Vec<_>>()
        {
            wrong.push(format!("{name}: other values {:?}", &values(&picture)[..12]));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(deep > 30, "only {deep} pictures of 16 bits");
}

#[test]
fn animations_show_the_frames_that_pillow_shows() {
    let Some(assets) = danqing_testing::assets() else { return };
    let fixture = fixture();
    let mut wrong = Vec::new();
    for (name, wanted) in fixture["moving"].as_object().unwrap() {
        if DIFFERENT.iter().any(|(file, _)| file == name) {
            continue;
        }
        let bytes = std::fs::read(assets.join("images").join(name)).unwrap();
        let mut animation = Animation::open(&bytes, &DecodeLimits::default()).unwrap();
        let size = [animation.size().0, animation.size().1].map(u64::from);
        assert_eq!(size.map(Some), [wanted["width"].as_u64(), wanted["height"].as_u64()], "{name}");
        let plays = match wanted["loops"].as_u64() {
            Some(0) => Plays::Forever,
            Some(n) if name.ends_with(".gif") => Plays::Times(n as u32 + 1),
            Some(n) => Plays::Times(n as u32),
            None => Plays::Times(1),
        };
        assert_eq!(animation.plays(), plays, "{name}");
        let mut count = 0;
        for frame in &mut animation {
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => {
                    wrong.push(format!("{name} frame {count}: {error}"));
                    break;
                }
            };
            let Some(pillow) = wanted["frames"].get(count) else {
                count += 1;
                continue;
            };
            let delay = pillow["delay"].as_f64().unwrap();
            if (frame.delay.as_secs_f64() * 1000.0 - delay).abs() > 0.6 {
                wrong.push(format!("{name} frame {count}: {:?}, Pillow {delay} ms", frame.delay));
            }
            let hex = pillow["pixels"].as_str().unwrap();
            let pillow: Vec<u8> =
                (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).unwrap()).collect();
            let ours: Vec<u8> =
                grid(4, frame.picture.width(), frame.picture.height()).map(|i| frame.picture.pixels()[i]).collect();
            let apart = ours.chunks_exact(4).zip(pillow.chunks_exact(4)).filter(|(a, b)| !(a[3] == 0 && b[3] == 0));
            let apart = apart.flat_map(|(a, b)| a.iter().zip(b)).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
            if apart > 2 {
                wrong.push(format!("{name} frame {count}: differs by {apart}"));
            }
            count += 1;
        }
        if count as u64 != wanted["count"].as_u64().unwrap() {
            wrong.push(format!("{name}: {count} frames, Pillow {}", wanted["count"]));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn odd_files_with_sound_pixels_come_with_a_warning() {
    let Some(assets) = danqing_testing::assets() else { return };
    for (name, what) in [
        ("broken/pil_png_decompression_dos.png", "left out"),
        ("broken/pil_unknown_compression_method.png", "left out"),
        ("formats/image-rs/png/apng/ball.png", "first frame"),
        ("formats/image-rs/webp/extended_images/anim.webp", "first frame"),
        ("formats/misc/cogs.gif", "first frame"),
        ("formats/image-rs/tiff/testsuite/rgb32f_color.tiff", "floating-point"),
    ] {
        let limits = DecodeLimits { max_metadata_bytes: 1 << 16, ..DecodeLimits::default() };
        let picture = open_deep(&assets.join("images").join(name), &limits).unwrap();
        let said: Vec<String> = picture.warnings.iter().map(Warning::to_string).collect();
        assert!(said.iter().any(|w| w.contains(what)), "{name}: {said:?}");
    }
    let plain = open_deep(&assets.join("images/formats/pngsuite/basn2c16.png"), &DecodeLimits::default()).unwrap();
    assert_eq!(plain.warnings, []);
}
