//! The gate of the tensor core: diffusers' mini U-Net, trained from its initial weights on the same 200 batches, must have
//! PyTorch's losses within 1 % from step 50 on.
//!
//! `python reference/gen_training_parity.py --unet FOLDER` makes the weights, batches and losses (20 MB, hence outside the
//! repository); `DANQING_TRAINING_GATE=FOLDER` names them. To look at the speed, `DANQING_TRAINING_GATE_DTYPE=bf16` runs bf16
//! activations and `DANQING_TRAINING_GATE_STEPS=N` fewer steps; the gate itself is f32 and all steps.

use std::time::Instant;

use danqing_checkpoints::Weights;
use danqing_models::unet::{Unet, UnetConditioning, UnetConfig};
use danqing_nn::{AdamW, AdamWConfig, LoadOptions, Loader, LrDecay, LrSchedule, clip_grad_norm};
use danqing_tensor::{DType, Result, Tensor};

const STEPS: usize = 200;
const BATCH: u32 = 16;

fn tensor(weights: &Weights, name: &str) -> Tensor {
    Tensor::from_vec(weights.read_f32(name).unwrap(), &weights.info(name).unwrap().shape).unwrap()
}

/// `(factor · step + stride · j) mod 64` for the samples `j` of a batch.
fn picks(step: usize, factor: u32, stride: u32) -> Vec<u32> {
    (0..BATCH).map(|j| (factor * step as u32 + stride * j) % 64).collect()
}

#[test]
fn the_mini_unet_learns_as_in_pytorch() {
    let Some(folder) = std::env::var_os("DANQING_TRAINING_GATE").map(std::path::PathBuf::from) else {
        println!("skipped: DANQING_TRAINING_GATE is not set");
        return;
    };
    let dtype = match std::env::var("DANQING_TRAINING_GATE_DTYPE").as_deref() {
        Ok("bf16") => DType::Bf16,
        _ => DType::F32,
    };
    let steps = std::env::var("DANQING_TRAINING_GATE_STEPS").ok().and_then(|n| n.parse().ok()).unwrap_or(STEPS);
    let config = std::fs::read_to_string(folder.join("config.json")).unwrap();
    let config: UnetConfig = serde_json::from_str(&config).unwrap();
    let loader = Loader::new(Weights::open(folder.join("unet.safetensors")).unwrap(), LoadOptions::training());
    let unet = Unet::load(&loader, &config).unwrap();
    let params = loader.finish().unwrap();
    let batches = Weights::open(folder.join("batches.safetensors")).unwrap();
    let [latents, noise, context, timesteps] =
        ["latents", "noise", "context", "timesteps"].map(|n| tensor(&batches, n));
    let want = batches.read_f32("losses").unwrap();
    let mut alphas = Vec::with_capacity(1000);
    let mut product = 1f64;
    for i in 0..1000 {
        let (from, to) = (0.00085f64.sqrt(), 0.012f64.sqrt());
        product *= 1.0 - (from + (to - from) * f64::from(i) / 999.0).powi(2);
        alphas.push(product);
    }
    let mut optimizer = AdamW::new(&params, AdamWConfig::default());
    let schedule = LrSchedule { peak: 5e-4, warmup: 20, total: STEPS as u64, decay: LrDecay::Constant };
    let mut train = |step: usize| -> Result<f32> {
        let times = timesteps.narrow(0, step, 1)?.to_vec();
        let scale = |f: fn(f64) -> f64| {
            let values = times.iter().map(|&t| f(alphas[t as usize]) as f32).collect();
            Tensor::from_vec(values, &[BATCH as usize, 1, 1, 1])
        };
        let x = latents.index_select(0, &picks(step, 7, 5))?;
        let n = noise.index_select(0, &picks(step, 11, 3))?;
        let noised = x.mul(&scale(f64::sqrt)?)?.add(&n.mul(&scale(|a| (1.0 - a).sqrt())?)?)?;
        let context = context.index_select(0, &picks(step, 7, 5))?.cast(dtype)?;
        let conditioning = UnetConditioning { context, added: None, guidance: None };
        let predicted = unet.forward(&noised.cast(dtype)?, &times, &conditioning)?;
        let loss = predicted.cast(DType::F32)?.sub(&n)?.square()?.mean_all()?;
        let mut gradients = loss.backward()?;
        clip_grad_norm(&params, &mut gradients, 1.0);
        optimizer.step(&gradients, schedule.at(step as u64))?;
        loss.item()
    };
    let (mut largest, mut started) = (0f32, Instant::now());
    for (step, &want) in want.iter().enumerate().take(steps) {
        if step == 5 {
            started = Instant::now();
        }
        let loss = train(step).unwrap();
        let gap = ((loss - want) / want).abs();
        if step >= 50 {
            largest = largest.max(gap);
        }
        if step % 20 == 0 {
            println!("step {step}: {loss:.6}, PyTorch {want:.6}, gap {:.4} %", gap * 100.0);
        }
    }
    let speed = steps.saturating_sub(5) as f64 * f64::from(BATCH) / started.elapsed().as_secs_f64();
    println!("largest gap from step 50 on: {:.4} %; {speed:.1} samples/s", largest * 100.0);
    if dtype == DType::F32 {
        assert!(largest < 0.01, "{largest}");
    }
}
