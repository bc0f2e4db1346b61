//! Text, EXIF, XMP and ICC blocks in picture files, read and written without touching the pixels.

mod gif;
mod jpeg;
mod png;
mod tiff;
mod webp;

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
            self.warnings.push(Warning::LeftOut { what: what.to_owned(), reason });
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
        Format::Bmp => None,
    };
    if reading.metadata.exif.as_deref().is_some_and(|block| ExifView::parse(block).is_none()) {
        reading.metadata.exif = None;
        reading.leave_out("EXIF block", "it is damaged");
    }
    reading
}

/// True when a C2PA manifest stands in the file; nothing in it is verified.
pub fn has_content_credentials(format: Format, bytes: &[u8]) -> bool {
    match format {
        Format::Png => png::has_chunk(bytes, b"caBX"),
        Format::Jpeg => jpeg::has_c2pa(bytes),
        Format::WebP => webp::has_chunk(bytes, b"C2PA"),
        Format::Gif | Format::Bmp | Format::Tiff => false,
    }
}

/// Writes `metadata` into an encoded file in place of what it said before; the pixels are copied as they are.
///
/// # Errors
/// [`ImagingError::Encode`] when a block does not fit the format, [`ImagingError::Damaged`] when `bytes` is no file
/// of it, [`ImagingError::Unsupported`] for formats that are only read.
pub fn embed_metadata(format: Format, bytes: &[u8], metadata: &Metadata) -> Result<Vec<u8>, ImagingError> {
    match format {
        Format::Png => png::embed(bytes, metadata),
        Format::Jpeg => jpeg::embed(bytes, metadata),
        Format::WebP => webp::embed(bytes, metadata),
        Format::Gif | Format::Bmp | Format::Tiff => {
            Err(ImagingError::Unsupported { format: format.name(), reason: "it is only read, not written".to_owned() })
        }
    }
}

/// The EXIF block to write where there are no text chunks: the UserComment with the generation parameters, else the
/// block the picture came with.
fn exif_with_infotext(metadata: &Metadata) -> Option<Vec<u8>> {
    match metadata.text(crate::metadata::PARAMETERS) {
        Some(text) => Some(crate::exif::user_comment_block(text)),
        None => metadata.exif.clone(),
    }
}

pub(crate) use jpeg::check_whole as check_jpeg;

/// UTF-8 where it is valid (writers put it into Latin-1 fields too), else Latin-1.
fn text_of(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&b| char::from(b)).collect(),
    }
}
