//! Tasks that join models and sampling: draw, edit; prompts; plans.

pub mod checkpoint;
pub mod conditioning;
pub mod control;
pub mod denoiser;
pub mod embedded_upscalers;
pub mod engine;
mod error;
pub mod inpaint;
pub mod latents;
mod layout;
pub mod plan;
pub mod preview;
pub mod prompts;
pub mod request;
pub mod resume;
pub mod settings;
pub mod starter;
pub mod tasks;

pub use error::TaskError;
