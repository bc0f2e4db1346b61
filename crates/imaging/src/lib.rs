//! Decode, encode, colour, resize and text metadata of pictures.
//!
//! ```
//! use danqing_imaging::{DecodeLimits, EncodeOptions, Format, Picture, PixelFormat, decode, encode};
//! # fn main() -> Result<(), danqing_imaging::ImagingError> {
//! let picture = Picture::filled(4, 2, &[200, 30, 40])?;
//! let bytes = encode(&picture, Format::Png, &EncodeOptions::default())?;
//! let back = decode(&bytes, &DecodeLimits::default())?;
//! assert_eq!(back.format(), PixelFormat::Rgb8);
//! assert_eq!(back.pixels(), picture.pixels());
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here trusts the bytes it reads: dimensions are checked before pixels are decoded, every text has a bound,
//! and a hostile file ends in an [`ImagingError`].

pub mod analyse;
pub mod animation;
mod avif;
pub mod blur;
pub mod canvas;
pub mod chart;
pub mod child;
pub mod colour;
pub mod container;
mod decode;
mod deep;
pub mod dicom;
mod encode;
mod error;
pub mod exif;
mod format;
pub mod generation;
mod grey_alpha;
pub mod infotext;
mod ink;
pub mod inspect;
pub mod lettering;
pub mod light;
mod limits;
pub mod mask;
mod metadata;
mod picture;
pub mod quality;
pub mod region;
pub mod resample;
pub mod resize;
mod rows;
mod save;
pub mod sharpen;
pub mod sheet;
pub mod video;
mod warning;
pub mod xmp;

pub use analyse::{Analysis, Kind, analyse};
pub use canvas::{Borders, Fill, extend, paste};
pub use decode::{decode, decode_deep, open, open_deep, probe, read_file};
pub use deep::{Channels, DeepPicture, Depth, Samples, SamplesRef};
pub use encode::{EncodeOptions, RowFile, RowHeader, RowWriter, Sink, encode, encode_deep, save, save_deep};
pub use error::ImagingError;
pub use format::Format;
pub use generation::{GenerationInfo, Generator};
pub use infotext::Infotext;
pub use limits::DecodeLimits;
pub use mask::Mask;
pub use metadata::{Metadata, TextEntry};
pub use picture::{Picture, PixelFormat};
pub use region::Region;
pub use resize::{Filter, ResizeOptions, resize};
pub use rows::{RowReader, open_rows, rows_of};
pub use save::{AtomicFile, remove_leftovers, write_atomic};
pub use warning::Warning;
