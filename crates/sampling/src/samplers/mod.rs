//! The samplers, one file each, and the formulas that several share.
//!
//! Letters are those of the papers: `x` state, `x0` predicted clean picture, `sigma` noise level, `lambda` half
//! log-signal-to-noise, `h` step in lambda, `eta` share of noise put back.

mod cfg_pp;
mod ddim;
mod ddpm;
mod deis;
mod dpm_2;
mod dpm_2_ancestral;
mod dpmpp_2m;
mod dpmpp_2m_sde;
mod dpmpp_2s_ancestral;
mod dpmpp_3m_sde;
mod dpmpp_sde;
mod euler;
mod euler_ancestral;
mod heun;
mod lcm;
mod lms;
mod pndm;
mod restart;
mod tcd;
mod transition;
mod uni_pc;

use crate::sampler::Sampler;
use crate::schedules::{self, SigmaSchedule};

/// Every sampler.
pub static SAMPLERS: &[&dyn Sampler] = &[
    &euler::Euler,
    &euler_ancestral::EulerAncestral,
    &heun::Heun,
    &ddim::Ddim,
    &ddpm::Ddpm,
    &lms::Lms,
    &pndm::Pndm,
    &dpm_2::Dpm2,
    &dpm_2_ancestral::Dpm2Ancestral,
    &dpmpp_2s_ancestral::Dpmpp2sAncestral,
    &dpmpp_2m::Dpmpp2m,
    &dpmpp_sde::DpmppSde,
    &dpmpp_2m_sde::Dpmpp2mSde,
    &dpmpp_2m_sde::Dpmpp2mSdeHeun,
    &dpmpp_3m_sde::Dpmpp3mSde,
    &uni_pc::UniPc,
    &uni_pc::UniPcBh2,
    &deis::Deis,
    &restart::Restart,
    &lcm::Lcm,
    &tcd::Tcd,
    &cfg_pp::EulerCfgPp,
    &cfg_pp::EulerAncestralCfgPp,
    &cfg_pp::Dpmpp2mCfgPp,
];

/// Finds a sampler by its id, A1111's label or an alias; case, spaces and signs are not looked at, `+` is `p`.
pub fn find(name: &str) -> Option<&'static dyn Sampler> {
    let wanted = squeeze(name);
    SAMPLERS.iter().copied().find(|sampler| {
        let spec = sampler.spec();
        [spec.id, spec.name].iter().chain(spec.aliases).any(|known| squeeze(known) == wanted)
    })
}

/// Finds the sampler and schedule in a label that names both, as A1111 (`DPM++ 2M Karras`) and InvokeAI (`dpmpp_2m_k`) did,
/// or the sampler of a label that names one.
pub fn find_with_schedule(label: &str) -> Option<(&'static dyn Sampler, Option<&'static dyn SigmaSchedule>)> {
    if let Some(sampler) = find(label) {
        return Some((sampler, None));
    }
    let gaps = label.match_indices(|c: char| !c.is_alphanumeric());
    gaps.rev().find_map(|(at, _)| {
        let (sampler, schedule) = (&label[..at], &label[at..]);
        let schedule = if squeeze(schedule) == "k" { "karras" } else { schedule };
        Some((find(sampler)?, Some(schedules::find(schedule)?)))
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
