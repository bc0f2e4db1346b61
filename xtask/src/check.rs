//! `cargo xtask check`: everything a change must pass, in the order of how fast it fails.

use crate::process::{cargo, run as execute};
use crate::{Outcome, fixtures, tidy};

/// The steps by name; `.ci/run` calls the same ones.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    if let Some(unknown) = arguments.first() {
        return Err(format!("check takes no argument, not {unknown:?}"));
    }
    execute(&mut cargo(&["fmt", "--all", "--check"]))?;
    tidy::run(&[])?;
    // Golden values that are merely older than their script are the reviewer's business.
    if let Err(stale) = fixtures::run(&["--check".to_owned()]) {
        println!("note: {stale}");
    }
    execute(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    execute(&mut cargo(&["test", "--workspace"]))
}
