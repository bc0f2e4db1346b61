//! Files read row by row: the rows, words and warnings of the whole picture, whatever the file is.

use std::path::{Path, PathBuf};

use danqing_imaging::colour::to_srgb;
use danqing_imaging::{
    Channels, DecodeLimits, DeepPicture, EncodeOptions, Format, ImagingError, RowReader, Samples, SamplesRef,
    decode_deep, encode_deep, open_rows, rows_of,
};

/// Reads everything, `step` rows at a time.
fn gathered(mut reader: RowReader, step: u32) -> Result<DeepPicture, ImagingError> {
    let header = reader.header().clone();
    let (mut eight, mut sixteen) = (Vec::new(), Vec::new());
    while let Some(rows) = reader.read_rows(step)? {
        assert_eq!((rows.width(), rows.channels(), rows.depth()), (header.width, header.channels, header.depth));
        assert!(rows.height() <= step.max(1));
        match rows.samples() {
            SamplesRef::U8(values) => eight.extend_from_slice(values),
            SamplesRef::U16(values) => sixteen.extend_from_slice(values),
        }
    }
    assert_eq!(reader.rows_left(), 0);
    let samples = if sixteen.is_empty() { Samples::U8(eight) } else { Samples::U16(sixteen) };
    let mut picture = DeepPicture::new(header.width, header.height, header.channels, samples)?;
    picture.metadata = header.metadata;
    picture.warnings = reader.warnings().to_vec();
    Ok(picture)
}

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

/// What differs between the rows and the whole, if anything does; and whether the file streamed.
fn difference(path: &Path, limits: &DecodeLimits) -> (Option<String>, bool) {
    let bytes = std::fs::read(path).unwrap();
    let whole = decode_deep(&bytes, limits);
    let mut streams = false;
    for step in [1, 7, u32::MAX] {
        let reader = if step == 7 { rows_of(bytes.clone(), limits) } else { open_rows(path, limits) };
        streams = reader.as_ref().is_ok_and(RowReader::streams);
        let rows = reader.and_then(|reader| gathered(reader, step));
        let found = match (&rows, &whole) {
            (Ok(rows), Ok(whole)) if rows == whole => continue,
            (Err(_), Err(_)) => continue,
            (Ok(rows), Ok(whole)) if rows.metadata != whole.metadata => "other metadata".to_owned(),
            (Ok(rows), Ok(whole)) if rows.warnings != whole.warnings => {
                format!("warnings {:?}, whole {:?}", rows.warnings, whole.warnings)
            }
            (Ok(_), Ok(_)) => "other pixels".to_owned(),
            (Ok(_), Err(error)) => format!("rows, where the whole says {error}"),
            (Err(error), Ok(_)) => format!("no rows: {error}"),
        };
        return (Some(format!("{}, {step} rows at a time: {found}", path.display())), streams);
    }
    (None, streams)
}

