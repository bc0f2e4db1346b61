//! Masks: which pixels are to be painted anew.

use crate::blur::gaussian;
use crate::region::Region;
use crate::resize::{Filter, resize_grey};
use crate::{ImagingError, Picture};

/// How much each pixel is painted anew: 0 keeps it, 255 replaces it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    width: u32,
    height: u32,
    values: Vec<u8>,
}

/// Colours at least this bright count as white where a mask is drawn on nothing.
const WHITE: u8 = 250;

impl Mask {
    /// A mask from its values, `[height, width]`.
    ///
    /// # Errors
    /// [`ImagingError::Shape`] when a side is zero or the length does not fit.
    pub fn new(width: u32, height: u32, values: Vec<u8>) -> Result<Self, ImagingError> {
        let expected = u64::from(width) * u64::from(height);
        if expected == 0 || expected != values.len() as u64 {
            return Err(ImagingError::Shape { width, height, channels: 1, expected, found: values.len() as u64 });
        }
        Ok(Self { width, height, values })
    }

    /// Reads a picture as a mask. Without transparency white is painted anew, black kept. With transparency there are
    /// two habits: white strokes on nothing (the strokes are painted anew), and the picture itself with holes (the
    /// holes are painted anew).
    pub fn from_picture(picture: &Picture) -> Self {
        match picture.alpha().filter(|alpha| alpha.iter().any(|&a| a < 255)) {
            None => Self::from_brightness(picture),
            Some(alpha) => {
                let mut visible = picture.pixels().chunks_exact(4).filter(|p| p[3] >= 128);
                let strokes = visible.all(|p| p[..3].iter().all(|&v| v >= WHITE));
                let values = if strokes { alpha } else { alpha.iter().map(|a| 255 - a).collect() };
                Self { width: picture.width(), height: picture.height(), values }
            }
        }
    }

    /// Brightness as mask, by the weights of ITU-R BT.601 as Pillow's mode `L`; alpha is not asked.
    pub fn from_brightness(picture: &Picture) -> Self {
        let weigh = |p: &[u8]| {
            let sum = 19_595 * u32::from(p[0]) + 38_470 * u32::from(p[1]) + 7_471 * u32::from(p[2]);
            ((sum + 0x8000) >> 16) as u8
        };
        let values = picture.pixels().chunks_exact(picture.format().channels()).map(weigh).collect();
        Self { width: picture.width(), height: picture.height(), values }
    }

