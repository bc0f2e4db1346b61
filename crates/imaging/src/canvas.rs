//! Pasting pictures into pictures and making them larger at the edges.

use crate::blur::blurred;
use crate::mask::Mask;
use crate::{ImagingError, Picture};

/// Pixels to add on each side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Borders {
    /// Above.
    pub top: u32,
    /// To the right.
    pub right: u32,
    /// Below.
    pub bottom: u32,
    /// To the left.
    pub left: u32,
}

/// What a new border holds before it is painted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fill {
    /// One colour.
    Colour([u8; 3]),
    /// The edge pixels drawn outwards, blurred by a fraction of the border and roughened: a start from which a model
    /// paints on without a visible seam.
    Edge {
        /// Greatest change of a value by noise, 0…255.
        noise: u8,
        /// Seed of the noise.
        seed: u64,
    },
    /// The picture mirrored at its edges.
    Mirror,
}

/// Lays `patch` over `base` with its upper left corner at `left`, `top`; `mask` (of the patch's size) says how much of
/// it shows. What lies outside of `base` is cut off.
///
/// # Errors
/// [`ImagingError::Argument`] when the mask has another size than the patch.
pub fn paste(
    base: &mut Picture,
    patch: &Picture,
    left: i64,
    top: i64,
    mask: Option<&Mask>,
) -> Result<(), ImagingError> {
    if let Some(mask) = mask.filter(|m| (m.width(), m.height()) != (patch.width(), patch.height())) {
        return Err(ImagingError::argument(
            "mask",
            format!("{}x{} does not fit a patch of {}x{}", mask.width(), mask.height(), patch.width(), patch.height()),
        ));
    }
    let (base_width, base_height) = (i64::from(base.width()), i64::from(base.height()));
    let (base_channels, patch_channels) = (base.format().channels(), patch.format().channels());
    let base_alpha = base.format().has_alpha();
    let shown = |start: i64, length: u32, bound: i64| {
        let from = start.saturating_neg().clamp(0, i64::from(length));
        let to = bound.saturating_sub(start).clamp(from, i64::from(length));
        from as usize..to as usize
    };
    let columns = shown(left, patch.width(), base_width);
    let rows = shown(top, patch.height(), base_height);
    let patch_width = patch.width() as usize;
    let pixels = base.pixels_mut();
    for y in rows {
        for x in columns.clone() {
            let weight = mask.map_or(255, |m| u32::from(m.values()[y * patch_width + x]));
            let source = &patch.pixels()[(y * patch_width + x) * patch_channels..][..patch_channels];
            let at = ((y as i64 + top) * base_width + x as i64 + left) as usize * base_channels;
            let target = &mut pixels[at..at + base_channels];
            for channel in 0..3 {
                target[channel] = mix(target[channel], source[channel], weight);
            }
            if base_alpha {
                target[3] = mix(target[3], source.get(3).copied().unwrap_or(255), weight);
            }
        }
    }
    Ok(())
}

/// Makes a picture larger at its edges. The mask is 255 on what is new.
///
/// # Errors
/// [`ImagingError::Argument`] when the result would have a side over 2³¹ or not fit into memory.
pub fn extend(picture: &Picture, borders: Borders, fill: Fill) -> Result<(Picture, Mask), ImagingError> {
    let side = |a: u32, b: u32, c: u32| a.checked_add(b).and_then(|s| s.checked_add(c)).filter(|&s| s < 1 << 31);
    let too_large = || ImagingError::argument("borders", "the picture would become too large");
    let width = side(picture.width(), borders.left, borders.right).ok_or_else(too_large)?;
    let height = side(picture.height(), borders.top, borders.bottom).ok_or_else(too_large)?;
    let channels = picture.format().channels();
    let length = (width as usize).checked_mul(height as usize).and_then(|n| n.checked_mul(channels));
    let length = length.filter(|&n| n <= isize::MAX as usize).ok_or_else(too_large)?;

    let inside = |at: u32, before: u32, side: u32| (before..before + side).contains(&at);
    let mut pixels = Vec::with_capacity(length);
    let mut values = Vec::with_capacity(length / channels);
    for y in 0..height {
        let old_row = inside(y, borders.top, picture.height());
        for x in 0..width {
            let old = old_row && inside(x, borders.left, picture.width());
            values.push(if old { 0 } else { 255 });
            if let (Fill::Colour(colour), false) = (fill, old) {
                pixels.extend_from_slice(&[colour[0], colour[1], colour[2], 255][..channels]);
                continue;
            }
            let source = if fill == Fill::Mirror { mirrored } else { nearest };
            let (sx, sy) = (source(x, borders.left, picture.width()), source(y, borders.top, picture.height()));
            let start = (sy as usize * picture.width() as usize + sx as usize) * channels;
            pixels.extend_from_slice(&picture.pixels()[start..start + channels]);
        }
    }
    let mut extended = Picture::new(width, height, picture.format(), pixels)?;
    let mask = Mask::new(width, height, values)?;
    if let Fill::Edge { noise, seed } = fill {
        let widest = borders.top.max(borders.right).max(borders.bottom).max(borders.left);
        let soft = blurred(&extended, (widest as f32 / 8.0).min(32.0));
        roughen(&mut extended, &soft, &mask, noise, seed);
    }
    extended.metadata = picture.metadata.clone();
    Ok((extended, mask))
}

