//! GIF comment extensions, and XMP and ICC in application extensions (GIF89a specification, sections 24 and 26).

use std::io::{self, BufReader, Read, Seek};

use super::{MOST_ENTRIES, Reading, text_of};
use crate::{DecodeLimits, ImagingError, Metadata, TextEntry};

const XMP: &[u8] = b"XMP DataXMP";
const ICC: &[u8] = b"ICCRGBG1012";
/// The bytes after an XMP packet that bring a reader of sub-blocks to the end: 1, then 255 down to 0.
const XMP_TRAILER: usize = 257;

/// A block between the header and the end.
struct Block {
    /// 0x2c for a frame, else the label of the extension.
    kind: u8,
    start: usize,
    /// Where its sub-blocks begin.
    data: usize,
    end: usize,
}

fn blocks(bytes: &[u8]) -> impl Iterator<Item = Block> {
    let mut at = bytes.get(10).filter(|_| bytes.starts_with(b"GIF8")).map(|flags| 13 + colour_table(*flags));
    std::iter::from_fn(move || {
        let start = at?;
        let (kind, data) = match *bytes.get(start)? {
            0x21 => (*bytes.get(start + 1)?, start + 2),
            0x2c => (0x2c, start + 10 + colour_table(*bytes.get(start + 9)?) + 1),
            _ => return None,
        };
        let end = skip(bytes, data)?;
        at = Some(end);
        Some(Block { kind, start, data, end })
    })
}

pub(super) fn read(bytes: &[u8], limits: &DecodeLimits, reading: &mut Reading) -> Option<()> {
    let mut left = limits.max_metadata_bytes;
    for block in blocks(bytes) {
        if block.kind == 0xfe && reading.metadata.text.len() < MOST_ENTRIES {
            let data = gather(bytes, block.data, left);
            left -= data.len();
            reading.metadata.text.push(TextEntry { keyword: "Comment".to_owned(), text: text_of(&data) });
        } else if block.kind == 0xff {
            let application = bytes.get(block.data + 1..block.data + 12).unwrap_or_default();
            if application == XMP && reading.metadata.xmp.is_none() {
                let end = block.end.saturating_sub(XMP_TRAILER + 1);
                let packet = bytes.get(block.data + 12..end).unwrap_or_default();
                reading.metadata.xmp = reading.bounded(packet, limits, "XMP packet").map(|packet| text_of(&packet));
            } else if application == ICC && reading.metadata.icc.is_none() {
                let profile = gather(bytes, block.data + 12, limits.max_metadata_bytes);
                reading.metadata.icc = Some(profile).filter(|p| !p.is_empty());
            }
        }
    }
    // Generation parameters have no place of their own here: the comment that looks like them is them.
    let parameters = |e: &TextEntry| e.keyword == "Comment" && e.text.contains("Steps: ");
    if let Some(entry) = reading.metadata.text.iter_mut().find(|e| parameters(e)) {
        entry.keyword = crate::metadata::PARAMETERS.to_owned();
    }
    Some(())
}

/// Frames and the repetitions that the file asks for; `None` without the mark.
pub(super) fn animation(bytes: &[u8]) -> (u32, Option<u16>) {
    let frames = blocks(bytes).filter(|b| b.kind == 0x2c).count() as u32;
    let repeats = blocks(bytes).filter(|b| b.kind == 0xff).find_map(|b| match bytes.get(b.data..b.data + 16)? {
        [11, name @ .., 3, 1, low, high] if name == b"NETSCAPE2.0" || name == b"ANIMEXTS1.0" => {
            Some(u16::from_le_bytes([*low, *high]))
        }
        _ => None,
    });
    (frames, repeats)
}

