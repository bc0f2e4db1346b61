//! PNG without interlacing, through the `png` crate's rows.

use std::io;

use super::{Input, RowSource, Stream, append, row_values, skip};
use crate::decode::HIGHEST_DEFLATE_RATIO;
use crate::{Channels, DecodeLimits, Depth, ImagingError, Samples};

const SIGNATURE: [u8; 8] = [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a];
/// Where IHDR says how the rows are interlaced.
const INTERLACE: usize = 8 + 8 + 12;
/// What the decoder may take beside its rows.
const SLACK: usize = 64 << 20;
/// The chunks that an outline keeps.
const KEPT: [&[u8; 4]; 8] = [b"IHDR", b"acTL", b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"iCCP", b"IEND"];

/// The file without its pixels: the chunks that metadata is read from, those beyond the limit cut, so that they are refused
/// as they would be whole.
pub(super) fn outline(input: &mut dyn Input, length: u64, limits: &DecodeLimits) -> io::Result<Vec<u8>> {
    input.rewind()?;
    let mut out = Vec::new();
    append(input, 8, &mut out)?;
    let most = limits.max_metadata_bytes.saturating_add(128);
    // What passes this in sum is beyond the limit for texts too.
    let mut budget = most.saturating_mul(4);
    let mut at = 8u64;
    let mut pixels = false;
    loop {
        let mut head = [0; 8];
        if length < at + 12 || input.read_exact(&mut head).is_err() {
            break;
        }
        let [a, b, c, d, kind @ ..] = head;
        let data = u32::from_be_bytes([a, b, c, d]);
        let end = at + 12 + u64::from(data);
        if end > length {
            break;
        }
        at = end;
        if !KEPT.contains(&&kind) {
            skip(input, u64::from(data) + 4)?;
            // One empty chunk stands for all pixels: what comes before them counts differently.
            if kind == *b"IDAT" && !std::mem::replace(&mut pixels, true) {
                out.extend([0; 4].into_iter().chain(kind).chain([0; 4]));
            }
            continue;
        }
        let kept = (data as usize).min(most).min(budget.max(128));
        budget -= kept.min(budget);
        out.extend((kept as u32).to_be_bytes());
        out.extend(kind);
        append(input, kept as u64, &mut out)?;
        out.extend([0; 4]);
        skip(input, u64::from(data) - kept as u64 + 4)?;
        if kind == *b"IEND" {
            break;
        }
    }
    Ok(out)
}

/// `None` when the file must be decoded whole.
pub(super) fn stream(
    input: Box<dyn Input>,
    outline: &[u8],
    length: u64,
    limits: &DecodeLimits,
) -> Result<Option<Stream>, ImagingError> {
    let animated = outline.starts_with(&SIGNATURE) && outline.windows(4).any(|kind| kind == b"acTL");
    if animated || outline.get(INTERLACE) != Some(&0) {
        return Ok(None);
    }
    let mut decoder = png::Decoder::new_with_limits(input, png::Limits { bytes: SLACK });
    // What it says beside its pixels is read from the outline.
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let (width, height) = decoder.read_header_info().map_err(failed)?.size();
    limits.check_size(width, height)?;
    decoder.set_transformations(png::Transformations::EXPAND);
    let reader = decoder.read_info().map_err(failed)?;
    let (colour, bits) = reader.output_color_type();
    let channels = match colour {
        png::ColorType::Grayscale => Channels::Grey,
        png::ColorType::GrayscaleAlpha => Channels::GreyAlpha,
        png::ColorType::Rgb => Channels::Rgb,
        png::ColorType::Rgba => Channels::Rgba,
        png::ColorType::Indexed => return Ok(None),
    };
    let depth = match bits {
        png::BitDepth::Eight => Depth::Eight,
        png::BitDepth::Sixteen => Depth::Sixteen,
        _ => return Ok(None),
    };
    let Some(row) = row_values(width, channels).and_then(|row| row.checked_mul(depth.bytes())) else { return Ok(None) };
    if (row as u64).saturating_mul(u64::from(height)) / HIGHEST_DEFLATE_RATIO > length.saturating_mul(8) {
        return Err(ImagingError::damaged("PNG", format!("{length} bytes cannot hold {width}x{height} pixels")));
    }
    let rows = Box::new(PngRows { reader, row, depth, left: height });
    Ok(Some(Stream { width, height, channels, depth, rows }))
}

struct PngRows {
    reader: png::Reader<Box<dyn Input>>,
    /// Bytes of one row.
    row: usize,
    depth: Depth,
    left: u32,
}

impl RowSource for PngRows {
    fn next_rows(&mut self, rows: u32) -> Result<Samples, ImagingError> {
        let missing = || ImagingError::damaged("PNG", "it has fewer rows than it says");
        let mut bytes = vec![0; self.row.checked_mul(rows as usize).ok_or_else(missing)?];
        for row in bytes.chunks_exact_mut(self.row) {
            self.reader.read_row(row).map_err(failed)?.ok_or_else(missing)?;
            self.left -= 1;
        }
        // The end of the stream holds a checksum over all of it.
        if self.left == 0 && self.reader.read_row(&mut vec![0; self.row]).map_err(failed)?.is_some() {
            return Err(ImagingError::damaged("PNG", "it has more rows than it says"));
        }
        Ok(match self.depth {
            Depth::Eight => Samples::U8(bytes),
            Depth::Sixteen => Samples::U16(bytes.chunks_exact(2).map(|p| u16::from_be_bytes([p[0], p[1]])).collect()),
        })
    }
}

fn failed(error: png::DecodingError) -> ImagingError {
    match error {
        png::DecodingError::IoError(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
            ImagingError::damaged("PNG", "the file is cut off")
        }
        other => ImagingError::damaged("PNG", other.to_string()),
    }
}
