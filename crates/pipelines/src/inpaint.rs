//! Masks: the area to draw anew, its soft edge, the crop around it, what stands there first, and pasting back.
//!
//! Masks have one value a pixel: 255 is drawn anew, 0 is kept.

use danqing_imaging::resize::resize_grey;
use danqing_imaging::{Filter, Picture, PixelFormat, ResizeOptions, resize};

use crate::TaskError;
use crate::request::{Init, MaskedContent};

/// A picture made ready to be drawn over.
#[derive(Debug, Clone)]
pub struct Area {
    /// The picture (or the crop of it), at the size that is drawn, masked content filled in.
    pub picture: Picture,
    /// How much may change.
    pub strength: f32,
    /// The mask at that size, its edge soft.
    pub mask: Option<Vec<u8>>,
    /// What stands in the masked area.
    pub content: MaskedContent,
    back: Option<PasteBack>,
}

/// How a drawn crop goes back into its picture.
#[derive(Debug, Clone)]
struct PasteBack {
    whole: Picture,
    /// Soft mask of the whole picture.
    mask: Vec<u8>,
    left: u32,
    top: u32,
    width: u32,
    height: u32,
}

/// Makes `init` ready to be drawn at `width` by `height` pixels.
///
/// # Errors
/// When the mask is of another size than the picture, or covers nothing.
pub fn prepare(init: &Init, width: usize, height: usize) -> Result<Area, TaskError> {
    let whole = init.picture.flattened([255; 3]);
    let Some(wish) = &init.inpaint else {
        let picture = fitted(&whole, width, height)?;
        let content = MaskedContent::Original;
        return Ok(Area { picture, strength: init.strength, mask: None, content, back: None });
    };
    let (w, h) = (whole.width(), whole.height());
    if wish.mask.len() != w as usize * h as usize {
        return Err(TaskError::Request(format!("the mask must be of the picture's size, {w}x{h}")));
    }
    let Some(bounds) = bounds(&wish.mask, w, h) else {
        return Err(TaskError::Request("the mask covers nothing: white marks what is drawn anew".into()));
    };
    let soft = blurred(&wish.mask, w as usize, h as usize, wish.blur);
    let filled = match wish.content {
        MaskedContent::Fill => filled(&whole, &wish.mask),
        _ => whole.clone(),
    };
    let (left, top, cw, ch) = match wish.only_masked {
        Some(padding) => expanded(bounds, padding, (w, h), width as f64 / height as f64),
        None => (0, 0, w, h),
    };
    let crop = cropped(&filled, left, top, cw, ch)?;
    let picture = fitted(&crop, width, height)?;
    let mask = crop_mask(&soft, w, left, top, cw, ch);
    let mask = resize_grey(&mask, (cw, ch), (width as u32, height as u32), Filter::Bilinear)?;
    Ok(Area {
        picture,
        strength: init.strength,
        mask: Some(mask),
        content: wish.content,
        back: Some(PasteBack { whole, mask: soft, left, top, width: cw, height: ch }),
    })
}

impl Area {
    /// Puts what was drawn back into the picture: unmasked pixels stay as they were.
    ///
    /// # Errors
    /// When the picture cannot be resized.
    pub fn paste(&self, drawn: Picture) -> Result<Picture, TaskError> {
        let Some(back) = &self.back else { return Ok(drawn) };
        let drawn = fitted(&drawn, back.width as usize, back.height as usize)?;
        let mut whole = back.whole.clone();
        let w = whole.width() as usize;
        let pixels = whole.pixels_mut();
        for (y, row) in drawn.pixels().chunks_exact(back.width as usize * 3).enumerate() {
            let start = (back.top as usize + y) * w + back.left as usize;
            let mask = &back.mask[start..start + back.width as usize];
            let target = &mut pixels[start * 3..(start + back.width as usize) * 3];
            for ((to, from), m) in target.chunks_exact_mut(3).zip(row.chunks_exact(3)).zip(mask) {
                for (t, f) in to.iter_mut().zip(from) {
                    let m = u32::from(*m);
                    *t = ((u32::from(*f) * m + u32::from(*t) * (255 - m) + 127) / 255) as u8;
                }
            }
        }
        Ok(whole)
    }
}

fn fitted(picture: &Picture, width: usize, height: usize) -> Result<Picture, TaskError> {
    if (picture.width() as usize, picture.height() as usize) == (width, height) {
        return Ok(picture.clone());
    }
    let options = ResizeOptions { filter: Filter::Lanczos3, ..Default::default() };
    Ok(resize(picture, width as u32, height as u32, &options)?)
}

