//! A picture as its file holds it: grey or colour, with or without alpha, 8 or 16 bits a value.
//!
//! [`Picture`] is what people look at; this is what is worked on where nothing may be lost on the way: enlarging,
//! medical pictures, 16-bit PNG and TIFF.

use crate::colour::{ProfileSpace, space_of, to_srgb};
use crate::picture::turned;
use crate::{ImagingError, Metadata, Picture, PixelFormat, Warning};

/// What the values of a pixel mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channels {
    /// Grey.
    Grey,
    /// Grey and straight alpha.
    GreyAlpha,
    /// Red, green, blue.
    Rgb,
    /// Red, green, blue and straight alpha.
    Rgba,
}

impl Channels {
    /// Values per pixel, alpha included.
    pub fn count(self) -> usize {
        self.colours() + usize::from(self.has_alpha())
    }

    /// Values per pixel without alpha: 1 or 3.
    pub fn colours(self) -> usize {
        if matches!(self, Self::Grey | Self::GreyAlpha) { 1 } else { 3 }
    }

    /// True when the last value is alpha.
    pub fn has_alpha(self) -> bool {
        matches!(self, Self::GreyAlpha | Self::Rgba)
    }

    /// The same colours, with or without alpha.
    pub fn with_alpha(self, alpha: bool) -> Self {
        match (self.colours(), alpha) {
            (1, false) => Self::Grey,
            (1, true) => Self::GreyAlpha,
            (_, false) => Self::Rgb,
            (_, true) => Self::Rgba,
        }
    }
}

/// Bits of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Depth {
    /// 0…255.
    Eight,
    /// 0…65 535.
    Sixteen,
}

impl Depth {
    /// Bytes of one value.
    pub fn bytes(self) -> usize {
        if self == Self::Eight { 1 } else { 2 }
    }
}

/// Values of either depth, `[height, width, channels]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Samples {
    /// 8 bits each.
    U8(Vec<u8>),
    /// 16 bits each, full range.
    U16(Vec<u16>),
}

/// Borrowed [`Samples`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SamplesRef<'a> {
    /// 8 bits each.
    U8(&'a [u8]),
    /// 16 bits each, full range.
    U16(&'a [u16]),
}

impl Samples {
    /// The same values, borrowed.
    pub fn view(&self) -> SamplesRef<'_> {
        match self {
            Self::U8(values) => SamplesRef::U8(values),
            Self::U16(values) => SamplesRef::U16(values),
        }
    }
}

impl<'a> SamplesRef<'a> {
    /// Number of values.
    pub fn len(self) -> usize {
        match self {
            Self::U8(values) => values.len(),
            Self::U16(values) => values.len(),
        }
    }

    /// True when there is no value.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Bits of one value.
    pub fn depth(self) -> Depth {
        if matches!(self, Self::U8(_)) { Depth::Eight } else { Depth::Sixteen }
    }

    /// A part of the values; `None` when it reaches outside.
    pub fn get(self, range: std::ops::Range<usize>) -> Option<SamplesRef<'a>> {
        match self {
            Self::U8(values) => values.get(range).map(SamplesRef::U8),
            Self::U16(values) => values.get(range).map(SamplesRef::U16),
        }
    }

    /// One value in 0…1; callers keep `index` below [`SamplesRef::len`].
    fn unit(self, index: usize) -> f32 {
        match self {
            Self::U8(values) => f32::from(values[index]) / 255.0,
            Self::U16(values) => f32::from(values[index]) / 65_535.0,
        }
    }

    /// A copy that owns its values.
    pub fn to_owned(self) -> Samples {
        match self {
            Self::U8(values) => Samples::U8(values.to_vec()),
            Self::U16(values) => Samples::U16(values.to_vec()),
        }
    }
}

/// 16 bits brought to 8, to the nearest: `round(v / 257)`.
pub(crate) fn to_eight(value: u16) -> u8 {
    ((u32::from(value) + 128) / 257) as u8
}

