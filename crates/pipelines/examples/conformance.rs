//! Compares this engine with a full-size model that `reference/conformance/reference.py` made and ran.
//!
//! ```sh
//! cargo run --release -p danqing-pipelines --example conformance -- FOLDER
//! ```
//!
//! `FOLDER` holds `model/` (a diffusers folder) and `reference.safetensors`. Prints a Markdown table and fails where a
//! bound is missed. One part of the model is in memory at a time.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use danqing_checkpoints::Weights;
use danqing_imaging::Picture;
use danqing_models::families::stable_diffusion::{Parts, StableDiffusion};
use danqing_models::unet::{AddedConditioning, UnetConditioning};
use danqing_pipelines::checkpoint::{OpenOptions, open};
use danqing_pipelines::control::Quiet;
use danqing_pipelines::latents;
use danqing_pipelines::request::{DrawRequest, NoiseRequest};
use danqing_pipelines::tasks::draw::{DrawTools, encode_prompts, sample_latents};
use danqing_sampling::noise::{DrawOrder, DrawType, Generator};
use danqing_tensor::{DType, Tensor};
use serde_json::Value;

type Failed = Box<dyn Error>;

/// The recorded picture; its row is a signal-to-noise ratio, all others are relative distances.
const PICTURE: &str = "picture.pixels";
/// The latents of a whole run. In bf16 they are shown without a bound: the picture made of them has one.
const LATENTS: &str = "picture.latents";

/// What both sides must agree to, in f32 and in bf16.
fn bound(name: &str, dtype: DType) -> Option<f64> {
    match (name, dtype) {
        (PICTURE, DType::F32) => Some(40.0),
        (PICTURE, DType::Bf16) => Some(30.0),
        (LATENTS, DType::F32) => Some(1e-3),
        (LATENTS, DType::Bf16) => None,
        (_, DType::F32) => Some(1e-4),
        (_, DType::Bf16) => Some(3e-2),
    }
}

fn kept(name: &str, value: f64, dtype: DType) -> bool {
    match bound(name, dtype) {
        Some(bound) if name == PICTURE => value > bound,
        Some(bound) => value <= bound,
        None => value.is_finite(),
    }
}

/// What the reference recorded.
struct Reference {
    weights: Weights,
    request: Value,
}

impl Reference {
    fn open(path: &Path) -> Result<Self, Failed> {
        let weights = Weights::open(path)?;
        let request = weights.metadata().get("request").ok_or("the reference holds no request")?;
        Ok(Self { request: serde_json::from_str(request)?, weights })
    }

    fn values(&self, name: &str) -> Result<Vec<f32>, Failed> {
        Ok(self.weights.read_f32(name)?)
    }

    fn tensor(&self, name: &str) -> Result<Tensor, Failed> {
        let shape = &self.weights.info(name).ok_or_else(|| format!("the reference holds no {name}"))?.shape;
        Ok(Tensor::from_vec(self.values(name)?, shape)?)
    }

    /// `[b, c, h, w]` → `[b, h, w, c]`.
    fn map(&self, name: &str) -> Result<Tensor, Failed> {
        Ok(self.tensor(name)?.permute(&[0, 2, 3, 1])?.contiguous()?)
    }

    fn draw_request(&self) -> Result<DrawRequest, Failed> {
        let text = |key: &str| self.request[key].as_str().map(String::from).ok_or(format!("the request has no {key}"));
        let number = |key: &str| self.request[key].as_f64().ok_or(format!("the request has no {key}"));
        let side = number("side")? as u32;
        Ok(DrawRequest {
            prompt: text("prompt")?,
            negative_prompt: text("negative_prompt")?,
            translate: false,
            width: Some(side),
            height: Some(side),
            steps: Some(number("steps")? as usize),
            guidance_scale: Some(number("guidance_scale")? as f32),
            guidance_rescale: Some(0.0),
            seed: number("seed")? as u64,
            noise: NoiseRequest {
                generator: Generator::Cpu(DrawType::F32),
                order: DrawOrder::Diffusers,
                step_seed_delta: 0,
            },
            ..Default::default()
        })
    }
}

