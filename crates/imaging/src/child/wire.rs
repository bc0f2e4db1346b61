//! What parent and child say to each other: fixed headers, lengths before everything, numbers little-endian.

use std::io::{self, Read, Write};
use std::time::Duration;

use super::{Answer, ChildLimits};
use crate::{
    Channels, DecodeLimits, DeepPicture, Depth, Format, ImagingError, Metadata, Samples, SamplesRef, TextEntry, Warning,
};

const REQUEST: &[u8; 8] = b"dqdecod1";
const PICTURE: &[u8; 8] = b"dqpixel1";
const REFUSED: &[u8; 8] = b"dqerror1";
/// More texts or warnings than this are nonsense.
const MOST_ENTRIES: u32 = 2048;
/// Longest message.
const MOST_TEXT: usize = 1 << 16;
/// The measures that a limit can be about, by their place here.
const MEASURES: [&str; 6] = ["width", "height", "pixels", "bytes", "frames", "seconds of decoding"];

pub(super) fn write_request(to: &mut impl Write, bytes: &[u8], limits: &ChildLimits) -> io::Result<()> {
    let decode = &limits.decode;
    to.write_all(REQUEST)?;
    for number in [
        u64::from(decode.max_side),
        decode.max_pixels,
        decode.max_file_bytes,
        decode.max_metadata_bytes as u64,
        u64::from(decode.max_frames),
        decode.max_time.as_millis() as u64,
        limits.memory,
        bytes.len() as u64,
    ] {
        to.write_all(&number.to_le_bytes())?;
    }
    to.write_all(bytes)
}

pub(super) fn read_request(from: &mut impl Read) -> io::Result<(ChildLimits, u64)> {
    if &read_array::<8>(from)? != REQUEST {
        return Err(nonsense("this is no request to decode a picture"));
    }
    let mut numbers = [0; 8];
    for number in &mut numbers {
        *number = u64::from_le_bytes(read_array(from)?);
    }
    let [side, pixels, file, metadata, frames, milliseconds, memory, length] = numbers;
    let small = |number: u64| u32::try_from(number).map_err(|_| nonsense("a limit is too large"));
    let decode = DecodeLimits {
        max_side: small(side)?,
        max_pixels: pixels,
        max_file_bytes: file,
        max_metadata_bytes: usize::try_from(metadata).map_err(|_| nonsense("a limit is too large"))?,
        max_frames: small(frames)?,
        max_time: Duration::from_millis(milliseconds),
    };
    Ok((ChildLimits { decode, memory }, length))
}

/// Bytes that an answer can have at most.
pub(super) fn longest_answer(limits: &DecodeLimits) -> u64 {
    // Text grows up to twice when Latin-1 becomes UTF-8; the texts, EXIF, XMP and ICC have the limit each.
    let metadata = 8 * limits.max_metadata_bytes as u64;
    limits.max_pixels.saturating_mul(8).saturating_add(metadata).saturating_add(16 << 20)
}

pub(super) fn write_answer(to: &mut impl Write, answer: &Answer) -> io::Result<()> {
    match answer {
        Ok(picture) => {
            to.write_all(PICTURE)?;
            write_picture(to, picture)
        }
        Err(error) => {
            to.write_all(REFUSED)?;
            write_error(to, error)
        }
    }
}

pub(super) fn read_answer(from: &mut impl Read, limits: &DecodeLimits) -> io::Result<Answer> {
    match &read_array::<8>(from)? {
        PICTURE => read_picture(from, limits).map(Ok),
        REFUSED => read_error(from).map(Err),
        _ => Err(nonsense("the child did not answer in the language of decoders")),
    }
}

fn write_picture(to: &mut impl Write, picture: &DeepPicture) -> io::Result<()> {
    write_number(to, picture.width())?;
    write_number(to, picture.height())?;
    to.write_all(&[picture.channels().count() as u8, picture.depth().bytes() as u8])?;
    write_number(to, picture.warnings.len() as u32)?;
    for warning in &picture.warnings {
        write_warning(to, warning)?;
    }
    let metadata = &picture.metadata;
    for block in [metadata.exif.as_deref(), metadata.icc.as_deref(), metadata.xmp.as_ref().map(String::as_bytes)] {
        to.write_all(&[u8::from(block.is_some())])?;
        write_bytes(to, block.unwrap_or_default())?;
    }
    write_number(to, metadata.text.len() as u32)?;
    for entry in &metadata.text {
        write_bytes(to, entry.keyword.as_bytes())?;
        write_bytes(to, entry.text.as_bytes())?;
    }
    match picture.samples() {
        SamplesRef::U8(values) => to.write_all(values),
        SamplesRef::U16(values) => values.chunks(1 << 14).try_for_each(|part| {
            let bytes: Vec<u8> = part.iter().flat_map(|v| v.to_le_bytes()).collect();
            to.write_all(&bytes)
        }),
    }
}

