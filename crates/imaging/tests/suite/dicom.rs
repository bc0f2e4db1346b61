//! DICOM files with the values that pydicom reads (`reference/gen_dicom.py`), derived copies, and hostile bytes.

use danqing_imaging::dicom::{DeriveOptions, Dicom, StoredFrame, Window, is_dicom};
use danqing_imaging::{DecodeLimits, SamplesRef, Warning, decode, decode_deep};
use danqing_testing::mutate;
use serde_json::Value;

fn folder() -> std::path::PathBuf {
    danqing_testing::fixture_path("reference/dicom")
}

fn files() -> Vec<(String, Vec<u8>, Value)> {
    let values = std::fs::read_to_string(folder().join("values.json")).unwrap();
    let values: Value = serde_json::from_str(&values).unwrap();
    let read = |(name, value): (&String, &Value)| {
        (name.clone(), std::fs::read(folder().join(format!("{name}.dcm"))).unwrap(), value.clone())
    };
    values["files"].as_object().unwrap().iter().map(read).collect()
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

#[test]
fn stored_values_are_those_of_pydicom() {
    let files = files();
    assert_eq!(files.len(), 10);
    for (name, bytes, wanted) in files {
        let dicom = Dicom::open(&bytes, &DecodeLimits::server()).unwrap();
        assert_eq!((dicom.width(), dicom.height()), (8, 6), "{name}");
        let frames = wanted["frames"].as_array().unwrap();
        assert_eq!(dicom.frames() as usize, frames.len(), "{name}");
        for (index, wanted) in frames.iter().enumerate() {
            let frame = dicom.frame(index as u32).unwrap_or_else(|e| panic!("{name}: {e}"));
            // Only the JPEG of eight bits loses something.
            let most = if name == "jpeg_baseline" { 3.0 } else { 0.0 };
            for (value, wanted) in frame.values.iter().zip(numbers(wanted)) {
                assert!((f64::from(*value) - wanted).abs() <= most, "{name} frame {index}: {value} {wanted}");
            }
        }
        assert!(dicom.frame(frames.len() as u32).is_err());
    }
}

#[test]
fn windows_are_those_of_pydicom() {
    let mut checked = 0;
    for (name, bytes, wanted) in files() {
        if wanted["shown"].is_null() {
            continue;
        }
        let dicom = Dicom::open(&bytes, &DecodeLimits::server()).unwrap();
        let shown = dicom.show(&dicom.frame(0).unwrap(), Window::File).unwrap();
        assert!(shown.warnings.contains(&Warning::NotForDiagnosis), "{name}");
        let SamplesRef::U16(values) = shown.samples() else { panic!("{name}: depth") };
        // pydicom rounds what it shows to no depth; a JPEG value off by three is off by that share of its window.
        let most = if name == "jpeg_baseline" { 0.012 } else { 1.1e-5 };
        for (value, wanted) in values.iter().zip(numbers(&wanted["shown"])) {
            let value = f64::from(*value) / 65_535.0;
            assert!((value - wanted).abs() <= most, "{name}: {value} {wanted}");
        }
        checked += 1;
    }
    assert_eq!(checked, 6);
}

#[test]
fn other_formats_learn_nothing_about_the_patient() {
    for (name, bytes, _) in files() {
        let picture = decode_deep(&bytes, &DecodeLimits::server()).unwrap();
        assert!(picture.metadata.is_empty(), "{name}");
        assert!(picture.warnings.contains(&Warning::NotForDiagnosis), "{name}");
        assert!(decode(&bytes, &DecodeLimits::server()).is_ok(), "{name}");
    }
}

fn doubled(frame: &StoredFrame) -> StoredFrame {
    let (w, h, c) = (frame.width as usize, frame.height as usize, frame.channels);
    let at = |i: usize| frame.values[(i / (2 * w * c) / 2 * w + i / c % (2 * w) / 2) * c + i % c];
    let values = (0..4 * w * h * c).map(at).collect();
    StoredFrame { width: 2 * frame.width, height: 2 * frame.height, values, ..frame.clone() }
}

#[test]
fn derived_copies_have_new_names_smaller_pixels_and_the_same_patient() {
    for (name, bytes, _) in files() {
        let original = Dicom::open(&bytes, &DecodeLimits::server()).unwrap();
        let frames: Vec<StoredFrame> = (0..original.frames()).map(|i| doubled(&original.frame(i).unwrap())).collect();
        let options = DeriveOptions { description: "Enlarged 2x".to_owned(), series: Some("2.25.99".to_owned()) };
        let derived = original.derive(&frames, 2.0, &options);
        if name == "palette" {
            assert!(derived.is_err());
            continue;
        }
        let derived = derived.unwrap_or_else(|e| panic!("{name}: {e}"));
        let back = Dicom::open(&derived, &DecodeLimits::server()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((back.width(), back.height(), back.frames()), (16, 12, original.frames()), "{name}");
        assert_eq!(back.spacing(), Some((0.4, 0.3)), "{name}");
        for (index, frame) in frames.iter().enumerate() {
            assert_eq!(back.frame(index as u32).unwrap().values, frame.values, "{name}");
        }
        let has = |text: &str| derived.windows(text.len()).any(|w| w == text.as_bytes());
        assert!(has("DERIVED\\SECONDARY\\AXIAL") && has("Enlarged 2x; not for diagnosis"), "{name}");
        assert!(has("Invented^Person") && has("2.25.99"), "{name}");
        // Half a new pixel is a quarter of an old one: 0.6 and 0.8 wide.
        assert!(has("-10.15\\19.8\\30.5"), "{name}");
        let again = original.derive(&frames, 2.0, &options).unwrap();
        assert_ne!(again, derived, "{name}: identifiers are new every time");
        assert!(original.derive(&frames, 3.0, &options).is_err(), "{name}");
        assert!(original.derive(&[], 2.0, &options).is_err(), "{name}");
    }
}

#[test]
fn real_files_have_the_values_that_pydicom_reads() {
    let Some(assets) = danqing_testing::assets() else { return };
    // Stored values at the middle, as pydicom 3.0 reads them.
    for (name, size, middle) in [
        ("CT_small.dcm", (128, 128), 1928),
        ("MR_small.dcm", (64, 64), 182),
        ("MR_small_RLE.dcm", (64, 64), 182),
        ("ExplVR_BigEnd.dcm", (80, 60), 255),
        ("SC_rgb_jpeg.dcm", (256, 256), 244),
        ("liver_1frame.dcm", (512, 512), 1),
    ] {
        let bytes = std::fs::read(assets.join("images/dicom").join(name)).unwrap();
        assert!(is_dicom(&bytes), "{name}");
        let dicom = Dicom::open(&bytes, &DecodeLimits::server()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!((dicom.width(), dicom.height()), size, "{name}");
        let frame = dicom.frame(0).unwrap_or_else(|e| panic!("{name}: {e}"));
        let at = (size.1 / 2 * size.0 + size.0 / 2) as usize * frame.channels;
        assert_eq!(frame.values[at], middle, "{name}");
        dicom.show(&frame, Window::Full).unwrap();
    }
    let read = |name: &str| {
        let bytes = std::fs::read(assets.join("images/dicom").join(name)).unwrap();
        Dicom::open(&bytes, &DecodeLimits::server()).unwrap().frame(0).unwrap()
    };
    assert_eq!(read("MR_small.dcm").values, read("MR_small_RLE.dcm").values);
}

#[test]
fn broken_files_are_read_or_refused() {
    let corpus: Vec<Vec<u8>> = files().into_iter().map(|(_, bytes, _)| bytes).collect();
    let limits = DecodeLimits { max_pixels: 1 << 18, ..DecodeLimits::server() };
    let tokens: [&[u8]; 5] =
        [b"\xff\xff\xff\xff", b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0", b"SQ\0\0", b"1.2.840.10008.1.2.5"];
    let mut shown = 0;
    mutate::run_with_tokens(&corpus, &tokens, 4, mutate::count(), |bytes| {
        if let Ok(dicom) = Dicom::open(bytes, &limits)
            && let Ok(frame) = dicom.frame(0)
        {
            shown += usize::from(dicom.show(&frame, Window::File).is_ok());
            let _ = dicom.derive(&[frame], 1.0, &DeriveOptions::default());
        }
    });
    assert!(shown > 500, "{shown}");
    for bytes in &corpus {
        for end in 0..bytes.len() {
            let _ = decode_deep(&bytes[..end], &limits);
        }
    }
}
