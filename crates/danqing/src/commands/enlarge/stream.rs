//! Frames from a pipe into a pipe: one is read and one written while another is enlarged, and none is kept.

use std::io::{BufReader, BufWriter, Write, stdin, stdout};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{scope, spawn};
use std::time::{Duration, Instant};

use danqing_imaging::video::VideoHeader;
use danqing_imaging::{DecodeLimits, ImagingError};
use danqing_pipelines::TaskError;
use danqing_pipelines::control::Control;
use danqing_pipelines::request::Event;
use danqing_pipelines::tasks::enlarge::{EnlargeOptions, Enlargement, Link};

use super::networks::{Look, Networks};
use crate::commands::Invocation;
use crate::failure::Failure;
use crate::progress::{Watch, catch_interrupts, interrupted};

/// Frames that may wait before and behind the networks.
const WAITING: usize = 2;
/// How often the speed is told.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// Stops at Ctrl-C and tells nothing of single tiles.
struct Silent;

impl Control for Silent {
    fn event(&self, _: Event) {}

    fn stopped(&self) -> bool {
        interrupted()
    }
}

pub(super) fn run(invocation: &Invocation, kind: &str, options: &EnlargeOptions) -> Result<(), Failure> {
    let messages = invocation.messages();
    let limits = DecodeLimits::default();
    let mut input = BufReader::with_capacity(1 << 20, stdin());
    catch_interrupts(messages)?;
    let watch = Watch::new(invocation.language, invocation.is("quiet"), None, false);
    if invocation.is("auto") {
        return Err(Failure::Usage(messages.not_both("--stream", "--auto")));
    }
    let networks = Networks::open(invocation, &watch, options.size)?;
    let header = match (kind, size_of(kind)) {
        ("y4m", _) => VideoHeader::read(&mut input, &limits),
        (_, Some((width, height))) => VideoHeader::rgb24(width, height, &limits),
        _ => return Err(Failure::Usage(messages.bad_stream(kind))),
    };
    let header = header.map_err(|e| Failure::of(&e))?;
    if networks.restores_faces() {
        return Err(Failure::Usage(messages.not_both("--stream", "--face")));
    }
    let chain = networks.chain((header.width, header.height), None, &Look::Video)?;
    let links = chain.parts().concat();
    let (width, height) = chain.to;
    limits.check_size(width, height).map_err(|e| Failure::of(&e))?;
    let result = header.resized(width, height);
    let work = Work { header: &header, result: &result, links: &links, options };
    let told = |frames: u64, began: Instant| {
        let seconds = began.elapsed().as_secs_f64().max(1e-3);
        watch.say(&messages.frames(frames, frames as f64 / seconds));
    };
    match work.run(input, &told) {
        Ok(()) => Ok(()),
        Err(Ended::Task(error @ TaskError::Stopped)) => Err(Failure::Stopped(messages.task_error(&error))),
        Err(Ended::Task(error)) => Err(Failure::Failed(messages.task_error(&error))),
        Err(Ended::Output(error)) => Err(Failure::Failed(messages.broken_stream(&error.to_string()))),
    }
}

/// `WIDTHxHEIGHT`.
fn size_of(kind: &str) -> Option<(u32, u32)> {
    let (width, height) = kind.split_once(['x', 'X', '×'])?;
    Some((width.parse().ok()?, height.parse().ok()?))
}

/// Why a stream ended before its end.
enum Ended {
    Task(TaskError),
    Output(std::io::Error),
}

impl From<TaskError> for Ended {
    fn from(error: TaskError) -> Self {
        Self::Task(error)
    }
}

struct Work<'a> {
    header: &'a VideoHeader,
    result: &'a VideoHeader,
    links: &'a [Link<'a>],
    options: &'a EnlargeOptions,
}

impl Work<'_> {
    fn run(&self, input: BufReader<std::io::Stdin>, told: &dyn Fn(u64, Instant)) -> Result<(), Ended> {
        let (to_networks, frames) = sync_channel(WAITING);
        let (to_output, enlarged) = sync_channel(WAITING);
        // Nobody waits for the reader: it may hang at a pipe that gives nothing more.
        let header = self.header.clone();
        spawn(move || read(&header, input, &to_networks));
        scope(|scope| {
            let writer = scope.spawn(move || write(self.result, self.header.height, &enlarged));
            let outcome = self.enlarge(&frames, &to_output, told);
            drop(to_output);
            let written = writer.join().unwrap_or_else(|_| Err(std::io::Error::other("its thread stopped")));
            match (outcome, written) {
                (_, Err(error)) => Err(Ended::Output(error)),
                (outcome, Ok(())) => outcome,
            }
        })
    }

    fn enlarge(
        &self,
        frames: &Receiver<Result<Vec<f32>, ImagingError>>,
        to_output: &SyncSender<Vec<f32>>,
        told: &dyn Fn(u64, Instant),
    ) -> Result<(), Ended> {
        let (began, mut last, mut count) = (Instant::now(), Instant::now(), 0);
        let size = |header: &VideoHeader| (header.width, header.height);
        let values_in_all = self.result.width as usize * self.result.height as usize * 3;
        for frame in frames {
            if interrupted() {
                return Err(TaskError::Stopped.into());
            }
            let colours = frame.map_err(TaskError::from)?;
            let mut values = Vec::with_capacity(values_in_all);
            let mut enlargement = Enlargement::new(self.links, size(self.header), size(self.result), 3, self.options)?;
            for row in colours.chunks_exact(self.header.width as usize * 3) {
                enlargement.push(row, &Silent, &mut |line| {
                    values.extend_from_slice(line);
                    Ok(())
                })?;
            }
            if to_output.send(values).is_err() {
                // The writer has stopped, and says why.
                return Ok(());
            }
            count += 1;
            if last.elapsed() >= TELL_EVERY {
                told(count, began);
                last = Instant::now();
            }
        }
        told(count, began);
        Ok(())
    }
}

/// Reads frames and brings them to RGB, beside the networks.
fn read(
    header: &VideoHeader,
    mut input: BufReader<std::io::Stdin>,
    to_networks: &SyncSender<Result<Vec<f32>, ImagingError>>,
) {
    let mut frame = Vec::new();
    loop {
        let read = match header.read_frame(&mut input, &mut frame) {
            Ok(false) => return,
            Ok(true) => Ok(header.to_unit_f32(&frame)),
            Err(error) => Err(error),
        };
        let failed = read.is_err();
        if to_networks.send(read).is_err() || failed {
            return;
        }
    }
}

/// Writes RGB as frames whose colours are those of frames `matrix_height` high.
fn write(header: &VideoHeader, matrix_height: u32, frames: &Receiver<Vec<f32>>) -> std::io::Result<()> {
    let mut output = BufWriter::with_capacity(1 << 20, stdout().lock());
    header.write(&mut output)?;
    let mut bytes = Vec::new();
    for values in frames {
        header.from_unit_f32(&values, matrix_height, &mut bytes).map_err(std::io::Error::other)?;
        header.write_frame(&mut output, &bytes)?;
        // Whoever looks at the other end sees each frame when it is done.
        output.flush()?;
    }
    output.flush()
}
