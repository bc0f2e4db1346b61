//! A training run: steps, learning rate, averaged weights, checkpoints that a kill cannot spoil, losses as a table and a
//! picture.
//!
//! A checkpoint is a folder that is written under another name and renamed when it is whole; the one before is removed
//! only then. Data are a function of seed and step, so a resumed run goes on exactly as an unbroken one.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use danqing_nn::{AdamW, AdamWConfig, Ema, LrSchedule, ParamStore, clip_grad_norm};
use danqing_tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::error::{TrainError, at};

/// What is trained, step by step.
pub trait Method {
    /// The parameters that are trained.
    fn params(&self) -> &ParamStore;

    /// The loss of step `step` (from 0); a function of the weights and the step alone.
    ///
    /// # Errors
    /// When the data cannot be made or an operation fails.
    fn loss(&mut self, step: u64) -> Result<Tensor, TrainError>;

    /// Samples a step consumes.
    fn batch(&self) -> usize;

    /// Measures and draws with the averaged weights; `folder` is for pictures. The text goes to the log.
    ///
    /// # Errors
    /// When drawing fails.
    fn review(&mut self, step: u64, folder: &Path) -> Result<String, TrainError>;
}

/// How a run goes.
#[derive(Debug, Clone)]
pub struct RunConfig {
    /// The run's folder.
    pub folder: PathBuf,
    /// The learning rate; its `total` is the length of the run.
    pub rate: LrSchedule,
    /// AdamW's numbers.
    pub adamw: AdamWConfig,
    /// Longest gradient.
    pub clip: f64,
    /// Decay of the averaged weights.
    pub ema: f64,
    /// Time between checkpoints.
    pub checkpoint_every: Duration,
    /// Steps between reviews.
    pub review_every: u64,
    /// Steps between log lines.
    pub log_every: u64,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunEnd {
    /// All steps are done.
    Finished,
    /// It was stopped; it goes on from its last checkpoint.
    Stopped,
}

#[derive(Debug, Serialize, Deserialize)]
struct State {
    step: u64,
    smooth: f64,
}

const OPTIMIZER: &str = "optimizer.safetensors";
const WEIGHTS: &str = "weights.safetensors";
const AVERAGE: &str = "ema.safetensors";
const STATE: &str = "state.json";

/// Trains `method`, going on from the folder's checkpoint if there is one. `log` gets progress lines; `stopped` is asked
/// before each step.
///
/// # Errors
/// When the loss is no number, data cannot be made or a file cannot be written.
pub fn train(
    method: &mut dyn Method,
    config: &RunConfig,
    log: &mut dyn FnMut(&str),
    stopped: &dyn Fn() -> bool,
) -> Result<RunEnd, TrainError> {
    std::fs::create_dir_all(&config.folder).map_err(at(&config.folder))?;
    let mut adamw = AdamW::new(method.params(), config.adamw);
    let mut ema = Ema::new(method.params(), config.ema)?;
    let mut state = State { step: 0, smooth: 0.0 };
    if let Some(checkpoint) = latest(&config.folder)? {
        state = restore(&checkpoint, method, &mut adamw, &mut ema)?;
        log(&format!("going on from step {} ({})", state.step, checkpoint.display()));
    }
    let total = config.rate.total;
    let (began, first) = (Instant::now(), state.step);
    let mut saved = Instant::now();
    let mut losses = String::new();
    while state.step < total {
        if stopped() {
            save(config, method, &adamw, &ema, &state, &mut losses)?;
            return Ok(RunEnd::Stopped);
        }
        let loss = method.loss(state.step)?;
        let value = f64::from(loss.item()?);
        if !value.is_finite() {
            return Err(TrainError::Diverged { step: state.step, loss: value });
        }
        let mut gradients = loss.backward()?;
        clip_grad_norm(method.params(), &mut gradients, config.clip);
        adamw.step(&gradients, config.rate.at(state.step))?;
        drop(gradients);
        ema.update()?;
        state.step += 1;
        let mixed = (state.step as f64 / (state.step as f64 + 10.0)).min(0.99);
        state.smooth = if state.step == 1 { value } else { mixed * state.smooth + (1.0 - mixed) * value };
        if state.step.is_multiple_of(config.log_every) {
            let _ = writeln!(losses, "{},{value:.6},{:.6}", state.step, state.smooth);
            log(&progress(config, method, &state, first, began));
        }
        if config.review_every > 0 && state.step.is_multiple_of(config.review_every) {
            ema.swap()?;
            let said = method.review(state.step, &config.folder);
            ema.swap()?;
            log(&format!("step {}: {}", state.step, said?));
        }
        if saved.elapsed() >= config.checkpoint_every {
            save(config, method, &adamw, &ema, &state, &mut losses)?;
            saved = Instant::now();
        }
    }
    save(config, method, &adamw, &ema, &state, &mut losses)?;
    ema.swap()?;
    log(&format!("step {}: {}", state.step, method.review(state.step, &config.folder)?));
    Ok(RunEnd::Finished)
}

fn progress(config: &RunConfig, method: &dyn Method, state: &State, first: u64, began: Instant) -> String {
    let seconds = began.elapsed().as_secs_f64();
    let rate = (state.step - first) as f64 / seconds.max(1e-9);
    let left = (config.rate.total - state.step) as f64 / rate.max(1e-9);
    format!(
        "step {}/{} loss {:.4} rate {:.2e} {:.1} samples/s, {} min left",
        state.step,
        config.rate.total,
        state.smooth,
        config.rate.at(state.step),
        rate * method.batch() as f64,
        (left / 60.0).ceil()
    )
}

/// The newest whole checkpoint of a run's folder.
///
/// # Errors
/// When the folder cannot be read.
pub fn latest(folder: &Path) -> Result<Option<PathBuf>, TrainError> {
    if !folder.exists() {
        return Ok(None);
    }
    let mut newest = None;
    for entry in std::fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        let step = path
            .file_name()
            .and_then(|n| n.to_str())
            .and_then(|n| n.strip_prefix("checkpoint-"))
            .and_then(|n| n.parse::<u64>().ok());
        if let Some(step) = step
            && newest.as_ref().is_none_or(|(s, _)| *s < step)
        {
            newest = Some((step, path));
        }
    }
    Ok(newest.map(|(_, path)| path))
}

