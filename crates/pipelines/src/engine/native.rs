//! The engine that computes: on this machine, with the embedded networks and with files that a [`ModelFiles`] knows.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use danqing_imaging::analyse::{Analyser, JpegQuality};
use danqing_imaging::{Channels, Filter, Picture, ResizeOptions, SamplesRef, resize};
use danqing_models::families::stable_diffusion::StableDiffusion;
use danqing_models::upscalers::Upscaler;
use danqing_nn::LoadOptions;
use danqing_tensor::DType;

use super::sizing::Native;
use super::{
    DrawWish, DrawnSize, Engine, EnlargeChain, EnlargeWish, Enlarged, Finished, ModelSummary, STARTER, UpscalerSummary,
};
use crate::checkpoint::{self, OpenOptions};
use crate::control::{Control, phase};
use crate::embedded_upscalers::{EMBEDDED_UPSCALERS, Subject, embedded_upscaler, enlarging};
use crate::error::TaskError;
use crate::plan::available_memory;
use crate::request::{DrawRequest, Phase};
use crate::starter::{OUTPUT_SIDE, starter};
use crate::tasks::draw::{DrawTools, draw};
use crate::tasks::enlarge::{EnlargeOptions, Link, Seen, enlarge, enlarge_to, open_network};
use crate::tasks::pixels::{PixelModel, draw_pixels};

/// Where files of models lie.
pub trait ModelFiles: Send + Sync {
    /// Models that draw and load.
    fn models(&self) -> Vec<ModelSummary>;

    /// Files of networks that enlarge or clean, by name.
    fn upscalers(&self) -> Vec<(String, PathBuf)>;

    /// Files and folders in which vocabularies of text encoders may lie.
    fn vocabularies(&self) -> Vec<PathBuf>;
}

/// No files: the embedded networks alone.
#[derive(Debug, Clone, Copy, Default)]
pub struct EmbeddedOnly;

impl ModelFiles for EmbeddedOnly {
    fn models(&self) -> Vec<ModelSummary> {
        Vec::new()
    }

    fn upscalers(&self) -> Vec<(String, PathBuf)> {
        Vec::new()
    }

