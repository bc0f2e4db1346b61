//! A derived DICOM file: other pixels in the frame of the original (PS3.3 §C.7.6.1, §C.7.6.2, §C.12.1).
//!
//! Everything that is still true of the picture is copied byte by byte; what the new pixels make untrue is changed or
//! left out.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use super::dataset::{Encoding, PREAMBLE, encode, encode_item, refused, unsupported};
use super::{
    BITS_ALLOCATED, BITS_STORED, COLUMNS, Dicom, FRAMES, HIGH_BIT, PHOTOMETRIC, PIXEL_DATA, PLANAR, Photometric, ROWS,
    StoredFrame,
};
use crate::ImagingError;

pub(super) const PIXEL_SPACING: u32 = 0x0028_0030;
const IMAGER_SPACING: u32 = 0x0018_1164;
const SCANNED_SPACING: u32 = 0x0018_2010;
const POSITION: u32 = 0x0020_0032;
const ORIENTATION: u32 = 0x0020_0037;
const IMAGE_TYPE: u32 = 0x0008_0008;
const CLASS_UID: u32 = 0x0008_0016;
const INSTANCE_UID: u32 = 0x0008_0018;
const SERIES_UID: u32 = 0x0020_000e;
const DERIVATION: u32 = 0x0008_2111;
const SOURCE: u32 = 0x0008_2112;
const REFERENCED_CLASS: u32 = 0x0008_1150;
const REFERENCED_INSTANCE: u32 = 0x0008_1155;
const SHARED_GROUPS: u32 = 0x5200_9229;
/// Least and greatest values, offset tables, icons, signatures, padding: of the old pixels.
const UNTRUE: [u32; 11] = [
    0x0028_0106,
    0x0028_0107,
    0x0028_0108,
    0x0028_0109,
    0x0028_0110,
    0x0028_0111,
    0x7fe0_0001,
    0x7fe0_0002,
    0x0088_0200,
    0xfffa_fffa,
    0xfffc_fffc,
];
const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";
/// Names this program as the writer of the file.
const IMPLEMENTATION: &str = "2.25.172387254908712361279834112094512387";

/// Choices of [`Dicom::derive`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeriveOptions {
    /// What was done, in English: "Enlarged 2x by danqing, model x2". The words "not for diagnosis" are added.
    pub description: String,
    /// The series the new picture belongs to, so that several can share one; a new one when `None`.
    pub series: Option<String>,
}

/// A new unique identifier: `2.25.` and 122 random bits (PS3.5 §B.2).
pub fn new_uid() -> String {
    // The standard library seeds its hashers from the system's random numbers.
    let half = || u128::from(RandomState::new().hash_one(std::process::id()));
    let random = half() << 64 | half();
    // Version 4 and variant 1, as the rule wants of the number behind it.
    let number = random & !(0xf000 << 64) & !(0xc000 << 48) | 0x4000 << 64 | 0x8000 << 48;
    format!("2.25.{number}")
}

