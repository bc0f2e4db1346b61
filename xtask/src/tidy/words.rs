//! What must not stand anywhere in the repository.

use super::source::has_word;
use super::{Finding, House};

/// Words of unfinished work; written in two parts so that this file does not find itself.
const UNFINISHED: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
    concat!("allow(dead", "_code)"),
    concat!("dbg", "!("),
];

/// Places of one machine or of package registries.
const PLACES: [&str; 5] = [
    concat!("/", "work/"),
    concat!("py", "pi.org"),
    concat!("python", "hosted.org"),
    concat!("registry.", "npmjs.org"),
    concat!("static.", "crates.io"),
];

const TEXTS: [&str; 12] = ["rs", "py", "sh", "md", "toml", "yml", "yaml", "json", "txt", "ts", "html", "run"];

pub(super) fn check(house: &House, findings: &mut Vec<Finding>) {
    for file in house.files.iter().filter(|f| TEXTS.contains(&f.suffix())) {
        let Some(text) = file.text() else { continue };
        let prose = matches!(file.suffix(), "md" | "json" | "txt" | "html");
        for (i, line) in text.lines().enumerate() {
            let unfinished = UNFINISHED.iter().find(|word| !prose && appears(line, word));
            let place = PLACES.iter().find(|place| line.contains(**place));
            let problem = match (unfinished, place) {
                (Some(word), _) => format!("{word:?}: finish it, or write it down in docs/shortcomings.md"),
                (_, Some(place)) => format!("{place:?} means something on one machine only"),
                _ => continue,
            };
            findings.push(Finding { path: file.path.clone(), line: i + 1, problem });
        }
    }
}

fn appears(line: &str, word: &str) -> bool {
    if word.ends_with(|c: char| c.is_alphanumeric()) { has_word(line, word) } else { line.contains(word) }
}
