//! The `danqing` program: draws pictures from words on your own machine.

#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod failure;
mod messages;
mod progress;
mod settings;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    commands::run(std::env::args_os().collect())
}
