//! `danqing draw`: pictures from words.

mod grid;
mod options;
mod output;
mod pixels;
mod prompt;
mod wish;

use std::path::Path;

use danqing_imaging::sheet::{SheetOptions, contact_sheet};
use danqing_imaging::{GenerationInfo, Picture};
use danqing_models::autoencoders::TinyDecoder;
use danqing_models::families::stable_diffusion::StableDiffusion;
use danqing_pipelines::TaskError;
use danqing_pipelines::embedded_upscalers::{Subject, enlarging};
use danqing_pipelines::request::{DrawRequest, Drawn};
use danqing_pipelines::resume::SavedRun;
use danqing_pipelines::settings::Settings;
use danqing_pipelines::tasks::draw::{DrawTools, draw, plan_memory};
use danqing_sampling::noise::DrawOrder;

use super::{CommandSpec, Invocation, print};
use crate::failure::Failure;
use crate::messages::text;
use crate::progress::{Watch, catch_interrupts};
use crate::wire::{self, Opened};
use output::Output;

/// The command.
pub(crate) static COMMAND: CommandSpec = CommandSpec {
    name: "draw",
    about: text("Draws pictures from words.", "用文字画图。"),
    details: text(
        "Without --model the embedded starter model draws, a small one that knows a few hundred things, eight colours and the \
         counts one to four, in English and Chinese; its pictures are 64 pixels wide and enlarged to 512 by art-x4, an embedded network for drawings. \
         With a Stable Diffusion 1.x, 2.x or XL checkpoint the picture is the one that diffusers gives for the same seed.\n\n\
         The seed, the settings and the model are written into the picture: `danqing inspect` shows them, --like draws from them \
         again. Ctrl-C stops within one step; a second Ctrl-C ends the program at once.",
        "不指定 --model 时使用内置的入门模型：它很小，认识几百种事物、八种颜色和一到四的数量，中英文皆可；\
         画面为 64 像素，由内置的图画网络 art-x4 放大到 512。使用 Stable Diffusion 1.x、2.x 或 XL 模型时，同一种子的结果与 diffusers 相同。\n\n\
         种子、参数和模型都会写入图片：`danqing inspect` 可以查看，--like 可以照样再画。\
         按 Ctrl-C 会在一步之内停止，再按一次立即退出。",
    ),
    usage: text("danqing draw [OPTIONS] <PROMPT> -o <FILE>", "danqing draw [选项] <提示词> -o <文件>"),
    groups: options::GROUPS,
    examples: &[
        (
            "danqing draw \"两只红色的猫\" -o cats.png",
            text("Two red cats, by the embedded model", "用内置模型画两只红色的猫"),
        ),
        (
            "danqing draw \"a lighthouse at dusk\" -m v1-5.safetensors --sampler \"DPM++ 2M\" --schedule karras --count 4 -o light.png",
            text("Four pictures by a checkpoint", "用指定模型画四张"),
        ),
        (
            "danqing draw --like cats.png --seed 7 -o other.png",
            text("The same again with another seed", "换个种子再画一张"),
        ),
        (
            "danqing draw \"a red scarf\" --init photo.jpg --mask neck.png -m sd15.safetensors -o scarf.jpg",
            text("Paint a part of a picture anew", "重画图片的一部分"),
        ),
        (
            "danqing draw \"the sea\" --init beach.png --extend 256,0,256,0 -m sd15.safetensors -o wide.png",
            text("Paint on beyond the edges", "把图片向左右补画"),
        ),
        (
            "danqing draw \"a cat\" --grid \"steps=5,10,20;guidance=1,4,7\" -o grid.png",
            text("Compare settings", "对比不同参数"),
        ),
    ],
    run,
};

fn run(invocation: &Invocation) -> Result<(), Failure> {
    let messages = invocation.messages();
    let like = wish::like(invocation)?;
    let mut request = wish::request(invocation, like.as_ref())?;
    request.init = wish::start(invocation, request.seed)?;
    let axes = grid::axes(invocation)?;
    let count = invocation.count("count").map_or(request.batch_size, |n| n as usize);
    let several = count > 1 && axes.is_none();
    let resume = resume(invocation, several && count > request.batch_size || axes.is_some())?;
    let composite = request.init.as_ref().is_some_and(|i| i.inpaint.is_some());
    let output = Output::new(invocation, several, composite)?;

    catch_interrupts(messages)?;
    let watch = Watch::new(
        invocation.language,
        invocation.is("quiet"),
        invocation.path("preview"),
        invocation.path("save-run").is_some(),
    );
    if let Some(model) = wire::open_pixels(invocation)? {
        for (given, option) in [(axes.is_some(), "--grid"), (resume.is_some(), "--resume")] {
            if given {
                return Err(Failure::Usage(messages.not_both(option, &model.name)));
            }
        }
        return pixels::run(invocation, &watch, output, &model, request, count);
    }
    let opened = open(invocation, &watch, like.as_ref())?;
    let preview = if request.preview_every > 0 { opened.preview_decoder(invocation)? } else { None };
    let mut session = Session { invocation, watch, opened, preview, output, original: None };
    session.size(&mut request, like.as_ref())?;
    session.original = prompt::settle(invocation, &session.watch, &session.opened, &mut request);
    session.announce(&request)?;
    match axes {
        Some(axes) => session.sheet(&request, &axes),
        None => session.pictures(request, count, resume),
    }
}

