//! Pairs of small and large patches for upscalers: photographs, dead leaves and icons, reduced as the network will be judged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use danqing_imaging::blur::gaussian;
use danqing_imaging::resample::{Kernel, resample};
use danqing_imaging::{DecodeLimits, EncodeOptions, Format, Picture, PixelFormat, decode, encode, open};

use super::DataError;
use super::dice::Dice;
use super::leaves::{Texture, Tone, dead_leaves};
use super::vectors::Vectors;

/// Pixels around a small patch that are reduced with it and then cut off: at the edge of a cut the filter would see a mirror.
const MARGIN: usize = 2;
/// Share of patches from photographs or drawings, where there are any, unless told.
const PICTURES: f32 = 0.6;
/// Sizes of each photograph as parts of its own: made smaller it is sharper, and its forms are smaller.
const SIZES: [(usize, usize); 7] = [(1, 1), (5, 6), (2, 3), (5, 9), (1, 2), (2, 5), (1, 4)];

/// How large patches become small ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Degradation {
    /// The antialiased cubic filter, rounded to 8 bits.
    Bicubic,
    /// As [`Bicubic`](Self::Bicubic), but a half of the pictures are blurred before by up to a deviation of 1.2 small pixels, and a third made JPEG of
    /// quality 60–95 after: what drawings are like that come from the web or out of a model.
    Drawing,
    /// Noise up to a deviation of 15 and JPEG of quality 30–95, each on a part of the patches; no change of size.
    NoiseAndJpeg,
}

/// Side of a sheet of dead leaves in pixels.
const SHEET: usize = 512;
/// Sheets that patches are cut from at a time: one is drawn anew for every [`PAIRS_A_SHEET`] pairs.
const SHEETS: usize = 32;
/// See [`SHEETS`].
const PAIRS_A_SHEET: u64 = 256;

/// RGB of a photograph or a sheet.
#[derive(Debug)]
struct Scene {
    width: usize,
    height: usize,
    values: Vec<u8>,
    /// The scene reduced by the scale, not yet rounded, where patches are only reduced: each is then cut from both.
    reduced: Option<Vec<f32>>,
}

/// Sheets of dead leaves by their numbers.
type Sheets = Mutex<BTreeMap<u64, Arc<OnceLock<Scene>>>>;

/// Makes pairs: pair `index` under a seed is always the same.
#[derive(Debug)]
pub struct PatchSource {
    photographs: Vec<Scene>,
    sheets: Sheets,
    drawings: Option<Vectors>,
    degradation: Degradation,
    scale: usize,
    side: usize,
    seed: u64,
    share: f32,
}

/// A pair of patches, RGB in 0..1.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchPair {
    /// `[side, side, 3]`.
    pub small: Vec<f32>,
    /// `[side · scale, side · scale, 3]`.
    pub large: Vec<f32>,
}

impl PatchSource {
    /// Pairs whose small patch has `side` pixels a side, cut from the photographs in `folder` at [`SIZES`], in their own colours
    /// and in others, and from dead leaves (alone, if there is no folder), a half of which show pieces of the photographs.
    ///
    /// # Errors
    /// When the folder or a picture in it cannot be read.
    pub fn new(
        folder: Option<&Path>,
        degradation: Degradation,
        scale: usize,
        side: usize,
        seed: u64,
    ) -> Result<Self, DataError> {
        let mut photographs = Vec::new();
        let least = (side + 2 * MARGIN) * scale;
        let of_scale = (degradation == Degradation::Bicubic).then_some(scale);
        for path in folder.map_or_else(|| Ok(Vec::new()), pictures_in)? {
            let refused =
                |e: danqing_imaging::ImagingError| DataError::Picture { path: path.clone(), why: e.to_string() };
            let picture = open(&path, &DecodeLimits::default()).map_err(refused)?.flattened([255; 3]);
            let size = (picture.width() as usize, picture.height() as usize);
            let whole = picture.to_unit_f32();
            for (part, of) in SIZES {
                let (width, height) = ((size.0 * part / of).max(1), (size.1 * part / of).max(1));
                if width >= least && height >= least {
                    let values = resample(&whole, size, (width, height), 3, Kernel::Bicubic);
                    photographs.push(Scene::new(values, (width, height), of_scale));
                }
            }
        }
        Ok(Self {
            photographs,
            sheets: Sheets::default(),
            drawings: None,
            degradation,
            scale,
            side,
            seed,
            share: PICTURES,
        })
    }

