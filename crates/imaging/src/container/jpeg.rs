//! JPEG segments APP1 (Exif, XMP), APP2 (ICC) and COM (ITU T.81 Annex B; Exif 2.32; ICC.1 Annex B.4).

use super::{MOST_ENTRIES, Reading, exif_with_infotext, text_of};
use crate::{DecodeLimits, ImagingError, Metadata, TextEntry};

const EXIF: &[u8] = b"Exif\0\0";
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
const ICC: &[u8] = b"ICC_PROFILE\0";
/// Payload of one segment: the two-byte length counts itself.
const LONGEST: usize = 65_533;

const APP0: u8 = 0xe0;
const APP1: u8 = 0xe1;
const APP2: u8 = 0xe2;
const DQT: u8 = 0xdb;
const COM: u8 = 0xfe;

/// One header segment; `end` is where the next begins.
struct Segment<'a> {
    marker: u8,
    data: &'a [u8],
    start: usize,
    end: usize,
}

/// The segments between SOI and the first scan.
fn segments(bytes: &[u8]) -> impl Iterator<Item = Segment<'_>> {
    let mut at = if bytes.starts_with(&[0xff, 0xd8]) { 2 } else { bytes.len() };
    std::iter::from_fn(move || {
        // A marker may be preceded by any number of fill bytes.
        let start = at;
        if bytes.get(at) != Some(&0xff) {
            return None;
        }
        while bytes.get(at + 1) == Some(&0xff) {
            at += 1;
        }
        let marker = *bytes.get(at + 1)?;
        if matches!(marker, 0x00 | 0xd9 | 0xda) {
            return None;
        }
        if matches!(marker, 0x01 | 0xd0..=0xd8) {
            at += 2;
            return Some(Segment { marker, data: &[], start, end: at });
        }
        let length = usize::from(u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?]));
        let data = bytes.get(at + 4..at + 2 + length)?;
        at += 2 + length;
        Some(Segment { marker, data, start, end: at })
    })
}

pub(super) fn read(bytes: &[u8], limits: &DecodeLimits, reading: &mut Reading) -> Option<()> {
    let mut profile: Vec<(u8, &[u8])> = Vec::new();
    let mut left = limits.max_metadata_bytes;
    for segment in segments(bytes) {
        match segment.marker {
            APP1 => {
                if let Some(exif) = segment.data.strip_prefix(EXIF).filter(|_| reading.metadata.exif.is_none()) {
                    reading.metadata.exif = reading.bounded(exif, limits, "EXIF block");
                } else if let Some(xmp) = segment.data.strip_prefix(XMP).filter(|_| reading.metadata.xmp.is_none()) {
                    reading.metadata.xmp = Some(text_of(xmp));
                }
            }
            APP2 => {
                if let Some([number, _count, part @ ..]) = segment.data.strip_prefix(ICC) {
                    profile.push((*number, part));
                }
            }
            COM if reading.metadata.text.len() < MOST_ENTRIES && segment.data.len() <= left => {
                left -= segment.data.len();
                let text = text_of(segment.data).trim_end_matches('\0').to_owned();
                reading.metadata.text.push(TextEntry { keyword: "Comment".to_owned(), text });
            }
            _ => {}
        }
    }
    profile.sort_by_key(|(number, _)| *number);
    let profile: Vec<u8> = profile.into_iter().flat_map(|(_, part)| part.iter().copied()).collect();
    if !profile.is_empty() {
        reading.metadata.icc = reading.bounded(&profile, limits, "ICC profile");
    }
    Some(())
}

/// The marker of the frame (0xc0 baseline, 0xc2 progressive, 0xc3 lossless …), its width and height.
pub(crate) fn frame_size(bytes: &[u8]) -> Option<(u8, u16, u16)> {
    let frame = segments(bytes).find(|s| matches!(s.marker, 0xc0..=0xcf) && !matches!(s.marker, 0xc4 | 0xc8 | 0xcc))?;
    let side = |at: usize| Some(u16::from_be_bytes([*frame.data.get(at)?, *frame.data.get(at + 1)?]));
    Some((frame.marker, side(3)?, side(1)?))
}

/// The quantisation table of every component in the order of the frame, as far as they stand before the first scan; values in
/// the order of the file.
pub(crate) fn quantisation(bytes: &[u8]) -> Vec<[u16; 64]> {
    let mut tables: [Option<[u16; 64]>; 4] = [None; 4];
    let mut components = Vec::new();
    for segment in segments(bytes) {
        match segment.marker {
            DQT => read_tables(segment.data, &mut tables),
            0xc0..=0xc2 => {
                let count = usize::from(segment.data.get(5).copied().unwrap_or(0));
                let of = |component: &[u8]| usize::from(component[2] & 3);
                components = segment.data.get(6..).unwrap_or_default().chunks_exact(3).take(count).map(of).collect();
            }
            _ => {}
        }
    }
    components.into_iter().map_while(|at: usize| tables[at]).collect()
}

