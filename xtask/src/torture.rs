//! `cargo xtask torture`: kills workers of the job queue on both databases and counts what was lost, doubled or spoilt.

use std::process::Command;

use crate::Outcome;
use crate::process::run as execute;
use crate::tree::root;

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let kills = arguments.first().map_or("1000", String::as_str);
    torture(&["sqlite", kills])?;
    match std::env::var("DANQING_TEST_POSTGRES") {
        Ok(address) => torture(&["postgres", kills, &address]),
        Err(_) => Err("PostgreSQL was not asked: run the line that `.ci/databases start FOLDER` prints first".into()),
    }
}

fn torture(words: &[&str]) -> Outcome {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--release", "--quiet", "-p", "danqing-services", "--example", "torture", "--"]);
    execute(command.args(words).current_dir(root()))
}
