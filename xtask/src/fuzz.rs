//! `cargo xtask fuzz`: the fuzz tests of every crate with a larger count.
//!
//! A fuzz test is a test that feeds its parser `mutate::count()` inputs (of `danqing-testing`), which the variable
//! `DANQING_FUZZ_COUNT` raises from 10,000.

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
        let names = wanted.iter().filter(|(p, _)| p == package).map(|(_, test)| test.as_str());
        let mut command = cargo(&["test", "--release", "--package", package, "--"]);
        execute(command.args(names).env("DANQING_FUZZ_COUNT", count.to_string()))?;
    }
    println!("{count} inputs each: {}", wanted.iter().map(|(_, test)| test.as_str()).collect::<Vec<_>>().join(", "));
    Ok(())
}

/// `(package, test)` of every fuzz test in the source.
fn fuzz_tests() -> BTreeSet<(String, String)> {
    let mut found = BTreeSet::new();
    for file in files().iter().filter(|f| f.path.starts_with("crates/") && f.suffix() == "rs") {
        let (Some(folder), Some(text)) = (file.path.split('/').nth(1), file.text()) else { continue };
        if folder == "testing" || !text.contains("danqing_testing::mutate") && !text.contains("mutate::count()") {
            continue;
        }
        let package = if folder == "danqing" { folder.to_owned() } else { format!("danqing-{folder}") };
        found.extend(tests_that_count(&text).into_iter().map(|test| (package.clone(), test)));
    }
    found
}

/// Names of the functions in which `count()` is called as a function, not as a method.
fn tests_that_count(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let mut function = "";
    for line in text.lines() {
        if let Some(rest) = line.trim_start().strip_prefix("fn ") {
            function = rest.split('(').next().unwrap_or_default();
        }
        let called = line.match_indices("count()").any(|(at, _)| {
            let before = &line[..at];
            before.ends_with("..") || !before.ends_with(['.', '_'])
        });
        if called && !function.is_empty() {
            names.insert(function.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    #[test]
    fn fuzz_tests_are_found_by_what_they_call() {
        let text =
            "fn a() {\n  run(&c, 1, mutate::count(), f);\n}\nfn b() { x.count() }\nfn c() {\n  0..count() / 10\n}";
        assert_eq!(super::tests_that_count(text).into_iter().collect::<Vec<_>>(), ["a", "c"]);
    }
}
