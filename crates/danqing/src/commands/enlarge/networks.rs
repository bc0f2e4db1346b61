//! Which networks work on a picture, and in which order.

use std::cell::OnceCell;

use danqing_models::detectors::FaceDetector;
use danqing_models::upscalers::Purpose;
use danqing_pipelines::embedded_upscalers::{EMBEDDED_UPSCALERS, EmbeddedUpscaler, Subject, enlarging};
use danqing_pipelines::tasks::enlarge::{Link, Seen, TargetSize, native_scale};

use crate::commands::Invocation;
use crate::failure::Failure;
use crate::progress::Watch;
use crate::wire::{self, NamedUpscaler};

/// The word for the filter alone.
const CUBIC: &str = "cubic";
/// The word for the place where faces are restored.
const FACE: &str = "face";

/// How many times larger pictures become where nothing tells.
const TWICE: usize = 2;

/// The networks that the line allows, opened when they are first needed.
pub(super) struct Networks<'a> {
    invocation: &'a Invocation,
    watch: &'a Watch,
    size: TargetSize,
    /// Whether embedded networks are chosen for each picture.
    chooses: bool,
    /// Those that are opened already, in the order of their table.
    embedded: Vec<OnceCell<NamedUpscaler>>,
    /// Those that the line names, in their order; they come last.
    named: Vec<NamedUpscaler>,
    /// What finds faces, if a network is there that draws them.
    detector: Option<Box<dyn FaceDetector>>,
}

/// What the choice of embedded networks depends on.
pub(super) enum Look {
    /// A picture that nobody looked at.
    Picture,
    /// One that was looked at.
    Seen(Seen),
    /// Frames of a video.
    Video,
    /// A medical picture, to which nothing is added unless a network is named.
    Medical,
}

/// The networks for one picture, in their order.
pub(super) struct Chain<'a> {
    steps: Vec<Step<'a>>,
    /// The size of the result.
    pub(super) to: (u32, u32),
    /// What the picture was seen to be, where that decided.
    pub(super) seen: Option<Seen>,
}

/// One of them.
#[derive(Clone, Copy)]
pub(super) struct Step<'a> {
    pub(super) named: &'a NamedUpscaler,
    /// How much of its change is taken.
    pub(super) strength: f32,
}

impl<'a> Networks<'a> {
    /// Opens what the line names, and says what it is.
    ///
    /// # Errors
    /// Names of nothing, files that are no networks, words that do not go together.
    pub(super) fn open(invocation: &'a Invocation, watch: &'a Watch, size: TargetSize) -> Result<Self, Failure> {
        let messages = invocation.messages();
        wire::prepare(invocation);
        let wish = invocation.text("upscaler").unwrap_or_default();
        let mut words: Vec<&str> = wish.split(',').map(str::trim).filter(|word| !word.is_empty()).collect();
        if let (Some(_), Some(other)) = (words.iter().find(|w| **w == CUBIC), words.iter().find(|w| **w != CUBIC)) {
            return Err(Failure::Usage(messages.not_both(&format!("--upscaler {CUBIC}"), other)));
        }
        let chooses = words.is_empty();
        if !chooses && invocation.is("auto") {
            return Err(Failure::Usage(messages.not_both("--auto", "--upscaler")));
        }
        if words.contains(&CUBIC) {
            watch.say(&messages.cubic_only());
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
        let networks = Self {
            invocation,
            watch,
            size,
            chooses,
            embedded: EMBEDDED_UPSCALERS.iter().map(|_| OnceCell::new()).collect(),
            named,
            detector,
        };
        networks.named.iter().for_each(|network| networks.introduce(network));
        Ok(networks)
    }

    /// The networks for a picture of `from`, and its size after them. Where no size is asked for, what `danqing shrink` made of a
    /// picture of `original` goes back to that.
    ///
    /// # Errors
    /// An embedded network that does not load.
    pub(super) fn chain(
        &self,
        from: (u32, u32),
        original: Option<(u32, u32)>,
        look: &Look,
    ) -> Result<Chain<'_>, Failure> {
        let asked = self.invocation.number("strength").map(|strength| strength as f32);
        let step = |named| Step { named, strength: asked.unwrap_or(1.0) };
        let named: Vec<Step<'_>> = self.named.iter().map(step).collect();
        let native = if self.chooses { TWICE } else { native_scale(&links(&named)) };
        let to = match original {
            Some(size) if self.size == TargetSize::Native && size.0 >= from.0 && size.1 >= from.1 => size,
            _ => self.size.of(from, native),
        };
        let factor = (f64::from(to.0) / f64::from(from.0)).max(f64::from(to.1) / f64::from(from.1));
        let (cleaning, subject) = match look {
            _ if !self.chooses => (0.0, None),
            Look::Picture => (0.0, Some(Subject::Photograph)),
            Look::Seen(seen) => (asked.unwrap_or_else(|| seen.cleaning()), Some(seen.subject())),
            Look::Video => (0.0, Some(Subject::Video)),
            Look::Medical => (0.0, None),
        };
        let mut steps = Vec::new();
        for network in EMBEDDED_UPSCALERS.iter().filter(|n| n.subject == Subject::Damage && cleaning > 0.0) {
            steps.push(Step { named: self.embedded(network)?, strength: cleaning });
        }
        for network in subject.map(|subject| enlarging(subject, factor)).unwrap_or_default() {
            steps.push(Step { named: self.embedded(network)?, strength: 1.0 });
        }
        steps.extend(named);
        let seen = match look {
            Look::Seen(seen) if self.chooses => Some(*seen),
            _ => None,
        };
        Ok(Chain { steps, to, seen })
    }

