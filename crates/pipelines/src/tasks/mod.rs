//! The tasks: what an engine can be asked for.

pub mod draw;
