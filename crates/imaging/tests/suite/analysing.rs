//! What the analysis says about real photographs and drawings, as they are, with noise of a known deviation, as JPEG of a known
//! quality, and blurred.

use std::path::PathBuf;

use danqing_imaging::analyse::{analyse_rows, jpeg_quality};
use danqing_imaging::blur::blurred;
use danqing_imaging::lettering::draw_text;
use danqing_imaging::{
    Analysis, DecodeLimits, DeepPicture, EncodeOptions, Format, Kind, Picture, PixelFormat, analyse, encode, open,
    open_rows,
};

/// Every third photograph, no more than 1024 pixels of each side: one of each kind is enough here.
fn photographs() -> Option<Vec<(String, Picture)>> {
    let folder = danqing_testing::assets()?.join("images/photos");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    let cut = |path: &PathBuf| {
        let picture = open(path, &DecodeLimits::default()).unwrap();
        let (width, height) = (picture.width().min(1024), picture.height().min(1024));
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        (name, picture.crop(0, 0, width, height).unwrap())
    };
    Some(paths.iter().step_by(3).map(cut).collect())
}

/// Drawings of the repository itself: sheets of letters in colours on tinted grounds, with discs and bars.
fn drawings() -> Vec<Picture> {
    let ink = |n: u32| [n * 83 % 256, n * 151 % 256, n * 211 % 256].map(|v| v as u8);
    (0..6u32)
        .map(|n| {
            let mut picture = Picture::filled(256, 256, &ink(n + 40)).unwrap();
            for disc in 0..7u32 {
                let (x0, y0, r) = (disc * 37 % 220 + 18, disc * 91 % 200 + 28, 12 + disc * 5 % 30);
                let colour = ink(n * 7 + disc);
                for (at, pixel) in picture.pixels_mut().chunks_exact_mut(3).enumerate() {
                    let (x, y) = (at as u32 % 256, at as u32 / 256);
                    if x.abs_diff(x0).pow(2) + y.abs_diff(y0).pow(2) < r * r {
                        pixel.copy_from_slice(&colour);
                    }
                }
            }
            draw_text(&mut picture, "DRAWN", 30, 120, 6, ink(n + 9));
            picture
        })
        .collect()
}

fn page() -> Picture {
    let mut page = Picture::filled(800, 600, &[250, 248, 240]).unwrap();
    for line in 0..26 {
        draw_text(&mut page, "The quick brown fox jumps over the lazy dog, again", 40, 20 + 22 * line, 2, [20, 20, 30]);
    }
    page
}

/// Normal noise on every value, from a fixed sequence.
fn noisy(picture: &Picture, sigma: f32) -> Picture {
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 + 0.5) / (1 << 24) as f32
    };
    let mut result = picture.clone();
    for value in result.pixels_mut() {
        let normal = (-2.0 * uniform().ln()).sqrt() * (std::f32::consts::TAU * uniform()).cos();
        *value = (f32::from(*value) + sigma * normal).round().clamp(0.0, 255.0) as u8;
    }
    result
}

fn as_jpeg(picture: &Picture, quality: u8) -> (Vec<u8>, Picture) {
    let options = EncodeOptions { jpeg_quality: quality, ..EncodeOptions::default() };
    let bytes = encode(picture, Format::Jpeg, &options).unwrap();
    let back = danqing_imaging::decode(&bytes, &DecodeLimits::default()).unwrap();
    (bytes, back)
}

fn look(picture: &Picture) -> Analysis {
    analyse(&DeepPicture::from(picture.clone()))
}