/// The file of averaged weights in a checkpoint.
pub fn averaged_weights(checkpoint: &Path) -> PathBuf {
    checkpoint.join(AVERAGE)
}

fn restore(folder: &Path, method: &dyn Method, adamw: &mut AdamW, ema: &mut Ema) -> Result<State, TrainError> {
    let path = folder.join(STATE);
    let text = std::fs::read_to_string(&path).map_err(at(&path))?;
    let state = serde_json::from_str(&text).map_err(|e| TrainError::State(format!("{}: {e}", path.display())))?;
    method.params().restore(&danqing_checkpoints::Weights::open(folder.join(WEIGHTS))?)?;
    adamw.load(&folder.join(OPTIMIZER))?;
    ema.load(&folder.join(AVERAGE))?;
    Ok(state)
}

fn save(
    config: &RunConfig,
    method: &dyn Method,
    adamw: &AdamW,
    ema: &Ema,
    state: &State,
    losses: &mut String,
) -> Result<(), TrainError> {
    let unfinished = config.folder.join("checkpoint.tmp");
    if unfinished.exists() {
        std::fs::remove_dir_all(&unfinished).map_err(at(&unfinished))?;
    }
    std::fs::create_dir_all(&unfinished).map_err(at(&unfinished))?;
    let notes = std::collections::BTreeMap::from([("step".to_string(), state.step.to_string())]);
    method.params().save(&unfinished.join(WEIGHTS), danqing_tensor::DType::F32, &notes)?;
    adamw.save(&unfinished.join(OPTIMIZER))?;
    ema.save(&unfinished.join(AVERAGE))?;
    let path = unfinished.join(STATE);
    let text = serde_json::to_string(state).map_err(|e| TrainError::State(e.to_string()))?;
    std::fs::write(&path, text).map_err(at(&path))?;

    let before = latest(&config.folder)?;
    let target = config.folder.join(format!("checkpoint-{:09}", state.step));
    if before.as_deref() != Some(target.as_path()) {
        std::fs::rename(&unfinished, &target).map_err(at(&target))?;
        if let Some(before) = before {
            std::fs::remove_dir_all(&before).map_err(at(&before))?;
        }
    }
    append_losses(&config.folder, losses)
}

/// Adds `losses` to the table and draws the curve anew.
fn append_losses(folder: &Path, losses: &mut String) -> Result<(), TrainError> {
    use std::io::Write as _;
    let path = folder.join("losses.csv");
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&path).map_err(at(&path))?;
    file.write_all(losses.as_bytes()).map_err(at(&path))?;
    losses.clear();
    Ok(())
}

/// The (step, smoothed loss) pairs of a run's table.
///
/// # Errors
/// When the table cannot be read.
pub fn losses(folder: &Path) -> Result<Vec<(f64, f64)>, TrainError> {
    let path = folder.join("losses.csv");
    let text = std::fs::read_to_string(&path).map_err(at(&path))?;
    Ok(text
        .lines()
        .filter_map(|line| {
            let mut parts = line.split(',');
            Some((parts.next()?.parse().ok()?, parts.nth(1)?.parse().ok()?))
        })
        .collect())
}
