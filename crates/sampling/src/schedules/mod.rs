//! The sigmas that a run visits: one file per schedule, from the noise that the model was trained with.
//!
//! A schedule gives `steps` sigmas, descending, and a last one where the picture is wanted, mostly 0. Some programs also fix
//! the timestep that the network is told at each sigma; where it is not given, it follows from the sigma.

mod ays;
mod beta;
mod ddim_uniform;
mod exponential;
mod flow_match;
mod karras;
mod kl_optimal;
mod lcm;
mod leading;
mod linear_quadratic;
mod linspace;
mod normal;
mod polyexponential;
mod sgm_uniform;
mod simple;
mod trailing;

use crate::error::SampleError;
use crate::sampler::Sampler;
use crate::samplers::squeeze;
use crate::training_noise::TrainingNoise;

/// Every schedule.
pub static SCHEDULES: &[&dyn SigmaSchedule] = &[
    &normal::Normal,
    &karras::Karras,
    &exponential::Exponential,
    &polyexponential::Polyexponential,
    &sgm_uniform::SgmUniform,
    &simple::Simple,
    &ddim_uniform::DdimUniform,
    &beta::Beta,
    &kl_optimal::KlOptimal,
    &ays::SD15,
    &ays::SDXL,
    &ays::SVD,
    &linear_quadratic::LinearQuadratic,
    &leading::Leading,
    &trailing::Trailing,
    &linspace::Linspace,
    &lcm::Lcm,
    &flow_match::FlowMatch,
];

/// What is known of a schedule.
#[derive(Debug)]
pub struct ScheduleSpec {
    /// Its id: ComfyUI's where there is one, else diffusers' `timestep_spacing`.
    pub id: &'static str,
    /// A1111's label, or one in its manner.
    pub name: &'static str,
    /// Ids elsewhere.
    pub aliases: &'static [&'static str],
    /// Where it is from.
    pub paper: &'static str,
}

/// Chooses sigmas.
pub trait SigmaSchedule: Sync + std::fmt::Debug {
    /// What is known of it.
    fn spec(&self) -> &'static ScheduleSpec;

    /// The levels of a run of `steps` steps.
    ///
    /// # Errors
    /// Where the schedule has no such number of steps.
    fn levels(&self, noise: &TrainingNoise, steps: usize, options: &ScheduleOptions) -> Result<Levels, SampleError>;
}

/// What a user or a checkpoint's configuration may turn.
#[derive(Debug, Clone, PartialEq)]
pub struct ScheduleOptions {
    /// Karras: curvature, 7. Polyexponential: 1.
    pub rho: Option<f64>,
    /// Lowest sigma instead of training's (Karras, exponential, polyexponential, KL optimal).
    pub sigma_min: Option<f64>,
    /// Highest sigma instead of training's (the same).
    pub sigma_max: Option<f64>,
    /// Timesteps added by leading spacing (`steps_offset`; 1 for Stable Diffusion).
    pub steps_offset: usize,
    /// Where a run ends.
    pub last: LastSigma,
    /// Whose leading, trailing and linspace spacing is meant.
    pub manner: SpacingManner,
    /// Shape of the beta schedule's distribution: alpha, beta; 0.6 each.
    pub beta: (f64, f64),
}

impl Default for ScheduleOptions {
    fn default() -> Self {
        ScheduleOptions {
            rho: None,
            sigma_min: None,
            sigma_max: None,
            steps_offset: 1,
            last: LastSigma::Zero,
            manner: SpacingManner::Euler,
            beta: (0.6, 0.6),
        }
    }
}

/// diffusers' classes space their timesteps each in its own manner.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SpacingManner {
    /// Euler, Euler a, Heun, LMS, DPM2: linspace keeps fractions of timesteps and interpolates sigma itself.
    #[default]
    Euler,
    /// DDIM, DDPM, PNDM: linspace is rounded to whole timesteps.
    Ddim,
    /// DPM++, UniPC, DEIS: linspace and leading space one step more, round, and leave the lowest out.
    Multistep,
}

/// Where a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LastSigma {
    /// No noise.
    #[default]
    Zero,
    /// The lowest sigma of training (diffusers: `final_sigmas_type = "sigma_min"`, DDIM's `set_alpha_to_one = false`). Where
    /// the step before is there already, it is left out.
    TrainingMinimum,
}

/// The levels of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Levels {
    /// One sigma more than there are steps, descending.
    pub sigmas: Vec<f64>,
    /// The timesteps of all sigmas but the last, where the schedule fixes them.
    pub timesteps: Option<Vec<f64>>,
}

impl Levels {
    /// The levels of sigmas chosen by hand.
    ///
    /// # Errors
    /// Where they do not descend, or are fewer than two.
    pub fn from_sigmas(sigmas: Vec<f64>) -> Result<Self, SampleError> {
        if sigmas.len() < 2 || sigmas.windows(2).any(|w| w[0].partial_cmp(&w[1]) != Some(std::cmp::Ordering::Greater)) {
            return Err(SampleError::sigmas("there must be two or more, and each must be below the one before"));
        }
        Ok(Levels { sigmas, timesteps: None })
    }

