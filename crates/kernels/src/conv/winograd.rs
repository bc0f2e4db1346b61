//! 3×3 convolutions of f32 maps with a border by minimal filtering, F(4×4, 3×3) (Lavin & Gray, arXiv:1509.09308): squares of 6×6
//! pixels and the kernels are taken to where 36 products for each pair of channels make 4×4 results, instead of 144.
//!
//! The polynomials behind it are evaluated at 0, ±√½, ±√2 and infinity: points whose products are 1 in pairs lose least to rounding.
//! Squares lie on a grid of four pixels that begins at the map's corner, so that a pixel's value does not depend on the rows that
//! are asked for, as long as these begin and end on the grid or at the map's edge.

use std::f32::consts::{FRAC_1_SQRT_2 as A, SQRT_2 as B};
use std::ops::Range;

use crate::element::Element;
use crate::gemm::engine::groups;
use crate::gemm::finish::{Finish, Run, finish_for};
use crate::gemm::micro::{Ahead, Args, Micro, TILE, Tap};
use crate::gemm::packed::PANEL;
use crate::gemm::{PackedB, Precision};
use crate::isa::isa;
use crate::pool::PooledBuf;
use crate::simd::{Kernel, Simd, dispatch};
use crate::threads::parallel_for;

/// Pixels of a side of the results and of what they come from.
pub(super) const STEP: usize = 4;
const SEEN: usize = STEP + 2;
const POINTS: usize = SEEN * SEEN;
/// Squares that are multiplied together.
const SQUARES: usize = 2 * TILE;
/// Floats between what belongs to two points, beyond what is there: they shall not share the same few sets of a cache.
const APART: usize = 16;

/// Packs `w`, `[c_out, c_in, 3, 3]`: one tap for each of the 36 points.
pub(super) fn pack<S: Element>(w: &[S], c_in: usize, c_out: usize) -> PackedB {
    let (a, b) = (f64::from(A), f64::from(B));
    let row = |point: f64, norm: f64| [1.0 / norm, point / norm, point * point / norm];
    let rows = [row(0.0, 1.0), row(a, -1.5), row(-a, -1.5), row(b, 6.0), row(-b, 6.0), [0.0, 0.0, 1.0]];
    let mut taken = vec![0f32; POINTS * c_in * c_out];
    for (at, kernel) in w.chunks_exact(9).enumerate() {
        let (o, i) = (at / c_in, at % c_in);
        for (p, vertical) in rows.iter().enumerate() {
            for (q, horizontal) in rows.iter().enumerate() {
                let sum: f64 =
                    (0..9).map(|t| vertical[t / 3] * horizontal[t % 3] * f64::from(kernel[t].to_f32())).sum();
                taken[((p * SEEN + q) * c_in + i) * c_out + o] = sum as f32;
            }
        }
    }
    PackedB::pack(&taken, POINTS, c_in, c_out, [c_in * c_out, c_out, 1], Precision::F32)
}

/// A map `[batch, height, width, channels]` within its border, the first channels of which are seen.
#[derive(Clone, Copy)]
pub(super) struct Source {
    pub values: *const f32,
    pub shape: [usize; 4],
}

// SAFETY: it is only read, by functions whose callers promise that it may be.
unsafe impl Sync for Source {}

/// Where a square of results begins.
#[derive(Clone, Copy)]
struct Square {
    y: usize,
    x: usize,
}

