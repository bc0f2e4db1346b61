//! `unsafe` lives in the kernels and in the memory map, and every use of it says why it is sound.

use std::ops::Range;

use super::source::{Source, has_word};
use super::{Finding, House};

const PLACES: [&str; 2] = ["crates/kernels/", "crates/checkpoints/src/blob.rs"];

pub(super) fn check(house: &House, findings: &mut Vec<Finding>) {
    for source in &house.sources {
        let promised = promised_ranges(source);
        let allowed = PLACES.iter().any(|place| source.path.starts_with(place));
        for (line, code) in source.code_lines() {
            if !has_word(code, "unsafe") {
                continue;
            }
            let problem = if !allowed {
                "unsafe code lives only in the kernels and the memory map"
            } else if makes_promise(code)
                && !promised.iter().any(|range| range.contains(&line))
                && !is_explained(source, line)
            {
                "unsafe without a `// SAFETY:` line above it"
            } else {
                continue;
            };
            findings.push(Finding { path: source.path.clone(), line, problem: problem.to_owned() });
        }
    }
}

/// A block or an impl: the places where the promise is made. An `unsafe fn` hands it to its caller.
fn makes_promise(code: &str) -> bool {
    code.match_indices("unsafe").any(|(at, word)| {
        let rest = code[at + word.len()..].trim_start();
        rest.is_empty() || rest.starts_with('{') || rest.starts_with("impl")
    })
}

/// Lines under one promise: a file or an item that switches clippy's rule off and says why, by `reason` or `SAFETY:`.
fn promised_ranges(source: &Source) -> Vec<Range<usize>> {
    let lines: Vec<&str> = source.text.lines().collect();
    let mut ranges = Vec::new();
    for (at, line) in lines.iter().enumerate().filter(|(_, line)| line.contains("clippy::undocumented_unsafe_blocks")) {
        let near = &lines[at.saturating_sub(3)..(at + 2).min(lines.len())];
        if !near.iter().any(|l| l.contains("SAFETY:") || l.contains("reason = ")) {
            continue;
        }
        if near.iter().any(|l| l.starts_with("#![")) {
            ranges.push(1..lines.len() + 1);
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let closes =
            |l: &&str| l.trim_end().strip_suffix('}').is_some_and(|i| i.len() <= indent && i.trim().is_empty());
        let end = lines[at..].iter().position(closes).map_or(lines.len(), |n| at + n);
        ranges.push(at + 1..end + 1);
    }
    ranges
}

/// The reason stands on the line itself, or in the comment above the statement, which may have begun some lines earlier.
fn is_explained(source: &Source, line: usize) -> bool {
    let lines: Vec<&str> = source.text.lines().collect();
    let reason = |text: &str| text.contains("SAFETY:");
    if reason(lines[line - 1]) {
        return true;
    }
    let above = lines[..line - 1].iter().rev().take(12);
    let mut commented = false;
    for text in above {
        let text = text.trim();
        if reason(text) {
            return true;
        }
        if text.starts_with("//") || text.starts_with("#[") {
            commented = true;
        } else if commented || text.ends_with([';', '}']) || text.is_empty() {
            return false;
        }
    }
    false
}
