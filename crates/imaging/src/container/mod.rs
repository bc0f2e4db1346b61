//! Text, EXIF, XMP and ICC blocks in picture files, read and written without touching the pixels.

mod gif;
mod jpeg;
mod png;
mod tiff;
mod webp;

use crate::{DecodeLimits, Format, ImagingError, Metadata};

/// More text entries than this in one file are not read.
const MOST_ENTRIES: usize = 1024;

/// Reads what a file says beside its pixels. Damage ends the reading: what stood before it is returned.
pub fn read_metadata(format: Format, bytes: &[u8], limits: &DecodeLimits) -> Metadata {
    let mut metadata = Metadata::default();
    match format {
        Format::Png => png::read(bytes, limits, &mut metadata),
        Format::Jpeg => jpeg::read(bytes, limits, &mut metadata),
        Format::WebP => webp::read(bytes, limits, &mut metadata),
        Format::Gif => gif::read(bytes, limits, &mut metadata),
        Format::Tiff => tiff::read(bytes, limits, &mut metadata),
        Format::Bmp => None,
    };
    metadata
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

/// Keeps a block unless it is over the limit.
fn bounded(block: &[u8], limits: &DecodeLimits) -> Option<Vec<u8>> {
    (block.len() <= limits.max_metadata_bytes).then(|| block.to_vec())
}

/// UTF-8 where it is valid (writers put it into Latin-1 fields too), else Latin-1.
fn text_of(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&b| char::from(b)).collect(),
    }
}
