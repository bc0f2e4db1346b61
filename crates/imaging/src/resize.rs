//! Resampling with `fast_image_resize`: separable filters whose support grows when a picture shrinks (no aliasing),
//! alpha-weighted, on the stored values as Pillow does or in linear light.

use fast_image_resize as fir;
use fir::images::{Image, ImageRef};

use crate::{ImagingError, Picture, PixelFormat};

/// Interpolation between pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Filter {
    /// The nearest pixel: pixel art and masks.
    Nearest,
    /// Mean over the area that a new pixel covers.
    Area,
    /// Triangle.
    Bilinear,
    /// Catmull-Rom cubic (a = −0.5), as Pillow's `BICUBIC`.
    Bicubic,
    /// Windowed sinc over three lobes.
    #[default]
    Lanczos3,
}

/// How to resize.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResizeOptions {
    /// The interpolation.
    pub filter: Filter,
    /// Averages light instead of stored sRGB values: fine bright detail keeps its brightness. Other programs do not
    /// do this, so it is off where their result is to be met.
    pub linear_light: bool,
}

impl From<Filter> for ResizeOptions {
    fn from(filter: Filter) -> Self {
        Self { filter, linear_light: false }
    }
}

/// Resizes to exactly `width` × `height`; the metadata is carried over.
///
/// # Errors
/// [`ImagingError::Argument`] when a side is zero or the result does not fit into memory.
pub fn resize(picture: &Picture, width: u32, height: u32, options: &ResizeOptions) -> Result<Picture, ImagingError> {
    check_size(width, height)?;
    if (width, height) == (picture.width(), picture.height()) {
        return Ok(picture.clone());
    }
    let (narrow, wide) = match picture.format() {
        PixelFormat::Rgb8 => (fir::PixelType::U8x3, fir::PixelType::U16x3),
        PixelFormat::Rgba8 => (fir::PixelType::U8x4, fir::PixelType::U16x4),
    };
    let source = ImageRef::new(picture.width(), picture.height(), picture.pixels(), narrow).map_err(refused)?;
    let mut target = Image::new(width, height, narrow);
    let settings = fir::ResizeOptions::new().resize_alg(algorithm(options.filter));
    let mut resizer = fir::Resizer::new();
    if options.linear_light && options.filter != Filter::Nearest {
        let to_light = fir::create_srgb_mapper();
        let mut light = Image::new(picture.width(), picture.height(), wide);
        to_light.forward_map(&source, &mut light).map_err(refused)?;
        let mut resized = Image::new(width, height, wide);
        resizer.resize(&light, &mut resized, &settings).map_err(refused)?;
        to_light.backward_map(&resized, &mut target).map_err(refused)?;
    } else {
        resizer.resize(&source, &mut target, &settings).map_err(refused)?;
    }
    let mut resized = Picture::new(width, height, picture.format(), target.into_vec())?;
    resized.metadata = picture.metadata.clone();
    Ok(resized)
}

/// Resizes so that the picture covers `width` × `height` and cuts off what is over, equally on both sides.
///
/// # Errors
/// As [`resize`].
pub fn resize_to_cover(
    picture: &Picture,
    width: u32,
    height: u32,
    options: &ResizeOptions,
) -> Result<Picture, ImagingError> {
    check_size(width, height)?;
    let scale = (f64::from(width) / f64::from(picture.width())).max(f64::from(height) / f64::from(picture.height()));
    let side = |old: u32, least: u32| ((f64::from(old) * scale).round() as u32).max(least);
    let (full_width, full_height) = (side(picture.width(), width), side(picture.height(), height));
    let resized = resize(picture, full_width, full_height, options)?;
    resized.crop((full_width - width) / 2, (full_height - height) / 2, width, height)
}

/// Resizes so that the picture fits into `width` × `height` with its proportions kept.
///
/// # Errors
/// As [`resize`].
pub fn resize_to_fit(
    picture: &Picture,
    width: u32,
    height: u32,
    options: &ResizeOptions,
) -> Result<Picture, ImagingError> {
    check_size(width, height)?;
    let scale = (f64::from(width) / f64::from(picture.width())).min(f64::from(height) / f64::from(picture.height()));
    let side = |old: u32, most: u32| ((f64::from(old) * scale).round() as u32).clamp(1, most);
    resize(picture, side(picture.width(), width), side(picture.height(), height), options)
}

