//! What `danqing shrink` saves: `cargo xtask quality shrink --pictures FOLDER [--webp] NETWORK[+NETWORK]...` compares pictures reduced twofold, written as
//! JPEG (or lossy WebP) and brought back by networks with plain files of the same kind and number of bytes.
//!
//! For each quality of the small file the table gives bits per pixel of the original and PSNR on luma after enlarging (by the cubic filter
//! and by each network), beside the PSNR of a plain file of as many bytes, interpolated over the logarithm of its bytes between qualities.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use danqing_imaging::quality::compare;
use danqing_imaging::resample::{Kernel, resample};
use danqing_imaging::{DecodeLimits, EncodeOptions, Format, Picture, PixelFormat, decode, encode, open};
use danqing_models::upscalers::Upscaler;
use danqing_nn::LoadOptions;
use danqing_pipelines::control::Quiet;
use danqing_pipelines::embedded_upscalers::open_named;
use danqing_pipelines::tasks::enlarge::{EnlargeOptions, Link, TargetSize, enlarge};
use danqing_tensor::DType;

type Failure = Box<dyn std::error::Error>;
/// Networks that work one after the other.
type Chain = Vec<Box<dyn Upscaler>>;

const PLAIN: [u8; 12] = [1, 3, 5, 8, 12, 18, 25, 35, 50, 65, 80, 92];
const SMALL: [u8; 6] = [30, 50, 70, 80, 90, 97];

fn main() -> ExitCode {
    match table() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Sums over pictures at one quality of the small JPEG.
#[derive(Clone, Default)]
struct Row {
    bits: f64,
    plain: f64,
    brought_back: Vec<f64>,
}

fn table() -> Result<(), Failure> {
    let mut line = std::env::args().skip(1);
    let (mut folder, mut paths, mut format) = (None, Vec::new(), Format::Jpeg);
    while let Some(word) = line.next() {
        match word.as_str() {
            "--pictures" => folder = line.next().map(PathBuf::from),
            "--webp" => format = Format::WebP,
            _ => paths.push(word),
        }
    }
    let folder = folder.ok_or("--pictures names the folder of the pictures to measure on")?;
    let options = LoadOptions::inference(DType::F32);
    let open = |path: &str| open_named(path, &options);
    let chains: Vec<Chain> =
        paths.iter().map(|path| path.split('+').map(open).collect::<Result<Chain, _>>()).collect::<Result<_, _>>()?;
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)?.filter_map(|e| Some(e.ok()?.path())).collect();
    files.retain(|path| Format::for_writing(path).is_ok());
    files.sort();
    let mut rows = vec![Row { brought_back: vec![0.0; chains.len() + 1], ..Row::default() }; SMALL.len()];
    for file in &files {
        measure(file, format, &chains, &mut rows).map_err(|e| format!("{}: {e}", file.display()))?;
        eprintln!("{}", file.display());
    }
    let n = files.len() as f64;
    println!("{} pictures of {}; PSNR on luma, no border left out.\n", files.len(), folder.display());
    let stem = |path: &str| Path::new(path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let names = paths.iter().map(|chain| chain.split('+').map(stem).collect::<Vec<_>>().join(" + "));
    let names: Vec<String> = ["bicubic".to_owned()].into_iter().chain(names).collect();
    let kind = format.name();
    println!("| {kind} of the half | bits a pixel | plain {kind}, same bytes | {} |", names.join(" | "));
    println!("|---|---|---|{}", "---|".repeat(names.len()));
    for (quality, row) in SMALL.iter().zip(&rows) {
        let plain = row.plain / n;
        let cells = row.brought_back.iter().map(|sum| format!("{:.2} ({:+.2})", sum / n, sum / n - plain));
        let cells: Vec<String> = cells.collect();
        println!("| {quality} | {:.3} | {plain:.2} | {} |", row.bits / n, cells.join(" | "));
    }
    Ok(())
}

fn measure(file: &Path, format: Format, chains: &[Chain], rows: &mut [Row]) -> Result<(), Failure> {
    let limits = DecodeLimits::default();
    let picture = open(file, &limits)?.flattened([255; 3]);
    let (width, height) = (picture.width() / 2, picture.height() / 2);
    let mut picture = picture.crop(0, 0, 2 * width, 2 * height)?;
    // What a file says beside its pixels would count for every file alike.
    picture.metadata = Default::default();
    let written = |picture: &Picture, quality: u8| {
        let options = EncodeOptions { jpeg_quality: quality, webp_quality: Some(quality), ..Default::default() };
        encode(picture, format, &options)
    };
    let mut plain = Vec::new();
    for quality in PLAIN {
        let bytes = written(&picture, quality)?;
        plain.push((bytes.len() as f64, compare(&picture, &decode(&bytes, &limits)?, 0)?.psnr));
    }
    let values: Vec<f32> = picture.pixels().iter().map(|v| f32::from(*v) / 255.0).collect();
    let size = |w: u32, h: u32| (w as usize, h as usize);
    let half = resample(&values, size(2 * width, 2 * height), size(width, height), 3, Kernel::Bicubic);
    let half = Picture::from_unit_f32(width, height, PixelFormat::Rgb8, &half)?;
    let pixels = f64::from(picture.width()) * f64::from(picture.height());
    let options = EnlargeOptions { size: TargetSize::Fit(2 * width, 2 * height), ..Default::default() };
    for (quality, row) in SMALL.iter().zip(rows) {
        let bytes = written(&half, *quality)?;
        let small = decode(&bytes, &limits)?;
        row.bits += bytes.len() as f64 * 8.0 / pixels;
        row.plain += interpolated(&plain, bytes.len() as f64);
        let filter = Chain::new();
        for (sum, chain) in row.brought_back.iter_mut().zip(std::iter::once(&filter).chain(chains)) {
            let links: Vec<Link<'_>> = chain.iter().map(|n| Link::whole(n.as_ref())).collect();
            *sum += compare(&picture, &enlarge(&small, &links, &options, &Quiet)?, 0)?.psnr;
        }
    }
    Ok(())
}

/// PSNR at a number of bytes; beyond the ends that of the nearest end.
fn interpolated(points: &[(f64, f64)], bytes: f64) -> f64 {
    let at = points.partition_point(|point| point.0 < bytes);
    match (at.checked_sub(1).and_then(|i| points.get(i)), points.get(at)) {
        (Some(a), Some(b)) => {
            let share = (bytes / a.0).ln() / (b.0 / a.0).ln();
            a.1 + share * (b.1 - a.1)
        }
        (Some(end), None) | (None, Some(end)) => end.1,
        (None, None) => f64::NAN,
    }
}
