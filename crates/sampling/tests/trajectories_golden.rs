//! Whole trajectories against k-diffusion, diffusers and definitions in numpy (`reference/gen_sampling.py`): every state of
//! 20 steps with a fixed function as network and recorded noise.

use std::ops::ControlFlow;

use danqing_sampling::noise::RecordedNoise;
use danqing_sampling::sampler::DenoiseError;
use danqing_sampling::{Denoiser, NoisePath, Outcome, SamplerOptions, SamplerState, sample, samplers};
use danqing_testing::{Blocks, Fixture};

/// Absolute and relative, of each state (docs/numerics.md).
const TOLERANCE: f32 = 1e-5;

struct Toy(NoisePath);

fn tanh(x: f32, steepness: f64) -> f64 {
    libm::tanh(steepness * f64::from(x))
}

impl Denoiser for Toy {
    fn denoise(&mut self, x: &[f32], sigma: f64, denoised: &mut [f32]) -> Result<(), DenoiseError> {
        for (out, x) in denoised.iter_mut().zip(x) {
            *out = (tanh(*x, 0.7) / (1.0 + sigma)) as f32;
        }
        Ok(())
    }

    fn denoise_pair(
        &mut self,
        x: &[f32],
        sigma: f64,
        guided: &mut [f32],
        plain: &mut [f32],
    ) -> Result<(), DenoiseError> {
        for (out, x) in plain.iter_mut().zip(x) {
            *out = (0.8 * tanh(*x, 0.4) / (1.0 + sigma)) as f32;
        }
        self.denoise(x, sigma, guided)
    }

    fn noise_path(&self) -> NoisePath {
        self.0
    }
}

/// Runs `sampler` along the sigmas of a recorded trajectory and compares all states, or only the last if no other is there.
fn check(blocks: &mut Blocks, fixture: &Fixture, name: &str, sampler: &str, path: NoisePath, options: &SamplerOptions) {
    let recorded = Fixture::open("reference/sampling/trajectories_recorded.safetensors");
    let draws = recorded.f32("draws").chunks(256).map(<[f32]>::to_vec).collect();
    let sigmas = fixture.f64(&format!("{name}.sigmas"));
    let wanted = fixture.f32(&format!("{name}.states"));
    let whole = wanted.len() > 256;
    let start = if whole {
        wanted[..256].to_vec()
    } else {
        recorded.f32("start").iter().map(|v| (f64::from(*v) * sigmas[0]) as f32).collect()
    };
    let mut state = SamplerState::new(start);
    let mut found = state.x.clone();
    let sampler = samplers::find(sampler).unwrap();
    let outcome = sample(
        sampler,
        options,
        &mut Toy(path),
        &sigmas,
        &mut RecordedNoise::new(draws),
        &mut state,
        &mut |progress| {
            found.extend(&progress.state.x);
            ControlFlow::Continue(())
        },
    );
    assert_eq!(outcome.unwrap(), Outcome::Finished);
    let found = if whole { &found } else { &state.x };
    blocks.check(name, found, &wanted, TOLERANCE);
}

fn compare(group: &str, path: NoisePath, cases: &[(&str, &str, SamplerOptions)]) {
    let fixture = Fixture::open(&format!("reference/sampling/trajectories_{group}.safetensors"));
    let mut blocks = Blocks::new(group);
    let mut seen = 0;
    for (name, sampler, options) in cases {
        check(&mut blocks, &fixture, name, sampler, path, options);
        seen += 1;
    }
    assert_eq!(
        seen,
        fixture.names().filter(|name| name.ends_with(".states")).count(),
        "{group}: a trajectory is not compared"
    );
    blocks.finish();
}

fn plain() -> SamplerOptions {
    SamplerOptions::default()
}

fn order(order: usize) -> SamplerOptions {
    SamplerOptions { order: Some(order), ..plain() }
}

fn eta(eta: f64, s_noise: f64) -> SamplerOptions {
    SamplerOptions { eta: Some(eta), s_noise, ..plain() }
}

#[test]
fn k_diffusion() {
    let cases = [
        ("euler", "euler", plain()),
        ("heun", "heun", plain()),
        ("dpm_2", "dpm_2", plain()),
        ("lms", "lms", plain()),
        ("lms_order2", "lms", order(2)),
        ("dpmpp_2m", "dpmpp_2m", plain()),
    ];
    compare("k_diffusion", NoisePath::VarianceExploding, &cases);
}

