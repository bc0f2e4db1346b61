//! Files written row by row: the same bytes as at once, whole or not at all, in every depth and channels.

use std::io::Cursor;
use std::path::PathBuf;

use danqing_imaging::{
    Channels, DecodeLimits, DeepPicture, Depth, EncodeOptions, Format, ImagingError, RowFile, RowHeader, RowWriter,
    Samples, SamplesRef, decode_deep, encode_deep,
};

const ALL: [Channels; 4] = [Channels::Grey, Channels::GreyAlpha, Channels::Rgb, Channels::Rgba];

fn picture(width: u32, height: u32, channels: Channels, depth: Depth) -> DeepPicture {
    let values = (0..width as usize * height as usize * channels.count()).map(|i| (i * 7_919 % 65_536) as u16);
    let samples = match depth {
        Depth::Eight => Samples::U8(values.map(|v| (v >> 8) as u8).collect()),
        Depth::Sixteen => Samples::U16(values.collect()),
    };
    DeepPicture::new(width, height, channels, samples).unwrap()
}

fn header(picture: &DeepPicture) -> RowHeader {
    let (width, height) = (picture.width(), picture.height());
    let metadata = picture.metadata.clone();
    RowHeader { width, height, channels: picture.channels(), depth: picture.depth(), metadata }
}

fn in_rows(picture: &DeepPicture, format: Format, step: u32) -> Result<Vec<u8>, ImagingError> {
    let sink = Cursor::new(Vec::new());
    let mut writer = RowWriter::begin(format, header(picture), &EncodeOptions::default(), sink)?;
    for top in (0..picture.height()).step_by(step as usize) {
        writer.write_rows(picture.rows(top, step.min(picture.height() - top)).unwrap())?;
    }
    Ok(writer.finish()?.into_inner())
}

#[test]
fn rows_make_the_same_file_as_the_whole() {
    for format in Format::WRITABLE {
        for channels in ALL {
            for depth in [Depth::Eight, Depth::Sixteen] {
                let mut picture = picture(37, 21, channels, depth);
                picture.metadata.set_infotext("a cat\nSteps: 20");
                let whole = encode_deep(&picture, format, &EncodeOptions::default()).unwrap();
                for step in [1, 8, 21] {
                    assert!(in_rows(&picture, format, step).unwrap() == whole, "{} {channels:?} {step}", format.name());
                }
            }
        }
    }
}

#[test]
fn png_and_tiff_return_every_bit_of_every_layout() {
    for format in [Format::Png, Format::Tiff] {
        for channels in ALL {
            for depth in [Depth::Eight, Depth::Sixteen] {
                for (width, height) in [(1, 1), (37, 21), (3, 700)] {
                    let picture = picture(width, height, channels, depth);
                    let bytes = encode_deep(&picture, format, &EncodeOptions::default()).unwrap();
                    let back = decode_deep(&bytes, &DecodeLimits::default()).unwrap();
                    assert_eq!(back, picture, "{} {channels:?} {depth:?} {width}x{height}", format.name());
                }
            }
        }
    }
}

#[test]
fn jpeg_of_grey_stays_grey() {
    let picture = DeepPicture::new(20, 10, Channels::Grey, Samples::U8(vec![99; 200])).unwrap();
    let bytes = encode_deep(&picture, Format::Jpeg, &EncodeOptions::default()).unwrap();
    let back = decode_deep(&bytes, &DecodeLimits::default()).unwrap();
    assert_eq!(back.channels(), Channels::Grey);
    let SamplesRef::U8(values) = back.samples() else { panic!("depth") };
    assert!(values.iter().all(|v| v.abs_diff(99) <= 1));
}

#[test]
fn wrong_rows_are_refused_and_nothing_is_left() {
    let folder = std::env::temp_dir().join(format!("danqing-rows-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).unwrap();
    let names = || -> Vec<PathBuf> { std::fs::read_dir(&folder).unwrap().map(|e| e.unwrap().path()).collect() };
    let path = folder.join("cat.png");
    let picture = picture(5, 4, Channels::Rgb, Depth::Eight);
    let begin = || RowFile::create(&path, header(&picture), &EncodeOptions::default()).unwrap();
    assert!(begin().write_rows(SamplesRef::U8(&[0; 14])).is_err());
    assert!(begin().write_rows(SamplesRef::U8(&[0; 75])).is_err());
    assert!(begin().write_rows(SamplesRef::U16(&[0; 15])).is_err());
    let mut half = begin();
    half.write_rows(picture.rows(0, 2).unwrap()).unwrap();
    let message = half.finish().map_err(|e| e.to_string()).unwrap_err();
    assert!(message.contains("fewer"), "{message}");
    drop(begin());
    // The encoder's own thread removes what a dropped writer leaves.
    for _ in 0..100 {
        if names().is_empty() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(names(), Vec::<PathBuf>::new());
    let mut whole = begin();
    whole.write_rows(picture.samples()).unwrap();
    whole.finish().unwrap();
    assert_eq!(names(), std::slice::from_ref(&path));
    assert_eq!(decode_deep(&std::fs::read(&path).unwrap(), &DecodeLimits::default()).unwrap(), picture);
    std::fs::remove_dir_all(&folder).unwrap();
    for (format, width) in [(Format::WebP, 16_384), (Format::Jpeg, 65_536), (Format::Gif, 65_536), (Format::Png, 0)] {
        let header = RowHeader { width, ..header(&picture) };
        let refused = RowWriter::begin(format, header, &EncodeOptions::default(), Cursor::new(Vec::new()));
        assert!(refused.is_err(), "{} {width}", format.name());
    }
}
