//! Tables for the documentation, made from the static lists.

use std::fmt::Write;

use crate::guidance::GUIDANCE;
use crate::samplers::SAMPLERS;
use crate::schedules::SCHEDULES;

/// The whole page: samplers, schedules, guidance.
pub fn reference_page() -> String {
    format!(
        "# Samplers, schedules, guidance\n\n## Samplers\n\n{}\n## Schedules\n\n{}\n## Guidance\n\n{}",
        samplers_markdown(),
        schedules_markdown(),
        guidance_markdown()
    )
}

/// All samplers, as a Markdown table.
pub fn samplers_markdown() -> String {
    let mut rows = String::from(
        "| id | name | also called | order | evaluations per step | noise | paper |\n|---|---|---|---|---|---|---|\n",
    );
    for spec in SAMPLERS.iter().map(|sampler| sampler.spec()) {
        let noise = if spec.uses_noise { "yes" } else { "no" };
        let (also, order, evaluations) = (codes(spec.aliases), spec.order, spec.evaluations);
        row(
            &mut rows,
            format_args!("`{}` | {} | {also} | {order} | {evaluations} | {noise} | {}", spec.id, spec.name, spec.paper),
        );
    }
    rows
}

/// All schedules, as a Markdown table.
pub fn schedules_markdown() -> String {
    let mut rows = String::from("| id | name | also called | paper |\n|---|---|---|---|\n");
    for spec in SCHEDULES.iter().map(|schedule| schedule.spec()) {
        row(&mut rows, format_args!("`{}` | {} | {} | {}", spec.id, spec.name, codes(spec.aliases), spec.paper));
    }
    rows
}

/// All kinds of guidance, as a Markdown table.
pub fn guidance_markdown() -> String {
    let mut rows = String::from("| id | name | also called | default scale | paper |\n|---|---|---|---|---|\n");
    for spec in GUIDANCE.iter().map(|guidance| guidance.spec()) {
        let (also, scale) = (codes(spec.aliases), spec.default_scale);
        row(&mut rows, format_args!("`{}` | {} | {also} | {scale} | {}", spec.id, spec.name, spec.paper));
    }
    rows
}

fn row(rows: &mut String, cells: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    let _ = writeln!(rows, "| {cells} |");
}

fn codes(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_has_all_columns() {
        for (table, rows) in [
            (samplers_markdown(), SAMPLERS.len()),
            (schedules_markdown(), SCHEDULES.len()),
            (guidance_markdown(), GUIDANCE.len()),
        ] {
            let columns = table.lines().next().unwrap().matches('|').count();
            assert!(table.lines().all(|line| line.matches('|').count() == columns), "{table}");
            assert_eq!(table.lines().count(), rows + 2);
        }
    }
}
