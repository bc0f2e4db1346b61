//! Data sets, losses, loops, resumable runs, evaluation.

pub mod data;
mod error;
pub mod evaluator;
pub mod losses;
pub mod methods;
pub mod run;
pub mod scoring;
pub mod stages;
pub mod starter;
pub mod upscalers;
pub mod vocabulary;

pub use error::TrainError;