/// The values in PyTorch's order.
fn values(t: &Tensor) -> Result<Vec<f32>, Failed> {
    let t = t.cast(DType::F32)?;
    Ok(if t.rank() == 4 { t.permute(&[0, 3, 1, 2])?.contiguous()?.to_vec() } else { t.to_vec() })
}

/// Distances in one precision, by the name of what was recorded.
struct Comparison<'a> {
    reference: &'a Reference,
    folder: PathBuf,
    dtype: DType,
    rows: Vec<(String, f64)>,
}

impl Comparison<'_> {
    fn model(&self, parts: Parts) -> Result<StableDiffusion, Failed> {
        Ok(open(&self.folder, &OpenOptions { dtype: self.dtype, parts, ..Default::default() })?)
    }

    /// Relative L2 distance, or the picture's peak signal-to-noise ratio in dB.
    fn compare(&mut self, name: &str, got: &[f32]) -> Result<(), Failed> {
        let want = self.reference.values(name)?;
        if want.len() != got.len() {
            return Err(format!("{name}: {} values instead of {}", got.len(), want.len()).into());
        }
        let pairs = || got.iter().zip(&want).map(|(g, w)| (f64::from(*g), f64::from(*w)));
        let error: f64 = pairs().map(|(g, w)| (g - w).powi(2)).sum();
        let size: f64 = pairs().map(|(_, w)| w * w).sum();
        let row = if name == PICTURE {
            10.0 * (255.0f64.powi(2) * want.len() as f64 / error).log10()
        } else {
            (error / size).sqrt()
        };
        self.rows.push((name.into(), row));
        Ok(())
    }

    fn run(&mut self) -> Result<(), Failed> {
        let request = self.reference.draw_request()?;
        let stage = |what: &str, since: Instant, dtype: DType| {
            eprintln!("{dtype:?}: {what}, {:.1} s", since.elapsed().as_secs_f64());
        };
        let since = Instant::now();
        let model = self.model(Parts::TEXT)?;
        self.text(&model)?;
        let prompts = encode_prompts(&model, &request, &Quiet)?;
        let encoded = prompts.encodings().ok_or("nothing was encoded")?;
        // The reference has the negative prompt first.
        let joined = |rows: &[Tensor]| Tensor::concat(&rows.iter().rev().collect::<Vec<_>>(), 0);
        self.compare("prompt.context", &values(&joined(&encoded.contexts)?)?)?;
        if !encoded.pooled.is_empty() {
            self.compare("prompt.pooled", &values(&joined(&encoded.pooled)?)?)?;
        }
        drop(model);
        stage("text encoders", since, self.dtype);

        let since = Instant::now();
        let model = self.model(Parts::UNET)?;
        stage("U-Net read", since, self.dtype);
        self.unet(&model)?;
        stage("U-Net evaluated", since, self.dtype);
        let tools = DrawTools { prompts: Some(prompts), ..Default::default() };
        let (drawn, shape) = sample_latents(&model, &request, &tools, &Quiet)?;
        self.compare(LATENTS, &drawn)?;
        drop(model);
        stage("latents drawn", since, self.dtype);

        let since = Instant::now();
        let model = self.model(Parts::AUTOENCODER)?;
        self.autoencoder(&model)?;
        let sizes = [shape.batch, shape.channels, shape.height, shape.width];
        let pictures: Vec<Picture> = latents::decode(&model.autoencoder, &drawn, sizes, model.dtype, &|| false)?;
        let picture: Vec<f32> = pictures[0].pixels().iter().map(|v| f32::from(*v)).collect();
        self.compare(PICTURE, &picture)?;
        stage("autoencoder", since, self.dtype);
        Ok(())
    }

    fn text(&mut self, model: &StableDiffusion) -> Result<(), Failed> {
        for (i, branch) in model.text.iter().enumerate() {
            let ids = self.reference.values(&format!("text.{i}.ids"))?;
            let length = branch.encoder.config().max_position_embeddings;
            let rows: Vec<Vec<u32>> = ids.chunks(length).map(|row| row.iter().map(|v| *v as u32).collect()).collect();
            let encoding = branch.encoder.forward(&rows, self.dtype)?;
            self.compare(&format!("text.{i}.last"), &values(&encoding.last)?)?;
            let penultimate = &encoding.hidden[encoding.hidden.len() - 2];
            self.compare(&format!("text.{i}.penultimate"), &values(penultimate)?)?;
            self.compare(&format!("text.{i}.pooled"), &values(&encoding.pooled)?)?;
        }
        Ok(())
    }

    fn unet(&mut self, model: &StableDiffusion) -> Result<(), Failed> {
        let reference = self.reference;
        let added = match reference.weights.contains("unet.pooled") {
            true => Some(AddedConditioning {
                pooled: reference.tensor("unet.pooled")?,
                time_ids: reference.tensor("unet.time_ids")?,
            }),
            false => None,
        };
        let conditioning = UnetConditioning { context: reference.tensor("unet.context")?, added, guidance: None };
        let sample = reference.map("unet.sample")?.cast(self.dtype)?;
        let timesteps = reference.values("unet.timestep")?;
        let mut outcome = Ok(());
        let out = model.unet.forward_probed(&sample, &timesteps, &conditioning, &mut |block, t| {
            let name = format!("unet.out.{block}");
            if outcome.is_ok() && reference.weights.contains(&name) {
                outcome = values(t).and_then(|v| self.compare(&name, &v));
            }
        })?;
        outcome?;
        self.compare("unet.out", &values(&out)?)
    }

    fn autoencoder(&mut self, model: &StableDiffusion) -> Result<(), Failed> {
        let picture: Vec<f32> = self.reference.values("vae.picture")?.iter().map(|v| v / 127.5 - 1.0).collect();
        let shape = &self.reference.weights.info("vae.picture").ok_or("the reference holds no picture")?.shape;
        let map = Tensor::from_vec(picture, &[1, shape[0], shape[1], shape[2]])?;
        let posterior = model.autoencoder.encode(&map.cast(self.dtype)?)?;
        self.compare("vae.mean", &values(&posterior.mean)?)?;
        self.compare("vae.logvar", &values(&posterior.log_variance)?)?;
        let latent = self.reference.map("vae.latent")?.cast(self.dtype)?;
        self.compare("vae.decoded", &values(&model.autoencoder.decode(&latent)?)?)
    }
}

