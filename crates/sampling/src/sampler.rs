//! What a sampler is, what it is given, and what it keeps between steps.

use crate::error::{SampleError, check_length};
use crate::noise::{Draw, NoiseSource};
use crate::path::NoisePath;
use crate::training_noise::TrainingNoise;
use crate::vector::combine;

/// Predicts the clean picture: the network with its conditioning, guidance and scaling.
pub trait Denoiser {
    /// Writes into `denoised` the picture that the state `x` at noise level `sigma` comes from. Element order is the
    /// denoiser's own affair; samplers work element by element.
    ///
    /// # Errors
    /// Whatever goes wrong inside; it is passed on in [`SampleError::Denoiser`].
    fn denoise(&mut self, x: &[f32], sigma: f64, denoised: &mut [f32]) -> Result<(), DenoiseError>;

    /// As [`Denoiser::denoise`], and into `unconditional` the prediction without the prompt, which CFG++ samplers renoise
    /// with. Without guidance both are equal, and so they are by default.
    ///
    /// # Errors
    /// As [`Denoiser::denoise`].
    fn denoise_pair(
        &mut self,
        x: &[f32],
        sigma: f64,
        denoised: &mut [f32],
        unconditional: &mut [f32],
    ) -> Result<(), DenoiseError> {
        self.denoise(x, sigma, denoised)?;
        unconditional.copy_from_slice(denoised);
        Ok(())
    }

    /// The path on which the model was trained.
    fn noise_path(&self) -> NoisePath;

    /// The timesteps of training, for the few samplers that step in them (TCD). Stable Diffusion's where there is none.
    fn training_noise(&self) -> Option<&TrainingNoise> {
        None
    }
}

/// What a denoiser may fail with.
pub type DenoiseError = Box<dyn std::error::Error + Send + Sync>;

/// What is known of a sampler: help texts, listings and sweeps are made from it.
#[derive(Debug)]
pub struct SamplerSpec {
    /// Its id: k-diffusion's or diffusers' where there is one.
    pub id: &'static str,
    /// A1111's label, or one in its manner.
    pub name: &'static str,
    /// Ids elsewhere: ComfyUI's, diffusers' classes.
    pub aliases: &'static [&'static str],
    /// Order of convergence of its deterministic part.
    pub order: usize,
    /// Evaluations of the denoiser in each step (the last may need fewer).
    pub evaluations: usize,
    /// Whether it adds noise at its default `eta`.
    pub uses_noise: bool,
    /// Whether it wants one sigma more, and the last but one dropped (A1111, ComfyUI).
    pub drops_penultimate_sigma: bool,
    /// Strength of its noise where none is asked for.
    pub default_eta: f64,
    /// Where it is from.
    pub paper: &'static str,
}

/// What a user may turn. Each sampler reads what concerns it.
#[derive(Debug, Clone, PartialEq)]
pub struct SamplerOptions {
    /// Share of the noise that is put back each step: 0 deterministic, 1 full; TCD's gamma. `None`: the sampler's default.
    pub eta: Option<f64>,
    /// Factor on every noise that is added.
    pub s_noise: f64,
    /// Karras churn: noise added before a step of Euler, Heun and DPM2.
    pub s_churn: f64,
    /// Churn only at sigmas not below this.
    pub s_tmin: f64,
    /// Churn only at sigmas not above this.
    pub s_tmax: f64,
    /// Order of a multistep sampler (LMS 1 to 4, UniPC and DEIS 1 to 3). `None`: the sampler's default.
    pub order: Option<usize>,
}

impl Default for SamplerOptions {
    fn default() -> Self {
        SamplerOptions { eta: None, s_noise: 1.0, s_churn: 0.0, s_tmin: 0.0, s_tmax: f64::INFINITY, order: None }
    }
}

impl SamplerOptions {
    /// Errors where a number is negative, NaN or infinite where it may not be.
    pub(crate) fn check(&self) -> Result<(), SampleError> {
        for (name, value) in [("eta", self.eta.unwrap_or(0.0)), ("s_noise", self.s_noise), ("s_churn", self.s_churn)] {
            if !(0.0..=1e6).contains(&value) {
                return Err(SampleError::parameter(name, value, "a number from 0 to 1000000"));
            }
        }
        match self.order {
            Some(order) if !(1..=4).contains(&order) => Err(SampleError::parameter("sampler order", order, "1 to 4")),
            _ => Ok(()),
        }
    }
}

/// A way from noise to picture.
pub trait Sampler: Sync + std::fmt::Debug {
    /// What is known of it.
    fn spec(&self) -> &'static SamplerSpec;

    /// The sigmas that it will visit, made from the schedule's. Most visit just those.
    fn plan(&self, sigmas: &[f64]) -> Vec<f64> {
        sigmas.to_vec()
    }

