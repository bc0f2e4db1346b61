//! The sprite library: every concept in every style as a 128-pixel picture, with the colours it can be given, kept in one cache file.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::DataError;
use super::colour::{Lab, OBJECT_COLOURS, measure, recolour};
use super::concept::{CONCEPT_LIST, Concept, concepts};
use super::icons::{IconSet, content, hex};
use super::packs::EmojiPack;
use super::pixels::shrink;
use super::shapes::{Fill, draw_shape};

/// Side of a stored sprite in pixels.
pub const SPRITE_SIDE: usize = 128;
const MAGIC: &[u8; 8] = b"DQSPRITE";
const VERSION: u32 = 1;
/// A recoloured sprite must win this share of the votes to keep its colour word.
const LEAST_SHARE: f32 = 0.55;

/// The manner in which a sprite is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Style {
    /// Google Noto Emoji.
    Noto,
    /// Microsoft Fluent Emoji, flat.
    Fluent,
    /// Twemoji.
    Twemoji,
    /// Mozilla FxEmoji.
    FxEmoji,
    /// A flat shape of ours.
    Flat,
    /// A shaded shape of ours.
    Shaded,
}

impl Style {
    /// The styles that come from icon packages.
    pub const PACKAGES: [Self; 4] = [Self::Noto, Self::Fluent, Self::Twemoji, Self::FxEmoji];

    /// The name of its npm package under `@iconify-json`; `None` for our own shapes.
    pub fn package(self) -> Option<&'static str> {
        match self {
            Self::Noto => Some("noto"),
            Self::Fluent => Some("fluent-emoji-flat"),
            Self::Twemoji => Some("twemoji"),
            Self::FxEmoji => Some("fxemoji"),
            Self::Flat | Self::Shaded => None,
        }
    }

    /// One of our own shapes, which is grey until a scene colours it.
    pub fn is_shape(self) -> bool {
        self.package().is_none()
    }
}

/// A set of pictures of concepts in one style.
pub(super) trait Drawings {
    /// The style of all of them.
    fn style(&self) -> Style;

    /// Where they come from.
    fn source(&self) -> &Source;

    /// A concept as straight RGBA, [`SPRITE_SIDE`] square, its content centred and filling the square; `None` where the set has none.
    ///
    /// # Errors
    /// A picture that cannot be read.
    fn draw(&self, concept: &Concept) -> Result<Option<Vec<u8>>, DataError>;
}

/// Where pictures came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// Package name.
    pub name: String,
    /// Package version.
    pub version: String,
    /// SPDX licence id.
    pub licence: String,
    /// SHA-256 of the icon file.
    pub sha256: String,
}

/// One picture of a concept.
#[derive(Debug, Clone)]
pub struct Sprite {
    /// Index into [`SpriteLibrary::concepts`].
    pub concept: usize,
    /// How it is drawn.
    pub style: Style,
    /// Half width and half height of the content as a share of half the square, 0–1.
    pub extent: [f32; 2],
    /// Bit `i` is set where object colour `i` can be given and measures right.
    pub colours: u16,
    /// Mean colour of its opaque pixels.
    pub mean: Lab,
    rgba: Vec<u8>,
}

impl Sprite {
    fn new(concept: usize, style: Style, rgba: Vec<u8>, colourable: bool) -> Option<Self> {
        let [left, top, right, bottom] = content(&rgba)?;
        let half = SPRITE_SIDE as f32 / 2.0;
        let reach = |low: usize, high: usize| (half - low as f32).max(high as f32 - half).min(half) / half;
        let small = shrink(&rgba, SPRITE_SIDE, 64);
        let mut colours = 0;
        if colourable {
            for target in 0..OBJECT_COLOURS.len() {
                let found = measure(&recolour(&small, target));
                if found.is_some_and(|m| m.colour == target && m.share >= LEAST_SHARE) {
                    colours |= 1 << target;
                }
            }
        }
        let mut sprite = Self {
            concept,
            style,
            extent: [reach(left, right), reach(top, bottom)],
            colours,
            mean: Lab::default(),
            rgba,
        };
        sprite.mean = sprite.mean_colour();
        Some(sprite)
    }

