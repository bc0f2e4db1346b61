//! Modules are named by their concept, and begin by saying what they are.

use super::{Finding, House};

const FORBIDDEN: [&str; 8] = ["utils", "util", "common", "helpers", "helper", "misc", "core", "manager"];

pub(super) fn check(house: &House, findings: &mut Vec<Finding>) {
    for source in &house.sources {
        let mut report = |line, problem| findings.push(Finding { path: source.path.clone(), line, problem });
        let parts = source.path.trim_end_matches(".rs").split('/');
        if let Some(bad) = parts.into_iter().find(|part| FORBIDDEN.contains(part)) {
            report(0, format!("{bad:?} says nothing: name the concept, or put the code with its user"));
        }
        for (line, code) in source.code_lines() {
            let inline = code.trim_start().trim_start_matches("pub ").strip_prefix("mod ");
            let name = inline.and_then(|rest| rest.split([' ', '{', ';']).next());
            if let Some(bad) = name.filter(|name| FORBIDDEN.contains(name)) {
                report(line, format!("module {bad:?} says nothing: name the concept"));
            }
        }
        if !source.text.starts_with("//!") {
            report(1, "the file does not begin with `//!` and what it is".to_owned());
        }
    }
}
