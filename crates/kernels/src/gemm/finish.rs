//! The epilogue's vector form: takes sums from the micro-kernel's array and stores finished rows.

use super::epilogue::{Activation, Epilogue};
use super::lanes::{Lanes, gelu, quick_sigmoid, sigmoid, tanh};
use crate::element::{Element, ElementKind};
use crate::isa::Isa;

/// Where finished values go, and what is done to them on the way.
pub(crate) struct Finish<'a, O> {
    /// The first element of the output's row 0.
    pub out: *mut O,
    /// Elements from row to row of the output.
    pub ldo: usize,
    /// Columns of the whole product: the row stride of the row bias.
    pub n: usize,
    /// The part of the whole product's columns that this pack makes begins here (a group of a convolution).
    pub column: usize,
    /// Its residual is not looked at.
    pub epilogue: Epilogue<'a, O>,
    /// What is added, as the output is laid out; it may be the output itself.
    pub residual: Option<*const O>,
    /// Elements from row to row of the residual.
    pub ldr: usize,
    /// Of PReLU: one slope below zero for each column, applied with the activation.
    pub slopes: Option<&'a [f32]>,
    /// What the value is multiplied with before the residual is added.
    pub gain: f32,
    /// SPAN's attention instead of the sum with the residual, see [`crate::elementwise::sigmoid_gate`].
    pub gate: bool,
}

// SAFETY: the pointers are read, or written in disjoint rows and columns by each task.
unsafe impl<O: Sync> Sync for Finish<'_, O> {}

impl<'a, O: Element> Finish<'a, O> {
    /// A finish of `n` columns in rows of as many.
    pub fn dense(out: *mut O, n: usize, epilogue: Epilogue<'a, O>) -> Self {
        let residual = epilogue.residual.map(<[O]>::as_ptr);
        Finish { out, ldo: n, n, column: 0, epilogue, residual, ldr: n, slopes: None, gain: 1.0, gate: false }
    }
}

