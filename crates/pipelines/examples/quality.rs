//! Measures networks that enlarge or clean pictures as the literature does: `cargo xtask quality --pictures FOLDER --scale 4 NETWORK...`.
//!
//! Each picture is cropped to a multiple of the scale, reduced by MATLAB's antialiased cubic filter, rounded to 8 bits and, if asked, made a
//! JPEG; networks (several with `+` between them) bring it back. PSNR and SSIM are taken on luma without the outermost pixels (as many as the
//! scale unless told) and averaged over pictures. The row `bicubic` shows whether the measure is right: on Set5, Set14, B100 and Urban100 it
//! must give 28.42, 26.00, 25.96 and 23.14 dB (x4).

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

/// What the command line asks for.
struct Wish {
    pictures: PathBuf,
    scale: u32,
    jpeg: Option<u8>,
    border: u32,
    dtype: DType,
    chains: Vec<String>,
}

fn main() -> ExitCode {
    match wish(std::env::args().skip(1)).and_then(|wish| table(&wish)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn wish(mut line: impl Iterator<Item = String>) -> Result<Wish, Failure> {
    let (mut pictures, mut scale, mut jpeg, mut border) = (None, 4, None, None);
    let (mut dtype, mut chains) = (DType::F32, Vec::new());
    while let Some(word) = line.next() {
        let mut value = || line.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--pictures" => pictures = Some(PathBuf::from(value()?)),
            "--scale" => scale = value()?.parse()?,
            "--jpeg" => jpeg = Some(value()?.parse()?),
            "--border" => border = Some(value()?.parse()?),
            "--bf16" => dtype = DType::Bf16,
            _ if word.starts_with("--") => return Err(format!("there is no option {word}").into()),
            _ => chains.push(word),
        }
    }
    let pictures = pictures.ok_or("--pictures names the folder of the pictures to measure on")?;
    if scale == 0 || scale > 16 {
        return Err("--scale is a whole number of 1 to 16".into());
    }
    // Where nothing is enlarged the literature crops nothing.
    let border = border.unwrap_or(if scale == 1 { 0 } else { scale });
    Ok(Wish { pictures, scale, jpeg, border, dtype, chains })
}

/// A name with the networks behind it; none for the cubic filter.
type Chain = (String, Vec<Box<dyn Upscaler>>);

fn table(wish: &Wish) -> Result<(), Failure> {
    let mut chains: Vec<Chain> = vec![("bicubic".into(), Vec::new())];
    for chain in &wish.chains {
        let open = |path: &str| open_named(path, &LoadOptions::inference(wish.dtype));
        chains.push((names(chain), chain.split('+').map(open).collect::<Result<_, _>>()?));
    }
    let files = files(&wish.pictures)?;
    let mut sums = vec![[0.0; 3]; chains.len()];
    for (i, file) in files.iter().enumerate() {
        let original = open(file, &DecodeLimits::default())?.flattened([255; 3]);
        let (original, reduced) = degraded(&original, wish)?;
        for ((_, networks), sum) in chains.iter().zip(&mut sums) {
            let links: Vec<Link<'_>> = networks.iter().map(|n| Link::whole(n.as_ref())).collect();
            let size = TargetSize::Fit(original.width(), original.height());
            let options = EnlargeOptions { size, ..Default::default() };
            let quality = compare(&original, &enlarge(&reduced, &links, &options, &Quiet)?, wish.border)?;
            [quality.psnr, quality.ssim, quality.psnr_rgb].iter().zip(sum.iter_mut()).for_each(|(v, s)| *s += v);
        }
        eprintln!("{}/{} {}", i + 1, files.len(), file.display());
    }
    let jpeg = wish.jpeg.map(|q| format!(", then JPEG {q}")).unwrap_or_default();
    let reduction = match wish.scale {
        1 => "not reduced".into(),
        n => format!("reduced {n} times by MATLAB's antialiased cubic filter, rounded to 8 bits"),
    };
    println!("{} pictures of {}; {reduction}{jpeg};", files.len(), wish.pictures.display());
    println!("PSNR and SSIM on luma (BT.601, studio range), {} pixels left out at each edge.\n", wish.border);
    println!(
        "| network | PSNR-Y dB | SSIM-Y | PSNR-RGB dB | against bicubic dB | weights |\n|---|---|---|---|---|---|"
    );
    let base = sums[0][0];
    for ((name, networks), [psnr, ssim, rgb]) in chains.iter().zip(&sums) {
        let n = files.len() as f64;
        let weights: usize = networks.iter().map(|network| network.info().parameters).sum();
        let (mean, gain) = (psnr / n, (psnr - base) / n);
        println!("| {name} | {mean:.2} | {:.4} | {:.2} | {gain:+.2} | {weights} |", ssim / n, rgb / n);
    }
    Ok(())
}

/// The files' names without folders and endings.
fn names(chain: &str) -> String {
    let stem = |path: &str| Path::new(path).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    chain.split('+').map(stem).collect::<Vec<_>>().join(" + ")
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut files: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
    files.retain(|path| path.is_file() && Format::for_writing(path).is_ok());
    files.sort();
    if files.is_empty() { Err(format!("there are no pictures in {}", folder.display()).into()) } else { Ok(files) }
}

/// The picture, cropped to what the scale divides, and what is left of it.
fn degraded(picture: &Picture, wish: &Wish) -> Result<(Picture, Picture), Failure> {
    let (width, height) = (picture.width() / wish.scale, picture.height() / wish.scale);
    let picture = picture.crop(0, 0, width * wish.scale, height * wish.scale)?;
    let size = |w: u32, h: u32| (w as usize, h as usize);
    let (from, to) = (size(picture.width(), picture.height()), size(width, height));
    let values: Vec<f32> = picture.pixels().iter().map(|v| f32::from(*v) / 255.0).collect();
    let small = resample(&values, from, to, 3, Kernel::Bicubic);
    let mut reduced = Picture::from_unit_f32(width, height, PixelFormat::Rgb8, &small)?;
    if let Some(quality) = wish.jpeg {
        let options = EncodeOptions { jpeg_quality: quality, ..Default::default() };
        reduced = decode(&encode(&reduced, Format::Jpeg, &options)?, &DecodeLimits::default())?;
    }
    Ok((picture, reduced))
}