impl Dicom<'_> {
    /// The bytes of a file with these frames, all of one size, in place of the original's: `scale` times as wide and high.
    /// Image type, identifiers, spacing (divided by `scale`) and position are those of a derived picture.
    ///
    /// # Errors
    /// [`ImagingError::Argument`] for frames that do not go with the file, [`ImagingError::Unsupported`] for palettes and
    /// for enhanced multi-frame objects, which say their geometry frame by frame, [`ImagingError::Encode`].
    pub fn derive(&self, frames: &[StoredFrame], scale: f64, options: &DeriveOptions) -> Result<Vec<u8>, ImagingError> {
        let (width, height) = self.check(frames, scale)?;
        let native = !self.set.element(PIXEL_DATA).is_some_and(|e| e.delimited);
        let encoding = self.set.encoding;
        let (instance, series) = (new_uid(), options.series.clone().unwrap_or_else(new_uid));
        let mut changed = Changed { encoding, elements: BTreeMap::new() };
        let text = |tag: u32| self.set.text(tag).unwrap_or_default();

        let kind = text(IMAGE_TYPE);
        let rest: Vec<&str> = kind.split('\\').skip(2).collect();
        changed.put(IMAGE_TYPE, b"CS", [&["DERIVED", "SECONDARY"][..], &rest].concat().join("\\").as_bytes())?;
        changed.put(INSTANCE_UID, b"UI", instance.as_bytes())?;
        changed.put(SERIES_UID, b"UI", series.as_bytes())?;
        // A short text holds 1 024 characters.
        let said: String = options.description.chars().filter(|c| c.is_ascii() && !c.is_control()).take(900).collect();
        changed.put(DERIVATION, b"ST", format!("{said}; not for diagnosis").trim_start_matches("; ").as_bytes())?;
        let reference = [
            encode(encoding, REFERENCED_CLASS, b"UI", text(CLASS_UID).as_bytes())?,
            encode(encoding, REFERENCED_INSTANCE, b"UI", text(INSTANCE_UID).as_bytes())?,
        ];
        changed.elements.insert(SOURCE, encode_item(encoding, SOURCE, &reference)?);
        self.geometry(&mut changed, width, height, frames.len(), scale)?;
        let (bits, stored) =
            if self.layout.allocated == 1 { (8, 1) } else { (self.layout.allocated, self.layout.stored) };
        changed.short(BITS_ALLOCATED, bits)?;
        changed.short(BITS_STORED, stored)?;
        changed.short(HIGH_BIT, stored - 1)?;
        if self.is_colour() {
            changed.put(PHOTOMETRIC, b"CS", b"RGB")?;
            changed.short(PLANAR, 0)?;
        }
        let (low, high) = self.layout.bounds();
        let values = frames.iter().flat_map(|f| &f.values).map(|v| (*v).clamp(low, high));
        let (vr, pixels): (_, Vec<u8>) = match bits {
            8 => (b"OB", values.map(|v| v as u8).collect()),
            // Two's complement within the stored bits.
            _ => (b"OW", values.flat_map(|v| encoding.short_bytes((v & ((1 << stored) - 1)) as u16)).collect()),
        };
        changed.put(PIXEL_DATA, vr, &pixels)?;

        let mut out = vec![0; PREAMBLE];
        out.extend(b"DICM");
        out.extend(self.meta(&instance, native)?);
        self.copy(&mut out, changed);
        Ok(out)
    }

    fn check(&self, frames: &[StoredFrame], scale: f64) -> Result<(u32, u32), ImagingError> {
        let argument = |reason: String| ImagingError::argument("frames", reason);
        let first = frames.first().ok_or_else(|| argument("there are none".to_owned()))?;
        let (width, height) = (first.width, first.height);
        let fits = |f: &StoredFrame| {
            let count = u64::from(f.width) * u64::from(f.height) * f.channels as u64;
            (f.width, f.height, f.channels) == (width, height, self.layout.samples) && count == f.values.len() as u64
        };
        if !frames.iter().all(fits) {
            return Err(argument("they differ in size or channels from each other or from the file".to_owned()));
        }
        let is = |new: u32, old: u32| (f64::from(new) - f64::from(old) * scale).abs() <= 1.0;
        if !(scale.is_finite() && scale > 0.0 && is(width, self.layout.width) && is(height, self.layout.height)) {
            let (w, h) = (self.layout.width, self.layout.height);
            return Err(argument(format!("{width}x{height} is not {w}x{h} times {scale}")));
        }
        if width > 65_535 || height > 65_535 {
            return Err(refused(format!("{width}x{height} has a side over 65535, the longest it knows")));
        }
        if self.layout.photometric == Photometric::Palette || self.set.element(SHARED_GROUPS).is_some() {
            return Err(unsupported("a palette or an enhanced multi-frame object cannot be derived from"));
        }
        Ok((width, height))
    }

    fn geometry(
        &self,
        changed: &mut Changed,
        width: u32,
        height: u32,
        frames: usize,
        scale: f64,
    ) -> Result<(), ImagingError> {
        changed.short(ROWS, height as u16)?;
        changed.short(COLUMNS, width as u16)?;
        if frames > 1 || self.set.element(FRAMES).is_some() {
            changed.put(FRAMES, b"IS", frames.to_string().as_bytes())?;
        }
        for tag in [PIXEL_SPACING, IMAGER_SPACING, SCANNED_SPACING] {
            let spacing = self.set.decimals(tag);
            if !spacing.is_empty() {
                changed.put(tag, b"DS", decimals(spacing.iter().map(|s| s / scale)).as_bytes())?;
            }
        }
        // The position is the middle of the first pixel, which has moved with its size.
        let (position, turned, spacing) =
            (self.set.decimals(POSITION), self.set.decimals(ORIENTATION), self.set.decimals(PIXEL_SPACING));
        if let ([x, y, z], [rx, ry, rz, cx, cy, cz], [between_rows, between_columns, ..]) =
            (&position[..], &turned[..], &spacing[..])
        {
            let half = (1.0 / scale - 1.0) / 2.0;
            let moved = |p: &f64, r: &f64, c: &f64| p + half * (r * between_columns + c * between_rows);
            let moved = [moved(x, rx, cx), moved(y, ry, cy), moved(z, rz, cz)];
            changed.put(POSITION, b"DS", decimals(moved.into_iter()).as_bytes())?;
        }
        Ok(())
    }

    /// Group 2, which is explicit and little-endian whatever follows.
    fn meta(&self, instance: &str, native: bool) -> Result<Vec<u8>, ImagingError> {
        let meta = |tag: u32, vr: &[u8; 2], value: &[u8]| encode(Encoding::META, tag, vr, value);
        let syntax = match (native, self.set.encoding.explicit) {
            (true, _) => self.true_syntax(),
            (false, true) => EXPLICIT_LITTLE.to_owned(),
            (false, false) => "1.2.840.10008.1.2".to_owned(),
        };
        let body = [
            meta(0x0002_0001, b"OB", &[0, 1])?,
            meta(0x0002_0002, b"UI", self.set.text(CLASS_UID).unwrap_or_default().as_bytes())?,
            meta(0x0002_0003, b"UI", instance.as_bytes())?,
            meta(0x0002_0010, b"UI", syntax.as_bytes())?,
            meta(0x0002_0012, b"UI", IMPLEMENTATION.as_bytes())?,
            meta(0x0002_0013, b"SH", b"DANQING")?,
        ]
        .concat();
        Ok([meta(0x0002_0000, b"UL", &(body.len() as u32).to_le_bytes())?, body].concat())
    }

    /// What the elements are written in, which a careless original may not have said.
    fn true_syntax(&self) -> String {
        if self.set.encoding.explicit { self.set.transfer_syntax() } else { "1.2.840.10008.1.2".to_owned() }
    }

    /// The elements of the original in their order, with the changed ones at their places.
    fn copy(&self, out: &mut Vec<u8>, mut changed: Changed) {
        for element in &self.set.elements {
            while let Some(entry) = changed.elements.first_entry().filter(|entry| *entry.key() < element.tag) {
                out.extend(entry.remove());
            }
            let group = element.tag >> 16;
            // Group lengths; curves and overlays, which are drawn on the old rows and columns.
            let dropped = element.tag & 0xffff == 0
                || matches!(group, 0x5000..=0x50ff | 0x6000..=0x60ff if group % 2 == 0)
                || UNTRUE.contains(&element.tag);
            match changed.elements.remove(&element.tag) {
                Some(bytes) => out.extend(bytes),
                None if dropped => {}
                None => out.extend_from_slice(&self.set.bytes[element.whole.clone()]),
            }
        }
        out.extend(changed.elements.into_values().flatten());
    }
}

