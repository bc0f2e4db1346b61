//! From a picture to the bytes of a file, with its metadata: at once, or row by row while the rest is still computed.

mod bmp;
mod feed;
mod gif;
mod insert;
mod jpeg;
mod png;
mod rows;
mod tiff;
mod webp;

use std::io::{Cursor, Seek, Write};
use std::path::Path;

pub use rows::{RowFile, RowWriter};

pub(crate) use gif::{indexed as gif_frame, size as gif_size};
pub(crate) use webp::lossless as webp_lossless;

use crate::save::write_atomic;
use crate::{Channels, DeepPicture, Depth, Format, ImagingError, Metadata, Picture, SamplesRef};
use feed::RowFeed;

/// Choices of an encoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EncodeOptions {
    /// JPEG quality, 1…100.
    pub jpeg_quality: u8,
    /// Quality of a lossy WebP, 0…100; `None` writes it lossless.
    pub webp_quality: Option<u8>,
    /// What lies behind transparent pixels in a JPEG, which has no alpha.
    pub background: [u8; 3],
    /// Smaller PNG files for more time.
    pub small_png: bool,
}

impl Default for EncodeOptions {
    /// JPEG quality 92 over white, lossless WebP, balanced PNG compression.
    fn default() -> Self {
        Self { jpeg_quality: 92, webp_quality: None, background: [255; 3], small_png: false }
    }
}

/// What a file will hold, said before its first row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowHeader {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// What the values of a pixel mean.
    pub channels: Channels,
    /// Bits of the values that are handed over. PNG and TIFF keep 16; the others are brought to 8.
    pub depth: Depth,
    /// Text, EXIF, XMP and ICC.
    pub metadata: Metadata,
}

impl RowHeader {
    /// Values of one row.
    pub fn row_values(&self) -> usize {
        (self.width as usize).saturating_mul(self.channels.count())
    }
}

/// Where a file goes.
pub trait Sink: Write + Seek + Send {}

impl<T: Write + Seek + Send> Sink for T {}

/// Encodes a picture and its metadata. WebP is written lossless unless a quality is asked for; GIF with at most 256 colours and no half-transparent
/// pixels. Generation parameters ([`crate::Metadata::set_infotext`]) become a PNG text chunk, a GIF comment, or the EXIF
/// UserComment of a JPEG, WebP or TIFF. BMP holds nothing but the ICC profile ([`Format::keeps_metadata`]).
///
/// # Errors
/// [`ImagingError::Encode`] when the format cannot hold the picture (a JPEG or GIF side over 65 535, a WebP side over
/// 16 383) or its metadata, [`ImagingError::Argument`] for a quality outside its range.
pub fn encode(picture: &Picture, format: Format, options: &EncodeOptions) -> Result<Vec<u8>, ImagingError> {
    let header = RowHeader {
        width: picture.width(),
        height: picture.height(),
        channels: if picture.format().has_alpha() { Channels::Rgba } else { Channels::Rgb },
        depth: Depth::Eight,
        metadata: picture.metadata.clone(),
    };
    encode_samples(header, SamplesRef::U8(picture.pixels()), format, options)
}

/// Encodes a picture in its own channels and depth, as far as the format has them: see [`encode`] and
/// [`RowHeader::depth`].
///
/// # Errors
/// As [`encode`].
pub fn encode_deep(picture: &DeepPicture, format: Format, options: &EncodeOptions) -> Result<Vec<u8>, ImagingError> {
    let header = RowHeader {
        width: picture.width(),
        height: picture.height(),
        channels: picture.channels(),
        depth: picture.depth(),
        metadata: picture.metadata.clone(),
    };
    encode_samples(header, picture.samples(), format, options)
}

fn encode_samples(
    header: RowHeader,
    samples: SamplesRef<'_>,
    format: Format,
    options: &EncodeOptions,
) -> Result<Vec<u8>, ImagingError> {
    let mut sink = Cursor::new(Vec::new());
    let mut feed = RowFeed::of_samples(&header, samples);
    check(&header, format, options)?;
    write(format, &header, options, &mut feed, &mut sink)?;
    Ok(sink.into_inner())
}

/// Encodes a picture as the ending of `path` asks and writes it whole or not at all (see [`write_atomic`]).
///
/// # Errors
/// [`ImagingError::UnknownExtension`], [`ImagingError::Write`], and those of [`encode`].
pub fn save(path: &Path, picture: &Picture, options: &EncodeOptions) -> Result<(), ImagingError> {
    let format = Format::for_writing(path)?;
    write_atomic(path, &encode(picture, format, options)?)
}

/// As [`save`], in the channels and depth of the picture.
///
/// # Errors
/// As [`save`].
pub fn save_deep(path: &Path, picture: &DeepPicture, options: &EncodeOptions) -> Result<(), ImagingError> {
    let format = Format::for_writing(path)?;
    write_atomic(path, &encode_deep(picture, format, options)?)
}

/// Refuses what the format cannot hold, before a byte is written.
fn check(header: &RowHeader, format: Format, options: &EncodeOptions) -> Result<(), ImagingError> {
    if header.width == 0 || header.height == 0 {
        return Err(ImagingError::argument("size", format!("{}x{} has no pixels", header.width, header.height)));
    }
    if format == Format::Jpeg && !(1..=100).contains(&options.jpeg_quality) {
        return Err(ImagingError::argument("jpeg quality", format!("{} is not in 1…100", options.jpeg_quality)));
    }
    if format == Format::WebP && options.webp_quality.is_some_and(|quality| quality > 100) {
        return Err(ImagingError::argument("webp quality", "it is not in 0…100"));
    }
    let longest = match format {
        Format::Avif => return Err(refused(format, "it is read only; write a PNG or WebP instead")),
        Format::Jpeg | Format::Gif => 65_535,
        Format::WebP => 16_383,
        Format::Png | Format::Bmp => i32::MAX as u32,
        Format::Tiff => u32::MAX,
    };
    if header.width.max(header.height) > longest {
        let (width, height) = (header.width, header.height);
        let reason = format!("{width}x{height} has a side over {longest}, the longest it knows; write a PNG instead");
        return Err(refused(format, reason));
    }
    Ok(())
}

/// Writes a whole file: takes every row of the feed in order.
fn write(
    format: Format,
    header: &RowHeader,
    options: &EncodeOptions,
    feed: &mut RowFeed<'_>,
    sink: &mut dyn Sink,
) -> Result<(), ImagingError> {
    match format {
        Format::Png => png::write(header, options, feed, sink),
        Format::Jpeg => jpeg::write(header, options, feed, sink),
        Format::WebP => webp::write(header, options, feed, sink),
        Format::Gif => gif::write(header, feed, sink),
        Format::Bmp => bmp::write(header, feed, sink),
        Format::Tiff => tiff::write(header, feed, sink),
        Format::Avif => Err(refused(format, "it is read only")),
    }
}

fn refused(format: Format, reason: impl std::fmt::Display) -> ImagingError {
    ImagingError::Encode { format: format.name(), reason: reason.to_string() }
}