#[test]
fn added_noise_is_told() {
    let Some(photographs) = photographs() else { return };
    // Noise of three channels is less on their weighted sum.
    let on_luma = (0.299f32.powi(2) + 0.587f32.powi(2) + 0.114f32.powi(2)).sqrt();
    let mut wrong = Vec::new();
    for sigma in [2.0f32, 5.0, 10.0, 25.0] {
        let mut ratios: Vec<(f32, &str)> = Vec::new();
        for (name, picture) in &photographs {
            let (before, after) = (look(picture).noise, look(&noisy(picture, sigma)).noise);
            ratios.push(((after * after - before * before).max(0.0).sqrt() / (sigma * on_luma), name));
        }
        ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
        let middle = ratios[ratios.len() / 2].0;
        println!("noise {sigma}: {least:?} to {most:?} of it, median {middle:.3}");
        // Faint noise on texture does not add up as squares do, and what is cut off at white is no noise any more: two may
        // stray.
        let straying = ratios.iter().filter(|r| (r.0 - 1.0).abs() > 0.15).count();
        if (middle - 1.0).abs() > 0.05 || straying > 2 {
            wrong.push((sigma, ratios));
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn blocks_are_found_wherever_their_grid_begins() {
    let Some(photographs) = photographs() else { return };
    let clean = photographs.iter().filter(|(_, p)| look(p).blocking.is_some()).count();
    assert_eq!(clean, 0, "of {} photographs that are no JPEG", photographs.len());
    for (quality, least) in [(90, 0.5), (75, 0.8), (50, 0.9), (30, 0.9)] {
        let (mut found, mut steps) = (0, 0.0);
        for (name, picture) in &photographs {
            let (bytes, picture) = as_jpeg(picture, quality);
            let told = jpeg_quality(&bytes).unwrap();
            assert!(told.exact && told.luma == quality && told.chroma.is_none_or(|c| c == quality), "{name}: {told:?}");
            let cut = picture.crop(3, 5, picture.width() - 3, picture.height() - 5).unwrap();
            if let Some(blocking) = look(&cut).blocking {
                assert_eq!(blocking.offset, (5, 3), "{name} at {quality}");
                found += 1;
                steps += blocking.step;
            }
        }
        let share = f64::from(found) / photographs.len() as f64;
        println!("quality {quality}: {found} of {}, step {:.2}", photographs.len(), steps / found as f32);
        assert!(share >= least, "quality {quality}: {share}");
    }
    assert_eq!(jpeg_quality(b"no JPEG"), None);
}

#[test]
fn photographs_drawings_and_text_are_told_apart() {
    for picture in drawings() {
        for other in [picture.clone(), as_jpeg(&picture, 75).1, noisy(&picture, 5.0)] {
            let seen = look(&other);
            assert_eq!(seen.kind, Kind::Drawing, "{:?}", seen.features);
        }
        assert_eq!(look(&picture).noise, 0.0);
    }
    for page in [page(), as_jpeg(&page(), 75).1, noisy(&page(), 4.0), blurred(&page(), 0.7)] {
        let seen = look(&page);
        assert_eq!(seen.kind, Kind::Text, "{:?}", seen.features);
    }
    let Some(photographs) = photographs() else { return };
    for (what, change) in [("as it is", 0), ("JPEG 75", 75), ("noise 5", 5)] {
        let wrong: Vec<&str> = photographs
            .iter()
            .filter(|(_, p)| {
                let picture = match change {
                    75 => as_jpeg(p, 75).1,
                    5 => noisy(p, 5.0),
                    _ => p.clone(),
                };
                look(&picture).kind != Kind::Photograph
            })
            .map(|(name, _)| name.as_str())
            .collect();
        println!("photographs, {what}: {} of {} taken for something else: {wrong:?}", wrong.len(), photographs.len());
        // Two of the assets are lamps and rain in the dark, whose few colours are those of a drawing.
        assert!(wrong.len() <= 2, "{what}: {wrong:?}");
    }
}

#[test]
fn blur_widens_edges() {
    let Some(photographs) = photographs() else { return };
    let mut before = Vec::new();
    for (name, picture) in &photographs {
        let Some(sharp) = look(picture).edge_width else { continue };
        let widths: Vec<f32> =
            [1.0, 2.0].map(|sigma| look(&blurred(picture, sigma)).edge_width).into_iter().flatten().collect();
        let mut last = sharp;
        for width in widths {
            assert!(width > last, "{name}: {width} after {last}");
            last = width;
        }
        before.push(sharp);
    }
    before.sort_by(f32::total_cmp);
    println!("edge widths of {} photographs: {before:?}", before.len());
    // A step that no blur touched, and one of a known blur: σ·√(2π).
    let columns = (0..64 * 256).flat_map(|i| [if i % 64 < 32 { 40 } else { 200 }; 3]).collect();
    let step = Picture::new(64, 256, PixelFormat::Rgb8, columns).unwrap();
    for (sigma, wanted) in [(0.0, 1.0), (2.0, 5.0), (3.0, 7.5)] {
        let width = look(&blurred(&step, sigma)).edge_width.unwrap();
        assert!((width - wanted).abs() < 0.1 * wanted, "{sigma}: {width}");
    }
}

#[test]
fn grey_is_told_and_rows_tell_the_same_as_the_whole() {
    let mut grey = page();
    grey.pixels_mut().chunks_exact_mut(3).for_each(|p| p.copy_from_slice(&[p[0]; 3]));
    assert!(look(&grey).grey && look(&as_jpeg(&grey, 60).1).grey);
    assert!(!look(&drawings()[0]).grey);
    for (width, height) in [(1, 1), (3, 700), (5000, 9)] {
        let seen = look(&Picture::filled(width, height, &[1, 2, 3]).unwrap());
        assert_eq!((seen.noise, seen.blocking, seen.edge_width), (0.0, None, None));
    }
    let Some(assets) = danqing_testing::assets() else { return };
    let path = assets.join("images/photos/clic_28d24b9c.png");
    let mut reader = open_rows(&path, &DecodeLimits::default()).unwrap();
    let whole = danqing_imaging::open_deep(&path, &DecodeLimits::default()).unwrap();
    assert_eq!(analyse_rows(&mut reader).unwrap(), analyse(&whole));
}
