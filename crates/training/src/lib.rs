//! Data sets, losses, loops, resumable runs, evaluation.

pub mod data;
