//! Tasks that join models and sampling: draw, edit; prompts; plans.
