//! The sentences in English.

use danqing_imaging::{Kind, Warning};
use danqing_models::families::stable_diffusion::Predicts;
use danqing_pipelines::TaskError;
use danqing_pipelines::embedded_upscalers::Subject;
use danqing_pipelines::plan::MemoryPlan;
use danqing_pipelines::request::Phase;
use danqing_pipelines::tasks::enlarge::Seen;

use super::{Messages, Refusal};

/// English.
pub(crate) struct English;

impl Messages for English {
    fn error(&self, sentence: &str) -> String {
        format!("error: {sentence}")
    }

    fn see_help(&self, command: &str) -> String {
        format!("for all options see `{command} --help`")
    }

    fn refused(&self, refusal: &Refusal) -> String {
        let meant = |near: &Option<String>| near.as_ref().map(|n| format!("; did you mean {n}?")).unwrap_or_default();
        match refusal {
            Refusal::UnknownFlag(flag, near) => format!("there is no option {flag}{}", meant(near)),
            Refusal::UnknownCommand(name, near) => format!("there is no command {name:?}{}", meant(near)),
            Refusal::NoValue(flag) => format!("{flag} needs a value"),
            Refusal::Twice(flag) => format!("{flag} is given twice"),
            Refusal::Superfluous(word) => {
                format!("{word:?} is one word too many; put a prompt of several words into quotes")
            }
            Refusal::NotUnicode => "an argument is not valid UTF-8".into(),
            Refusal::Other(words) => words.clone(),
        }
    }

    fn settings_unreadable(&self, path: &str, why: &str) -> String {
        format!("the settings file {path} cannot be read: {why}")
    }

    fn setting_unknown(&self, path: &str, name: &str, near: Option<&str>) -> String {
        let near = near.map(|n| format!("; did you mean {n:?}?")).unwrap_or_default();
        format!("{path}: there is no setting {name:?}{near} (`danqing reference settings` lists them)")
    }

    fn damaged(&self, file: &str, why: &str) -> String {
        format!("{file} is not whole: {why}")
    }

    fn says_nothing(&self, file: &str) -> String {
        format!("{file} does not say how it was generated; give a prompt instead of --like")
    }

    fn no_prompt(&self) -> String {
        "say what to draw: danqing draw \"two red cats\" -o cats.png".into()
    }

    fn needs(&self, option: &str, other: &str) -> String {
        format!("{option} means something only together with {other}")
    }

    fn not_both(&self, one: &str, other: &str) -> String {
        format!("{one} and {other} cannot be used together")
    }

    fn one_run(&self, option: &str) -> String {
        format!("{option} is for one run: leave --grid away and draw all pictures at once (--batch)")
    }

    fn bad_grid(&self, wish: &str, keys: &[&str]) -> String {
        format!(
            "--grid {wish:?} cannot be read; write one or two keys with values, such as \"steps=10,20;guidance=4,7\", at most 400 \
             pictures; keys: {}",
            keys.join(", ")
        )
    }

    fn mask_shape(&self, mask: (u32, u32), picture: (u32, u32)) -> String {
        format!(
            "the mask has {}x{} pixels and the picture {}x{}: make them of the same shape",
            mask.0, mask.1, picture.0, picture.1
        )
    }

    fn no_model(&self, name: &str, near: Option<&str>) -> String {
        let near = near.map_or_else(|| ".".into(), |n| format!("; did you mean {n:?}?"));
        format!("there is no model {name:?}{near} Give a path, or a name that `danqing models` lists")
    }

    fn nothing_to_refine(&self) -> String {
        "--stage refine goes on from a trained network: name its file with --from".into()
    }

    fn training_kept(&self, folder: &str) -> String {
        format!("stopped; the same command goes on from the checkpoint in {folder}")
    }

    fn no_folder(&self, folder: &str) -> String {
        format!("there is no folder {folder}: make it first, or name another")
    }

