//! PNG, 8 and 16 bits, through the `png` crate's row stream.

use std::io::Write;

use super::feed::RowFeed;
use super::insert::Inserting;
use super::{EncodeOptions, RowHeader, Sink, refused};
use crate::container::png_blocks;
use crate::{Channels, Depth, Format, ImagingError};

/// Signature and IHDR.
const HEADER: usize = 8 + 25;

pub(super) fn write(
    header: &RowHeader,
    options: &EncodeOptions,
    feed: &mut RowFeed<'_>,
    sink: &mut dyn Sink,
) -> Result<(), ImagingError> {
    let failed = |e: png::EncodingError| refused(Format::Png, e);
    let failed_io = |e: std::io::Error| refused(Format::Png, e);
    let sink = Inserting::new(sink, HEADER, png_blocks(&header.metadata)?);
    let mut encoder = png::Encoder::new(sink, header.width, header.height);
    encoder.set_depth(if header.depth == Depth::Eight { png::BitDepth::Eight } else { png::BitDepth::Sixteen });
    encoder.set_color(colour(header.channels));
    encoder.set_compression(if options.small_png { png::Compression::High } else { png::Compression::Balanced });
    let mut writer = encoder.write_header().map_err(failed)?;
    let mut stream = writer.stream_writer().map_err(failed)?;
    let mut bytes = Vec::new();
    for _ in 0..header.height {
        if header.depth == Depth::Eight {
            stream.write_all(feed.next_eight(header.channels, [0; 3])?).map_err(failed_io)?;
        } else {
            bytes.clear();
            bytes.extend(feed.next_sixteen()?.iter().flat_map(|v| v.to_be_bytes()));
            stream.write_all(&bytes).map_err(failed_io)?;
        }
    }
    stream.finish().map_err(failed)?;
    writer.finish().map_err(failed)
}

fn colour(channels: Channels) -> png::ColorType {
    match channels {
        Channels::Grey => png::ColorType::Grayscale,
        Channels::GreyAlpha => png::ColorType::GrayscaleAlpha,
        Channels::Rgb => png::ColorType::Rgb,
        Channels::Rgba => png::ColorType::Rgba,
    }
}
