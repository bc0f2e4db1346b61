//! A picture in memory: rows from the top, pixels interleaved, sRGB unless an ICC profile says otherwise.

use crate::{ImagingError, Metadata};

/// Channels and depth of a [`Picture`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PixelFormat {
    /// Red, green, blue, 8 bits each.
    Rgb8,
    /// Red, green, blue, straight (not premultiplied) alpha, 8 bits each.
    Rgba8,
}

impl PixelFormat {
    /// Values per pixel, alpha included.
    pub fn channels(self) -> usize {
        match self {
            Self::Rgb8 => 3,
            Self::Rgba8 => 4,
        }
    }

    /// True when the last channel is alpha.
    pub fn has_alpha(self) -> bool {
        self == Self::Rgba8
    }
}

/// A picture with at least one pixel, and what its file said about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    width: u32,
    height: u32,
    format: PixelFormat,
    pixels: Vec<u8>,
    /// Text, EXIF, XMP and ICC of the file it came from; what [`crate::encode`] writes into the next one.
    pub metadata: Metadata,
}

impl Picture {
    /// A picture from its pixels, `[height, width, channels]`.
    ///
    /// # Errors
    /// [`ImagingError::Shape`] when a side is zero or the length does not fit.
    pub fn new(width: u32, height: u32, format: PixelFormat, pixels: Vec<u8>) -> Result<Self, ImagingError> {
        let expected = u64::from(width) * u64::from(height) * format.channels() as u64;
        if expected == 0 || expected != pixels.len() as u64 {
            return Err(ImagingError::Shape {
                width,
                height,
                channels: format.channels(),
                expected,
                found: pixels.len() as u64,
            });
        }
        Ok(Self { width, height, format, pixels, metadata: Metadata::default() })
    }

    /// A picture of one colour; three values make an RGB picture, four an RGBA one.
    ///
    /// # Errors
    /// [`ImagingError::Argument`] for another number of values, [`ImagingError::Shape`] when a side is zero.
    pub fn filled(width: u32, height: u32, colour: &[u8]) -> Result<Self, ImagingError> {
        let format = match colour.len() {
            3 => PixelFormat::Rgb8,
            4 => PixelFormat::Rgba8,
            n => return Err(ImagingError::argument("colour", format!("wants 3 or 4 values, has {n}"))),
        };
        let count = usize::try_from(u64::from(width) * u64::from(height))
            .map_err(|_| ImagingError::argument("size", "too large for this machine"))?;
        Self::new(width, height, format, colour.repeat(count))
    }

    /// A picture from floats `[height, width, 3 or 4]` in 0…1; values outside are clamped, NaN becomes 0.
    ///
    /// # Errors
    /// As [`Picture::new`].
    pub fn from_unit_f32(width: u32, height: u32, format: PixelFormat, values: &[f32]) -> Result<Self, ImagingError> {
        // `as u8` saturates and takes NaN to 0; adding one half rounds to nearest.
        Self::new(width, height, format, values.iter().map(|v| (v * 255.0 + 0.5) as u8).collect())
    }

    /// The colour channels as floats in 0…1, `[height, width, 3]`; alpha is left out.
    pub fn to_unit_f32(&self) -> Vec<f32> {
        let channels = self.format.channels();
        self.pixels.chunks_exact(channels).flat_map(|p| [p[0], p[1], p[2]]).map(|v| f32::from(v) / 255.0).collect()
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// Channels and depth.
    pub fn format(&self) -> PixelFormat {
        self.format
    }

    /// All values, `[height, width, channels]`.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// All values, to be changed in place.
    pub fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }

    /// The values, without the rest.
    pub fn into_pixels(self) -> Vec<u8> {
        self.pixels
    }

    /// One pixel's values; `None` outside.
    pub fn pixel(&self, x: u32, y: u32) -> Option<&[u8]> {
        if x >= self.width || y >= self.height {
            return None;
        }
        let channels = self.format.channels();
        let start = (y as usize * self.width as usize + x as usize) * channels;
        self.pixels.get(start..start + channels)
    }

