//! Tasks on AMX: tiles are multiplied by a unit of their own, so that the vector units finish the sums of one pair of tiles while
//! the next are made. One function holds both, for each kind of end: calls between would cost as much as they hide.

use super::Activation;
use super::engine::{Hands, Product, Segment, Task};
use super::finish::{Any, Finish, Function, Identity, Run, Silu};
use super::lanes::Wide;
use super::micro::amx::{Beside, products};
use super::micro::{Args, TILE};
use super::packed::BLOCK;
use crate::element::Element;
use crate::pool::PooledBuf;

/// Runs a task over some groups.
pub(super) type TaskRun<O> = unsafe fn(&Task<'_, O>, &[(usize, usize)]);

/// The version for the ends of a product.
pub(super) fn task_for<O: Element>(product: &Product<'_, O>) -> TaskRun<O> {
    let finish = &product.finish;
    match (finish.epilogue.activation, finish.is_plain()) {
        (Activation::None, true) => task::<O, Identity, true>,
        (Activation::None, false) => task::<O, Identity, false>,
        (Activation::Silu, true) => task::<O, Silu, true>,
        (_, true) => task::<O, Any, true>,
        (_, false) => task::<O, Any, false>,
    }
}

/// A function that has tasks of its own.
trait Chosen: Function {
    /// The function for `activation`, which is its own.
    fn of(activation: Activation) -> Self;
}

impl Chosen for Identity {
    fn of(_: Activation) -> Self {
        Identity
    }
}

impl Chosen for Silu {
    fn of(_: Activation) -> Self {
        Silu
    }
}

impl Chosen for Any {
    fn of(activation: Activation) -> Self {
        Any(activation)
    }
}

/// # Safety
/// As [`Task::run`], on a machine with AMX, its tiles begun.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16")]
unsafe fn task<O: Element, F: Chosen, const PLAIN: bool>(task: &Task<'_, O>, groups: &[(usize, usize)]) {
    let finish = &task.product.finish;
    let ldc = task.sums_pitch(groups);
    let mut waiting = Waiting::<O, F, PLAIN> {
        sets: [(); 2].map(|()| PooledBuf::dirty(2 * TILE * ldc)),
        finish,
        function: F::of(finish.epilogue.activation),
        segments: [Segment::default(); 2 * TILE],
        at: 0,
        left: 0,
        each: 1,
        run: Run {
            sums: std::ptr::null(),
            ldc,
            rows: 1,
            out_row: 0,
            step: task.product.tiles.step,
            column: 0,
            columns: 0,
        },
        rows_of_segment: 0,
    };
    // SAFETY: the caller's promise, handed on.
    unsafe {
        task.run(groups, &mut waiting);
        waiting.rows(usize::MAX);
    }
}

/// Two sets of sums, the one that is made and the one that is finished, and how far the latter is.
struct Waiting<'a, O, F, const PLAIN: bool> {
    sets: [PooledBuf<f32>; 2],
    finish: &'a Finish<'a, O>,
    function: F,
    /// Rows that go to the output together.
    segments: [Segment; 2 * TILE],
    /// The next segment, and rows that are left of all.
    at: usize,
    left: usize,
    /// Rows for each step.
    each: usize,
    /// The next row, and how many follow it in its segment.
    run: Run,
    rows_of_segment: usize,
}

impl<O: Element, F: Function, const PLAIN: bool> Waiting<'_, O, F, PLAIN> {
    /// Finishes up to `count` rows.
    ///
    /// # Safety
    /// The segments must lie inside the sums and the output, which no one else touches.
    #[inline(always)]
    unsafe fn rows(&mut self, mut count: usize) {
        count = count.min(self.left);
        self.left -= count;
        while count > 0 {
            if self.rows_of_segment == 0 {
                let segment = self.segments[self.at];
                self.at += 1;
                self.rows_of_segment = segment.rows;
                self.run.sums = self.sets[1].as_ptr().wrapping_add(segment.row * self.run.ldc);
                self.run.out_row = segment.out_row;
            }
            let rows = match PLAIN || self.finish.epilogue.row_bias.is_none() {
                true => count.min(self.rows_of_segment),
                false => 1,
            };
            let run = Run { rows, ..self.run };
            // SAFETY: the caller's promise.
            unsafe { self.finish.run::<Wide<true>, F, PLAIN>(self.function, &run) };
            count -= rows;
            self.rows_of_segment -= rows;
            self.run.sums = run.sums.wrapping_add(rows * run.ldc);
            self.run.out_row = run.out_row + rows * run.step;
        }
    }
}

impl<O: Element, F: Function, const PLAIN: bool> Beside for Waiting<'_, O, F, PLAIN> {
    #[inline(always)]
    unsafe fn step(&mut self) {
        if self.left > 0 {
            // SAFETY: the caller's promise.
            unsafe { self.rows(self.each) }
        }
    }
}

impl<O: Element, F: Function, const PLAIN: bool> Hands for Waiting<'_, O, F, PLAIN> {
    #[inline(always)]
    fn sums(&mut self) -> (*mut f32, usize) {
        (self.sets[0].as_mut_ptr(), self.run.ldc)
    }

    #[inline(always)]
    unsafe fn multiply(&mut self, args: &Args<'_>, groups_left: usize) {
        let steps = args.k.div_ceil(BLOCK) * args.taps.len() * groups_left;
        self.each = self.left.div_ceil(steps.max(1));
        // SAFETY: the caller's promise.
        unsafe { products(args, self) }
    }

    #[inline(always)]
    unsafe fn made(&mut self, segments: impl FnOnce(&mut [Segment; 2 * TILE]) -> usize, column: usize, columns: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.rows(usize::MAX) };
        self.sets.swap(0, 1);
        let count = segments(&mut self.segments);
        self.at = 0;
        self.left = self.segments[..count].iter().map(|segment| segment.rows).sum();
        (self.run.column, self.run.columns) = (column, columns);
    }
}
