//! What the program says, in English and in Chinese.
//!
//! Fixed texts stand beside what they describe as [`Text`]; sentences with values in them are methods of [`Messages`], so that
//! a sentence missing in one language does not compile.

mod chinese;
mod english;

use std::env;

use danqing_imaging::Warning;
use danqing_models::families::stable_diffusion::Predicts;
use danqing_pipelines::TaskError;
use danqing_pipelines::embedded_upscalers::Subject;
use danqing_pipelines::plan::MemoryPlan;
use danqing_pipelines::request::Phase;
use danqing_pipelines::tasks::enlarge::Seen;

pub(crate) use chinese::Chinese;
pub(crate) use english::English;

/// A language of the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    /// English.
    English,
    /// Chinese.
    Chinese,
}

impl Language {
    /// The language of a tag such as `zh_CN.UTF-8` or `en`; Chinese for `zh…`, else English.
    pub(crate) fn of(tag: &str) -> Self {
        if tag.trim().to_ascii_lowercase().starts_with("zh") { Self::Chinese } else { Self::English }
    }

    /// The language of the environment: the first of `LC_ALL`, `LC_MESSAGES`, `LANG` that says anything.
    pub(crate) fn of_environment() -> Self {
        let tags = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().filter_map(|name| env::var(name).ok());
        tags.into_iter().find(|tag| !tag.is_empty()).map_or(Self::English, |tag| Self::of(&tag))
    }

    /// Its sentences.
    pub(crate) fn messages(self) -> &'static dyn Messages {
        match self {
            Self::English => &English,
            Self::Chinese => &Chinese,
        }
    }
}

/// A fixed text in both languages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text {
    /// English.
    pub(crate) en: &'static str,
    /// Chinese.
    pub(crate) zh: &'static str,
}

/// Makes a [`Text`].
pub(crate) const fn text(en: &'static str, zh: &'static str) -> Text {
    Text { en, zh }
}

impl Text {
    /// The text in `language`.
    pub(crate) fn to(self, language: Language) -> &'static str {
        match language {
            Language::English => self.en,
            Language::Chinese => self.zh,
        }
    }
}