    /// The alpha channel, `[height, width]`; `None` for an RGB picture.
    pub fn alpha(&self) -> Option<Vec<u8>> {
        self.format.has_alpha().then(|| self.pixels.chunks_exact(4).map(|p| p[3]).collect())
    }

    /// The same picture without alpha, laid over `background`; unchanged when it has none.
    pub fn flattened(&self, background: [u8; 3]) -> Self {
        if !self.format.has_alpha() {
            return self.clone();
        }
        let over = |value: u8, alpha: u32, behind: u8| {
            ((u32::from(value) * alpha + u32::from(behind) * (255 - alpha) + 127) / 255) as u8
        };
        let pixels = self
            .pixels
            .chunks_exact(4)
            .flat_map(|p| {
                let alpha = u32::from(p[3]);
                [over(p[0], alpha, background[0]), over(p[1], alpha, background[1]), over(p[2], alpha, background[2])]
            })
            .collect();
        Self {
            width: self.width,
            height: self.height,
            format: PixelFormat::Rgb8,
            pixels,
            metadata: self.metadata.clone(),
        }
    }

    /// The same picture with `alpha` (`[height, width]`) as its alpha channel.
    ///
    /// # Errors
    /// [`ImagingError::Shape`] when the length does not fit.
    pub fn with_alpha(&self, alpha: &[u8]) -> Result<Self, ImagingError> {
        let count = self.width as usize * self.height as usize;
        if alpha.len() != count {
            return Err(ImagingError::Shape {
                width: self.width,
                height: self.height,
                channels: 1,
                expected: count as u64,
                found: alpha.len() as u64,
            });
        }
        let channels = self.format.channels();
        let pixels = self.pixels.chunks_exact(channels).zip(alpha).flat_map(|(p, &a)| [p[0], p[1], p[2], a]).collect();
        Ok(Self {
            width: self.width,
            height: self.height,
            format: PixelFormat::Rgba8,
            pixels,
            metadata: self.metadata.clone(),
        })
    }

    /// A rectangle of the picture.
    ///
    /// # Errors
    /// [`ImagingError::Argument`] when it is empty or reaches outside.
    pub fn crop(&self, left: u32, top: u32, width: u32, height: u32) -> Result<Self, ImagingError> {
        let inside =
            |start: u32, length: u32, side: u32| length > 0 && start.checked_add(length).is_some_and(|end| end <= side);
        if !inside(left, width, self.width) || !inside(top, height, self.height) {
            return Err(ImagingError::argument(
                "crop",
                format!(
                    "{width}x{height} at {left},{top} does not lie inside the picture of {}x{}",
                    self.width, self.height
                ),
            ));
        }
        let channels = self.format.channels();
        let stride = self.width as usize * channels;
        let row = width as usize * channels;
        let mut pixels = Vec::with_capacity(row * height as usize);
        for y in top as usize..(top + height) as usize {
            let start = y * stride + left as usize * channels;
            pixels.extend_from_slice(&self.pixels[start..start + row]);
        }
        Ok(Self { width, height, format: self.format, pixels, metadata: self.metadata.clone() })
    }

    /// Turns and mirrors as the EXIF orientation 1…8 asks, so that the picture stands upright; other values do nothing.
    pub fn oriented(self, orientation: u16) -> Self {
        if !(2..=8).contains(&orientation) {
            return self;
        }
        let (width, height, pixels) =
            turned(&self.pixels, (self.width, self.height), self.format.channels(), orientation);
        Self { width, height, pixels, ..self }
    }
}

