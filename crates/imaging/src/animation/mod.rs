//! Moving pictures: GIF, animated PNG and animated WebP, read frame by frame and written.

mod read;
mod write;

use std::path::Path;
use std::time::Duration;

pub use read::Animation;
pub use write::{AnimationHeader, AnimationWriter};

use crate::Picture;

/// Whether a GIF file moves: read up to its second frame, not to its end. One that cannot be read does not.
pub fn gif_moves(path: &Path) -> bool {
    crate::container::gif_moves(path)
}

/// One frame as it is shown: the whole canvas, with what earlier frames left on it.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// The pixels; RGBA where the format says that the animation may be transparent.
    pub picture: Picture,
    /// How long it stands, as the file says: zero is possible, and viewers make a tenth of a second of it.
    pub delay: Duration,
}

/// How often an animation is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Plays {
    /// Without end.
    #[default]
    Forever,
    /// So many times in all, at least once.
    Times(u32),
}
