//! Animations written frame by frame: GIF, PNG and (lossless) WebP.

use std::time::Duration;

use super::{Frame, Plays};
use crate::container::{embed_metadata, finish_webp, gif_blocks, png_chunks, webp_chunk, webp_still_chunks};
use crate::encode::{Sink, gif_frame, gif_size, webp_lossless};
use crate::{Format, ImagingError, Metadata, PixelFormat};

/// What an animation will hold, said before its first frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnimationHeader {
    /// Width of every frame.
    pub width: u32,
    /// Height of every frame.
    pub height: u32,
    /// How many frames follow.
    pub frames: u32,
    /// True when frames may be transparent.
    pub alpha: bool,
    /// How often it is shown.
    pub plays: Plays,
    /// Text, EXIF, XMP and ICC.
    pub metadata: Metadata,
}

/// Writes an animation into a sink, frame by frame.
pub struct AnimationWriter<'a> {
    header: AnimationHeader,
    left: u32,
    format: Format,
    encoder: Encoder<'a>,
}

enum Encoder<'a> {
    Gif(gif::Encoder<&'a mut dyn Sink>),
    Png(Box<png::Writer<&'a mut dyn Sink>>),
    /// The file up to now; its header names its length, so it goes into the sink at the end.
    WebP(Vec<u8>, &'a mut dyn Sink),
}

impl<'a> AnimationWriter<'a> {
    /// Begins a GIF (at most 256 colours a frame, alpha full or none, delays in hundredths of a second), PNG or WebP.
    ///
    /// # Errors
    /// [`ImagingError::Argument`] for no frames, [`ImagingError::Encode`] for sides that the format does not know and for
    /// formats that do not move.
    pub fn begin(format: Format, header: AnimationHeader, sink: &'a mut dyn Sink) -> Result<Self, ImagingError> {
        if header.frames == 0 || header.width == 0 || header.height == 0 || header.plays == Plays::Times(0) {
            return Err(ImagingError::argument(
                "animation",
                "it needs frames with pixels and must be shown at least once",
            ));
        }
        let encoder = match format {
            Format::Gif => begin_gif(&header, sink)?,
            Format::Png => begin_png(&header, sink)?,
            Format::WebP => begin_webp(&header, sink)?,
            Format::Jpeg | Format::Bmp | Format::Tiff | Format::Avif => {
                return Err(refused(format, "its pictures do not move; write a PNG, WebP or GIF"));
            }
        };
        Ok(Self { left: header.frames, header, format, encoder })
    }

    /// The next frame.
    ///
    /// # Errors
    /// [`ImagingError::Argument`] for a frame too many or of another size, [`ImagingError::Encode`].
    pub fn write_frame(&mut self, frame: &Frame) -> Result<(), ImagingError> {
        let picture = &frame.picture;
        if self.left == 0 || (picture.width(), picture.height()) != (self.header.width, self.header.height) {
            let (width, height, left) = (picture.width(), picture.height(), self.left);
            let reason = format!("{width}x{height} does not fit; {left} frames are left");
            return Err(ImagingError::argument("frame", reason));
        }
        self.left -= 1;
        let opaque = (!self.header.alpha).then(|| picture.flattened([0; 3]));
        let rgba = || match &opaque {
            None if picture.format() == PixelFormat::Rgba8 => picture.pixels().to_vec(),
            _ => opaque
                .as_ref()
                .unwrap_or(picture)
                .pixels()
                .chunks_exact(3)
                .flat_map(|p| [p[0], p[1], p[2], 255])
                .collect(),
        };
        match &mut self.encoder {
            Encoder::Gif(encoder) => {
                let failed = |e: gif::EncodingError| refused(Format::Gif, e);
                let (width, height) = gif_size(self.header.width, self.header.height)?;
                let mut indexed = gif_frame(rgba(), width, height);
                indexed.delay = u16::try_from((frame.delay.as_millis() + 5) / 10).unwrap_or(u16::MAX);
                if self.header.alpha {
                    indexed.dispose = gif::DisposalMethod::Background;
                }
                encoder.write_frame(&indexed).map_err(failed)
            }
            Encoder::Png(writer) => {
                let failed = |e: png::EncodingError| refused(Format::Png, e);
                let (numerator, denominator) = seconds(frame.delay);
                writer.set_frame_delay(numerator, denominator).map_err(failed)?;
                match &opaque {
                    Some(opaque) => writer.write_image_data(opaque.pixels()).map_err(failed),
                    None => writer.write_image_data(&rgba()).map_err(failed),
                }
            }
            Encoder::WebP(file, _) => {
                let alpha = self.header.alpha;
                let pixels = opaque.as_ref().map_or_else(rgba, |opaque| opaque.pixels().to_vec());
                let still = webp_lossless(&pixels, self.header.width, self.header.height, alpha)?;
                let mut data = Vec::new();
                data.extend([0; 6]);
                data.extend(&(self.header.width - 1).to_le_bytes()[..3]);
                data.extend(&(self.header.height - 1).to_le_bytes()[..3]);
                let milliseconds = u32::try_from(frame.delay.as_millis()).unwrap_or(u32::MAX).min(0x00ff_ffff);
                data.extend(&milliseconds.to_le_bytes()[..3]);
                // The frame replaces what was there instead of being laid over it.
                data.push(0b10);
                data.extend(webp_still_chunks(&still)?);
                file.extend(webp_chunk(b"ANMF", &data)?);
                Ok(())
            }
        }
    }

    /// Ends the file.
    ///
    /// # Errors
    /// [`ImagingError::Argument`] when frames are missing, [`ImagingError::Encode`].
    pub fn finish(self) -> Result<(), ImagingError> {
        if self.left > 0 {
            return Err(ImagingError::argument("frames", format!("{} are missing", self.left)));
        }
        let format = self.format;
        match self.encoder {
            Encoder::Gif(encoder) => {
                encoder.into_inner().map_err(|e| refused(format, e))?;
                Ok(())
            }
            Encoder::Png(writer) => writer.finish().map_err(|e| refused(format, e)),
            Encoder::WebP(mut file, sink) => {
                finish_webp(&mut file)?;
                if !self.header.metadata.is_empty() {
                    file = embed_metadata(Format::WebP, &file, &self.header.metadata)?;
                }
                sink.write_all(&file).map_err(|e| refused(format, e))
            }
        }
    }
}

fn begin_gif<'a>(header: &AnimationHeader, sink: &'a mut dyn Sink) -> Result<Encoder<'a>, ImagingError> {
    let failed = |e: gif::EncodingError| refused(Format::Gif, e);
    let (width, height) = gif_size(header.width, header.height)?;
    let mut encoder = gif::Encoder::new(sink, width, height, &[]).map_err(failed)?;
    // The file counts repetitions after the first showing; without the mark it is shown once.
    match header.plays {
        Plays::Forever => encoder.set_repeat(gif::Repeat::Infinite).map_err(failed)?,
        Plays::Times(1) => {}
        Plays::Times(n) => {
            let repeats = u16::try_from(n - 1).unwrap_or(u16::MAX);
            encoder.set_repeat(gif::Repeat::Finite(repeats)).map_err(failed)?;
        }
    }
    encoder.get_mut().write_all(&gif_blocks(&header.metadata)?).map_err(|e| refused(Format::Gif, e))?;
    Ok(Encoder::Gif(encoder))
}

