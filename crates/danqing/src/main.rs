//! The `danqing` program: draws pictures from words on your own machine.

#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod decoder;
mod failure;
mod messages;
mod progress;
mod settings;
mod wire;

use std::process::ExitCode;

fn main() -> ExitCode {
    let line: Vec<_> = std::env::args_os().collect();
    if line.get(1).is_some_and(|word| word == decoder::ARGUMENT) {
        return decoder::serve();
    }
    commands::run(line)
}