#[test]
fn k_diffusion_with_noise() {
    let churn = || SamplerOptions { s_churn: 4.0, s_tmin: 0.05, s_tmax: 10.0, s_noise: 1.003, ..plain() };
    let cases = [
        ("euler_ancestral", "Euler a", plain()),
        ("euler_ancestral_eta", "euler_ancestral", eta(0.6, 1.1)),
        ("dpm_2_ancestral", "DPM2 a", plain()),
        ("dpmpp_2s_ancestral", "DPM++ 2S a", plain()),
        ("dpmpp_sde", "DPM++ SDE", plain()),
        ("dpmpp_2m_sde", "DPM++ 2M SDE", plain()),
        ("dpmpp_2m_sde_eta", "dpmpp_2m_sde", eta(0.5, 0.9)),
        ("dpmpp_2m_sde_heun", "DPM++ 2M SDE Heun", plain()),
        ("dpmpp_3m_sde", "DPM++ 3M SDE", plain()),
        ("euler_churn", "euler", churn()),
        ("heun_churn", "heun", churn()),
        ("dpm_2_churn", "dpm_2", churn()),
    ];
    compare("k_diffusion_noisy", NoisePath::VarianceExploding, &cases);
}

#[test]
fn diffusers() {
    let cases = [
        ("ddim", "DDIMScheduler", plain()),
        ("ddim_minimum", "ddim", plain()),
        ("ddim_trailing", "ddim", plain()),
        ("uni_pc", "uni_pc", plain()),
        ("uni_pc_bh2", "UniPCMultistepScheduler", plain()),
        ("uni_pc_order3", "uni_pc", order(3)),
        ("uni_pc_bh2_order3", "uni_pc_bh2", order(3)),
        ("deis", "DEISMultistepScheduler", plain()),
        ("deis_order3", "deis", order(3)),
    ];
    compare("diffusers", NoisePath::VarianceExploding, &cases);
    let more = [
        ("deis_short", "deis", order(3)),
        ("dpmpp_2m", "DPMSolverMultistepScheduler", plain()),
        ("dpmpp_2m_sde", "dpmpp_2m_sde", plain()),
        ("ddim_eta", "ddim", eta(0.7, 1.0)),
        ("ddpm", "DDPMScheduler", plain()),
        ("lcm", "LCMScheduler", plain()),
        ("tcd", "TCDScheduler", plain()),
        ("tcd_half", "tcd", eta(0.5, 1.0)),
        ("pndm", "PNDMScheduler", plain()),
    ];
    compare("diffusers_more", NoisePath::VarianceExploding, &more);
}

#[test]
fn flow() {
    let cases = [
        ("euler", "euler", plain()),
        ("heun", "heun", plain()),
        ("dpm_2", "dpm_2", plain()),
        ("lms", "lms", plain()),
        ("euler_match", "FlowMatchEulerDiscreteScheduler", plain()),
        ("uni_pc_bh2", "uni_pc_bh2", plain()),
        ("dpmpp_2m", "dpmpp_2m", plain()),
        ("dpmpp_2m_sde", "dpmpp_2m_sde", plain()),
    ];
    compare("flow", NoisePath::Flow, &cases);
    let more = [
        ("euler_ancestral", "euler_ancestral", plain()),
        ("dpm_2_ancestral", "dpm_2_ancestral", plain()),
        ("dpmpp_2s_ancestral", "dpmpp_2s_ancestral", plain()),
        ("dpmpp_sde", "dpmpp_sde", plain()),
        ("dpmpp_3m_sde", "dpmpp_3m_sde", plain()),
    ];
    compare("flow_definitions", NoisePath::Flow, &more);
}

#[test]
fn definitions() {
    let cases = [
        ("euler_cfg_pp", "euler_cfg_pp", plain()),
        ("euler_ancestral_cfg_pp", "euler_ancestral_cfg_pp", plain()),
        ("dpmpp_2m_cfg_pp", "dpmpp_2m_cfg_pp", plain()),
        ("restart", "restart", plain()),
        ("restart_short", "restart", plain()),
    ];
    compare("definitions", NoisePath::VarianceExploding, &cases);
}
