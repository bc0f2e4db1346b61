//! `cargo xtask tidy`: the house rules that no compiler knows. Each rule is a file; each finding names file, line and rule.

mod floors;
mod links;
mod names;
mod size;
mod source;
mod unsafety;
mod words;

use crate::Outcome;
use crate::tree::{Entry, files};
use source::Source;

/// Something that breaks a rule.
struct Finding {
    path: String,
    /// From 1; 0 for the file as a whole.
    line: usize,
    problem: String,
}

/// What the rules look at.
struct House {
    files: Vec<Entry>,
    /// Rust files, read once.
    sources: Vec<Source>,
}

type Rule = fn(&House, &mut Vec<Finding>);

const RULES: &[(&str, Rule)] = &[
    ("floors", floors::check),
    ("links", links::check),
    ("names", names::check),
    ("size", size::check),
    ("unsafety", unsafety::check),
    ("words", words::check),
];

pub(crate) fn run(arguments: &[String]) -> Outcome {
    if let Some(unknown) = arguments.first() {
        return Err(format!("tidy takes no argument, not {unknown:?}"));
    }
    let files = files();
    let rust = files.iter().filter(|f| f.suffix() == "rs");
    let sources: Vec<Source> = rust.filter_map(|f| Some(Source::new(&f.path, f.text()?))).collect();
    let house = House { files, sources };
    let mut count = 0;
    for (name, rule) in RULES {
        let mut findings = Vec::new();
        rule(&house, &mut findings);
        count += findings.len();
        for Finding { path, line, problem } in findings {
            println!("{path}:{line}: {problem} [{name}]");
        }
    }
    println!("tidy: {}", size::summary(&house));
    if count == 0 { Ok(()) } else { Err(format!("{count} findings")) }
}
