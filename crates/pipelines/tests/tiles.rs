//! Tiles of published networks against the same networks on whole pictures.
//!
//! Where the overlap covers all that a pixel depends on, the two may not differ by more than a step of 8 bits anywhere; elsewhere they keep
//! 45 dB, and nothing steps where tiles meet. What would be a step is shown by tiles that overlap too little.

use std::ops::RangeInclusive;
use std::path::Path;

use danqing_imaging::{DecodeLimits, open};
use danqing_models::upscalers::{Upscaler, UpscalerInfo};
use danqing_nn::LoadOptions;
use danqing_pipelines::control::Quiet;
use danqing_pipelines::tasks::enlarge::{EnlargeOptions, Enlargement, Link, open_network};
use danqing_tensor::{DType, Tensor, TensorError};
use danqing_testing::assets;

/// One file of every architecture, and of every shape of ncnn and TensorFlow networks.
const FILES: &[&str] = &[
    "ntire/2022_team04_rlfn.pth",
    "ntire/2022_rfdn_baseline.pth",
    "ntire/2022_team03_fmen.pth",
    "ntire/2022_team18_bsrn.pth",
    "ntire/2024_team23_safmnpp.pth",
    "ntire/2024_team24_smfan.pth",
    "ntire/2024_team38_span_ch28_slim.pth",
    "realesrgan/realesr-general-x4v3.param",
    "waifu2x/models-cunet/noise1_scale2.0x_model.param",
    "waifu2x/models-upconv_7_photo/noise1_scale2.0x_model.param",
    "realcugan/models-nose/up2x-no-denoise.param",
    "realcugan/models-se/up2x-conservative.param",
    "fsrcnn/FSRCNN_x3.pb",
    "fsrcnn/FSRCNN-small_x2.pb",
    "lapsrn/LapSRN_x2.pb",
];
const PHOTOGRAPHS: [&str; 3] = ["gb82_city.png", "gb82_flowers.png", "clic_28d24b9c.png"];

/// Of the photographs the middle is taken: several tiles in both directions, and sides that no tile divides.
const SIZE: (u32, u32) = (136, 100);
const TILE: usize = 64;

/// A step of 8 bits.
const STEP: f64 = 1.0 / 255.0;
const LEAST_PSNR: f64 = 45.0;
/// How much more the error may change, in the mean along a line where tiles meet, from one side to the other than across the lines
/// beside it, which are so far away in pixels of the result; and what is seen in no case.
const SEAM: f64 = 2.0;
const BESIDE: RangeInclusive<usize> = 4..=16;
const UNSEEN: f64 = 0.01 * STEP;

/// A network of which tiles overlap less than they should.
struct Narrow<'a>(&'a dyn Upscaler, UpscalerInfo);

impl Upscaler for Narrow<'_> {
    fn info(&self) -> &UpscalerInfo {
        &self.1
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, TensorError> {
        self.0.forward(x)
    }
}

/// What a network makes of rows of RGB in 0..1, cut off at both ends.
fn enlarged(network: &dyn Upscaler, values: &[f32], tile: usize) -> Vec<f32> {
    let scale = network.info().scale as u32;
    let to = (SIZE.0 * scale, SIZE.1 * scale);
    let options = EnlargeOptions { tile, ..Default::default() };
    let mut chain = Enlargement::new(&[Link::whole(network)], SIZE, to, 3, &options).unwrap();
    let mut out = Vec::new();
    for row in values.chunks_exact(3 * SIZE.0 as usize) {
        chain
            .push(row, &Quiet, &mut |line| {
                out.extend(line.iter().map(|v| v.clamp(0.0, 1.0)));
                Ok(())
            })
            .unwrap();
    }
    assert_eq!(out.len(), 3 * (to.0 * to.1) as usize);
    out
}

/// How a tiled result differs from the whole one.
#[derive(Debug, Clone, Copy)]
struct Difference {
    largest: f64,
    psnr: f64,
    /// Mean change of the error across the line where tiles meet that stands out most from the lines beside it, and across those.
    seam: f64,
    beside: f64,
}

