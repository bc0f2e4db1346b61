//! `cargo xtask stream`: whether a long video leaves `danqing enlarge --stream` as small as it was at its beginning.
//!
//! Small frames go through the program's pipes; after a hundred, a thousand and so on its memory is read from `/proc`.

use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};

use crate::Outcome;
use crate::tree::root;

const WIDTH: usize = 96;
const HEIGHT: usize = 64;
/// What the peak may grow by after the first thousand frames (or the first look), in KiB: half a kilobyte kept of every frame would be more.
const ALLOWED: u64 = 4 << 10;

struct Wish {
    program: PathBuf,
    network: PathBuf,
    frames: usize,
}

/// Memory of the process, in KiB.
struct Memory {
    frames: usize,
    peak: u64,
    now: u64,
}

pub(crate) fn run(arguments: &[String]) -> Outcome {
    let wish = wish(arguments)?;
    let mut command = Command::new(&wish.program);
    command.args(["enlarge", "--stream", "y4m", "--quiet", "--upscaler"]).arg(&wish.network);
    let name = wish.program.display();
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().map_err(|e| {
            format!("{name}: {e}; build it with `cargo build --release`, or name another with --program")
        })?;
    let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
        return Err("the program has no pipes".to_owned());
    };
    let (id, frames) = (child.id(), wish.frames);
    let writer = std::thread::spawn(move || give(stdin, frames));
    let looked = take(stdout, id, frames);
    if looked.is_err() {
        // It may wait for frames that nobody writes any more.
        let _ = child.kill();
    }
    let given = writer.join().map_err(|_| "the thread that writes frames panicked".to_owned())?;
    let status = child.wait().map_err(|e| e.to_string())?;
    let looks = looked?;
    given.map_err(|e| format!("{name} does not take all frames: {e}"))?;
    if !status.success() {
        return Err(format!("{name} ended with {status}"));
    }
    judge(&looks)
}

fn wish(arguments: &[String]) -> Result<Wish, String> {
    let mut wish = Wish {
        program: root().join("target/release/danqing"),
        network: root().join("fixtures/corpus/graphdef/sound.pb"),
        frames: 10_000,
    };
    let mut line = arguments.iter();
    while let Some(word) = line.next() {
        let value = line.next().ok_or_else(|| format!("{word} needs a value"))?;
        match word.as_str() {
            "--program" => wish.program = value.into(),
            "--network" => wish.network = value.into(),
            "--frames" => wish.frames = value.parse().map_err(|_| format!("{value} is no number of frames"))?,
            _ => return Err(format!("there is no option {word}; it takes --program, --network and --frames")),
        }
    }
    if wish.frames < 100 { Err("fewer than 100 frames say nothing".to_owned()) } else { Ok(wish) }
}

/// Writes frames of stripes that move.
fn give(pipe: ChildStdin, frames: usize) -> std::io::Result<()> {
    let mut out = BufWriter::new(pipe);
    writeln!(out, "YUV4MPEG2 W{WIDTH} H{HEIGHT} F25:1 Ip A1:1 C420jpeg")?;
    let (colours, size) = (WIDTH * HEIGHT, WIDTH * HEIGHT * 3 / 2);
    let mut frame = vec![128u8; size];
    for number in 0..frames {
        for (i, value) in frame[..colours].iter_mut().enumerate() {
            *value = (16 + (3 * (i % WIDTH) + 5 * (i / WIDTH) + 7 * number) % 220) as u8;
        }
        out.write_all(b"FRAME\n")?;
        out.write_all(&frame)?;
    }
    out.flush()
}

/// Reads all frames, looking at the process after 100, 1,000, … and after the last.
fn take(pipe: impl Read, id: u32, frames: usize) -> Result<Vec<Memory>, String> {
    let failed = |e: std::io::Error| format!("the stream breaks off: {e}");
    let mut pipe = BufReader::new(pipe);
    let mut line = String::new();
    pipe.read_line(&mut line).map_err(failed)?;
    let side = |letter: char| line.split(' ').find_map(|word| word.strip_prefix(letter)?.trim().parse::<usize>().ok());
    let (Some(width), Some(height)) = (side('W'), side('H')) else {
        return Err(format!("no header of a video: {line:?}"));
    };
    let mut frame = vec![0; width * height + 2 * width.div_ceil(2) * height.div_ceil(2)];
    let (mut looks, mut next) = (Vec::new(), 100);
    for number in 1..=frames {
        line.clear();
        pipe.read_line(&mut line).map_err(failed)?;
        if !line.starts_with("FRAME") {
            return Err(format!("the stream ends after {} frames", number - 1));
        }
        pipe.read_exact(&mut frame).map_err(failed)?;
        if number == next || number == frames {
            looks.push(look(id, number)?);
            println!("{number} frames of {width}x{height}: {}", said(&looks[looks.len() - 1]));
        }
        if number == next {
            next *= 10;
        }
    }
    Ok(looks)
}

fn said(memory: &Memory) -> String {
    let mib = |kib: u64| kib as f64 / 1024.0;
    format!("peak {:.1} MiB, now {:.1} MiB", mib(memory.peak), mib(memory.now))
}

fn look(id: u32, frames: usize) -> Result<Memory, String> {
    let path = format!("/proc/{id}/status");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}; this chore needs Linux"))?;
    let value = |name: &str| {
        let rest = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        rest.trim().trim_end_matches(" kB").parse().map_err(|_| format!("{path} has no {name}"))
    };
    Ok(Memory { frames, peak: value("VmHWM:")?, now: value("VmRSS:")? })
}

fn judge(looks: &[Memory]) -> Outcome {
    let base = looks.iter().rfind(|look| look.frames <= 1_000).or(looks.first());
    let (Some(base), Some(last)) = (base, looks.last()) else { return Err("no frames came".to_owned()) };
    let grown = last.peak.saturating_sub(base.peak);
    let between = format!("between frames {} and {} its peak grows by {grown} KiB", base.frames, last.frames);
    println!("{between}");
    if grown > ALLOWED { Err(format!("{between}, more than {ALLOWED}")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_after_the_first_thousand_frames_fails() {
        let memory = |frames, peak| Memory { frames, peak, now: peak };
        assert!(judge(&[memory(100, 10_000), memory(1_000, 50_000), memory(10_000, 52_000)]).is_ok());
        assert!(judge(&[memory(100, 10_000), memory(1_000, 10_000), memory(10_000, 20_000)]).is_err());
        assert!(judge(&[]).is_err());
    }

    #[test]
    fn a_stream_that_ends_early_is_said() {
        let header = "YUV4MPEG2 W4 H2 C420jpeg\n";
        let frame = [b"FRAME\n".as_slice(), &[0; 12]].concat();
        let own = std::process::id();
        let whole = [header.as_bytes(), &frame, &frame].concat();
        assert_eq!(take(&whole[..], own, 2).map(|looks| looks.len()), Ok(1));
        assert!(take(&whole[..], own, 3).is_err_and(|why| why.contains("after 2 frames")));
        assert!(take(&b"RIFF\n"[..], own, 1).is_err());
    }
}
