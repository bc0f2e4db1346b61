//! Micro-kernels on AMX tiles: 32 rows × 32 columns in four accumulator tiles, 32 of `k` per step.
//!
//! Stable Rust has no AMX intrinsics, so the instructions are written out. Tiles 0-3 hold sums, 4 and 5 A, 6 and 7 B;
//! the compiler never touches them. A tile's shape is set per thread ([`begin`]) and set anew where a tile has fewer
//! rows, which happens at the edges only.

use super::{Args, TILE};
use std::arch::asm;
use std::cell::Cell;

/// The 64 bytes of `ldtilecfg`, palette 1.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

const TILE_BYTES: usize = 1024;

thread_local! {
    /// Rows of the two row tiles as configured on this thread; 0, 0: not configured.
    static SHAPE: Cell<[usize; 2]> = const { Cell::new([0, 0]) };
}

#[inline(always)]
fn configure(rows: [usize; 2]) {
    if SHAPE.get() != rows {
        set(rows);
    }
}

#[cold]
fn set(rows: [usize; 2]) {
    let (top, bottom) = (rows[0] as u8, rows[1] as u8);
    let mut config = Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
    config.row_bytes[..8].fill(64);
    config.rows[..8].copy_from_slice(&[top, top, bottom, bottom, top, bottom, 16, 16]);
    // SAFETY: the micro-kernel is chosen only where AMX may be used; the configuration is valid for palette 1.
    unsafe { asm!("ldtilecfg [{}]", in(reg) &config, options(nostack, readonly, preserves_flags)) };
    SHAPE.set(rows);
}

/// Readies this thread's tiles.
pub(crate) fn begin() {
    configure([TILE, TILE]);
}

/// Gives the tile state up, so that the system need not save it.
pub(crate) fn end() {
    // SAFETY: as in `configure`; nothing reads tiles after this.
    unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
    SHAPE.set([0, 0]);
}

/// Work of the vector units that is done while tiles are multiplied.
pub(crate) trait Beside {
    /// Does a step of it. Called once for every block of `k` and tap.
    ///
    /// # Safety
    /// As its maker says.
    unsafe fn step(&mut self);
}

impl Beside for () {
    #[inline(always)]
    unsafe fn step(&mut self) {}
}

/// The micro-kernel alone.
///
/// # Safety
/// As [`products`].
pub(crate) unsafe fn run(args: &Args<'_>) {
    // SAFETY: the caller's promise, handed on.
    unsafe { products(args, &mut ()) }
}

/// The micro-kernel, with `beside` while it runs.
///
/// # Safety
/// AMX must be usable, [`begin`] called on this thread, the pointers as described in [`Args`], and what `beside` asks.
#[inline(always)]
pub(crate) unsafe fn products<B: Beside>(args: &Args<'_>, beside: &mut B) {
    let two_rows = args.rows[1] > 0;
    // An unused second tile keeps a valid shape.
    configure([args.rows[0], if two_rows { args.rows[1] } else { TILE }]);
    // SAFETY: the caller's promise, handed on.
    unsafe {
        match (two_rows, args.panels > 1, args.far) {
            (true, true, false) => block::<true, true, false, B>(args, beside),
            (true, true, true) => block::<true, true, true, B>(args, beside),
            (true, false, false) => block::<true, false, false, B>(args, beside),
            (true, false, true) => block::<true, false, true, B>(args, beside),
            (false, true, _) => block::<false, true, false, B>(args, beside),
            (false, false, _) => block::<false, false, false, B>(args, beside),
        }
    }
}

