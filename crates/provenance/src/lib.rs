//! Marks on pictures that say where they come from: written, kept through edits, verified.

#![forbid(unsafe_code)]

pub mod watermark;