#[test]
fn rows_of_real_and_broken_files_are_those_of_the_whole() {
    let Some(assets) = danqing_testing::assets() else { return };
    let (mut wrong, mut streamed, mut count) = (Vec::new(), 0, 0);
    for folder in ["formats", "broken", "metadata", "dicom"] {
        for path in files(&assets.join("images").join(folder)) {
            // Small limits, so that what is cut and left out is seen too.
            let limits = DecodeLimits { max_metadata_bytes: 1 << 14, ..DecodeLimits::server() };
            let (found, streams) = difference(&path, &limits);
            wrong.extend(found);
            count += 1;
            streamed += u32::from(streams);
        }
    }
    assert!(wrong.is_empty(), "{} of {count} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(streamed > 150, "only {streamed} of {count} stream");
}

#[test]
fn rows_of_the_corpus_are_those_of_the_whole() {
    let limits = DecodeLimits { max_metadata_bytes: 1 << 14, ..DecodeLimits::server() };
    let wrong: Vec<String> =
        files(&danqing_testing::fixture_path("corpus")).iter().filter_map(|path| difference(path, &limits).0).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn sample(width: u32, height: u32, channels: Channels, sixteen: bool) -> DeepPicture {
    let values = (0..width as usize * height as usize * channels.count()).map(|i| (i * 7_919 % 65_536) as u16);
    let samples =
        if sixteen { Samples::U16(values.collect()) } else { Samples::U8(values.map(|v| (v >> 8) as u8).collect()) };
    let mut picture = DeepPicture::new(width, height, channels, samples).unwrap();
    picture.metadata.set_infotext("a cat\nSteps: 20");
    picture
}

#[test]
fn own_png_tiff_and_bmp_stream() {
    for channels in [Channels::Grey, Channels::GreyAlpha, Channels::Rgb, Channels::Rgba] {
        for (format, sixteen) in [
            (Format::Png, false),
            (Format::Png, true),
            (Format::Tiff, false),
            (Format::Tiff, true),
            (Format::Bmp, false),
        ] {
            let picture = sample(301, 500, channels, sixteen);
            let bytes = encode_deep(&picture, format, &EncodeOptions::default()).unwrap();
            let whole = decode_deep(&bytes, &DecodeLimits::default()).unwrap();
            let reader = rows_of(bytes, &DecodeLimits::default()).unwrap();
            // A bitmap with alpha says where its bits are, which the whole decoder knows.
            assert_eq!(
                reader.streams(),
                format != Format::Bmp || !channels.has_alpha(),
                "{} {channels:?}",
                format.name()
            );
            assert_eq!(gathered(reader, 33).unwrap(), whole, "{} {channels:?}", format.name());
        }
    }
}

#[test]
fn a_long_plain_strip_is_read_where_it_stands() {
    // One strip of 12 MiB, both byte orders: longer than is decoded at once.
    let (width, height) = (1024u32, 2048u32);
    let values: Vec<u16> = (0..width * height * 3).map(|i| (i.wrapping_mul(40_503) >> 7) as u16).collect();
    for big in [false, true] {
        let short = |v: u16| if big { v.to_be_bytes() } else { v.to_le_bytes() };
        let long = |v: u32| if big { v.to_be_bytes() } else { v.to_le_bytes() };
        let mut file = if big { b"MM\0\x2a".to_vec() } else { b"II\x2a\0".to_vec() };
        file.extend(long(8));
        let tags = [
            (256, 4, 1, width),
            (257, 4, 1, height),
            (258, 3, 3, 8 + 2 + 12 * 9 + 4),
            (259, 4, 1, 1),
            (262, 4, 1, 2),
            (273, 4, 1, 8 + 2 + 12 * 9 + 4 + 6),
            (277, 4, 1, 3),
            (278, 4, 1, height),
            (279, 4, 1, width * height * 6),
        ];
        file.extend(short(9));
        for (tag, kind, count, value) in tags {
            file.extend(short(tag).into_iter().chain(short(kind)).chain(long(count)).chain(long(value)));
        }
        file.extend(long(0));
        file.extend([16u16; 3].map(short).concat());
        file.extend(values.iter().flat_map(|v| short(*v)));
        let whole = decode_deep(&file, &DecodeLimits::default()).unwrap();
        assert_eq!(whole.samples(), SamplesRef::U16(&values));
        let reader = rows_of(file.clone(), &DecodeLimits::default()).unwrap();
        assert!(reader.streams());
        assert_eq!(gathered(reader, 100).unwrap(), whole);
        // Cut off, it is refused.
        file.truncate(file.len() - 5);
        assert!(rows_of(file, &DecodeLimits::default()).and_then(|reader| gathered(reader, 100)).is_err());
    }
}

#[test]
fn damage_is_met_where_it_lies_and_stays() {
    let picture = sample(200, 300, Channels::Rgb, false);
    let mut bytes = encode_deep(&picture, Format::Png, &EncodeOptions::default()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    assert!(decode_deep(&bytes, &DecodeLimits::default()).is_err());
    let mut reader = rows_of(bytes, &DecodeLimits::default()).unwrap();
    let mut read = 0;
    let error = loop {
        match reader.read_rows(10) {
            Ok(rows) => {
                let rows = rows.expect("an error before the end");
                assert_eq!(Some(rows.samples()), picture.rows(read, rows.height()));
                read += rows.height();
            }
            Err(error) => break error.to_string(),
        }
    };
    assert!(read < 300 && error.contains("damaged PNG"), "{read}: {error}");
    assert!(reader.read_rows(1).is_err());
}

#[test]
fn limits_hold_before_the_first_row() {
    let bytes = encode_deep(&sample(200, 30, Channels::Rgb, false), Format::Png, &EncodeOptions::default()).unwrap();
    let tight = |limits: DecodeLimits| matches!(rows_of(bytes.clone(), &limits), Err(ImagingError::TooLarge { .. }));
    assert!(tight(DecodeLimits { max_side: 199, ..DecodeLimits::default() }));
    assert!(tight(DecodeLimits { max_pixels: 5_999, ..DecodeLimits::default() }));
    assert!(tight(DecodeLimits { max_file_bytes: 10, ..DecodeLimits::default() }));
    assert!(rows_of(Vec::new(), &DecodeLimits::default()).is_err());
    assert!(open_rows(Path::new("/nowhere/at/all.png"), &DecodeLimits::default()).is_err());
}

#[test]
fn profiles_are_applied_row_by_row_as_to_the_whole() {
    let Some(assets) = danqing_testing::assets() else { return };
    let mut applied = 0;
    for path in files(&assets.join("images/formats")) {
        let limits = DecodeLimits::server();
        let Ok(reader) = open_rows(&path, &limits) else { continue };
        if reader.header().metadata.icc.is_none() {
            continue;
        }
        let whole = to_srgb(decode_deep(&std::fs::read(&path).unwrap(), &limits).unwrap()).unwrap();
        let rows = gathered(reader.into_srgb(), 5).unwrap();
        assert!(rows == whole, "{}", path.display());
        applied += 1;
    }
    assert!(applied > 5, "only {applied} files with a profile");
}