    fn mean_colour(&self) -> Lab {
        let (mut sum, mut count) = (Lab::default(), 1e-6);
        for pixel in self.rgba.chunks_exact(4).step_by(7).filter(|p| p[3] > 160) {
            let lab = Lab::from_rgb([pixel[0], pixel[1], pixel[2]]);
            sum = Lab { l: sum.l + lab.l, a: sum.a + lab.a, b: sum.b + lab.b };
            count += 1.0;
        }
        Lab { l: sum.l / count, a: sum.a / count, b: sum.b / count }
    }

    /// Straight RGBA, [`SPRITE_SIDE`] square.
    pub fn rgba(&self) -> &[u8] {
        &self.rgba
    }

    /// Whether it can be given an object colour.
    pub fn takes(&self, colour: usize) -> bool {
        colour < OBJECT_COLOURS.len() && self.colours & (1 << colour) != 0
    }
}

/// All concepts that have at least one picture, and their pictures.
#[derive(Debug, Clone)]
pub struct SpriteLibrary {
    concepts: Vec<Concept>,
    sprites: Vec<Sprite>,
    by_concept: Vec<Vec<usize>>,
    sources: Vec<Source>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    concept_list_sha256: String,
    sources: Vec<Source>,
    sprites: Vec<SpriteHeader>,
}

#[derive(Serialize, Deserialize)]
struct SpriteHeader {
    concept: String,
    style: Style,
    extent: [f32; 2],
    colours: u16,
}

fn list_sha256() -> String {
    hex(&Sha256::digest(CONCEPT_LIST))
}

impl SpriteLibrary {
    /// A library of our own shapes only: needs no files; used by tests.
    ///
    /// # Errors
    /// Never for the committed list.
    pub fn shapes_only() -> Result<Self, DataError> {
        Self::draw(concepts()?, &[])
    }

    /// Draws everything from the icon packages below `icons` (`npm install @iconify-json/noto …` run there) and our own shapes. Where
    /// `icons` is a file it is a pack of emoji pictures (`.tar.gz`), which gives one style only.
    ///
    /// # Errors
    /// No package found, a package or pack that cannot be read, an icon that cannot be drawn.
    pub fn build(icons: &Path) -> Result<Self, DataError> {
        if icons.is_file() {
            return Self::draw(concepts()?, &[&EmojiPack::open(icons)?]);
        }
        let mut sets = Vec::new();
        for style in Style::PACKAGES {
            sets.extend(IconSet::open(icons, style)?);
        }
        if sets.is_empty() {
            return Err(DataError::NoIcons { folder: icons.to_owned() });
        }
        let sets: Vec<&dyn Drawings> = sets.iter().map(|set| set as &dyn Drawings).collect();
        Self::draw(concepts()?, &sets)
    }

    /// Opens the cache file if it stands and fits this version and list of concepts, otherwise builds it from `icons` and writes it.
    ///
    /// # Errors
    /// As [`build`](Self::build) and [`write`](Self::write).
    pub fn open_or_build(cache: &Path, icons: &Path) -> Result<Self, DataError> {
        match Self::open(cache) {
            Ok(library) => Ok(library),
            Err(_) => {
                let library = Self::build(icons)?;
                library.write(cache)?;
                Ok(library)
            }
        }
    }

    fn draw(list: Vec<Concept>, sets: &[&dyn Drawings]) -> Result<Self, DataError> {
        let mut sprites = Vec::new();
        for (index, concept) in list.iter().enumerate() {
            for set in sets {
                if let Some(rgba) = set.draw(concept)? {
                    sprites.extend(Sprite::new(index, set.style(), rgba, concept.colourable));
                }
            }
            for (style, fill) in [(Style::Flat, Fill::Flat), (Style::Shaded, Fill::Shaded)] {
                if let Some(rgba) = draw_shape(&concept.id, fill).filter(|_| concept.shape) {
                    sprites.extend(Sprite::new(index, style, rgba, true));
                }
            }
        }
        let sources = sets.iter().map(|set| set.source().clone()).collect();
        Ok(Self::join(list, sprites, sources))
    }

