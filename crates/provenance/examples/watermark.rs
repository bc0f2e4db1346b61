//! What becomes of the watermark when pictures are compressed, resized and cut: a table for each folder of pictures that is given.
//!
//! `cargo run --release -p danqing-provenance --example watermark -- FOLDER [FOLDER]`

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use danqing_imaging::{
    DecodeLimits, EncodeOptions, Filter, Format, ImagingError, Picture, ResizeOptions, decode, encode, open, resize,
};
use danqing_provenance::watermark::{BITS, EmbedOptions, SMALLEST, WatermarkKey, bits_of, embed, find};

type Attack = (&'static str, fn(&Picture) -> Result<Picture, ImagingError>);

fn through(picture: &Picture, format: Format, quality: u8) -> Result<Picture, ImagingError> {
    let options = EncodeOptions { jpeg_quality: quality, ..Default::default() };
    decode(&encode(picture, format, &options)?, &DecodeLimits::default())
}

fn scaled(picture: &Picture, scale: f64) -> Result<Picture, ImagingError> {
    let side = |n: u32| (f64::from(n) * scale).round().max(1.0) as u32;
    let options = ResizeOptions { filter: Filter::Lanczos3, ..Default::default() };
    resize(picture, side(picture.width()), side(picture.height()), &options)
}

/// A part of the area, from somewhere that is no multiple of anything.
fn cut(picture: &Picture, area: f64) -> Result<Picture, ImagingError> {
    let side = |n: u32| (f64::from(n) * area.sqrt()).round() as u32;
    let (w, h) = (side(picture.width()), side(picture.height()));
    picture.crop((picture.width() - w) * 2 / 3, (picture.height() - h) / 3, w, h)
}

const ATTACKS: &[Attack] = &[
    ("as it is", |p| Ok(p.clone())),
    ("JPEG 90", |p| through(p, Format::Jpeg, 90)),
    ("JPEG 75", |p| through(p, Format::Jpeg, 75)),
    ("JPEG 50", |p| through(p, Format::Jpeg, 50)),
    ("JPEG 30", |p| through(p, Format::Jpeg, 30)),
    ("half the size", |p| scaled(p, 0.5)),
    ("0.7 of the size", |p| scaled(p, 0.7)),
    ("1.5 times the size", |p| scaled(p, 1.5)),
    ("0.83 of the size", |p| scaled(p, 0.83)),
    ("90 % of the area", |p| cut(p, 0.9)),
    ("50 % of the area", |p| cut(p, 0.5)),
    ("25 % of the area", |p| cut(p, 0.25)),
    ("50 % of the area, JPEG 50", |p| through(&cut(p, 0.5)?, Format::Jpeg, 50)),
    ("half the size, JPEG 75", |p| through(&scaled(p, 0.5)?, Format::Jpeg, 75)),
    ("0.7 of the size, JPEG 50", |p| through(&scaled(p, 0.7)?, Format::Jpeg, 50)),
];

fn main() {
    let folders: Vec<String> = std::env::args().skip(1).collect();
    if folders.is_empty() {
        eprintln!("give a folder of pictures, or several");
        std::process::exit(2);
    }
    for folder in folders {
        if let Err(error) = table(Path::new(&folder)) {
            eprintln!("{folder}: {error}");
            std::process::exit(1);
        }
    }
}

fn table(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut paths: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<Result<_, std::io::Error>>()?;
    paths.retain(|path| Format::for_writing(path).is_ok());
    paths.sort();
    let key = WatermarkKey::new(b"a key for measuring");
    let mut rows = vec![Row::default(); ATTACKS.len()];
    let (mut psnr, mut least, mut embedding, mut unmarked, mut pictures, mut small) =
        (0.0, f64::MAX, Duration::ZERO, 0.0_f32, 0, 0);
    for (i, path) in paths.iter().enumerate() {
        let picture = open(path, &DecodeLimits::default())?.flattened([255; 3]);
        if picture.width().min(picture.height()) < SMALLEST {
            small += 1;
            continue;
        }
        pictures += 1;
        let message = (i as u32 + 1).wrapping_mul(0x9E37_79B9);
        unmarked = unmarked.max(find(&picture, &key).score);
        let mut marked = picture.clone();
        let began = Instant::now();
        let distance = embed(&mut marked, &key, message, &EmbedOptions::default());
        embedding += began.elapsed();
        psnr += distance;
        least = least.min(distance);
        for (row, (_, attack)) in rows.iter_mut().zip(ATTACKS) {
            let attacked = attack(&marked)?;
            let began = Instant::now();
            let found = find(&attacked, &key);
            row.slowest = row.slowest.max(began.elapsed());
            row.time += began.elapsed();
            let clean = bits_of(message);
            row.bits += found.bits.iter().zip(&clean).filter(|(a, b)| a == b).count();
            row.whole += usize::from(found.message == Some(message));
            row.wrong += usize::from(found.message.is_some_and(|read| read != message));
            row.score = row.score.min(found.score);
        }
    }
    println!(
        "{}: {pictures} pictures ({small} too small), PSNR-Y {:.2} dB in the mean, {least:.2} dB at least; writing {:.0} ms; highest score without a mark {unmarked:.1}\n",
        folder.file_name().unwrap_or_default().to_string_lossy(),
        psnr / f64::from(pictures.max(1)),
        embedding.as_secs_f64() * 1e3 / f64::from(pictures.max(1))
    );
    println!(
        "| | bits | whole message | wrong message | lowest score | finding ms | slowest ms |\n|---|---|---|---|---|---|---|"
    );
    let n = pictures.max(1) as f64;
    for (row, (name, _)) in rows.iter().zip(ATTACKS) {
        println!(
            "| {name} | {:.2} % | {:.1} % | {} | {:.1} | {:.0} | {:.0} |",
            100.0 * row.bits as f64 / (n * BITS as f64),
            100.0 * row.whole as f64 / n,
            row.wrong,
            row.score,
            row.time.as_secs_f64() * 1e3 / n,
            row.slowest.as_secs_f64() * 1e3
        );
    }
    println!();
    Ok(())
}

#[derive(Clone)]
struct Row {
    bits: usize,
    whole: usize,
    wrong: usize,
    score: f32,
    time: Duration,
    slowest: Duration,
}

impl Default for Row {
    fn default() -> Self {
        Self { bits: 0, whole: 0, wrong: 0, score: f32::MAX, time: Duration::ZERO, slowest: Duration::ZERO }
    }
}