    /// Pairs of drawings, and of dead leaves between them, instead of photographs.
    pub fn of_drawings(drawings: Vectors, degradation: Degradation, scale: usize, side: usize, seed: u64) -> Self {
        let sheets = Sheets::default();
        Self {
            photographs: Vec::new(),
            sheets,
            drawings: Some(drawings),
            degradation,
            scale,
            side,
            seed,
            share: PICTURES,
        }
    }

    /// As it is, with this share of photographs or drawings, where there are any.
    pub fn with_share(self, share: f32) -> Self {
        Self { share, ..self }
    }

    /// Photographs, counting their reduced forms.
    pub fn photographs(&self) -> usize {
        self.photographs.len()
    }

    /// Pair `index`.
    ///
    /// # Errors
    /// When a patch cannot be written as JPEG and read back.
    pub fn pair(&self, index: u64) -> Result<PatchPair, DataError> {
        let mut dice = Dice::new(self.seed ^ 0x9A7C_4E55, index);
        let outer = (self.side + 2 * MARGIN) * self.scale;
        let made = !dice.chance(self.share);
        let sheet;
        let scene = match (dice.pick(&self.photographs), &self.drawings) {
            (Some(photograph), _) if !made => Some(photograph),
            (None, Some(_)) if !made => None,
            _ => {
                sheet = self.sheet(index, &mut dice);
                sheet.get()
            }
        };
        let way = dice.below(8);
        let tone = if dice.chance(0.5) { Tone::new(&mut dice) } else { Tone::PLAIN };
        if let Some(Scene { width, height, values, reduced: Some(small) }) = scene {
            let (width, height) = (*width / self.scale, *height / self.scale);
            let (x, y) = (dice.below(width - self.side + 1), dice.below(height - self.side + 1));
            let large = cut(values, width * self.scale, [x, y].map(|v| v * self.scale), self.side * self.scale);
            let small = cut(small, width, [x, y], self.side);
            return Ok(PatchPair {
                small: turned(&toned(small, tone), self.side, way),
                large: turned(&toned(unit(&large), tone), self.side * self.scale, way),
            });
        }
        let patch = match (scene, &self.drawings) {
            (Some(Scene { width, height, values, .. }), _) => {
                let (x, y) = (dice.below(width - outer + 1), dice.below(height - outer + 1));
                toned(unit(&cut(values, *width, [x, y], outer)), tone)
            }
            (None, Some(drawings)) => rounded(drawings.patch(outer, &mut dice)),
            (None, None) => vec![0.0; outer * outer * 3],
        };
        let patch = turned(&patch, outer, way);
        let reduced = self.side + 2 * MARGIN;
        let reduce = |patch: &[f32]| rounded(resample(patch, (outer, outer), (reduced, reduced), 3, Kernel::Bicubic));
        let small = match self.degradation {
            Degradation::Bicubic => reduce(&patch),
            Degradation::Drawing => {
                let mut blurred = patch.clone();
                if dice.chance(0.5) {
                    let sigma = dice.between(0.2, 1.2) * self.scale as f32;
                    gaussian(&mut blurred, outer, outer, 3, sigma);
                }
                let small = reduce(&blurred);
                if dice.chance(1.0 / 3.0) { through_jpeg(&small, reduced, 60 + dice.below(36) as u8)? } else { small }
            }
            Degradation::NoiseAndJpeg => spoilt(&patch, outer, &mut dice)?,
        };
        Ok(PatchPair { small: inner(&small, reduced, MARGIN), large: inner(&patch, outer, MARGIN * self.scale) })
    }