fn begin_png<'a>(header: &AnimationHeader, sink: &'a mut dyn Sink) -> Result<Encoder<'a>, ImagingError> {
    let failed = |e: png::EncodingError| refused(Format::Png, e);
    let mut encoder = png::Encoder::new(sink, header.width, header.height);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_color(if header.alpha { png::ColorType::Rgba } else { png::ColorType::Rgb });
    let plays = match header.plays {
        Plays::Forever => 0,
        Plays::Times(n) => n,
    };
    encoder.set_animated(header.frames, plays).map_err(failed)?;
    let mut writer = encoder.write_header().map_err(failed)?;
    for (kind, data) in png_chunks(&header.metadata)? {
        writer.write_chunk(png::chunk::ChunkType(kind), &data).map_err(failed)?;
    }
    Ok(Encoder::Png(Box::new(writer)))
}

fn begin_webp<'a>(header: &AnimationHeader, sink: &'a mut dyn Sink) -> Result<Encoder<'a>, ImagingError> {
    let longest = header.width.max(header.height);
    if longest > 16_383 {
        return Err(refused(Format::WebP, format!("a side of {longest} is over 16 383, the longest it knows")));
    }
    let plays = match header.plays {
        Plays::Forever => 0,
        Plays::Times(n) => u16::try_from(n).unwrap_or(u16::MAX),
    };
    // Flags: animation, alpha. The background counts for viewers that want one.
    let mut extended = vec![if header.alpha { 0x12 } else { 0x02 }, 0, 0, 0];
    extended.extend(&(header.width - 1).to_le_bytes()[..3]);
    extended.extend(&(header.height - 1).to_le_bytes()[..3]);
    let mut file = b"RIFF\0\0\0\0WEBP".to_vec();
    file.extend(webp_chunk(b"VP8X", &extended)?);
    file.extend(webp_chunk(b"ANIM", &[&[0; 4][..], &plays.to_le_bytes()].concat())?);
    Ok(Encoder::WebP(file, sink))
}

/// A delay as the fraction of two 16-bit numbers that PNG wants.
fn seconds(delay: Duration) -> (u16, u16) {
    let milliseconds = delay.as_millis();
    match u16::try_from(milliseconds) {
        Ok(numerator) => (numerator, 1000),
        Err(_) => (u16::try_from(delay.as_secs()).unwrap_or(u16::MAX), 1),
    }
}

fn refused(format: Format, reason: impl std::fmt::Display) -> ImagingError {
    ImagingError::Encode { format: format.name(), reason: reason.to_string() }
}
