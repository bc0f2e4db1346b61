//! Frames of an animation, one at a time, so that a long one takes no more memory than a short one.

use std::io::Cursor;
use std::time::{Duration, Instant};

use image::codecs::{gif::GifDecoder, png::PngDecoder, webp::WebPDecoder};
use image::{AnimationDecoder, Frames, ImageDecoder};

use super::{Frame, Plays};
use crate::container::{frames_of, read_noting};
use crate::decode::{codec_error, decode, decoder_limits, guarded, probe};
use crate::exif::{ExifView, set_upright};
use crate::{DecodeLimits, Format, ImagingError, Metadata, Picture, PixelFormat, Warning};

/// An opened animation: an iterator over its frames. It ends after the first error.
///
/// A picture that does not move, in any format, is an animation of one frame.
pub struct Animation<'a> {
    format: Format,
    width: u32,
    height: u32,
    frames: u32,
    plays: Plays,
    metadata: Metadata,
    warnings: Vec<Warning>,
    orientation: u16,
    limits: DecodeLimits,
    began: Instant,
    given: u32,
    source: Source<'a>,
}

enum Source<'a> {
    Still(&'a [u8]),
    Moving(Frames<'a>),
    Ended,
}

impl<'a> Animation<'a> {
    /// Opens the bytes of a file. Nothing is decoded yet.
    ///
    /// # Errors
    /// As [`decode`].
    pub fn open(bytes: &'a [u8], limits: &DecodeLimits) -> Result<Self, ImagingError> {
        limits.check_file(bytes.len() as u64)?;
        let (format, width, height) = probe(bytes, limits)?;
        let (frames, plays) = frames_of(format, bytes);
        let source = if frames > 1 { guarded(format, || moving(format, bytes))? } else { Source::Still(bytes) };
        let mut reading = read_noting(format, bytes, limits);
        let orientation = reading.metadata.exif.as_deref().and_then(ExifView::parse).and_then(|v| v.orientation());
        if let Some(exif) = &mut reading.metadata.exif {
            set_upright(exif);
        }
        let orientation = orientation.unwrap_or(1);
        let (width, height) = if orientation >= 5 { (height, width) } else { (width, height) };
        Ok(Self {
            format,
            width,
            height,
            frames,
            plays,
            metadata: reading.metadata,
            warnings: reading.warnings,
            orientation,
            limits: *limits,
            began: Instant::now(),
            given: 0,
            source,
        })
    }

    /// The kind of file.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Width and height of every frame.
    pub fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// True when there is more than one frame, as far as the file's structure tells.
    pub fn is_moving(&self) -> bool {
        matches!(self.source, Source::Moving(_))
    }

    /// How many frames there are, as far as the file's structure tells.
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// How often it is shown.
    pub fn plays(&self) -> Plays {
        self.plays
    }

    /// Text, EXIF, XMP and ICC.
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// What was odd about the file.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    fn frame(&mut self) -> Option<Result<Frame, ImagingError>> {
        let format = self.format;
        let frame = match &mut self.source {
            Source::Ended => return None,
            Source::Still(bytes) => {
                let mut picture = match decode(bytes, &self.limits) {
                    Ok(picture) => picture,
                    Err(error) => return Some(Err(error)),
                };
                picture.metadata = Metadata::default();
                self.source = Source::Ended;
                return Some(Ok(Frame { picture, delay: Duration::ZERO }));
            }
            Source::Moving(frames) => match guarded(format, || Ok(frames.next())) {
                Ok(frame) => frame?,
                Err(error) => return Some(Err(error)),
            },
        };
        Some(frame.map_err(|e| codec_error(format, e)).and_then(|frame| {
            let delay = Duration::from(frame.delay());
            let pixels = frame.into_buffer();
            let picture = Picture::new(pixels.width(), pixels.height(), PixelFormat::Rgba8, pixels.into_raw())?;
            Ok(Frame { picture: picture.oriented(self.orientation), delay })
        }))
    }

    fn check(&self) -> Result<(), ImagingError> {
        self.limits.check_time(self.began)?;
        if self.given >= self.limits.max_frames {
            let limit = u64::from(self.limits.max_frames);
            return Err(ImagingError::TooLarge { what: "frames", found: limit + 1, limit });
        }
        Ok(())
    }
}

impl Iterator for Animation<'_> {
    type Item = Result<Frame, ImagingError>;

    fn next(&mut self) -> Option<Self::Item> {
        let frame = self.frame()?;
        let frame = self.check().and(frame);
        self.given += 1;
        if frame.is_err() {
            self.source = Source::Ended;
        }
        Some(frame)
    }
}

fn moving(format: Format, bytes: &[u8]) -> Result<Source<'_>, ImagingError> {
    let failed = |e| codec_error(format, e);
    let frames = match format {
        Format::Gif => limited(GifDecoder::new(Cursor::new(bytes)).map_err(failed)?, format)?.into_frames(),
        Format::WebP => {
            let mut decoder = limited(WebPDecoder::new(Cursor::new(bytes)).map_err(failed)?, format)?;
            // As browsers do: the colour that the file names counts for viewers without transparency.
            decoder.set_background_color(image::Rgba([0; 4])).map_err(failed)?;
            decoder.into_frames()
        }
        Format::Png => {
            limited(PngDecoder::new(Cursor::new(bytes)).map_err(failed)?, format)?.apng().map_err(failed)?.into_frames()
        }
        Format::Jpeg | Format::Bmp | Format::Tiff | Format::Avif => return Ok(Source::Still(bytes)),
    };
    Ok(Source::Moving(frames))
}

fn limited<D: ImageDecoder>(mut decoder: D, format: Format) -> Result<D, ImagingError> {
    // A frame, the canvas and the frame before it, all RGBA.
    let (width, height) = decoder.dimensions();
    let limits = decoder_limits(u64::from(width) * u64::from(height) * 4);
    decoder.set_limits(limits).map_err(|e| codec_error(format, e))?;
    Ok(decoder)
}
