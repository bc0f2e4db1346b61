//! An engine without weights: its pictures follow from prompt and seed, its steps take as long as it is told. For tests of everything
//! that stands on an engine.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::thread::sleep;
use std::time::Duration;

use danqing_imaging::{Filter, Infotext, Picture, PixelFormat, ResizeOptions, resize};

use super::sizing::Native;
use super::{DrawWish, Engine, EnlargeWish, Enlarged, Finished, ModelSummary, UpscalerSummary};
use crate::control::{Control, phase};
use crate::error::TaskError;
use crate::request::{Drawn, Event, Phase};

/// Steps where the wish names none.
const STEPS: usize = 20;
/// The word in a prompt that makes it fail.
const FAIL: &str = "please fail";
/// The word in a prompt that makes it panic.
const PANIC: &str = "please panic";

/// An engine without weights. A prompt with the words `please fail` fails, one with `please panic` panics.
#[derive(Debug, Clone, Copy, Default)]
pub struct FakeEngine {
    /// How long a step takes.
    pub step: Duration,
}

impl FakeEngine {
    /// Four fields of colours that follow from a text and a number.
    fn picture(prompt: &str, seed: u64, (width, height): (u32, u32)) -> Result<Picture, TaskError> {
        let field = |right: bool, below: bool| {
            let mut hasher = DefaultHasher::new();
            (prompt, seed, right, below).hash(&mut hasher);
            hasher.finish().to_le_bytes()
        };
        let fields = [[field(false, false), field(true, false)], [field(false, true), field(true, true)]];
        let pixel = |i: u32| {
            let (x, y) = (i % width, i / width);
            let [r, g, b, ..] = fields[usize::from(2 * y >= height)][usize::from(2 * x >= width)];
            [r, g, b]
        };
        Ok(Picture::new(width, height, PixelFormat::Rgb8, (0..width * height).flat_map(pixel).collect())?)
    }
}

impl Engine for FakeEngine {
    fn models(&self) -> Result<Vec<ModelSummary>, TaskError> {
        let model =
            |name: &str| ModelSummary { name: name.into(), title: "no model".into(), embedded: true, path: None };
        Ok(vec![model("fake"), model("other")])
    }

    fn upscalers(&self) -> Result<Vec<UpscalerSummary>, TaskError> {
        Ok(vec![UpscalerSummary { name: "double".into(), scale: 2 }])
    }

    fn draw(&self, wish: &DrawWish, control: &dyn Control) -> Result<Vec<Finished>, TaskError> {
        let request = &wish.request;
        let known = self.models()?;
        let model = wish.model.clone().unwrap_or_else(|| "fake".into());
        if !known.iter().any(|one| one.name == model) {
            return Err(TaskError::Request(format!("there is no model {model}")));
        }
        assert!(!request.prompt.contains(PANIC), "as the prompt asks");
        if request.prompt.contains(FAIL) {
            return Err(TaskError::Request("it failed as the prompt asks".into()));
        }
        let native = Native { side: 64, multiple: 8, only: false, usual: 64 };
        let size = native.size(request.width.zip(request.height), wish.sizing);
        let steps = request.steps.unwrap_or(STEPS);
        phase(control, Phase::Sample, steps);
        for step in 1..=steps {
            sleep(self.step);
            control.event(Event::Step { step, total: steps });
            if request.preview_every > 0 && step.is_multiple_of(request.preview_every) {
                control.event(Event::Preview(Self::picture(&request.prompt, step as u64, (8, 8))?));
            }
            if control.stopped() {
                return Err(TaskError::Stopped);
            }
        }
        let draw = |i: usize| {
            let seed = request.seed.wrapping_add(i as u64);
            let mut infotext = Infotext { prompt: request.prompt.clone(), ..Default::default() };
            infotext.negative.clone_from(&request.negative_prompt);
            infotext.set("Steps", steps);
            infotext.set("Seed", seed);
            let picture = Self::picture(&request.prompt, seed, size.wished)?;
            Ok(Finished { drawn: Drawn { picture, seed, infotext }, model: model.clone(), size, enlarged_by: None })
        };
        (0..request.batch_size).map(draw).collect()
    }

    fn enlarge(&self, wish: &EnlargeWish, control: &dyn Control) -> Result<Enlarged, TaskError> {
        phase(control, Phase::Enlarge, 1);
        sleep(self.step);
        if control.stopped() {
            return Err(TaskError::Stopped);
        }
        let (w, h) = wish.size.of((wish.picture.width(), wish.picture.height()), 2);
        let options = ResizeOptions { filter: Filter::Bilinear, ..Default::default() };
        Ok(Enlarged { picture: resize(&wish.picture, w, h, &options)?, networks: vec!["double".into()] })
    }

    fn unload(&self) {}
}
