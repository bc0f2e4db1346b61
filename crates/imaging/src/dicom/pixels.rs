//! The stored values of a frame: taken from uncompressed, RLE and JPEG pixel data (PS3.5 §8 and Annex G).

use super::dataset::{damaged, unsupported};
use super::{Dicom, Layout, PADDING, PIXEL_DATA, Photometric};
use crate::ImagingError;
use crate::container::jpeg_frame_size;
use crate::decode::guard_panic;
use crate::ink::from_luminance;

/// The values of one frame as they are stored: before any rescaling or window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredFrame {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// 1 for grey and palettes, 3 for colours (red, green, blue).
    pub channels: usize,
    /// `[height, width, channels]`.
    pub values: Vec<i32>,
    /// The value of pixels that are none (outside the scanned circle), where the file names one.
    pub padding: Option<i32>,
}

impl StoredFrame {
    /// The least and the greatest value, padding left out; `(0, 0)` when there is nothing else.
    pub fn range(&self) -> (i32, i32) {
        let counted = || self.values.iter().copied().filter(|v| Some(*v) != self.padding);
        (counted().min().unwrap_or(0), counted().max().unwrap_or(0))
    }

    /// The values with `low` at 0 and `high` at 1, `[height, width, channels]`; what lies outside is cut off.
    pub fn to_unit_f32(&self, (low, high): (i32, i32)) -> Vec<f32> {
        let span = (f64::from(high) - f64::from(low)).max(1.0);
        let unit = |v: &i32| (((f64::from(*v) - f64::from(low)) / span).clamp(0.0, 1.0)) as f32;
        self.values.iter().map(unit).collect()
    }

    /// The way back from [`StoredFrame::to_unit_f32`] at another size, rounded to the nearest stored value.
    ///
    /// # Errors
    /// [`ImagingError::Shape`] when the length does not fit.
    pub fn from_unit_f32(
        width: u32,
        height: u32,
        channels: usize,
        values: &[f32],
        (low, high): (i32, i32),
    ) -> Result<Self, ImagingError> {
        let expected = u64::from(width) * u64::from(height) * channels as u64;
        if expected == 0 || expected != values.len() as u64 {
            let found = values.len() as u64;
            return Err(ImagingError::Shape { width, height, channels, expected, found });
        }
        let span = f64::from(high) - f64::from(low);
        // `as` saturates and takes NaN to 0.
        let stored = |v: &f32| (f64::from(low) + f64::from(v.clamp(0.0, 1.0)) * span).round() as i32;
        Ok(Self { width, height, channels, values: values.iter().map(stored).collect(), padding: None })
    }
}

impl Dicom<'_> {
    /// Decodes one frame, counted from 0.
    ///
    /// # Errors
    /// [`ImagingError::Argument`] for a frame that is not there, [`ImagingError::Damaged`],
    /// [`ImagingError::Unsupported`] for other compressions than RLE and JPEG (baseline, lossless).
    pub fn frame(&self, index: u32) -> Result<StoredFrame, ImagingError> {
        let layout = &self.layout;
        if index >= layout.frames {
            return Err(ImagingError::argument("frame", format!("{index} of {} is not there", layout.frames)));
        }
        let pixels = self.set.element(PIXEL_DATA).ok_or_else(|| damaged("it has no pixel data"))?;
        let syntax = self.set.transfer_syntax();
        let mut values = if pixels.delimited {
            let fragment = self.fragment(index)?;
            match syntax.as_str() {
                "1.2.840.10008.1.2.5" => rle(&fragment, layout)?,
                "1.2.840.10008.1.2.4.50"
                | "1.2.840.10008.1.2.4.51"
                | "1.2.840.10008.1.2.4.57"
                | "1.2.840.10008.1.2.4.70" => guard_panic("DICOM", || jpeg(&fragment, layout))?,
                other => return Err(unsupported(format!("pixels compressed as {other} ({})", named(other)))),
            }
        } else {
            native(&self.set.bytes[pixels.value.clone()], index, layout, self.set.encoding.big_endian)?
        };
        for value in &mut values {
            *value = stored(*value, layout);
        }
        if layout.photometric == Photometric::YbrFull
            && !(pixels.delimited && syntax.starts_with("1.2.840.10008.1.2.4"))
        {
            for pixel in values.chunks_exact_mut(3) {
                let colour = from_luminance(pixel[0] as u8, pixel[1] as u8, pixel[2] as u8);
                pixel.iter_mut().zip(colour).for_each(|(to, from)| *to = i32::from(from));
            }
        }
        let padding = self.set.short(PADDING).map(|v| stored(i32::from(v), layout));
        Ok(StoredFrame { width: layout.width, height: layout.height, channels: layout.samples, values, padding })
    }

    fn fragment(&self, index: u32) -> Result<Vec<u8>, ImagingError> {
        let pixels = self.set.element(PIXEL_DATA).ok_or_else(|| damaged("it has no pixel data"))?;
        let fragments = self.set.fragments(pixels);
        let frames = self.layout.frames as usize;
        if fragments.len() == frames {
            Ok(fragments[index as usize].to_vec())
        } else if frames == 1 && !fragments.is_empty() {
            Ok(fragments.concat())
        } else {
            Err(unsupported(format!("{frames} frames in {} fragments", fragments.len())))
        }
    }
}

