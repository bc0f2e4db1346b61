//! Decoding a stranger's file in a process of its own, which may crash, hang or eat memory without harm to this one.
//!
//! The parent starts a program (usually itself, with a hidden argument that makes it call [`serve`]), hands it the bytes
//! through its standard input and reads pixels from its standard output. What comes back is checked as if it came from a
//! stranger too: a decoder that was taken over can lie about a picture, not reach past this function.

mod wire;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use crate::{DecodeLimits, DeepPicture, ImagingError, decode_deep};

/// What a child may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildLimits {
    /// Limits of the picture; [`DecodeLimits::max_time`] ends the child.
    pub decode: DecodeLimits,
    /// Most memory in bytes, on systems that can limit it (not on Windows): the program itself, the file, the pixels and
    /// the decoder's own.
    pub memory: u64,
}

impl Default for ChildLimits {
    /// A server's limits, 2 GiB.
    fn default() -> Self {
        Self { decode: DecodeLimits::server(), memory: 2 << 30 }
    }
}

/// Decodes `bytes` in a child process: `program` with `arguments` must call [`serve`] and nothing else.
///
/// # Errors
/// Those of [`decode_deep`]; [`ImagingError::TooLarge`] when the time is up; [`ImagingError::Damaged`] when the child
/// crashed or took more memory than allowed; [`ImagingError::Child`] when it cannot be started or talks nonsense.
pub fn decode(
    program: &Path,
    arguments: &[&str],
    bytes: &[u8],
    limits: &ChildLimits,
) -> Result<DeepPicture, ImagingError> {
    limits.decode.check_file(bytes.len() as u64)?;
    let mut command = Command::new(program);
    // Nothing of the parent's surroundings is of use to a decoder.
    command.args(arguments).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(|e| failed(format!("cannot start {}: {e}", program.display())))?;
    let answer = converse(&mut child, bytes, limits);
    // Whatever happened, nothing is left running.
    let _ = child.kill();
    let status = child.wait();
    match answer {
        Ok(answer) => answer,
        Err(Silence::TimeUp) => {
            let limit = limits.decode.max_time.as_secs();
            Err(ImagingError::TooLarge { what: "seconds of decoding", found: limit + 1, limit })
        }
        Err(Silence::Ended) => Err(ended(status.ok())),
        Err(Silence::Nonsense(what)) => Err(failed(what)),
    }
}

/// Why no answer came.
enum Silence {
    TimeUp,
    Ended,
    Nonsense(String),
}

type Answer = Result<DeepPicture, ImagingError>;

fn converse(child: &mut Child, bytes: &[u8], limits: &ChildLimits) -> Result<Answer, Silence> {
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(Silence::Nonsense("its streams are missing".to_owned()));
    };
    let (sender, receiver) = channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A child that refuses early does not read to the end: its answer counts, not the broken pipe.
            let _ = wire::write_request(&mut input, bytes, limits).and_then(|()| input.flush());
        });
        let decode = limits.decode;
        scope.spawn(move || {
            // The receiver is gone only when the time is up.
            let _ = sender.send(wire::read_answer(&mut output.take(wire::longest_answer(&decode)), &decode));
        });
        // Starting a process takes time too, which is not the decoder's.
        let patience = limits.decode.max_time.saturating_add(Duration::from_millis(500));
        let answer = match receiver.recv_timeout(patience) {
            Ok(answer) => answer.map_err(|e| match e.kind() {
                std::io::ErrorKind::InvalidData => Silence::Nonsense(e.to_string()),
                _ => Silence::Ended,
            }),
            Err(RecvTimeoutError::Timeout) => Err(Silence::TimeUp),
            Err(RecvTimeoutError::Disconnected) => Err(Silence::Ended),
        };
        // Both threads wait for the child's streams, which end with it.
        let _ = child.kill();
        answer
    })
}

fn ended(status: Option<ExitStatus>) -> ImagingError {
    let how = status.map_or_else(|| "for an unknown reason".to_owned(), |status| format!("({status})"));
    ImagingError::damaged("unknown", format!("its decoder crashed or ran out of the memory it may take {how}"))
}

fn failed(reason: String) -> ImagingError {
    ImagingError::Child { reason }
}

/// The child's side: reads one file from `input`, decodes it within the limits that came with it, writes the pixels or
/// the reason for having none. Keeps itself to the memory it may take, where the system can.
///
/// # Errors
/// [`ImagingError::Child`] when the streams break: there is nobody left to tell.
pub fn serve(input: &mut impl Read, output: &mut impl Write) -> Result<(), ImagingError> {
    let broken = |e: std::io::Error| failed(e.to_string());
    let (limits, length) = wire::read_request(input).map_err(broken)?;
    limit_memory(limits.memory);
    let answer = limits.decode.check_file(length).and_then(|()| {
        let mut bytes = Vec::new();
        input.take(length).read_to_end(&mut bytes).map_err(broken)?;
        decode_deep(&bytes, &limits.decode)
    });
    wire::write_answer(output, &answer).and_then(|()| output.flush()).map_err(broken)
}

#[cfg(unix)]
fn limit_memory(bytes: u64) {
    let limit = rustix::process::Rlimit { current: Some(bytes), maximum: Some(bytes) };
    // Where the limit is lower already, that one holds.
    let _ = rustix::process::setrlimit(rustix::process::Resource::As, limit);
}

#[cfg(not(unix))]
fn limit_memory(_bytes: u64) {}
