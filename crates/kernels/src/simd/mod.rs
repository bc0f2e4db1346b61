//! Vectors of f32 behind one trait, so that a kernel is written once and compiled for every instruction set.
//!
//! A value of a [`Simd`] type is a token: it exists only inside [`dispatch`], which has checked the CPU, so its methods are
//! safe. A kernel is a struct that implements [`Kernel`]; `run` and all it calls are `#[inline(always)]`, so that the body is
//! compiled inside the function that enables the instruction set.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
pub(crate) mod math;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::{Avx512, transpose16};

use crate::element::{Element, ElementKind};
use crate::isa::{Isa, isa};
use half::bf16;

/// The widest vector, in f32 lanes.
pub(crate) const MAX_LANES: usize = 16;

/// Arithmetic on vectors of `LANES` f32.
pub(crate) trait Simd: Copy + 'static {
    const LANES: usize;
    type F: Copy;
    /// Lanes chosen by a comparison.
    type M: Copy;

    fn splat(self, x: f32) -> Self::F;
    fn load(self, x: &[f32]) -> Self::F;
    fn store(self, v: Self::F, out: &mut [f32]);
    fn load_bf16(self, x: &[bf16]) -> Self::F;
    /// Rounds to nearest, ties to even.
    fn store_bf16(self, v: Self::F, out: &mut [bf16]);
    /// # Safety
    /// `LANES` values can be read at `x`.
    unsafe fn load_ptr(self, x: *const f32) -> Self::F;
    /// # Safety
    /// `LANES` values can be written at `out`.
    unsafe fn store_ptr(self, v: Self::F, out: *mut f32);
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a * b + c`, fused where the machine can.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// Returns `b` where either is NaN (the x86 rule).
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// Returns `b` where either is NaN (the x86 rule).
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    fn sqrt(self, a: Self::F) -> Self::F;
    /// To the nearest integer, ties to even.
    fn round(self, a: Self::F) -> Self::F;
    fn abs(self, a: Self::F) -> Self::F;
    /// `|magnitude|` with the sign of `sign`.
    fn copysign(self, magnitude: Self::F, sign: Self::F) -> Self::F;
    /// `a * 2^n` for integral `n` in -252 ..= 254.
    fn scale_by_power(self, a: Self::F, n: Self::F) -> Self::F;
    /// `a - floor(a)` (0 for an infinity) and a number whose floor is that of `a`, for [`Self::scale_by_power`]: clamped
    /// where that needs it.
    fn split_fraction(self, a: Self::F) -> (Self::F, Self::F);
    /// For a positive normal number: mantissa in [0.75, 1.5) and the exponent that goes with it.
    fn split_exponent(self, a: Self::F) -> (Self::F, Self::F);
    fn less(self, a: Self::F, b: Self::F) -> Self::M;
    fn equal(self, a: Self::F, b: Self::F) -> Self::M;
    /// `yes` where the mask is set, else `no`.
    fn select(self, mask: Self::M, yes: Self::F, no: Self::F) -> Self::F;

    /// Transposes the square of the first `LANES` vectors.
    #[inline(always)]
    fn transpose(self, rows: &mut [Self::F; MAX_LANES]) {
        let mut square = [0.0f32; MAX_LANES * MAX_LANES];
        for (r, row) in rows.iter().enumerate().take(Self::LANES) {
            let mut lanes = [0.0f32; MAX_LANES];
            self.store(*row, &mut lanes[..Self::LANES]);
            for (c, lane) in lanes.iter().enumerate().take(Self::LANES) {
                square[c * MAX_LANES + r] = *lane;
            }
        }
        for (row, square) in rows.iter_mut().zip(square.chunks_exact(MAX_LANES)).take(Self::LANES) {
            *row = self.load(&square[..Self::LANES]);
        }
    }

    /// Loads up to `LANES` values; missing ones are zeros.
    #[inline(always)]
    fn load_any<E: Element>(self, x: &[E]) -> Self::F {
        if x.len() >= Self::LANES { self.load_of(x) } else { self.load_part(x, 0.0) }
    }

    /// Stores the first `out.len()` lanes, at most `LANES`.
    #[inline(always)]
    fn store_any<E: Element>(self, v: Self::F, out: &mut [E]) {
        if out.len() >= Self::LANES { self.store_of(v, out) } else { self.store_part(v, out) }
    }

    /// Sum of the lanes, pairwise in a fixed order.
    #[inline(always)]
    fn sum(self, v: Self::F) -> f32 {
        let mut lanes = [0.0f32; MAX_LANES];
        self.store(v, &mut lanes[..Self::LANES]);
        let mut width = Self::LANES;
        while width > 1 {
            width /= 2;
            for i in 0..width {
                lanes[i] += lanes[i + width];
            }
        }
        lanes[0]
    }

    /// Largest lane.
    #[inline(always)]
    fn largest(self, v: Self::F) -> f32 {
        let mut lanes = [0.0f32; MAX_LANES];
        self.store(v, &mut lanes[..Self::LANES]);
        lanes[..Self::LANES].iter().copied().fold(f32::NEG_INFINITY, |a, b| if b > a || b.is_nan() { b } else { a })
    }

    #[inline(always)]
    fn load_of<E: Element>(self, x: &[E]) -> Self::F {
        match E::KIND {
            // SAFETY: KIND says that E is the type; length is kept.
            ElementKind::F32 => self.load(unsafe { reinterpret(x) }),
            // SAFETY: as above.
            ElementKind::Bf16 => self.load_bf16(unsafe { reinterpret(x) }),
        }
    }

    #[inline(always)]
    fn store_of<E: Element>(self, v: Self::F, out: &mut [E]) {
        match E::KIND {
            // SAFETY: KIND says that E is the type; length is kept.
            ElementKind::F32 => self.store(v, unsafe { reinterpret_mut(out) }),
            // SAFETY: as above.
            ElementKind::Bf16 => self.store_bf16(v, unsafe { reinterpret_mut(out) }),
        }
    }

    /// Loads fewer than `LANES` values; the other lanes hold `fill`.
    #[inline(always)]
    fn load_part<E: Element>(self, x: &[E], fill: f32) -> Self::F {
        let mut lanes = [fill; MAX_LANES];
        for (lane, &x) in lanes.iter_mut().zip(x) {
            *lane = x.to_f32();
        }
        self.load(&lanes[..Self::LANES])
    }

    /// Stores the first `out.len() < LANES` lanes.
    #[inline(always)]
    fn store_part<E: Element>(self, v: Self::F, out: &mut [E]) {
        let mut lanes = [0.0f32; MAX_LANES];
        self.store(v, &mut lanes[..Self::LANES]);
        for (out, &lane) in out.iter_mut().zip(&lanes) {
            *out = E::from_f32(lane);
        }
    }
}

/// # Safety
/// `A` and `B` are the same type.
#[inline(always)]
unsafe fn reinterpret<A, B>(x: &[A]) -> &[B] {
    // SAFETY: promised by the caller.
    unsafe { std::slice::from_raw_parts(x.as_ptr().cast(), x.len()) }
}

/// # Safety
/// `A` and `B` are the same type.
#[inline(always)]
unsafe fn reinterpret_mut<A, B>(x: &mut [A]) -> &mut [B] {
    // SAFETY: promised by the caller.
    unsafe { std::slice::from_raw_parts_mut(x.as_mut_ptr().cast(), x.len()) }
}

/// Work that can be compiled for any instruction set.
pub(crate) trait Kernel {
    type Output;
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// Runs the kernel with the widest vectors that [`isa`] allows.
#[inline]
pub(crate) fn dispatch<K: Kernel>(kernel: K) -> K::Output {
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `isa` never names a set that the CPU lacks.
        Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => unsafe { avx512::enter(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { avx2::enter(kernel) },
        _ => kernel.run(portable::Portable),
    }
}
