//! What is written is read back: pixels, generation text, XMP and ICC in every format that is written.

use danqing_imaging::container::{embed_metadata, read_metadata};
use danqing_imaging::xmp::DigitalSourceType;
use danqing_imaging::{DecodeLimits, EncodeOptions, Format, Infotext, Metadata, Picture, PixelFormat, decode, encode};

/// Smooth colours, so that JPEG has little to lose.
fn gradient(width: u32, height: u32, format: PixelFormat) -> Picture {
    let mut pixels = Vec::new();
    for y in 0..height {
        for x in 0..width {
            pixels.extend([(x * 255 / width) as u8, (y * 255 / height) as u8, 128]);
            if format.has_alpha() {
                pixels.push((x * 7 + y) as u8);
            }
        }
    }
    Picture::new(width, height, format, pixels).unwrap()
}

fn labelled(picture: Picture, prompt: &str) -> Picture {
    let mut infotext = Infotext::new(prompt, "blurry");
    infotext.set("Steps", 20).set("Sampler", "Euler").set("Seed", 1);
    let mut picture = picture;
    picture.metadata.set_infotext(infotext.to_string());
    picture.metadata.set_digital_source_type(DigitalSourceType::TrainedAlgorithmicMedia);
    // Long enough for several segments of a JPEG, and a profile as far as its header goes.
    let mut profile: Vec<u8> = (0..70_000u32).map(|i| (i % 251) as u8).collect();
    profile[16..20].copy_from_slice(b"RGB ");
    profile[36..40].copy_from_slice(b"acsp");
    picture.metadata.icc = Some(profile);
    picture
}

#[test]
fn lossless_formats_return_the_same_pixels_for_odd_sizes() {
    for format in [Format::Png, Format::WebP, Format::Tiff, Format::Bmp] {
        for pixel_format in [PixelFormat::Rgb8, PixelFormat::Rgba8] {
            for (width, height) in [(1, 1), (3, 7), (17, 5), (64, 33)] {
                let picture = gradient(width, height, pixel_format);
                let bytes = encode(&picture, format, &EncodeOptions::default()).unwrap();
                let back = decode(&bytes, &DecodeLimits::default()).unwrap();
                // A WebP whose alpha is opaque everywhere comes back without it; these are not.
                assert_eq!(back, picture, "{} {pixel_format:?} {width}x{height}", format.name());
            }
        }
    }
}

#[test]
fn jpeg_stays_close_and_flattens_alpha() {
    let picture = gradient(64, 48, PixelFormat::Rgba8);
    let options = EncodeOptions { jpeg_quality: 95, ..EncodeOptions::default() };
    let back = decode(&encode(&picture, Format::Jpeg, &options).unwrap(), &DecodeLimits::default()).unwrap();
    assert_eq!(back.format(), PixelFormat::Rgb8);
    let flat = picture.flattened([255; 3]);
    let error: u64 = back.pixels().iter().zip(flat.pixels()).map(|(a, b)| u64::from(a.abs_diff(*b))).sum();
    assert!(error < 4 * flat.pixels().len() as u64, "mean error {}", error as f64 / flat.pixels().len() as f64);
    assert!(encode(&picture, Format::Jpeg, &EncodeOptions { jpeg_quality: 0, ..options }).is_err());
}

#[test]
fn every_written_format_keeps_text_source_and_profile() {
    for format in Format::WRITABLE.into_iter().filter(|f| f.keeps_metadata()) {
        for prompt in ["a red cat", "café, naïve", "两只红色的猫 🐈", "Ã© is not é"] {
            let picture = labelled(gradient(9, 5, PixelFormat::Rgb8), prompt);
            let bytes = encode(&picture, format, &EncodeOptions::default()).unwrap();
            let back = decode(&bytes, &DecodeLimits::default()).unwrap().metadata;
            let infotext = Infotext::parse(&back.infotext().unwrap());
            assert_eq!((infotext.prompt.as_str(), infotext.get("Steps")), (prompt, Some("20")), "{}", format.name());
            assert_eq!(
                back.digital_source_type().as_deref(),
                Some(DigitalSourceType::TrainedAlgorithmicMedia.uri()),
                "{}",
                format.name()
            );
            assert_eq!(back.icc, picture.metadata.icc, "{}", format.name());
        }
    }
}