    fn vocabularies(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// How the engine computes.
#[derive(Debug, Clone)]
pub struct NativeConfig {
    /// Type of weights and maps.
    pub dtype: DType,
    /// The model where none is named.
    pub usual: String,
    /// Bytes that models which stay loaded may hold together; half of what is free at the start if `None`.
    pub keep: Option<u64>,
}

/// The engine that computes.
pub struct NativeEngine {
    config: NativeConfig,
    files: Box<dyn ModelFiles>,
    keep: u64,
    /// Last used last.
    loaded: Mutex<Vec<Loaded>>,
    upscalers: Mutex<Vec<(String, Arc<dyn Upscaler>)>>,
    /// One task at a time has the processor: each uses all of it.
    turn: Mutex<()>,
}

#[derive(Clone)]
struct Loaded {
    name: String,
    bytes: u64,
    model: Model,
}

#[derive(Clone)]
enum Model {
    Words(Arc<StableDiffusion>),
    Pixels(Arc<PixelModel>),
}

impl NativeEngine {
    /// An engine with these files.
    pub fn new(config: NativeConfig, files: impl ModelFiles + 'static) -> Self {
        let keep = config.keep.unwrap_or_else(|| available_memory().map_or(u64::MAX, |free| free / 2));
        let (loaded, upscalers) = (Mutex::default(), Mutex::default());
        Self { config, files: Box::new(files), keep, loaded, upscalers, turn: Mutex::default() }
    }

    /// The model of this name, loaded now or before.
    fn model(&self, name: &str) -> Result<Model, TaskError> {
        let mut loaded = held(&self.loaded);
        if let Some(at) = loaded.iter().position(|one| one.name == name) {
            let one = loaded.remove(at);
            loaded.push(one.clone());
            return Ok(one.model);
        }
        let known = self.models()?;
        let summary = known.iter().find(|model| model.name == name).ok_or_else(|| {
            let names: Vec<&str> = known.iter().map(|model| model.name.as_str()).take(20).collect();
            TaskError::Request(format!("there is no model {name}; there are: {}", names.join(", ")))
        })?;
        let bytes = summary.path.as_deref().map_or(0, size_of);
        // Those longest unused make room.
        while loaded.iter().map(|one| one.bytes).sum::<u64>() + bytes > self.keep && !loaded.is_empty() {
            loaded.remove(0);
        }
        let model = match &summary.path {
            None => Model::Words(Arc::new(starter(self.config.dtype)?)),
            Some(path) => match checkpoint::open_pixels(path)? {
                Some(model) => Model::Pixels(Arc::new(model)),
                None => {
                    let options = OpenOptions {
                        dtype: self.config.dtype,
                        vocabularies: self.files.vocabularies(),
                        ..Default::default()
                    };
                    Model::Words(Arc::new(checkpoint::open(path, &options)?))
                }
            },
        };
        loaded.push(Loaded { name: name.to_owned(), bytes, model: model.clone() });
        Ok(model)
    }

    fn upscaler(&self, name: &str) -> Result<Arc<dyn Upscaler>, TaskError> {
        let mut opened = held(&self.upscalers);
        if let Some((_, network)) = opened.iter().find(|(known, _)| known == name) {
            return Ok(network.clone());
        }
        let options = LoadOptions::inference(self.config.dtype);
        let network = match embedded_upscaler(name) {
            Some(embedded) => embedded.open(&options)?,
            None => {
                let files = self.files.upscalers();
                let file = files.iter().find(|(known, _)| known == name);
                let unknown = || TaskError::Request(format!("there is no upscaler {name}: see the list of upscalers"));
                open_network(&file.ok_or_else(unknown)?.1, &options)?
            }
        };
        let network: Arc<dyn Upscaler> = network.into();
        opened.push((name.to_owned(), network.clone()));
        Ok(network)
    }

    /// Brings a drawn picture to its size: by networks where it grows, by the filter alone where it hardly does.
    fn finished(
        &self,
        picture: Picture,
        size: DrawnSize,
        subject: Subject,
    ) -> Result<(Picture, Option<String>), TaskError> {
        let (w, h) = size.wished;
        if (picture.width(), picture.height()) == (w, h) {
            return Ok((picture, None));
        }
        let chain = enlarging(subject, size.factor());
        if chain.is_empty() {
            let options = ResizeOptions { filter: Filter::Lanczos3, ..Default::default() };
            return Ok((resize(&picture, w, h, &options)?, Some("Lanczos".into())));
        }
        let names: Vec<&str> = chain.iter().map(|network| network.name).collect();
        let networks = names.iter().map(|name| self.upscaler(name)).collect::<Result<Vec<_>, _>>()?;
        let links: Vec<Link<'_>> = networks.iter().map(|network| Link::whole(network.as_ref())).collect();
        let enlarged = enlarge_to(&picture, &links, (w, h), &EnlargeOptions::default(), &crate::control::Quiet)?;
        Ok((enlarged, Some(names.join(" + "))))
    }
}

impl Engine for NativeEngine {
    fn models(&self) -> Result<Vec<ModelSummary>, TaskError> {
        let starter = ModelSummary {
            name: STARTER.into(),
            title: "a small model for icons and drawings, part of the program".into(),
            embedded: true,
            path: None,
        };
        let mut models = self.files.models();
        models.insert(0, starter);
        models.sort_by_key(|model| model.name != self.config.usual);
        Ok(models)
    }

    fn upscalers(&self) -> Result<Vec<UpscalerSummary>, TaskError> {
        let embedded = EMBEDDED_UPSCALERS.iter().map(|one| UpscalerSummary { name: one.name.into(), scale: one.scale });
        // A file's scale is known once it is open: those that have been used.
        let opened = held(&self.upscalers);
        let files = self.files.upscalers().into_iter().map(|(name, _)| {
            let known = opened.iter().find(|(opened, _)| *opened == name);
            UpscalerSummary { scale: known.map_or(0, |(_, network)| network.info().scale), name }
        });
        Ok(embedded.chain(files).collect())
    }

    fn draw(&self, wish: &DrawWish, control: &dyn Control) -> Result<Vec<Finished>, TaskError> {
        let _turn = held(&self.turn);
        let name = wish.model.as_deref().unwrap_or(&self.config.usual);
        let model = self.model(name)?;
        let native = match &model {
            Model::Words(model) => Native {
                side: model.native_size as u32,
                multiple: model.size_multiple() as u32,
                only: name == STARTER,
                usual: if name == STARTER { OUTPUT_SIDE } else { model.native_size as u32 },
            },
            Model::Pixels(model) => {
                let side = model.network.side as u32;
                Native { side, multiple: side, only: true, usual: side }
            }
        };
        let wished = wish.request.width.zip(wish.request.height);
        let from = wish.request.init.as_ref().map(|init| (init.picture.width(), init.picture.height()));
        let mut size = native.size(wished.or(from), wish.sizing);
        if matches!(model, Model::Pixels(_)) {
            // Squares alone; other proportions would be squeezed.
            size.drawn = (native.side, native.side);
        }
        let request = DrawRequest { width: Some(size.drawn.0), height: Some(size.drawn.1), ..wish.request.clone() };
        let subject = if name == STARTER { Subject::Drawing } else { Subject::Photograph };
        let drawn = match &model {
            Model::Words(model) => draw(model, &request, &DrawTools::default(), control)?,
            Model::Pixels(model) => draw_pixels(model, &request, control)?,
        };
        if wished.is_none() && !native.only {
            // A larger second pass is the size that was wished.
            size.wished = drawn.first().map_or(size.wished, |one| (one.picture.width(), one.picture.height()));
        }
        phase(control, Phase::Enlarge, 0);
        let finish = |mut one: crate::request::Drawn| {
            let (picture, enlarged_by) = self.finished(one.picture, size, subject)?;
            one.picture = picture;
            if let Some(by) = &enlarged_by {
                one.infotext.set("Postprocess upscale to", format!("{}x{}", size.wished.0, size.wished.1));
                one.infotext.set("Postprocess upscaler", by);
            }
            Ok(Finished { drawn: one, model: name.to_owned(), size, enlarged_by })
        };
        drawn.into_iter().map(finish).collect()
    }

    fn enlarge(&self, wish: &EnlargeWish, control: &dyn Control) -> Result<Enlarged, TaskError> {
        let _turn = held(&self.turn);
        let factor = |native: usize| {
            let from = (wish.picture.width(), wish.picture.height());
            let to = wish.size.of(from, native);
            (f64::from(to.0) / f64::from(from.0)).max(f64::from(to.1) / f64::from(from.1))
        };
        let whole = |names: &[String]| names.iter().map(|name| (name.clone(), 1.0)).collect::<Vec<_>>();
        let for_subject = |subject| {
            let chain = enlarging(subject, factor(4));
            chain.into_iter().map(|network| (network.name.to_owned(), 1.0)).collect::<Vec<_>>()
        };
        let steps: Vec<(String, f32)> = match &wish.chain {
            EnlargeChain::Named(names) => whole(names),
            EnlargeChain::For(subject) => for_subject(*subject),
            EnlargeChain::Auto => {
                let seen = seen(&wish.picture, wish.jpeg_quality);
                let clean =
                    EMBEDDED_UPSCALERS.iter().filter(|one| one.subject == Subject::Damage && seen.cleaning() > 0.0);
                let clean = clean.map(|one| (one.name.to_owned(), seen.cleaning()));
                clean.chain(for_subject(seen.subject())).collect()
            }
        };
        if steps.is_empty() {
            let (w, h) = wish.size.of((wish.picture.width(), wish.picture.height()), 1);
            let options = ResizeOptions { filter: Filter::Lanczos3, ..Default::default() };
            let picture = resize(&wish.picture, w, h, &options)?;
            return Ok(Enlarged { picture, networks: vec!["Lanczos".into()] });
        }
        let networks = steps.iter().map(|(name, _)| self.upscaler(name)).collect::<Result<Vec<_>, _>>()?;
        let link = |(network, step): (&'_ Arc<dyn Upscaler>, &(String, f32))| (network.clone(), step.1);
        let networks: Vec<(Arc<dyn Upscaler>, f32)> = networks.iter().zip(&steps).map(link).collect();
        let links: Vec<Link<'_>> = networks
            .iter()
            .map(|(network, strength)| Link { network: network.as_ref(), strength: *strength })
            .collect();
        let names = steps.into_iter().map(|(name, _)| name).collect();
        let options = EnlargeOptions { size: wish.size, ..Default::default() };
        Ok(Enlarged { picture: enlarge(&wish.picture, &links, &options, control)?, networks: names })
    }

    fn unload(&self) {
        held(&self.loaded).clear();
        held(&self.upscalers).clear();
    }
}

/// What is locked stays whole when a task panics: nothing is changed half-way.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a picture looks like.
fn seen(picture: &Picture, quality: Option<JpegQuality>) -> Seen {
    let channels = if picture.format().has_alpha() { Channels::Rgba } else { Channels::Rgb };
    let mut analyser = Analyser::new(picture.width(), picture.height(), channels);
    analyser.push(SamplesRef::U8(picture.pixels()));
    Seen::new(&analyser.finish(), quality)
}

/// Bytes of a file, or of all files in a folder and the folders in it.
fn size_of(path: impl AsRef<std::path::Path>) -> u64 {
    let Ok(about) = std::fs::metadata(&path) else { return 0 };
    if !about.is_dir() {
        return about.len();
    }
    let entries = std::fs::read_dir(&path).into_iter().flatten().flatten();
    let parts = entries.map(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => {
            let inner = std::fs::read_dir(entry.path()).into_iter().flatten().flatten();
            inner.filter_map(|file| std::fs::metadata(file.path()).ok()).map(|about| about.len()).sum()
        }
        _ => std::fs::metadata(entry.path()).map_or(0, |about| about.len()),
    });
    parts.sum()
}
