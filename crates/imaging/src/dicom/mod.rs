//! DICOM in and out: CT, MR, X-ray and other pictures with one or more frames; stored values are kept to the last bit.
//!
//! Read: uncompressed (implicit and explicit, either byte order), RLE, JPEG baseline and lossless; grey, RGB, YBR_FULL and
//! palettes. Written: a derived copy with other pixels, in the encoding of the original. Nothing about a patient leaves
//! this module except inside such a copy. What is shown or made here is **not for diagnosis**, and every picture says so.

mod dataset;
mod derive;
mod pixels;
mod window;

pub use derive::{DeriveOptions, new_uid};
pub use pixels::StoredFrame;
pub use window::Window;

use crate::{DecodeLimits, DeepPicture, ImagingError, Warning};
use dataset::{DataSet, PREAMBLE, damaged, unsupported};

const ROWS: u32 = 0x0028_0010;
const COLUMNS: u32 = 0x0028_0011;
const FRAMES: u32 = 0x0028_0008;
const SAMPLES: u32 = 0x0028_0002;
const PHOTOMETRIC: u32 = 0x0028_0004;
const PLANAR: u32 = 0x0028_0006;
const BITS_ALLOCATED: u32 = 0x0028_0100;
const BITS_STORED: u32 = 0x0028_0101;
const HIGH_BIT: u32 = 0x0028_0102;
const SIGNED: u32 = 0x0028_0103;
const PADDING: u32 = 0x0028_0120;
const PIXEL_DATA: u32 = 0x7fe0_0010;

/// What the values of a pixel mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Photometric {
    /// Greater is darker.
    Monochrome1,
    /// Greater is lighter.
    Monochrome2,
    Rgb,
    YbrFull,
    Palette,
}

/// Size and bits of the pixels.
#[derive(Clone, Copy, Debug)]
struct Layout {
    width: u32,
    height: u32,
    frames: u32,
    samples: usize,
    photometric: Photometric,
    /// All values of one channel, then of the next.
    planar: bool,
    allocated: u16,
    stored: u16,
    high_bit: u16,
    signed: bool,
}

/// An opened DICOM picture.
pub struct Dicom<'a> {
    set: DataSet<'a>,
    layout: Layout,
}

/// True when these bytes begin like a DICOM file.
pub fn is_dicom(bytes: &[u8]) -> bool {
    bytes.get(PREAMBLE..PREAMBLE + 4) == Some(b"DICM")
}

/// The first frame as it is shown, under the window that the file asks for; without a word about the patient.
pub(crate) fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<DeepPicture, ImagingError> {
    let dicom = Dicom::open(bytes, limits)?;
    let mut picture = dicom.show(&dicom.frame(0)?, Window::File)?;
    if dicom.frames() > 1 {
        picture.warnings.push(Warning::FirstFrame);
    }
    Ok(picture)
}

impl<'a> Dicom<'a> {
    /// Opens the bytes of a file. No pixel is decoded yet.
    ///
    /// # Errors
    /// [`ImagingError::UnknownFormat`] when it is none, [`ImagingError::Damaged`], [`ImagingError::Unsupported`],
    /// [`ImagingError::TooLarge`].
    pub fn open(bytes: &'a [u8], limits: &DecodeLimits) -> Result<Self, ImagingError> {
        limits.check_file(bytes.len() as u64)?;
        if !is_dicom(bytes) {
            let what = "the file".to_owned();
            return Err(ImagingError::UnknownFormat { what, known: crate::format::READABLE });
        }
        let set = DataSet::parse(bytes)?;
        let layout = Layout::read(&set)?;
        limits.check_size(layout.width, layout.height)?;
        if layout.frames > limits.max_frames {
            let (found, limit) = (u64::from(layout.frames), u64::from(limits.max_frames));
            return Err(ImagingError::TooLarge { what: "frames", found, limit });
        }
        Ok(Self { set, layout })
    }

    /// Width of every frame.
    pub fn width(&self) -> u32 {
        self.layout.width
    }

    /// Height of every frame.
    pub fn height(&self) -> u32 {
        self.layout.height
    }

    /// How many frames there are.
    pub fn frames(&self) -> u32 {
        self.layout.frames
    }

    /// True for colours, false for grey.
    pub fn is_colour(&self) -> bool {
        !matches!(self.layout.photometric, Photometric::Monochrome1 | Photometric::Monochrome2)
    }

    /// Millimetres between the middles of rows and of columns, where the file says so.
    pub fn spacing(&self) -> Option<(f64, f64)> {
        match self.set.decimals(derive::PIXEL_SPACING).as_slice() {
            [rows, columns, ..] => Some((*rows, *columns)),
            _ => None,
        }
    }
}

impl Layout {
    fn read(set: &DataSet<'_>) -> Result<Self, ImagingError> {
        let want = |tag: u32, name: &str| set.short(tag).ok_or_else(|| damaged(format!("it does not say its {name}")));
        let (height, width) = (u32::from(want(ROWS, "rows")?), u32::from(want(COLUMNS, "columns")?));
        let allocated = want(BITS_ALLOCATED, "bits")?;
        let stored = set.short(BITS_STORED).unwrap_or(allocated);
        let high_bit = set.short(HIGH_BIT).unwrap_or(stored.saturating_sub(1));
        let samples = usize::from(set.short(SAMPLES).unwrap_or(1));
        let named = set.text(PHOTOMETRIC).unwrap_or_default();
        let photometric = match (named.as_str(), samples) {
            ("MONOCHROME1", 1) => Photometric::Monochrome1,
            ("MONOCHROME2" | "", 1) => Photometric::Monochrome2,
            ("PALETTE COLOR", 1) => Photometric::Palette,
            ("RGB", 3) => Photometric::Rgb,
            ("YBR_FULL" | "YBR_FULL_422", 3) => Photometric::YbrFull,
            _ => return Err(unsupported(format!("pixels that are {named:?} in {samples} samples"))),
        };
        if width == 0 || height == 0 {
            return Err(damaged("it has no pixels"));
        }
        if !matches!(allocated, 1 | 8 | 16)
            || stored == 0
            || stored > allocated
            || high_bit >= allocated
            || high_bit + 1 < stored
        {
            return Err(unsupported(format!("values of {stored} bits in {allocated} up to bit {high_bit}")));
        }
        let frames = set.text(FRAMES).and_then(|n| n.parse().ok()).unwrap_or(1u32).max(1);
        let planar = samples > 1 && set.short(PLANAR) == Some(1);
        let signed = set.short(SIGNED) == Some(1) && samples == 1;
        Ok(Self { width, height, frames, samples, photometric, planar, allocated, stored, high_bit, signed })
    }

    /// Values of one frame.
    fn values(&self) -> usize {
        self.width as usize * self.height as usize * self.samples
    }

    /// The least and the greatest value that can be stored.
    fn bounds(&self) -> (i32, i32) {
        let all = 1i32 << self.stored;
        if self.signed { (-all / 2, all / 2 - 1) } else { (0, all - 1) }
    }
}
