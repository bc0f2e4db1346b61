//! How a task tells what it does, and how it is stopped.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::request::{Event, Phase};

/// Watches a task and may stop it. Shared between threads.
pub trait Control: Sync {
    /// Told what is going on.
    fn event(&self, event: Event);

    /// Whether the task shall stop; asked at least once a step.
    fn stopped(&self) -> bool {
        false
    }

    /// Given the state after a step, to be kept for resuming.
    fn save(&self, _state: &crate::resume::SavedRun) {}
}

/// A control that watches nothing and never stops.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Control for Quiet {
    fn event(&self, _: Event) {}
}

/// A control that stops once it is told to; for tests and signal handlers.
#[derive(Debug, Default)]
pub struct StopFlag(AtomicBool);

impl StopFlag {
    /// Stops the task at its next step.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Control for StopFlag {
    fn event(&self, _: Event) {}

    fn stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Announces a phase.
pub(crate) fn phase(control: &dyn Control, name: Phase, steps: usize) {
    control.event(Event::Phase { name, steps });
}
