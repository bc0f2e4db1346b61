//! One progress for a whole batch: each picture counts by the size of its file, so that the time left is about right from the start.

use std::sync::atomic::{AtomicU64, Ordering};

use danqing_pipelines::control::Control;
use danqing_pipelines::request::Event;
use danqing_pipelines::resume::SavedRun;

use crate::progress::Watch;

/// Passes a part's progress on as progress of the whole.
pub(in crate::commands) struct Share<'a> {
    watch: &'a Watch,
    /// Bytes of the pictures that are done, and of all.
    done: AtomicU64,
    total: u64,
    /// Bytes of the picture at hand.
    part: AtomicU64,
}

impl<'a> Share<'a> {
    /// Progress of pictures of `total` bytes in all.
    pub(in crate::commands) fn new(watch: &'a Watch, total: u64) -> Self {
        Self { watch, done: AtomicU64::new(0), total: total.max(1), part: AtomicU64::new(0) }
    }

    /// A picture of `bytes` comes next.
    pub(in crate::commands) fn begin(&self, bytes: u64) {
        self.part.store(bytes, Ordering::Relaxed);
    }

    /// The picture at hand is done, well or not.
    pub(in crate::commands) fn end(&self) {
        self.done.fetch_add(self.part.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Control for Share<'_> {
    fn event(&self, event: Event) {
        match event {
            Event::Step { step, total } => {
                let part = self.part.load(Ordering::Relaxed) as f64 * step as f64 / total.max(1) as f64;
                self.watch.portion((self.done.load(Ordering::Relaxed) as f64 + part) / self.total as f64);
            }
            // The bar of the whole was begun before the first picture.
            Event::Phase { .. } => {}
            other => self.watch.event(other),
        }
    }

    fn stopped(&self) -> bool {
        self.watch.stopped()
    }

    fn save(&self, run: &SavedRun) {
        self.watch.save(run);
    }
}

/// Progress of one frame of several.
pub(in crate::commands) struct Frame<'a> {
    /// Of the whole.
    pub(in crate::commands) control: &'a dyn Control,
    /// Frames before this one, and in all.
    pub(in crate::commands) index: usize,
    /// See `index`.
    pub(in crate::commands) frames: usize,
}

impl Control for Frame<'_> {
    fn event(&self, event: Event) {
        match event {
            Event::Step { step, total } => {
                self.control.event(Event::Step { step: self.index * total + step, total: self.frames * total });
            }
            Event::Phase { .. } => {}
            other => self.control.event(other),
        }
    }

    fn stopped(&self) -> bool {
        self.control.stopped()
    }

    fn save(&self, run: &SavedRun) {
        self.control.save(run);
    }
}