/// Rows `rows` of one picture of the convolution.
///
/// # Safety
/// The source must be a map of its shape, of whose pixels in and beside the rows the channels that `b` takes are unchanged meanwhile.
/// The finish must describe an output of as many lines and columns, the rows of which are ours.
pub(super) unsafe fn convolve<O: Element>(
    source: Source,
    image: usize,
    b: &PackedB,
    rows: Range<usize>,
    finish: &Finish<'_, O>,
) {
    let [_, height, width, _] = source.shape;
    let across = width.div_ceil(STEP);
    let first = rows.start / STEP;
    let count = (rows.end.div_ceil(STEP) - first) * across;
    let micro = Micro::of(isa(), Precision::F32);
    let end = finish_for::<O>(isa());
    let (c_in, c_out) = (b.k(), b.n());
    let groups = groups(c_out.div_ceil(PANEL), micro.panels);
    let pitch = c_out.next_multiple_of(PANEL);
    parallel_for(count.div_ceil(SQUARES), &|task| {
        let squares = (task * SQUARES..count.min((task + 1) * SQUARES))
            .map(|i| Square { y: (first + i / across) * STEP, x: i % across * STEP });
        let (taken_apart, made_apart) = (SQUARES * c_in + APART, SQUARES * pitch + APART);
        let mut taken = PooledBuf::<f32>::dirty(POINTS * taken_apart);
        let mut made = PooledBuf::<f32>::dirty(POINTS * made_apart);
        let mut patch = PooledBuf::<f32>::dirty(POINTS * c_in);
        for (i, square) in squares.clone().enumerate() {
            // SAFETY: the caller's promise about the map.
            let (from, strides) = unsafe { seen(source, image, square, &rows, c_in, &mut patch) };
            dispatch(Take { from, strides, channels: c_in, to: &mut taken[i * c_in..], apart: taken_apart });
        }
        (micro.begin)();
        let left = squares.len();
        for point in 0..POINTS {
            let a = taken[point * taken_apart..].as_ptr().cast::<u8>();
            for &(panel, panels) in &groups {
                let args = Args {
                    a: [a, a.wrapping_add(TILE * c_in * size_of::<f32>())],
                    rows: [left.min(TILE), left.saturating_sub(TILE)],
                    a_stride: c_in * size_of::<f32>(),
                    taps: &[Tap { a: 0, b: point }],
                    pack_taps: POINTS,
                    k: c_in,
                    b: b.panel(panel),
                    panel_stride: b.panel_bytes(),
                    panels,
                    sums: made[point * made_apart + panel * PANEL..].as_mut_ptr(),
                    ldc: pitch,
                    accumulate: false,
                    far: false,
                    ahead: Ahead::NONE,
                };
                // SAFETY: the rows of A were just written; the panels are inside the pack; `made` holds 32 rows of all panels.
                unsafe { (micro.run)(&args) };
            }
        }
        (micro.end)();
        let mut sums = PooledBuf::<f32>::dirty(STEP * STEP * pitch);
        for (i, Square { y, x }) in squares.enumerate() {
            dispatch(Give { from: &made[i * pitch..], apart: made_apart, channels: pitch, to: &mut sums });
            for dy in 0..STEP {
                let y = y + dy;
                if !rows.contains(&y) {
                    continue;
                }
                let run = Run {
                    sums: sums[dy * STEP * pitch..].as_ptr(),
                    ldc: pitch,
                    rows: STEP.min(width - x),
                    out_row: (image * (height + 2) + y + 1) * (width + 2) + 1 + x,
                    step: 1,
                    column: 0,
                    columns: c_out,
                };
                // SAFETY: the caller's promise about the output; each square is one task's.
                unsafe { end(finish, &run) };
            }
        }
    });
}

/// What a square's results see: its place in the map and the floats from row to row and from column to column; at the edges a copy in
/// which what is beyond them, or beside the rows, is zero.
///
/// # Safety
/// As [`convolve`].
unsafe fn seen(
    source: Source,
    image: usize,
    Square { y, x }: Square,
    rows: &Range<usize>,
    c_in: usize,
    patch: &mut [f32],
) -> (*const f32, [usize; 2]) {
    let [_, height, width, channels] = source.shape;
    let line = (width + 2) * channels;
    // With the border, pixel (y, x) of the result sees rows y to y + 2 and columns x to x + 2.
    // SAFETY: inside the map.
    let at = |y: usize, x: usize| unsafe { source.values.add((image * (height + 2) + y) * line + x * channels) };
    if y >= rows.start && y + SEEN <= rows.end + 2 && x + SEEN <= width + 2 {
        return (at(y, x), [line, channels]);
    }
    patch.fill(0.0);
    for dy in (0..SEEN).filter(|dy| (rows.start..rows.end + 2).contains(&(y + dy))) {
        for dx in 0..SEEN.min(width + 2 - x) {
            // SAFETY: the pixel is inside the map, and the caller promises that its first channels may be read.
            let pixel = unsafe { std::slice::from_raw_parts(at(y + dy, x + dx), c_in) };
            patch[(dy * SEEN + dx) * c_in..][..c_in].copy_from_slice(pixel);
        }
    }
    (patch.as_ptr(), [SEEN * c_in, c_in])
}

/// Takes the 6×6 pixels at `from` to the 36 points.
struct Take<'a> {
    from: *const f32,
    strides: [usize; 2],
    channels: usize,
    /// Where the channels of the first point go; those of the next are `apart` floats further.
    to: &'a mut [f32],
    apart: usize,
}