/// A picture with at least one pixel in the channels and depth of its file, what the file said beside the pixels, and
/// what its reader should know.
#[derive(Clone, Debug, PartialEq)]
pub struct DeepPicture {
    width: u32,
    height: u32,
    channels: Channels,
    samples: Samples,
    /// Text, EXIF, XMP and ICC.
    pub metadata: Metadata,
    /// What was odd about the file although its pixels are right.
    pub warnings: Vec<Warning>,
}

impl DeepPicture {
    /// A picture from its values.
    ///
    /// # Errors
    /// [`ImagingError::Shape`] when a side is zero or the length does not fit.
    pub fn new(width: u32, height: u32, channels: Channels, samples: Samples) -> Result<Self, ImagingError> {
        check_shape(width, height, channels, samples.view().len())?;
        Ok(Self { width, height, channels, samples, metadata: Metadata::default(), warnings: Vec::new() })
    }

    /// A picture from floats in 0…1, clamped and rounded to the nearest value; NaN becomes 0. `colour` is
    /// `[height, width, 1 or 3]`, `alpha` `[height, width]`.
    ///
    /// # Errors
    /// [`ImagingError::Shape`] when a side is zero or a length does not fit; [`ImagingError::Argument`] when `alpha` is
    /// there and `channels` has none, or the other way round.
    pub fn from_unit_f32(
        width: u32,
        height: u32,
        channels: Channels,
        depth: Depth,
        colour: &[f32],
        alpha: Option<&[f32]>,
    ) -> Result<Self, ImagingError> {
        if alpha.is_some() != channels.has_alpha() {
            return Err(ImagingError::argument("alpha", format!("does not go with {channels:?}")));
        }
        check_shape(width, height, channels.with_alpha(false), colour.len())?;
        if let Some(alpha) = alpha {
            check_shape(width, height, Channels::Grey, alpha.len())?;
        }
        let interleaved = Interleaved { colour, alpha, colours: channels.colours(), count: channels.count() };
        // `as` saturates and takes NaN to 0; adding one half rounds to nearest.
        let samples = match depth {
            Depth::Eight => Samples::U8(interleaved.map(|v| (v * 255.0 + 0.5) as u8)),
            Depth::Sixteen => Samples::U16(interleaved.map(|v| (v * 65_535.0 + 0.5) as u16)),
        };
        Self::new(width, height, channels, samples)
    }

    /// The colours in 0…1, `[height, width, 1 or 3]`, without alpha.
    pub fn colour_unit_f32(&self) -> Vec<f32> {
        let (colours, count) = (self.channels.colours(), self.channels.count());
        let samples = self.samples.view();
        let pixels = samples.len() / count;
        (0..pixels).flat_map(|p| (0..colours).map(move |c| samples.unit(p * count + c))).collect()
    }

    /// Alpha in 0…1, `[height, width]`; `None` when there is none.
    pub fn alpha_unit_f32(&self) -> Option<Vec<f32>> {
        let count = self.channels.count();
        let samples = self.samples.view();
        self.channels.has_alpha().then(|| (1..=samples.len() / count).map(|p| samples.unit(p * count - 1)).collect())
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// What the values mean.
    pub fn channels(&self) -> Channels {
        self.channels
    }

    /// Bits of one value.
    pub fn depth(&self) -> Depth {
        self.samples.view().depth()
    }

    /// All values, `[height, width, channels]`.
    pub fn samples(&self) -> SamplesRef<'_> {
        self.samples.view()
    }

    /// All values, to be changed in place.
    pub(crate) fn samples_mut(&mut self) -> &mut Samples {
        &mut self.samples
    }

    /// The same picture with other values of the same size: `channels` and depth may differ.
    ///
    /// # Errors
    /// [`ImagingError::Shape`] when the length does not fit.
    pub fn with_samples(self, channels: Channels, samples: Samples) -> Result<Self, ImagingError> {
        check_shape(self.width, self.height, channels, samples.view().len())?;
        Ok(Self { channels, samples, ..self })
    }