    /// Goes from `step.sigma()` to `step.next()`.
    ///
    /// # Errors
    /// Whatever the denoiser or the noise source fails with.
    fn step(&self, step: &mut Step<'_>) -> Result<(), SampleError>;
}

/// Everything that a run must keep to go on later bit for bit: plain data, to be written anywhere.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SamplerState {
    /// The noisy picture.
    pub x: Vec<f32>,
    /// Steps done.
    pub step: usize,
    /// Noise drawn since the initial noise, in draws.
    pub noise_draws: u64,
    /// What multistep samplers remember, newest first.
    pub history: Vec<Vec<f32>>,
}

impl SamplerState {
    /// The state before the first step.
    pub fn new(x: Vec<f32>) -> Self {
        SamplerState { x, ..Default::default() }
    }

    /// Errors where the state cannot come from such a run: a saved file may be anything.
    pub(crate) fn check(&self, sigmas: &[f64]) -> Result<(), SampleError> {
        for kept in &self.history {
            check_length("a vector of the saved history", kept.len(), self.x.len())?;
        }
        if self.step >= sigmas.len() {
            let reason = format!("it has done {} steps, but the run has {}", self.step, sigmas.len().saturating_sub(1));
            return Err(SampleError::State { reason });
        }
        if self.history.len() > self.step + usize::from(self.step > 0) {
            let reason = format!("it remembers {} vectors after {} steps", self.history.len(), self.step);
            return Err(SampleError::State { reason });
        }
        if self.noise_draws > 4 * self.step as u64 {
            let reason = format!("it has drawn noise {} times in {} steps", self.noise_draws, self.step);
            return Err(SampleError::State { reason });
        }
        Ok(())
    }
}

/// One step of a run, as a sampler sees it.
pub struct Step<'a> {
    pub(crate) sigmas: &'a [f64],
    pub(crate) options: &'a SamplerOptions,
    pub(crate) spec: &'static SamplerSpec,
    pub(crate) path: NoisePath,
    pub(crate) state: &'a mut SamplerState,
    pub(crate) denoiser: &'a mut dyn Denoiser,
    pub(crate) noise: &'a mut dyn NoiseSource,
    pub(crate) denoised: Option<Vec<f32>>,
}

