//! Upscalers to be timed: our side of `cargo xtask bench enlarge`.
//!
//! `cargo run --release -p danqing-models --example upscalers -- FILE SIDE bf16|f32`, then lines on the standard input:
//! `run THREADS` enlarges a picture of SIDE x SIDE once and answers `SECONDS DEVIATION` (of the output), `peak` answers the most memory that the
//! process has held in MB, `faults` the page faults so far, `ceiling` the multiply-add rate of one core in GFLOP/s and nothing for reading.

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use danqing_checkpoints::Weights;
use danqing_kernels::isa::{Isa, isa};
use danqing_kernels::{ceilings, threads};
use danqing_models::upscalers::open_upscaler;
use danqing_nn::LoadOptions;
use danqing_tensor::{DType, Rng, Tensor, no_grad};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, side, precision] = arguments.as_slice() else {
        return Err("usage: upscalers FILE SIDE bf16|f32".into());
    };
    let (side, dtype) = (side.parse::<usize>()?, if precision == "f32" { DType::F32 } else { DType::Bf16 });
    let network = open_upscaler(&Weights::open(Path::new(file))?, &LoadOptions::inference(dtype))?;
    let mut values = vec![0.0; side * side * network.info().channels];
    Rng::new(2).fill_uniform(&mut values, 0.0, 1.0);
    let picture = Tensor::from_vec(values, &[1, side, side, network.info().channels])?;
    say("ready")?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("run"), Some(count)) => {
                threads::set_threads(count.parse()?);
                let start = Instant::now();
                let out = no_grad(|| network.forward(&picture))?;
                let seconds = start.elapsed().as_secs_f64();
                say(&format!("{seconds} {}", deviation(&out.cast(DType::F32)?.to_vec())))?;
            }
            (Some("peak"), None) => say(&(status("VmHWM:") / 1024).to_string())?,
            (Some("faults"), None) => say(&faults().to_string())?,
            (Some("ceiling"), None) => {
                let loop_of = match (isa(), dtype) {
                    (Isa::Amx | Isa::Avx512Bf16, DType::F32) => Isa::Avx512,
                    (isa, _) => isa,
                };
                say(&format!("{} 0", ceilings::measure(loop_of).unwrap_or(f64::NAN) / 1e9))?;
            }
            _ => return Err(format!("not understood: {line:?}").into()),
        }
    }
    Ok(())
}

fn say(answer: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{answer}")?;
    out.flush()
}

/// Standard deviation of the values: shows that they are finite and of a sane size.
fn deviation(values: &[f32]) -> f64 {
    let n = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    (values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt()
}

/// A line of Linux' account of this process in kB; 0 elsewhere.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Page faults of this process by Linux' account (proc_pid_stat(5), field 10), 0 elsewhere.
fn faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let behind_name = stat.rsplit(')').next().unwrap_or_default();
    behind_name.split_whitespace().nth(7).and_then(|field| field.parse().ok()).unwrap_or(0)
}
