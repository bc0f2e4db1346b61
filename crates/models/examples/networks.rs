//! The networks of Stable Diffusion 1.5 with random weights, or an upscaler's file, to be timed: our side of `cargo xtask bench`.
//!
//! `cargo run --release -p danqing-models --example networks -- unet|vae|clip|FILE:SIDE bf16|f32` (an upscaler is given a picture
//! of SIDE x SIDE), then lines on the standard input:
//! `run THREADS` evaluates once and answers `SECONDS DEVIATION` (of the output), `peak` answers the most memory that the
//! process has held in MB, `faults` its page faults so far, `ceiling` the multiply-add rate of one core in GFLOP/s and its reading rate in GB/s,
//! `share THREADS` what the network reaches of that rate (the median of five evaluations between two measurements of the
//! loop: the gate of the tensor core), `blocks THREADS` the time of every block. `DANQING_ISA` chooses another instruction set.

use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Instant;

use danqing_checkpoints::Weights;
use danqing_kernels::isa::{Isa, isa};
use danqing_kernels::{ceilings, threads};
use danqing_models::autoencoders::{AutoencoderKl, AutoencoderKlConfig};
use danqing_models::text_encoders::{ClipTextConfig, ClipTextEncoder};
use danqing_models::unet::{Unet, UnetConditioning, UnetConfig};
use danqing_models::upscalers::{Upscaler, open_upscaler};
use danqing_nn::{LoadOptions, Loader};
use danqing_tensor::{DType, Rng, Tensor, no_grad};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let (name, precision) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    let dtype = match precision.as_str() {
        "f32" => DType::F32,
        "bf16" => DType::Bf16,
        other => return Err(format!("precision {other:?}: f32 or bf16").into()),
    };
    let network = Network::new(&name, dtype)?;
    say("ready")?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("run"), Some(count)) => {
                threads::set_threads(count.parse()?);
                let start = Instant::now();
                let out = network.evaluate(&mut |_, _| {})?;
                let seconds = start.elapsed().as_secs_f64();
                say(&format!("{seconds} {}", deviation(&out)?))?;
            }
            (Some("blocks"), Some(count)) => {
                threads::set_threads(count.parse()?);
                let mut last = Instant::now();
                network.evaluate(&mut |block, out| {
                    println!("{block:24} {:?} {:8.2} ms", out.shape(), last.elapsed().as_secs_f64() * 1e3);
                    last = Instant::now();
                })?;
            }
            (Some("share"), Some(count)) => {
                let count: usize = count.parse()?;
                threads::set_threads(count);
                network.evaluate(&mut |_, _| {})?;
                let before = rate(dtype);
                let mut seconds = [0.0; 5];
                for seconds in &mut seconds {
                    let start = Instant::now();
                    network.evaluate(&mut |_, _| {})?;
                    *seconds = start.elapsed().as_secs_f64();
                }
                seconds.sort_by(f64::total_cmp);
                let loops = before.max(rate(dtype)) * count as f64;
                let reached = network.operations() / seconds[2];
                let (name, share) = (isa().name(), reached / loops * 100.0);
                println!("{name}: {:.0} of {:.0} GFLOP/s, {share:.0} %", reached / 1e9, loops / 1e9);
            }
            (Some("faults"), None) => say(&faults().to_string())?,
            (Some("peak"), None) => say(&peak_megabytes().to_string())?,
            (Some("ceiling"), None) => say(&format!("{} {}", rate(dtype) / 1e9, reading_rate() / 1e9))?,
            _ => return Err(format!("not understood: {line:?}").into()),
        }
    }
    Ok(())
}

fn say(answer: &str) -> Outcome<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{answer}")?;
    Ok(out.flush()?)
}

enum Network {
    Unet(Box<Unet>, Tensor, Box<UnetConditioning>),
    Vae(Box<AutoencoderKl>, Tensor),
    Clip(Box<ClipTextEncoder>, Vec<Vec<u32>>, DType),
    Upscaler(Box<dyn Upscaler>, Tensor),
}

