//! Links between the repository's pages lead somewhere.

use std::collections::BTreeSet;

use super::{Finding, House};

pub(super) fn check(house: &House, findings: &mut Vec<Finding>) {
    let mut known: BTreeSet<String> = BTreeSet::new();
    for file in &house.files {
        known.insert(file.path.clone());
        known.extend(file.path.match_indices('/').map(|(at, _)| file.path[..at].to_owned()));
    }
    for file in house.files.iter().filter(|f| f.suffix() == "md") {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for (i, line) in file.text().unwrap_or_default().lines().enumerate() {
            for target in targets(line) {
                if resolve(folder, target).is_none_or(|path| !path.is_empty() && !known.contains(&path)) {
                    let problem = format!("the link to {target:?} leads nowhere");
                    findings.push(Finding { path: file.path.clone(), line: i + 1, problem });
                }
            }
        }
    }
}

/// Targets of `[text](target)` on a line that are files: without addresses, anchors of the same page, and quoted code.
fn targets(line: &str) -> Vec<&str> {
    let prose = line.split('`').step_by(2);
    let links = prose.flat_map(|part| part.match_indices("](").map(move |(at, open)| &part[at + open.len()..]));
    let targets =
        links.filter_map(|rest| rest.split_once(')')).map(|(target, _)| target.split('#').next().unwrap_or(target));
    targets.filter(|t| !t.is_empty() && !t.contains("://") && !t.starts_with("mailto:")).collect()
}

/// The path from the root, or `None` when it leaves the repository.
fn resolve(folder: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|p| !p.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_taken_from_prose_only() {
        assert_eq!(targets("a [b](c.md#d) `[x](y)` [e](https://f) [g](#h) [i](../j/)"), ["c.md", "../j/"]);
        assert_eq!(resolve("docs/decisions", "../numerics.md").unwrap(), "docs/numerics.md");
        assert!(resolve("docs", "../../x").is_none());
    }
}