fn named(syntax: &str) -> &'static str {
    match syntax {
        "1.2.840.10008.1.2.4.80" | "1.2.840.10008.1.2.4.81" => "JPEG-LS",
        "1.2.840.10008.1.2.4.90" | "1.2.840.10008.1.2.4.91" => "JPEG 2000",
        s if s.starts_with("1.2.840.10008.1.2.4.20") => "high-throughput JPEG 2000",
        s if s.starts_with("1.2.840.10008.1.2.4.1") => "a video",
        _ => "not known here",
    }
}

/// The stored bits of a value: shifted down, and with their sign.
fn stored(raw: i32, layout: &Layout) -> i32 {
    let value = (raw >> (layout.high_bit + 1 - layout.stored)) & ((1 << layout.stored) - 1);
    if layout.signed && value >> (layout.stored - 1) & 1 == 1 { value - (1 << layout.stored) } else { value }
}

fn native(bytes: &[u8], index: u32, layout: &Layout, big_endian: bool) -> Result<Vec<i32>, ImagingError> {
    let count = layout.values();
    let short = || damaged("it has fewer pixels than its size says");
    let start = index as usize * count;
    let mut values: Vec<i32> = match layout.allocated {
        1 => {
            // Frames follow each other without a gap, the lowest bit first.
            let bit = |i: usize| bytes.get(i / 8).map(|byte| i32::from(byte >> (i % 8) & 1));
            (start..start + count).map(bit).collect::<Option<_>>().ok_or_else(short)?
        }
        8 => bytes.get(start..start + count).ok_or_else(short)?.iter().map(|v| i32::from(*v)).collect(),
        _ => {
            let part = bytes.get(2 * start..2 * (start + count)).ok_or_else(short)?;
            let number = if big_endian { u16::from_be_bytes } else { u16::from_le_bytes };
            part.chunks_exact(2).map(|pair| i32::from(number([pair[0], pair[1]]))).collect()
        }
    };
    if layout.planar {
        let plane = count / layout.samples;
        values = (0..count).map(|i| values[i % layout.samples * plane + i / layout.samples]).collect();
    }
    Ok(values)
}

/// Byte planes, each packed as TIFF's PackBits: the highest byte of the first channel comes first.
fn rle(fragment: &[u8], layout: &Layout) -> Result<Vec<i32>, ImagingError> {
    let bytes_per_value = usize::from(layout.allocated / 8).max(1);
    let (planes, plane) = (layout.samples * bytes_per_value, layout.values() / layout.samples);
    let word = |i: usize| fragment.get(4 * i..4 * i + 4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize);
    if word(0) != Some(planes) {
        return Err(damaged(format!("its run lengths have {:?} planes instead of {planes}", word(0).unwrap_or(0))));
    }
    // Runs of 128 from two bytes are the best there is.
    if plane / 64 > fragment.len() {
        return Err(damaged("its run lengths cannot make so many pixels"));
    }
    let mut values = vec![0; layout.values()];
    for index in 0..planes {
        let start = word(index + 1).filter(|start| *start >= 64).ok_or_else(|| damaged("a plane has no place"))?;
        let packed = fragment.get(start..).ok_or_else(|| damaged("a plane lies outside the file"))?;
        let shift = 8 * (bytes_per_value - 1 - index % bytes_per_value);
        let unpacked = unpack(packed, plane).ok_or_else(|| damaged("its run lengths end early"))?;
        for (pixel, byte) in unpacked.into_iter().enumerate() {
            values[pixel * layout.samples + index / bytes_per_value] |= i32::from(byte) << shift;
        }
    }
    Ok(values)
}

