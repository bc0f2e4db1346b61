//! Which networks work on a picture, and in which order.

use danqing_models::detectors::FaceDetector;
use danqing_models::upscalers::Purpose;
use danqing_pipelines::tasks::enlarge::{Link, native_scale};

use crate::commands::Invocation;
use crate::commands::batch::{Done, Sizes};
use crate::failure::Failure;
use crate::progress::Watch;
use crate::wire::{self, NamedUpscaler};

/// The word for the filter alone.
const CUBIC: &str = "cubic";
/// The word for the place where faces are restored.
const FACE: &str = "face";

/// The networks that the line names.
pub(super) struct Networks {
    /// In their order.
    named: Vec<NamedUpscaler>,
    /// What finds faces, if a network is there that draws them.
    detector: Option<Box<dyn FaceDetector>>,
    strength: f32,
}

/// The networks for one picture, in their order.
pub(super) struct Chain<'a> {
    steps: Vec<Step<'a>>,
}

/// One of them.
#[derive(Clone, Copy)]
pub(super) struct Step<'a> {
    pub(super) named: &'a NamedUpscaler,
    /// How much of its change is taken.
    pub(super) strength: f32,
}

impl Networks {
    /// Opens what the line names, and says what it is.
    ///
    /// # Errors
    /// Names of nothing, files that are no networks, words that do not go together.
    pub(super) fn open(invocation: &Invocation, watch: &Watch) -> Result<Self, Failure> {
        let messages = invocation.messages();
        wire::prepare(invocation);
        let wish = invocation.text("upscaler").unwrap_or_default();
        let mut words: Vec<&str> = wish.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
        if let (Some(_), Some(other)) = (words.iter().find(|w| **w == CUBIC), words.iter().find(|w| **w != CUBIC)) {
            return Err(Failure::Usage(messages.not_both(&format!("--upscaler {CUBIC}"), other)));
        }
        words.retain(|word| *word != CUBIC);
        if invocation.text("face").is_some() && !words.contains(&FACE) {
            words.push(FACE);
        }
        let open = |word: &&str| match *word {
            FACE => wire::open_face_network(invocation),
            name => wire::open_upscaler(invocation, name),
        };
        let named = words.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let drawing = named.iter().find(|network| draws_faces(network));
        if drawing.is_none() && invocation.path("face-detector").is_some() {
            return Err(Failure::Usage(messages.needs("--face-detector", "--face")));
        }
        let detector = drawing.map(|drawing| wire::open_detector(invocation, drawing)).transpose()?;
        if named.iter().all(draws_faces) {
            watch.say(&messages.cubic_only());
        }
        for NamedUpscaler { name, network, .. } in &named {
            let info = network.info();
            watch.say(&messages.upscaler(name, info.architecture, info.scale, info.parameters));
        }
        let strength = invocation.number("strength").unwrap_or(1.0) as f32;
        Ok(Self { named, detector, strength })
    }

    /// The networks for a picture.
    pub(super) fn chain(&self) -> Chain<'_> {
        Chain { steps: self.named.iter().map(|named| Step { named, strength: self.strength }).collect() }
    }

    /// What finds faces.
    pub(super) fn detector(&self) -> Option<&dyn FaceDetector> {
        self.detector.as_deref()
    }
}

fn draws_faces(network: &NamedUpscaler) -> bool {
    network.network.info().purpose == Purpose::Face
}

impl<'a> Chain<'a> {
    /// Whether the filter works alone.
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// How many times larger it makes a picture.
    pub(super) fn scale(&self) -> usize {
        native_scale(&self.parts().concat())
    }

    /// Whether faces are restored.
    pub(super) fn restores_faces(&self) -> bool {
        self.faces().next().is_some()
    }

    /// The steps that restore faces; each follows a part of [`Chain::parts`].
    pub(super) fn faces(&self) -> impl Iterator<Item = &Step<'a>> {
        self.steps.iter().filter(|step| draws_faces(step.named))
    }

    /// What lies between the steps that restore faces: the whole chain where there are none.
    pub(super) fn parts(&self) -> Vec<Vec<Link<'a>>> {
        let parts = self.steps.split(|step| draws_faces(step.named));
        let link = |step: &Step<'a>| Link { network: step.named.network.as_ref(), strength: step.strength };
        parts.map(|part| part.iter().map(link).collect()).collect()
    }

    /// What the report says of a picture that it worked on.
    pub(super) fn done(&self, sizes: Sizes) -> Done {
        Done { sizes, networks: self.name(), seen: String::new() }
    }

    /// The networks' names, for people.
    pub(super) fn name(&self) -> String {
        let names: Vec<&str> = self.steps.iter().map(|step| step.named.name.as_str()).collect();
        if names.is_empty() { "bicubic".into() } else { names.join(" + ") }
    }
}
