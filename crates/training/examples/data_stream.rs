//! Streams scenes to standard output as records of one length, for a trainer in another language (`reference`-style PyTorch recipes):
//! the same pictures, captions and labels as our own trainer sees.
//!
//! `data_stream ICONS CACHE [--size 64] [--seed 0] [--first 0] [--count 0] [--threads 1] [--held-out]` (count 0: without end).
//!
//! One record, as a NumPy type: `[("caption", "S192"), ("kind", "u1"), ("background", "u1"), ("relation", "u1"), ("objects", "u1"),
//! ("concept", "<u2", 2), ("colour", "u1", 2), ("count", "u1", 2), ("boxes", "u1", (2, 4, 4)), ("pixels", "u1", (size, size, 3))]`.
//! Captions are UTF-8 padded with zeros; 255 stands for "none" (colour, relation); boxes are left, top, right, bottom in 1/255 of the side.

use std::error::Error;
use std::io::{ErrorKind, Write, stdout};
use std::path::Path;
use std::sync::Arc;

use danqing_training::data::{SceneConfig, SceneGenerator, SceneLabels, Split, SpriteLibrary};

const CAPTION_BYTES: usize = 192;
const CHUNK: u64 = 256;

fn number(arguments: &[String], name: &str, default: u64) -> Result<u64, Box<dyn Error>> {
    match arguments.iter().position(|a| a == name) {
        Some(at) => Ok(arguments.get(at + 1).ok_or(format!("{name} needs a number"))?.parse()?),
        None => Ok(default),
    }
}

fn append(record: &mut Vec<u8>, caption: &str, labels: &SceneLabels) {
    let mut end = caption.len().min(CAPTION_BYTES);
    while !caption.is_char_boundary(end) {
        end -= 1;
    }
    let start = record.len();
    record.extend(&caption.as_bytes()[..end]);
    record.resize(start + CAPTION_BYTES, 0);
    let relation = labels.relation.map_or(255, |r| r as u8);
    record.extend([labels.kind as u8, labels.background as u8, relation, labels.objects.len() as u8]);
    let object = |i: usize| labels.objects.get(i);
    for i in 0..2 {
        record.extend(object(i).map_or(u16::MAX, |o| o.concept as u16).to_le_bytes());
    }
    for i in 0..2 {
        record.push(object(i).and_then(|o| o.colour).map_or(255, |c| c as u8));
    }
    for i in 0..2 {
        record.push(object(i).map_or(0, |o| o.count as u8));
    }
    for i in 0..2 {
        for k in 0..4 {
            let spot = object(i).and_then(|o| o.boxes.get(k)).copied().unwrap_or([0.0; 4]);
            record.extend(spot.map(|v| (v * 255.0).round() as u8));
        }
    }
}

fn chunk(generator: &SceneGenerator, first: u64, count: u64) -> Vec<u8> {
    let side = generator.config().size;
    let mut out = Vec::new();
    for index in first..first + count {
        let plan = generator.plan(index);
        append(&mut out, &plan.caption, &plan.labels);
        let start = out.len();
        out.resize(start + side * side * 3, 0);
        generator.paint(&plan, &mut out[start..]);
    }
    out
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [icons, cache, options @ ..] = arguments.as_slice() else {
        return Err(
            "usage: data_stream ICONS CACHE [--size 64] [--seed 0] [--first 0] [--count 0] [--threads 1] [--held-out]"
                .into(),
        );
    };
    let library = Arc::new(SpriteLibrary::open_or_build(Path::new(cache), Path::new(icons))?);
    let config = SceneConfig {
        size: number(options, "--size", 64)? as usize,
        seed: number(options, "--seed", 0)?,
        split: if options.iter().any(|o| o == "--held-out") { Split::HeldOut } else { Split::Train },
        ..SceneConfig::default()
    };
    let generator = SceneGenerator::new(&library, config);
    let threads = number(options, "--threads", 1)?.clamp(1, 64);
    let count = number(options, "--count", 0)?;
    let mut next = number(options, "--first", 0)?;
    let end = if count == 0 { u64::MAX } else { next.saturating_add(count) };
    let mut output = stdout().lock();
    while next < end {
        let starts: Vec<u64> = (0..threads).map(|t| next.saturating_add(t * CHUNK)).filter(|&s| s < end).collect();
        let chunks: Vec<Vec<u8>> = std::thread::scope(|scope| {
            let generator = &generator;
            let workers: Vec<_> =
                starts.iter().map(|&s| scope.spawn(move || chunk(generator, s, CHUNK.min(end - s)))).collect();
            workers.into_iter().filter_map(|worker| worker.join().ok()).collect()
        });
        for bytes in &chunks {
            match output.write_all(bytes) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                other => other?,
            }
        }
        next = next.saturating_add(CHUNK * starts.len() as u64);
    }
    Ok(())
}
