//! Stored values as they are shown: rescaled, then under a window (PS3.3 §C.7.6.3, §C.11.1, §C.11.2).

use super::dataset::damaged;
use super::{Dicom, Photometric, StoredFrame};
use crate::{Channels, DeepPicture, ImagingError, Samples, Warning};

const CENTER: u32 = 0x0028_1050;
const WIDTH: u32 = 0x0028_1051;
const FUNCTION: u32 = 0x0028_1056;
const INTERCEPT: u32 = 0x0028_1052;
const SLOPE: u32 = 0x0028_1053;
const MODALITY_TABLE: u32 = 0x0028_3000;
const VALUE_TABLE: u32 = 0x0028_3010;
const PALETTES: [(u32, u32); 3] = [(0x0028_1101, 0x0028_1201), (0x0028_1102, 0x0028_1202), (0x0028_1103, 0x0028_1203)];

/// Which values become black and white.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Window {
    /// The first window that the file names; all values where it names none.
    #[default]
    File,
    /// All values of the frame, padding left out.
    Full,
    /// This one, in rescaled units (Hounsfield units for a CT).
    Of {
        /// The value in the middle.
        center: f64,
        /// The values from black to white, at least 1.
        width: f64,
    },
}

impl Dicom<'_> {
    /// A frame as it is shown: grey in 16 bits under the window, colours in 8. It carries no metadata, and the warning
    /// that it is not for diagnosis.
    ///
    /// # Errors
    /// [`ImagingError::Argument`] for a window without width, [`ImagingError::Damaged`] for a palette that is none.
    pub fn show(&self, frame: &StoredFrame, window: Window) -> Result<DeepPicture, ImagingError> {
        let (channels, samples) = match self.layout.photometric {
            Photometric::Monochrome1 | Photometric::Monochrome2 => (Channels::Grey, self.grey(frame, window)?),
            Photometric::Rgb | Photometric::YbrFull => (Channels::Rgb, self.colours(frame)),
            Photometric::Palette => (Channels::Rgb, self.palette(frame)?),
        };
        let mut picture = DeepPicture::new(frame.width, frame.height, channels, samples)?;
        picture.warnings.push(Warning::NotForDiagnosis);
        for (tag, what) in [(MODALITY_TABLE, "modality table"), (VALUE_TABLE, "table of values of interest")] {
            if channels == Channels::Grey && self.set.element(tag).is_some() {
                picture.warnings.push(Warning::left_out(what, "only slope, intercept and window are applied"));
            }
        }
        Ok(picture)
    }

    fn grey(&self, frame: &StoredFrame, window: Window) -> Result<Samples, ImagingError> {
        let first = |tag: u32| self.set.decimals(tag).first().copied();
        let slope = first(SLOPE).filter(|s| *s != 0.0).unwrap_or(1.0);
        let intercept = first(INTERCEPT).unwrap_or(0.0);
        let rescale = |stored: i32| f64::from(stored) * slope + intercept;
        let function = self.set.text(FUNCTION).unwrap_or_default();
        let window = match (window, first(CENTER), first(WIDTH)) {
            (Window::File, Some(center), Some(width)) if width > 0.0 => Some((center, width)),
            (Window::File | Window::Full, ..) => None,
            (Window::Of { center, width }, ..) if width >= 1.0 && center.is_finite() && width.is_finite() => {
                Some((center, width))
            }
            (Window::Of { width, .. }, ..) => {
                return Err(ImagingError::argument(
                    "window",
                    format!("a width of {width} shows nothing; it is 1 at least"),
                ));
            }
        };
        let (low, high) = frame.range();
        let (low, high) = (rescale(low).min(rescale(high)), rescale(low).max(rescale(high)));
        let shown = |x: f64| match (window, function.as_str()) {
            (None, _) => (x - low) / (high - low).max(f64::MIN_POSITIVE),
            (Some((center, width)), "SIGMOID") => 1.0 / (1.0 + (-4.0 * (x - center) / width).exp()),
            (Some((center, width)), "LINEAR_EXACT") => (x - center) / width + 0.5,
            // A width of 1 is a step.
            (Some((center, width)), _) if width <= 1.0 => f64::from(x > center - 0.5),
            (Some((center, width)), _) => (x - (center - 0.5)) / (width - 1.0) + 0.5,
        };
        let inverted = self.layout.photometric == Photometric::Monochrome1;
        let value = |stored: &i32| {
            let unit = shown(rescale(*stored)).clamp(0.0, 1.0);
            ((if inverted { 1.0 - unit } else { unit }) * 65_535.0).round() as u16
        };
        Ok(Samples::U16(frame.values.iter().map(value).collect()))
    }

    fn colours(&self, frame: &StoredFrame) -> Samples {
        let full = self.layout.bounds().1.max(1);
        if full <= 255 {
            Samples::U8(frame.values.iter().map(|v| ((v.clamp(&0, &full) * 255 + full / 2) / full) as u8).collect())
        } else {
            let value = |v: &i32| (i64::from(*v.clamp(&0, &full)) * 65_535 / i64::from(full)) as u16;
            Samples::U16(frame.values.iter().map(value).collect())
        }
    }

    fn palette(&self, frame: &StoredFrame) -> Result<Samples, ImagingError> {
        let mut tables = Vec::new();
        for (descriptor, data) in PALETTES {
            let [entries, first, bits] = self.set.shorts(descriptor)[..] else {
                return Err(damaged("it has a palette without a description"));
            };
            let entries = if entries == 0 { 65_536 } else { usize::from(entries) };
            let bytes = self.set.value(data).unwrap_or_default();
            // Entries of 8 bits stand one a byte or one a word; which, the length tells.
            let table: Vec<u16> = if bits == 8 && bytes.len() < 2 * entries {
                bytes.iter().take(entries).map(|v| u16::from(*v) * 257).collect()
            } else {
                let words = self.set.shorts(data).into_iter().take(entries);
                words.map(|v| if bits == 8 { (v & 255) * 257 } else { v }).collect()
            };
            if table.len() < entries {
                return Err(damaged("its palette is cut off"));
            }
            tables.push((i32::from(first), table));
        }
        // A value before or behind the table takes its first or last colour.
        let colour = |v: &i32| {
            let at = |(first, table): &(i32, Vec<u16>)| table[((v - first).max(0) as usize).min(table.len() - 1)];
            [at(&tables[0]), at(&tables[1]), at(&tables[2])]
        };
        Ok(Samples::U16(frame.values.iter().flat_map(colour).collect()))
    }
}
