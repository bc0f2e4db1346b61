//! AVIF: the boxes are read here, the AV1 data is decoded by `re_rav1d`, a translation of dav1d into Rust.

use moxcms::{CicpColorPrimaries, CicpProfile, ColorProfile, MatrixCoefficients, TransferCharacteristics};
use re_rav1d::dav1d::{Decoder, Error, Picture, PixelLayout, PlanarImageComponent, Settings};

use crate::container::{AvifFile, CodePoints};
use crate::decode::divide_by_alpha;
use crate::{Channels, DecodeLimits, DeepPicture, ImagingError, Samples, Warning};

/// How often the decoder is asked for its picture: once is enough for a sound file.
const PATIENCE: usize = 64;
const IDENTITY: u16 = 0;
const UNSPECIFIED: u16 = 2;

/// The still picture of a file in its own depth, upright, without the words beside it.
pub(crate) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<DeepPicture, ImagingError> {
    let file = AvifFile::parse(bytes)?;
    let (width, height) = file.size()?;
    limits.check_size(width, height)?;
    file.check()?;
    let colour = Planes::decode(file.colour_data()?, (width, height), limits)?;
    let alpha = match file.alpha_data()? {
        Some((data, multiplied)) => Some((Planes::decode(data, (width, height), limits)?, multiplied)),
        None => None,
    };
    let points = file.code_points().unwrap_or(colour.points);
    let channels = if colour.chroma.is_none() { Channels::Grey } else { Channels::Rgb }.with_alpha(alpha.is_some());
    let mut samples = colour.samples(points, alpha.as_ref().map(|(planes, _)| planes))?;
    drop(colour);
    if alpha.is_some_and(|(_, multiplied)| multiplied) {
        divide_by_alpha(&mut samples, channels);
    }
    let mut picture = DeepPicture::new(width, height, channels, samples)?;
    if let Some([left, top, width, height]) = file.shown_part()? {
        picture = picture.cropped(left, top, width, height)?;
    }
    if channels.colours() == 3 && !is_usual(points) {
        picture.metadata.icc = profile(points);
        if picture.metadata.icc.is_none() {
            picture.warnings.push(Warning::left_out("note of its colours", "its numbers are not known"));
        }
    }
    if file.moving {
        picture.warnings.push(Warning::FirstFrame);
    }
    Ok(picture.oriented(file.orientation()))
}

/// Width and height as stored.
pub(crate) fn size(bytes: &[u8]) -> Result<(u32, u32), ImagingError> {
    AvifFile::parse(bytes)?.size()
}

/// Whether colours are those of sRGB, or nothing is said about them.
fn is_usual(points: CodePoints) -> bool {
    matches!(points.primaries, 1 | UNSPECIFIED) && matches!(points.transfer, 1 | UNSPECIFIED | 6 | 13 | 14 | 15)
}

/// A profile for colours that the file gives as numbers.
fn profile(points: CodePoints) -> Option<Vec<u8>> {
    let number = |n: u16| u8::try_from(n).ok();
    let cicp = CicpProfile {
        color_primaries: CicpColorPrimaries::try_from(number(points.primaries)?).ok()?,
        transfer_characteristics: TransferCharacteristics::try_from(number(points.transfer)?).ok()?,
        // What is left of the conversion from luma is RGB.
        matrix_coefficients: MatrixCoefficients::Identity,
        full_range: true,
    };
    ColorProfile::new_from_cicp(cicp).encode().ok()
}

/// One decoded picture: luma, and two colour differences that may be smaller.
struct Planes {
    width: usize,
    height: usize,
    bits: usize,
    luma: Vec<u16>,
    chroma: Option<Chroma>,
    /// What the AV1 data says about its colours.
    points: CodePoints,
}

struct Chroma {
    planes: [Vec<u16>; 2],
    width: usize,
    height: usize,
}

