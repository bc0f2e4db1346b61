//! Draws the sixteen prompts of the starter's contact sheet with the embedded model.
//!
//! `cargo run --release -p danqing-pipelines --example starter_sheet -- docs/pictures/starter.png`

use std::error::Error;
use std::path::Path;

use danqing_imaging::sheet::{SheetOptions, contact_sheet};
use danqing_imaging::{EncodeOptions, Filter, Picture, ResizeOptions, resize, save};
use danqing_pipelines::control::Quiet;
use danqing_pipelines::request::DrawRequest;
use danqing_pipelines::starter::starter;
use danqing_pipelines::tasks::draw::{DrawTools, draw};
use danqing_tensor::DType;

/// Side of a cell in pixels.
const CELL: u32 = 192;

/// Prompts, and what stands below those whose script the sheet's letters lack.
const PROMPTS: [(&str, &str); 16] = [
    ("a red apple", "a red apple"),
    ("a penguin", "a penguin"),
    ("两只红色的猫", "zh: two red cats"),
    ("a rocket at night", "a rocket at night"),
    ("three cherries", "three cherries"),
    ("一只蓝色的鸟", "zh: a blue bird"),
    ("a house on a green background", "a house on a green background"),
    ("a purple octopus", "a purple octopus"),
    ("四朵云,蓝色背景", "zh: four clouds, blue background"),
    ("a snowman", "a snowman"),
    ("a yellow star", "a yellow star"),
    ("左边是一棵树,右边是一辆汽车", "zh: a tree left, a car right"),
    ("a crown above a frog", "a crown above a frog"),
    ("two pink umbrellas", "two pink umbrellas"),
    ("一条鱼,海里", "zh: a fish in the sea"),
    ("a pizza", "a pizza"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let out = std::env::args().nth(1).ok_or("usage: starter_sheet OUT.png")?;
    let model = starter(DType::Bf16)?;
    let mut pictures: Vec<Picture> = Vec::new();
    for (seed, (prompt, _)) in (0..).zip(PROMPTS) {
        let request = DrawRequest { prompt: prompt.into(), seed, translate: false, ..Default::default() };
        for drawn in draw(&model, &request, &DrawTools::default(), &Quiet)? {
            let options = ResizeOptions { filter: Filter::Lanczos3, ..Default::default() };
            pictures.push(resize(&drawn.picture, CELL, CELL, &options)?);
        }
    }
    let captions: Vec<&str> = PROMPTS.iter().map(|(_, caption)| *caption).collect();
    let pictures: Vec<&Picture> = pictures.iter().collect();
    let sheet = contact_sheet(&pictures, &captions, &SheetOptions { columns: 4, text_scale: 1, ..Default::default() })?;
    save(Path::new(&out), &sheet, &EncodeOptions::default())?;
    Ok(())
}
