//! What is in a scene: the labels that captions, evaluators and the rule of held-out combinations share.

use super::background::BACKGROUNDS;
use super::colour::OBJECT_COLOURS;

/// The kind of a scene.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SceneKind {
    /// One thing.
    Single,
    /// One to four of one thing.
    Count,
    /// Two different things.
    Pair,
    /// One of our shapes in a colour (one, several or two).
    Shape,
}

/// Where the first object stands as seen from the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// First left, second right.
    LeftOf,
    /// First right, second left.
    RightOf,
    /// First above, second below.
    Above,
    /// First below, second above.
    Below,
}

impl Relation {
    /// All four.
    pub const ALL: [Self; 4] = [Self::LeftOf, Self::RightOf, Self::Above, Self::Below];
}

/// Language of a caption.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    /// English.
    English,
    /// Chinese, simplified.
    Chinese,
}

/// A word for the size of a single thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SizeWord {
    /// It nearly fills the picture.
    Big,
    /// It takes less than half of the side.
    Small,
}

/// All instances of one thing in a scene.
#[derive(Debug, Clone, PartialEq)]
pub struct ObjectLabel {
    /// Index into the library's concepts.
    pub concept: usize,
    /// Index into [`OBJECT_COLOURS`], or `None` for its natural colours.
    pub colour: Option<usize>,
    /// How many there are, 1–4.
    pub count: usize,
    /// One box per instance: left, top, right, bottom as shares of the side, 0–1.
    pub boxes: Vec<[f32; 4]>,
}

impl ObjectLabel {
    /// The colour's English word.
    pub fn colour_word(&self) -> Option<&'static str> {
        Some(OBJECT_COLOURS.get(self.colour?)?.en)
    }
}

/// The labels of one scene.
#[derive(Debug, Clone, PartialEq)]
pub struct SceneLabels {
    /// Kind of scene.
    pub kind: SceneKind,
    /// One entry, or two in scenes with two things.
    pub objects: Vec<ObjectLabel>,
    /// Index into [`BACKGROUNDS`].
    pub background: usize,
    /// How the first object stands to the second.
    pub relation: Option<Relation>,
    /// Size word that fits a single thing.
    pub size: Option<SizeWord>,
    /// The caption's language.
    pub language: Language,
}

impl SceneLabels {
    /// The background's English name.
    pub fn background_word(&self) -> &'static str {
        BACKGROUNDS.get(self.background).map_or("", |b| b.en)
    }
}