    /// Keeps the concepts that have pictures and numbers them anew.
    fn join(list: Vec<Concept>, mut sprites: Vec<Sprite>, sources: Vec<Source>) -> Self {
        let mut concepts = Vec::new();
        let mut by_concept: Vec<Vec<usize>> = Vec::new();
        for (index, concept) in list.into_iter().enumerate() {
            let own: Vec<usize> = (0..sprites.len()).filter(|&s| sprites[s].concept == index).collect();
            if !own.is_empty() {
                concepts.push(concept);
                by_concept.push(own);
            }
        }
        for (index, own) in by_concept.iter().enumerate() {
            for &sprite in own {
                sprites[sprite].concept = index;
            }
        }
        Self { concepts, sprites, by_concept, sources }
    }

    /// The library with each thing drawn in one manner: in `style` where that has it, else in the first that does. Our own
    /// shapes stay. A small network learns one picture of a thing many times faster than four.
    #[must_use]
    pub fn in_style(self, style: Style) -> Self {
        let Self { concepts, sprites, by_concept, sources } = self;
        let chosen = |own: &[usize]| {
            let icons = || own.iter().copied().filter(|&s| !sprites[s].style.is_shape());
            icons().find(|&s| sprites[s].style == style).or_else(|| icons().next())
        };
        let kept: Vec<Option<usize>> = by_concept.iter().map(|own| chosen(own)).collect();
        let sprites = sprites
            .into_iter()
            .enumerate()
            .filter(|(index, sprite)| sprite.style.is_shape() || kept[sprite.concept] == Some(*index))
            .map(|(_, sprite)| sprite)
            .collect();
        Self::join(concepts, sprites, sources)
    }

    /// Opens a cache file.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged, or was made for another version or list of concepts.
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let bytes = fs::read(path).map_err(|error| DataError::Read { path: path.to_owned(), error })?;
        Self::parse(&bytes).map_err(|why| DataError::Cache { path: path.to_owned(), why })
    }

    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let rest = bytes.strip_prefix(MAGIC).ok_or("it does not begin like a sprite cache")?;
        let (version, rest) = take_u32(rest)?;
        if version != VERSION {
            return Err(format!("its version is {version}, needed is {VERSION}"));
        }
        let (length, rest) = take_u32(rest)?;
        let (header, mut rest) = rest.split_at_checked(length as usize).ok_or("it is cut short")?;
        let header: Header = serde_json::from_slice(header).map_err(|e| e.to_string())?;
        if header.concept_list_sha256 != list_sha256() {
            return Err("it was made for another list of concepts".to_owned());
        }
        let list = concepts().map_err(|e| e.to_string())?;
        let mut sprites = Vec::with_capacity(header.sprites.len().min(1 << 16));
        for stored in header.sprites {
            let concept = list.iter().position(|c| c.id == stored.concept).ok_or("it names an unknown concept")?;
            let (rgba, after) = rest.split_at_checked(SPRITE_SIDE * SPRITE_SIDE * 4).ok_or("it is cut short")?;
            rest = after;
            let mut sprite = Sprite {
                concept,
                style: stored.style,
                extent: stored.extent.map(|e| e.clamp(0.0, 1.0)),
                colours: stored.colours,
                mean: Lab::default(),
                rgba: rgba.to_vec(),
            };
            sprite.mean = sprite.mean_colour();
            sprites.push(sprite);
        }
        if !rest.is_empty() {
            return Err("it is longer than it says".to_owned());
        }
        Ok(Self::join(list, sprites, header.sources))
    }

    fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        let header = serde_json::to_vec(&Header {
            concept_list_sha256: list_sha256(),
            sources: self.sources.clone(),
            sprites: self
                .sprites
                .iter()
                .map(|sprite| SpriteHeader {
                    concept: self.concepts[sprite.concept].id.clone(),
                    style: sprite.style,
                    extent: sprite.extent,
                    colours: sprite.colours,
                })
                .collect(),
        })?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend((header.len() as u32).to_le_bytes());
        bytes.extend(header);
        for sprite in &self.sprites {
            bytes.extend(&sprite.rgba);
        }
        Ok(bytes)
    }

    /// Writes the cache file: first under a temporary name beside it, then renamed.
    ///
    /// # Errors
    /// The place cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), DataError> {
        let failed = |error| DataError::Write { path: path.to_owned(), error };
        let bytes = self.to_bytes().map_err(|e| failed(e.into()))?;
        let draft = path.with_extension(format!("part-{}", std::process::id()));
        fs::write(&draft, bytes).and_then(|()| fs::rename(&draft, path)).map_err(|error| {
            let _ = fs::remove_file(&draft);
            failed(error)
        })
    }

    /// The concepts; a concept id in labels is an index into this list.
    pub fn concepts(&self) -> &[Concept] {
        &self.concepts
    }

    /// All pictures.
    pub fn sprites(&self) -> &[Sprite] {
        &self.sprites
    }

    /// The pictures of one concept, as indices into [`sprites`](Self::sprites).
    pub fn sprites_of(&self, concept: usize) -> &[usize] {
        self.by_concept.get(concept).map_or(&[], Vec::as_slice)
    }

    /// What the pictures come from.
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }
}