fn unpack(packed: &[u8], count: usize) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(count);
    let mut at = 0;
    while out.len() < count {
        let run = *packed.get(at)?;
        at += 1;
        match run {
            0..=127 => {
                let length = usize::from(run) + 1;
                out.extend_from_slice(packed.get(at..at + length)?);
                at += length;
            }
            128 => {}
            _ => {
                out.resize(out.len() + 257 - usize::from(run), *packed.get(at)?);
                at += 1;
            }
        }
    }
    out.truncate(count);
    Some(out)
}

fn jpeg(fragment: &[u8], layout: &Layout) -> Result<Vec<i32>, ImagingError> {
    let (kind, width, height) = jpeg_frame_size(fragment).ok_or_else(|| damaged("its JPEG has no size"))?;
    if (u32::from(width), u32::from(height)) != (layout.width, layout.height) {
        return Err(damaged(format!("its JPEG is {width}x{height}, not {}x{}", layout.width, layout.height)));
    }
    let values = if kind == 0xc3 { lossless(fragment)? } else { lossy(fragment, layout)? };
    if values.len() != layout.values() {
        return Err(damaged("its JPEG has another number of channels"));
    }
    Ok(values)
}

fn lossless(fragment: &[u8]) -> Result<Vec<i32>, ImagingError> {
    let mut decoder = jpeg_decoder::Decoder::new(fragment);
    // The data set says what the channels are.
    decoder.set_color_transform(jpeg_decoder::ColorTransform::None);
    let bytes = decoder.decode().map_err(|e| damaged(e.to_string()))?;
    let sixteen = decoder.info().is_some_and(|info| info.pixel_format == jpeg_decoder::PixelFormat::L16);
    Ok(if sixteen {
        bytes.chunks_exact(2).map(|pair| i32::from(u16::from_ne_bytes([pair[0], pair[1]]))).collect()
    } else {
        bytes.into_iter().map(i32::from).collect()
    })
}

fn lossy(fragment: &[u8], layout: &Layout) -> Result<Vec<i32>, ImagingError> {
    let mut decoder = jpeg_decoder::Decoder::new(fragment);
    // Without a whole mark of its own a JPEG of three channels is what the data set says.
    let marked = fragment.windows(9).take(256).any(|w| w.ends_with(b"JFIF\0") || w == b"\xff\xee\x00\x0eAdobe");
    if layout.photometric == Photometric::Rgb && !marked {
        decoder.set_color_transform(jpeg_decoder::ColorTransform::None);
    }
    Ok(decoder.decode().map_err(|e| damaged(e.to_string()))?.into_iter().map(i32::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(stored: u16, high_bit: u16, signed: bool) -> Layout {
        let (width, height, frames, samples, planar) = (2, 2, 1, 1, false);
        let photometric = Photometric::Monochrome2;
        Layout { width, height, frames, samples, photometric, planar, allocated: 16, stored, high_bit, signed }
    }

    #[test]
    fn stored_bits_are_shifted_and_signed() {
        assert_eq!(stored(0xfff, &layout(12, 11, false)), 4095);
        assert_eq!(stored(0xfff, &layout(12, 11, true)), -1);
        assert_eq!(stored(0xf7ff, &layout(12, 11, true)), 2047);
        assert_eq!(stored(0xabc0, &layout(12, 15, false)), 0xabc);
        assert_eq!(layout(16, 15, true).bounds(), (-32_768, 32_767));
    }

    #[test]
    fn run_lengths_make_their_bytes_and_no_more() {
        assert_eq!(unpack(&[2, 1, 2, 3, 254, 9, 128], 6), Some(vec![1, 2, 3, 9, 9, 9]));
        assert_eq!(unpack(&[2, 1, 2], 3), None);
        let mut fragment = vec![0; 64];
        fragment[0] = 2;
        fragment[4] = 64;
        fragment[8] = 66;
        fragment.extend([253, 1, 3, 5, 6, 7, 8]);
        assert_eq!(rle(&fragment, &layout(16, 15, false)).unwrap(), [0x105, 0x106, 0x107, 0x108]);
        for end in 0..fragment.len() {
            assert!(rle(&fragment[..end], &layout(16, 15, false)).is_err(), "{end}");
        }
    }

    #[test]
    fn units_return_every_stored_value() {
        let values: Vec<i32> = (-1024..=3071).collect();
        let frame = StoredFrame { width: 64, height: 64, channels: 1, values, padding: Some(-1024) };
        assert_eq!(frame.range(), (-1023, 3071));
        let range = (-1024, 3071);
        let back = StoredFrame::from_unit_f32(64, 64, 1, &frame.to_unit_f32(range), range).unwrap();
        assert_eq!(back.values, frame.values);
    }
}
