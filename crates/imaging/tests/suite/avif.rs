//! AVIF files of every kind that is read, against libavif's pixels (`reference/gen_avif.py`).

use danqing_imaging::{
    Channels, DecodeLimits, DeepPicture, Depth, Format, ImagingError, SamplesRef, decode_deep, probe,
};
use danqing_testing::{Fixture, fixture_path, mutate};

fn file(name: &str) -> Vec<u8> {
    std::fs::read(fixture_path(format!("reference/avif/{name}.avif"))).unwrap()
}

fn decoded(name: &str) -> DeepPicture {
    decode_deep(&file(name), &DecodeLimits::default()).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Values in 0…1.
fn values(picture: &DeepPicture) -> Vec<f64> {
    match picture.samples() {
        SamplesRef::U8(values) => values.iter().map(|v| f64::from(*v) / 255.0).collect(),
        SamplesRef::U16(values) => values.iter().map(|v| f64::from(*v) / 65_535.0).collect(),
    }
}

/// Largest and mean difference in steps of 8 bits.
fn difference(got: &[f64], want: &[f64]) -> (f64, f64) {
    assert_eq!(got.len(), want.len());
    let steps: Vec<f64> = got.iter().zip(want).map(|(a, b)| (a - b).abs() * 255.0).collect();
    (steps.iter().fold(0.0, |m, s| s.max(m)), steps.iter().sum::<f64>() / steps.len() as f64)
}

#[test]
fn every_kind_has_the_pixels_of_libavif() {
    let fixture = Fixture::open("reference/avif/values.safetensors");
    let mut names: Vec<&str> = fixture.names().collect();
    names.sort_unstable();
    assert!(names.len() > 30, "{names:?}");
    let mut wrong = Vec::new();
    for name in names {
        let picture = decoded(name);
        let shape = fixture.shape(name);
        let size = [picture.height() as usize, picture.width() as usize, picture.channels().count()];
        assert_eq!(size, shape[..], "{name}");
        // Depths as the names of the files tell them.
        let bits = name.rsplit('_').next().and_then(|last| last.parse().ok()).filter(|bits| *bits > 8).unwrap_or(8);
        assert_eq!(picture.depth(), if bits > 8 { Depth::Sixteen } else { Depth::Eight }, "{name}");
        let full = f64::from((1u32 << bits) - 1);
        let mut want: Vec<f64> = fixture.f64(name).iter().map(|v| v / full).collect();
        let mut got = values(&picture);
        if name == "alpha_multiplied" {
            // What was divided by a small alpha had been rounded before: as it was stored it must be the same.
            [&mut got, &mut want].into_iter().for_each(|values| multiply(values));
        }
        let (largest, mean) = difference(&got, &want);
        println!("{name}: {largest:.2} at most, {mean:.3} in the mean");
        let (most, most_mean) = match name {
            // Filters of halved planes are not quite the same; libavif converts limited ranges, and divides by alpha, in whole numbers.
            _ if ["420", "422", "limited"].iter().any(|part| name.contains(part)) => (2.01, 0.5),
            "alpha_multiplied" => (3.0, 0.4),
            _ => (1.01, 0.4),
        };
        if largest > most || mean > most_mean {
            wrong.push(format!("{name}: {largest} and {mean}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn multiply(values: &mut [f64]) {
    for pixel in values.chunks_exact_mut(4) {
        let alpha = pixel[3];
        pixel[..3].iter_mut().for_each(|colour| *colour *= alpha);
    }
}

#[test]
fn words_and_colours_are_kept() {
    let words = decoded("words");
    assert!(words.metadata.xmp.as_deref().is_some_and(|xmp| xmp.contains("xmpmeta")));
    assert!(words.metadata.exif.as_deref().is_some_and(|exif| exif.windows(7).any(|part| part == b"danqing")));
    assert!(decoded("profile").metadata.icc.is_some_and(|icc| icc.get(36..40) == Some(b"acsp")));
    // Colours that the file gives as numbers become a profile, those of sRGB none.
    let wide = decoded("wide_10");
    assert!(wide.metadata.icc.is_some() || !wide.warnings.is_empty(), "{:?}", wide.warnings);
    assert!(decoded("bt709").metadata.icc.is_none());
    // Turned by the container, whatever an EXIF block says beside it.
    assert_eq!((decoded("turned_6").width(), decoded("turned_2").width()), (27, 38));
}

#[test]
fn the_size_is_known_and_bounded_before_decoding() {
    let bytes = file("alpha");
    assert_eq!(probe(&bytes, &DecodeLimits::default()).unwrap(), (Format::Avif, 38, 27));
    assert_eq!(decoded("alpha").channels(), Channels::Rgba);
    let small = DecodeLimits { max_pixels: 1000, ..DecodeLimits::default() };
    assert!(matches!(decode_deep(&bytes, &small), Err(ImagingError::TooLarge { .. })));
    // The container may not promise less than its AV1 data holds.
    let at = bytes.windows(4).position(|part| part == b"ispe").unwrap();
    let mut lying = bytes.clone();
    lying[at + 8..at + 16].copy_from_slice(&[0, 0, 0, 8, 0, 0, 0, 8]);
    assert!(matches!(decode_deep(&lying, &DecodeLimits::default()), Err(ImagingError::Damaged { .. })));
    let cut = decode_deep(&bytes[..bytes.len() - 40], &DecodeLimits::default()).unwrap_err().to_string();
    assert!(cut.contains("cut off"), "{cut}");
}

#[test]
fn what_cannot_be_shown_is_refused_by_name() {
    let changed = |name: &str, from: &[u8; 4], to: &[u8; 4]| {
        let mut bytes = file(name);
        let at = bytes.windows(4).position(|part| part == from).unwrap();
        bytes[at..at + 4].copy_from_slice(to);
        decode_deep(&bytes, &DecodeLimits::default()).unwrap_err().to_string()
    };
    let grid = changed("rgb_444_full", b"av01", b"grid");
    assert!(grid.contains("put together"), "{grid}");
    let odd = changed("turned_6", b"irot", b"turn");
    assert!(odd.contains("\"turn\""), "{odd}");
    let at = |bytes: &[u8]| bytes.windows(4).position(|part| part == b"clap").unwrap();
    let mut outside = file("cropped");
    let at = at(&outside) + 4;
    outside[at..at + 4].copy_from_slice(&[0, 0, 0, 200]);
    let outside = decode_deep(&outside, &DecodeLimits::default()).unwrap_err().to_string();
    assert!(outside.contains("not inside it"), "{outside}");
}

/// Its decoder could not be kept from ending the program, were it to panic.
#[test]
fn broken_avif_files_are_read_or_refused() {
    let fixture = Fixture::open("reference/avif/values.safetensors");
    let corpus: Vec<Vec<u8>> = fixture.names().map(file).collect();
    let tokens: [&[u8]; 8] = [b"av01", b"av1C", b"ispe", b"irot", b"clap", b"colr", b"auxl", b"iloc"];
    let limits = DecodeLimits { max_pixels: 1 << 18, ..DecodeLimits::server() };
    let mut decoded = 0;
    mutate::run_with_tokens(&corpus, &tokens, 11, mutate::count(), |bytes| {
        if let Ok(picture) = decode_deep(bytes, &limits) {
            decoded += 1;
            assert!(u64::from(picture.width()) * u64::from(picture.height()) <= limits.max_pixels);
        }
    });
    assert!(decoded > 100, "only {decoded} were decoded");
}