/// Pixels `[height, width, channels]` turned and mirrored as the EXIF orientation 2…8 asks, with their new size.
pub(crate) fn turned<T: Copy>(
    values: &[T],
    (width, height): (u32, u32),
    channels: usize,
    orientation: u16,
) -> (u32, u32, Vec<T>) {
    let (w, h) = (width as usize, height as usize);
    let (new_w, new_h) = if orientation >= 5 { (h, w) } else { (w, h) };
    let mut out = Vec::with_capacity(values.len());
    for y in 0..new_h {
        for x in 0..new_w {
            let (sx, sy) = match orientation {
                2 => (w - 1 - x, y),
                3 => (w - 1 - x, h - 1 - y),
                4 => (x, h - 1 - y),
                5 => (y, x),
                6 => (y, h - 1 - x),
                7 => (w - 1 - y, h - 1 - x),
                _ => (w - 1 - y, x),
            };
            let start = (sy * w + sx) * channels;
            out.extend_from_slice(&values[start..start + channels]);
        }
    }
    (new_w as u32, new_h as u32, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(width: u32, height: u32) -> Picture {
        let pixels = (0..width * height).flat_map(|i| [i as u8, 0, 0]).collect();
        Picture::new(width, height, PixelFormat::Rgb8, pixels).unwrap()
    }

    fn reds(picture: &Picture) -> Vec<u8> {
        picture.pixels().chunks_exact(3).map(|p| p[0]).collect()
    }

    #[test]
    fn orientations_turn_as_the_exif_standard_says() {
        // 0 1 2
        // 3 4 5
        for (orientation, width, expected) in [
            (1, 3, [0, 1, 2, 3, 4, 5]),
            (2, 3, [2, 1, 0, 5, 4, 3]),
            (3, 3, [5, 4, 3, 2, 1, 0]),
            (4, 3, [3, 4, 5, 0, 1, 2]),
            (5, 2, [0, 3, 1, 4, 2, 5]),
            (6, 2, [3, 0, 4, 1, 5, 2]),
            (7, 2, [5, 2, 4, 1, 3, 0]),
            (8, 2, [2, 5, 1, 4, 0, 3]),
            (9, 3, [0, 1, 2, 3, 4, 5]),
        ] {
            let turned = numbered(3, 2).oriented(orientation);
            assert_eq!((turned.width(), reds(&turned)), (width, expected.to_vec()), "orientation {orientation}");
        }
    }

    #[test]
    fn floats_round_clamp_and_survive_nan() {
        let picture = Picture::from_unit_f32(1, 1, PixelFormat::Rgb8, &[-1.0, f32::NAN, 7.0]).unwrap();
        assert_eq!(picture.pixels(), [0, 0, 255]);
        let all: Vec<u8> = (0..=255).cycle().take(768).collect();
        let picture = Picture::new(256, 1, PixelFormat::Rgb8, all).unwrap();
        let back = Picture::from_unit_f32(256, 1, PixelFormat::Rgb8, &picture.to_unit_f32()).unwrap();
        assert_eq!(back, picture);
    }

    #[test]
    fn crops_and_refuses_what_lies_outside() {
        assert_eq!(reds(&numbered(3, 2).crop(1, 0, 2, 2).unwrap()), [1, 2, 4, 5]);
        assert!(numbered(3, 2).crop(2, 0, 2, 2).is_err());
        assert!(numbered(3, 2).crop(u32::MAX, 0, 2, 2).is_err());
        assert!(Picture::new(0, 2, PixelFormat::Rgb8, vec![]).is_err());
    }

    #[test]
    fn alpha_goes_over_the_background() {
        let picture = numbered(1, 1).with_alpha(&[0]).unwrap();
        assert_eq!(picture.flattened([9, 8, 7]).pixels(), [9, 8, 7]);
        assert_eq!(picture.alpha(), Some(vec![0]));
        let half = Picture::new(1, 1, PixelFormat::Rgba8, vec![255, 0, 0, 128]).unwrap();
        assert_eq!(half.flattened([255; 3]).pixels(), [255, 127, 127]);
    }
}
