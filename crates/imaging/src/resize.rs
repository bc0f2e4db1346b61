//! Resampling with `fast_image_resize`: separable filters whose support grows when a picture shrinks (no aliasing),
//! alpha-weighted, on the stored values as Pillow does or in linear light.

use fast_image_resize as fir;
use fir::images::{TypedImage, TypedImageRef};
use fir::pixels::{InnerPixel, U8, U8x3, U8x4, U16x4};

use crate::light::{light_to_srgb, srgb_to_light};
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
    let (from, to) = ((picture.width(), picture.height()), (width, height));
    let linear = options.linear_light && options.filter != Filter::Nearest;
    let pixels = match (picture.format(), linear) {
        (PixelFormat::Rgb8, false) => run::<U8x3>(&view(picture.pixels(), from)?, to, options.filter)?,
        (PixelFormat::Rgba8, false) => run::<U8x4>(&view(picture.pixels(), from)?, to, options.filter)?,
        (format, true) => {
            let light = to_light(picture);
            let source = TypedImageRef::new(from.0, from.1, &light).map_err(refused)?;
            from_light(&run(&source, to, options.filter)?, format)
        }
    };
    let mut resized = Picture::new(width, height, picture.format(), pixels)?;
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
    run::<U8>(&view(values, from)?, to, filter)
}

fn view<P: InnerPixel>(values: &[u8], size: (u32, u32)) -> Result<TypedImageRef<'_, P>, ImagingError> {
    TypedImageRef::from_buffer(size.0, size.1, values).map_err(refused)
}

/// Resizes pixels of one type. The library's other form, which asks for the type while it runs, would be compiled for
/// every type there is.
fn run<P: fir::PixelTrait + InnerPixel>(
    source: &TypedImageRef<'_, P>,
    to: (u32, u32),
    filter: Filter,
) -> Result<Vec<P::Component>, ImagingError> {
    let mut target = TypedImage::<P>::new(to.0, to.1);
    let settings = fir::ResizeOptions::new().resize_alg(algorithm(filter));
    fir::Resizer::new().resize_typed(source, &mut target, &settings).map_err(refused)?;
    Ok(P::components(target.pixels()).to_vec())
}

/// 16-bit linear light with alpha, opaque where the picture has none: one kernel serves both.
fn to_light(picture: &Picture) -> Vec<U16x4> {
    let table: Vec<u16> =
        (0..=255u8).map(|v| (srgb_to_light(f32::from(v) / 255.0) * 65_535.0).round() as u16).collect();
    let light = |p: &[u8]| {
        let colour = [0, 1, 2].map(|i| table[usize::from(p[i])]);
        U16x4::new([colour[0], colour[1], colour[2], p.get(3).map_or(65_535, |&a| u16::from(a) * 257)])
    };
    picture.pixels().chunks_exact(picture.format().channels()).map(light).collect()
}

fn from_light(values: &[u16], format: PixelFormat) -> Vec<u8> {
    let table: Vec<u8> =
        (0..=65_535u16).map(|v| (light_to_srgb(f32::from(v) / 65_535.0) * 255.0).round() as u8).collect();
    let mut pixels = Vec::with_capacity(values.len() / 4 * format.channels());
    for p in values.chunks_exact(4) {
        pixels.extend([0, 1, 2].map(|i| table[usize::from(p[i])]));
        if format.has_alpha() {
            pixels.push(((u32::from(p[3]) + 128) / 257) as u8);
        }
    }
    pixels
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
