//! The epilogue's vector form: takes sums from the micro-kernel's array and stores finished rows.

use super::epilogue::{Activation, Epilogue};
use super::lanes::{Lanes, exp, gelu, sigmoid, tanh};
use super::micro::LDC;
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

/// A run of rows of sums.
pub(crate) struct Run {
    pub sums: *const f32,
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
        Isa::Avx512 | Isa::Avx512Bf16 | Isa::Amx => avx512::<O>,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2::<O>,
        _ => rows::<f32, O>,
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
unsafe fn avx512<O: Element>(finish: &Finish<'_, O>, run: &Run) {
    // SAFETY: the caller's promise, and the instruction set is enabled here.
    unsafe { rows::<std::arch::x86_64::__m512, O>(finish, run) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<O: Element>(finish: &Finish<'_, O>, run: &Run) {
    // SAFETY: the caller's promise, and the instruction set is enabled here.
    unsafe { rows::<std::arch::x86_64::__m256, O>(finish, run) }
}

/// # Safety
/// The run must lie inside the sums and the output, and no one else may touch those outputs.
#[inline(always)]
unsafe fn rows<L: Lanes, O: Element>(finish: &Finish<'_, O>, run: &Run) {
    let column = finish.column + run.column;
    let ends = &finish.epilogue;
    for r in 0..run.rows {
        let row = run.out_row + r * run.step;
        // SAFETY: Epilogue::check has compared the parts' lengths with the product's shape, which bounds row and column.
        unsafe {
            let places = Places {
                sums: run.sums.add(r * LDC),
                out: finish.out.add(row * finish.ldo + column),
                bias: ends.bias.map(|bias| bias.as_ptr().add(column)),
                row_bias: ends.row_bias.map(|(bias, rows)| bias.as_ptr().add(row / rows * finish.n + column)),
                residual: ends.residual.map(|residual| residual.as_ptr().add(row * finish.n + column)),
            };
            let mut at = 0;
            while at + L::N <= run.columns {
                places.one::<L>(at, ends.activation);
                at += L::N;
            }
            while at < run.columns {
                places.one::<f32>(at, ends.activation);
                at += 1;
            }
        }
    }
}

struct Places<O> {
    sums: *const f32,
    out: *mut O,
    bias: Option<*const f32>,
    row_bias: Option<*const f32>,
    residual: Option<*const O>,
}

impl<O: Element> Places<O> {
    /// # Safety
    /// The vector at `at` must lie inside every part.
    #[inline(always)]
    unsafe fn one<L: Lanes>(&self, at: usize, activation: Activation) {
        // SAFETY: the caller's promise; O::KIND says what the pointers to O point to.
        unsafe {
            let mut v = L::load(self.sums.add(at));
            if let Some(bias) = self.bias {
                v = v.add(L::load(bias.add(at)));
            }
            if let Some(bias) = self.row_bias {
                v = v.add(L::load(bias.add(at)));
            }
            v = activate(v, activation);
            if let Some(residual) = self.residual {
                let residual = residual.add(at);
                v = v.add(match O::KIND {
                    ElementKind::F32 => L::load(residual.cast()),
                    ElementKind::Bf16 => L::load_bf16(residual.cast()),
                });
            }
            match O::KIND {
                ElementKind::F32 => v.store(self.out.add(at).cast()),
                ElementKind::Bf16 => v.store_bf16(self.out.add(at).cast()),
            }
        }
    }
}

/// # Safety
/// As [`Lanes`].
#[inline(always)]
unsafe fn activate<L: Lanes>(x: L, activation: Activation) -> L {
    // SAFETY: the caller's promise.
    unsafe {
        match activation {
            Activation::None => x,
            Activation::Relu => L::splat(0.0).max(x),
            Activation::LeakyRelu(slope) => x.where_positive(x, x.mul(L::splat(slope))),
            Activation::Silu => x.div(L::splat(1.0).add(exp(L::splat(0.0).sub(x)))),
            Activation::Gelu => gelu(x),
            Activation::GeluTanh => {
                let cube = x.mul(x).mul(x);
                let inner = cube.mul_add(L::splat(0.044_715), x).mul(L::splat(0.797_884_6));
                // (1 + tanh u) / 2 = sigmoid(2u)
                x.mul(sigmoid(inner.add(inner)))
            }
            Activation::QuickGelu => x.mul(sigmoid(x.mul(L::splat(1.702)))),
            Activation::Sigmoid => sigmoid(x),
            Activation::Tanh => tanh(x),
        }
    }
}