impl Planes {
    fn decode(data: Vec<u8>, size: (u32, u32), limits: &DecodeLimits) -> Result<Self, ImagingError> {
        let failed = |error: Error| match error {
            Error::UnsupportedBitstream => {
                ImagingError::Unsupported { format: "AVIF", reason: "a kind of AV1 data".to_owned() }
            }
            other => ImagingError::damaged("AVIF", other.to_string()),
        };
        let mut settings = Settings::new();
        settings.set_n_threads(1);
        settings.set_max_frame_delay(1);
        // What the data says about its size is not what the container says.
        settings.set_frame_size_limit(u32::try_from(limits.max_pixels).unwrap_or(u32::MAX));
        let mut decoder = Decoder::with_settings(&settings).map_err(failed)?;
        let waits = |result: Result<(), Error>| match result {
            Err(error) if !error.is_again() => Err(failed(error)),
            _ => Ok(()),
        };
        waits(decoder.send_data(data, None, None, None))?;
        for _ in 0..PATIENCE {
            match decoder.get_picture() {
                Ok(picture) => return Self::of(&picture, size),
                Err(error) if error.is_again() => waits(decoder.send_pending_data())?,
                Err(error) => return Err(failed(error)),
            }
        }
        Err(ImagingError::damaged("AVIF", "its AV1 data holds no picture"))
    }

    fn of(picture: &Picture, size: (u32, u32)) -> Result<Self, ImagingError> {
        if (picture.width(), picture.height()) != size {
            let (width, height) = (picture.width(), picture.height());
            let reason = format!("its AV1 data is {width}x{height}, the container says {}x{}", size.0, size.1);
            return Err(ImagingError::damaged("AVIF", reason));
        }
        let (width, height) = (size.0 as usize, size.1 as usize);
        let across = width.div_ceil(2);
        let (columns, rows) = match picture.pixel_layout() {
            PixelLayout::I400 => (0, 0),
            PixelLayout::I420 => (across, height.div_ceil(2)),
            PixelLayout::I422 => (across, height),
            PixelLayout::I444 => (width, height),
        };
        let plane = |component, width, height| {
            plane(picture, component, width, height)
                .ok_or_else(|| ImagingError::damaged("AVIF", "a plane is smaller than the picture"))
        };
        let chroma = if columns == 0 {
            None
        } else {
            let planes =
                [plane(PlanarImageComponent::U, columns, rows)?, plane(PlanarImageComponent::V, columns, rows)?];
            Some(Chroma { planes, width: columns, height: rows })
        };
        let points = CodePoints {
            primaries: picture.color_primaries() as u16,
            transfer: picture.transfer_characteristic() as u16,
            matrix: picture.matrix_coefficients() as u16,
            // 0 is limited, 1 is full.
            full_range: picture.color_range() as u16 == 1,
        };
        let luma = plane(PlanarImageComponent::Y, width, height)?;
        Ok(Self { width, height, bits: picture.bit_depth(), luma, chroma, points })
    }

    /// All values, interleaved, alpha last: 16 bits each where the file has more than 8.
    fn samples(&self, points: CodePoints, alpha: Option<&Planes>) -> Result<Samples, ImagingError> {
        let deep = self.bits > 8 || alpha.is_some_and(|planes| planes.bits > 8);
        let mut samples = if deep { Samples::U16(Vec::new()) } else { Samples::U8(Vec::new()) };
        self.rows(points, alpha, |row| match &mut samples {
            // `as` saturates and takes NaN to 0; adding one half rounds to nearest.
            Samples::U8(values) => values.extend(row.iter().map(|v| (v * 255.0 + 0.5) as u8)),
            Samples::U16(values) => values.extend(row.iter().map(|v| (v * 65_535.0 + 0.5) as u16)),
        })?;
        Ok(samples)
    }

    /// Row by row the values in 0…1, interleaved, alpha last.
    fn rows(
        &self,
        points: CodePoints,
        alpha: Option<&Planes>,
        mut sink: impl FnMut(&[f32]),
    ) -> Result<(), ImagingError> {
        let range = Range::new(self.bits, points.full_range);
        let alphas = alpha.map(|planes| (Range::new(planes.bits, planes.points.full_range), planes));
        let matrix = Matrix::new(points.matrix)?;
        if let (Matrix::Identity, Some(chroma)) = (&matrix, &self.chroma)
            && (chroma.width, chroma.height) != (self.width, self.height)
        {
            return Err(ImagingError::damaged("AVIF", "red and blue are smaller than green"));
        }
        let mut lines = [vec![0.0; self.width], vec![0.0; self.width]];
        let mut row = Vec::with_capacity(4 * self.width);
        for y in 0..self.height {
            row.clear();
            if let Some(chroma) = &self.chroma {
                for (plane, line) in chroma.planes.iter().zip(&mut lines) {
                    chroma.stretch(plane, y, (self.width, self.height), line);
                }
            }
            let start = y * self.width;
            let colours = self.luma[start..].iter().zip(lines[0].iter().zip(&lines[1]));
            for (x, (luma, (first, second))) in colours.enumerate() {
                let (luma, first, second) = (f32::from(*luma), *first, *second);
                match (&self.chroma, &matrix) {
                    (None, _) => row.push(range.luma(luma)),
                    (Some(_), Matrix::Identity) => {
                        row.extend([second, luma, first].map(|v| range.luma(v)));
                    }
                    (Some(_), Matrix::Luma { red, blue }) => {
                        let (y, b, r) = (range.luma(luma), range.chroma(first), range.chroma(second));
                        let (b, r) = (2.0 * (1.0 - blue) * b, 2.0 * (1.0 - red) * r);
                        let green = y - (red * r + blue * b) / (1.0 - red - blue);
                        row.extend([y + r, green, y + b].map(|v| v.clamp(0.0, 1.0)));
                    }
                }
                row.extend(alphas.as_ref().map(|(range, planes)| range.luma(f32::from(planes.luma[start + x]))));
            }
            sink(&row);
        }
        Ok(())
    }
}

