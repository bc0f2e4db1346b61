//! What diffusers' scheduler classes mean here: the `_class_name` of a folder's `scheduler_config.json`.

use crate::schedules::SpacingManner;
use crate::start::StartScale;

/// One of diffusers' classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiffusersClass {
    /// Its name.
    pub name: &'static str,
    /// Our sampler's id.
    pub sampler: &'static str,
    /// How it spaces timesteps.
    pub manner: SpacingManner,
    /// Its `timestep_spacing` where the configuration gives none: the id of our schedule.
    pub default_spacing: &'static str,
}

const fn class(
    name: &'static str,
    sampler: &'static str,
    manner: SpacingManner,
    default_spacing: &'static str,
) -> DiffusersClass {
    DiffusersClass { name, sampler, manner, default_spacing }
}

/// The classes that are known. `DPMSolverMultistepScheduler` with `algorithm_type = "sde-dpmsolver++"` is `dpmpp_2m_sde`, and
/// `UniPCMultistepScheduler` with `solver_type = "bh1"` is `uni_pc`.
pub static CLASSES: &[DiffusersClass] = &[
    class("DDIMScheduler", "ddim", SpacingManner::Ddim, "leading"),
    class("DDPMScheduler", "ddpm", SpacingManner::Ddim, "leading"),
    class("PNDMScheduler", "pndm", SpacingManner::Ddim, "leading"),
    class("LCMScheduler", "lcm", SpacingManner::Ddim, "lcm"),
    class("TCDScheduler", "tcd", SpacingManner::Ddim, "lcm"),
    class("EulerDiscreteScheduler", "euler", SpacingManner::Euler, "linspace"),
    class("EulerAncestralDiscreteScheduler", "euler_ancestral", SpacingManner::Euler, "linspace"),
    class("HeunDiscreteScheduler", "heun", SpacingManner::Euler, "linspace"),
    class("LMSDiscreteScheduler", "lms", SpacingManner::Euler, "linspace"),
    class("KDPM2DiscreteScheduler", "dpm_2", SpacingManner::Euler, "linspace"),
    class("KDPM2AncestralDiscreteScheduler", "dpm_2_ancestral", SpacingManner::Euler, "linspace"),
    class("DPMSolverSDEScheduler", "dpmpp_sde", SpacingManner::Euler, "linspace"),
    class("DPMSolverMultistepScheduler", "dpmpp_2m", SpacingManner::Multistep, "linspace"),
    class("UniPCMultistepScheduler", "uni_pc_bh2", SpacingManner::Multistep, "linspace"),
    class("DEISMultistepScheduler", "deis", SpacingManner::Multistep, "linspace"),
    class("FlowMatchEulerDiscreteScheduler", "euler", SpacingManner::Euler, "flow_match"),
    class("FlowMatchHeunDiscreteScheduler", "heun", SpacingManner::Euler, "flow_match"),
];

impl DiffusersClass {
    /// Finds a class by its name.
    pub fn find(name: &str) -> Option<&'static Self> {
        CLASSES.iter().find(|class| class.name == name)
    }

    /// The scale of the first noise with a `timestep_spacing`.
    pub fn start_scale(&self, spacing: &str) -> StartScale {
        match self.manner {
            SpacingManner::Euler if matches!(spacing, "linspace" | "trailing") => StartScale::Sigma,
            _ => StartScale::UnitVariance,
        }
    }

    /// What the state at the last sigma is multiplied by: Euler's kin hold picture plus noise, the others that at unit
    /// variance, which counts where a run ends before sigma 0 (`set_alpha_to_one` false, `final_sigmas_type` `sigma_min`).
    pub fn end_scale(&self, last_sigma: f64) -> f64 {
        match self.manner {
            SpacingManner::Euler => 1.0,
            _ => 1.0 / (1.0 + last_sigma * last_sigma).sqrt(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_name_what_there_is() {
        for class in CLASSES {
            assert!(crate::schedules::find(class.default_spacing).is_some(), "{class:?}");
            assert_eq!(crate::samplers::find(class.sampler).unwrap().spec().id, class.sampler);
            assert_eq!(crate::samplers::find(class.name).unwrap().spec().id, class.sampler, "{class:?}");
        }
        let euler = DiffusersClass::find("EulerDiscreteScheduler").unwrap();
        assert_eq!(euler.start_scale("leading"), StartScale::UnitVariance);
        assert_eq!(euler.start_scale("trailing"), StartScale::Sigma);
        let ddim = DiffusersClass::find("DDIMScheduler").unwrap();
        assert_eq!((euler.end_scale(0.75), ddim.end_scale(0.75), ddim.end_scale(0.0)), (1.0, 0.8, 1.0));
    }
}
