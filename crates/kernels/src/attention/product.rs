//! Block products in bf16 with f32 sums: `c (+)= a · b`, with AMX tiles or with the dot products of AVX-512 BF16.
//!
//! `a` is row-major bf16. `b` holds pairs: one 32-bit value is rows 2i and 2i+1 of one column. `c` is row-major f32.
//! Rows and columns come in tiles of 16, `k` in steps of 32; both kernels read exactly the same memory.

use std::arch::asm;
use std::arch::x86_64::*;

/// Rows and columns of a tile.
pub(super) const TILE: usize = 16;
/// Values of `k` per tile.
pub(super) const STEP: usize = 32;

/// An operand: its first byte and the bytes from row to row.
#[derive(Clone, Copy)]
pub(super) struct Operand<P> {
    pub(super) at: P,
    pub(super) stride: usize,
}

/// The 64 bytes of `ldtilecfg`, palette 1: eight tiles of 16 rows of 64 bytes.
#[repr(C, align(64))]
struct Config {
    palette: [u8; 16],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Tile registers made ready on this thread, and given up on drop.
pub(super) struct Tiles(());

impl Tiles {
    /// # Safety
    /// AMX must be usable.
    pub(super) unsafe fn ready() -> Tiles {
        let mut config = Config { palette: [0; 16], row_bytes: [0; 16], rows: [0; 16] };
        config.palette[0] = 1;
        config.row_bytes[..8].fill(64);
        config.rows[..8].fill(TILE as u8);
        // SAFETY: AMX is usable (the caller's promise) and the configuration valid.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &config, options(nostack, readonly, preserves_flags)) };
        Tiles(())
    }
}

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: AMX is usable, as when this was made; nothing reads tiles after it.
        unsafe { asm!("tilerelease", options(nostack, nomem, preserves_flags)) };
    }
}

/// `c (+)= a · b` for `[row tiles, column tiles, steps]`.
///
/// # Safety
/// All tiles named by the sizes lie in readable (`c`: writable) memory. With `AMX`, [`Tiles`] are ready on this thread;
/// without, the CPU has AVX-512 BF16.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) unsafe fn product<const AMX: bool>(
    [rows, columns, steps]: [usize; 3],
    a: Operand<*const u8>,
    b: Operand<*const u8>,
    c: Operand<*mut u8>,
    accumulate: bool,
) {
    // SAFETY: promised by the caller.
    unsafe {
        for row in (0..rows).step_by(2) {
            let a = Operand { at: a.at.add(row * TILE * a.stride), ..a };
            for column in (0..columns).step_by(2) {
                let b = Operand { at: b.at.add(column * 64), ..b };
                let c = Operand { at: c.at.add(row * TILE * c.stride + column * 64), ..c };
                match (AMX, row + 1 < rows, column + 1 < columns) {
                    (true, true, true) => tiles::<true, true>(steps, a, b, c, accumulate),
                    (true, true, false) => tiles::<true, false>(steps, a, b, c, accumulate),
                    (true, false, true) => tiles::<false, true>(steps, a, b, c, accumulate),
                    (true, false, false) => tiles::<false, false>(steps, a, b, c, accumulate),
                    (false, two, true) => dots::<2>(if two { 32 } else { 16 }, steps, a, b, c, accumulate),
                    (false, two, false) => dots::<1>(if two { 32 } else { 16 }, steps, a, b, c, accumulate),
                }
            }
        }
    }
}

macro_rules! load {
    ($tile:literal, $at:expr, $stride:expr) => {
        asm!(concat!("tileloadd tmm", $tile, ", [{at} + {stride}]"), at = in(reg) $at, stride = in(reg) $stride,
            options(nostack, readonly, preserves_flags))
    };
}

macro_rules! store {
    ($tile:literal, $at:expr, $stride:expr) => {
        asm!(concat!("tilestored [{at} + {stride}], tmm", $tile), at = in(reg) $at, stride = in(reg) $stride,
            options(nostack, preserves_flags))
    };
}

macro_rules! multiply {
    ($sum:literal, $a:literal, $b:literal) => {
        asm!(concat!("tdpbf16ps tmm", $sum, ", tmm", $a, ", tmm", $b), options(nostack, nomem, preserves_flags))
    };
}