#[test]
fn embedding_replaces_what_was_there_and_leaves_the_pixels() {
    for format in [Format::Png, Format::Jpeg, Format::WebP, Format::Gif] {
        let plain = encode(&gradient(9, 5, PixelFormat::Rgb8), format, &EncodeOptions::default()).unwrap();
        let limits = DecodeLimits::default();
        let mut once = Metadata::default();
        once.set_infotext("first\nSteps: 1");
        once.set_text("Comment", "kept where the format has comments");
        let first = embed_metadata(format, &plain, &once).unwrap();
        let mut twice = Metadata::default();
        twice.set_infotext("second\nSteps: 2");
        let second = embed_metadata(format, &first, &twice).unwrap();
        assert_eq!(
            read_metadata(format, &second, &limits).infotext().as_deref(),
            Some("second\nSteps: 2"),
            "{}",
            format.name()
        );
        let none = embed_metadata(format, &second, &Metadata::default()).unwrap();
        assert!(read_metadata(format, &none, &limits).is_empty(), "{}", format.name());
        assert_eq!(decode(&none, &limits).unwrap(), decode(&plain, &limits).unwrap(), "{}", format.name());
    }
}

#[test]
fn a_text_too_long_for_jpeg_is_refused_with_the_way_out() {
    let mut picture = gradient(3, 3, PixelFormat::Rgb8);
    picture.metadata.set_infotext("x".repeat(40_000));
    let refused = encode(&picture, Format::Jpeg, &EncodeOptions::default()).map_err(|e| e.to_string());
    assert!(refused.as_ref().is_err_and(|m| m.contains("write a PNG")), "{refused:?}");
    assert!(encode(&picture, Format::WebP, &EncodeOptions::default()).is_ok());
}

#[test]
fn limits_hold_before_pixels_are_decoded() {
    let bytes = encode(&gradient(64, 33, PixelFormat::Rgb8), Format::Png, &EncodeOptions::default()).unwrap();
    let defaults = DecodeLimits::default();
    for limits in [
        DecodeLimits { max_side: 63, ..defaults },
        DecodeLimits { max_pixels: 64 * 33 - 1, ..defaults },
        DecodeLimits { max_file_bytes: bytes.len() as u64 - 1, ..defaults },
    ] {
        let message = decode(&bytes, &limits).map_err(|e| e.to_string()).unwrap_err();
        assert!(message.contains("too large"), "{message}");
    }
    // A header that promises 60 000 × 16 000 pixels in a hundred bytes.
    let mut lying = bytes.clone();
    lying[16..24].copy_from_slice(&[0, 0, 0xea, 0x60, 0, 0, 0x3e, 0x80]);
    assert!(decode(&lying, &defaults).is_err());
}

#[test]
fn every_truncation_is_an_error_or_a_picture_of_the_right_size() {
    for format in Format::WRITABLE {
        let picture = labelled(gradient(33, 17, PixelFormat::Rgb8), "cat");
        let bytes = encode(&picture, format, &EncodeOptions::default()).unwrap();
        for end in (0..bytes.len()).step_by(bytes.len() / 300 + 1) {
            if let Ok(cut) = decode(&bytes[..end], &DecodeLimits::default()) {
                assert_eq!((cut.width(), cut.height()), (33, 17), "{} at {end}", format.name());
            }
        }
    }
}

#[test]
fn bitmaps_keep_the_profile_and_nothing_else() {
    for pixel_format in [PixelFormat::Rgb8, PixelFormat::Rgba8] {
        let picture = labelled(gradient(9, 5, pixel_format), "a red cat");
        let bytes = encode(&picture, Format::Bmp, &EncodeOptions::default()).unwrap();
        let back = decode(&bytes, &DecodeLimits::default()).unwrap();
        assert_eq!((back.pixels(), &back.metadata.icc), (picture.pixels(), &picture.metadata.icc));
        assert!(back.metadata.infotext().is_none() && !Format::Bmp.keeps_metadata());
    }
    assert!(Format::for_labelled(std::path::Path::new("cat.bmp")).is_err());
}

