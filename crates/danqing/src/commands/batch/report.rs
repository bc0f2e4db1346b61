//! What became of every picture of a batch, for people's spreadsheets and for programs.

use std::path::Path;

use danqing_imaging::write_atomic;
use serde_json::json;

use super::{Done, Job};
use crate::failure::Failure;

/// What became of one picture.
pub(in crate::commands) struct Entry {
    /// The picture and its result.
    pub(in crate::commands) job: Job,
    /// How it was written, if it was.
    pub(in crate::commands) done: Option<Done>,
    /// Seconds that it took.
    pub(in crate::commands) seconds: f64,
    /// What happened.
    pub(in crate::commands) outcome: Outcome,
}

/// How it ended.
pub(in crate::commands) enum Outcome {
    /// The result is there.
    Written,
    /// The result was there before.
    Skipped,
    /// Why there is none.
    Failed(String),
}

impl Outcome {
    fn word(&self) -> &'static str {
        match self {
            Self::Written => "written",
            Self::Skipped => "skipped",
            Self::Failed(_) => "failed",
        }
    }

    fn why(&self) -> &str {
        match self {
            Self::Failed(why) => why,
            _ => "",
        }
    }
}

/// Writes the report as the ending of `path` asks: CSV, or else JSON.
///
/// # Errors
/// When the file cannot be written.
pub(in crate::commands) fn write(path: &Path, entries: &[Entry]) -> Result<(), Failure> {
    let csv = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
    let text = if csv { as_csv(entries) } else { as_json(entries) };
    write_atomic(path, text.as_bytes()).map_err(|e| Failure::of(&e))
}

fn as_json(entries: &[Entry]) -> String {
    let value: Vec<_> = entries
        .iter()
        .map(|entry| {
            let size = |(w, h): (u32, u32)| json!({ "width": w, "height": h });
            json!({
                "from": entry.job.from.to_string_lossy(),
                "to": entry.job.to.to_string_lossy(),
                "outcome": entry.outcome.word(),
                "error": matches!(entry.outcome, Outcome::Failed(_)).then(|| entry.outcome.why()),
                "size": entry.done.as_ref().map(|done| size(done.sizes.0)),
                "result": entry.done.as_ref().map(|done| size(done.sizes.1)),
                "networks": entry.done.as_ref().map(|done| &done.networks),
                "seen": entry.done.as_ref().map(|done| &done.seen),
                "seconds": (entry.seconds * 1000.0).round() / 1000.0,
            })
        })
        .collect();
    format!("{:#}\n", serde_json::Value::Array(value))
}

/// RFC 4180, with a mark that tells spreadsheets that it is UTF-8.
fn as_csv(entries: &[Entry]) -> String {
    let mut out =
        String::from("\u{feff}from,to,outcome,width,height,result width,result height,networks,seen,seconds,error\r\n");
    for Entry { job, done, seconds, outcome } in entries {
        let sides = done.as_ref().map_or_else(
            || ",,,,,".into(),
            |Done { sizes: ((a, b), (c, d)), networks, seen }| {
                format!("{a},{b},{c},{d},{},{}", quoted(networks), quoted(seen))
            },
        );
        let (from, to) = (job.from.to_string_lossy(), job.to.to_string_lossy());
        let line = format!(
            "{},{},{},{sides},{seconds:.3},{}\r\n",
            quoted(&from),
            quoted(&to),
            outcome.word(),
            quoted(outcome.why())
        );
        out.push_str(&line);
    }
    out
}

fn quoted(text: &str) -> String {
    // A spreadsheet takes these for the beginning of a formula.
    let text = if text.starts_with(['=', '+', '-', '@']) { format!("'{text}") } else { text.to_owned() };
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<Entry> {
        let job = |from: &str| Job { from: from.into(), to: "out.png".into() };
        let done = Done { sizes: ((2, 3), (4, 6)), networks: "clean + x2".into(), seen: "photograph, noise 3".into() };
        vec![
            Entry { job: job("a, b.png"), done: Some(done), seconds: 1.25, outcome: Outcome::Written },
            Entry { job: job("=x.png"), done: None, seconds: 0.0, outcome: Outcome::Failed("no \"PNG\"".into()) },
        ]
    }

    #[test]
    fn reports_can_be_read_by_spreadsheets_and_programs() {
        let csv = as_csv(&entries());
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines[1], "\"a, b.png\",out.png,written,2,3,4,6,clean + x2,\"photograph, noise 3\",1.250,");
        assert_eq!(lines[2], "'=x.png,out.png,failed,,,,,,,0.000,\"no \"\"PNG\"\"\"");
        let json: serde_json::Value = serde_json::from_str(&as_json(&entries())).unwrap();
        assert_eq!(json[0]["result"]["height"], 6);
        assert_eq!(json[1]["error"], "no \"PNG\"");
        assert!(json[0]["error"].is_null());
    }
}