impl Network {
    /// The network and its input: a latent of 64 x 64, 77 tokens.
    fn new(name: &str, dtype: DType) -> Outcome<Network> {
        let loader = Loader::random_with(1, LoadOptions::inference(dtype));
        let network = match name {
            "unet" => {
                let config = UnetConfig { cross_attention_dim: 768, ..UnetConfig::default() };
                let unet = Unet::load(&loader, &config)?;
                let (sample, context) = (noise(2, &[1, 64, 64, 4], dtype)?, noise(3, &[1, 77, 768], dtype)?);
                let conditioning = UnetConditioning { context, added: None, guidance: None };
                Network::Unet(Box::new(unet), sample, Box::new(conditioning))
            }
            "vae" => {
                let vae = AutoencoderKl::load(&loader, &AutoencoderKlConfig::default())?;
                Network::Vae(Box::new(vae), noise(2, &[1, 64, 64, 4], dtype)?)
            }
            "clip" => {
                let clip = ClipTextEncoder::load(&loader, &ClipTextConfig::default())?;
                let mut ids: Vec<u32> = (0..77).map(|i| 1000 + 37 * i).collect();
                (ids[0], ids[76]) = (49_406, 49_407);
                Network::Clip(Box::new(clip), vec![ids], dtype)
            }
            other => {
                let (file, side) = other.rsplit_once(':').ok_or("the network: unet, vae, clip, or FILE:SIDE")?;
                let side: usize = side.parse()?;
                let network = open_upscaler(&Weights::open(file)?, &LoadOptions::inference(dtype))?;
                let shape = [1, side, side, network.info().channels];
                let mut values = vec![0.0; shape.iter().product()];
                Rng::new(2).fill_uniform(&mut values, 0.0, 1.0);
                return Ok(Network::Upscaler(network, Tensor::from_vec(values, &shape)?));
            }
        };
        loader.finish()?;
        Ok(network)
    }

    /// Multiplications and additions of one evaluation, as torch's FlopCounterMode counts them (`bench/peers/networks.py`).
    fn operations(&self) -> f64 {
        match self {
            Network::Unet(..) => 803.273e9,
            Network::Vae(..) => 2514.519e9,
            Network::Clip(..) => 13.299e9,
            // Counted by the script that runs it.
            Network::Upscaler(..) => f64::NAN,
        }
    }

    fn evaluate(&self, probe: danqing_models::unet::Probe<'_>) -> Outcome<Tensor> {
        Ok(match self {
            Network::Unet(unet, sample, conditioning) => unet.forward_probed(sample, &[500.0], conditioning, probe)?,
            Network::Vae(vae, latent) => vae.decode_probed(latent, probe)?,
            Network::Clip(clip, ids, dtype) => clip.forward(ids, *dtype)?.last,
            Network::Upscaler(network, picture) => no_grad(|| network.forward(picture))?,
        })
    }
}

fn noise(seed: u64, shape: &[usize], dtype: DType) -> Outcome<Tensor> {
    let mut values = vec![0.0; shape.iter().product()];
    Rng::new(seed).fill_normal(&mut values);
    Ok(Tensor::from_vec(values, shape)?.cast(dtype)?)
}

/// Standard deviation of the values: shows that they are finite and of a sane size.
fn deviation(values: &Tensor) -> Outcome<f64> {
    let values = values.cast(DType::F32)?.to_vec();
    let n = values.len() as f64;
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
    Ok((values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n).sqrt())
}

/// Multiply-adds of one core for activations of `dtype`, in operations per second.
fn rate(dtype: DType) -> f64 {
    let loop_of = match (isa(), dtype) {
        (Isa::Amx | Isa::Avx512Bf16, DType::F32) => Isa::Avx512,
        (isa, _) => isa,
    };
    ceilings::measure(loop_of).unwrap_or(f64::NAN)
}

/// Bytes per second that one core reads from memory too large to be cached by it.
fn reading_rate() -> f64 {
    let values = vec![1u64; 32 << 20];
    let read = |_| {
        let start = Instant::now();
        let mut sums = [0u64; 16];
        for chunk in values.chunks_exact(16) {
            for (sum, value) in sums.iter_mut().zip(chunk) {
                *sum = sum.wrapping_add(*value);
            }
        }
        std::hint::black_box(sums);
        size_of_val(&values[..]) as f64 / start.elapsed().as_secs_f64()
    };
    (0..5).map(read).fold(0.0, f64::max)
}

/// The process's high-water mark, by Linux' account; 0 elsewhere.
fn peak_megabytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) / 1024
}

/// Page faults of this process by Linux' account (proc_pid_stat(5), fields 10 and 12), 0 elsewhere.
fn faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    [7, 9].iter().filter_map(|i| fields.get(*i)?.parse::<u64>().ok()).sum()
}
