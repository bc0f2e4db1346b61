//! `cargo xtask bench`, `conformance`, `quality` and `upscalers`: long measurements, most of them beside other software.

use std::path::Path;
use std::process::Command;

use crate::Outcome;
use crate::process::run as execute;
use crate::tree::root;

/// Speed ratios; the script installs or finds its peers as its own help says.
pub(crate) fn bench(arguments: &[String]) -> Outcome {
    script("bench/run.sh", arguments, "bench/peers/ says which programs it compares with and how to install them")
}

/// Full-size models made by diffusers, compared block by block.
pub(crate) fn conformance(arguments: &[String]) -> Outcome {
    script(
        "reference/conformance/run.sh",
        arguments,
        "it needs Python with torch, diffusers, transformers and safetensors, some 12 GB of memory and 8 GB of disk",
    )
}

/// Measures upscalers on pictures given by path; after the word `shrink` what small pictures save.
pub(crate) fn quality(arguments: &[String]) -> Outcome {
    let (example, arguments) = match arguments.split_first() {
        Some((word, rest)) if word == "shrink" => ("shrink_table", rest),
        _ => ("quality", arguments),
    };
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--release", "--quiet", "-p", "danqing-pipelines", "--example", example, "--"]);
    execute(command.args(arguments).current_dir(root()))
}

/// Prints a page about the networks of a folder, to be written to `docs/upscalers.md`.
pub(crate) fn upscalers(arguments: &[String]) -> Outcome {
    let mut command = Command::new(env!("CARGO"));
    command.args(["run", "--quiet", "-p", "danqing-pipelines", "--example", "upscalers", "--"]);
    // Standard output is the page alone.
    match command.args(arguments).current_dir(root()).status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("the page's program ended with {status}")),
        Err(error) => Err(format!("cannot run cargo: {error}")),
    }
}

fn script(path: &str, arguments: &[String], needs: &str) -> Outcome {
    let full = root().join(path);
    if !Path::new(&full).is_file() {
        return Err(format!("{path} is not there; {needs}"));
    }
    execute(Command::new("bash").arg(full).args(arguments).current_dir(root()))
        .map_err(|error| format!("{error}; {needs}"))
}
