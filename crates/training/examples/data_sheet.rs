//! Writes a contact sheet of generated scenes, and their captions beside it, to look at.
//!
//! `cargo run --release -p danqing-training --example data_sheet -- ICONS CACHE OUT.png [first index] [held-out]`
//! (ICONS: the folder where the icon packages were installed; CACHE: the sprite cache, made if missing).

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use danqing_imaging::{EncodeOptions, Picture, PixelFormat, save};
use danqing_training::data::{SceneConfig, SceneGenerator, Split, SpriteLibrary, Style};

const COLUMNS: usize = 8;
const GAP: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [icons, cache, out, rest @ ..] = arguments.as_slice() else {
        return Err("usage: data_sheet ICONS CACHE OUT.png [first index] [held-out]".into());
    };
    let start = Instant::now();
    let library = Arc::new(SpriteLibrary::open_or_build(Path::new(cache), Path::new(icons))?.in_style(Style::Fluent));
    println!("{} concepts, {} sprites in {:.1?}", library.concepts().len(), library.sprites().len(), start.elapsed());
    for source in library.sources() {
        println!("{} {} {}", source.name, source.version, source.licence);
    }
    let first: u64 = rest.first().map_or(Ok(0), |text| text.parse())?;
    let held_out = rest.get(1).is_some_and(|text| text == "held-out");
    let config = SceneConfig { split: if held_out { Split::HeldOut } else { Split::Train }, ..SceneConfig::default() };
    let size = config.size;
    let generator = SceneGenerator::new(&library, config);
    let side = COLUMNS * (size + GAP) + GAP;
    let mut sheet = vec![96; side * side * 3];
    let mut captions = String::new();
    for cell in 0..COLUMNS * COLUMNS {
        let scene = generator.scene(first + cell as u64);
        let (x, y) = (cell % COLUMNS, cell / COLUMNS);
        for (row, pixels) in scene.pixels.chunks_exact(size * 3).enumerate() {
            let at = ((GAP + y * (size + GAP) + row) * side + GAP + x * (size + GAP)) * 3;
            sheet[at..at + size * 3].copy_from_slice(pixels);
        }
        writeln!(captions, "{y},{x}\t{}", scene.caption)?;
    }
    let picture = Picture::new(side as u32, side as u32, PixelFormat::Rgb8, sheet)?;
    save(Path::new(out), &picture, &EncodeOptions::default())?;
    std::fs::write(Path::new(out).with_extension("txt"), captions)?;
    for (name, count) in [("warm-up", 20_000), ("scenes", 10_000)] {
        let start = Instant::now();
        let mut pixels = vec![0; size * size * 3];
        for index in 0..count {
            generator.paint(&generator.plan(index), &mut pixels);
        }
        println!("{name}: {:.0} a second", count as f64 / start.elapsed().as_secs_f64());
    }
    let start = Instant::now();
    let letters: usize = (0..20_000).map(|i| generator.plan(i).caption.len()).sum();
    println!("captions alone: {:.0} a second ({letters} bytes)", 20_000.0 / start.elapsed().as_secs_f64());
    Ok(())
}