    /// What finds faces.
    pub(super) fn detector(&self) -> Option<&dyn FaceDetector> {
        self.detector.as_deref()
    }

    /// Whether faces are restored.
    pub(super) fn restores_faces(&self) -> bool {
        self.detector.is_some()
    }

    /// Whether embedded networks are chosen for each picture.
    pub(super) fn chooses(&self) -> bool {
        self.chooses
    }

    /// Says what a network is.
    fn introduce(&self, network: &NamedUpscaler) {
        let info = network.network.info();
        let messages = self.invocation.messages();
        self.watch.say(&messages.upscaler(&network.name, info.architecture, info.scale, info.parameters));
    }

    /// An embedded network; what it is is said when it is first opened.
    fn embedded(&self, network: &EmbeddedUpscaler) -> Result<&NamedUpscaler, Failure> {
        let index = EMBEDDED_UPSCALERS.iter().position(|known| known.name == network.name).unwrap_or_default();
        let place = &self.embedded[index];
        if let Some(opened) = place.get() {
            return Ok(opened);
        }
        let opened = wire::open_embedded(self.invocation, network)?;
        self.introduce(&opened);
        Ok(place.get_or_init(|| opened))
    }
}

fn links<'a>(steps: &[Step<'a>]) -> Vec<Link<'a>> {
    steps.iter().map(|step| Link { network: step.named.network.as_ref(), strength: step.strength }).collect()
}

fn draws_faces(network: &NamedUpscaler) -> bool {
    network.network.info().purpose == Purpose::Face
}

impl<'a> Chain<'a> {
    /// Whether the filter works alone.
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The steps that restore faces; each follows a part of [`Chain::parts`].
    pub(super) fn faces(&self) -> impl Iterator<Item = &Step<'a>> {
        self.steps.iter().filter(|step| draws_faces(step.named))
    }

    /// What lies between the steps that restore faces: the whole chain where there are none.
    pub(super) fn parts(&self) -> Vec<Vec<Link<'a>>> {
        let parts = self.steps.split(|step| draws_faces(step.named));
        parts.map(links).collect()
    }

    /// The networks' names, for people.
    pub(super) fn name(&self) -> String {
        let name = |step: &Step<'_>| match step.strength {
            share if share < 1.0 && step.named.network.info().scale == 1 => format!("{} ({share:.2})", step.named.name),
            _ => step.named.name.clone(),
        };
        let names: Vec<String> = self.steps.iter().map(name).collect();
        if names.is_empty() { "bicubic".into() } else { names.join(" + ") }
    }
}
