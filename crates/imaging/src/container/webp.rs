//! WebP chunks EXIF, `XMP ` and ICCP (WebP container specification; RFC 9649).

use super::{Reading, exif_with_infotext, text_of};
use crate::{DecodeLimits, ImagingError, Metadata};

const FLAG_ICC: u8 = 0x20;
const FLAG_ALPHA: u8 = 0x10;
const FLAG_EXIF: u8 = 0x08;
const FLAG_XMP: u8 = 0x04;

/// The chunks after the RIFF header: four-letter kind and data.
fn chunks(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let is_webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    let mut rest = if is_webp { &bytes[12..] } else { &[][..] };
    std::iter::from_fn(move || {
        let (kind, after) = rest.split_first_chunk::<4>()?;
        let (length, after) = after.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let data = after.get(..length)?;
        // Chunks are padded to even length; the last pad byte is often missing.
        rest = after.get(length + (length & 1)..).unwrap_or_default();
        Some((*kind, data))
    })
}

pub(super) fn read(bytes: &[u8], limits: &DecodeLimits, reading: &mut Reading) -> Option<()> {
    for (kind, data) in chunks(bytes) {
        match &kind {
            b"EXIF" if reading.metadata.exif.is_none() => {
                let data = data.strip_prefix(b"Exif\0\0").unwrap_or(data);
                reading.metadata.exif = reading.bounded(data, limits, "EXIF block");
            }
            b"XMP " if reading.metadata.xmp.is_none() => {
                reading.metadata.xmp = reading.bounded(data, limits, "XMP packet").map(|packet| text_of(&packet));
            }
            b"ICCP" if reading.metadata.icc.is_none() => {
                reading.metadata.icc = reading.bounded(data, limits, "ICC profile");
            }
            _ => {}
        }
    }
    Some(())
}

pub(super) fn has_chunk(bytes: &[u8], kind: &[u8; 4]) -> bool {
    chunks(bytes).any(|(found, _)| found == *kind)
}

/// Frames and showings of an animated file; `None` when it is still.
pub(super) fn animation(bytes: &[u8]) -> Option<(u32, u32)> {
    let animation = chunks(bytes).find(|(kind, _)| kind == b"ANIM")?.1;
    let frames = chunks(bytes).filter(|(kind, _)| kind == b"ANMF").count() as u32;
    Some((frames, u32::from(u16::from_le_bytes([*animation.get(4)?, *animation.get(5)?]))))
}

pub(super) fn embed(bytes: &[u8], metadata: &Metadata) -> Result<Vec<u8>, ImagingError> {
    let damaged = || ImagingError::damaged("WebP", "its chunks cannot be followed");
    let exif = exif_with_infotext(metadata)?;
    let mut header = extended_header(bytes).ok_or_else(damaged)?;
    header[0] &= !(FLAG_ICC | FLAG_EXIF | FLAG_XMP);
    for (flag, present) in
        [(FLAG_ICC, metadata.icc.is_some()), (FLAG_EXIF, exif.is_some()), (FLAG_XMP, metadata.xmp.is_some())]
    {
        if present {
            header[0] |= flag;
        }
    }
    let mut out = b"RIFF\0\0\0\0WEBP".to_vec();
    write_chunk(&mut out, b"VP8X", &header)?;
    if let Some(icc) = &metadata.icc {
        write_chunk(&mut out, b"ICCP", icc)?;
    }
    for (kind, data) in chunks(bytes).filter(|(kind, _)| !matches!(kind, b"VP8X" | b"ICCP" | b"EXIF" | b"XMP ")) {
        write_chunk(&mut out, &kind, data)?;
    }
    if let Some(exif) = exif {
        write_chunk(&mut out, b"EXIF", &exif)?;
    }
    if let Some(xmp) = &metadata.xmp {
        write_chunk(&mut out, b"XMP ", xmp.as_bytes())?;
    }
    finish(&mut out)?;
    Ok(out)
}

/// Writes the length of the whole into the header of a file that begins with `RIFF`.
pub(crate) fn finish(file: &mut [u8]) -> Result<(), ImagingError> {
    let length = u32::try_from(file.len() - 8).map_err(|_| too_long(file.len()))?;
    file[4..8].copy_from_slice(&length.to_le_bytes());
    Ok(())
}

/// The chunks with the pixels of a still file, as a frame of an animation holds them.
pub(crate) fn still_chunks(bytes: &[u8]) -> Result<Vec<u8>, ImagingError> {
    let mut out = Vec::new();
    for (kind, data) in chunks(bytes).filter(|(kind, _)| matches!(kind, b"ALPH" | b"VP8 " | b"VP8L")) {
        write_chunk(&mut out, &kind, data)?;
    }
    Ok(out)
}

/// One chunk with its header.
pub(crate) fn chunk(kind: &[u8; 4], data: &[u8]) -> Result<Vec<u8>, ImagingError> {
    let mut out = Vec::new();
    write_chunk(&mut out, kind, data)?;
    Ok(out)
}

/// The VP8X payload of the file, or one made from its VP8 or VP8L bitstream: flags, three reserved bytes, and width
/// and height less one in 24 bits each.
fn extended_header(bytes: &[u8]) -> Option<[u8; 10]> {
    let (kind, data) = chunks(bytes).next()?;
    let (width, height, alpha) = match &kind {
        b"VP8X" => return data.get(..10)?.try_into().ok(),
        b"VP8L" => {
            let bits = u32::from_le_bytes(data.strip_prefix(&[0x2f])?.get(..4)?.try_into().ok()?);
            (bits & 0x3fff, (bits >> 14) & 0x3fff, bits >> 28 & 1 == 1)
        }
        b"VP8 " => {
            let size = data.get(3..)?.strip_prefix(&[0x9d, 0x01, 0x2a])?;
            let side = |at: usize| Some(u32::from(u16::from_le_bytes([*size.get(at)?, *size.get(at + 1)?]) & 0x3fff));
            (side(0)?.checked_sub(1)?, side(2)?.checked_sub(1)?, false)
        }
        _ => return None,
    };
    let mut header = [0; 10];
    header[0] = if alpha { FLAG_ALPHA } else { 0 };
    header[4..7].copy_from_slice(&width.to_le_bytes()[..3]);
    header[7..10].copy_from_slice(&height.to_le_bytes()[..3]);
    Some(header)
}

fn write_chunk(out: &mut Vec<u8>, kind: &[u8; 4], data: &[u8]) -> Result<(), ImagingError> {
    let length = u32::try_from(data.len()).map_err(|_| too_long(data.len()))?;
    out.extend(kind);
    out.extend(length.to_le_bytes());
    out.extend(data);
    if data.len() % 2 == 1 {
        out.push(0);
    }
    Ok(())
}

fn too_long(length: usize) -> ImagingError {
    ImagingError::Encode { format: "WebP", reason: format!("{length} bytes do not fit into one file") }
}
