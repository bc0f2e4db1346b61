//! Work on many pictures: which they are, one progress for all, a failure that leaves the others alone, a report.

mod files;
mod progress;
mod report;
mod rows;

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use danqing_imaging::remove_leftovers;
use danqing_pipelines::control::Control;
use danqing_pipelines::request::Phase;

pub(super) use files::{Job, Naming, is_medical, jobs, own_ending};
pub(super) use progress::Frame;
use progress::Share;
use report::{Entry, Outcome};
pub(super) use rows::rewrite;

use super::Invocation;
use crate::failure::Failure;
use crate::progress::Watch;

/// Width and height of a picture before and after.
pub(super) type Sizes = ((u32, u32), (u32, u32));

/// How a picture was written.
#[derive(Debug, Clone, Default)]
pub(super) struct Done {
    /// Before and after.
    pub(super) sizes: Sizes,
    /// The networks that worked on it, in their order.
    pub(super) networks: String,
    /// What the picture was seen to be, where that decided over the networks.
    pub(super) seen: String,
}

/// What a command does with one picture.
pub(super) type Work<'a> = &'a dyn Fn(&Job, &dyn Control) -> Result<Done, Failure>;

/// Does the work on every picture and writes the report that `--report` names, once what killed runs left in the results' folders is
/// taken away; results that are there are left alone with
/// `--skip-existing`.
///
/// # Errors
/// When the user stops it, or pictures failed: what each failed of was said before.
pub(super) fn run(
    invocation: &Invocation,
    watch: &Watch,
    jobs: &[Job],
    phase: Phase,
    work: Work<'_>,
) -> Result<(), Failure> {
    let messages = invocation.messages();
    let folders: BTreeSet<&Path> = jobs.iter().filter_map(|job| job.to.parent()).collect();
    for folder in folders {
        // The name of a file in the working folder has an empty parent.
        remove_leftovers(if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    }
    let weight = |job: &Job| std::fs::metadata(&job.from).map_or(1, |file| file.len().max(1));
    let share = Share::new(watch, jobs.iter().map(weight).sum());
    watch.begin(phase);
    let mut entries = Vec::with_capacity(jobs.len());
    let mut stopped = None;
    for (i, job) in jobs.iter().enumerate() {
        if jobs.len() > 1 {
            watch.picture(format!("{}/{} ", i + 1, jobs.len()));
        }
        share.begin(weight(job));
        let entry = one(invocation, watch, job, &share, work);
        share.end();
        match entry {
            Ok(entry) => entries.push(entry),
            Err(failure) => {
                stopped = Some(failure);
                break;
            }
        }
    }
    watch.finish();
    if let Some(path) = invocation.path("report") {
        report::write(path, &entries)?;
    }
    if let Some(failure) = stopped {
        return Err(failure);
    }
    let mut failures = entries.into_iter().filter_map(|entry| match entry.outcome {
        Outcome::Failed(why) => Some(why),
        _ => None,
    });
    match (failures.next(), failures.count()) {
        (None, _) => Ok(()),
        (Some(why), _) if jobs.len() == 1 => Err(Failure::Failed(why)),
        (Some(_), others) => Err(Failure::Failed(messages.some_failed(others + 1, jobs.len()))),
    }
}

/// One picture, and what became of it.
///
/// # Errors
/// Only what ends the batch: that the user stopped it, or asked for what makes no sense.
fn one(
    invocation: &Invocation,
    watch: &Watch,
    job: &Job,
    control: &dyn Control,
    work: Work<'_>,
) -> Result<Entry, Failure> {
    let began = Instant::now();
    let messages = invocation.messages();
    let to = job.to.display().to_string();
    let (done, outcome) = if invocation.is("skip-existing") && job.to.exists() {
        watch.say(&messages.already_there(&to));
        (None, Outcome::Skipped)
    } else {
        match work(job, control) {
            Ok(done) => {
                watch.say(&messages.wrote(&to, done.sizes.1, None, None));
                (Some(done), Outcome::Written)
            }
            Err(Failure::Failed(why)) => {
                // With one picture the reason is the command's own.
                if watch.has_prefix() {
                    watch.complain(&messages.error(&format!("{}: {why}", job.from.display())));
                }
                (None, Outcome::Failed(why))
            }
            Err(failure) => return Err(failure),
        }
    };
    Ok(Entry { job: job.clone(), done, seconds: began.elapsed().as_secs_f64(), outcome })
}
