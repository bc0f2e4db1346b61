//! Sprites ready for painting at one picture size: recoloured and shrunk on first use, then shared by all threads.

use std::sync::{Arc, OnceLock};

use super::colour::{OBJECT_COLOURS, recolour};
use super::pixels::{Chain, shrink};
use super::sprites::{SPRITE_SIDE, SpriteLibrary};

const SLOTS: usize = OBJECT_COLOURS.len() + 1;

/// Painting forms of a library's sprites.
#[derive(Debug)]
pub struct Atlas {
    library: Arc<SpriteLibrary>,
    top: usize,
    chains: Vec<OnceLock<Chain>>,
}

impl Atlas {
    /// For pictures of `size` pixels.
    pub fn new(library: Arc<SpriteLibrary>, size: usize) -> Self {
        let count = library.sprites().len() * SLOTS;
        Self {
            library,
            top: if size <= 64 { 64 } else { SPRITE_SIDE },
            chains: std::iter::repeat_with(OnceLock::new).take(count).collect(),
        }
    }

    /// The library behind it.
    pub fn library(&self) -> &Arc<SpriteLibrary> {
        &self.library
    }

    /// A sprite in an object colour or in its own; `None` for an index that is not there.
    pub fn chain(&self, sprite: usize, colour: Option<usize>) -> Option<&Chain> {
        let picture = self.library.sprites().get(sprite)?;
        let slot = colour.map_or(0, |c| c + 1);
        let cell = self.chains.get(sprite * SLOTS + slot.min(SLOTS - 1))?;
        Some(cell.get_or_init(|| {
            let own = shrink(picture.rgba(), SPRITE_SIDE, self.top);
            match colour {
                Some(colour) => Chain::new(&recolour(&own, colour), self.top),
                None => Chain::new(&own, self.top),
            }
        }))
    }
}
