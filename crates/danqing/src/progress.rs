//! Shows how far drawing is, keeps previews and saved runs, and stops at Ctrl-C.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use danqing_imaging::{EncodeOptions, save};
use danqing_pipelines::control::Control;
use danqing_pipelines::request::{Event, Phase};
use danqing_pipelines::resume::SavedRun;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::failure::Failure;
use crate::messages::{Language, Messages};

/// How often Ctrl-C was pressed.
static INTERRUPTS: AtomicUsize = AtomicUsize::new(0);
/// How often a line is printed where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Steps of a bar that shows portions.
const PORTIONS: usize = 1000;

/// From now on the first Ctrl-C stops the work within a step, the second ends the program.
///
/// # Errors
/// When the system refuses.
pub(crate) fn catch_interrupts(messages: &'static dyn Messages) -> Result<(), Failure> {
    let handler = move || {
        if INTERRUPTS.fetch_add(1, Ordering::SeqCst) > 0 {
            std::process::exit(130);
        }
        eprintln!("\n{}", messages.stopping());
    };
    ctrlc::set_handler(handler).map_err(|e| Failure::of(&e))
}

/// Whether Ctrl-C was pressed.
pub(crate) fn interrupted() -> bool {
    INTERRUPTS.load(Ordering::SeqCst) > 0
}

/// Watches one command's work.
pub(crate) struct Watch {
    language: Language,
    quiet: bool,
    preview: Option<PathBuf>,
    keeps_runs: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What is being done, for several pictures: "2/4 ".
    prefix: String,
    bar: Option<ProgressBar>,
    phase: Option<Phase>,
    began: Option<Instant>,
    last_line: Option<Instant>,
    run: Option<SavedRun>,
    notices: Vec<String>,
    preview_failed: bool,
}

impl Watch {
    /// A watch that speaks `language`, writes previews to `preview`, and keeps the state of the last step if `keeps_runs`.
    pub(crate) fn new(language: Language, quiet: bool, preview: Option<&Path>, keeps_runs: bool) -> Self {
        let preview = preview.map(Path::to_owned);
        Self { language, quiet, preview, keeps_runs, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stands before progress from now on.
    pub(crate) fn picture(&self, prefix: String) {
        let mut state = self.state();
        if let (Some(bar), Some(phase)) = (&state.bar, state.phase) {
            bar.set_message(format!("{prefix}{}", self.language.messages().phase(phase)));
        }
        state.prefix = prefix;
    }

    /// Whether it is one of several pictures.
    pub(crate) fn has_prefix(&self) -> bool {
        !self.state().prefix.is_empty()
    }

    /// The state after the last step that was done.
    pub(crate) fn run(&self) -> Option<SavedRun> {
        self.state().run.take()
    }

    /// A sentence for the user, above the bar.
    pub(crate) fn say(&self, sentence: &str) {
        if !self.quiet {
            self.complain(sentence);
        }
    }

    /// As [`Watch::say`], also when it is quiet.
    pub(crate) fn complain(&self, sentence: &str) {
        match &self.state().bar {
            Some(bar) => bar.suspend(|| eprintln!("{sentence}")),
            None => eprintln!("{sentence}"),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        if let Some(bar) = self.state().bar.take() {
            bar.finish_and_clear();
        }
    }

    fn phase(&self, phase: Phase, steps: usize) {
        let name = self.language.messages().phase(phase);
        let mut state = self.state();
        if let Some(bar) = state.bar.take() {
            bar.finish_and_clear();
        }
        state.phase = Some(phase);
        state.began = Some(Instant::now());
        state.last_line = state.began;
        if self.quiet || !std::io::stderr().is_terminal() {
            return;
        }
        let bar = ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr());
        let template =
            if steps == 0 { "{msg} {spinner} {elapsed}" } else { "{msg} {wide_bar} {pos}/{len} {eta_precise}" };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_message(format!("{}{name}", state.prefix));
        bar.enable_steady_tick(Duration::from_millis(200));
        state.bar = Some(bar);
    }

    /// Begins a bar for work that is told of by [`Watch::portion`].
    pub(crate) fn begin(&self, phase: Phase) {
        self.phase(phase, PORTIONS);
    }

    /// The part of all work that is done, 0..1.
    pub(crate) fn portion(&self, done: f64) {
        let step = (done.clamp(0.0, 1.0) * PORTIONS as f64).round() as usize;
        self.advance(step, PORTIONS, &|messages, name, left| messages.percent(name, done * 100.0, left));
    }

    fn step(&self, step: usize, total: usize) {
        self.advance(step, total, &|messages, name, left| messages.step(name, step, total, left));
    }

    fn advance(&self, step: usize, total: usize, line: &dyn Fn(&dyn Messages, &str, u64) -> String) {
        let messages = self.language.messages();
        let mut state = self.state();
        if let Some(bar) = &state.bar {
            bar.set_position(step as u64);
            return;
        }
        let due = state.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY) || step == total;
        let (false, true, Some(began), Some(phase)) = (self.quiet, due, state.began, state.phase) else { return };
        state.last_line = Some(Instant::now());
        let left = began.elapsed().mul_f64((total - step) as f64 / step.max(1) as f64).as_secs();
        eprintln!("{}{}", state.prefix, line(messages, messages.phase(phase), left));
    }
}

impl Control for Watch {
    fn event(&self, event: Event) {
        match event {
            Event::Notice(notice) => {
                let sentence = match self.language {
                    Language::English => notice.english(),
                    Language::Chinese => notice.chinese(),
                };
                // Every picture of a batch meets the same prompt; once is enough.
                let known = self.state().notices.contains(&sentence);
                if !known {
                    self.say(&sentence);
                    self.state().notices.push(sentence);
                }
            }
            Event::Phase { name, steps } => self.phase(name, steps),
            Event::Step { step, total } => self.step(step, total),
            Event::Preview(picture) => {
                let Some(path) = &self.preview else { return };
                let written = save(path, &picture, &EncodeOptions::default());
                // A preview that cannot be written is no reason to lose the picture; it is said once.
                if let Err(error) = written
                    && !std::mem::replace(&mut self.state().preview_failed, true)
                {
                    self.say(&error.to_string());
                }
            }
        }
    }

    fn stopped(&self) -> bool {
        INTERRUPTS.load(Ordering::SeqCst) > 0
    }

    fn save(&self, run: &SavedRun) {
        if self.keeps_runs {
            self.state().run = Some(run.clone());
        }
    }
}