    fn no_models(&self, folders: &[String]) -> String {
        match folders {
            [] => "no folders to look in: name one, or set `models` in the settings".into(),
            _ => format!("no models in {}", folders.join(", ")),
        }
    }

    fn embedded(&self) -> String {
        "embedded: small things, colours and counts, 64 pixels enlarged to 512".into()
    }

    fn not_loadable(&self, reason: &str) -> String {
        format!("does not load: {reason}")
    }

    fn other_model(&self, name: &str) -> String {
        format!("the picture was drawn by {name:?}, which is not here: another model will give another picture")
    }

    fn model(&self, name: &str, family: Option<&str>, predicts: &Predicts) -> String {
        let family = family.map(|f| format!(" ({f})")).unwrap_or_default();
        format!("model     {name}{family}, predicts {predicts}")
    }

    fn memory(&self, plan: &MemoryPlan) -> String {
        format!("memory    {plan}")
    }

    fn plan(&self, steps: usize, sampler: &str, schedule: &str, guidance: f32, size: (usize, usize)) -> String {
        format!("settings  {steps} steps, {sampler}, {schedule}, guidance {guidance}, {} x {}", size.0, size.1)
    }

    fn seed(&self, seed: u64) -> String {
        format!("seed      {seed}")
    }

    fn english_prompt(&self, prompt: &str) -> String {
        format!("prompt    {prompt}")
    }

    fn untranslated(&self, words: &[String]) -> String {
        format!("not in the glossary and left out: {}", words.join(", "))
    }

    fn unknown_word(&self, word: &str, near: &[String]) -> String {
        let near = if near.is_empty() { String::new() } else { format!("; it knows {}", near.join(", ")) };
        format!("the starter model does not know {word:?}{near}")
    }

