//! The driver of all products with packed weights: cuts the work into tasks and blocks, runs micro-kernels, finishes.
//!
//! Rows of A are given as [`Tiles`]: up to 16 rows that lie at one stride, wherever they begin. A dense matrix, a linear
//! copy of a padded feature map (where a 3x3 convolution is nine products at nine offsets) and a strided walk over one
//! all have that form.
//!
//! Each output is one uninterrupted sum over blocks and taps, so it does not depend on how the work is cut.

use super::finish::{Finish, Run, finish_for};
use super::micro::{Args, Micro, TILE, Tap};
use super::packed::{BLOCK, PANEL, PackedB};
use crate::element::Element;
use crate::isa::isa;
use crate::pool::PooledBuf;
use crate::threads::parallel_for;

/// Up to 16 rows of A.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tile {
    /// Where the first row begins, in bytes of A.
    pub a: usize,
    /// The output row of the position 0 of the line that the tile begins in.
    pub out: usize,
    /// The position of its first row in that line.
    pub x: usize,
    pub rows: usize,
}

/// The rows of a product.
#[derive(Debug)]
pub(crate) struct Tiles {
    pub list: Vec<Tile>,
    /// Positions of a line of A, after which the next line follows.
    pub pitch: usize,
    /// How many of them, the first, are rows of the output; the rest (padding) is dropped.
    pub width: usize,
    /// Output rows from position to position, and from line to line.
    pub step: usize,
    pub line: usize,
}

impl Tiles {
    /// The rows of a dense matrix, `stride` bytes apart.
    pub fn dense(m: usize, stride: usize) -> Tiles {
        let tile = |t: usize| Tile { a: t * TILE * stride, out: 0, x: t * TILE, rows: TILE.min(m - t * TILE) };
        let list = (0..m.div_ceil(TILE)).map(tile).collect();
        Tiles { list, pitch: usize::MAX, width: usize::MAX, step: 1, line: 0 }
    }

    /// Calls `visit(first row of the tile, rows, output row)` for each run of rows that goes to the output.
    #[inline(always)]
    fn each_run(&self, tile: &Tile, mut visit: impl FnMut(usize, usize, usize)) {
        let (mut row, mut x, mut out) = (0, tile.x, tile.out);
        while row < tile.rows {
            if x >= self.pitch {
                x -= self.pitch;
                out += self.line;
            } else if x >= self.width {
                let skipped = (self.pitch - x).min(tile.rows - row);
                row += skipped;
                x += skipped;
            } else {
                let rows = (self.width - x).min(tile.rows - row);
                visit(row, rows, out + x * self.step);
                row += rows;
                x += rows;
            }
        }
    }
}

/// One product.
pub(crate) struct Product<'a, O> {
    /// A, of the pack's element.
    pub a: *const u8,
    /// Bytes from row to row.
    pub a_stride: usize,
    pub taps: &'a [Tap],
    pub tiles: &'a Tiles,
    pub b: &'a PackedB,
    pub finish: Finish<'a, O>,
}

// SAFETY: the pointers are read, or written in disjoint rows and columns by each task.
unsafe impl<O: Sync> Sync for Product<'_, O> {}

/// Bytes of A, or of B, that should stay in the second-level cache.
const CACHED_A: usize = 512 << 10;
const CACHED_B: usize = 1 << 20;
/// Bytes of outputs that are no longer cached when they are written.
const FORGOTTEN: usize = 1 << 20;
/// Multiplications and additions that make a task worth its start.
const TASK: usize = 64 << 20;

/// How panels are cut into groups of at most `most`, as even as possible: a lone last panel would waste registers.
pub(crate) fn groups(panels: usize, most: usize) -> Vec<(usize, usize)> {
    let count = panels.div_ceil(most);
    (0..count)
        .map(|g| {
            let (start, end) = (g * panels / count, (g + 1) * panels / count);
            (start, end - start)
        })
        .collect()
}

