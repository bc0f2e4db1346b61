//! Tasks that join models and sampling: draw, edit; prompts; plans.

pub mod prompts;
