//! The seam between what needs weights and what does not: services, server and chat hold an `Arc<dyn Engine>` and are tested with
//! a [`FakeEngine`].

mod fake;
mod native;
mod sizing;

use std::path::PathBuf;

use danqing_imaging::Picture;
use danqing_imaging::analyse::JpegQuality;
use serde::Serialize;

pub use fake::FakeEngine;
pub use native::{EmbeddedOnly, ModelFiles, NativeConfig, NativeEngine};
pub use sizing::{DrawnSize, Sizing};

use crate::control::Control;
use crate::embedded_upscalers::Subject;
use crate::error::TaskError;
use crate::request::{DrawRequest, Drawn};
use crate::tasks::enlarge::TargetSize;

/// The name of the embedded model that draws.
pub const STARTER: &str = "starter";

/// A model that draws.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelSummary {
    /// What it is asked for by.
    pub name: String,
    /// Its family, in words.
    pub title: String,
    /// Whether it is part of the program.
    pub embedded: bool,
    /// Where its file lies, if it has one.
    #[serde(skip)]
    pub path: Option<PathBuf>,
}

/// A network that enlarges or cleans.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpscalerSummary {
    /// What it is asked for by.
    pub name: String,
    /// Sides of the result per side of the input.
    pub scale: usize,
}

/// A wish for drawn pictures.
#[derive(Debug, Clone)]
pub struct DrawWish {
    /// The model; the engine's usual one if `None`.
    pub model: Option<String>,
    /// What is wished. Width and height are those of the pictures that come back.
    pub request: DrawRequest,
    /// What is done with sizes for which the model was not made.
    pub sizing: Sizing,
}

/// A picture that was drawn and brought to its size.
#[derive(Debug, Clone)]
pub struct Finished {
    /// The picture, its seed and its parameters.
    pub drawn: Drawn,
    /// The model that drew it.
    pub model: String,
    /// The size at which it was drawn.
    pub size: DrawnSize,
    /// What brought it from there to its own size.
    pub enlarged_by: Option<String>,
}

/// How a picture is to be enlarged.
#[derive(Debug, Clone, PartialEq)]
pub enum EnlargeChain {
    /// By these networks, one after the other.
    Named(Vec<String>),
    /// By the embedded networks for such pictures, as many as it takes.
    For(Subject),
    /// By what the picture looks like.
    Auto,
}

/// A wish for an enlarged picture.
#[derive(Debug, Clone)]
pub struct EnlargeWish {
    /// The picture.
    pub picture: Picture,
    /// Quality of the JPEG that it was, for [`EnlargeChain::Auto`].
    pub jpeg_quality: Option<JpegQuality>,
    /// The networks.
    pub chain: EnlargeChain,
    /// How large it shall be.
    pub size: TargetSize,
}

/// An enlarged picture.
#[derive(Debug, Clone)]
pub struct Enlarged {
    /// The picture, with the metadata of the one it was made of.
    pub picture: Picture,
    /// The networks that made it, in their order.
    pub networks: Vec<String>,
}

/// What draws and enlarges. Calls take long and block; each asks its control at least once a step whether it shall stop.
pub trait Engine: Send + Sync {
    /// Models that draw, the usual one first.
    ///
    /// # Errors
    /// When the places of models cannot be read.
    fn models(&self) -> Result<Vec<ModelSummary>, TaskError>;

    /// Networks that enlarge and clean.
    ///
    /// # Errors
    /// When the places of models cannot be read.
    fn upscalers(&self) -> Result<Vec<UpscalerSummary>, TaskError>;

    /// Draws.
    ///
    /// # Errors
    /// A wish that makes no sense, a model that is not there or does not load, too little memory, or a control that stops.
    fn draw(&self, wish: &DrawWish, control: &dyn Control) -> Result<Vec<Finished>, TaskError>;

    /// Enlarges.
    ///
    /// # Errors
    /// As [`Engine::draw`].
    fn enlarge(&self, wish: &EnlargeWish, control: &dyn Control) -> Result<Enlarged, TaskError>;

    /// Forgets models that are loaded and not in use.
    fn unload(&self);
}
