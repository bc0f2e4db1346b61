//! An invisible watermark: 32 bits that outlive compression, reduction and cropping, so that a picture which has lost its labels can
//! still be matched with what is known of it.
//!
//! The luma carries a square pattern again and again: 32×32 chips of 4×4 pixels, each brighter or darker by an amount that follows
//! what the eye overlooks there. A half of the pattern is the same in every picture of a key, by which it is found wherever the picture
//! was cut and however it was resized; the other half is the message, with a checksum. It is not secure against who knows the key, nor
//! against a model that draws the picture anew, and it does not survive turning.
//!
//! Source: spread spectrum after Cox et al. 1997 (doi:10.1109/83.650120); a template found by correlation after Kutter 1998
//! (doi:10.1117/12.337433).

mod embed;
mod find;
mod pattern;
mod plane;

pub use embed::{EmbedOptions, embed};
pub use find::{Found, find};
pub use pattern::{WatermarkKey, bits_of};

/// Chips along a side of the pattern.
const CHIPS: usize = 32;
/// Pixels along a side of a chip.
const CHIP: usize = 4;
/// Pixels along a side of the pattern.
const TILE: usize = CHIPS * CHIP;
/// Bits of a message.
const MESSAGE: usize = 32;
/// Bits of its checksum.
const CHECK: usize = 16;
/// Bits that are carried.
pub const BITS: usize = MESSAGE + CHECK;

/// The smallest side in pixels that carries a whole pattern.
pub const SMALLEST: u32 = TILE as u32;