struct Changed {
    encoding: Encoding,
    elements: BTreeMap<u32, Vec<u8>>,
}

impl Changed {
    fn put(&mut self, tag: u32, vr: &[u8; 2], value: &[u8]) -> Result<(), ImagingError> {
        self.elements.insert(tag, encode(self.encoding, tag, vr, value)?);
        Ok(())
    }

    fn short(&mut self, tag: u32, value: u16) -> Result<(), ImagingError> {
        self.put(tag, b"US", &self.encoding.short_bytes(value))
    }
}

/// Numbers as text: at most 16 characters each, as exact as that allows.
fn decimals(numbers: impl Iterator<Item = f64>) -> String {
    let one = |number: f64| {
        let shortest = number.to_string();
        let cut = (0..=14).rev().map(|digits| format!("{number:.digits$}")).find(|text| text.len() <= 16);
        if shortest.len() <= 16 { shortest } else { cut.unwrap_or_else(|| format!("{number:.8e}")) }
    };
    numbers.map(one).collect::<Vec<_>>().join("\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_into_sixteen_characters() {
        assert_eq!(decimals([0.661468 / 2.0, -1.0 / 3.0, 2.0].into_iter()), "0.330734\\-0.3333333333333\\2");
        for number in [1e-9, 123_456_789.123_456_78, -98_765_432.123_456_78] {
            let text = decimals(std::iter::once(number));
            assert!(text.len() <= 16, "{text}");
            assert!((text.parse::<f64>().unwrap() - number).abs() <= number.abs() * 1e-5);
        }
    }

    #[test]
    fn identifiers_are_new_and_short_enough() {
        let (one, other) = (new_uid(), new_uid());
        assert!(one != other && one.len() <= 64 && one.starts_with("2.25."));
    }
}
