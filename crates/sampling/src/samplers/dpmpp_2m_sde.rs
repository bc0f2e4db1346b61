//! DPM-Solver++ (2M) SDE: Lu et al. 2022, arXiv 2211.01095, section 6, with two ways to take the second order.

use super::transition::lambda_step;
use crate::error::SampleError;
use crate::sampler::{Sampler, SamplerSpec, Step};
use crate::vector::combine;

/// The midpoint form: half the difference of the last two clean pictures.
#[derive(Debug)]
pub(super) struct Dpmpp2mSde;

/// The form after Heun.
#[derive(Debug)]
pub(super) struct Dpmpp2mSdeHeun;

impl Sampler for Dpmpp2mSde {
    fn spec(&self) -> &'static SamplerSpec {
        &SamplerSpec {
            id: "dpmpp_2m_sde",
            name: "DPM++ 2M SDE",
            aliases: &["k_dpmpp_2m_sde", "dpmpp_2m_sde_gpu"],
            order: 2,
            evaluations: 1,
            uses_noise: true,
            drops_penultimate_sigma: false,
            default_eta: 1.0,
            paper: "Lu et al. 2022, arXiv 2211.01095",
        }
    }

    fn step(&self, step: &mut Step<'_>) -> Result<(), SampleError> {
        step_multistep(step, |reach| 0.5 * -libm::expm1(-reach))
    }
}

impl Sampler for Dpmpp2mSdeHeun {
    fn spec(&self) -> &'static SamplerSpec {
        &SamplerSpec {
            id: "dpmpp_2m_sde_heun",
            name: "DPM++ 2M SDE Heun",
            aliases: &["k_dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu"],
            order: 2,
            evaluations: 1,
            uses_noise: true,
            drops_penultimate_sigma: false,
            default_eta: 1.0,
            paper: "Lu et al. 2022, arXiv 2211.01095",
        }
    }

    fn step(&self, step: &mut Step<'_>) -> Result<(), SampleError> {
        step_multistep(step, |reach| 1.0 + libm::expm1(-reach) / reach)
    }
}

/// The step; `weight` of the second order depends on `(1 + eta) h`.
fn step_multistep(step: &mut Step<'_>, weight: impl Fn(f64) -> f64) -> Result<(), SampleError> {
    let (path, sigma, next, eta) = (step.path(), step.sigma(), step.next(), step.eta());
    let x0 = step.denoise(sigma)?;
    if next == 0.0 {
        step.set(x0);
        return Ok(());
    }
    let (alpha, h) = (path.alpha(next), lambda_step(path, sigma, next));
    let reach = (1.0 + eta) * h;
    let first = alpha * -libm::expm1(-reach);
    let keep = next / sigma * libm::exp(-eta * h);
    let x = match step.remembered(0) {
        Some(old) => {
            let second = alpha * weight(reach) * h / lambda_step(path, step.earlier(1), sigma);
            combine(&[(keep, step.x()), (first + second, &x0), (-second, old)])
        }
        None => combine(&[(keep, step.x()), (first, &x0)]),
    };
    step.set(x);
    step.remember(x0, 1);
    add_increment(step, next * (-libm::expm1(-2.0 * eta * h)).sqrt())
}

/// Adds `amount` of the Brownian increment of this step.
pub(super) fn add_increment(step: &mut Step<'_>, amount: f64) -> Result<(), SampleError> {
    if amount > 0.0 {
        let grain = step.draw_between(step.sigma(), step.next())?;
        step.set(combine(&[(1.0, step.x()), (amount * step.options().s_noise, &grain)]));
    }
    Ok(())
}