/// Up to 2 x 2 tiles of `c`: tiles 0-3 are sums, 4 and 5 `a`, 6 and 7 `b`; the compiler never touches them.
///
/// # Safety
/// As [`product`].
#[inline(always)]
unsafe fn tiles<const ROWS2: bool, const COLUMNS2: bool>(
    steps: usize,
    a: Operand<*const u8>,
    b: Operand<*const u8>,
    c: Operand<*mut u8>,
    accumulate: bool,
) {
    // SAFETY: promised by the caller. The assembler blocks keep their order among each other: none is `pure`.
    unsafe {
        let (lower_a, lower_c) = (a.at.wrapping_add(TILE * a.stride), c.at.wrapping_add(TILE * c.stride));
        if accumulate {
            load!(0, c.at, c.stride);
            if COLUMNS2 {
                load!(1, c.at.add(64), c.stride);
            }
            if ROWS2 {
                load!(2, lower_c, c.stride);
            }
            if ROWS2 && COLUMNS2 {
                load!(3, lower_c.add(64), c.stride);
            }
        } else {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                options(nostack, nomem, preserves_flags)
            );
        }
        for step in 0..steps {
            let (at, b_at) = (step * 64, b.at.add(step * TILE * b.stride));
            load!(4, a.at.add(at), a.stride);
            load!(6, b_at, b.stride);
            multiply!(0, 4, 6);
            if ROWS2 {
                load!(5, lower_a.add(at), a.stride);
                multiply!(2, 5, 6);
            }
            if COLUMNS2 {
                load!(7, b_at.add(64), b.stride);
                multiply!(1, 4, 7);
            }
            if ROWS2 && COLUMNS2 {
                multiply!(3, 5, 7);
            }
        }
        store!(0, c.at, c.stride);
        if COLUMNS2 {
            store!(1, c.at.add(64), c.stride);
        }
        if ROWS2 {
            store!(2, lower_c, c.stride);
        }
        if ROWS2 && COLUMNS2 {
            store!(3, lower_c.add(64), c.stride);
        }
    }
}

/// `rows` rows of `N` vectors of `c`, eight rows at a time.
///
/// # Safety
/// As [`product`].
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn dots<const N: usize>(
    rows: usize,
    steps: usize,
    a: Operand<*const u8>,
    b: Operand<*const u8>,
    c: Operand<*mut u8>,
    accumulate: bool,
) {
    const M: usize = 8;
    // SAFETY: promised by the caller; all accesses are unaligned ones.
    unsafe {
        for row in (0..rows).step_by(M) {
            let (a_at, c_at) = (a.at.add(row * a.stride), c.at.add(row * c.stride));
            let mut sums = [[_mm512_setzero_ps(); N]; M];
            if accumulate {
                for (m, sums) in sums.iter_mut().enumerate() {
                    for (n, sum) in sums.iter_mut().enumerate() {
                        *sum = _mm512_loadu_ps(c_at.add(m * c.stride + n * 64).cast());
                    }
                }
            }
            for pair in 0..steps * TILE {
                // A loop: a closure would not be inlined through `from_fn`, which lacks the instruction set.
                let mut right = [_mm512_setzero_si512(); N];
                for (n, right) in right.iter_mut().enumerate() {
                    *right = _mm512_loadu_si512(b.at.add(pair * b.stride + n * 64).cast());
                }
                for (m, sums) in sums.iter_mut().enumerate() {
                    let a =
                        as_pairs(_mm512_set1_epi32(a_at.add(m * a.stride + pair * 4).cast::<i32>().read_unaligned()));
                    for (sum, right) in sums.iter_mut().zip(right) {
                        *sum = _mm512_dpbf16_ps(*sum, a, as_pairs(right));
                    }
                }
            }
            for (m, sums) in sums.into_iter().enumerate() {
                for (n, sum) in sums.into_iter().enumerate() {
                    _mm512_storeu_ps(c_at.add(m * c.stride + n * 64).cast(), sum);
                }
            }
        }
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
fn as_pairs(bits: __m512i) -> __m512bh {
    // SAFETY: both are 64 bytes of plain bits.
    unsafe { std::mem::transmute::<__m512i, __m512bh>(bits) }
}

/// 32 values rounded to bf16: `low` in the lower half, `high` in the upper.
#[inline]
#[target_feature(enable = "avx512f,avx512bf16")]
pub(super) fn round_two(low: __m512, high: __m512) -> __m512i {
    // SAFETY: both are 64 bytes of plain bits.
    unsafe { std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low)) }
}