fn read_picture(from: &mut impl Read, limits: &DecodeLimits) -> io::Result<DeepPicture> {
    let (width, height) = (read_number(from)?, read_number(from)?);
    limits.check_size(width, height).map_err(|e| nonsense(&e.to_string()))?;
    let [count, bytes] = read_array(from)?;
    let channels = match count {
        1 => Channels::Grey,
        2 => Channels::GreyAlpha,
        3 => Channels::Rgb,
        4 => Channels::Rgba,
        _ => return Err(nonsense("channels")),
    };
    let depth = match bytes {
        1 => Depth::Eight,
        2 => Depth::Sixteen,
        _ => return Err(nonsense("depth")),
    };
    let warnings = (0..read_count(from)?).map(|_| read_warning(from)).collect::<io::Result<Vec<_>>>()?;
    let most = limits.max_metadata_bytes.saturating_mul(2).saturating_add(MOST_TEXT);
    let mut block = || -> io::Result<Option<Vec<u8>>> {
        let [present] = read_array(from)?;
        let bytes = read_bytes(from, most)?;
        Ok((present == 1).then_some(bytes))
    };
    let (exif, icc, xmp) = (block()?, block()?, block()?);
    let xmp = xmp.map(text).transpose()?;
    let entry =
        |from: &mut _| Ok(TextEntry { keyword: text(read_bytes(from, 512)?)?, text: text(read_bytes(from, most)?)? });
    let texts = (0..read_count(from)?).map(|_| entry(from)).collect::<io::Result<Vec<_>>>()?;
    let length = usize::try_from(u64::from(width) * u64::from(height) * count as u64 * depth.bytes() as u64)
        .map_err(|_| nonsense("size"))?;
    let bytes = read_exactly(from, length)?;
    let samples = match depth {
        Depth::Eight => Samples::U8(bytes),
        Depth::Sixteen => Samples::U16(bytes.chunks_exact(2).map(|p| u16::from_le_bytes([p[0], p[1]])).collect()),
    };
    let mut picture = DeepPicture::new(width, height, channels, samples).map_err(|e| nonsense(&e.to_string()))?;
    picture.warnings = warnings;
    picture.metadata = Metadata { text: texts, exif, xmp, icc };
    Ok(picture)
}

fn write_warning(to: &mut impl Write, warning: &Warning) -> io::Result<()> {
    let (code, what, reason) = match warning {
        Warning::LeftOut { what, reason } => (0, what.as_str(), reason.as_str()),
        Warning::FirstFrame => (1, "", ""),
        Warning::FirstPage => (2, "", ""),
        Warning::FloatValues => (3, "", ""),
        Warning::InksWithoutProfile => (4, "", ""),
        Warning::NotForDiagnosis => (5, "", ""),
    };
    to.write_all(&[code])?;
    write_bytes(to, what.as_bytes())?;
    write_bytes(to, reason.as_bytes())
}

fn read_warning(from: &mut impl Read) -> io::Result<Warning> {
    let [code] = read_array(from)?;
    let (what, reason) = (text(read_bytes(from, MOST_TEXT)?)?, text(read_bytes(from, MOST_TEXT)?)?);
    Ok(match code {
        0 => Warning::left_out(what, reason),
        1 => Warning::FirstFrame,
        2 => Warning::FirstPage,
        3 => Warning::FloatValues,
        4 => Warning::InksWithoutProfile,
        5 => Warning::NotForDiagnosis,
        _ => return Err(nonsense("warning")),
    })
}

fn write_error(to: &mut impl Write, error: &ImagingError) -> io::Result<()> {
    let (code, name, reason, numbers) = match error {
        ImagingError::UnknownFormat { what, .. } => (0, what.as_str(), String::new(), [0; 2]),
        ImagingError::Damaged { format, reason } => (1, *format, reason.clone(), [0; 2]),
        ImagingError::Unsupported { format, reason } => (2, *format, reason.clone(), [0; 2]),
        ImagingError::TooLarge { what, found, limit } => (3, *what, String::new(), [*found, *limit]),
        other => (1, "unknown", other.to_string(), [0; 2]),
    };
    to.write_all(&[code])?;
    write_bytes(to, name.as_bytes())?;
    // A message is cut rather than refused.
    write_bytes(to, &reason.as_bytes()[..reason.floor_char_boundary(4096)])?;
    numbers.iter().try_for_each(|number| to.write_all(&number.to_le_bytes()))
}