/// Whether a second frame follows the first; nothing beyond its beginning is read.
pub(super) fn moves(file: &mut BufReader<impl Read + Seek>) -> io::Result<bool> {
    let mut head = [0; 13];
    file.read_exact(&mut head)?;
    if !head.starts_with(b"GIF8") {
        return Ok(false);
    }
    file.seek_relative(colour_table(head[10]) as i64)?;
    let mut frames = 0;
    loop {
        match byte(file)? {
            0x21 => drop(byte(file)?),
            0x2c if frames == 1 => return Ok(true),
            0x2c => {
                frames += 1;
                let mut frame = [0; 9];
                file.read_exact(&mut frame)?;
                file.seek_relative(colour_table(frame[8]) as i64 + 1)?;
            }
            _ => return Ok(false),
        }
        loop {
            match byte(file)? {
                0 => break,
                length => file.seek_relative(length.into())?,
            }
        }
    }
}

fn byte(file: &mut impl Read) -> io::Result<u8> {
    let mut one = [0];
    file.read_exact(&mut one).map(|()| one[0])
}

/// The file with `metadata` in place of its comments, XMP and ICC.
pub(super) fn embed(bytes: &[u8], metadata: &Metadata) -> Result<Vec<u8>, ImagingError> {
    let damaged = || ImagingError::damaged("GIF", "its blocks cannot be followed");
    let head = bytes.get(10).map(|flags| 13 + colour_table(*flags)).ok_or_else(damaged)?;
    let mut out = bytes.get(..head).ok_or_else(damaged)?.to_vec();
    // Comments are of the later version.
    out[3..6].copy_from_slice(b"89a");
    out.extend(written(metadata)?);
    let mut end = head;
    for block in blocks(bytes) {
        let application = bytes.get(block.data + 1..block.data + 12).unwrap_or_default();
        let ours = block.kind == 0xfe || (block.kind == 0xff && (application == XMP || application == ICC));
        if !ours {
            out.extend_from_slice(&bytes[block.start..block.end]);
        }
        end = block.end;
    }
    if bytes.get(end) != Some(&0x3b) {
        return Err(damaged());
    }
    out.push(0x3b);
    Ok(out)
}

/// The extensions that hold `metadata`, to stand after the header.
pub(crate) fn written(metadata: &Metadata) -> Result<Vec<u8>, ImagingError> {
    let mut out = Vec::new();
    if let Some(icc) = &metadata.icc {
        out.extend([0x21, 0xff, 11]);
        out.extend(ICC);
        write_sub_blocks(&mut out, icc);
    }
    if let Some(xmp) = &metadata.xmp {
        // The packet stands as it is; a reader that takes it for sub-blocks is caught by the trailer.
        out.extend([0x21, 0xff, 11]);
        out.extend(XMP);
        out.extend(xmp.bytes().filter(|b| *b != 0));
        out.push(1);
        out.extend((0..=255u8).rev());
        out.push(0);
    }
    let kept = |e: &&TextEntry| e.keyword == "Comment" || e.keyword == crate::metadata::PARAMETERS;
    for entry in metadata.text.iter().filter(kept) {
        out.extend([0x21, 0xfe]);
        write_sub_blocks(&mut out, entry.text.as_bytes());
    }
    Ok(out)
}

fn write_sub_blocks(out: &mut Vec<u8>, data: &[u8]) {
    for part in data.chunks(255) {
        out.push(part.len() as u8);
        out.extend(part);
    }
    out.push(0);
}

/// Bytes of the colour table that packed flags announce.
fn colour_table(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

/// The end of a chain of sub-blocks.
fn skip(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        let length = usize::from(*bytes.get(at)?);
        at += 1 + length;
        if length == 0 {
            return (at <= bytes.len()).then_some(at);
        }
    }
}

/// The first `keep` bytes of a chain of sub-blocks.
fn gather(bytes: &[u8], mut at: usize, keep: usize) -> Vec<u8> {
    let mut data = Vec::new();
    while let Some(length) = bytes.get(at).map(|length| usize::from(*length)).filter(|length| *length > 0) {
        let Some(block) = bytes.get(at + 1..at + 1 + length) else { break };
        data.extend_from_slice(&block[..length.min(keep - data.len())]);
        at += 1 + length;
    }
    data
}