fn take_u32(bytes: &[u8]) -> Result<(u32, &[u8]), String> {
    let (head, rest) = bytes.split_first_chunk().ok_or("it is cut short")?;
    Ok((u32::from_le_bytes(*head), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_take_every_colour_and_survive_the_cache() {
        let library = SpriteLibrary::shapes_only().expect("shapes");
        assert!(library.concepts().len() >= 8);
        for sprite in library.sprites() {
            assert_eq!(sprite.colours, 0xff, "{:?}", library.concepts()[sprite.concept].id);
        }
        let bytes = library.to_bytes().expect("bytes");
        let again = SpriteLibrary::parse(&bytes).expect("parses");
        assert_eq!(again.concepts(), library.concepts());
        for (x, y) in again.sprites().iter().zip(library.sprites()) {
            assert_eq!((x.concept, x.style, x.extent), (y.concept, y.style, y.extent));
            assert!(x.rgba() == y.rgba());
        }
    }

    #[test]
    fn one_style_keeps_one_picture_a_thing_and_our_shapes() {
        let shapes = SpriteLibrary::shapes_only().expect("shapes");
        let (concepts, rgba) = (shapes.concepts().to_vec(), shapes.sprites()[0].rgba().to_vec());
        let mut sprites = shapes.sprites().to_vec();
        for (concept, style) in [(0, Style::Noto), (0, Style::Fluent), (1, Style::Twemoji), (1, Style::Noto)] {
            sprites.extend(Sprite::new(concept, style, rgba.clone(), false));
        }
        let library = SpriteLibrary::join(concepts, sprites, Vec::new()).in_style(Style::Fluent);
        let icons = |concept: usize| -> Vec<Style> {
            let styles = library.sprites_of(concept).iter().map(|&s| library.sprites()[s].style);
            styles.filter(|style| !style.is_shape()).collect()
        };
        assert_eq!(icons(0), [Style::Fluent]);
        assert_eq!(icons(1), [Style::Twemoji]);
        assert_eq!(library.sprites().len(), shapes.sprites().len() + 2);
    }

    #[test]
    fn damaged_caches_are_refused() {
        let bytes = SpriteLibrary::shapes_only().map(|library| library.to_bytes().expect("bytes")).expect("shapes");
        for cut in [0, 4, 9, 14, 20, 200, bytes.len() / 2, bytes.len() - 1] {
            assert!(SpriteLibrary::parse(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        let mut other = bytes.clone();
        other[8] = 99;
        assert!(SpriteLibrary::parse(&other).is_err());
        other = bytes;
        other.push(0);
        assert!(SpriteLibrary::parse(&other).is_err());
    }
}