#[test]
fn camera_tags_survive_a_tiff_and_join_generation_text() {
    // Make "Canon", ExposureTime 1/125.
    let mut exif = b"MM\0\x2a\0\0\0\x08\0\x02\x01\x0f\0\x02\0\0\0\x06\0\0\0\x26".to_vec();
    exif.extend(b"\x87\x69\0\x04\0\0\0\x01\0\0\0\x2c\0\0\0\0Canon\0");
    exif.extend(b"\0\x01\x82\x9a\0\x05\0\0\0\x01\0\0\0\x3e\0\0\0\0\0\0\0\x01\0\0\0\x7d");
    let mut picture = gradient(9, 5, PixelFormat::Rgb8);
    picture.metadata.exif = Some(exif);
    picture.metadata.set_infotext("a cat\nSteps: 20");
    for format in [Format::Tiff, Format::Jpeg, Format::WebP] {
        let bytes = encode(&picture, format, &EncodeOptions::default()).unwrap();
        let back = decode(&bytes, &DecodeLimits::default()).unwrap().metadata;
        let exif = back.exif.clone().unwrap();
        let text = danqing_imaging::exif::ExifView::parse(&exif).unwrap().texts();
        assert_eq!(text, [(0x010f, "Canon".to_owned())], "{}", format.name());
        assert!(exif.windows(8).any(|w| w == [1, 0, 0, 0, 125, 0, 0, 0]), "{}: exposure", format.name());
        assert_eq!(back.infotext().as_deref(), Some("a cat\nSteps: 20"), "{}", format.name());
    }
}

/// A soft picture with a few edges, as photographs have them.
fn scene(format: PixelFormat) -> Picture {
    let (width, height) = (160u32, 120u32);
    let pixel = |i: u32| {
        let (x, y) = (i % width, i / width);
        let disc = if x.abs_diff(70).pow(2) + y.abs_diff(60).pow(2) < 1600 { 70 } else { 0 };
        let colour = [60 + x / 2 + disc, 150 - y / 2, 90 + (x + y) / 4].map(|v| v as u8);
        let alpha = (format.channels() == 4).then_some((y * 2) as u8);
        colour.into_iter().chain(alpha)
    };
    Picture::new(width, height, format, (0..width * height).flat_map(pixel).collect()).unwrap()
}

#[test]
fn lossy_webp_is_near_smaller_for_less_quality_and_keeps_words_and_alpha() {
    for format in [PixelFormat::Rgb8, PixelFormat::Rgba8] {
        let mut picture = scene(format);
        picture.metadata.set_infotext("丹青\nSteps: 20");
        let mut last = usize::MAX;
        for (quality, nearest) in [(100, 2.0), (80, 3.0), (30, 6.0), (0, 16.0)] {
            let options = EncodeOptions { webp_quality: Some(quality), ..EncodeOptions::default() };
            let bytes = encode(&picture, Format::WebP, &options).unwrap();
            assert!(bytes.len() < last, "{quality}: {} bytes after {last}", bytes.len());
            last = bytes.len();
            let back = decode(&bytes, &DecodeLimits::default()).unwrap();
            assert_eq!((back.width(), back.height(), back.format()), (160, 120, format));
            assert_eq!(back.metadata.infotext(), picture.metadata.infotext());
            let visible = |p: &&[u8]| p.get(3).is_none_or(|a| *a > 0);
            let count = format.channels();
            let pairs = picture.pixels().chunks_exact(count).zip(back.pixels().chunks_exact(count));
            let errors = pairs.filter(|(a, _)| visible(a)).flat_map(|(a, b)| a.iter().zip(b).take(3));
            let errors: Vec<f64> = errors.map(|(a, b)| f64::from(a.abs_diff(*b))).collect();
            let mean = errors.iter().sum::<f64>() / errors.len() as f64;
            assert!(mean < nearest, "{quality}: {mean}");
            // Alpha is written without loss.
            let alphas = |p: &Picture| -> Vec<u8> { p.pixels().iter().skip(3).step_by(4).copied().collect() };
            assert!(format == PixelFormat::Rgb8 || alphas(&picture) == alphas(&back));
        }
    }
    let options = EncodeOptions { webp_quality: Some(101), ..EncodeOptions::default() };
    assert!(encode(&scene(PixelFormat::Rgb8), Format::WebP, &options).is_err());
}
