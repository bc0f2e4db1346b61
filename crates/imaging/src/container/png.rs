//! PNG chunks tEXt, zTXt, iTXt, eXIf and iCCP (PNG specification, third edition).

use std::io::Read;

use super::{MOST_ENTRIES, Reading, text_of};
use crate::{DecodeLimits, ImagingError, Metadata, TextEntry};

const SIGNATURE: [u8; 8] = [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a];
const XMP_KEYWORD: &str = "XML:com.adobe.xmp";
/// The chunks that [`embed`] replaces.
const REPLACED: [&[u8; 4]; 5] = [b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"iCCP"];

struct Chunk<'a> {
    kind: [u8; 4],
    data: &'a [u8],
    /// Length, kind, data and checksum as they stand.
    whole: &'a [u8],
}

fn chunks(bytes: &[u8]) -> impl Iterator<Item = Chunk<'_>> {
    let mut rest = bytes.strip_prefix(&SIGNATURE).unwrap_or_default();
    std::iter::from_fn(move || {
        let (length, after) = rest.split_first_chunk::<4>()?;
        let length = u32::from_be_bytes(*length) as usize;
        let (kind, after) = after.split_first_chunk::<4>()?;
        let data = after.get(..length)?;
        let whole = rest.get(..length.checked_add(12)?)?;
        rest = &rest[whole.len()..];
        Some(Chunk { kind: *kind, data, whole })
    })
}

pub(super) fn read(bytes: &[u8], limits: &DecodeLimits, reading: &mut Reading) -> Option<()> {
    // All texts of one file share the limit, so that many small bombs are no more than one.
    let mut left = limits.max_metadata_bytes;
    for chunk in chunks(bytes) {
        match &chunk.kind {
            b"IEND" => break,
            b"eXIf" if reading.metadata.exif.is_none() => {
                reading.metadata.exif = reading.bounded(chunk.data, limits, "EXIF block");
            }
            b"iCCP" if reading.metadata.icc.is_none() => {
                reading.metadata.icc = colour_profile(chunk.data, limits.max_metadata_bytes);
                if reading.metadata.icc.is_none() {
                    reading.leave_out("ICC profile", "it is damaged or larger than allowed");
                }
            }
            b"tEXt" | b"zTXt" | b"iTXt" if reading.metadata.text.len() < MOST_ENTRIES => {
                let Some(entry) = text_entry(&chunk, left) else {
                    reading.leave_out(&text_name(&chunk), "it is damaged or larger than allowed");
                    continue;
                };
                left -= entry.text.len().min(left);
                if entry.keyword == XMP_KEYWORD {
                    reading.metadata.xmp.get_or_insert(entry.text);
                } else {
                    reading.metadata.text.push(entry);
                }
            }
            _ => {}
        }
    }
    Some(())
}

/// What a text is called in a warning: its keyword, without what could steer a terminal.
fn text_name(chunk: &Chunk<'_>) -> String {
    let keyword = split_at_nul(chunk.data).map_or(&[][..], |(keyword, _)| &keyword[..keyword.len().min(79)]);
    let printable: String = text_of(keyword).chars().filter(|c| !c.is_control()).collect();
    format!("text {printable:?}")
}

pub(super) fn has_chunk(bytes: &[u8], kind: &[u8; 4]) -> bool {
    chunks(bytes).any(|chunk| chunk.kind == *kind)
}

fn text_entry(chunk: &Chunk<'_>, most: usize) -> Option<TextEntry> {
    let (keyword, rest) = split_at_nul(chunk.data)?;
    let plain = |bytes: &[u8]| (bytes.len() <= most).then(|| text_of(bytes));
    let text = match &chunk.kind {
        b"tEXt" => plain(rest)?,
        b"zTXt" => text_of(&inflate(rest.strip_prefix(&[0])?, most)?),
        _ => {
            let (&[compressed, _method], rest) = rest.split_first_chunk::<2>()?;
            let (_language, rest) = split_at_nul(rest)?;
            let (_translated, rest) = split_at_nul(rest)?;
            if compressed == 0 { plain(rest)? } else { text_of(&inflate(rest, most)?) }
        }
    };
    Some(TextEntry { keyword: text_of(keyword), text })
}

fn colour_profile(data: &[u8], most: usize) -> Option<Vec<u8>> {
    let (_name, rest) = split_at_nul(data)?;
    inflate(rest.strip_prefix(&[0])?, most)
}

fn split_at_nul(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&b| b == 0)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// Inflates at most `most` bytes; `None` when there is more or the stream is damaged.
fn inflate(bytes: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    flate2::read::ZlibDecoder::new(bytes).take(most as u64 + 1).read_to_end(&mut out).ok()?;
    (out.len() <= most).then_some(out)
}

