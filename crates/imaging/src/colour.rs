//! ICC profiles: checked when a picture is read, carried over when it is written, and applied on request.
//!
//! A profile goes with its pixels: pixels that are no longer what it describes lose it (ICC.1:2022).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use moxcms::{
    CmsError, ColorProfile, DataColorSpace, Layout, Transform8BitExecutor, Transform16BitExecutor, TransformOptions,
};

use crate::{Channels, DeepPicture, Depth, ImagingError, Metadata, Picture, Samples, SamplesRef, Warning};

/// Pixels that are converted at a time.
const BLOCK: usize = 1 << 16;

/// What the values of a profile's pictures are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProfileSpace {
    /// Red, green, blue.
    Rgb,
    /// Grey.
    Grey,
    /// Four inks.
    Cmyk,
    /// Something else.
    Other,
}

/// What a profile's pictures are made of; `None` when these bytes are no profile.
pub fn space_of(profile: &[u8]) -> Option<ProfileSpace> {
    if profile.get(36..40) != Some(b"acsp") {
        return None;
    }
    Some(match profile.get(16..20)? {
        b"RGB " => ProfileSpace::Rgb,
        b"GRAY" => ProfileSpace::Grey,
        b"CMYK" => ProfileSpace::Cmyk,
        _ => ProfileSpace::Other,
    })
}

/// Takes a profile away that cannot be about these pixels, and says so.
pub(crate) fn check_profile(metadata: &mut Metadata, channels: Channels, warnings: &mut Vec<Warning>) {
    let Some(profile) = &metadata.icc else { return };
    let reason = match (space_of(profile), channels.colours()) {
        (Some(ProfileSpace::Rgb), _) | (Some(ProfileSpace::Grey), 1) => return,
        // The inks it was about were turned into colours by the reader, who has said so where that was rough.
        (Some(ProfileSpace::Cmyk), 3) => {
            metadata.icc = None;
            return;
        }
        (None, _) => "it is damaged",
        _ => "it is about other values than this picture's",
    };
    metadata.icc = None;
    warnings.push(Warning::left_out("ICC profile", reason));
}

/// The same colours as sRGB values, without a profile. A picture that has none is sRGB already; one whose profile cannot
/// be used is returned as it is, without the profile and with a warning.
///
/// # Errors
/// None in practice: the converted values have the size of the old ones.
pub fn to_srgb(mut picture: DeepPicture) -> Result<DeepPicture, ImagingError> {
    let Some(profile) = picture.metadata.icc.take() else { return Ok(picture) };
    let channels = picture.channels();
    let converter = ToSrgb::new(&profile, channels, picture.depth());
    match converter.and_then(|converter| converter.apply(picture.samples())) {
        Some(samples) => picture.with_samples(channels, samples),
        None => {
            picture.warnings.push(ToSrgb::unusable());
            Ok(picture)
        }
    }
}

/// As [`to_srgb`], for a picture of 8 bits.
///
/// # Errors
/// As [`to_srgb`].
pub fn picture_to_srgb(picture: Picture) -> Result<Picture, ImagingError> {
    if picture.metadata.icc.is_none() {
        return Ok(picture);
    }
    to_srgb(picture.into())?.into_picture()
}

/// 8-bit inks, 255 where they are full, `[pixels, 4]`, as 8-bit sRGB; `None` when the profile cannot be used.
pub(crate) fn inks_to_srgb(profile: &[u8], inks: &[u8]) -> Option<Vec<u8>> {
    if space_of(profile) != Some(ProfileSpace::Cmyk) {
        return None;
    }
    catch_unwind(AssertUnwindSafe(|| {
        let source = ColorProfile::new_from_slice(profile).ok()?;
        // Four inks take the layout of four values.
        let transform = source
            .create_transform_8bit(Layout::Rgba, &ColorProfile::new_srgb(), Layout::Rgb, TransformOptions::default())
            .ok()?;
        let mut out = vec![0; inks.len() / 4 * 3];
        for (from, to) in inks.chunks(BLOCK * 4).zip(out.chunks_mut(BLOCK * 3)) {
            transform.transform(from, to).ok()?;
        }
        Some(out)
    }))
    .ok()
    .flatten()
}

/// A profile on its way to sRGB, for values of one kind. It may be given any number of whole pixels at a time.
pub(crate) struct ToSrgb {
    transform: Transform,
    channels: Channels,
    /// The profile is about grey.
    grey: bool,
}

enum Transform {
    Eight(Arc<Transform8BitExecutor>),
    Sixteen(Arc<Transform16BitExecutor>),
}