fn cell(name: &str, value: Option<f64>) -> String {
    match value {
        Some(v) if name == PICTURE => format!("{v:.1} dB"),
        Some(v) => format!("{v:.1e}"),
        None => String::new(),
    }
}

/// Peak of this process in GiB, where the system says it.
fn peak() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? / f64::from(1 << 20))
}

fn compare(folder: &Path) -> Result<bool, Failed> {
    let reference = Reference::open(&folder.join("reference.safetensors"))?;
    let mut columns: Vec<BTreeMap<String, f64>> = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for dtype in [DType::F32, DType::Bf16] {
        let mut comparison =
            Comparison { reference: &reference, folder: folder.join("model"), dtype, rows: Vec::new() };
        comparison.run()?;
        names = comparison.rows.iter().map(|(name, _)| name.clone()).collect();
        columns.push(comparison.rows.into_iter().collect());
    }
    println!("| output | f32 | at most | bf16 | at most | PyTorch bf16 |\n|---|---|---|---|---|---|");
    let mut passed = true;
    for name in &names {
        let narrow = reference.values(&format!("bf16.{name}")).ok().map(|v| f64::from(v[0]));
        let mut row = format!("| {name} |");
        for (column, dtype) in columns.iter().zip([DType::F32, DType::Bf16]) {
            let value = column.get(name).copied().unwrap_or(f64::NAN);
            let kept = kept(name, value, dtype);
            passed &= kept;
            let mark = if kept { "" } else { " MISSED" };
            let most = cell(name, bound(name, dtype));
            let most = if name == PICTURE { format!("above {most}") } else { most };
            row.push_str(&format!(" {}{mark} | {most} |", cell(name, Some(value))));
        }
        println!("{row} {} |", cell(name, narrow));
    }
    println!();
    if let Some(peak) = peak() {
        eprintln!("peak memory {peak:.1} GiB");
    }
    Ok(passed)
}

fn main() -> ExitCode {
    let Some(folder) = std::env::args_os().nth(1) else {
        eprintln!("usage: conformance FOLDER    (made by reference/conformance/reference.py)");
        return ExitCode::from(2);
    };
    match compare(Path::new(&folder)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("a bound was missed");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