pub(super) fn embed(bytes: &[u8], metadata: &Metadata) -> Result<Vec<u8>, ImagingError> {
    let mut out = SIGNATURE.to_vec();
    let mut whole = false;
    for (index, chunk) in chunks(bytes).enumerate() {
        if index == 0 && chunk.kind != *b"IHDR" {
            break;
        }
        if !REPLACED.contains(&&chunk.kind) {
            out.extend_from_slice(chunk.whole);
        }
        if index == 0 {
            out.extend(blocks(metadata)?);
        }
        whole = chunk.kind == *b"IEND";
        if whole {
            break;
        }
    }
    if !whole {
        return Err(ImagingError::damaged("PNG", "its chunks do not run from IHDR to IEND"));
    }
    Ok(out)
}

/// The chunks that hold `metadata`, to stand after IHDR.
pub(crate) fn blocks(metadata: &Metadata) -> Result<Vec<u8>, ImagingError> {
    let mut out = Vec::new();
    for (kind, data) in metadata_chunks(metadata)? {
        write_chunk(&mut out, &kind, &data)?;
    }
    Ok(out)
}

/// What a chunk is made of.
pub(crate) type KindAndData = ([u8; 4], Vec<u8>);

/// Kind and data of the chunks that hold `metadata`.
pub(crate) fn metadata_chunks(metadata: &Metadata) -> Result<Vec<KindAndData>, ImagingError> {
    let mut chunks = Vec::new();
    if let Some(icc) = &metadata.icc {
        let mut data = b"ICC profile\0\0".to_vec();
        data.extend(deflate(icc)?);
        chunks.push((*b"iCCP", data));
    }
    if let Some(exif) = &metadata.exif {
        chunks.push((*b"eXIf", exif.strip_prefix(b"Exif\0\0").unwrap_or(exif).to_vec()));
    }
    for entry in &metadata.text {
        chunks.push(text_chunk(&entry.keyword, &entry.text)?);
    }
    if let Some(xmp) = &metadata.xmp {
        chunks.push(international(XMP_KEYWORD.as_bytes(), xmp));
    }
    Ok(chunks)
}

/// Frames and showings that an animation control chunk announces; `None` when there is none.
pub(super) fn animation(bytes: &[u8]) -> Option<(u32, u32)> {
    let chunk = chunks(bytes).take_while(|c| c.kind != *b"IDAT").find(|c| c.kind == *b"acTL")?;
    let number = |at: usize| Some(u32::from_be_bytes(chunk.data.get(at..at + 4)?.try_into().ok()?));
    Some((number(0)?, number(4)?))
}

/// tEXt when the text is Latin-1, iTXt otherwise. Latin-1 that would also be valid UTF-8 goes into iTXt, where no
/// reader can take it for the other.
fn text_chunk(keyword: &str, text: &str) -> Result<KindAndData, ImagingError> {
    let keyword = latin1(keyword).filter(|k| (1..=79).contains(&k.len()) && !k.contains(&0)).ok_or_else(|| {
        ImagingError::argument("text keyword", format!("{keyword:?} is not 1 to 79 Latin-1 characters, as PNG wants"))
    })?;
    let text = text.replace('\0', "");
    Ok(match latin1(&text).filter(|bytes| bytes.is_ascii() || std::str::from_utf8(bytes).is_err()) {
        Some(bytes) => (*b"tEXt", [keyword.as_slice(), &[0], &bytes].concat()),
        None => international(&keyword, &text),
    })
}

fn international(keyword: &[u8], text: &str) -> KindAndData {
    (*b"iTXt", [keyword, &[0, 0, 0, 0, 0], text.replace('\0', "").as_bytes()].concat())
}

fn latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect()
}

fn deflate(bytes: &[u8]) -> Result<Vec<u8>, ImagingError> {
    let mut out = Vec::new();
    flate2::read::ZlibEncoder::new(bytes, flate2::Compression::default())
        .read_to_end(&mut out)
        .map_err(|e| ImagingError::Encode { format: "PNG", reason: e.to_string() })?;
    Ok(out)
}

fn write_chunk(out: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) -> Result<(), ImagingError> {
    let length = u32::try_from(data.len()).ok().filter(|&n| n < 1 << 31).ok_or_else(|| ImagingError::Encode {
        format: "PNG",
        reason: format!("a block of {} bytes does not fit into a chunk", data.len()),
    })?;
    let mut checksum = flate2::Crc::new();
    checksum.update(kind);
    checksum.update(data);
    out.extend(length.to_be_bytes());
    out.extend(kind);
    out.extend(data);
    out.extend(checksum.sum().to_be_bytes());
    Ok(())
}
