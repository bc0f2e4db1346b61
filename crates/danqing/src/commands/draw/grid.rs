//! `--grid steps=10,20;guidance=4,7`: the same picture with different settings, side by side.

use std::ffi::OsStr;

use danqing_pipelines::request::DrawRequest;

use super::options;
use super::wish::turn;
use crate::arguments::Value;
use crate::commands::Invocation;
use crate::failure::Failure;

/// Options that can be compared.
pub(super) const KEYS: &[&str] = &[
    "steps",
    "sampler",
    "schedule",
    "guidance",
    "guidance-rescale",
    "eta",
    "clip-skip",
    "seed",
    "strength",
    "variation-strength",
    "hires-strength",
    "dialect",
    "emphasis",
    "noise",
    "order",
];
/// Most pictures on a sheet.
const MOST: usize = 400;

/// One option and the values to compare.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    pub(super) key: &'static str,
    pub(super) values: Vec<(String, Value)>,
}

impl Axis {
    /// What stands beside the pictures.
    pub(super) fn titles(&self) -> Vec<String> {
        self.values.iter().map(|(text, _)| format!("{} {text}", self.key)).collect()
    }
}

/// Columns and rows of the sheet.
///
/// # Errors
/// A key that cannot be compared, a value that does not fit, or more than two axes.
pub(super) fn axes(invocation: &Invocation) -> Result<Option<[Axis; 2]>, Failure> {
    let Some(wish) = invocation.text("grid") else { return Ok(None) };
    let refuse = || Failure::Usage(invocation.messages().bad_grid(wish, KEYS));
    let mut axes = Vec::new();
    for part in wish.split(';').map(str::trim).filter(|p| !p.is_empty()) {
        let (key, list) = part.split_once('=').ok_or_else(refuse)?;
        let key = KEYS.iter().find(|k| **k == key.trim()).ok_or_else(refuse)?;
        let argument = options::find(key).ok_or_else(refuse)?;
        let mut values = Vec::new();
        for text in list.split(',').map(str::trim) {
            let read = argument.kind.parse(OsStr::new(text));
            let about = format!("--grid {key}");
            let value = read.map_err(|c| Failure::Usage(c.about(&about, invocation.language)))?;
            values.push((text.to_owned(), value));
        }
        axes.push(Axis { key, values });
    }
    let mut axes = axes.into_iter();
    let (Some(columns), rows, None) = (axes.next(), axes.next(), axes.next()) else { return Err(refuse()) };
    let rows = rows.unwrap_or(Axis { key: "", values: Vec::new() });
    if columns.values.len() * rows.values.len().max(1) > MOST {
        return Err(refuse());
    }
    Ok(Some([columns, rows]))
}

/// The request of every cell, row by row.
pub(super) fn cells(request: &DrawRequest, [columns, rows]: &[Axis; 2]) -> Vec<DrawRequest> {
    let mut cells = Vec::new();
    for row in 0..rows.values.len().max(1) {
        for (_, value) in &columns.values {
            let mut cell = request.clone();
            cell.batch_size = 1;
            turn(&mut cell, columns.key, value);
            if let Some((_, value)) = rows.values.get(row) {
                turn(&mut cell, rows.key, value);
            }
            cells.push(cell);
        }
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_an_option_and_turns_something() {
        for key in KEYS {
            assert!(options::find(key).is_some(), "{key}");
        }
        let count = |values: &[u64]| values.iter().map(|n| (n.to_string(), Value::Count(*n))).collect();
        let axes = [Axis { key: "steps", values: count(&[10, 20]) }, Axis { key: "seed", values: count(&[1, 2, 3]) }];
        let cells = cells(&DrawRequest::default(), &axes);
        let turned: Vec<_> = cells.iter().map(|c| (c.steps.unwrap(), c.seed)).collect();
        assert_eq!(turned, [(10, 1), (20, 1), (10, 2), (20, 2), (10, 3), (20, 3)]);
    }
}