    /// Rows `[top, top + rows)`, all values of them; `None` when they reach outside.
    pub fn rows(&self, top: u32, rows: u32) -> Option<SamplesRef<'_>> {
        let row = self.width as usize * self.channels.count();
        let end = top.checked_add(rows).filter(|end| *end <= self.height)?;
        self.samples.view().get(top as usize * row..end as usize * row)
    }

    /// Turned and mirrored as the EXIF orientation 1…8 asks; other values do nothing.
    pub fn oriented(self, orientation: u16) -> Self {
        if !(2..=8).contains(&orientation) {
            return self;
        }
        let (size, count) = ((self.width, self.height), self.channels.count());
        let (width, height, samples) = match &self.samples {
            Samples::U8(values) => {
                let (width, height, values) = turned(values, size, count, orientation);
                (width, height, Samples::U8(values))
            }
            Samples::U16(values) => {
                let (width, height, values) = turned(values, size, count, orientation);
                (width, height, Samples::U16(values))
            }
        };
        Self { width, height, samples, ..self }
    }

    /// A part of the picture; metadata and warnings stay.
    ///
    /// # Errors
    /// [`ImagingError::Shape`] when the part is empty or reaches outside.
    pub fn cropped(self, left: u32, top: u32, width: u32, height: u32) -> Result<Self, ImagingError> {
        let inside = |start: u32, length: u32, side: u32| start.checked_add(length).is_some_and(|end| end <= side);
        let (whole, count) = (self.width as usize, self.channels.count());
        let rows = if inside(left, width, self.width) && inside(top, height, self.height) {
            top as usize..(top + height) as usize
        } else {
            0..0
        };
        let row = |y: usize| {
            let start = (y * whole + left as usize) * count;
            start..start + width as usize * count
        };
        let samples = match &self.samples {
            Samples::U8(values) => Samples::U8(rows.flat_map(|y| &values[row(y)]).copied().collect()),
            Samples::U16(values) => Samples::U16(rows.flat_map(|y| &values[row(y)]).copied().collect()),
        };
        check_shape(width, height, self.channels, samples.view().len())?;
        Ok(Self { width, height, samples, ..self })
    }

    /// The picture in 8 bits and colour, as it is shown. A profile for grey is applied, since it says nothing about
    /// colours; one for colours stays. Warnings are left behind.
    ///
    /// # Errors
    /// None in practice: the size of a picture that exists fits.
    pub fn into_picture(self) -> Result<Picture, ImagingError> {
        let grey = self.metadata.icc.as_deref().and_then(space_of) == Some(ProfileSpace::Grey);
        if grey { to_srgb(self)?.shown() } else { self.shown() }
    }

    fn shown(self) -> Result<Picture, ImagingError> {
        let format = if self.channels.has_alpha() { PixelFormat::Rgba8 } else { PixelFormat::Rgb8 };
        let values = match self.samples {
            Samples::U8(values) => values,
            Samples::U16(values) => values.into_iter().map(to_eight).collect(),
        };
        let pixels = match self.channels {
            Channels::Rgb | Channels::Rgba => values,
            Channels::Grey => values.into_iter().flat_map(|v| [v, v, v]).collect(),
            Channels::GreyAlpha => values.chunks_exact(2).flat_map(|p| [p[0], p[0], p[0], p[1]]).collect(),
        };
        let mut picture = Picture::new(self.width, self.height, format, pixels)?;
        picture.metadata = self.metadata;
        Ok(picture)
    }
}

impl From<Picture> for DeepPicture {
    fn from(picture: Picture) -> Self {
        let channels = if picture.format().has_alpha() { Channels::Rgba } else { Channels::Rgb };
        let (width, height, metadata) = (picture.width(), picture.height(), picture.metadata.clone());
        let samples = Samples::U8(picture.into_pixels());
        Self { width, height, channels, samples, metadata, warnings: Vec::new() }
    }
}