/// Sentences with values in them.
pub(crate) trait Messages: Sync {
    /// Stands before a failure's sentence.
    fn error(&self, sentence: &str) -> String;
    /// Where to read more about a command.
    fn see_help(&self, command: &str) -> String;
    /// A command line that clap refused, with what it says of it.
    fn refused(&self, refusal: &Refusal) -> String;
    /// A settings file that cannot be read.
    fn settings_unreadable(&self, path: &str, why: &str) -> String;
    /// A name in the settings file that means nothing.
    fn setting_unknown(&self, path: &str, name: &str, near: Option<&str>) -> String;
    /// Inspect could not read the file as a picture in full, but wrote what it found.
    fn damaged(&self, file: &str, why: &str) -> String;
    /// A picture without parameters was given to `--like`.
    fn says_nothing(&self, file: &str) -> String;
    /// Draw was called without a prompt.
    fn no_prompt(&self) -> String;
    /// An option that means nothing without another.
    fn needs(&self, option: &str, other: &str) -> String;
    /// Two options that exclude each other.
    fn not_both(&self, one: &str, other: &str) -> String;
    /// An option for one run only.
    fn one_run(&self, option: &str) -> String;
    /// A grid that cannot be read.
    fn bad_grid(&self, wish: &str, keys: &[&str]) -> String;
    /// A mask of other proportions than its picture.
    fn mask_shape(&self, mask: (u32, u32), picture: (u32, u32)) -> String;
    /// No model of this name, and a near one.
    fn no_model(&self, name: &str, near: Option<&str>) -> String;
    /// A second stage without a network to go on from.
    fn nothing_to_refine(&self) -> String;
    /// Training was stopped and can go on.
    fn training_kept(&self, folder: &str) -> String;
    /// A folder that is not there.
    fn no_folder(&self, folder: &str) -> String;
    /// No model in any of these folders.
    fn no_models(&self, folders: &[String]) -> String;
    /// What the embedded model is.
    fn embedded(&self) -> String;
    /// Why a model does not load.
    fn not_loadable(&self, reason: &str) -> String;
    /// The model that a picture names is not here.
    fn other_model(&self, name: &str) -> String;
    /// The model that draws.
    fn model(&self, name: &str, family: Option<&str>, predicts: &Predicts) -> String;
    /// The memory that it takes.
    fn memory(&self, plan: &MemoryPlan) -> String;
    /// What will be done.
    fn plan(&self, steps: usize, sampler: &str, schedule: &str, guidance: f32, size: (usize, usize)) -> String;
    /// The seed.
    fn seed(&self, seed: u64) -> String;
    /// The prompt in English.
    fn english_prompt(&self, prompt: &str) -> String;
    /// Words that were left out of it.
    fn untranslated(&self, words: &[String]) -> String;
    /// A word that the starter does not know.
    fn unknown_word(&self, word: &str, near: &[String]) -> String;
    /// What is being done.
    fn phase(&self, phase: Phase) -> &'static str;
    /// Steps of it, and seconds left.
    fn step(&self, phase: &str, step: usize, total: usize, seconds: u64) -> String;
    /// Ctrl-C was pressed.
    fn stopping(&self) -> String;
    /// A picture was written, enlarged by a filter or networks of this name.
    fn wrote(&self, file: &str, size: (u32, u32), seed: Option<u64>, enlarged: Option<&str>) -> String;
    /// The cubic filter enlarges.
    fn cubic_only(&self) -> String;
    /// A network that enlarges.
    fn upscaler(&self, name: &str, architecture: &str, scale: usize, parameters: usize) -> String;
    /// What a picture was seen to be.
    fn seen(&self, seen: &Seen) -> String;
    /// The networks that were chosen for a picture by what it was seen to be.
    fn chosen(&self, file: &str, seen: &str, networks: &str) -> String;
    /// A medical picture is enlarged by the filter.
    fn medical_filter(&self, file: &str) -> String;
    /// What an embedded network is for.
    fn embedded_upscaler(&self, subject: Subject, scale: usize) -> String;
    /// No network that draws faces was found.
    fn no_face_network(&self) -> String;
    /// No network that finds faces was found.
    fn no_face_detector(&self) -> String;
    /// A network that does not draw faces shall do so.
    fn not_for_faces(&self, name: &str) -> String;
    /// Faces that were restored in a picture, and how many of them were taken to be upright.
    fn faces(&self, file: &str, found: usize, upright: usize) -> String;
    /// No network of this name, and a near one.
    fn no_upscaler(&self, name: &str, near: Option<&str>) -> String;
    /// An option for one picture only.
    fn one_picture(&self, option: &str) -> String;
    /// There were no pictures in what was named.
    fn no_pictures(&self) -> String;
    /// Two pictures would be written to one file.
    fn same_result(&self, file: &str) -> String;
    /// A result that is there already is left alone.
    fn already_there(&self, file: &str) -> String;
    /// Some of several pictures failed.
    fn some_failed(&self, failed: usize, of: usize) -> String;
    /// Percent of all work, and seconds left.
    fn percent(&self, phase: &str, percent: f64, seconds: u64) -> String;
    /// Something odd about a picture that was read all the same.
    fn warning(&self, file: &str, warning: &Warning) -> String;
    /// Frames of a stream that are done, and how fast.
    fn frames(&self, frames: u64, per_second: f64) -> String;
    /// A kind of stream that is none.
    fn bad_stream(&self, kind: &str) -> String;
    /// Nobody takes the frames, or there is no room.
    fn broken_stream(&self, why: &str) -> String;
    /// A DICOM file is asked of another picture.
    fn no_dicom(&self, file: &str) -> String;
    /// What shrinking saved.
    fn shrunk(&self, file: &str, before: u64, after: u64) -> String;
    /// A stopped run was kept.
    fn kept(&self, file: &str, seed: u64) -> String;
    /// Why a task failed.
    fn task_error(&self, error: &TaskError) -> String;
}

/// Why a command line was refused before any value was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No such flag; a near one.
    UnknownFlag(String, Option<String>),
    /// No such command; a near one.
    UnknownCommand(String, Option<String>),
    /// A flag without its value.
    NoValue(String),
    /// A flag that stands twice.
    Twice(String),
    /// Something left over.
    Superfluous(String),
    /// A text that is not UTF-8.
    NotUnicode,
    /// Something else, in the parser's words.
    Other(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_by_their_language() {
        for (tag, language) in [
            ("zh", Language::Chinese),
            ("zh_CN.UTF-8", Language::Chinese),
            ("ZH-Hant", Language::Chinese),
            ("en_GB", Language::English),
            ("C", Language::English),
            ("", Language::English),
        ] {
            assert_eq!(Language::of(tag), language, "{tag:?}");
        }
    }
}