impl<O: Element> Finish<'_, O> {
    /// Whether there is a bias, and nothing beside it and the activation.
    pub fn is_plain(&self) -> bool {
        let none = self.epilogue.row_bias.is_none() && self.slopes.is_none() && self.residual.is_none();
        none && self.gain == 1.0 && self.epilogue.bias.is_some()
    }

    /// Where a run goes.
    ///
    /// # Safety
    /// As [`rows`]; the rows must share a row of the row bias.
    #[inline(always)]
    unsafe fn places(&self, run: &Run) -> Places<O> {
        let (ends, column, row) = (&self.epilogue, self.column + run.column, run.out_row);
        // SAFETY: the caller's promise.
        unsafe {
            Places {
                sums: run.sums,
                ldc: run.ldc,
                out: self.out.add(row * self.ldo + column),
                out_step: run.step * self.ldo,
                bias: ends.bias.map(|bias| bias.as_ptr().add(column)),
                row_bias: ends.row_bias.map(|(bias, group)| bias.as_ptr().add(row / group * self.n + column)),
                residual: self.residual.map(|residual| residual.add(row * self.ldr + column)),
                residual_step: run.step * self.ldr,
                slopes: self.slopes.map(|slopes| slopes.as_ptr().add(column)),
                gain: self.gain,
                gate: self.gate,
                rows: run.rows,
                columns: run.columns,
            }
        }
    }

    /// Finishes a run with `function`, which is the finish's own activation.
    ///
    /// # Safety
    /// As [`rows`]; `PLAIN` only where [`Finish::is_plain`]; the rows must share a row of the row bias.
    #[inline(always)]
    pub(super) unsafe fn run<L: Lanes, F: Function, const PLAIN: bool>(&self, function: F, run: &Run) {
        // SAFETY: the caller's promise.
        unsafe { self.places(run).each::<L, F, PLAIN>(function) }
    }

    /// Asks for the cache lines of outputs that will be written soon, and of the residual that will be read with them: they
    /// lie a row apart, which no hardware foresees.
    #[inline(always)]
    pub fn prefetch(&self, rows: usize, out_row: usize, step: usize, column: usize, columns: usize) {
        #[cfg(target_arch = "x86_64")]
        for r in 0..rows {
            use std::arch::x86_64::{_MM_HINT_ET0, _MM_HINT_T0, _mm_prefetch};
            let row = out_row + r * step;
            let out = self.out.wrapping_add(row * self.ldo + self.column + column).cast::<i8>();
            let residual = self.residual.map(|x| x.wrapping_add(row * self.ldr + self.column + column));
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
    let mut first = 0;
    while first < run.rows {
        let out_row = run.out_row + first * run.step;
        // Rows that share a row of the row bias.
        let rows = match ends.row_bias {
            Some((_, group)) => (group - out_row % group).div_ceil(run.step).min(run.rows - first),
            None => run.rows - first,
        };
        // SAFETY: Epilogue::check has compared the parts' lengths with the product's shape, which bounds row and column.
        unsafe {
            let places = finish.places(&Run { sums: run.sums.add(first * run.ldc), rows, out_row, ..*run });
            let plain = finish.is_plain();
            match ends.activation {
                Activation::None => places.all::<L, _>(Identity, plain),
                Activation::Relu => places.all::<L, _>(Relu, plain),
                Activation::LeakyRelu(slope) => places.all::<L, _>(LeakyRelu(slope), plain),
                Activation::Silu => places.all::<L, _>(Silu, plain),
                Activation::Gelu => places.all::<L, _>(Gelu, plain),
                Activation::GeluTanh => places.all::<L, _>(GeluTanh, plain),
                Activation::QuickGelu => places.all::<L, _>(QuickGelu, plain),
                Activation::Sigmoid => places.all::<L, _>(Sigmoid, plain),
                Activation::Tanh => places.all::<L, _>(Tanh, plain),
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
    slopes: Option<*const f32>,
    gain: f32,
    gate: bool,
    rows: usize,
    columns: usize,
}

impl<O: Element> Places<O> {
    /// Row by row, so that what is written is one stream.
    ///
    /// # Safety
    /// As [`rows`].
    #[inline(always)]
    unsafe fn all<L: Lanes, F: Function>(&self, function: F, plain: bool) {
        // SAFETY: the caller's promise.
        unsafe {
            if plain {
                self.each::<L, F, true>(function);
            } else {
                self.each::<L, F, false>(function);
            }
        }
    }

    /// `PLAIN`: there is a bias, and nothing beside bias and function.
    ///
    /// # Safety
    /// As [`rows`].
    #[inline(always)]
    unsafe fn each<L: Lanes, F: Function, const PLAIN: bool>(&self, function: F) {
        // SAFETY: the caller's promise.
        unsafe {
            // The widths of small networks, without a loop over so few vectors.
            match self.columns {
                columns if columns == L::N => return self.whole::<L, F, PLAIN, 1>(function),
                columns if columns == 2 * L::N => return self.whole::<L, F, PLAIN, 2>(function),
                columns if columns == 3 * L::N => return self.whole::<L, F, PLAIN, 3>(function),
                columns if columns == 4 * L::N => return self.whole::<L, F, PLAIN, 4>(function),
                _ => {}
            }
        }
        for r in 0..self.rows {
            let mut at = 0;
            // SAFETY: the caller's promise.
            unsafe {
                while at + L::N <= self.columns {
                    self.one::<L, F, PLAIN, false>(r, at, function);
                    at += L::N;
                }
                if at < self.columns {
                    self.one::<L, F, PLAIN, true>(r, at, function);
                }
            }
        }
    }

    /// [`Places::each`] for rows of so many vectors.
    ///
    /// # Safety
    /// As [`rows`].
    #[inline(always)]
    unsafe fn whole<L: Lanes, F: Function, const PLAIN: bool, const VECTORS: usize>(&self, function: F) {
        for r in 0..self.rows {
            for vector in 0..VECTORS {
                // SAFETY: the caller's promise.
                unsafe { self.one::<L, F, PLAIN, false>(r, vector * L::N, function) };
            }
        }
    }

    /// One vector of a row, or (`PART`) the rest of a row that fills none.
    ///
    /// # Safety
    /// As [`rows`].
    #[inline(always)]
    unsafe fn one<L: Lanes, F: Function, const PLAIN: bool, const PART: bool>(&self, r: usize, at: usize, function: F) {
        let part = self.columns - at;
        // SAFETY: the caller's promise; O::KIND says what the pointers to O point to.
        unsafe {
            let mut v = load::<L, PART>(self.sums.add(r * self.ldc + at), part);
            if let Some(bias) = self.bias {
                v = v.add(load::<L, PART>(bias.add(at), part));
            }
            if let Some(row_bias) = self.row_bias.filter(|_| !PLAIN) {
                v = v.add(load::<L, PART>(row_bias.add(at), part));
            }
            let rough = O::KIND == ElementKind::Bf16;
            v = function.apply(v, rough);
            if let Some(slopes) = self.slopes.filter(|_| !PLAIN) {
                v = v.where_positive(v, v.mul(load::<L, PART>(slopes.add(at), part)));
            }
            if !PLAIN && self.gain != 1.0 {
                v = v.mul(L::splat(self.gain));
            }
            if let Some(residual) = self.residual.filter(|_| !PLAIN) {
                let residual = residual.add(r * self.residual_step + at);
                let residual = match (O::KIND, PART) {
                    (ElementKind::F32, _) => load::<L, PART>(residual.cast(), part),
                    (ElementKind::Bf16, false) => L::load_bf16(residual.cast()),
                    (ElementKind::Bf16, true) => L::load_bf16_part(residual.cast(), part),
                };
                let sum = v.add(residual);
                v = if self.gate { sum.mul(quick_sigmoid(v).sub(L::splat(0.5))) } else { sum };
            }
            let out = self.out.add(r * self.out_step + at);
            match (O::KIND, PART) {
                (ElementKind::F32, false) => v.store(out.cast()),
                (ElementKind::F32, true) => v.store_part(out.cast(), part),
                (ElementKind::Bf16, false) => v.store_bf16(out.cast()),
                (ElementKind::Bf16, true) => v.store_bf16_part(out.cast(), part),
            }
        }
    }
}

/// A vector, or (`PART`) its first `part` lanes. A function, since a closure would not be compiled for the instruction set.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
unsafe fn load<L: Lanes, const PART: bool>(from: *const f32, part: usize) -> L {
    // SAFETY: the caller's promise.
    unsafe { if PART { L::load_part(from, part) } else { L::load(from) } }
}

/// The sigmoid, no better than bf16 needs it if `rough`.
///
/// # Safety
/// As [`Lanes`].
#[inline(always)]
unsafe fn sigmoid_for<L: Lanes>(x: L, rough: bool) -> L {
    // SAFETY: the caller's promise.
    unsafe { if rough { x.rough_sigmoid() } else { quick_sigmoid(x) } }
}

/// An activation on vectors.
pub(super) trait Function: Copy {
    /// `rough`: the result is rounded to bf16.
    ///
    /// # Safety
    /// As [`Lanes`].
    unsafe fn apply<L: Lanes>(self, x: L, rough: bool) -> L;
}

macro_rules! function {
    ($name:ident $(($field:ty))?, |$this:ident, $x:ident, $rough:ident| $body:expr) => {
        #[derive(Clone, Copy)]
        pub(super) struct $name $(($field))?;
        impl Function for $name {
            #[inline(always)]
            unsafe fn apply<L: Lanes>(self, $x: L, $rough: bool) -> L {
                let $this = self;
                // SAFETY: the caller's promise.
                unsafe { $body }
            }
        }
    };
}

function!(Relu, |_this, x, _rough| L::splat(0.0).max(x));
function!(LeakyRelu(f32), |this, x, _rough| x.where_positive(x, x.mul(L::splat(this.0))));
function!(Silu, |_this, x, rough| x.mul(sigmoid_for(x, rough)));
function!(Gelu, |_this, x, _rough| gelu(x));
function!(GeluTanh, |_this, x, _rough| {
    let inner = x.mul(x).mul(x).mul_add(L::splat(0.044_715), x).mul(L::splat(0.797_884_6));
    // (1 + tanh u) / 2 = sigmoid(2u)
    x.mul(sigmoid(inner.add(inner)))
});
function!(QuickGelu, |_this, x, _rough| x.mul(sigmoid(x.mul(L::splat(1.702)))));
function!(Sigmoid, |_this, x, _rough| sigmoid(x));
function!(Tanh, |_this, x, _rough| tanh(x));

/// Whichever activation: chosen anew for each vector.
#[derive(Clone, Copy)]
pub(super) struct Any(pub Activation);
impl Function for Any {
    #[inline(always)]
    unsafe fn apply<L: Lanes>(self, x: L, rough: bool) -> L {
        // SAFETY: the caller's promise.
        unsafe {
            match self.0 {
                Activation::None => x,
                Activation::Relu => Relu.apply(x, rough),
                Activation::LeakyRelu(slope) => LeakyRelu(slope).apply(x, rough),
                Activation::Silu => Silu.apply(x, rough),
                Activation::Gelu => Gelu.apply(x, rough),
                Activation::GeluTanh => GeluTanh.apply(x, rough),
                Activation::QuickGelu => QuickGelu.apply(x, rough),
                Activation::Sigmoid => Sigmoid.apply(x, rough),
                Activation::Tanh => Tanh.apply(x, rough),
            }
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Identity;
impl Function for Identity {
    #[inline(always)]
    unsafe fn apply<L: Lanes>(self, x: L, _: bool) -> L {
        x
    }
}