impl ToSrgb {
    /// `None` when the profile cannot be used for such values.
    pub(crate) fn new(profile: &[u8], channels: Channels, depth: Depth) -> Option<Self> {
        // The library promises not to panic; should a hostile profile make it, it is only a profile that cannot be used.
        let make = AssertUnwindSafe(|| {
            let source = ColorProfile::new_from_slice(profile).ok()?;
            let grey = source.color_space == DataColorSpace::Gray;
            if !(grey && channels.colours() == 1 || source.color_space == DataColorSpace::Rgb) {
                return None;
            }
            let (from, to) = match (grey, channels.has_alpha()) {
                (true, false) => (Layout::Gray, Layout::Rgb),
                (true, true) => (Layout::GrayAlpha, Layout::Rgba),
                (false, false) => (Layout::Rgb, Layout::Rgb),
                (false, true) => (Layout::Rgba, Layout::Rgba),
            };
            let (srgb, options) = (ColorProfile::new_srgb(), TransformOptions::default());
            let transform = match depth {
                Depth::Eight => Transform::Eight(source.create_transform_8bit(from, &srgb, to, options).ok()?),
                Depth::Sixteen => Transform::Sixteen(source.create_transform_16bit(from, &srgb, to, options).ok()?),
            };
            Some(Self { transform, channels, grey })
        });
        catch_unwind(make).ok().flatten()
    }

    pub(crate) fn unusable() -> Warning {
        Warning::left_out("ICC profile", "it cannot be used; the values are taken for sRGB")
    }

    /// `None` when the values have another depth, or the profile makes the library give up.
    pub(crate) fn apply(&self, samples: SamplesRef<'_>) -> Option<Samples> {
        let apply = AssertUnwindSafe(|| match (samples, &self.transform) {
            (SamplesRef::U8(values), Transform::Eight(transform)) => {
                self.convert(values, |from, to| transform.transform(from, to)).map(Samples::U8)
            }
            (SamplesRef::U16(values), Transform::Sixteen(transform)) => {
                self.convert(values, |from, to| transform.transform(from, to)).map(Samples::U16)
            }
            _ => None,
        });
        catch_unwind(apply).ok().flatten()
    }

    fn convert<T: Copy + Default>(
        &self,
        values: &[T],
        transform: impl Fn(&[T], &mut [T]) -> Result<(), CmsError>,
    ) -> Option<Vec<T>> {
        let (channels, grey) = (self.channels, self.channels.colours() == 1);
        let alpha = usize::from(channels.has_alpha());
        let mut out = Vec::with_capacity(values.len());
        let mut wide = Vec::new();
        for block in values.chunks(BLOCK * channels.count()) {
            // Grey under a profile for colours is the colour with three equal values.
            wide.clear();
            if grey && !self.grey {
                for pixel in block.chunks_exact(1 + alpha) {
                    wide.extend([pixel[0]; 3]);
                    wide.extend(&pixel[1..]);
                }
            } else {
                wide.extend_from_slice(block);
            }
            let mut converted = vec![T::default(); block.len() / channels.count() * (3 + alpha)];
            transform(&wide, &mut converted).ok()?;
            if grey {
                // Grey stays grey: red, green and blue are equal on the grey axis, green is the nearest to it.
                for pixel in converted.chunks_exact(3 + alpha) {
                    out.push(pixel[1]);
                    out.extend(&pixel[3..]);
                }
            } else {
                out.append(&mut converted);
            }
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn srgb_profile() -> Vec<u8> {
        ColorProfile::new_srgb().encode().unwrap()
    }

    #[test]
    fn srgb_to_srgb_changes_nothing_worth_naming() {
        for channels in [Channels::Grey, Channels::GreyAlpha, Channels::Rgb, Channels::Rgba] {
            let values: Vec<u16> = (0..60 * channels.count() as u32).map(|i| (i * 7_919 % 65_536) as u16).collect();
            let mut picture = DeepPicture::new(10, 6, channels, Samples::U16(values.clone())).unwrap();
            picture.metadata.icc = Some(srgb_profile());
            let converted = to_srgb(picture).unwrap();
            assert_eq!((converted.metadata.icc.as_ref(), converted.warnings.len()), (None, 0));
            let SamplesRef::U16(found) = converted.samples() else { panic!("depth") };
            for (a, b) in values.iter().zip(found) {
                assert!(a.abs_diff(*b) <= 40, "{channels:?}: {a} became {b}");
            }
        }
    }

    #[test]
    fn profiles_that_do_not_fit_are_taken_away() {
        let with = |icc: Vec<u8>| {
            let mut picture = DeepPicture::new(1, 1, Channels::Rgb, Samples::U8(vec![1, 2, 3])).unwrap();
            picture.metadata.icc = Some(icc);
            picture
        };
        let mut grey = srgb_profile();
        grey[16..20].copy_from_slice(b"GRAY");
        for icc in [b"no profile".to_vec(), grey.clone()] {
            let mut picture = with(icc);
            check_profile(&mut picture.metadata, Channels::Rgb, &mut picture.warnings);
            assert_eq!((picture.metadata.icc.as_ref(), picture.warnings.len()), (None, 1));
        }
        let converted = to_srgb(with(grey)).unwrap();
        assert_eq!((converted.samples(), converted.warnings.len()), (SamplesRef::U8(&[1, 2, 3]), 1));
        let mut sound = with(srgb_profile());
        check_profile(&mut sound.metadata, Channels::Rgb, &mut sound.warnings);
        assert!(sound.metadata.icc.is_some() && sound.warnings.is_empty());
    }
}
