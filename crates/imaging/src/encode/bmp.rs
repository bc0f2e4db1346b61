//! Windows bitmap: 24 bits, or 32 with alpha and a version 5 header, which also holds the ICC profile.

use std::io::{SeekFrom, Write};

use super::feed::RowFeed;
use super::{RowHeader, Sink, refused};
use crate::{Channels, Format, ImagingError};

const FILE_HEADER: u64 = 14;
const INFO_HEADER: u32 = 40;
const V5_HEADER: u32 = 124;

pub(super) fn write(header: &RowHeader, feed: &mut RowFeed<'_>, sink: &mut dyn Sink) -> Result<(), ImagingError> {
    let failed = |e: std::io::Error| refused(Format::Bmp, e);
    let channels = if header.channels.has_alpha() { Channels::Rgba } else { Channels::Rgb };
    let icc = header.metadata.icc.as_deref().unwrap_or_default();
    let long_header = channels.has_alpha() || !icc.is_empty();
    let info = if long_header { V5_HEADER } else { INFO_HEADER };
    let start = FILE_HEADER + u64::from(info);
    // Rows are padded to four bytes.
    let stride = (u64::from(header.width) * channels.count() as u64).next_multiple_of(4);
    let profile = start + stride * u64::from(header.height);
    let end = u32::try_from(profile + icc.len() as u64)
        .map_err(|_| refused(Format::Bmp, "it would be larger than 4 GiB; write a PNG instead"))?;

    let mut head = Vec::new();
    head.extend(b"BM");
    words(&mut head, &[end, 0, start as u32, info, header.width, header.height]);
    head.extend(1u16.to_le_bytes());
    head.extend((8 * channels.count() as u16).to_le_bytes());
    // Compression 3 names the bits of each channel; the resolution is 2 835 pixels a metre, 72 an inch.
    let compression = if channels.has_alpha() { 3 } else { 0 };
    words(&mut head, &[compression, (profile - start) as u32, 2835, 2835, 0, 0]);
    if long_header {
        let masks = if channels.has_alpha() { [0x00ff_0000, 0x0000_ff00, 0x0000_00ff, 0xff00_0000] } else { [0; 4] };
        words(&mut head, &masks);
        // "MBED": the profile is in the file; else "sRGB".
        words(&mut head, &[if icc.is_empty() { 0x7352_4742 } else { 0x4d42_4544 }]);
        // Nine end points and three gammas count for calibrated colours only; intent 4 keeps the look of photographs.
        words(&mut head, &[0; 12]);
        let offset = if icc.is_empty() { 0 } else { (profile - FILE_HEADER) as u32 };
        words(&mut head, &[4, offset, icc.len() as u32, 0]);
    }
    sink.write_all(&head).map_err(failed)?;

    let mut row = Vec::new();
    for y in 0..u64::from(header.height) {
        row.clear();
        for pixel in feed.next_eight(channels, [0; 3])?.chunks_exact(channels.count()) {
            row.extend([pixel[2], pixel[1], pixel[0]]);
            row.extend(pixel.get(3));
        }
        row.resize(stride as usize, 0);
        // The last row comes first.
        let at = start + stride * (u64::from(header.height) - 1 - y);
        sink.seek(SeekFrom::Start(at)).map_err(failed)?;
        sink.write_all(&row).map_err(failed)?;
    }
    sink.seek(SeekFrom::Start(profile)).map_err(failed)?;
    sink.write_all(icc).map_err(failed)
}

fn words(out: &mut impl Write, values: &[u32]) {
    for value in values {
        // Writing into a Vec cannot fail.
        let _ = out.write_all(&value.to_le_bytes());
    }
}