impl Step<'_> {
    /// The noise level that the state is at.
    pub fn sigma(&self) -> f64 {
        self.sigmas[self.state.step]
    }

    /// The noise level to reach.
    pub fn next(&self) -> f64 {
        self.sigmas[self.state.step + 1]
    }

    /// The noise level `back` steps ago (0: now), or the first.
    pub fn earlier(&self, back: usize) -> f64 {
        self.sigmas[self.state.step.saturating_sub(back)]
    }

    /// Steps of the whole run.
    pub fn total(&self) -> usize {
        self.sigmas.len() - 1
    }

    /// Steps done before this one.
    pub fn index(&self) -> usize {
        self.state.step
    }

    /// The path of the noise.
    pub fn path(&self) -> NoisePath {
        self.path
    }

    /// What the user turned.
    pub fn options(&self) -> &SamplerOptions {
        self.options
    }

    /// The strength of added noise that was asked for, or the sampler's own.
    pub fn eta(&self) -> f64 {
        self.options.eta.unwrap_or(self.spec.default_eta)
    }

    /// The state.
    pub fn x(&self) -> &[f32] {
        &self.state.x
    }

    /// Replaces the state.
    pub fn set(&mut self, x: Vec<f32>) {
        self.state.x = x;
    }

    /// The vector remembered `back` remembrances ago (0: the newest).
    pub fn remembered(&self, back: usize) -> Option<&[f32]> {
        self.state.history.get(back).map(Vec::as_slice)
    }

    /// How many vectors are remembered.
    pub fn memory(&self) -> usize {
        self.state.history.len()
    }

    /// Remembers a vector for later steps, and forgets all but the newest `keep`.
    pub fn remember(&mut self, vector: Vec<f32>, keep: usize) {
        self.state.history.insert(0, vector);
        self.state.history.truncate(keep);
    }

    /// Forgets everything: the next step of a multistep sampler is of first order.
    pub fn forget(&mut self) {
        self.state.history.clear();
    }

    /// The clean picture predicted from the state at `sigma` (which differs from [`Step::sigma`] after churn).
    ///
    /// # Errors
    /// Where the denoiser fails or answers NaN.
    pub fn denoise(&mut self, sigma: f64) -> Result<Vec<f32>, SampleError> {
        let x = std::mem::take(&mut self.state.x);
        let predicted = self.denoise_at(&x, sigma);
        self.state.x = x;
        predicted
    }

    /// The clean picture predicted from another state, inside a step of several evaluations.
    ///
    /// # Errors
    /// As [`Step::denoise`].
    pub fn denoise_at(&mut self, x: &[f32], sigma: f64) -> Result<Vec<f32>, SampleError> {
        let mut predicted = vec![0.0; x.len()];
        let answer = self.denoiser.denoise(x, sigma, &mut predicted);
        self.accept(sigma, answer, &predicted)?;
        Ok(predicted)
    }

    /// The clean picture with guidance, and without the prompt.
    ///
    /// # Errors
    /// As [`Step::denoise`].
    pub fn denoise_pair(&mut self, sigma: f64) -> Result<(Vec<f32>, Vec<f32>), SampleError> {
        let len = self.state.x.len();
        let (mut guided, mut unconditional) = (vec![0.0; len], vec![0.0; len]);
        let answer = self.denoiser.denoise_pair(&self.state.x, sigma, &mut guided, &mut unconditional);
        self.accept(sigma, answer, &guided)?;
        self.accept(sigma, Ok(()), &unconditional)?;
        Ok((guided, unconditional))
    }

    fn accept(&mut self, sigma: f64, answer: Result<(), DenoiseError>, predicted: &[f32]) -> Result<(), SampleError> {
        let step = self.state.step;
        answer.map_err(|source| SampleError::Denoiser { step, sigma, source })?;
        check_finite(predicted, step, sigma)?;
        if self.denoised.is_none() {
            self.denoised = Some(predicted.to_vec());
        }
        Ok(())
    }

    /// The noise level at the timestep `factor` times that of `sigma`, rounded down to a timestep of training.
    pub fn scaled_timestep(&self, sigma: f64, factor: f64) -> f64 {
        let standard;
        let noise = match self.denoiser.training_noise() {
            Some(noise) => noise,
            None => {
                standard = TrainingNoise::standard(self.path);
                &standard
            }
        };
        // A timestep found from a sigma may lie a rounding error below the whole number that it was made from.
        let timestep = (factor * noise.place(sigma) + 1e-6).floor();
        noise.sigma_at(timestep)
    }

    /// Standard normal noise for this step.
    ///
    /// # Errors
    /// Where the source has none left.
    pub fn draw(&mut self) -> Result<Vec<f32>, SampleError> {
        let (from, to) = (self.sigma(), self.next());
        self.draw_for(Draw::Step { from, to })
    }

    /// Standard normal noise that is the increment of one Brownian path between two noise levels, where the source has such.
    ///
    /// # Errors
    /// Where the source has none left.
    pub fn draw_between(&mut self, from: f64, to: f64) -> Result<Vec<f32>, SampleError> {
        self.draw_for(Draw::Between { from, to })
    }

    fn draw_for(&mut self, draw: Draw) -> Result<Vec<f32>, SampleError> {
        let mut out = vec![0.0; self.state.x.len()];
        self.noise.draw(draw, &mut out)?;
        self.state.noise_draws += 1;
        Ok(out)
    }

    /// Adds `amount * s_noise` of fresh noise to the state; draws nothing where the amount is 0.
    ///
    /// # Errors
    /// Where the source has none left.
    pub fn add_noise(&mut self, amount: f64) -> Result<(), SampleError> {
        if amount > 0.0 {
            let grain = self.draw()?;
            self.state.x = combine(&[(1.0, &self.state.x), (amount * self.options.s_noise, &grain)]);
        }
        Ok(())
    }

    /// Goes back up to a slightly higher noise level before the step, if asked to (Karras et al. 2022, algorithm 2), and
    /// returns that level. Noise is drawn each step once churn is on, as k-diffusion does.
    ///
    /// # Errors
    /// Where the source has no noise left.
    pub fn churn(&mut self) -> Result<f64, SampleError> {
        let sigma = self.sigma();
        if self.options.s_churn == 0.0 || self.path == NoisePath::Flow {
            return Ok(sigma);
        }
        let grain = self.draw()?;
        if sigma < self.options.s_tmin || sigma > self.options.s_tmax {
            return Ok(sigma);
        }
        let gamma = (self.options.s_churn / self.total() as f64).min(std::f64::consts::SQRT_2 - 1.0);
        let up = sigma * (1.0 + gamma);
        let amount = (up * up - sigma * sigma).sqrt() * self.options.s_noise;
        self.state.x = combine(&[(1.0, &self.state.x), (amount, &grain)]);
        Ok(up)
    }
}

/// Errors at the first NaN or infinity.
pub(crate) fn check_finite(values: &[f32], step: usize, sigma: f64) -> Result<(), SampleError> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(SampleError::NotFinite { step, sigma, index }),
        None => Ok(()),
    }
}
