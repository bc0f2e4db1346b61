//! Writes the list of words that the starter knows, as it is shipped beside the weights.
//!
//! `cargo run -p danqing-training --example starter_words -- ICONS CACHE starter/words.json`
//! (ICONS: the folder where the icon packages and `cldr-annotations-full` were installed; CACHE: the sprite cache, made if missing).

use std::error::Error;
use std::path::Path;

use danqing_training::data::{SpriteLibrary, Style, evaluation_prompts, known_words};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [icons, cache, out] = arguments.as_slice() else {
        return Err("usage: starter_words ICONS CACHE OUT.json".into());
    };
    let library = SpriteLibrary::open_or_build(Path::new(cache), Path::new(icons))?.in_style(Style::Fluent);
    let mut words = known_words(library.concepts());
    words.add_cldr(Path::new(icons), library.concepts())?;
    danqing_imaging::write_atomic(Path::new(out), words.to_json()?.as_bytes())?;
    println!("{} things, {} related words", words.things.len(), words.related.len());
    for prompt in evaluation_prompts(&library, 12) {
        println!("{:?}: {} | {}", prompt.kind, prompt.en, prompt.zh);
    }
    let colours: u32 = library.sprites().iter().map(|sprite| sprite.colours.count_ones()).sum();
    println!("{} sprites, {colours} recoloured ones measure right", library.sprites().len());
    for prompt in ["a kitten and a puppies", "霸王龙在城堡上面", "一只喵星人", "a wizard on a red moon"] {
        println!("{prompt}: {:?}", words.unknown(prompt));
    }
    Ok(())
}
