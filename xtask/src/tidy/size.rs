//! Files stay small enough to be read at once; fixtures small enough to be cloned.

use super::{Finding, House};

const MAX_LINES: usize = 1_000;
const MAX_FIXTURE: u64 = 256 << 10;
const MAX_FIXTURES: u64 = 10 << 20;
const MAX_FILE: u64 = 1 << 20;
/// Where larger files are expected: trained weights and pictures.
const LARGE: [&str; 2] = ["starter/", "docs/pictures/"];

pub(super) fn check(house: &House, findings: &mut Vec<Finding>) {
    for source in &house.sources {
        let lines = source.text.lines().count();
        if lines > MAX_LINES {
            let problem = format!("{lines} lines are more than {MAX_LINES}: two things live here");
            findings.push(Finding { path: source.path.clone(), line: 0, problem });
        }
    }
    let mut total = 0;
    for file in &house.files {
        let fixture = file.path.starts_with("fixtures/");
        total += if fixture { file.bytes } else { 0 };
        let limit = if fixture { MAX_FIXTURE } else { MAX_FILE };
        if file.bytes > limit && !LARGE.iter().any(|folder| file.path.starts_with(folder)) {
            let problem = format!("{} KiB are more than {}", file.bytes >> 10, limit >> 10);
            findings.push(Finding { path: file.path.clone(), line: 0, problem });
        }
    }
    if total > MAX_FIXTURES {
        let problem = format!("all fixtures together have {} MiB, more than {}", total >> 20, MAX_FIXTURES >> 20);
        findings.push(Finding { path: "fixtures".to_owned(), line: 0, problem });
    }
}

/// The spread of file lengths beside what the design asks for.
pub(super) fn summary(house: &House) -> String {
    let mut lines: Vec<usize> = house.sources.iter().map(|s| s.text.lines().count()).collect();
    lines.sort_unstable();
    let at = |part: usize| lines.get(lines.len() * part / 100).copied().unwrap_or(0);
    format!(
        "{} Rust files, {} lines; median {} (aim 200), nine of ten within {} (aim 500), longest {}",
        lines.len(),
        lines.iter().sum::<usize>(),
        at(50),
        at(90),
        lines.last().copied().unwrap_or(0)
    )
}
