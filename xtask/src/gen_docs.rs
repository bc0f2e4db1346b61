//! `cargo xtask gen`: reference pages that the program prints about itself, so that they cannot drift.

use crate::Outcome;
use crate::process::{cargo, output};
use crate::tree::root;

/// Page and the arguments with which the program prints it.
const PAGES: &[(&str, &[&str])] = &[
    ("docs/reference/commands.md", &["reference", "commands"]),
    ("docs/reference/samplers.md", &["reference", "samplers"]),
    ("docs/reference/settings.md", &["reference", "settings"]),
];

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let check = match arguments {
        [] => false,
        [flag] if flag == "--check" => true,
        _ => return Err("gen takes --check or nothing".to_owned()),
    };
    let mut stale = Vec::new();
    for (page, arguments) in PAGES {
        let mut command = cargo(&["run", "--quiet", "--package", "danqing", "--"]);
        let text = output(command.args(*arguments).env("LANG", "C.UTF-8"))?;
        let path = root().join(page);
        if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
            continue;
        }
        if check {
            stale.push(*page);
            continue;
        }
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
        }
        std::fs::write(&path, text).map_err(|e| format!("cannot write {page}: {e}"))?;
        println!("wrote {page}");
    }
    if stale.is_empty() {
        Ok(())
    } else {
        Err(format!("not as the program prints them: {}; run `cargo xtask gen`", stale.join(", ")))
    }
}
