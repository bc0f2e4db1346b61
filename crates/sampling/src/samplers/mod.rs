//! The samplers, one file each, and the formulas that several share.
//!
//! Letters are those of the papers: `x` state, `x0` predicted clean picture, `sigma` noise level, `lambda` half
//! log-signal-to-noise, `h` step in lambda, `eta` share of noise put back.

mod ddim;
mod dpmpp_2m;
mod euler;
mod euler_ancestral;
mod transition;

use crate::sampler::Sampler;

/// Every sampler.
pub static SAMPLERS: &[&dyn Sampler] =
    &[&euler::Euler, &euler_ancestral::EulerAncestral, &ddim::Ddim, &dpmpp_2m::Dpmpp2m];

/// Finds a sampler by its id, A1111's label or an alias; case, spaces and signs are not looked at, `+` is `p`.
pub fn find(name: &str) -> Option<&'static dyn Sampler> {
    let wanted = squeeze(name);
    SAMPLERS.iter().copied().find(|sampler| {
        let spec = sampler.spec();
        [spec.id, spec.name].iter().chain(spec.aliases).any(|known| squeeze(known) == wanted)
    })
}

/// A name without case, spaces and punctuation: `DPM++ 2M` and `dpmpp_2m` are one.
pub(crate) fn squeeze(name: &str) -> String {
    name.chars()
        .flat_map(char::to_lowercase)
        .map(|c| if c == '+' { 'p' } else { c })
        .filter(|c| c.is_alphanumeric())
        .collect()
}
