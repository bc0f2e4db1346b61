//! The epilogue's vector form: takes sums from the micro-kernel's array and stores finished rows.

use super::epilogue::{Activation, Epilogue};
use super::lanes::{Lanes, exp, gelu, sigmoid, tanh};
use crate::element::{Element, ElementKind};
use crate::isa::Isa;

/// Where finished values go, and what is done to them on the way.
pub(crate) struct Finish<'a, O> {
    /// The first element of the output's row 0.
    pub out: *mut O,
    /// Elements from row to row of the output.
    pub ldo: usize,
    /// Columns of the whole product: the row stride of the row bias and the residual.
    pub n: usize,
    /// The part of the whole product's columns that this pack makes begins here (a group of a convolution).
    pub column: usize,
    pub epilogue: Epilogue<'a, O>,
}

impl<O: Element> Finish<'_, O> {
    /// Asks for the cache lines of outputs that will be written soon, and of the residual that will be read with them: they
    /// lie a row apart, which no hardware foresees.
    #[inline(always)]
    pub fn prefetch(&self, rows: usize, out_row: usize, step: usize, column: usize, columns: usize) {
        #[cfg(target_arch = "x86_64")]
        for r in 0..rows {
            use std::arch::x86_64::{_MM_HINT_ET0, _MM_HINT_T0, _mm_prefetch};
            let row = out_row + r * step;
            let out = self.out.wrapping_add(row * self.ldo + self.column + column).cast::<i8>();
            let residual = self.epilogue.residual.map(|x| x.as_ptr().wrapping_add(row * self.n + self.column + column));
            for at in (0..columns * size_of::<O>()).step_by(64) {
                // SAFETY: a prefetch touches no memory, whatever the address.
                unsafe {
                    _mm_prefetch::<_MM_HINT_ET0>(out.wrapping_add(at));
                    if let Some(residual) = residual {
                        _mm_prefetch::<_MM_HINT_T0>(residual.cast::<i8>().wrapping_add(at));
                    }
                }
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (rows, out_row, step, column, columns);
    }
}

/// A run of rows of sums.
pub(crate) struct Run {
    /// The first row of sums, and floats from row to row.
    pub sums: *const f32,
    pub ldc: usize,
    pub rows: usize,
    /// The output row of the first, and the distance between output rows.
    pub out_row: usize,
    pub step: usize,
    /// First column (of the pack) and how many.
    pub column: usize,
    pub columns: usize,
}

/// Finishes one run of rows.
pub(crate) type FinishRun<O> = unsafe fn(&Finish<'_, O>, &Run);

/// The version for `isa`, which must be available.
pub(crate) fn finish_for<O: Element>(isa: Isa) -> FinishRun<O> {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Bf16 | Isa::Amx => x86::avx512_bf16::<O>,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => x86::avx512::<O>,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => x86::avx2::<O>,
        _ => rows::<f32, O>,
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Element, Finish, Run, rows};
    use crate::gemm::lanes::Wide;

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
    pub unsafe fn avx512_bf16<O: Element>(finish: &Finish<'_, O>, run: &Run) {
        // SAFETY: the caller's promise, and the instruction set is enabled here.
        unsafe { rows::<Wide<true>, O>(finish, run) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
    pub unsafe fn avx512<O: Element>(finish: &Finish<'_, O>, run: &Run) {
        // SAFETY: the caller's promise, and the instruction set is enabled here.
        unsafe { rows::<Wide<false>, O>(finish, run) }
    }

    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn avx2<O: Element>(finish: &Finish<'_, O>, run: &Run) {
        // SAFETY: the caller's promise, and the instruction set is enabled here.
        unsafe { rows::<std::arch::x86_64::__m256, O>(finish, run) }
    }
}

/// # Safety
/// The run must lie inside the sums and the output, no one else may touch those outputs, and the machine must have the
/// vector's instruction set.
#[inline(always)]
unsafe fn rows<L: Lanes, O: Element>(finish: &Finish<'_, O>, run: &Run) {
    let ends = &finish.epilogue;
    let column = finish.column + run.column;
    let mut first = 0;
    while first < run.rows {
        let row = run.out_row + first * run.step;
        // Rows that share a row of the row bias.
        let rows = match ends.row_bias {
            Some((_, group)) => (group - row % group).div_ceil(run.step).min(run.rows - first),
            None => run.rows - first,
        };
        // SAFETY: Epilogue::check has compared the parts' lengths with the product's shape, which bounds row and column.
        unsafe {
            let places = Places {
                sums: run.sums.add(first * run.ldc),
                ldc: run.ldc,
                out: finish.out.add(row * finish.ldo + column),
                out_step: run.step * finish.ldo,
                bias: ends.bias.map(|bias| bias.as_ptr().add(column)),
                row_bias: ends.row_bias.map(|(bias, group)| bias.as_ptr().add(row / group * finish.n + column)),
                residual: ends.residual.map(|residual| residual.as_ptr().add(row * finish.n + column)),
                residual_step: run.step * finish.n,
                rows,
                columns: run.columns,
            };
            match ends.activation {
                Activation::None => places.all::<L, Identity>(Identity),
                Activation::Relu => places.all::<L, _>(Relu),
                Activation::LeakyRelu(slope) => places.all::<L, _>(LeakyRelu(slope)),
                Activation::Silu => places.all::<L, _>(Silu),
                Activation::Gelu => places.all::<L, _>(Gelu),
                Activation::GeluTanh => places.all::<L, _>(GeluTanh),
                Activation::QuickGelu => places.all::<L, _>(QuickGelu),
                Activation::Sigmoid => places.all::<L, _>(Sigmoid),
                Activation::Tanh => places.all::<L, _>(Tanh),
            }
        }
        first += rows;
    }
}

/// A block of sums and where it goes.
struct Places<O> {
    sums: *const f32,
    ldc: usize,
    out: *mut O,
    out_step: usize,
    bias: Option<*const f32>,
    row_bias: Option<*const f32>,
    residual: Option<*const O>,
    residual_step: usize,
    rows: usize,
    columns: usize,
}

impl<O: Element> Places<O> {
    /// Row by row, so that what is written is one stream.
    ///
    /// # Safety
    /// As [`rows`].
    #[inline(always)]
    unsafe fn all<L: Lanes, F: Function>(&self, function: F) {
        for r in 0..self.rows {
            let mut at = 0;
            // SAFETY: the caller's promise.
            unsafe {
                while at + L::N <= self.columns {
                    self.one::<L, F>(r, at, function);
                    at += L::N;
                }
                while at < self.columns {
                    self.one::<f32, F>(r, at, function);
                    at += 1;
                }
            }
        }
    }

    /// # Safety
    /// As [`rows`].
    #[inline(always)]
    unsafe fn one<L: Lanes, F: Function>(&self, r: usize, at: usize, function: F) {
        // SAFETY: the caller's promise; O::KIND says what the pointers to O point to.
        unsafe {
            let mut v = L::load(self.sums.add(r * self.ldc + at));
            if let Some(bias) = self.bias {
                v = v.add(L::load(bias.add(at)));
            }
            if let Some(row_bias) = self.row_bias {
                v = v.add(L::load(row_bias.add(at)));
            }
            v = function.apply(v);
            if let Some(residual) = self.residual {
                let residual = residual.add(r * self.residual_step + at);
                v = v.add(match O::KIND {
                    ElementKind::F32 => L::load(residual.cast()),
                    ElementKind::Bf16 => L::load_bf16(residual.cast()),
                });
            }
            let out = self.out.add(r * self.out_step + at);
            match O::KIND {
                ElementKind::F32 => v.store(out.cast()),
                ElementKind::Bf16 => v.store_bf16(out.cast()),
            }
        }
    }
}

/// An activation on vectors.
trait Function: Copy {
    /// # Safety
    /// As [`Lanes`].
    unsafe fn apply<L: Lanes>(self, x: L) -> L;
}

macro_rules! function {
    ($name:ident $(($field:ty))?, |$this:ident, $x:ident| $body:expr) => {
        #[derive(Clone, Copy)]
        struct $name $(($field))?;
        impl Function for $name {
            #[inline(always)]
            unsafe fn apply<L: Lanes>(self, $x: L) -> L {
                let $this = self;
                // SAFETY: the caller's promise.
                unsafe { $body }
            }
        }
    };
}

function!(Relu, |_this, x| L::splat(0.0).max(x));
function!(LeakyRelu(f32), |this, x| x.where_positive(x, x.mul(L::splat(this.0))));
function!(Silu, |_this, x| x.div(L::splat(1.0).add(exp(L::splat(0.0).sub(x)))));
function!(Gelu, |_this, x| gelu(x));
function!(GeluTanh, |_this, x| {
    let inner = x.mul(x).mul(x).mul_add(L::splat(0.044_715), x).mul(L::splat(0.797_884_6));
    // (1 + tanh u) / 2 = sigmoid(2u)
    x.mul(sigmoid(inner.add(inner)))
});
function!(QuickGelu, |_this, x| x.mul(sigmoid(x.mul(L::splat(1.702)))));
function!(Sigmoid, |_this, x| sigmoid(x));
function!(Tanh, |_this, x| tanh(x));

#[derive(Clone, Copy)]
struct Identity;
impl Function for Identity {
    #[inline(always)]
    unsafe fn apply<L: Lanes>(self, x: L) -> L {
        x
    }
}