fn read_error(from: &mut impl Read) -> io::Result<ImagingError> {
    let [code] = read_array(from)?;
    let (name, reason) = (text(read_bytes(from, MOST_TEXT)?)?, text(read_bytes(from, MOST_TEXT)?)?);
    let (found, limit) = (u64::from_le_bytes(read_array(from)?), u64::from_le_bytes(read_array(from)?));
    let mut formats = Format::WRITABLE.iter().map(|f| f.name()).chain(["AVIF", "DICOM"]);
    let format = formats.find(|f| *f == name).unwrap_or("unknown");
    Ok(match code {
        0 => ImagingError::UnknownFormat { what: name, known: crate::format::READABLE },
        1 => ImagingError::damaged(format, reason),
        2 => ImagingError::Unsupported { format, reason },
        3 => {
            let what = MEASURES.into_iter().find(|m| *m == name).ok_or_else(|| nonsense("measure"))?;
            ImagingError::TooLarge { what, found, limit }
        }
        _ => return Err(nonsense("error")),
    })
}

fn write_number(to: &mut impl Write, number: u32) -> io::Result<()> {
    to.write_all(&number.to_le_bytes())
}

fn read_number(from: &mut impl Read) -> io::Result<u32> {
    Ok(u32::from_le_bytes(read_array(from)?))
}

fn read_count(from: &mut impl Read) -> io::Result<u32> {
    Some(read_number(from)?).filter(|count| *count <= MOST_ENTRIES).ok_or_else(|| nonsense("count"))
}

fn write_bytes(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| nonsense("a block is too long"))?;
    write_number(to, length)?;
    to.write_all(bytes)
}

fn read_bytes(from: &mut impl Read, most: usize) -> io::Result<Vec<u8>> {
    let length = read_number(from)? as usize;
    if length > most { Err(nonsense("a block is too long")) } else { read_exactly(from, length) }
}

/// Memory grows with what arrives, not with what is announced.
fn read_exactly(from: &mut impl Read, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    from.take(length as u64).read_to_end(&mut bytes)?;
    if bytes.len() == length { Ok(bytes) } else { Err(io::Error::from(io::ErrorKind::UnexpectedEof)) }
}

fn read_array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut array = [0; N];
    from.read_exact(&mut array)?;
    Ok(array)
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|_| nonsense("a text is not UTF-8"))
}

fn nonsense(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> DeepPicture {
        let samples = Samples::U16((0..24).map(|i| i * 2_500).collect());
        let mut picture = DeepPicture::new(3, 2, Channels::Rgba, samples).unwrap();
        picture.metadata.set_text("parameters", "丹青");
        picture.metadata.icc = Some(vec![7; 300]);
        picture.warnings = vec![Warning::left_out("text \"x\"", "too long"), Warning::FirstFrame];
        picture
    }

    #[test]
    fn pictures_and_errors_arrive_as_they_were_sent() {
        let limits = DecodeLimits::server();
        let mut sent = Vec::new();
        write_answer(&mut sent, &Ok(picture())).unwrap();
        assert_eq!(read_answer(&mut sent.as_slice(), &limits).unwrap().unwrap(), picture());
        for error in [
            ImagingError::damaged("PNG", "cut off"),
            ImagingError::Unsupported { format: "JPEG", reason: "arithmetic coding".to_owned() },
            ImagingError::TooLarge { what: "pixels", found: 9, limit: 4 },
            ImagingError::UnknownFormat { what: "the file".to_owned(), known: crate::format::READABLE },
        ] {
            let wanted = error.to_string();
            let mut sent = Vec::new();
            write_answer(&mut sent, &Err(error)).unwrap();
            let found = read_answer(&mut sent.as_slice(), &limits).unwrap().unwrap_err();
            assert_eq!(found.to_string(), wanted);
        }
    }

    #[test]
    fn every_cut_and_every_changed_byte_of_an_answer_is_harmless() {
        let limits =
            DecodeLimits { max_side: 64, max_pixels: 4096, max_metadata_bytes: 4096, ..DecodeLimits::server() };
        let mut sent = Vec::new();
        write_answer(&mut sent, &Ok(picture())).unwrap();
        for end in 0..sent.len() {
            assert!(read_answer(&mut &sent[..end], &limits).is_err(), "{end}");
        }
        for at in 0..sent.len() {
            for value in [0, 1, 127, 255] {
                let mut other = sent.clone();
                other[at] = value;
                let _ = read_answer(&mut other.as_slice(), &limits);
            }
        }
    }
}
