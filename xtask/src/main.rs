//! The project's own chores: `cargo xtask <chore>`. Depends on nothing, so that it builds in a second.

#![forbid(unsafe_code)]

mod bench;
mod check;
mod fixtures;
mod fuzz;
mod gen_docs;
mod process;
mod stream;
mod tidy;
mod torture;
mod tree;

use std::process::ExitCode;

/// One chore: its name, its line in the help, and what it does with its arguments.
struct Chore {
    name: &'static str,
    usage: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Outcome,
}

/// `Err` carries the sentence that is printed before the program fails.
type Outcome = Result<(), String>;

static CHORES: &[Chore] = &[
    Chore {
        name: "check",
        usage: "check",
        about: "format, lints, tidy, tests: what a change must pass",
        run: check::run,
    },
    Chore { name: "tidy", usage: "tidy", about: "the house rules that no compiler knows", run: tidy::run },
    Chore {
        name: "fixtures",
        usage: "fixtures [--check | --python PATH [TOPIC]...]",
        about: "list golden values older than their script, or make them again",
        run: fixtures::run,
    },
    Chore {
        name: "gen",
        usage: "gen [--check]",
        about: "write the reference pages that the program itself prints",
        run: gen_docs::run,
    },
    Chore {
        name: "fuzz",
        usage: "fuzz [--count N] [PARSER]",
        about: "feed every parser (or one) N broken inputs, 1000000 unless told",
        run: fuzz::run,
    },
    Chore {
        name: "bench",
        usage: "bench [ARGUMENT]...",
        about: "speed beside PyTorch and OpenVINO, in one run",
        run: bench::bench,
    },
    Chore {
        name: "conformance",
        usage: "conformance [ARGUMENT]...",
        about: "full-size models beside diffusers",
        run: bench::conformance,
    },
    Chore {
        name: "quality",
        usage: "quality [shrink] --pictures FOLDER [--scale N] [--jpeg Q] [--border N] [CHAIN]...",
        about: "PSNR and SSIM of upscalers on pictures, beside the cubic filter",
        run: bench::quality,
    },
    Chore {
        name: "upscalers",
        usage: "upscalers [FOLDER]",
        about: "a page about the networks in a folder, beside other software's values",
        run: bench::upscalers,
    },
    Chore {
        name: "stream",
        usage: "stream [--program PATH] [--network PATH] [--frames N]",
        about: "memory of `danqing enlarge --stream` over 10000 frames",
        run: stream::run,
    },
    Chore {
        name: "torture",
        usage: "torture [KILLS]",
        about: "kill workers of the job queue on both databases, 1000 times each unless told",
        run: torture::run,
    },
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((name, rest)) = arguments.split_first() else { return help(None) };
    if matches!(name.as_str(), "help" | "-h" | "--help") {
        return help(None);
    }
    let Some(chore) = CHORES.iter().find(|chore| chore.name == name) else { return help(Some(name)) };
    match (chore.run)(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask {name}: {message}");
            ExitCode::FAILURE
        }
    }
}

fn help(unknown: Option<&str>) -> ExitCode {
    if let Some(name) = unknown {
        eprintln!("xtask: there is no chore {name:?}\n");
    }
    println!("cargo xtask <chore>\n");
    for chore in CHORES {
        println!("  {:<44} {}", chore.usage, chore.about);
    }
    if unknown.is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
