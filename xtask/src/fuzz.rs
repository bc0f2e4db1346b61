//! `cargo xtask fuzz`: the fuzz tests of every crate with a larger count.
//!
//! A fuzz test is a test whose name begins with `fuzz_`; it feeds its parser
//! `danqing_testing::mutate::count()` inputs, which the variable `DANQING_FUZZ_COUNT` raises from 10,000.

use std::collections::BTreeSet;

use crate::Outcome;
use crate::process::{cargo, run as execute};
use crate::tree::files;

const USUAL_COUNT: u64 = 1_000_000;

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let mut count = USUAL_COUNT;
    let mut parser = None;
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--count" {
            let text = arguments.next().ok_or("--count needs a number")?;
            count = text.replace('_', "").parse().map_err(|_| format!("--count needs a number, not {text:?}"))?;
        } else if parser.replace(argument.clone()).is_some() {
            return Err("name one parser, or none for all".to_owned());
        }
    }
    let tests = fuzz_tests();
    let wanted: Vec<_> =
        tests.iter().filter(|(_, test)| parser.as_ref().is_none_or(|p| test.contains(p.as_str()))).collect();
    if wanted.is_empty() {
        let known: Vec<&str> = tests.iter().map(|(_, test)| test.as_str()).collect();
        return Err(format!("no fuzz test is named so; there are {}", known.join(", ")));
    }
    let packages: BTreeSet<&str> = wanted.iter().map(|(package, _)| package.as_str()).collect();
    for package in packages {
        let filter = format!("fuzz_{}", parser.as_deref().unwrap_or_default().trim_start_matches("fuzz_"));
        let mut command = cargo(&["test", "--release", "--package", package, "--", &filter]);
        execute(command.env("DANQING_FUZZ_COUNT", count.to_string()))?;
    }
    println!("{count} inputs each: {}", wanted.iter().map(|(_, test)| test.as_str()).collect::<Vec<_>>().join(", "));
    Ok(())
}

/// `(package, test)` of every fuzz test in the source.
fn fuzz_tests() -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for file in files().iter().filter(|f| f.path.starts_with("crates/") && f.suffix() == "rs") {
        let Some(folder) = file.path.split('/').nth(1) else { continue };
        let package = if folder == "danqing" { folder.to_owned() } else { format!("danqing-{folder}") };
        for line in file.text().unwrap_or_default().lines() {
            if let Some(rest) = line.trim_start().strip_prefix("fn fuzz_") {
                let name = rest.split('(').next().unwrap_or_default();
                found.insert((package.clone(), format!("fuzz_{name}")));
            }
        }
    }
    found
}