/// Resizes one channel, `[height, width]`: masks.
///
/// # Errors
/// [`ImagingError::Shape`] when the length does not fit, [`ImagingError::Argument`] for a side of zero.
pub fn resize_grey(values: &[u8], from: (u32, u32), to: (u32, u32), filter: Filter) -> Result<Vec<u8>, ImagingError> {
    check_size(to.0, to.1)?;
    let expected = u64::from(from.0) * u64::from(from.1);
    if expected == 0 || expected != values.len() as u64 {
        let found = values.len() as u64;
        return Err(ImagingError::Shape { width: from.0, height: from.1, channels: 1, expected, found });
    }
    let source = ImageRef::new(from.0, from.1, values, fir::PixelType::U8).map_err(refused)?;
    let mut target = Image::new(to.0, to.1, fir::PixelType::U8);
    fir::Resizer::new()
        .resize(&source, &mut target, &fir::ResizeOptions::new().resize_alg(algorithm(filter)))
        .map_err(refused)?;
    Ok(target.into_vec())
}

fn algorithm(filter: Filter) -> fir::ResizeAlg {
    match filter {
        Filter::Nearest => fir::ResizeAlg::Nearest,
        Filter::Area => fir::ResizeAlg::Convolution(fir::FilterType::Box),
        Filter::Bilinear => fir::ResizeAlg::Convolution(fir::FilterType::Bilinear),
        Filter::Bicubic => fir::ResizeAlg::Convolution(fir::FilterType::CatmullRom),
        Filter::Lanczos3 => fir::ResizeAlg::Convolution(fir::FilterType::Lanczos3),
    }
}

fn check_size(width: u32, height: u32) -> Result<(), ImagingError> {
    // The widest pixel in use is four 16-bit values.
    let fits = usize::try_from(u64::from(width) * u64::from(height) * 8).is_ok_and(|n| n <= isize::MAX as usize);
    if width == 0 || height == 0 || !fits {
        return Err(ImagingError::argument("size", format!("{width}x{height} is no size for a picture")));
    }
    Ok(())
}

fn refused(error: impl std::fmt::Display) -> ImagingError {
    ImagingError::argument("resize", error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Filter; 5] = [Filter::Nearest, Filter::Area, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos3];

    #[test]
    fn a_flat_picture_stays_flat_under_every_filter() {
        for filter in ALL {
            for linear_light in [false, true] {
                let picture = Picture::filled(7, 5, &[10, 100, 200, 255]).unwrap();
                let options = ResizeOptions { filter, linear_light };
                let resized = resize(&picture, 13, 3, &options).unwrap();
                for pixel in resized.pixels().chunks_exact(4) {
                    for (value, wanted) in pixel.iter().zip([10, 100, 200, 255u8]) {
                        assert!(value.abs_diff(wanted) <= 1, "{filter:?} {linear_light} {pixel:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn area_takes_the_mean_and_linear_light_the_mean_of_light() {
        let picture = Picture::new(2, 1, PixelFormat::Rgb8, vec![0, 0, 0, 255, 255, 255]).unwrap();
        let plain = resize(&picture, 1, 1, &Filter::Area.into()).unwrap();
        assert!(plain.pixels()[0].abs_diff(128) <= 1);
        let light = resize(&picture, 1, 1, &ResizeOptions { filter: Filter::Area, linear_light: true }).unwrap();
        // Half the light of white is sRGB 187.5.
        assert!(light.pixels()[0].abs_diff(188) <= 1, "{:?}", light.pixels());
    }

    #[test]
    fn transparent_colour_does_not_bleed() {
        let picture = Picture::new(2, 1, PixelFormat::Rgba8, vec![255, 0, 0, 255, 0, 255, 0, 0]).unwrap();
        let small = resize(&picture, 1, 1, &Filter::Area.into()).unwrap();
        assert_eq!(&small.pixels()[..3], [255, 0, 0]);
        assert!(small.pixels()[3].abs_diff(128) <= 1);
    }

    #[test]
    fn covering_and_fitting_keep_proportions() {
        let picture = Picture::filled(300, 100, &[1, 2, 3]).unwrap();
        let cover = resize_to_cover(&picture, 64, 64, &Filter::Bicubic.into()).unwrap();
        assert_eq!((cover.width(), cover.height()), (64, 64));
        let fit = resize_to_fit(&picture, 64, 64, &Filter::Bicubic.into()).unwrap();
        assert_eq!((fit.width(), fit.height()), (64, 21));
        assert!(resize(&picture, 0, 5, &ResizeOptions::default()).is_err());
        assert!(resize_grey(&[1, 2, 3], (2, 2), (1, 1), Filter::Area).is_err());
        assert_eq!(resize_grey(&[7; 4], (2, 2), (1, 1), Filter::Area).unwrap(), [7]);
    }
}