/// Colour and alpha planes on their way into one row of values.
struct Interleaved<'a> {
    colour: &'a [f32],
    alpha: Option<&'a [f32]>,
    colours: usize,
    count: usize,
}

impl Interleaved<'_> {
    fn map<T>(&self, to: impl Fn(f32) -> T) -> Vec<T> {
        let mut out = Vec::with_capacity(self.colour.len() / self.colours * self.count);
        for (index, pixel) in self.colour.chunks_exact(self.colours).enumerate() {
            out.extend(pixel.iter().map(|v| to(*v)));
            out.extend(self.alpha.map(|alpha| to(alpha[index])));
        }
        out
    }
}

fn check_shape(width: u32, height: u32, channels: Channels, found: usize) -> Result<(), ImagingError> {
    let expected = (u64::from(width) * u64::from(height)).saturating_mul(channels.count() as u64);
    let found = found as u64;
    if expected == 0 || expected != found {
        return Err(ImagingError::Shape { width, height, channels: channels.count(), expected, found });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Channels; 4] = [Channels::Grey, Channels::GreyAlpha, Channels::Rgb, Channels::Rgba];

    #[test]
    fn floats_return_the_same_values_in_every_layout_and_depth() {
        for channels in ALL {
            for depth in [Depth::Eight, Depth::Sixteen] {
                let length = 6 * channels.count();
                let samples = match depth {
                    Depth::Eight => Samples::U8((0..length).map(|i| (i * 37 % 256) as u8).collect()),
                    Depth::Sixteen => Samples::U16((0..length).map(|i| (i * 9_973 % 65_536) as u16).collect()),
                };
                let picture = DeepPicture::new(3, 2, channels, samples).unwrap();
                let (colour, alpha) = (picture.colour_unit_f32(), picture.alpha_unit_f32());
                let back = DeepPicture::from_unit_f32(3, 2, channels, depth, &colour, alpha.as_deref()).unwrap();
                assert_eq!(back, picture, "{channels:?} {depth:?}");
            }
        }
        let odd = [-1.0, f32::NAN, 7.0];
        let picture = DeepPicture::from_unit_f32(3, 1, Channels::Grey, Depth::Sixteen, &odd, None).unwrap();
        assert_eq!(picture.samples(), SamplesRef::U16(&[0, 0, 65_535]));
        assert!(DeepPicture::from_unit_f32(3, 1, Channels::GreyAlpha, Depth::Sixteen, &odd, None).is_err());
        assert!(DeepPicture::from_unit_f32(2, 1, Channels::Grey, Depth::Eight, &odd, None).is_err());
    }

    #[test]
    fn eight_bits_are_the_nearest_of_sixteen() {
        for value in 0..=255u8 {
            assert_eq!(to_eight(u16::from(value) * 257), value);
        }
        assert_eq!((to_eight(128), to_eight(129), to_eight(65_535)), (0, 1, 255));
        let grey = DeepPicture::new(1, 1, Channels::GreyAlpha, Samples::U16(vec![65_535, 257])).unwrap();
        let shown = grey.into_picture().unwrap();
        assert_eq!((shown.format(), shown.pixels()), (PixelFormat::Rgba8, &[255, 255, 255, 1][..]));
    }

    #[test]
    fn turning_and_rows_keep_pixels_together() {
        let picture = DeepPicture::new(2, 1, Channels::GreyAlpha, Samples::U16(vec![1, 2, 3, 4])).unwrap();
        let upright = picture.oriented(6);
        assert_eq!((upright.width(), upright.height()), (1, 2));
        assert_eq!(upright.samples(), SamplesRef::U16(&[1, 2, 3, 4]));
        assert_eq!(upright.rows(1, 1), Some(SamplesRef::U16(&[3, 4])));
        assert_eq!((upright.rows(1, 2), upright.rows(u32::MAX, 2)), (None, None));
    }
}