/// # Safety
/// As [`products`].
#[inline(always)]
unsafe fn block<const ROWS2: bool, const PANELS2: bool, const FAR: bool, B: Beside>(args: &Args<'_>, beside: &mut B) {
    let sums = args.sums;
    let ldc = args.ldc * 4;
    // SAFETY: sums hold 32 rows of the group; A and B are readable as Args promises, and every block of B is whole tiles.
    unsafe {
        if args.accumulate {
            asm!("tileloadd tmm0, [{c} + {s}]", c = in(reg) sums, s = in(reg) ldc, options(nostack));
            if PANELS2 {
                asm!("tileloadd tmm1, [{c} + {s}]", c = in(reg) sums.add(16), s = in(reg) ldc, options(nostack));
            }
            if ROWS2 {
                let lower = sums.add(TILE * args.ldc);
                asm!("tileloadd tmm2, [{c} + {s}]", c = in(reg) lower, s = in(reg) ldc, options(nostack));
                if PANELS2 {
                    asm!("tileloadd tmm3, [{c} + {s}]", c = in(reg) lower.add(16), s = in(reg) ldc, options(nostack));
                }
            }
        } else {
            asm!("tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3", options(nostack, nomem));
        }
        let mut a = args.a;
        let mut b = args.b;
        let (lines, mut ahead) = args.ahead.lines(TILE, args.k.div_ceil(32) * args.taps.len());
        for _ in 0..args.k.div_ceil(32) {
            for tap in args.taps {
                step::<ROWS2, PANELS2, FAR>(
                    a[0].wrapping_offset(tap.a),
                    a[1].wrapping_offset(tap.a),
                    args.a_stride,
                    b.add(tap.b * TILE_BYTES),
                    args.panel_stride,
                );
                ahead = args.ahead.fetch(lines, 2, ahead);
                beside.step();
            }
            a = [a[0].add(64), a[1].wrapping_add(64)];
            b = b.add(args.pack_taps * TILE_BYTES);
        }
        asm!("tilestored [{c} + {s}], tmm0", c = in(reg) sums, s = in(reg) ldc, options(nostack));
        if PANELS2 {
            asm!("tilestored [{c} + {s}], tmm1", c = in(reg) sums.add(16), s = in(reg) ldc, options(nostack));
        }
        if ROWS2 {
            let lower = sums.add(TILE * args.ldc);
            asm!("tilestored [{c} + {s}], tmm2", c = in(reg) lower, s = in(reg) ldc, options(nostack));
            if PANELS2 {
                asm!("tilestored [{c} + {s}], tmm3", c = in(reg) lower.add(16), s = in(reg) ldc, options(nostack));
            }
        }
    }
}

/// The instructions of [`step`]; `$far` is the load for B.
macro_rules! tiles {
    ($far:literal, $rows2:expr, $panels2:expr, $a0:expr, $a1:expr, $sa:expr, $b:expr, $next:expr) => {
        match ($rows2, $panels2) {
            (true, true) => asm!(
                "tileloadd tmm4, [{a0} + {sa}]",
                concat!($far, " tmm6, [{b0} + {sb}]"),
                concat!($far, " tmm7, [{b1} + {sb}]"),
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloadd tmm5, [{a1} + {sa}]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                a0 = in(reg) $a0, a1 = in(reg) $a1, sa = in(reg) $sa,
                b0 = in(reg) $b, b1 = in(reg) $b.add($next), sb = in(reg) 64usize,
                options(nostack, readonly, preserves_flags)
            ),
            (true, false) => asm!(
                concat!($far, " tmm6, [{b0} + {sb}]"),
                "tileloadd tmm4, [{a0} + {sa}]",
                "tileloadd tmm5, [{a1} + {sa}]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm2, tmm5, tmm6",
                a0 = in(reg) $a0, a1 = in(reg) $a1, sa = in(reg) $sa, b0 = in(reg) $b, sb = in(reg) 64usize,
                options(nostack, readonly, preserves_flags)
            ),
            (false, true) => asm!(
                "tileloadd tmm4, [{a0} + {sa}]",
                concat!($far, " tmm6, [{b0} + {sb}]"),
                concat!($far, " tmm7, [{b1} + {sb}]"),
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                a0 = in(reg) $a0, sa = in(reg) $sa,
                b0 = in(reg) $b, b1 = in(reg) $b.add($next), sb = in(reg) 64usize,
                options(nostack, readonly, preserves_flags)
            ),
            (false, false) => asm!(
                "tileloadd tmm4, [{a0} + {sa}]",
                concat!($far, " tmm6, [{b0} + {sb}]"),
                "tdpbf16ps tmm0, tmm4, tmm6",
                a0 = in(reg) $a0, sa = in(reg) $sa, b0 = in(reg) $b, sb = in(reg) 64usize,
                options(nostack, readonly, preserves_flags)
            ),
        }
    };
}

/// One block of 32 of `k`: up to four tile products. `FAR`: B passes the first-level cache by, where it would displace A.
///
/// # Safety
/// As [`products`].
#[inline(always)]
unsafe fn step<const ROWS2: bool, const PANELS2: bool, const FAR: bool>(
    a0: *const u8,
    a1: *const u8,
    a_stride: usize,
    b: *const u8,
    panel_stride: usize,
) {
    // SAFETY: the caller's promise, handed on.
    unsafe {
        match FAR {
            true => tiles!("tileloaddt1", ROWS2, PANELS2, a0, a1, a_stride, b, panel_stride),
            false => tiles!("tileloadd", ROWS2, PANELS2, a0, a1, a_stride, b, panel_stride),
        }
    }
}