/// The values of a plane without what pads its rows.
fn plane(picture: &Picture, component: PlanarImageComponent, width: usize, height: usize) -> Option<Vec<u16>> {
    let plane = picture.plane(component);
    let stride = picture.stride(component) as usize;
    let wide = picture.bit_depth() > 8;
    let bytes = if wide { 2 * width } else { width };
    let mut values = Vec::with_capacity(width * height);
    for y in 0..height {
        let row = plane.get(y * stride..y * stride + bytes)?;
        if wide {
            values.extend(row.chunks_exact(2).map(|p| u16::from_ne_bytes([p[0], p[1]])));
        } else {
            values.extend(row.iter().map(|v| u16::from(*v)));
        }
    }
    Some(values)
}

impl Chroma {
    /// Row `y` of a plane at the size of luma, between the nearest values; each stands in the middle of what it is about.
    fn stretch(&self, plane: &[u16], y: usize, (width, height): (usize, usize), line: &mut [f32]) {
        let near = |at: usize, small: usize, full: usize| {
            if small == full {
                return (at, at);
            }
            let other = if at.is_multiple_of(2) { (at / 2).saturating_sub(1) } else { (at / 2 + 1).min(small - 1) };
            (at / 2, other)
        };
        let (row, next) = near(y, self.height, height);
        let value = |row: usize, column: usize| f32::from(plane[row * self.width + column]);
        let down = |column: usize| 0.75 * value(row, column) + 0.25 * value(next, column);
        for (x, out) in line.iter_mut().enumerate() {
            let (column, other) = near(x, self.width, width);
            *out = 0.75 * down(column) + 0.25 * down(other);
        }
    }
}

/// What stored values mean.
struct Range {
    black: f32,
    luma: f32,
    middle: f32,
    chroma: f32,
}

impl Range {
    fn new(bits: usize, full: bool) -> Self {
        let unit = (1u32 << (bits.clamp(8, 16) - 8)) as f32;
        let top = 256.0 * unit - 1.0;
        if full {
            Self { black: 0.0, luma: top, middle: 128.0 * unit, chroma: top }
        } else {
            Self { black: 16.0 * unit, luma: 219.0 * unit, middle: 128.0 * unit, chroma: 224.0 * unit }
        }
    }

    fn luma(&self, value: f32) -> f32 {
        ((value - self.black) / self.luma).clamp(0.0, 1.0)
    }

    fn chroma(&self, value: f32) -> f32 {
        (value - self.middle) / self.chroma
    }
}

/// How luma is made of red, green and blue (ITU-T H.273, table 4).
enum Matrix {
    /// The planes are green, blue and red.
    Identity,
    Luma {
        red: f32,
        blue: f32,
    },
}

impl Matrix {
    fn new(number: u16) -> Result<Self, ImagingError> {
        let (red, blue) = match number {
            IDENTITY => return Ok(Self::Identity),
            1 => (0.2126, 0.0722),
            4 => (0.30, 0.11),
            // Where nothing is said, what JPEG does.
            UNSPECIFIED | 5 | 6 => (0.299, 0.114),
            7 => (0.212, 0.087),
            9 => (0.2627, 0.0593),
            _ => {
                let reason = format!("the colour matrix {number}");
                return Err(ImagingError::Unsupported { format: "AVIF", reason });
            }
        };
        Ok(Self::Luma { red, blue })
    }
}
