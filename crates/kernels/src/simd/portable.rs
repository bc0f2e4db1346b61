//! Eight lanes of plain Rust, which the compiler turns into whatever the baseline has (SSE2, NEON).

use super::Simd;
use half::bf16;

#[derive(Clone, Copy)]
pub(crate) struct Portable;

const N: usize = 8;
type V = [f32; N];

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> V {
    std::array::from_fn(f)
}

impl Simd for Portable {
    const LANES: usize = N;
    type F = V;
    type M = [bool; N];

    #[inline(always)]
    fn splat(self, x: f32) -> V {
        [x; N]
    }
    #[inline(always)]
    fn load(self, x: &[f32]) -> V {
        each(|i| x[i])
    }
    #[inline(always)]
    fn store(self, v: V, out: &mut [f32]) {
        out[..N].copy_from_slice(&v);
    }
    #[inline(always)]
    fn load_bf16(self, x: &[bf16]) -> V {
        each(|i| x[i].to_f32())
    }
    #[inline(always)]
    fn store_bf16(self, v: V, out: &mut [bf16]) {
        for (out, v) in out[..N].iter_mut().zip(v) {
            *out = bf16::from_f32(v);
        }
    }
    #[inline(always)]
    unsafe fn load_ptr(self, x: *const f32) -> V {
        // SAFETY: promised by the caller; unaligned reads.
        unsafe { x.cast::<V>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store_ptr(self, v: V, out: *mut f32) {
        // SAFETY: promised by the caller; unaligned write.
        unsafe { out.cast::<V>().write_unaligned(v) }
    }
    #[inline(always)]
    fn add(self, a: V, b: V) -> V {
        each(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: V, b: V) -> V {
        each(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: V, b: V) -> V {
        each(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: V, b: V) -> V {
        each(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn fma(self, a: V, b: V, c: V) -> V {
        // Not `mul_add`: without a fused instruction that is a library call.
        each(|i| a[i] * b[i] + c[i])
    }
    #[inline(always)]
    fn max(self, a: V, b: V) -> V {
        each(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn min(self, a: V, b: V) -> V {
        each(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn sqrt(self, a: V) -> V {
        each(|i| a[i].sqrt())
    }
    #[inline(always)]
    fn round(self, a: V) -> V {
        each(|i| a[i].round_ties_even())
    }
    #[inline(always)]
    fn abs(self, a: V) -> V {
        each(|i| a[i].abs())
    }
    #[inline(always)]
    fn copysign(self, magnitude: V, sign: V) -> V {
        each(|i| magnitude[i].copysign(sign[i]))
    }
    #[inline(always)]
    fn scale_by_power(self, a: V, n: V) -> V {
        // In two halves, so that results below the smallest normal number and above half the largest come out right.
        each(|i| {
            let n = n[i] as i32;
            let half = n >> 1;
            a[i] * power_of_two(half) * power_of_two(n - half)
        })
    }
    #[inline(always)]
    fn split_fraction(self, a: V) -> (V, V) {
        let a = self.max(self.splat(-252.0), a);
        let floor = each(|i| a[i].floor());
        (self.sub(a, floor), floor)
    }
    #[inline(always)]
    fn split_exponent(self, a: V) -> (V, V) {
        let bits = a.map(f32::to_bits);
        let exponent = bits.map(|b| (b.wrapping_sub(0.75f32.to_bits()) as i32) >> 23);
        let mantissa = std::array::from_fn(|i| f32::from_bits(bits[i].wrapping_sub((exponent[i] as u32) << 23)));
        (mantissa, exponent.map(|e| e as f32))
    }
    #[inline(always)]
    fn less(self, a: V, b: V) -> [bool; N] {
        std::array::from_fn(|i| a[i] < b[i])
    }
    #[inline(always)]
    fn equal(self, a: V, b: V) -> [bool; N] {
        std::array::from_fn(|i| a[i] == b[i])
    }
    #[inline(always)]
    fn select(self, mask: [bool; N], yes: V, no: V) -> V {
        each(|i| if mask[i] { yes[i] } else { no[i] })
    }
}

#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits(((n + 127) as u32) << 23)
}
