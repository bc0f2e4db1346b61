//! Text, EXIF, XMP and ICC blocks in picture files, read and written without touching the pixels.

mod avif;
mod bmp;
mod exif_block;
mod gif;
mod jpeg;
mod png;
mod tiff;
mod webp;

use crate::animation::Plays;
use crate::exif::ExifView;
use crate::{DecodeLimits, Format, ImagingError, Metadata, Warning};

/// More text entries than this in one file are not read.
const MOST_ENTRIES: usize = 1024;

/// What is read of a file beside its pixels, and what had to be left out.
#[derive(Default)]
pub(crate) struct Reading {
    pub(crate) metadata: Metadata,
    pub(crate) warnings: Vec<Warning>,
}

impl Reading {
    /// Keeps a block unless it is over the limit.
    fn bounded(&mut self, block: &[u8], limits: &DecodeLimits, what: &str) -> Option<Vec<u8>> {
        if block.len() <= limits.max_metadata_bytes {
            return Some(block.to_vec());
        }
        self.leave_out(what, "it is larger than allowed");
        None
    }

    fn leave_out(&mut self, what: &str, reason: &'static str) {
        // As many lines as a person would read.
        if self.warnings.len() < 16 {
            self.warnings.push(Warning::left_out(what, reason));
        }
    }
}

/// Reads what a file says beside its pixels. Damage ends the reading: what stood before it is returned.
pub fn read_metadata(format: Format, bytes: &[u8], limits: &DecodeLimits) -> Metadata {
    read_noting(format, bytes, limits).metadata
}

/// As [`read_metadata`], with what was left out.
pub(crate) fn read_noting(format: Format, bytes: &[u8], limits: &DecodeLimits) -> Reading {
    let mut reading = Reading::default();
    match format {
        Format::Png => png::read(bytes, limits, &mut reading),
        Format::Jpeg => jpeg::read(bytes, limits, &mut reading),
        Format::WebP => webp::read(bytes, limits, &mut reading),
        Format::Gif => gif::read(bytes, limits, &mut reading),
        Format::Tiff => tiff::read(bytes, limits, &mut reading),
        Format::Bmp => bmp::read(bytes, limits, &mut reading),
        Format::Avif => avif::read(bytes, limits, &mut reading),
    };
    if reading.metadata.exif.as_deref().is_some_and(|block| ExifView::parse(block).is_none()) {
        reading.metadata.exif = None;
        reading.leave_out("EXIF block", "it is damaged");
    }
    reading
}

/// How many frames a file has (counted up to two for GIF and WebP) and how often they are shown; one for a still picture.
pub(crate) fn frames_of(format: Format, bytes: &[u8]) -> (u32, Plays) {
    let plays = |n: u32| if n == 0 { Plays::Forever } else { Plays::Times(n) };
    match format {
        Format::Png => png::animation(bytes).map_or((1, Plays::Times(1)), |(frames, n)| (frames, plays(n))),
        Format::WebP => webp::animation(bytes).map_or((1, Plays::Times(1)), |(frames, n)| (frames, plays(n))),
        Format::Gif => match gif::animation(bytes) {
            (frames, None) => (frames, Plays::Times(1)),
            (frames, Some(0)) => (frames, Plays::Forever),
            // The number counts repetitions after the first showing.
            (frames, Some(n)) => (frames, Plays::Times(u32::from(n) + 1)),
        },
        Format::Jpeg | Format::Bmp | Format::Tiff | Format::Avif => (1, Plays::Times(1)),
    }
}

/// Whether a GIF has a second frame; one that cannot be read has none.
pub(crate) fn gif_moves(path: &std::path::Path) -> bool {
    std::fs::File::open(path).is_ok_and(|file| gif::moves(&mut std::io::BufReader::new(file)).unwrap_or(false))
}

/// True when a C2PA manifest stands in the file; nothing in it is verified.
pub fn has_content_credentials(format: Format, bytes: &[u8]) -> bool {
    match format {
        Format::Png => png::has_chunk(bytes, b"caBX"),
        Format::Jpeg => jpeg::has_c2pa(bytes),
        Format::WebP => webp::has_chunk(bytes, b"C2PA"),
        Format::Gif | Format::Bmp | Format::Tiff | Format::Avif => false,
    }
}

/// Writes `metadata` into an encoded file in place of what it said before; the pixels are copied as they are.
///
/// # Errors
/// [`ImagingError::Encode`] when a block does not fit the format, [`ImagingError::Damaged`] when `bytes` is no file
/// of it, [`ImagingError::Unsupported`] for BMP and TIFF, whose metadata goes with the pixels, and for AVIF.
pub fn embed_metadata(format: Format, bytes: &[u8], metadata: &Metadata) -> Result<Vec<u8>, ImagingError> {
    match format {
        Format::Png => png::embed(bytes, metadata),
        Format::Jpeg => jpeg::embed(bytes, metadata),
        Format::WebP => webp::embed(bytes, metadata),
        Format::Gif => gif::embed(bytes, metadata),
        Format::Avif => {
            let reason = "it is read only".to_owned();
            Err(ImagingError::Unsupported { format: format.name(), reason })
        }
        Format::Bmp | Format::Tiff => {
            let reason = "its metadata is written together with its pixels only".to_owned();
            Err(ImagingError::Unsupported { format: format.name(), reason })
        }
    }
}

pub(crate) use avif::{AvifFile, CodePoints, is_avif};
use exif_block::exif_with_infotext;
pub(crate) use exif_block::{ExifEntry, ExifParts, exif_for};
pub(crate) use gif::written as gif_blocks;
pub(crate) use jpeg::quantisation as jpeg_quantisation;
pub(crate) use jpeg::{blocks as jpeg_blocks, check_whole as check_jpeg, frame_size as jpeg_frame_size};
pub(crate) use png::{blocks as png_blocks, metadata_chunks as png_chunks};
pub(crate) use webp::{chunk as webp_chunk, finish as finish_webp, still_chunks as webp_still_chunks};

/// UTF-8 where it is valid (writers put it into Latin-1 fields too), else Latin-1.
fn text_of(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&b| char::from(b)).collect(),
    }
}