fn nearest(at: u32, before: u32, side: u32) -> u32 {
    at.saturating_sub(before).min(side - 1)
}

/// Mirrors without repeating the edge pixel; wide borders go back and forth.
fn mirrored(at: u32, before: u32, side: u32) -> u32 {
    let period = i64::from(side - 1) * 2;
    if period == 0 {
        return 0;
    }
    let phase = (i64::from(at) - i64::from(before)).rem_euclid(period);
    phase.min(period - phase) as u32
}

fn roughen(picture: &mut Picture, soft: &Picture, mask: &Mask, noise: u8, seed: u64) {
    let channels = picture.format().channels();
    let mut state = seed;
    let new = picture.pixels_mut().chunks_exact_mut(channels).zip(soft.pixels().chunks_exact(channels));
    for ((pixel, soft), &value) in new.zip(mask.values()) {
        if value == 0 {
            continue;
        }
        for channel in 0..3 {
            let span = i64::from(noise) * 2 + 1;
            let change = (next(&mut state) % span as u64) as i64 - i64::from(noise);
            pixel[channel] = (i64::from(soft[channel]) + change).clamp(0, 255) as u8;
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn mix(below: u8, above: u8, weight: u32) -> u8 {
    ((u32::from(below) * (255 - weight) + u32::from(above) * weight + 127) / 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PixelFormat;

    fn row(values: &[u8]) -> Picture {
        let pixels = values.iter().flat_map(|&v| [v; 3]).collect();
        Picture::new(values.len() as u32, 1, PixelFormat::Rgb8, pixels).unwrap()
    }

    fn reds(picture: &Picture) -> Vec<u8> {
        picture.pixels().chunks_exact(3).map(|p| p[0]).collect()
    }

    #[test]
    fn patches_are_cut_at_the_edges_and_weighed_by_the_mask() {
        let mut base = row(&[10, 20, 30]);
        paste(&mut base, &row(&[1, 2, 3, 4, 5]), -1, 0, None).unwrap();
        assert_eq!(reds(&base), [2, 3, 4]);
        for (left, top) in [(3, 0), (0, 1), (i64::MIN, 0), (i64::MAX, i64::MAX)] {
            paste(&mut base, &row(&[9]), left, top, None).unwrap();
        }
        assert_eq!(reds(&base), [2, 3, 4]);
        let mask = Mask::new(3, 1, vec![0, 255, 51]).unwrap();
        paste(&mut base, &row(&[100, 100, 104]), 0, 0, Some(&mask)).unwrap();
        assert_eq!(reds(&base), [2, 100, 24]);
        assert!(paste(&mut base, &row(&[1]), 0, 0, Some(&mask)).is_err());
    }

    #[test]
    fn borders_hold_their_fill_and_the_old_pixels_stay() {
        let picture = row(&[1, 2, 3]);
        let borders = Borders { left: 2, right: 3, ..Borders::default() };
        let (mirror, mask) = extend(&picture, borders, Fill::Mirror).unwrap();
        assert_eq!(reds(&mirror), [3, 2, 1, 2, 3, 2, 1, 2]);
        assert_eq!(mask.values(), [255, 255, 0, 0, 0, 255, 255, 255]);
        let (colour, _) = extend(&picture, borders, Fill::Colour([9, 8, 7])).unwrap();
        assert_eq!(reds(&colour), [9, 9, 1, 2, 3, 9, 9, 9]);
        let edge = Fill::Edge { noise: 0, seed: 1 };
        let (drawn, _) = extend(&row(&[50, 50]), Borders { top: 4, ..borders }, edge).unwrap();
        assert!(reds(&drawn).iter().all(|&v| v == 50));
        let noisy = extend(&picture, borders, Fill::Edge { noise: 20, seed: 1 }).unwrap();
        assert_eq!(reds(&noisy.0)[2..5], [1, 2, 3]);
        assert_eq!(noisy, extend(&picture, borders, Fill::Edge { noise: 20, seed: 1 }).unwrap());
        assert!(extend(&picture, Borders { left: u32::MAX, ..borders }, Fill::Mirror).is_err());
    }
}