    /// One of the sheets that stand when pair `index` is made; threads that want one sheet wait for the first to draw it.
    fn sheet(&self, index: u64, dice: &mut Dice) -> Arc<OnceLock<Scene>> {
        let oldest = index / PAIRS_A_SHEET;
        let number = oldest + dice.below(SHEETS) as u64;
        let sheet = {
            let mut sheets = self.sheets.lock().unwrap_or_else(PoisonError::into_inner);
            // Pairs are asked for nearly in their order; a sheet that is wanted again is drawn again.
            sheets.retain(|number, _| number + SHEETS as u64 >= oldest);
            Arc::clone(sheets.entry(number).or_default())
        };
        sheet.get_or_init(|| {
            let side = SHEET.max(2 * (self.side + 2 * MARGIN) * self.scale);
            let textures: Vec<Texture<'_>> = self
                .photographs
                .iter()
                .map(|Scene { width, height, values, .. }| Texture { width: *width, height: *height, values })
                .collect();
            let values = dead_leaves(side, &textures, &mut Dice::new(self.seed ^ 0x1EAF, number));
            Scene::new(values, (side, side), (self.degradation == Degradation::Bicubic).then_some(self.scale))
        });
        sheet
    }
}

impl Scene {
    /// A scene of `values` rounded to 8 bits, cut to whole pixels of its reduced form if there is to be one.
    fn new(values: Vec<f32>, (width, height): (usize, usize), scale: Option<usize>) -> Self {
        let bytes: Vec<u8> = values.iter().map(|v| (v.clamp(0.0, 1.0) * 255.0).round() as u8).collect();
        let Some(scale) = scale else { return Self { width, height, values: bytes, reduced: None } };
        let (w, h) = (width / scale, height / scale);
        let row = w * scale * 3;
        let whole: Vec<u8> =
            bytes.chunks_exact(width * 3).take(h * scale).flat_map(|pixels| pixels[..row].iter().copied()).collect();
        let reduced = resample(&unit(&whole), (w * scale, h * scale), (w, h), 3, Kernel::Bicubic);
        Self { width: w * scale, height: h * scale, values: whole, reduced: Some(reduced) }
    }
}

/// Bytes as values in 0..1.
fn unit(bytes: &[u8]) -> Vec<f32> {
    bytes.iter().map(|v| f32::from(*v) / 255.0).collect()
}

/// A patch in another tone, rounded to 8 bits.
fn toned(mut values: Vec<f32>, tone: Tone) -> Vec<f32> {
    values.chunks_exact_mut(3).for_each(|pixel| pixel.copy_from_slice(&tone.of([pixel[0], pixel[1], pixel[2]])));
    rounded(values)
}

/// Values as 8 bits hold them.
fn rounded(mut values: Vec<f32>) -> Vec<f32> {
    values.iter_mut().for_each(|v| *v = (v.clamp(0.0, 1.0) * 255.0).round() / 255.0);
    values
}

/// The square of `side` at `x`, `y` of a picture `width` wide.
fn cut<T: Copy>(values: &[T], width: usize, [x, y]: [usize; 2], side: usize) -> Vec<T> {
    (y..y + side).flat_map(|row| values[(row * width + x) * 3..][..side * 3].iter().copied()).collect()
}

