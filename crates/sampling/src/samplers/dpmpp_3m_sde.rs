//! DPM-Solver++ (3M) SDE: the third-order multistep form in k-diffusion, after Lu et al. 2022, arXiv 2211.01095.

use super::dpmpp_2m_sde::add_increment;
use super::transition::lambda_step;
use crate::error::SampleError;
use crate::sampler::{Sampler, SamplerSpec, Step};
use crate::vector::combine;

/// First and second divided differences of the last three clean pictures over lambda.
#[derive(Debug)]
pub(super) struct Dpmpp3mSde;

impl Sampler for Dpmpp3mSde {
    fn spec(&self) -> &'static SamplerSpec {
        &SamplerSpec {
            id: "dpmpp_3m_sde",
            name: "DPM++ 3M SDE",
            aliases: &["k_dpmpp_3m_sde", "dpmpp_3m_sde_gpu"],
            order: 3,
            evaluations: 1,
            uses_noise: true,
            drops_penultimate_sigma: true,
            default_eta: 1.0,
            paper: "Lu et al. 2022, arXiv 2211.01095",
        }
    }

    fn step(&self, step: &mut Step<'_>) -> Result<(), SampleError> {
        let (path, sigma, next, eta) = (step.path(), step.sigma(), step.next(), step.eta());
        let x0 = step.denoise(sigma)?;
        if next == 0.0 {
            step.set(x0);
            return Ok(());
        }
        let (alpha, h) = (path.alpha(next), lambda_step(path, sigma, next));
        let reach = (1.0 + eta) * h;
        let keep = next / sigma * libm::exp(-eta * h);
        let phi_1 = -libm::expm1(-reach);
        let phi_2 = 1.0 - phi_1 / reach;
        let phi_3 = phi_2 / reach - 0.5;

        let ratio = |back: usize| lambda_step(path, step.earlier(back + 1), step.earlier(back)) / h;
        let [a, b, c] = match step.memory() {
            0 => [phi_1, 0.0, 0.0],
            1 => {
                let d = phi_2 / ratio(0);
                [phi_1 + d, -d, 0.0]
            }
            _ => {
                let (r0, r1) = (ratio(0), ratio(1));
                // d1 = d10 + (d10 - d11) r0 / (r0 + r1), d2 = (d10 - d11) / (r0 + r1), and the weight is phi_2 d1 - phi_3 d2.
                let bend = (phi_2 * r0 - phi_3) / (r0 + r1);
                let (w10, w11) = ((phi_2 + bend) / r0, -bend / r1);
                [phi_1 + w10, w11 - w10, -w11]
            }
        };
        let mut terms = vec![(keep, step.x()), (alpha * a, &x0[..])];
        terms.extend([b, c].iter().enumerate().filter_map(|(i, w)| Some((alpha * w, step.remembered(i)?))));
        step.set(combine(&terms));
        step.remember(x0, 2);
        add_increment(step, next * (-libm::expm1(-2.0 * eta * h)).sqrt())
    }
}
