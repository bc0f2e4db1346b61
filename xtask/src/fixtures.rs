//! `cargo xtask fixtures`: are the golden values as new as the scripts that make them.
//!
//! `fixtures/scripts.txt` holds, for each `reference/gen_*.py`, the hash that git gives the script's contents at the time
//! its values were made last.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use crate::Outcome;
use crate::process::{output, run as execute};
use crate::tree::{files, root};

const RECORD: &str = "fixtures/scripts.txt";

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] | ["--check"] => list(),
        ["--record", topics @ ..] => record(topics),
        ["--python", python, topics @ ..] => {
            for script in scripts(topics)? {
                execute(Command::new(python).arg(&script).current_dir(root()))?;
                record(&[&script])?;
            }
            Ok(())
        }
        _ => Err("usage: fixtures [--check | --python PATH [TOPIC]... | --record [TOPIC]...]".to_owned()),
    }
}

/// Fails when a script has changed since its values were made.
fn list() -> Outcome {
    let recorded = read_record();
    let mut stale = Vec::new();
    for script in scripts(&[])? {
        match recorded.get(&script) {
            Some(hash) if *hash == hash_of(&script)? => {}
            Some(_) => stale.push(format!("{script} has changed since its values were made")),
            None => stale.push(format!("{script} was never recorded")),
        }
    }
    if stale.is_empty() {
        return Ok(());
    }
    let mend = "make them again with `cargo xtask fixtures --python PATH TOPIC`, or record a change that changes no value with `--record TOPIC`";
    Err(format!("{} stale:\n  {}\n{mend}", stale.len(), stale.join("\n  ")))
}

fn record(topics: &[&str]) -> Outcome {
    let mut recorded = read_record();
    recorded.retain(|script, _| root().join(script).is_file());
    for script in scripts(topics)? {
        let hash = hash_of(&script)?;
        recorded.insert(script, hash);
    }
    let text: String = recorded.iter().map(|(script, hash)| format!("{hash} {script}\n")).collect();
    std::fs::write(root().join(RECORD), text).map_err(|e| format!("cannot write {RECORD}: {e}"))
}

/// The scripts of the topics (`sampling` or `reference/gen_sampling.py`), or all.
fn scripts(topics: &[&str]) -> Result<Vec<String>, String> {
    let all = files().into_iter().map(|f| f.path).filter(|p| p.starts_with("reference/gen_") && p.ends_with(".py"));
    let all: Vec<String> = all.collect();
    if topics.is_empty() {
        return Ok(all);
    }
    let path =
        |topic: &&str| if topic.ends_with(".py") { (*topic).to_owned() } else { format!("reference/gen_{topic}.py") };
    let wanted: Vec<String> = topics.iter().map(path).collect();
    match wanted.iter().find(|w| !all.contains(w)) {
        Some(missing) => Err(format!("there is no {missing}")),
        None => Ok(wanted),
    }
}

fn hash_of(script: &str) -> Result<String, String> {
    let hash = output(Command::new("git").arg("hash-object").arg(Path::new(script)).current_dir(root()))?;
    Ok(hash.trim().to_owned())
}

fn read_record() -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(root().join(RECORD)).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.map(|(hash, script)| (script.to_owned(), hash.to_owned())).collect()
}
