//! Schedules and training noise against k-diffusion, diffusers and definitions (`reference/gen_schedules.py`), in f64.

use danqing_sampling::TrainingNoise;
use danqing_sampling::schedules::{LastSigma, Levels, ScheduleOptions, SpacingManner, find};
use danqing_sampling::training_noise::BetaSchedule;
use danqing_testing::Fixture;

/// Relative, of each sigma (docs/numerics.md).
const TOLERANCE: f64 = 1e-6;
const STEPS: [usize; 8] = [1, 2, 4, 10, 20, 30, 50, 999];

fn open(name: &str) -> Fixture {
    Fixture::open(&format!("reference/sampling/schedules_{name}.safetensors"))
}

#[track_caller]
fn check(name: &str, found: &[f64], wanted: &[f64]) {
    assert_eq!(found.len(), wanted.len(), "{name}: {found:?} {wanted:?}");
    for (i, (a, b)) in found.iter().zip(wanted).enumerate() {
        let allowed = TOLERANCE * b.abs();
        assert!((a - b).abs() <= allowed, "{name}[{i}]: {a} where {b} is wanted");
    }
}

fn levels(id: &str, noise: &TrainingNoise, steps: usize, options: &ScheduleOptions) -> Levels {
    find(id).unwrap().levels(noise, steps, options).unwrap()
}

#[test]
fn training_noise() {
    let fixture = open("training");
    for (id, schedule) in [
        ("linear", BetaSchedule::Linear),
        ("scaled_linear", BetaSchedule::ScaledLinear),
        ("squaredcos_cap_v2", BetaSchedule::SquaredCosCapV2),
    ] {
        assert_eq!(BetaSchedule::parse(id), Some(schedule));
        let noise = TrainingNoise::new(schedule, 1000, 0.00085, 0.012).unwrap();
        check(id, noise.sigmas(), &fixture.f64(&format!("training.{id}")));
    }
    let zero = TrainingNoise::stable_diffusion().with_zero_terminal_snr();
    check("zero snr", zero.sigmas(), &fixture.f64("training.zero_snr"));
}

#[test]
fn k_diffusion() {
    let fixture = open("k_diffusion");
    let noise = TrainingNoise::stable_diffusion();
    let plain = ScheduleOptions::default();
    let rho5 = ScheduleOptions { rho: Some(5.0), sigma_min: Some(0.1), sigma_max: Some(10.0), ..plain.clone() };
    let rho2 = ScheduleOptions { rho: Some(2.0), ..plain.clone() };
    for n in STEPS {
        for (name, id, options) in [
            ("normal", "normal", &plain),
            ("karras", "karras", &plain),
            ("karras_rho5", "karras", &rho5),
            ("exponential", "exponential", &plain),
            ("polyexponential", "polyexponential", &plain),
            ("polyexponential_rho2", "polyexponential", &rho2),
        ] {
            let key = format!("{name}.{n}");
            check(&key, &levels(id, &noise, n, options).sigmas, &fixture.f64(&key));
        }
    }
    let sigmas = fixture.f64("timestep.sigmas");
    let exact: Vec<f64> = sigmas.iter().map(|s| noise.timestep(*s)).collect();
    check("timestep", &exact, &fixture.f64("timestep.exact"));
    let quantised: Vec<f64> = sigmas.iter().map(|s| noise.quantised_timestep(*s)).collect();
    check("quantised timestep", &quantised, &fixture.f64("timestep.quantised"));
}

/// With linspace spacing and one step diffusers runs at timestep 0, where a picture cannot start; ours runs at the last. Of
/// 999 multistep steps with leading spacing diffusers' first is timestep 1000, which is none, at the sigma of the second.
#[test]
fn diffusers() {
    let (small, large) = (open("diffusers"), open("diffusers_999"));
    let noise = TrainingNoise::stable_diffusion();
    let zero_snr = noise.with_zero_terminal_snr();
    let minimum = LastSigma::TrainingMinimum;
    for (name, noise, manner, last) in [
        ("euler", &noise, SpacingManner::Euler, LastSigma::Zero),
        ("ddim", &noise, SpacingManner::Ddim, LastSigma::Zero),
        ("multistep", &noise, SpacingManner::Multistep, LastSigma::Zero),
        ("euler_minimum", &noise, SpacingManner::Euler, minimum),
        ("euler_zero_snr", &zero_snr, SpacingManner::Euler, LastSigma::Zero),
    ] {
        for spacing in ["leading", "trailing", "linspace"] {
            for n in STEPS {
                let starts_at_0 = (spacing, n) == ("linspace", 1) && manner != SpacingManner::Multistep;
                let starts_past_the_end = (name, spacing, n) == ("multistep", "leading", 999);
                if starts_at_0 || starts_past_the_end || (name, n) == ("euler_minimum", 999) {
                    continue;
                }
                let fixture = if n == 999 { &large } else { &small };
                let key = format!("{name}.{spacing}.{n}");
                let options = ScheduleOptions { manner, last, ..Default::default() };
                let found = levels(spacing, noise, n, &options);
                let (mut sigmas, mut timesteps) = (fixture.f64(&key), fixture.f64(&format!("{key}.timesteps")));
                if last == minimum && sigmas[n] == sigmas[n - 1] {
                    sigmas.pop();
                    timesteps.pop();
                }
                check(&key, &found.sigmas, &sigmas);
                let told: Vec<f64> = found.sigmas[..found.steps()].iter().map(|s| found.timestep(noise, *s)).collect();
                check(&format!("{key} timesteps"), &told, &timesteps);
            }
        }
    }
}

#[test]
fn diffusers_consistency_and_flow() {
    let (small, large) = (open("diffusers"), open("diffusers_999"));
    let noise = TrainingNoise::stable_diffusion();
    let tokens = TrainingNoise::flow_for_tokens(1024).unwrap();
    let shift3 = TrainingNoise::flow(3.0).unwrap();
    let options = ScheduleOptions::default();
    for n in STEPS {
        let fixture = if n == 999 { &large } else { &small };
        let key = format!("flow_1024_tokens.{n}");
        check(&key, &levels("flow_match", &tokens, n, &options).sigmas, &fixture.f64(&key));
        let key = format!("flow_normal_shift3.{n}");
        check(&key, &levels("normal", &shift3, n, &options).sigmas, &fixture.f64(&key));
        if n <= 50 {
            let found = levels("lcm", &noise, n, &options).timesteps.unwrap();
            check("lcm", &found, &fixture.f64(&format!("lcm.{n}")));
        }
    }
}

#[test]
fn definitions() {
    let fixture = open("definitions");
    let noise = TrainingNoise::stable_diffusion();
    for n in STEPS {
        for id in [
            "sgm_uniform",
            "simple",
            "ddim_uniform",
            "beta",
            "kl_optimal",
            "linear_quadratic",
            "ays",
            "ays_sdxl",
            "ays_svd",
        ] {
            let key = format!("{id}.{n}");
            check(&key, &levels(id, &noise, n, &ScheduleOptions::default()).sigmas, &fixture.f64(&key));
        }
    }
}