/// Pictures of a folder in the order of their names.
fn pictures_in(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let failed = |error| DataError::Read { path: folder.to_owned(), error };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if Format::for_writing(&path).is_ok() {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// The square laid in one of eight ways.
fn turned(values: &[f32], side: usize, way: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for y in 0..side {
        for x in 0..side {
            let (x, y) = if way & 4 == 4 { (y, x) } else { (x, y) };
            let x = if way & 1 == 1 { side - 1 - x } else { x };
            let y = if way & 2 == 2 { side - 1 - y } else { y };
            out.extend_from_slice(&values[(y * side + x) * 3..][..3]);
        }
    }
    out
}

fn inner(values: &[f32], side: usize, margin: usize) -> Vec<f32> {
    let kept = side - 2 * margin;
    (margin..side - margin).flat_map(|y| values[(y * side + margin) * 3..][..kept * 3].iter().copied()).collect()
}

/// The patch with noise and traces of JPEG.
fn spoilt(values: &[f32], side: usize, dice: &mut Dice) -> Result<Vec<f32>, DataError> {
    let deviation = if dice.chance(0.5) { dice.between(0.0, 15.0 / 255.0) } else { 0.0 };
    // Sums of twelve even draws are nearly normal with deviation 1.
    let mut normal = || (0..12).map(|_| dice.unit()).sum::<f32>() - 6.0;
    let noisy: Vec<f32> = values.iter().map(|v| if deviation > 0.0 { v + deviation * normal() } else { *v }).collect();
    if dice.chance(0.75) {
        return through_jpeg(&noisy, side, 30 + dice.below(66) as u8);
    }
    Ok(rounded(noisy))
}

/// What is left of a square of RGB after JPEG.
fn through_jpeg(values: &[f32], side: usize, jpeg_quality: u8) -> Result<Vec<f32>, DataError> {
    let refused =
        |e: danqing_imaging::ImagingError| DataError::Picture { path: PathBuf::from("patch"), why: e.to_string() };
    let picture = Picture::from_unit_f32(side as u32, side as u32, PixelFormat::Rgb8, values).map_err(refused)?;
    let bytes =
        encode(&picture, Format::Jpeg, &EncodeOptions { jpeg_quality, ..Default::default() }).map_err(refused)?;
    Ok(decode(&bytes, &DecodeLimits::default()).map_err(refused)?.to_unit_f32())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_patches_are_the_large_ones_reduced() {
        let source = PatchSource::new(None, Degradation::Bicubic, 4, 12, 1).unwrap();
        let mut exact = 0;
        for index in 0..16 {
            let PatchPair { small, large } = source.pair(index).unwrap();
            assert_eq!((small.len(), large.len()), (12 * 12 * 3, 48 * 48 * 3));
            // Away from the edges nothing was mirrored.
            let again = resample(&large, (48, 48), (12, 12), 3, Kernel::Bicubic);
            let (small, again) = (inner(&small, 12, 2), inner(&again, 12, 2));
            let far = small.iter().zip(&again).map(|(a, b)| (a - b.clamp(0.0, 1.0)).abs()).fold(0.0, f32::max);
            // In another tone the large patch is rounded once more: half the sum of the filter's absolute weights (1.17²).
            assert!(far <= (0.5 + 0.5 * 1.37) / 255.0, "{far}");
            exact += usize::from(far <= 0.51 / 255.0);
        }
        assert!(exact >= 4, "{exact}");
        assert_eq!(source.pair(3).unwrap(), source.pair(3).unwrap());
    }

    #[test]
    fn drawings_are_blurred_and_made_jpeg_in_part() {
        let source = PatchSource::of_drawings(Vectors::squares(), Degradation::Drawing, 4, 12, 1);
        let mut plain = 0;
        for index in 0..24 {
            let PatchPair { small, large } = source.pair(index).unwrap();
            assert_eq!((small.len(), large.len()), (12 * 12 * 3, 48 * 48 * 3));
            let again = resample(&large, (48, 48), (12, 12), 3, Kernel::Bicubic);
            let (small, again) = (inner(&small, 12, 2), inner(&again, 12, 2));
            plain += usize::from(small.iter().zip(&again).all(|(a, b)| (a - b.clamp(0.0, 1.0)).abs() <= 0.51 / 255.0));
        }
        // A third is left alone, and what has no edges near stays as it is.
        assert!((2..20).contains(&plain), "{plain}");
    }

    #[test]
    fn spoilt_patches_keep_their_size() {
        let source = PatchSource::new(None, Degradation::NoiseAndJpeg, 1, 32, 1).unwrap();
        let differ =
            (0..8).filter(|i| source.pair(*i).is_ok_and(|p| p.small.len() == p.large.len() && p.small != p.large));
        assert!(differ.count() >= 4);
    }
}
