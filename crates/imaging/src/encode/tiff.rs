//! TIFF, 8 and 16 bits, uncompressed strips; BigTIFF where the values alone pass 4 GB.

use tiff::TiffResult;
use tiff::encoder::colortype::{ColorType, Gray8, Gray16, RGB8, RGB16, RGBA8, RGBA16};
use tiff::encoder::{TiffEncoder, TiffKind, TiffKindBig, TiffKindStandard, TiffValue};
use tiff::tags::{PhotometricInterpretation, SampleFormat, Tag, Type};

use super::feed::RowFeed;
use super::{RowHeader, Sink, refused};
use crate::container::{ExifEntry, exif_for};
use crate::{Channels, Depth, Format, ImagingError};

/// Bytes of one strip, about.
const STRIP: usize = 256 << 10;
/// Leaves room for the metadata.
const LARGEST_CLASSIC: u64 = 3_900_000_000;
const XMP: Tag = Tag::Unknown(700);
const ICC: Tag = Tag::Unknown(34_675);
const EXIF: Tag = Tag::Unknown(34_665);
const GPS: Tag = Tag::Unknown(34_853);
const UNASSOCIATED_ALPHA: u16 = 2;

pub(super) fn write(header: &RowHeader, feed: &mut RowFeed<'_>, sink: &mut dyn Sink) -> Result<(), ImagingError> {
    let bytes = header.row_values() as u64 * u64::from(header.height) * header.depth.bytes() as u64;
    if bytes > LARGEST_CLASSIC {
        write_kind::<TiffKindBig>(header, feed, sink)
    } else {
        write_kind::<TiffKindStandard>(header, feed, sink)
    }
}

fn write_kind<K: TiffKind>(
    header: &RowHeader,
    feed: &mut RowFeed<'_>,
    sink: &mut dyn Sink,
) -> Result<(), ImagingError> {
    let mut eight = |feed: &mut RowFeed<'_>, strip: &mut Vec<u8>| {
        strip.extend_from_slice(feed.next_eight(header.channels, [0; 3])?);
        Ok(())
    };
    let mut sixteen = |feed: &mut RowFeed<'_>, strip: &mut Vec<u16>| {
        strip.extend_from_slice(feed.next_sixteen()?);
        Ok(())
    };
    match (header.channels, header.depth) {
        (Channels::Grey, Depth::Eight) => strips::<Gray8, K, _>(header, feed, sink, &mut eight),
        (Channels::GreyAlpha, Depth::Eight) => strips::<GreyAlpha8, K, _>(header, feed, sink, &mut eight),
        (Channels::Rgb, Depth::Eight) => strips::<RGB8, K, _>(header, feed, sink, &mut eight),
        (Channels::Rgba, Depth::Eight) => strips::<RGBA8, K, _>(header, feed, sink, &mut eight),
        (Channels::Grey, Depth::Sixteen) => strips::<Gray16, K, _>(header, feed, sink, &mut sixteen),
        (Channels::GreyAlpha, Depth::Sixteen) => strips::<GreyAlpha16, K, _>(header, feed, sink, &mut sixteen),
        (Channels::Rgb, Depth::Sixteen) => strips::<RGB16, K, _>(header, feed, sink, &mut sixteen),
        (Channels::Rgba, Depth::Sixteen) => strips::<RGBA16, K, _>(header, feed, sink, &mut sixteen),
    }
}

