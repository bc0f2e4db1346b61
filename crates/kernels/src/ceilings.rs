//! What one core can do at most: loops of nothing but multiply-adds, to hold kernels against.
//!
//! A kernel's share of its ceiling says more than its GFLOP/s: both come from the same machine in the same run.

use crate::isa::Isa;

/// Operations per second of one core in the multiply-add loop for `isa`: f32 for AVX2 and AVX-512, bf16 products for
/// AVX-512 BF16 and AMX. `None` where there is no such loop here. Takes some tens of milliseconds.
pub fn measure(isa: Isa) -> Option<f64> {
    if !isa.available() {
        return None;
    }
    #[cfg(target_arch = "x86_64")]
    {
        let (run, flops): (unsafe fn(usize), usize) = match isa {
            Isa::Avx2 => (x86::avx2, x86::ACCUMULATORS * 16),
            Isa::Avx512 => (x86::avx512, x86::ACCUMULATORS * 32),
            Isa::Avx512Bf16 => (x86::avx512_bf16, x86::ACCUMULATORS * 64),
            Isa::Amx => (x86::amx, 4 * 16 * 16 * 32 * 2),
            Isa::Scalar | Isa::Neon => return None,
        };
        let best = (0..5).map(|_| {
            let rounds = 40_000_000_000 / 40 / flops / 4;
            let start = thread_seconds();
            // SAFETY: the instruction set is available.
            unsafe { run(rounds) };
            (rounds * flops) as f64 / (thread_seconds() - start)
        });
        best.reduce(f64::max)
    }
    #[cfg(not(target_arch = "x86_64"))]
    None
}

/// Seconds that this thread has run: unlike the clock on the wall it stands still while others have the core.
pub fn thread_seconds() -> f64 {
    #[cfg(unix)]
    {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: writes to the struct that it is given.
        unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
        time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
    }
    #[cfg(not(unix))]
    {
        static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        START.get_or_init(std::time::Instant::now).elapsed().as_secs_f64()
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::asm;

    /// Independent sums: enough to hide the latency of two units.
    pub const ACCUMULATORS: usize = 12;

    /// One instruction on twelve accumulators (registers 0-11), `rounds` times; the factors stand in 12 and 13.
    macro_rules! fma_loop {
        ($name:ident, $register:literal, $instruction:literal) => {
            /// # Safety
            /// The instruction must be available.
            pub unsafe fn $name(rounds: usize) {
                // SAFETY: registers only; every vector register that is written is declared (a zmm contains its ymm).
                unsafe {
                    asm!(
                        "vxorps xmm12, xmm12, xmm12",
                        "vxorps xmm13, xmm13, xmm13",
                        "2:",
                        concat!($instruction, " ", $register, "0, ", $register, "12, ", $register, "13"),
                        concat!($instruction, " ", $register, "1, ", $register, "12, ", $register, "13"),
                        concat!($instruction, " ", $register, "2, ", $register, "12, ", $register, "13"),
                        concat!($instruction, " ", $register, "3, ", $register, "12, ", $register, "13"),
                        concat!($instruction, " ", $register, "4, ", $register, "12, ", $register, "13"),
                        concat!($instruction, " ", $register, "5, ", $register, "12, ", $register, "13"),
                        concat!($instruction, " ", $register, "6, ", $register, "12, ", $register, "13"),
                        concat!($instruction, " ", $register, "7, ", $register, "12, ", $register, "13"),
                        concat!($instruction, " ", $register, "8, ", $register, "12, ", $register, "13"),
                        concat!($instruction, " ", $register, "9, ", $register, "12, ", $register, "13"),
                        concat!($instruction, " ", $register, "10, ", $register, "12, ", $register, "13"),
                        concat!($instruction, " ", $register, "11, ", $register, "12, ", $register, "13"),
                        "dec {n}",
                        "jnz 2b",
                        n = inout(reg) rounds.max(1) => _,
                        out("xmm0") _, out("xmm1") _, out("xmm2") _, out("xmm3") _, out("xmm4") _, out("xmm5") _,
                        out("xmm6") _, out("xmm7") _, out("xmm8") _, out("xmm9") _, out("xmm10") _, out("xmm11") _,
                        out("xmm12") _, out("xmm13") _,
                        options(nostack, nomem)
                    );
                }
            }
        };
    }
    fma_loop!(avx2, "ymm", "vfmadd231ps");
    fma_loop!(avx512, "zmm", "vfmadd231ps");
    fma_loop!(avx512_bf16, "zmm", "vdpbf16ps");

    /// Four tile products per round.
    ///
    /// # Safety
    /// AMX must be usable.
    pub unsafe fn amx(rounds: usize) {
        // Numbers as they occur: the unit is faster (it draws less power) on zeros.
        let values: [u16; 512] = std::array::from_fn(|i| 0x3c00 + (i * 7919 % 0x3ff) as u16 + ((i as u16 & 1) << 15));
        crate::gemm::micro::amx::begin();
        // SAFETY: tiles only, configured above; a tile is 1 KiB, as are the values.
        unsafe {
            asm!(
                "tileloadd tmm4, [{v} + {s}]",
                "tileloadd tmm5, [{v} + {s}]",
                "tileloadd tmm6, [{v} + {s}]",
                "tileloadd tmm7, [{v} + {s}]",
                "2:",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "dec {n}",
                "jnz 2b",
                n = inout(reg) rounds.max(1) => _,
                v = in(reg) &values,
                s = in(reg) 64usize,
                options(nostack, readonly)
            );
        }
        crate::gemm::micro::amx::end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loops_run_where_the_machine_has_them() {
        assert_eq!(measure(Isa::Scalar), None);
        for isa in [Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16, Isa::Amx] {
            assert_eq!(measure(isa).is_some(), isa.available());
        }
    }
}