    /// Number of steps.
    pub fn steps(&self) -> usize {
        self.sigmas.len() - 1
    }

    /// The timestep to tell the network at `sigma`: the schedule's own where `sigma` is one of the list, else by the table
    /// of training.
    pub fn timestep(&self, noise: &TrainingNoise, sigma: f64) -> f64 {
        let own = self.timesteps.as_ref().and_then(|timesteps| {
            let at = self.sigmas.iter().position(|s| *s == sigma)?;
            timesteps.get(at).copied()
        });
        own.unwrap_or_else(|| noise.timestep(sigma))
    }

    /// Only the last `steps` steps, for pictures that start from another picture.
    pub fn tail(&self, steps: usize) -> Self {
        let skip = self.steps().saturating_sub(steps.max(1));
        let timesteps = self.timesteps.as_ref().map(|t| t[skip..].to_vec());
        Levels { sigmas: self.sigmas[skip..].to_vec(), timesteps }
    }

    /// Levels from descending sigmas before the last; equal neighbours count once.
    pub(crate) fn ending(mut sigmas: Vec<f64>, last: f64) -> Self {
        sigmas.dedup();
        if sigmas.len() > 1 && sigmas[sigmas.len() - 1] <= last {
            sigmas.pop();
        }
        sigmas.push(last);
        Levels { sigmas, timesteps: None }
    }

    /// Levels at timesteps, told to the network as they are.
    pub(crate) fn at_timesteps(noise: &TrainingNoise, mut timesteps: Vec<f64>, options: &ScheduleOptions) -> Self {
        timesteps.dedup();
        let sigmas = timesteps.iter().map(|t| noise.sigma_at_linear(*t)).collect();
        let levels = Self::ending(sigmas, options.last_sigma(noise));
        timesteps.truncate(levels.steps());
        Levels { timesteps: Some(timesteps), ..levels }
    }
}

impl ScheduleOptions {
    /// Where a run ends.
    pub(crate) fn last_sigma(&self, noise: &TrainingNoise) -> f64 {
        match self.last {
            LastSigma::Zero => 0.0,
            LastSigma::TrainingMinimum => noise.sigma_min(),
        }
    }

    /// Lowest and highest sigma.
    pub(crate) fn range(&self, noise: &TrainingNoise) -> Result<(f64, f64), SampleError> {
        let (low, high) = (self.sigma_min.unwrap_or(noise.sigma_min()), self.sigma_max.unwrap_or(noise.sigma_max()));
        if !(low > 0.0 && high > low && high.is_finite()) {
            return Err(SampleError::sigmas(format!(
                "the lowest, {low}, must be above 0 and below the highest, {high}; mend sigma_min or sigma_max"
            )));
        }
        Ok((low, high))
    }
}

/// Finds a schedule by its id, label or an alias; case, spaces and signs are not looked at.
pub fn find(name: &str) -> Option<&'static dyn SigmaSchedule> {
    let wanted = squeeze(name);
    SCHEDULES.iter().copied().find(|schedule| {
        let spec = schedule.spec();
        [spec.id, spec.name].iter().chain(spec.aliases).any(|known| squeeze(known) == wanted)
    })
}

/// The levels that a sampler wants: some ask a schedule for one step more and leave out the last but one.
///
/// # Errors
/// Where `steps` is 0 or over 10,000, and as [`SigmaSchedule::levels`].
pub fn levels_for(
    sampler: &dyn Sampler,
    schedule: &dyn SigmaSchedule,
    noise: &TrainingNoise,
    steps: usize,
    options: &ScheduleOptions,
) -> Result<Levels, SampleError> {
    check_steps(steps)?;
    let drops = sampler.spec().drops_penultimate_sigma;
    // A schedule may have no such number of steps: then the sampler does with what it gets.
    let Some(mut levels) = drops.then(|| schedule.levels(noise, steps + 1, options).ok()).flatten() else {
        return schedule.levels(noise, steps, options);
    };
    if levels.steps() > 1 {
        levels.sigmas.remove(levels.sigmas.len() - 2);
        if let Some(timesteps) = &mut levels.timesteps {
            timesteps.pop();
        }
    }
    Ok(levels)
}

pub(crate) fn check_steps(steps: usize) -> Result<(), SampleError> {
    if steps == 0 || steps > 10_000 {
        return Err(SampleError::parameter("number of steps", steps, "between 1 and 10000"));
    }
    Ok(())
}

/// `n` equally spaced numbers from `a` to `b`; `n` = 1 gives `a`.
pub(crate) fn linspace(a: f64, b: f64, n: usize) -> impl Iterator<Item = f64> {
    (0..n).map(move |i| if i == 0 { a } else { a + (b - a) * i as f64 / (n - 1) as f64 })
}
