//! The micro-kernels in plain Rust, four rows by one panel; the compiler vectorises them for its baseline.

use super::Args;
use crate::element::Element;
use crate::gemm::packed::{BLOCK, PANEL};
use half::bf16;

const ROWS: usize = 4;
const SIZES: [usize; 4] = [4, 3, 2, 1];

/// # Safety
/// The pointers must be as described in [`Args`].
pub(crate) unsafe fn run_f32(args: &Args<'_>) {
    // SAFETY: the caller's promise, handed on.
    unsafe {
        args.strips(&SIZES, |a, rows, sums| {
            for panel in 0..args.panels {
                let b = args.b.add(panel * args.panel_stride);
                strip(args, a, rows, sums.add(panel * PANEL), |a, block, len, tap, acc| {
                    let b = b.cast::<f32>().add((block * BLOCK * args.pack_taps + tap * len) * PANEL);
                    for i in 0..len {
                        let b = &*b.add(i * PANEL).cast::<[f32; PANEL]>();
                        for (r, acc) in acc.iter_mut().enumerate().take(rows) {
                            let a = *a.add(r * args.a_stride).cast::<f32>().add(block * BLOCK + i);
                            for (sum, b) in acc.iter_mut().zip(b) {
                                *sum += a * b;
                            }
                        }
                    }
                });
            }
        });
    }
}

/// # Safety
/// The pointers must be as described in [`Args`].
pub(crate) unsafe fn run_bf16(args: &Args<'_>) {
    // SAFETY: the caller's promise, handed on.
    unsafe {
        args.strips(&SIZES, |a, rows, sums| {
            for panel in 0..args.panels {
                let b = args.b.add(panel * args.panel_stride);
                strip(args, a, rows, sums.add(panel * PANEL), |a, block, len, tap, acc| {
                    let b = b.cast::<bf16>().add((block * args.pack_taps + tap) * BLOCK * PANEL);
                    for i in 0..len {
                        for (r, acc) in acc.iter_mut().enumerate().take(rows) {
                            let a = (*a.add(r * args.a_stride).cast::<bf16>().add(block * BLOCK + i)).to_f32();
                            for (lane, sum) in acc.iter_mut().enumerate() {
                                *sum += a * Element::to_f32(*b.add((i / 2 * PANEL + lane) * 2 + i % 2));
                            }
                        }
                    }
                });
            }
        });
    }
}

/// Walks blocks and taps for one strip of rows and one panel.
///
/// # Safety
/// As [`run_f32`].
#[inline(always)]
unsafe fn strip(
    args: &Args<'_>,
    a: *const u8,
    rows: usize,
    sums: *mut f32,
    step: impl Fn(*const u8, usize, usize, usize, &mut [[f32; PANEL]; ROWS]),
) {
    let mut acc = [[0f32; PANEL]; ROWS];
    for block in 0..args.k.div_ceil(BLOCK) {
        let len = BLOCK.min(args.k - block * BLOCK);
        for tap in args.taps {
            step(a.wrapping_offset(tap.a), block, len, tap.b, &mut acc);
        }
    }
    for (r, acc) in acc.iter().enumerate().take(rows) {
        for (lane, &value) in acc.iter().enumerate() {
            // SAFETY: inside the strip's rows of the sums.
            unsafe {
                let sum = sums.add(r * args.ldc + lane);
                *sum = if args.accumulate { *sum + value } else { value };
            }
        }
    }
}
