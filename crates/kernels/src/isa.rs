//! Instruction sets: what this machine has, and which one kernels use.
//!
//! [`isa`] is the best that was detected, or the one named by the environment variable `DANQING_ISA` (`scalar`, `avx2`,
//! `avx512`, `avx512bf16`, `amx`, `neon`) where the machine has it. [`with_isa`] chooses one for a closure, on this
//! thread and on the pool's threads while they work for it.

use std::cell::Cell;
use std::sync::OnceLock;

/// An instruction set. The x86 ones are ordered: each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Plain Rust, whatever the compiler makes of it.
    Scalar,
    /// 64-bit ARM vectors.
    Neon,
    /// AVX2 with FMA (and F16C).
    Avx2,
    /// AVX-512 F, BW, DQ, VL.
    Avx512,
    /// AVX-512 with bf16 dot products.
    Avx512Bf16,
    /// Intel tile matrices for bf16.
    Amx,
}

impl Isa {
    /// All, in order.
    pub const ALL: [Isa; 6] = [Isa::Scalar, Isa::Neon, Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16, Isa::Amx];

    /// The name that `DANQING_ISA` takes.
    pub fn name(self) -> &'static str {
        match self {
            Isa::Scalar => "scalar",
            Isa::Neon => "neon",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Avx512Bf16 => "avx512bf16",
            Isa::Amx => "amx",
        }
    }

    /// Whether this machine can run it.
    pub fn available(self) -> bool {
        available().contains(&self)
    }
}

/// Every instruction set of this machine, worst first; never empty.
pub fn available() -> &'static [Isa] {
    static LIST: OnceLock<Vec<Isa>> = OnceLock::new();
    LIST.get_or_init(detect)
}

/// The instruction set that kernels called from this thread use.
pub fn isa() -> Isa {
    static DEFAULT: OnceLock<Isa> = OnceLock::new();
    OVERRIDE.get().unwrap_or_else(|| {
        *DEFAULT.get_or_init(|| {
            let best = *available().last().unwrap_or(&Isa::Scalar);
            let Ok(wish) = std::env::var("DANQING_ISA") else { return best };
            let wished = Isa::ALL.into_iter().find(|isa| isa.name() == wish.trim().to_ascii_lowercase());
            wished.filter(|isa| isa.available()).unwrap_or(best)
        })
    })
}

thread_local! {
    static OVERRIDE: Cell<Option<Isa>> = const { Cell::new(None) };
}

/// Runs `body` with `isa` chosen (the best available one that is not above it, if the machine lacks it).
pub fn with_isa<R>(isa: Isa, body: impl FnOnce() -> R) -> R {
    let usable = available().iter().rev().copied().find(|&have| have <= isa).unwrap_or(Isa::Scalar);
    with_choice(Some(usable), body)
}

/// The choice of [`with_isa`] that holds on this thread; the pool hands it on to its threads.
pub(crate) fn choice() -> Option<Isa> {
    OVERRIDE.get()
}

pub(crate) fn with_choice<R>(choice: Option<Isa>, body: impl FnOnce() -> R) -> R {
    struct Restore(Option<Isa>);
    impl Drop for Restore {
        fn drop(&mut self) {
            OVERRIDE.set(self.0);
        }
    }
    let _restore = Restore(OVERRIDE.replace(choice));
    body()
}

#[cfg(target_arch = "x86_64")]
fn detect() -> Vec<Isa> {
    let mut list = vec![Isa::Scalar];
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("f16c");
    let avx512 = avx2
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    let bf16 = avx512 && is_x86_feature_detected!("avx512bf16");
    if avx2 {
        list.push(Isa::Avx2);
    }
    if avx512 {
        list.push(Isa::Avx512);
    }
    if bf16 {
        list.push(Isa::Avx512Bf16);
    }
    if bf16 && amx_usable() {
        list.push(Isa::Amx);
    }
    list
}

#[cfg(target_arch = "aarch64")]
fn detect() -> Vec<Isa> {
    vec![Isa::Scalar, Isa::Neon]
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn detect() -> Vec<Isa> {
    vec![Isa::Scalar]
}

/// Whether the processor has bf16 tiles, the system saves them, and this process may use them (which it asks for here;
/// Linux grants the large tile state per process on demand).
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn amx_usable() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_long = 18;
    const OSXSAVE: u32 = 1 << 27;
    const TILE_STATE: u64 = 0b11 << 17;

    #[target_feature(enable = "xsave")]
    fn enabled_state() -> u64 {
        // SAFETY: called only where cpuid reports OSXSAVE.
        unsafe { _xgetbv(0) }
    }

    if __cpuid(0).eax < 7 || __cpuid(1).ecx & OSXSAVE == 0 {
        return false;
    }
    let edx = __cpuid_count(7, 0).edx;
    let (bf16, tile) = (edx & (1 << 22) != 0, edx & (1 << 24) != 0);
    // SAFETY: OSXSAVE was checked above.
    if !bf16 || !tile || unsafe { enabled_state() } & TILE_STATE != TILE_STATE {
        return false;
    }
    // SAFETY: arch_prctl with this code only asks for a permission; it touches no memory of ours.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0 }
}

#[cfg(all(target_arch = "x86_64", not(target_os = "linux")))]
fn amx_usable() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_holds_inside_and_ends() {
        let before = isa();
        for &each in available() {
            with_isa(each, || {
                assert_eq!(isa(), each);
                crate::threads::parallel_for(8, &|_| assert_eq!(isa(), each));
            });
        }
        assert_eq!(isa(), before);
    }
}