/// The run to go on with.
fn resume(invocation: &Invocation, several_runs: bool) -> Result<Option<SavedRun>, Failure> {
    let messages = invocation.messages();
    for name in ["resume", "save-run"] {
        if several_runs && invocation.path(name).is_some() {
            return Err(Failure::Usage(messages.one_run(&format!("--{name}"))));
        }
    }
    let Some(path) = invocation.path("resume") else { return Ok(None) };
    SavedRun::read(path).map(Some).map_err(|e| Failure::Failed(messages.task_error(&e)))
}

/// The model that flags ask for, else the one that the picture names if it is here, else that of the settings.
fn open(invocation: &Invocation, watch: &Watch, like: Option<&GenerationInfo>) -> Result<Opened, Failure> {
    let named = like.and_then(|info| info.base.model.as_deref()).filter(|_| invocation.flag("model").is_none());
    let named = named.map(|name| if name.contains(wire::STARTER) { wire::STARTER } else { name });
    let found = named.filter(|name| wire::knows(invocation, name));
    if let (Some(name), None) = (named, found) {
        watch.say(&invocation.messages().other_model(name));
    }
    wire::open(invocation, found)
}

struct Session<'a> {
    invocation: &'a Invocation,
    watch: Watch,
    opened: Opened,
    /// What previews are decoded by.
    preview: Option<TinyDecoder>,
    output: Output,
    /// The prompt before it was put into English.
    original: Option<String>,
}

