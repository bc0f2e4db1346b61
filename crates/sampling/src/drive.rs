//! Runs a sampler along its sigmas: progress, previews, cancellation within one step, resumption.

use std::ops::ControlFlow;

use crate::error::SampleError;
use crate::noise::NoiseSource;
use crate::path::NoisePath;
use crate::sampler::{Denoiser, Sampler, SamplerOptions, SamplerState, Step, check_finite};

/// What an observer is told after each step.
#[derive(Debug)]
pub struct Progress<'a> {
    /// Steps done, from 1.
    pub step: usize,
    /// Steps in all.
    pub total: usize,
    /// The noise level that was left.
    pub sigma: f64,
    /// The first clean picture that was predicted in this step, for previews; none where the step only added noise.
    pub denoised: Option<&'a [f32]>,
    /// The state after the step: keep a copy to resume from here.
    pub state: &'a SamplerState,
}

/// An observer that lets a run go on to its end.
pub fn go_on(_: &Progress<'_>) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The last sigma was reached.
    Finished,
    /// The observer stopped it; the state can be resumed.
    Stopped,
}

/// Samples from `state` to the end of `sigmas`, `state.x` becoming the picture.
///
/// `sigmas` descend and end where the picture is wanted, mostly at 0. A state that has steps behind it goes on there: with
/// equal arguments the result equals the unbroken run's bit for bit. After each step `observer` may stop the run.
///
/// # Errors
/// Where the sigmas, the options or the state make no sense, and where the denoiser or the noise source fails. The state
/// is then that of the last whole step.
pub fn sample(
    sampler: &dyn Sampler,
    options: &SamplerOptions,
    denoiser: &mut dyn Denoiser,
    sigmas: &[f64],
    noise: &mut dyn NoiseSource,
    state: &mut SamplerState,
    observer: &mut dyn FnMut(&Progress<'_>) -> ControlFlow<()>,
) -> Result<Outcome, SampleError> {
    let path = denoiser.noise_path();
    check_sigmas(sigmas, path)?;
    options.check()?;
    let sigmas = sampler.plan(sigmas);
    state.check(&sigmas)?;
    noise.begin(&sigmas);
    noise.seek(state.noise_draws, state.x.len())?;
    let total = sigmas.len() - 1;
    while state.step < total {
        let mut next = state.clone();
        let spec = sampler.spec();
        let mut step = Step { sigmas: &sigmas, options, spec, path, state: &mut next, denoiser, noise, denoised: None };
        sampler.step(&mut step)?;
        let denoised = step.denoised.take();
        check_finite(&next.x, next.step, sigmas[next.step + 1])?;
        next.step += 1;
        *state = next;
        let sigma = sigmas[state.step - 1];
        let progress = Progress { step: state.step, total, sigma, denoised: denoised.as_deref(), state };
        if observer(&progress).is_break() && state.step < total {
            return Ok(Outcome::Stopped);
        }
    }
    Ok(Outcome::Finished)
}

/// Errors unless there are two sigmas or more, finite, descending, positive but for a last 0, and on the path.
fn check_sigmas(sigmas: &[f64], path: NoisePath) -> Result<(), SampleError> {
    if sigmas.len() < 2 {
        return Err(SampleError::sigmas("there must be a first and a last one"));
    }
    if sigmas.iter().any(|s| !s.is_finite() || *s < 0.0) {
        return Err(SampleError::sigmas("each must be a finite number, not negative"));
    }
    if let Some(w) = sigmas.windows(2).find(|w| w[1] >= w[0]) {
        return Err(SampleError::sigmas(format!("they must descend, but {} follows {}", w[1], w[0])));
    }
    if sigmas[0] > path.limit() {
        let limit = path.limit();
        return Err(SampleError::sigmas(format!("{} is above {limit}, the most noise on this path", sigmas[0])));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::noise::{DrawOrder, DrawType, Generator, NoiseShape, SeededNoise};
    use crate::sampler::DenoiseError;
    use crate::samplers::SAMPLERS;

    struct Toy {
        calls: usize,
        fail_from: usize,
    }

    impl Denoiser for Toy {
        fn denoise(&mut self, x: &[f32], sigma: f64, denoised: &mut [f32]) -> Result<(), DenoiseError> {
            self.calls += 1;
            if self.calls > self.fail_from {
                return Err("no more".into());
            }
            for (out, x) in denoised.iter_mut().zip(x) {
                *out = (0.7 * x).tanh() / (1.0 + sigma as f32);
            }
            Ok(())
        }

        fn noise_path(&self) -> NoisePath {
            NoisePath::VarianceExploding
        }
    }

    const SIGMAS: [f64; 7] = [14.6, 7.0, 3.0, 1.2, 0.5, 0.1, 0.0];

    fn run(
        sampler: &dyn Sampler,
        state: &mut SamplerState,
        stop_at: usize,
        fail_from: usize,
    ) -> Result<Outcome, SampleError> {
        let shape = NoiseShape { batch: 1, channels: 2, height: 3, width: 3 };
        let mut noise = SeededNoise::new(Generator::Cpu(DrawType::F32), DrawOrder::A1111, shape, 1);
        let mut toy = Toy { calls: 0, fail_from };
        let options = SamplerOptions { eta: Some(0.8), s_churn: 1.0, ..Default::default() };
        sample(sampler, &options, &mut toy, &SIGMAS, &mut noise, state, &mut |progress| {
            if progress.step == stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    }

    fn start() -> SamplerState {
        SamplerState::new((0..18).map(|i| 14.0 * (i as f32).sin()).collect())
    }

    #[test]
    fn resumed_at_any_step_is_straight() {
        for sampler in SAMPLERS {
            let mut straight = start();
            assert_eq!(run(*sampler, &mut straight, 0, 999).unwrap(), Outcome::Finished);
            for stop_at in 1..straight.step {
                let mut resumed = start();
                assert_eq!(run(*sampler, &mut resumed, stop_at, 999).unwrap(), Outcome::Stopped);
                assert_eq!(resumed.step, stop_at);
                run(*sampler, &mut resumed, 0, 999).unwrap();
                assert_eq!(resumed, straight, "{} stopped at {stop_at}", sampler.spec().id);
            }
        }
    }

    #[test]
    fn a_failed_step_leaves_the_state_before_it() {
        for sampler in SAMPLERS {
            let mut state = start();
            let error = run(*sampler, &mut state, 0, 2).unwrap_err();
            assert!(error.to_string().contains("no more"), "{error}");
            let mut straight = start();
            run(*sampler, &mut straight, 0, 999).unwrap();
            run(*sampler, &mut state, 0, 999).unwrap();
            assert_eq!(state, straight, "{}", sampler.spec().id);
        }
    }

    /// A saved file may be anything: an error or some picture, never a panic or a hang.
    #[test]
    fn hostile_states_do_no_harm() {
        let vector = || (0..18).map(|i| i as f32).collect::<Vec<f32>>();
        for sampler in SAMPLERS {
            for (step, vectors, noise_draws) in [
                (0, 1, 0),
                (1, 1, 0),
                (1, 2, 0),
                (2, 3, 8),
                (5, 1, 0),
                (5, 6, 3),
                (6, 2, 9),
                (2, 1, u64::MAX),
                (usize::MAX, 0, 0),
            ] {
                let mut state = SamplerState { x: vector(), step, noise_draws, history: vec![vector(); vectors] };
                let ended = run(*sampler, &mut state, 0, 999);
                assert!(ended.is_err() || state.x.iter().all(|v| v.is_finite()), "{}", sampler.spec().id);
            }
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [&[1.0][..], &[1.0, 2.0], &[1.0, f64::NAN], &[1.0, -1.0], &[f64::INFINITY, 0.0]] {
            assert!(check_sigmas(bad, NoisePath::VarianceExploding).is_err(), "{bad:?}");
        }
        assert!(check_sigmas(&[1.5, 0.0], NoisePath::Flow).is_err());
        let mut state = start();
        state.step = 7;
        assert!(run(SAMPLERS[0], &mut state, 0, 999).is_err());
        let mut state = start();
        state.history = vec![vec![0.0; 3]];
        assert!(run(SAMPLERS[0], &mut state, 0, 999).is_err());
        assert!(SamplerOptions { eta: Some(f64::NAN), ..Default::default() }.check().is_err());
    }
}
