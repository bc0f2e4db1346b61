//! The starter model's data: captioned pictures made on the fly from icon sets and procedural shapes, in English and Chinese.
//!
//! `SpriteLibrary` (pictures of things) → `SceneGenerator` (scene `index` = pixels, caption, labels). Everything is a pure function of the
//! seed and the index. Held-out combinations (`split`) are never trained on.

mod atlas;
pub mod background;
pub mod caption;
pub mod choices;
pub mod colour;
pub mod concept;
mod corpus;
mod dice;
mod icons;
pub mod labels;
mod layout;
pub mod leaves;
mod packs;
mod patches;
mod pixels;
mod prompts;
mod scene;
mod shapes;
pub mod split;
mod sprites;
mod vectors;
pub mod words;

use std::io;
use std::path::PathBuf;

pub use background::BACKGROUNDS;
pub use colour::OBJECT_COLOURS;
pub use concept::Concept;
pub use corpus::caption_corpus;
pub use labels::{Language, ObjectLabel, Relation, SceneKind, SceneLabels, SizeWord};
pub use patches::{Degradation, PatchPair, PatchSource};
pub use prompts::{EvaluationPrompt, PromptKind, evaluation_prompts};
pub use scene::{Scene, SceneConfig, SceneGenerator, ScenePlan, SceneWeights};
pub use split::Split;
pub use sprites::{SPRITE_SIDE, Source, Sprite, SpriteLibrary, Style};
pub use vectors::Vectors;
pub use words::{KnownWords, UnknownWord, known_words};

/// Why the data cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A line of the list of concepts is wrong.
    #[error("the list of concepts, line {line}: {why}")]
    ConceptList {
        /// Line number from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A file cannot be written.
    #[error("cannot write {}: {error}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// A picture cannot be read, or not be written and read back.
    #[error("{}: {why}", path.display())]
    Picture {
        /// The picture.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// An icon package's file is not what it should be.
    #[error("{} is no icon set of the Iconify form: {why}", path.display())]
    IconFile {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// An icon cannot be drawn.
    #[error("icon {icon} of {set} cannot be drawn: {why}")]
    Icon {
        /// The package.
        set: String,
        /// The icon.
        icon: String,
        /// Why.
        why: String,
    },
    /// The CLDR annotations are not what they should be.
    #[error("{} holds no CLDR annotations: {why}; install the npm package cldr-annotations-full again", path.display())]
    Annotations {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// No icon package below the folder.
    #[error(
        "no icon sets in {}: run there `npm install @iconify-json/noto @iconify-json/fluent-emoji-flat @iconify-json/twemoji @iconify-json/fxemoji`",
        folder.display()
    )]
    NoIcons {
        /// The folder.
        folder: PathBuf,
    },
    /// The sprite cache does not fit.
    #[error("the sprite cache {} does not fit: {why}; delete it to have it built anew", path.display())]
    Cache {
        /// The file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}
