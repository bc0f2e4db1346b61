//! Data sets, losses, loops, resumable runs, evaluation.