impl Session<'_> {
    fn model(&self) -> &StableDiffusion {
        &self.opened.model
    }

    /// Settles the size that is drawn and, for the starter, the one that is written.
    fn size(&mut self, request: &mut DrawRequest, like: Option<&GenerationInfo>) -> Result<(), Failure> {
        let wished = self.invocation.size("size");
        if !self.opened.starter() {
            let said = like.and_then(|i| Some((i.base.width? as u32, i.base.height? as u32)));
            if let Some((w, h)) = wished.or(said.filter(|_| request.init.is_none())) {
                (request.width, request.height) = (Some(w), Some(h));
            }
            return Ok(());
        }
        // The starter draws at its own size: its shorter side stays, whatever is to be written.
        let init = request.init.as_ref().map(|i| (i.picture.width(), i.picture.height()));
        let said = like.and_then(|i| i.extra.get("Postprocess upscale to")?.split_once('x'));
        let said = said.and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
        let said = said.filter(|(w, h): &(u32, u32)| (1..=16_384).contains(w) && (1..=16_384).contains(h));
        let (w, h) = wished.or(init).or(said).unwrap_or((output::STARTER_SIDE, output::STARTER_SIDE));
        let native = self.opened.model.native_size as f64 / f64::from(w.min(h));
        request.width = Some(((f64::from(w) * native).round() as u32).max(1));
        request.height = Some(((f64::from(h) * native).round() as u32).max(1));
        self.output.enlarge_to((w, h));
        let networks = enlarging(Subject::Drawing, 1.0 / native);
        let networks = networks.into_iter().map(|network| wire::open_embedded(self.invocation, network));
        self.output.enlarge_by(networks.collect::<Result<_, _>>()?);
        Ok(())
    }

    /// Says what will be done, before it takes time.
    fn announce(&self, request: &DrawRequest) -> Result<(), Failure> {
        let messages = self.invocation.messages();
        let model = self.model();
        let settings = Settings::of(model, request).map_err(|e| self.failed(&e, request))?;
        self.watch.say(&messages.model(&model.name, model.family.map(|f| f.title), &model.predicts));
        model.notices.iter().for_each(|notice| self.watch.say(notice));
        self.watch.say(&messages.memory(&plan_memory(model, &settings, request)));
        self.watch.say(&messages.plan(
            settings.steps,
            settings.sampler.spec().name,
            settings.schedule.spec().name,
            settings.guidance_scale,
            (settings.width, settings.height),
        ));
        self.watch.say(&messages.seed(request.seed));
        Ok(())
    }

    fn draw(&self, request: &DrawRequest, resume: Option<SavedRun>) -> Result<Vec<Drawn>, Failure> {
        let memory = self.invocation.count("memory").map(|mib| mib << 20);
        let tools = DrawTools { preview: self.preview.as_ref(), resume, memory, ..Default::default() };
        let drawn = draw(self.model(), request, &tools, &self.watch);
        self.watch.finish();
        drawn.map_err(|e| self.failed(&e, request))
    }

    fn pictures(&self, request: DrawRequest, count: usize, mut resume: Option<SavedRun>) -> Result<(), Failure> {
        let mut done = 0;
        while done < count {
            let mut batch = request.clone();
            batch.batch_size = request.batch_size.min(count - done);
            // As in A1111: with a variation the seed stays and the other one counts up.
            match &mut batch.variation {
                Some(variation) => variation.seed = variation.seed.wrapping_add(done as u64),
                None => batch.seed = batch.seed.wrapping_add(done as u64),
            }
            if count > 1 {
                self.watch.picture(format!("{}/{count} ", done + batch.batch_size));
            }
            for drawn in self.draw(&batch, resume.take())? {
                self.write(drawn, &batch)?;
            }
            done += batch.batch_size;
        }
        Ok(())
    }

    fn write(&self, mut drawn: Drawn, request: &DrawRequest) -> Result<(), Failure> {
        let (picture, enlarged) = self.output.sized(drawn.picture)?;
        let info = &mut drawn.infotext;
        if let Some(original) = &self.original {
            info.set("Original prompt", original);
        }
        if request.dialect != Default::default() {
            info.set("Dialect", request.dialect);
        }
        match request.noise.order {
            DrawOrder::A1111 => {}
            DrawOrder::ComfyUi => drop(info.set("Noise order", "comfyui")),
            DrawOrder::Diffusers => drop(info.set("Noise order", "diffusers")),
        }
        let size = (picture.width(), picture.height());
        if let Some(upscaler) = &enlarged {
            info.set("Postprocess upscale to", format!("{}x{}", size.0, size.1));
            info.set("Postprocess upscaler", upscaler);
        }
        let path = self.output.write(picture, info, drawn.seed)?;
        self.wrote(&path, size, Some(drawn.seed), enlarged.as_deref())
    }

    fn wrote(&self, path: &Path, size: (u32, u32), seed: Option<u64>, enlarged: Option<&str>) -> Result<(), Failure> {
        if self.invocation.is("quiet") {
            return Ok(());
        }
        let sentence = self.invocation.messages().wrote(&path.display().to_string(), size, seed, enlarged);
        print(&format!("{sentence}\n"))
    }

    /// All cells of a grid on one sheet.
    fn sheet(&self, request: &DrawRequest, axes: &[grid::Axis; 2]) -> Result<(), Failure> {
        let cells = grid::cells(request, axes);
        let mut pictures: Vec<Picture> = Vec::with_capacity(cells.len());
        let mut first = None;
        for (index, cell) in cells.iter().enumerate() {
            self.watch.picture(format!("{}/{} ", index + 1, cells.len()));
            let Some(drawn) = self.draw(cell, None)?.into_iter().next() else { continue };
            pictures.push(self.output.sized(drawn.picture)?.0);
            first.get_or_insert(drawn.infotext);
        }
        let options = SheetOptions {
            columns: axes[0].values.len(),
            column_titles: axes[0].titles(),
            row_titles: axes[1].titles(),
            ..Default::default()
        };
        let sheet = contact_sheet(&pictures.iter().collect::<Vec<_>>(), &[], &options).map_err(|e| Failure::of(&e))?;
        let mut info = first.unwrap_or_default();
        info.set("Grid", self.invocation.text("grid").unwrap_or_default());
        let size = (sheet.width(), sheet.height());
        let path = self.output.write(sheet, &info, request.seed)?;
        self.wrote(&path, size, Some(request.seed), None)
    }

    /// The failure for an error; a run that was stopped is kept if that was asked for.
    fn failed(&self, error: &TaskError, request: &DrawRequest) -> Failure {
        self.watch.finish();
        let messages = self.invocation.messages();
        if !matches!(error, TaskError::Stopped) {
            return Failure::Failed(messages.task_error(error));
        }
        let (Some(path), Some(run)) = (self.invocation.path("save-run"), self.watch.run()) else {
            return Failure::Stopped(messages.task_error(error));
        };
        match run.write(path) {
            Ok(()) => Failure::Stopped(messages.kept(&path.display().to_string(), request.seed)),
            Err(e) => Failure::Failed(messages.task_error(&e)),
        }
    }
}
