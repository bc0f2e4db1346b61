//! CFG++: Chung et al. 2024, arXiv 2406.08070. The clean picture is the guided one, but noise is put back as predicted
//! without the prompt, so that small guidance scales suffice and the path stays near the data.

use super::transition::{Ancestral, ancestral, lambda_step};
use crate::error::SampleError;
use crate::sampler::{Sampler, SamplerSpec, Step};
use crate::vector::combine;

/// Euler with CFG++.
#[derive(Debug)]
pub(super) struct EulerCfgPp;

/// Euler a with CFG++.
#[derive(Debug)]
pub(super) struct EulerAncestralCfgPp;

/// DPM++ 2M with CFG++.
#[derive(Debug)]
pub(super) struct Dpmpp2mCfgPp;

impl Sampler for EulerCfgPp {
    fn spec(&self) -> &'static SamplerSpec {
        &SamplerSpec {
            id: "euler_cfg_pp",
            name: "Euler CFG++",
            aliases: &[],
            order: 1,
            evaluations: 1,
            uses_noise: false,
            drops_penultimate_sigma: false,
            default_eta: 0.0,
            paper: "Chung et al. 2024, arXiv 2406.08070",
        }
    }

    fn step(&self, step: &mut Step<'_>) -> Result<(), SampleError> {
        step_euler(step)
    }
}

impl Sampler for EulerAncestralCfgPp {
    fn spec(&self) -> &'static SamplerSpec {
        &SamplerSpec {
            id: "euler_ancestral_cfg_pp",
            name: "Euler a CFG++",
            aliases: &[],
            order: 1,
            evaluations: 1,
            uses_noise: true,
            drops_penultimate_sigma: false,
            default_eta: 1.0,
            paper: "Chung et al. 2024, arXiv 2406.08070",
        }
    }

    fn step(&self, step: &mut Step<'_>) -> Result<(), SampleError> {
        step_euler(step)
    }
}

fn step_euler(step: &mut Step<'_>) -> Result<(), SampleError> {
    let (path, sigma) = (step.path(), step.sigma());
    let Ancestral { down, scale, up } = ancestral(path, sigma, step.next(), step.eta());
    let (guided, unconditional) = step.denoise_pair(sigma)?;
    let ratio = down / sigma;
    let terms = [(path.alpha(down), &guided[..]), (ratio, step.x()), (-ratio * path.alpha(sigma), &unconditional[..])];
    step.set(combine(&terms.map(|(c, v)| (c * scale, v))));
    step.add_noise(up)
}

impl Sampler for Dpmpp2mCfgPp {
    fn spec(&self) -> &'static SamplerSpec {
        &SamplerSpec {
            id: "dpmpp_2m_cfg_pp",
            name: "DPM++ 2M CFG++",
            aliases: &[],
            order: 1,
            evaluations: 1,
            uses_noise: false,
            drops_penultimate_sigma: false,
            default_eta: 0.0,
            paper: "Chung et al. 2024, arXiv 2406.08070",
        }
    }

    /// As ComfyUI has it, the second order looks from the guided picture back to the last one without the prompt.
    fn step(&self, step: &mut Step<'_>) -> Result<(), SampleError> {
        let (path, sigma, next) = (step.path(), step.sigma(), step.next());
        let (guided, unconditional) = step.denoise_pair(sigma)?;
        let ratio = next / sigma;
        let alpha = path.alpha(next);
        let mut terms = vec![(alpha, &guided[..]), (ratio, step.x()), (-ratio * path.alpha(sigma), &unconditional[..])];
        if let (Some(old), true) = (step.remembered(0), next > 0.0) {
            let h = lambda_step(path, sigma, next);
            let second = alpha * -libm::expm1(-h) * h / (2.0 * lambda_step(path, step.earlier(1), sigma));
            terms.extend([(second, &guided[..]), (-second, old)]);
        }
        let x = combine(&terms);
        step.set(x);
        step.remember(unconditional, 1);
        Ok(())
    }
}