fn read_tables(mut data: &[u8], tables: &mut [Option<[u16; 64]>; 4]) {
    while let Some((head, rest)) = data.split_first() {
        let wide = head >> 4 != 0;
        let Some((values, rest)) = rest.split_at_checked(if wide { 128 } else { 64 }) else { return };
        let mut table = [0; 64];
        for (at, value) in table.iter_mut().enumerate() {
            *value = if wide { u16::from_be_bytes([values[2 * at], values[2 * at + 1]]) } else { values[at].into() };
        }
        tables[usize::from(head & 3)] = Some(table);
        data = rest;
    }
}

/// Refuses what the decoder would show wrongly: a file that is cut off (it has no end mark after the first scan, and the
/// rest of its pixels would be grey) and arithmetic coding.
pub(crate) fn check_whole(bytes: &[u8]) -> Result<(), ImagingError> {
    let mut headers_end = 2;
    for segment in segments(bytes) {
        if matches!(segment.marker, 0xc9..=0xcf) {
            let reason = "arithmetic coding; save it as a baseline or progressive JPEG".to_owned();
            return Err(ImagingError::Unsupported { format: "JPEG", reason });
        }
        headers_end = segment.end;
    }
    let scan = bytes.get(headers_end..).unwrap_or_default();
    if scan.windows(2).any(|pair| pair == [0xff, 0xd9]) {
        Ok(())
    } else {
        Err(ImagingError::damaged("JPEG", "the file is cut off: it has no end mark"))
    }
}

/// A JUMBF superbox labelled `c2pa` in APP11.
pub(super) fn has_c2pa(bytes: &[u8]) -> bool {
    let labelled = |data: &[u8]| data.windows(4).take(128).any(|label| label == b"c2pa");
    segments(bytes).any(|segment| segment.marker == 0xeb && labelled(segment.data))
}

pub(super) fn embed(bytes: &[u8], metadata: &Metadata) -> Result<Vec<u8>, ImagingError> {
    if !bytes.starts_with(&[0xff, 0xd8]) {
        return Err(ImagingError::damaged("JPEG", "it does not begin with SOI"));
    }
    let mut out = vec![0xff, 0xd8];
    let mut copied = 2;
    let mut written = false;
    for segment in segments(bytes) {
        // JFIF wants its APP0 first; everything else comes after our blocks.
        if segment.marker != APP0 && !written {
            write_blocks(&mut out, metadata)?;
            written = true;
        }
        let ours = match segment.marker {
            APP1 => segment.data.starts_with(EXIF) || segment.data.starts_with(XMP),
            APP2 => segment.data.starts_with(ICC),
            COM => true,
            _ => false,
        };
        if !ours {
            out.extend_from_slice(&bytes[segment.start..segment.end]);
        }
        copied = segment.end;
    }
    if !written {
        write_blocks(&mut out, metadata)?;
    }
    out.extend_from_slice(&bytes[copied..]);
    Ok(out)
}

/// The segments that hold `metadata`, to stand after JFIF's.
pub(crate) fn blocks(metadata: &Metadata) -> Result<Vec<u8>, ImagingError> {
    let mut out = Vec::new();
    write_blocks(&mut out, metadata)?;
    Ok(out)
}

fn write_blocks(out: &mut Vec<u8>, metadata: &Metadata) -> Result<(), ImagingError> {
    if let Some(exif) = exif_with_infotext(metadata)? {
        write_segment(
            out,
            APP1,
            &[EXIF, exif.strip_prefix(EXIF).unwrap_or(&exif)].concat(),
            "generation text or EXIF",
        )?;
    }
    if let Some(xmp) = &metadata.xmp {
        write_segment(out, APP1, &[XMP, xmp.as_bytes()].concat(), "XMP")?;
    }
    if let Some(icc) = &metadata.icc {
        let parts = icc.chunks(LONGEST - ICC.len() - 2);
        let count = u8::try_from(parts.len())
            .map_err(|_| too_long("ICC profile", icc.len(), 255 * (LONGEST - ICC.len() - 2)))?;
        for (number, part) in (1..=count).zip(parts) {
            write_segment(out, APP2, &[ICC, &[number, count], part].concat(), "ICC profile")?;
        }
    }
    for entry in metadata.text.iter().filter(|e| e.keyword == "Comment") {
        write_segment(out, COM, entry.text.as_bytes(), "comment")?;
    }
    Ok(())
}

fn write_segment(out: &mut Vec<u8>, marker: u8, data: &[u8], what: &str) -> Result<(), ImagingError> {
    if data.len() > LONGEST {
        return Err(too_long(what, data.len(), LONGEST));
    }
    out.extend([0xff, marker]);
    out.extend((data.len() as u16 + 2).to_be_bytes());
    out.extend_from_slice(data);
    Ok(())
}

fn too_long(what: &str, length: usize, limit: usize) -> ImagingError {
    ImagingError::Encode {
        format: "JPEG",
        reason: format!("its {what} takes {length} bytes and a JPEG holds {limit}; write a PNG instead"),
    }
}
