//! Bitmaps of 24 bits without compression: rows of a known length, mostly from the bottom up.

use std::io::{self, Read, Seek, SeekFrom};

use super::{Input, RowSource, Stream, append, row_values};
use crate::{Channels, DecodeLimits, Depth, ImagingError, Samples};

/// File header and the longest picture header.
const HEADERS: u64 = 14 + 124;
/// Lengths of the picture headers that say the same at the same places.
const KNOWN_HEADERS: [u32; 5] = [40, 52, 56, 108, 124];
/// Where the header of the picture and its profile are told.
const INFO: usize = 14;
const PROFILE: usize = INFO + 112;

/// The headers, and the profile right after them.
pub(super) fn outline(input: &mut dyn Input, length: u64, limits: &DecodeLimits) -> io::Result<Vec<u8>> {
    input.rewind()?;
    let mut out = Vec::new();
    append(input, HEADERS, &mut out)?;
    let (Some(start), Some(bytes)) = (word(&out, PROFILE), word(&out, PROFILE + 4)) else { return Ok(out) };
    let start = INFO as u64 + u64::from(start);
    if word(&out, INFO) != Some(124) || start < HEADERS || start + u64::from(bytes) > length {
        return Ok(out);
    }
    input.seek(SeekFrom::Start(start))?;
    // One more than the limit is enough to be refused.
    let kept = u64::from(bytes).min(limits.max_metadata_bytes as u64 + 1);
    out[PROFILE..PROFILE + 4].copy_from_slice(&124u32.to_le_bytes());
    out[PROFILE + 4..PROFILE + 8].copy_from_slice(&(kept as u32).to_le_bytes());
    append(input, kept, &mut out)?;
    Ok(out)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// `None` when the file must be decoded whole; so must a file that is cut off, to be refused.
pub(super) fn stream(
    input: Box<dyn Input>,
    outline: &[u8],
    length: u64,
    limits: &DecodeLimits,
) -> Result<Option<Stream>, ImagingError> {
    let known = || {
        let short = |at: usize| Some(u16::from_le_bytes([*outline.get(at)?, *outline.get(at + 1)?]));
        let plain = short(INFO + 12)? == 1 && short(INFO + 14)? == 24 && word(outline, INFO + 16)? == 0;
        let header = KNOWN_HEADERS.contains(&word(outline, INFO)?);
        let (width, height) = (word(outline, INFO + 4)? as i32, word(outline, INFO + 8)? as i32);
        let sound = plain && header && width > 0 && height != 0 && height != i32::MIN;
        sound.then_some((word(outline, 10)?, width as u32, height.unsigned_abs(), height < 0))
    };
    let Some((start, width, height, top_down)) = known() else { return Ok(None) };
    limits.check_size(width, height)?;
    let stride = (u64::from(width) * 3).next_multiple_of(4);
    let Some(row) = row_values(width, Channels::Rgb) else { return Ok(None) };
    if u64::from(start) + stride * u64::from(height) > length {
        return Ok(None);
    }
    let rows = Box::new(BmpRows { input, start: u64::from(start), stride, row, height, top_down, next: 0 });
    Ok(Some(Stream { width, height, channels: Channels::Rgb, depth: Depth::Eight, rows }))
}

struct BmpRows {
    input: Box<dyn Input>,
    start: u64,
    /// Bytes from one row to the next, and values of one.
    stride: u64,
    row: usize,
    height: u32,
    top_down: bool,
    next: u32,
}

impl RowSource for BmpRows {
    fn next_rows(&mut self, rows: u32) -> Result<Samples, ImagingError> {
        let mut values = vec![0; self.row.saturating_mul(rows as usize)];
        for row in values.chunks_exact_mut(self.row) {
            let place = if self.top_down { self.next } else { self.height - 1 - self.next };
            let at = self.start + self.stride * u64::from(place);
            let read = self.input.seek(SeekFrom::Start(at)).and_then(|_| self.input.read_exact(row));
            read.map_err(|e| ImagingError::damaged("BMP", e.to_string()))?;
            row.chunks_exact_mut(3).for_each(<[u8]>::reverse);
            self.next += 1;
        }
        Ok(Samples::U8(values))
    }
}