/// Runs a product.
///
/// # Safety
/// Every tile's rows at every tap must be readable for `k` elements (bf16: up to the next multiple of 32, and finite),
/// and the finish must describe an output that holds every row and column, exclusively ours.
pub(crate) unsafe fn run<O: Element>(product: &Product<'_, O>) {
    let isa = isa();
    let micro = Micro::of(isa, product.b.precision());
    let finish = finish_for::<O>(isa);
    let (k, n) = (product.b.k(), product.b.n());
    let tiles = &product.tiles.list;
    let groups = groups(n.div_ceil(PANEL), micro.panels);
    if tiles.is_empty() || groups.is_empty() {
        return;
    }
    // Blocks of rows that stay cached while the groups pass by; then enough tasks, by rows first.
    let row_bytes = (k * product.b.precision().bytes() * product.taps.len().clamp(1, 3)).max(1);
    let cached = (CACHED_A / row_bytes / TILE).clamp(4, 64) & !1;
    let work = tiles.len() * TILE * n * k * product.taps.len() * 2;
    let wanted = (work / TASK).clamp(1, 64);
    let rows_per_task = cached.min(tiles.len().div_ceil(wanted).next_multiple_of(2)).max(cached.min(8));
    let row_tasks = tiles.len().div_ceil(rows_per_task);
    let prefetch = tiles.len() * TILE * n * size_of::<O>() > FORGOTTEN;
    let group_tasks = wanted.div_ceil(row_tasks).min(groups.len());
    parallel_for(row_tasks * group_tasks, &|task| {
        let (row_task, group_task) = (task % row_tasks, task / row_tasks);
        let tiles = &tiles[row_task * rows_per_task..tiles.len().min((row_task + 1) * rows_per_task)];
        let groups = &groups[group_task * groups.len() / group_tasks..(group_task + 1) * groups.len() / group_tasks];
        (micro.begin)();
        let b_bytes: usize = groups.iter().map(|group| group.1 * product.b.panel_bytes()).sum();
        // What is small enough to stay cached is passed over again and again: B if it can be, else a block of A.
        let at_once = if b_bytes <= CACHED_B { groups.len() } else { 1 };
        let widest = groups.chunks(at_once).map(|some| some.iter().map(|group| group.1).sum::<usize>()).max();
        // Not a multiple of 256 bytes, at which rows would share sets of the first-level cache.
        let ldc = widest.unwrap_or(0) * PANEL + if at_once > 1 { PANEL } else { 0 };
        let mut sums = PooledBuf::<f32>::dirty(2 * TILE * ldc);
        for groups in groups.chunks(at_once) {
            let (first, last) = (groups[0], groups[groups.len() - 1]);
            let column = first.0 * PANEL;
            let columns = ((last.0 + last.1) * PANEL).min(n) - column;
            for pair in tiles.chunks(2) {
                let second = pair.get(1);
                let mut args = Args {
                    a: [product.a.wrapping_add(pair[0].a), product.a.wrapping_add(second.unwrap_or(&pair[0]).a)],
                    rows: [pair[0].rows, second.map_or(0, |tile| tile.rows)],
                    a_stride: product.a_stride,
                    taps: product.taps,
                    pack_taps: product.b.taps(),
                    k,
                    b: product.b.panel(first.0),
                    panel_stride: product.b.panel_bytes(),
                    panels: 0,
                    sums: sums.as_mut_ptr(),
                    ldc,
                    accumulate: false,
                };
                for &(panel, panels) in groups {
                    if prefetch {
                        for tile in pair {
                            product.tiles.each_run(tile, |_, rows, out_row| {
                                let (column, columns) = (panel * PANEL, panels * PANEL);
                                product.finish.prefetch(rows, out_row, product.tiles.step, column, columns);
                            });
                        }
                    }
                    args.b = product.b.panel(panel);
                    args.panels = panels;
                    args.sums = sums[panel * PANEL - column..].as_mut_ptr();
                    // SAFETY: the caller's promise about A; panels are inside the pack; the sums hold 32 rows of all groups.
                    unsafe { (micro.run)(&args) };
                }
                for (half, tile) in pair.iter().enumerate() {
                    product.tiles.each_run(tile, |row, rows, out_row| {
                        let sums = sums[(half * TILE + row) * ldc..].as_ptr();
                        let run = Run { sums, ldc, rows, out_row, step: product.tiles.step, column, columns };
                        // SAFETY: the caller's promise about the output; each task has its own rows and columns.
                        unsafe { finish(&product.finish, &run) };
                    });
                }
            }
        }
        (micro.end)();
    });
}

/// How many elements of A a row must be readable for.
pub(crate) fn padded_k(b: &PackedB) -> usize {
    match b.precision() {
        super::Precision::F32 => b.k(),
        super::Precision::Bf16 => b.k().next_multiple_of(BLOCK),
    }
}
