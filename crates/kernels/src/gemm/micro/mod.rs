//! Micro-kernels: a few row tiles times a few panels, summed over all of `k` and all taps.
//!
//! A micro-kernel reads up to two tiles of up to 16 rows of A where they lie (any row stride), streams a group of packed
//! panels of B, and leaves the sums in an f32 array that stays cached, where the epilogue finds them.

pub(crate) mod scalar;

#[cfg(target_arch = "x86_64")]
pub(crate) mod amx;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) mod avx512;

use super::Precision;
use super::packed::PackedB;
use crate::isa::Isa;

/// Rows of a tile.
pub(crate) const TILE: usize = 16;
/// The most panels that a group has, over all micro-kernels.
pub(crate) const MAX_PANELS: usize = 3;

/// One step of the inner loop over taps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tap {
    /// Where the tap's rows begin, relative to the tile, in bytes of A.
    pub a: isize,
    /// Which of the pack's taps it multiplies.
    pub b: usize,
}

/// The arguments of a micro-kernel. Pointers are in bytes: the element is the kernel's.
pub(crate) struct Args<'a> {
    /// The first row of each tile; the second is not read if `rows[1]` is 0.
    pub a: [*const u8; 2],
    /// Rows of each tile, 1..=16 and 0..=16.
    pub rows: [usize; 2],
    /// Bytes from row to row.
    pub a_stride: usize,
    /// The taps to add up.
    pub taps: &'a [Tap],
    /// Taps that the pack has.
    pub pack_taps: usize,
    /// Rows of a tap's matrix. For bf16, A must be readable, and finite, up to the next multiple of 32.
    pub k: usize,
    /// The first panel.
    pub b: *const u8,
    /// Bytes from panel to panel.
    pub panel_stride: usize,
    /// Panels, 1..=[`Micro::panels`].
    pub panels: usize,
    /// 32 rows of the group's columns, `ldc` floats apart.
    pub sums: *mut f32,
    pub ldc: usize,
    /// Add to the sums instead of replacing them.
    pub accumulate: bool,
    /// Whether B comes from beyond the first-level cache each time: it must not displace A there. A hint.
    pub far: bool,
    /// What to fetch into the second-level cache on the way.
    pub ahead: Ahead,
}

/// A group of B to be fetched into the second-level cache while another is multiplied.
#[derive(Clone, Copy)]
pub(crate) struct Ahead {
    /// The first panel (any address will do), and the bytes from panel to panel.
    at: *const u8,
    stride: usize,
    /// This call's part of the fetching, and how many calls share it; 0: nothing is to be fetched.
    part: usize,
    parts: usize,
}

impl Ahead {
    pub const NONE: Ahead = Ahead { at: std::ptr::null(), stride: 0, part: 0, parts: 0 };
    /// How far behind its use the own stream is fetched, in bytes.
    const LEAD: usize = 4096;

    /// The group that is being read itself, a little ahead: what hardware foresees is not far enough.
    pub fn own(b: &PackedB, panel: usize) -> Ahead {
        Ahead { at: b.panel(panel).wrapping_add(Self::LEAD), stride: b.panel_bytes(), part: 0, parts: 1 }
    }

    /// The group that begins at `panel`, fetched by `parts` calls.
    pub fn share(b: &PackedB, panel: usize, part: usize, parts: usize) -> Ahead {
        Ahead { at: b.panel(panel), stride: b.panel_bytes(), part, parts }
    }

    /// For a call of `steps` steps that each read `in_step` cache lines of a panel: how many lines of each panel to ask for in a
    /// step, and where they begin in the first panel.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn lines(&self, in_step: usize, steps: usize) -> (usize, *const u8) {
        if self.parts == 0 {
            return (0, self.at);
        }
        let lines = in_step.div_ceil(self.parts);
        let start = self.part * lines * steps * 64;
        (if start < self.stride { lines } else { 0 }, self.at.wrapping_add(start))
    }

    /// Asks for `lines` cache lines of each of `panels` panels and returns the place behind them.
    #[cfg(target_arch = "x86_64")]
    #[inline(always)]
    fn fetch(&self, lines: usize, panels: usize, mut at: *const u8) -> *const u8 {
        use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
        for _ in 0..lines {
            for panel in 0..panels {
                // SAFETY: a prefetch touches no memory, whatever the address.
                unsafe { _mm_prefetch::<_MM_HINT_T1>(at.wrapping_add(panel * self.stride).cast()) };
            }
            at = at.wrapping_add(64);
        }
        at
    }
}

/// A family of micro-kernels for one element and instruction set.
#[derive(Clone, Copy)]
pub(crate) struct Micro {
    /// Panels of a full group.
    pub panels: usize,
    /// Computes `sums (+)= Σ A·B`.
    pub run: unsafe fn(&Args<'_>),
    /// Whether vector units are free meanwhile: sums are then finished beside the next products.
    pub beside: bool,
    /// Called on each thread before and after a series of runs.
    pub begin: fn(),
    pub end: fn(),
}

fn nothing() {}

impl Micro {
    /// The micro-kernels for `isa`, which must be available.
    pub(crate) fn of(isa: Isa, precision: Precision) -> Micro {
        let plain = |panels, run| Micro { panels, run, beside: false, begin: nothing, end: nothing };
        match (isa, precision) {
            #[cfg(target_arch = "x86_64")]
            (Isa::Amx, Precision::Bf16) => {
                Micro { panels: 2, run: amx::run, beside: true, begin: amx::begin, end: amx::end }
            }
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512Bf16, Precision::Bf16) => plain(3, avx512::run_bf16),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512, Precision::Bf16) => plain(2, avx512::run_widened),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx, Precision::F32) => plain(3, avx512::run_f32),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx2, Precision::F32) => plain(1, avx2::run_f32),
            #[cfg(target_arch = "x86_64")]
            (Isa::Avx2, Precision::Bf16) => plain(1, avx2::run_bf16),
            (_, Precision::F32) => plain(1, scalar::run_f32),
            (_, Precision::Bf16) => plain(1, scalar::run_bf16),
        }
    }
}

/// Calls `$body` with `$rows` a constant equal to `$value`, which is one of those listed.
macro_rules! with_rows {
    ($value:expr, [$($count:literal)*], $rows:ident => $body:expr) => {
        match $value {
            $($count => {
                const $rows: usize = $count;
                $body
            })*
            other => unreachable!("no micro-kernel for {other} rows"),
        }
    };
}
pub(crate) use with_rows;

impl Args<'_> {
    /// Cuts the tiles into runs of rows, each as long as one of `sizes` (which fall to 1): calls `visit(first row of A,
    /// rows, sums)`.
    ///
    /// # Safety
    /// The pointers must be as described at the fields.
    #[inline(always)]
    unsafe fn strips(&self, sizes: &[usize], mut visit: impl FnMut(*const u8, usize, *mut f32)) {
        for half in 0..2 {
            let mut row = 0;
            while row < self.rows[half] {
                let left = self.rows[half] - row;
                let rows = sizes.iter().copied().find(|&size| size <= left).unwrap_or(1);
                // SAFETY: inside the tile and inside the sums.
                let (a, sums) =
                    unsafe { (self.a[half].add(row * self.a_stride), self.sums.add((half * TILE + row) * self.ldc)) };
                visit(a, rows, sums);
                row += rows;
            }
        }
    }
}