    /// A mask of 255 inside that falls to 0 over `margin` pixels towards every edge: for pasting without a seam.
    ///
    /// # Errors
    /// [`ImagingError::Shape`] when a side is zero.
    pub fn feathered(width: u32, height: u32, margin: u32) -> Result<Self, ImagingError> {
        let ramp = |at: u32, side: u32| {
            let from_edge = at.min(side - 1 - at) + 1;
            (f64::from(from_edge) / f64::from(margin.saturating_add(1))).min(1.0)
        };
        let rows = (0..height).flat_map(|y| (0..width).map(move |x| ramp(x, width).min(ramp(y, height))));
        Self::new(width, height, rows.map(|v| (v * 255.0).round() as u8).collect())
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The values, `[height, width]`.
    pub fn values(&self) -> &[u8] {
        &self.values
    }

    /// The values in 0…1, `[height, width]`.
    pub fn to_unit_f32(&self) -> Vec<f32> {
        self.values.iter().map(|&v| f32::from(v) / 255.0).collect()
    }

    /// True when nothing is to be painted anew.
    pub fn is_empty(&self) -> bool {
        self.values.iter().all(|&v| v == 0)
    }

    /// Kept and repainted exchanged.
    #[must_use]
    pub fn inverted(&self) -> Self {
        Self { values: self.values.iter().map(|v| 255 - v).collect(), ..*self }
    }

    /// Every value at or above `threshold` becomes 255, the others 0.
    #[must_use]
    pub fn binarised(&self, threshold: u8) -> Self {
        Self { values: self.values.iter().map(|&v| if v >= threshold { 255 } else { 0 }).collect(), ..*self }
    }

    /// The mask with soft edges.
    #[must_use]
    pub fn blurred(&self, sigma: f32) -> Self {
        let mut values: Vec<f32> = self.values.iter().map(|&v| f32::from(v)).collect();
        gaussian(&mut values, self.width as usize, self.height as usize, 1, sigma);
        Self { values: values.into_iter().map(|v| (v + 0.5) as u8).collect(), ..*self }
    }

    /// The mask at another size.
    ///
    /// # Errors
    /// [`ImagingError::Argument`] for a side of zero.
    pub fn resized(&self, width: u32, height: u32, filter: Filter) -> Result<Self, ImagingError> {
        let values = resize_grey(&self.values, (self.width, self.height), (width, height), filter)?;
        Self::new(width, height, values)
    }

    /// A rectangle of the mask.
    ///
    /// # Errors
    /// [`ImagingError::Argument`] when it reaches outside.
    pub fn crop(&self, region: Region) -> Result<Self, ImagingError> {
        let inside =
            |start: u32, length: u32, side: u32| length > 0 && start.checked_add(length).is_some_and(|end| end <= side);
        if !inside(region.left, region.width, self.width) || !inside(region.top, region.height, self.height) {
            return Err(ImagingError::argument(
                "crop",
                format!("{region:?} does not lie inside {}x{}", self.width, self.height),
            ));
        }
        let values = (region.top..region.top + region.height).flat_map(|y| {
            let start = y as usize * self.width as usize + region.left as usize;
            self.values[start..start + region.width as usize].iter().copied()
        });
        Self::new(region.width, region.height, values.collect())
    }

    /// The smallest region that holds every value above `threshold`; `None` when there is none.
    pub fn bounding_box(&self, threshold: u8) -> Option<Region> {
        let (mut left, mut right, mut top, mut bottom) = (u32::MAX, 0, u32::MAX, 0);
        for (y, row) in (0..).zip(self.values.chunks_exact(self.width as usize)) {
            let Some(first) = row.iter().position(|&v| v > threshold) else { continue };
            let last = row.iter().rposition(|&v| v > threshold).unwrap_or(first);
            left = left.min(first as u32);
            right = right.max(last as u32 + 1);
            top = top.min(y);
            bottom = y + 1;
        }
        (right > 0).then(|| Region { left, top, width: right - left, height: bottom - top })
    }

    /// What an "only masked" edit cuts out: the masked pixels with `padding` around them, in the proportions of
    /// `aspect`, with sides that are multiples of `multiple` where there is room. `None` when nothing is masked.
    pub fn edit_region(&self, padding: u32, aspect: (u32, u32), multiple: u32) -> Option<Region> {
        let bounds = (self.width, self.height);
        let masked = self.bounding_box(0)?.padded(padding, bounds);
        Some(masked.with_aspect(aspect, bounds).aligned(multiple, bounds))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PixelFormat;

    #[test]
    fn white_is_painted_anew_and_holes_and_strokes_are_told_apart() {
        let plain = Picture::new(2, 1, PixelFormat::Rgb8, vec![255, 255, 255, 0, 0, 0]).unwrap();
        assert_eq!(Mask::from_picture(&plain).values(), [255, 0]);
        let strokes = Picture::new(2, 1, PixelFormat::Rgba8, vec![255, 255, 255, 255, 0, 0, 0, 0]).unwrap();
        assert_eq!(Mask::from_picture(&strokes).values(), [255, 0]);
        let hole = Picture::new(2, 1, PixelFormat::Rgba8, vec![30, 90, 20, 255, 30, 90, 20, 0]).unwrap();
        assert_eq!(Mask::from_picture(&hole).values(), [0, 255]);
        // Pillow: Image.new("RGB", (1, 1), (10, 200, 30)).convert("L") is 124.
        let green = Picture::filled(1, 1, &[10, 200, 30]).unwrap();
        assert_eq!(Mask::from_brightness(&green).values(), [124]);
    }

    #[test]
    fn the_box_is_tight_and_the_edit_region_covers_it() {
        let mut values = vec![0; 40 * 30];
        values[12 * 40 + 20] = 9;
        values[15 * 40 + 8] = 200;
        let mask = Mask::new(40, 30, values).unwrap();
        assert_eq!(mask.bounding_box(0), Some(Region { left: 8, top: 12, width: 13, height: 4 }));
        assert_eq!(mask.bounding_box(100), Some(Region { left: 8, top: 15, width: 1, height: 1 }));
        assert_eq!(mask.bounding_box(200), None);
        let region = mask.edit_region(2, (1, 1), 8).unwrap();
        assert_eq!((region.width, region.height), (24, 24));
        assert_eq!(mask.crop(region).unwrap().bounding_box(0).map(|b| (b.width, b.height)), Some((13, 4)));
    }

    #[test]
    fn feathers_rise_evenly_from_the_edges() {
        let mask = Mask::feathered(9, 9, 3).unwrap();
        assert_eq!(mask.values()[4 * 9..5 * 9], [64, 128, 191, 255, 255, 255, 191, 128, 64]);
        assert_eq!(Mask::feathered(2, 1, 0).unwrap().values(), [255, 255]);
        assert!(Mask::feathered(0, 1, 3).is_err());
    }
}
