//! The tasks: what an engine can be asked for.

pub mod draw;
pub mod enlarge;
pub mod faces;
pub mod pixels;
mod prompting;

pub use prompting::EncodedRun;