    fn phase(&self, phase: Phase) -> &'static str {
        match phase {
            Phase::Encode => "reading the prompt",
            Phase::Sample => "drawing",
            Phase::Hires => "drawing larger",
            Phase::Decode => "developing",
            Phase::Enlarge => "enlarging",
            Phase::Shrink => "shrinking",
        }
    }

    fn step(&self, phase: &str, step: usize, total: usize, seconds: u64) -> String {
        format!("{phase}: step {step} of {total}, {seconds} s left")
    }

    fn stopping(&self) -> String {
        "stopping after this step; press Ctrl-C again to end at once".into()
    }

    fn wrote(&self, file: &str, size: (u32, u32), seed: Option<u64>, enlarged: Option<&str>) -> String {
        let seed = seed.map(|s| format!(", seed {s}")).unwrap_or_default();
        let enlarged = enlarged.map(|by| format!(", enlarged by {by}")).unwrap_or_default();
        format!("wrote {file}: {} x {}{enlarged}{seed}", size.0, size.1)
    }

    fn cubic_only(&self) -> String {
        "the cubic filter enlarges, which adds no detail".into()
    }

    fn upscaler(&self, name: &str, architecture: &str, scale: usize, parameters: usize) -> String {
        format!("{name}: {architecture}, x{scale}, {parameters} weights")
    }

    fn seen(&self, seen: &Seen) -> String {
        let kind = match seen.kind {
            Kind::Photograph => "a photograph",
            Kind::Drawing => "a drawing",
            Kind::Text => "writing",
        };
        let jpeg = match (seen.quality, seen.blocks) {
            (Some(quality), _) => format!(", JPEG of quality {quality}"),
            (None, Some(_)) => ", once a JPEG".into(),
            (None, None) => String::new(),
        };
        format!("{kind}{jpeg}, noise {:.1}", seen.noise)
    }

    fn chosen(&self, file: &str, seen: &str, networks: &str) -> String {
        format!("{file}: {seen}: {networks}")
    }

    fn medical_filter(&self, file: &str) -> String {
        format!(
            "{file}: a medical picture, so the cubic filter, which invents nothing; --upscaler names a network instead"
        )
    }

    fn embedded_upscaler(&self, subject: Subject, scale: usize) -> String {
        match subject {
            Subject::Photograph => format!("embedded: makes photographs {scale} times as large"),
            Subject::Drawing => format!("embedded: makes drawings and icons {scale} times as large"),
            Subject::Video => format!("embedded: makes frames of a video {scale} times as large"),
            Subject::Damage => "embedded: takes noise and traces of JPEG away".into(),
        }
    }

    fn no_face_network(&self) -> String {
        "no network that draws faces was found: name a GFPGAN file (--face), or put it into a model folder (setting `models`)".into()
    }

    fn no_face_detector(&self) -> String {
        "no network that finds faces was found: name a RetinaFace or RFB-320 file (--face-detector), or put it into a model folder \
         (setting `models`)"
            .into()
    }

    fn not_for_faces(&self, name: &str) -> String {
        format!("{name} does not draw faces: --face takes a network such as GFPGAN")
    }

    fn faces(&self, file: &str, found: usize, upright: usize) -> String {
        let restored = match found {
            0 => "no face was found".into(),
            1 => "1 face restored".into(),
            n => format!("{n} faces restored"),
        };
        let unrotated = match upright {
            0 => String::new(),
            n if n == found => " (unrotated: the detector does not tell how a face is turned)".into(),
            n => format!(" ({n} of them unrotated: how they are turned is not known)"),
        };
        format!("{file}: {restored}{unrotated}")
    }

    fn no_upscaler(&self, name: &str, near: Option<&str>) -> String {
        let near = near.map_or_else(|| ".".into(), |n| format!("; did you mean {n:?}?"));
        format!(
            "there is no upscaler {name:?}{near} Give a path, an embedded network (`danqing models` lists them), or the name of a file in the upscale_models, ESRGAN, RealESRGAN or SwinIR folder of a model folder (setting `models`)"
        )
    }

    fn one_picture(&self, option: &str) -> String {
        format!("{option} is for one picture: enlarge that one by itself")
    }

    fn no_pictures(&self) -> String {
        "no pictures there: .png, .jpg, .webp, .avif, .bmp, .gif and .tiff are looked for".into()
    }

    fn same_result(&self, file: &str) -> String {
        format!("two pictures would be written to {file}: do them one by one, or rename one")
    }

    fn already_there(&self, file: &str) -> String {
        format!("{file} is already there")
    }

    fn some_failed(&self, failed: usize, of: usize) -> String {
        format!("{failed} of {of} pictures failed")
    }

    fn percent(&self, phase: &str, percent: f64, seconds: u64) -> String {
        format!("{phase}: {percent:.0} %, {seconds} s left")
    }

    fn warning(&self, file: &str, warning: &Warning) -> String {
        format!("{file}: {warning}")
    }

    fn frames(&self, frames: u64, per_second: f64) -> String {
        format!("{frames} frames, {per_second:.1} a second")
    }

    fn bad_stream(&self, kind: &str) -> String {
        format!("--stream takes y4m, or WIDTHxHEIGHT for RGB bytes, not {kind:?}")
    }

    fn broken_stream(&self, why: &str) -> String {
        format!("the frames cannot be written: {why}")
    }

    fn no_dicom(&self, file: &str) -> String {
        format!("only a DICOM file becomes a DICOM file: write {file} as .png, .tiff, .jpg or .webp")
    }

    fn shrunk(&self, file: &str, before: u64, after: u64) -> String {
        let saved = 100.0 * (1.0 - after as f64 / before.max(1) as f64);
        format!("{file}: {before} bytes became {after} ({saved:.0} % saved)")
    }

    fn kept(&self, file: &str, seed: u64) -> String {
        format!("stopped; go on with the same options and --seed {seed} --resume {file}")
    }

    fn task_error(&self, error: &TaskError) -> String {
        match error {
            TaskError::Stopped => "stopped; this picture was not written".into(),
            other => other.to_string(),
        }
    }
}