/// Left, top, right, bottom (exclusive) of what the mask covers.
fn bounds(mask: &[u8], width: u32, height: u32) -> Option<(u32, u32, u32, u32)> {
    let covered = |x: u32, y: u32| mask[(y * width + x) as usize] > 127;
    let rows: Vec<u32> = (0..height).filter(|y| (0..width).any(|x| covered(x, *y))).collect();
    let columns: Vec<u32> = (0..width).filter(|x| (0..height).any(|y| covered(*x, y))).collect();
    Some((*columns.first()?, *rows.first()?, columns.last()? + 1, rows.last()? + 1))
}

/// A crop of the picture around `bounds`, `padding` wider, of the drawn picture's aspect where there is room.
fn expanded(
    (left, top, right, bottom): (u32, u32, u32, u32),
    padding: u32,
    (w, h): (u32, u32),
    aspect: f64,
) -> (u32, u32, u32, u32) {
    let (left, top) = (left.saturating_sub(padding), top.saturating_sub(padding));
    let (right, bottom) = ((right + padding).min(w), (bottom + padding).min(h));
    let (mut cw, mut ch) = (right - left, bottom - top);
    if f64::from(cw) < f64::from(ch) * aspect {
        cw = ((f64::from(ch) * aspect).round() as u32).min(w);
    } else {
        ch = ((f64::from(cw) / aspect).round() as u32).min(h);
    }
    let centred =
        |low: u32, high: u32, size: u32, whole: u32| ((low + high).saturating_sub(size) / 2).min(whole - size);
    (centred(left, right, cw, w), centred(top, bottom, ch, h), cw, ch)
}

fn cropped(picture: &Picture, left: u32, top: u32, width: u32, height: u32) -> Result<Picture, TaskError> {
    let stride = picture.width() as usize * 3;
    let rows = (top as usize..(top + height) as usize).flat_map(|y| {
        let start = y * stride + left as usize * 3;
        picture.pixels()[start..start + width as usize * 3].iter().copied()
    });
    Ok(Picture::new(width, height, PixelFormat::Rgb8, rows.collect())?)
}

fn crop_mask(mask: &[u8], stride: u32, left: u32, top: u32, width: u32, height: u32) -> Vec<u8> {
    (top..top + height)
        .flat_map(|y| {
            let start = (y * stride + left) as usize;
            mask[start..start + width as usize].iter().copied()
        })
        .collect()
}

/// Gaussian blur of standard deviation `sigma` pixels, edges repeated.
fn blurred(mask: &[u8], width: usize, height: usize, sigma: f32) -> Vec<u8> {
    if sigma <= 0.0 {
        return mask.to_vec();
    }
    let radius = (sigma * 2.5).ceil() as isize;
    let kernel: Vec<f32> = (-radius..=radius).map(|i| (-0.5 * (i as f32 / sigma).powi(2)).exp()).collect();
    let total: f32 = kernel.iter().sum();
    let pass = |from: &[f32], across: bool| -> Vec<f32> {
        let at = |x: isize, y: isize| {
            from[y.clamp(0, height as isize - 1) as usize * width + x.clamp(0, width as isize - 1) as usize]
        };
        (0..(width * height) as isize)
            .map(|i| {
                let (x, y) = (i % width as isize, i / width as isize);
                let sum: f32 = kernel
                    .iter()
                    .zip(-radius..)
                    .map(|(k, d)| k * if across { at(x + d, y) } else { at(x, y + d) })
                    .sum();
                sum / total
            })
            .collect()
    };
    let values: Vec<f32> = mask.iter().map(|m| f32::from(*m)).collect();
    pass(&pass(&values, true), false).iter().map(|v| v.round() as u8).collect()
}

/// The masked area filled with colours from around it: pulled from coarser and coarser averages of what is known.
fn filled(picture: &Picture, mask: &[u8]) -> Picture {
    let (w, h) = (picture.width() as usize, picture.height() as usize);
    // Each level halves the one before; a cell is the mean of its known pixels and how much of it is known.
    let mut levels: Vec<(usize, usize, Vec<[f32; 4]>)> = Vec::new();
    let base = picture
        .pixels()
        .chunks_exact(3)
        .zip(mask)
        .map(|(p, m)| {
            let known = if *m > 127 { 0.0 } else { 1.0 };
            [f32::from(p[0]) * known, f32::from(p[1]) * known, f32::from(p[2]) * known, known]
        })
        .collect();
    levels.push((w, h, base));
    while let Some((lw, lh, cells)) = levels.last().filter(|(lw, lh, _)| lw.max(lh) > &1) {
        let (lw, lh) = (*lw, *lh);
        let (nw, nh) = (lw.div_ceil(2), lh.div_ceil(2));
        let mut next = vec![[0f32; 4]; nw * nh];
        for y in 0..lh {
            for x in 0..lw {
                for k in 0..4 {
                    next[(y / 2) * nw + x / 2][k] += cells[y * lw + x][k] * 0.25;
                }
            }
        }
        levels.push((nw, nh, next));
    }
    let mut out = picture.clone();
    for (i, pixel) in out.pixels_mut().chunks_exact_mut(3).enumerate() {
        if mask[i] <= 127 {
            continue;
        }
        let (x, y) = (i % w, i / w);
        let mut colour = [0f32; 3];
        let mut open = 1.0;
        for (depth, (lw, _, cells)) in levels.iter().enumerate().skip(1) {
            let cell = cells[(y >> depth) * lw + (x >> depth)];
            if cell[3] <= 0.0 || open <= 1e-3 {
                continue;
            }
            let share = open * cell[3].min(1.0);
            for k in 0..3 {
                colour[k] += share * cell[k] / cell[3];
            }
            open -= share;
        }
        for (p, c) in pixel.iter_mut().zip(colour) {
            *p = (c / (1.0 - open).max(1e-3)).clamp(0.0, 255.0).round() as u8;
        }
    }
    out
}

