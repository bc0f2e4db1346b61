//! Data sets, losses, loops, resumable runs, evaluation.

pub mod vocabulary;

pub mod data;
