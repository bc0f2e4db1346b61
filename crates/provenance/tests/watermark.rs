//! The watermark on pictures made for the purpose; `examples/watermark.rs` measures it on real ones.

use danqing_imaging::{
    DecodeLimits, EncodeOptions, Filter, Format, Picture, PixelFormat, ResizeOptions, decode, encode, resize,
};
use danqing_provenance::watermark::{EmbedOptions, WatermarkKey, bits_of, embed, find};

const MESSAGE: u32 = 0xC0FF_EE42;

fn key() -> WatermarkKey {
    WatermarkKey::new(b"tests")
}

/// Something like a picture: slopes, edges and grain.
fn scene(width: u32, height: u32) -> Picture {
    let mut state = 1_u64;
    let mut grain = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as f32 / (1_u64 << 31) as f32 - 0.5
    };
    let mut pixels = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let (u, v) = (x as f32 / width as f32, y as f32 / height as f32);
            let edge = if (x / 61 + y / 47) % 2 == 0 { 40.0 } else { 0.0 };
            let wave = 25.0 * (u * 31.0).sin() * (v * 17.0).cos();
            let value = 60.0 + 90.0 * u + 30.0 * v + edge + wave + 16.0 * grain();
            pixels.extend([value, 0.9 * value + 10.0, 200.0 - 0.5 * value].map(|c| c.clamp(0.0, 255.0) as u8));
        }
    }
    Picture::new(width, height, PixelFormat::Rgb8, pixels).unwrap()
}

fn marked() -> Picture {
    let mut picture = scene(512, 384);
    let distance = embed(&mut picture, &key(), MESSAGE, &EmbedOptions::default());
    assert!(distance >= 41.0, "{distance}");
    picture
}

fn jpeg(picture: &Picture, quality: u8) -> Picture {
    let options = EncodeOptions { jpeg_quality: quality, ..Default::default() };
    decode(&encode(picture, Format::Jpeg, &options).unwrap(), &DecodeLimits::default()).unwrap()
}

fn scaled(picture: &Picture, scale: f64) -> Picture {
    let side = |n: u32| (f64::from(n) * scale).round() as u32;
    let options = ResizeOptions { filter: Filter::Lanczos3, ..Default::default() };
    resize(picture, side(picture.width()), side(picture.height()), &options).unwrap()
}

#[test]
fn the_message_outlives_what_pictures_go_through() {
    let picture = marked();
    let cut = picture.crop(37, 21, 362, 272).unwrap();
    for (name, attacked, scale) in [
        ("as it is", picture.clone(), 1.0),
        ("JPEG 50", jpeg(&picture, 50), 1.0),
        ("halved", scaled(&picture, 0.5), 0.5),
        ("odd size", scaled(&picture, 0.83), 0.83),
        ("a half of the area", cut.clone(), 1.0),
        ("a half of the area, JPEG 50", jpeg(&cut, 50), 1.0),
    ] {
        let found = find(&attacked, &key());
        assert_eq!(found.message, Some(MESSAGE), "{name}: {}", found.score);
        assert_eq!(found.bits, bits_of(MESSAGE), "{name}");
        assert!(found.is_marked() && (found.scale / scale - 1.0).abs() < 0.01, "{name}: {}", found.scale);
    }
}

#[test]
fn nothing_is_found_where_nothing_is() {
    let found = find(&scene(512, 384), &key());
    assert!(!found.is_marked() && found.message.is_none() && !found.flat, "{}", found.score);
    let found = find(&marked(), &WatermarkKey::new(b"another"));
    assert!(!found.is_marked() && found.message.is_none(), "{}", found.score);
}

#[test]
fn flat_and_tiny_pictures_are_said_to_be() {
    let white = Picture::filled(300, 200, &[255; 3]).unwrap();
    assert!(find(&white, &key()).flat);
    for (width, height) in [(1, 1), (1, 400), (20, 20)] {
        let mut tiny = scene(width, height);
        embed(&mut tiny, &key(), MESSAGE, &EmbedOptions::default());
        assert_ne!(find(&tiny, &key()).message.unwrap_or(MESSAGE), !MESSAGE);
    }
}

#[test]
fn transparent_pictures_carry_it_and_stay_as_transparent() {
    let pixels = scene(320, 320).pixels().chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], 77]).collect();
    let mut picture = Picture::new(320, 320, PixelFormat::Rgba8, pixels).unwrap();
    embed(&mut picture, &key(), MESSAGE, &EmbedOptions::default());
    assert_eq!(find(&picture, &key()).message, Some(MESSAGE));
    assert!(picture.pixels().chunks_exact(4).all(|p| p[3] == 77));
}