fn strips<C: ColorType, K: TiffKind, F>(
    header: &RowHeader,
    feed: &mut RowFeed<'_>,
    sink: &mut dyn Sink,
    take: &mut F,
) -> Result<(), ImagingError>
where
    [C::Inner]: TiffValue,
    F: FnMut(&mut RowFeed<'_>, &mut Vec<C::Inner>) -> Result<(), ImagingError>,
{
    let failed = |e: tiff::TiffError| refused(Format::Tiff, e);
    // The library compresses whole pictures only, not the strips that are handed to it one by one.
    let mut encoder = TiffEncoder::<_, K>::new_generic(sink).map_err(failed)?;
    let exif = exif_for(&header.metadata);
    let exif_at = directory(&mut encoder, &exif.exif).map_err(failed)?;
    let gps_at = directory(&mut encoder, &exif.gps).map_err(failed)?;
    let mut image = encoder.new_image::<C>(header.width, header.height).map_err(failed)?;
    let row_bytes = header.row_values() * header.depth.bytes();
    let rows = (STRIP / row_bytes.max(1)).clamp(1, header.height as usize) as u32;
    image.rows_per_strip(rows).map_err(failed)?;
    // Tags of the picture itself are the encoder's.
    for entry in exif.first.iter().filter(|e| e.is_descriptive()) {
        let Some(kind) = Type::from_u16(entry.kind) else { continue };
        let written = image.encoder().write_entry_bytes(kind, &entry.native()).map_err(failed)?;
        image.encoder().extend_from(&[(Tag::Unknown(entry.tag), written)].into_iter().collect());
    }
    for (tag, at) in [(EXIF, exif_at), (GPS, gps_at)] {
        if let Some(at) = at {
            image.encoder().write_tag(tag, at).map_err(failed)?;
        }
    }
    for (tag, kind, block) in [
        (XMP, Type::BYTE, header.metadata.xmp.as_ref().map(String::as_bytes)),
        (ICC, Type::UNDEFINED, header.metadata.icc.as_deref()),
    ] {
        if let Some(block) = block {
            let written = image.encoder().write_entry_bytes(kind, block).map_err(failed)?;
            image.encoder().extend_from(&[(tag, written)].into_iter().collect());
        }
    }
    if header.channels.has_alpha() {
        image.encoder().write_tag(Tag::ExtraSamples, &[UNASSOCIATED_ALPHA][..]).map_err(failed)?;
    }
    let mut strip = Vec::new();
    let mut left = header.height;
    while left > 0 {
        strip.clear();
        for _ in 0..rows.min(left) {
            take(feed, &mut strip)?;
        }
        left -= rows.min(left);
        image.write_strip(&strip).map_err(failed)?;
    }
    image.finish().map_err(failed)
}

/// Writes a directory of its own and returns where it stands; `None` when it would be empty.
fn directory<K: TiffKind>(
    encoder: &mut TiffEncoder<&mut dyn Sink, K>,
    entries: &[ExifEntry],
) -> TiffResult<Option<u32>> {
    if entries.is_empty() {
        return Ok(None);
    }
    let mut directory = encoder.extra_directory()?;
    for entry in entries {
        let Some(kind) = Type::from_u16(entry.kind) else { continue };
        let written = directory.write_entry_bytes(kind, &entry.native())?;
        directory.extend_from(&[(Tag::Unknown(entry.tag), written)].into_iter().collect());
    }
    let at = directory.finish_with_offsets()?;
    // It stands right after the header of the file.
    Ok(u32::try_from(at.pointer.0).ok())
}

/// Grey and alpha, which the library has no type for.
struct GreyAlpha8;
struct GreyAlpha16;

macro_rules! grey_alpha {
    ($name:ty, $inner:ty, $bits:expr) => {
        impl ColorType for $name {
            type Inner = $inner;
            const TIFF_VALUE: PhotometricInterpretation = PhotometricInterpretation::BlackIsZero;
            const BITS_PER_SAMPLE: &'static [u16] = &[$bits, $bits];
            const SAMPLE_FORMAT: &'static [SampleFormat] = &[SampleFormat::Uint, SampleFormat::Uint];

            fn horizontal_predict(row: &[$inner], result: &mut Vec<$inner>) {
                result.extend(row.iter().take(2));
                result.extend(row.iter().skip(2).zip(row).map(|(now, before)| now.wrapping_sub(*before)));
            }
        }
    };
}

grey_alpha!(GreyAlpha8, u8, 8);
grey_alpha!(GreyAlpha16, u16, 16);
