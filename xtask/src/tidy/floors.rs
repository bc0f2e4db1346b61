//! A crate uses only crates on lower floors, or in a row below it on its own floor (DESIGN, section 2).

use super::{Finding, House};

/// From the ground up; a crate may use those before it.
const ORDER: [&str; 14] = [
    "kernels",
    "tensor",
    "checkpoints",
    "nn",
    "imaging",
    "sampling",
    "models",
    "pipelines",
    "training",
    "provenance",
    "services",
    "chat",
    "server",
    "danqing",
];

/// `(crate, must not use)`: seams that are stricter than the floors.
const SEAMS: [(&str, &str); 4] =
    [("sampling", "tensor"), ("sampling", "nn"), ("sampling", "checkpoints"), ("imaging", "tensor")];

pub(super) fn check(house: &House, findings: &mut Vec<Finding>) {
    for file in &house.files {
        let (name, aside) = match file.path.split('/').collect::<Vec<_>>().as_slice() {
            ["crates", name, "Cargo.toml"] => ((*name).to_owned(), *name == "testing"),
            ["xtask", "Cargo.toml"] => ("xtask".to_owned(), true),
            _ => continue,
        };
        let text = file.text().unwrap_or_default();
        let mut report = |line, problem| findings.push(Finding { path: file.path.clone(), line, problem });
        let place = ORDER.iter().position(|known| *known == name);
        if place.is_none() && !aside {
            report(0, format!("{name} stands on no floor: give it one in xtask/src/tidy/floors.rs and in DESIGN"));
        }
        if !text.contains("[lints]\nworkspace = true") {
            report(0, "the workspace's lints are not switched on: add [lints] workspace = true".to_owned());
        }
        for (line, section, used) in dependencies(&text) {
            let test_only = section.starts_with("dev-");
            let allowed = match ORDER.iter().position(|known| *known == used) {
                _ if used == "testing" => test_only,
                Some(other) => {
                    place.is_some_and(|place| other < place) && !SEAMS.contains(&(name.as_str(), used.as_str()))
                }
                None => false,
            };
            if !allowed {
                report(line, format!("{name} may not use {used} in [{section}]"));
            }
        }
    }
}

/// `(line, section, crate)` of every dependency on a crate of ours.
fn dependencies(text: &str) -> Vec<(usize, String, String)> {
    let mut section = String::new();
    let mut found = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            section = name.to_owned();
        } else if section.ends_with("dependencies")
            && let Some(rest) = line.strip_prefix("danqing-")
        {
            let name = rest.split(['.', ' ', '=']).next().unwrap_or_default();
            found.push((i + 1, section.clone(), name.to_owned()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #[test]
    fn dependencies_are_found_in_their_sections() {
        let text = "[dependencies]\ndanqing-tensor.workspace = true\nhalf = \"2\"\n[dev-dependencies]\ndanqing-testing = { path = \"x\" }\n";
        let found = super::dependencies(text);
        assert_eq!(found[0], (2, "dependencies".to_owned(), "tensor".to_owned()));
        assert_eq!(found[1], (5, "dev-dependencies".to_owned(), "testing".to_owned()));
    }
}