impl Kernel for Take<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Take { from, strides: [line, step], channels, to, apart } = self;
        assert!(to.len() >= (POINTS - 1) * apart + channels, "too few places");
        let mut c = 0;
        while c < channels {
            let part = (channels - c).min(S::LANES);
            let mut half = [[s.splat(0.0); SEEN]; SEEN];
            for (y, half) in half.iter_mut().enumerate() {
                let mut d = [s.splat(0.0); SEEN];
                for (x, d) in d.iter_mut().enumerate() {
                    // SAFETY: `seen` gives a place of 6×6 pixels of so many channels.
                    *d = unsafe {
                        let at = from.add(y * line + x * step + c);
                        match part == S::LANES {
                            true => s.load_ptr(at),
                            false => s.load_part(std::slice::from_raw_parts(at, part), 0.0),
                        }
                    };
                }
                *half = taken(s, d);
            }
            for x in 0..SEEN {
                for (y, value) in taken(s, column(&half, x)).into_iter().enumerate() {
                    let at = (y * SEEN + x) * apart + c;
                    match part == S::LANES {
                        // SAFETY: inside `to`, whose length was checked.
                        true => unsafe { s.store_ptr(value, to.as_mut_ptr().add(at)) },
                        false => s.store_part(value, &mut to[at..at + part]),
                    }
                }
            }
            c += part;
        }
    }
}

/// One value of each row.
#[inline(always)]
fn column<F: Copy, const N: usize>(rows: &[[F; N]; SEEN], x: usize) -> [F; SEEN] {
    [rows[0][x], rows[1][x], rows[2][x], rows[3][x], rows[4][x], rows[5][x]]
}

/// Six values at the six points: the transpose of how polynomials of degree 5 are put together from their values there.
#[inline(always)]
fn taken<S: Simd>(s: S, d: [S::F; SEEN]) -> [S::F; SEEN] {
    let (near, far) = (s.splat(-A * A), s.splat(-B * B));
    let both = s.splat(-(A * A + B * B));
    let (even, odd) = (s.fma(d[2], far, d[4]), s.fma(d[1], far, d[3]));
    let (even_far, odd_far) = (s.fma(d[2], near, d[4]), s.fma(d[1], near, d[3]));
    [
        s.add(s.fma(d[2], both, d[4]), d[0]),
        s.fma(odd, s.splat(A), even),
        s.fma(odd, s.splat(-A), even),
        s.fma(odd_far, s.splat(B), even_far),
        s.fma(odd_far, s.splat(-B), even_far),
        s.add(s.fma(d[3], both, d[5]), d[1]),
    ]
}

/// Makes the 4×4 sums of products at the 36 points.
struct Give<'a> {
    /// The channels of the first point; those of the next are `apart` floats further.
    from: &'a [f32],
    apart: usize,
    /// A multiple of the lanes.
    channels: usize,
    to: &'a mut [f32],
}

impl Kernel for Give<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Give { from, apart, channels, to } = self;
        assert!(from.len() >= (POINTS - 1) * apart + channels && to.len() >= STEP * STEP * channels, "too few places");
        for c in (0..channels).step_by(S::LANES) {
            let mut half = [[s.splat(0.0); STEP]; SEEN];
            for (y, half) in half.iter_mut().enumerate() {
                let mut m = [s.splat(0.0); SEEN];
                for (x, m) in m.iter_mut().enumerate() {
                    // SAFETY: inside `from`, whose length was checked.
                    *m = unsafe { s.load_ptr(from.as_ptr().add((y * SEEN + x) * apart + c)) };
                }
                *half = given(s, m);
            }
            for x in 0..STEP {
                for (y, value) in given(s, column(&half, x)).into_iter().enumerate() {
                    // SAFETY: inside `to`, whose length was checked.
                    unsafe { s.store_ptr(value, to.as_mut_ptr().add((y * STEP + x) * channels + c)) };
                }
            }
        }
    }
}

/// Four results from the products at six points: the transpose of the values of polynomials of degree 3 there.
#[inline(always)]
fn given<S: Simd>(s: S, m: [S::F; SEEN]) -> [S::F; STEP] {
    let (near, near_odd) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
    let (far, far_odd) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
    let (a2, a3, b2, b3) = (A * A, A * A * A, B * B, B * B * B);
    [
        s.add(s.add(m[0], near), far),
        s.fma(near_odd, s.splat(A), s.mul(far_odd, s.splat(B))),
        s.fma(near, s.splat(a2), s.mul(far, s.splat(b2))),
        s.fma(near_odd, s.splat(a3), s.fma(far_odd, s.splat(b3), m[5])),
    ]
}