impl Difference {
    /// Tiles have sides of `side` pixels of the result.
    fn of(tiled: &[f32], whole: &[f32], width: usize, side: usize) -> Self {
        let error: Vec<f64> = tiled.iter().zip(whole).map(|(t, w)| f64::from(*t) - f64::from(*w)).collect();
        let (pitch, height) = (3 * width, error.len() / (3 * width));
        let across = |x: usize| {
            let places = (0..height * 3).map(|i| (i / 3) * pitch + 3 * x + i % 3);
            places.map(|i| (error[i] - error[i - 3]).abs()).sum::<f64>() / (3 * height) as f64
        };
        let down = |y: usize| {
            let places = y * pitch..(y + 1) * pitch;
            places.map(|i| (error[i] - error[i - pitch]).abs()).sum::<f64>() / pitch as f64
        };
        let (mut seam, mut beside) = (f64::MIN, 0.0);
        for changes in [(1..width).map(across).collect::<Vec<_>>(), (1..height).map(down).collect()] {
            for line in (side - 1..changes.len()).step_by(side) {
                let near = |other: &usize| BESIDE.contains(&line.abs_diff(*other));
                let lines: Vec<f64> = (0..changes.len()).filter(near).map(|other| changes[other]).collect();
                let mean = lines.iter().sum::<f64>() / lines.len() as f64;
                if changes[line] - SEAM * mean >= seam - SEAM * beside {
                    (seam, beside) = (changes[line], mean);
                }
            }
        }
        let mean_square = error.iter().map(|e| e * e).sum::<f64>() / error.len() as f64;
        let largest = error.iter().fold(0f64, |m, e| m.max(e.abs()));
        Self { largest, psnr: -10.0 * mean_square.log10(), seam, beside }
    }

    /// Whether one can tell where tiles meet.
    fn steps(self) -> bool {
        self.seam > (SEAM * self.beside).clamp(UNSEEN, STEP)
    }

    /// The worse of two.
    fn or_worse(self, other: Self) -> Self {
        let stands_out = |of: Self| of.seam - SEAM * of.beside;
        let worse = if stands_out(other) > stands_out(self) { other } else { self };
        Self { largest: self.largest.max(other.largest), psnr: self.psnr.min(other.psnr), ..worse }
    }
}

/// The middle of a photograph.
fn photograph(path: &Path) -> Vec<f32> {
    let picture = open(path, &DecodeLimits::default()).unwrap().flattened([255; 3]);
    let (x, y) = ((picture.width() - SIZE.0) / 2, (picture.height() - SIZE.1) / 2);
    let picture = picture.crop(x, y, SIZE.0, SIZE.1).unwrap();
    picture.pixels().iter().map(|v| f32::from(*v) / 255.0).collect()
}

#[test]
fn tiles_of_published_networks_are_as_whole_pictures() {
    let Some(assets) = assets() else { return };
    let photographs = PHOTOGRAPHS.map(|name| photograph(&assets.join("images/photos").join(name)));
    let mut failures = Vec::new();
    println!("| file | overlap | exact | largest /255 | PSNR dB | seam /255 | beside | too little overlap | beside |");
    for file in FILES {
        let path = assets.join("weights/sr").join(file);
        let network = open_network(&path, &LoadOptions::inference(DType::F32)).unwrap_or_else(|e| panic!("{e}"));
        let info = network.info();
        let width = SIZE.0 as usize * info.scale;
        let tile = TILE.next_multiple_of(info.multiple);
        let narrow = Narrow(network.as_ref(), UpscalerInfo { overlap: narrowed(info), ..info.clone() });
        let mut kept: Option<Difference> = None;
        let mut cut = kept;
        for values in &photographs {
            let whole = enlarged(network.as_ref(), values, 512);
            let difference = |network: &dyn Upscaler| {
                Difference::of(&enlarged(network, values, tile), &whole, width, tile * info.scale)
            };
            let of_these = difference(network.as_ref());
            kept = Some(kept.map_or(of_these, |others| others.or_worse(of_these)));
            // One photograph shows what is no overlap.
            cut = cut.or_else(|| Some(difference(&narrow)));
        }
        let (kept, cut) = (kept.unwrap(), cut.unwrap());
        println!(
            "| {file} | {} | {} | {:.3} | {:.1} | {:.4} | {:.4} | {:.3} | {:.3} |",
            info.overlap,
            info.exact,
            kept.largest / STEP,
            kept.psnr,
            kept.seam / STEP,
            kept.beside / STEP,
            cut.seam / STEP,
            cut.beside / STEP
        );
        if kept.steps() || kept.psnr < LEAST_PSNR || (info.exact && kept.largest > STEP) {
            failures.push(format!("{file}: {kept:?}"));
        }
        if !cut.steps() {
            failures.push(format!("{file}: an overlap of {} is not seen: {cut:?}", narrow.1.overlap));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// An overlap that is too small for any network of [`FILES`].
fn narrowed(info: &UpscalerInfo) -> usize {
    if info.multiple == 1 { 1 } else { 0 }
}