/// The mask in latent cells, the mean of each cell's pixels, 0..1, `[h, w]`.
pub fn latent_mask(mask: &[u8], width: usize, height: usize, factor: usize) -> Vec<f32> {
    let (w, h) = (width / factor, height / factor);
    let mut cells = vec![0f32; w * h];
    for (y, row) in mask.chunks_exact(width).take(h * factor).enumerate() {
        for (x, m) in row.iter().take(w * factor).enumerate() {
            cells[(y / factor) * w + x / factor] += f32::from(*m) / 255.0;
        }
    }
    let area = (factor * factor) as f32;
    cells.iter_mut().for_each(|c| *c /= area);
    cells
}

/// The mask as inpainting networks want it: 0 or 1, each cell's first pixel.
pub fn nearest_mask(mask: &[u8], width: usize, height: usize, factor: usize) -> Vec<f32> {
    let (w, h) = (width / factor, height / factor);
    (0..w * h).map(|i| if mask[(i / w) * factor * width + (i % w) * factor] > 127 { 1.0 } else { 0.0 }).collect()
}

/// The picture with grey where the mask covers it, as inpainting networks were trained to see it.
///
/// # Errors
/// None for a mask of the picture's size.
pub fn masked_picture(picture: &Picture, mask: &[u8]) -> Result<Picture, TaskError> {
    let pixels = picture
        .pixels()
        .chunks_exact(3)
        .zip(mask)
        .flat_map(|(p, m)| if *m > 127 { [128; 3] } else { [p[0], p[1], p[2]] })
        .collect();
    Ok(Picture::new(picture.width(), picture.height(), PixelFormat::Rgb8, pixels)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Inpaint;

    fn scene() -> (Picture, Vec<u8>) {
        let pixels = (0..40 * 30).flat_map(|i| if i % 40 < 20 { [200, 10, 10] } else { [10, 10, 200] }).collect();
        let picture = Picture::new(40, 30, PixelFormat::Rgb8, pixels).unwrap();
        let mask =
            (0..40 * 30).map(|i| if (4..10).contains(&(i % 40)) && (8..14).contains(&(i / 40)) { 255 } else { 0 });
        (picture, mask.collect())
    }

    fn wish(mask: Vec<u8>, only_masked: Option<u32>, content: MaskedContent) -> Inpaint {
        Inpaint { mask, blur: 0.0, only_masked, content }
    }

    #[test]
    fn unmasked_pixels_stay_and_masked_ones_are_replaced() {
        let (picture, mask) = scene();
        for only_masked in [None, Some(3)] {
            let inpaint = Some(wish(mask.clone(), only_masked, MaskedContent::Original));
            let init = Init { picture: picture.clone(), strength: 1.0, inpaint };
            let area = prepare(&init, 64, 48).unwrap();
            let drawn = Picture::filled(64, 48, &[0, 255, 0]).unwrap();
            let back = area.paste(drawn).unwrap();
            for (i, (b, o)) in back.pixels().chunks_exact(3).zip(picture.pixels().chunks_exact(3)).enumerate() {
                let want: &[u8] = if mask[i] == 255 { &[0, 255, 0] } else { o };
                assert_eq!(b, want, "pixel {i}, crop {only_masked:?}");
            }
        }
    }

    #[test]
    fn filling_takes_colours_from_around() {
        let (picture, mask) = scene();
        let out = filled(&picture, &mask);
        for (i, p) in out.pixels().chunks_exact(3).enumerate().filter(|(i, _)| mask[*i] == 255) {
            assert!(p[0] > 120 && p[2] < 100, "pixel {i} is {p:?}, red is around it");
        }
    }

    #[test]
    fn an_empty_mask_is_refused() {
        let (picture, mask) = scene();
        let inpaint = Some(wish(vec![0; mask.len()], None, MaskedContent::Original));
        let error = prepare(&Init { picture, strength: 1.0, inpaint }, 64, 48).unwrap_err();
        assert!(error.to_string().contains("covers nothing"));
    }
}
