//! The driver of all products with packed weights: cuts the work into tasks and blocks, runs micro-kernels, finishes.
//!
//! Rows of A are given as [`Tiles`]: up to 16 rows that lie at one stride, wherever they begin. A dense matrix, a linear
//! copy of a padded feature map (where a 3x3 convolution is nine products at nine offsets) and a strided walk over one
//! all have that form.
//!
//! Each output is one uninterrupted sum over blocks and taps, so it does not depend on how the work is cut.

use super::finish::{Finish, FinishRun, Run, finish_for};
use super::micro::{Ahead, Args, Meanwhile, Micro, TILE, Tap};
use super::packed::{BLOCK, PANEL, PackedB};
use super::plan::{Plan, Sizes, groups_per_finish};
use crate::element::Element;
use crate::isa::isa;
use crate::pool::PooledBuf;
use crate::threads::{parallel_for, threads};

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

/// Bytes of outputs that are no longer cached when they are written.
const FORGOTTEN: usize = 1 << 20;

/// What finishing a value costs, in multiplications and additions of the fastest products: it decides where channels are few.
const FINISHING: usize = 256;

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
    let widest = groups.iter().map(|group| group.1).max().unwrap_or(0);
    let plan = Plan::of(
        isa,
        Sizes {
            tiles: tiles.len(),
            tile_bytes: TILE * k * product.b.precision().bytes(),
            groups: groups.len(),
            group_bytes: widest * product.b.panel_bytes(),
            work: tiles.len() * TILE * n * (k * product.taps.len() * 2 + FINISHING),
            threads: threads(),
        },
    );
    let forgotten = tiles.len() * TILE * n * size_of::<O>() > FORGOTTEN;
    parallel_for(plan.tasks(), &|task| {
        let (rows, columns) = plan.parts(task);
        let tiles = &tiles[rows * plan.tiles_per_task..tiles.len().min((rows + 1) * plan.tiles_per_task)];
        let part = |i: usize| i * groups.len() / plan.group_tasks;
        let groups = &groups[part(columns)..part(columns + 1)];
        (micro.begin)();
        // SAFETY: the caller's promise; tasks have disjoint rows or columns.
        unsafe { Task { product, micro, finish, tiles, forgotten }.run(groups, plan.at_once) };
        (micro.end)();
    });
}

/// Some rows of a product.
struct Task<'a, O> {
    product: &'a Product<'a, O>,
    micro: Micro,
    finish: FinishRun<O>,
    tiles: &'a [Tile],
    /// Whether outputs should be fetched ahead.
    forgotten: bool,
}

impl<O: Element> Task<'_, O> {
    /// # Safety
    /// As [`run`]; no one else may touch the outputs of these rows and groups.
    unsafe fn run(&self, groups: &[(usize, usize)], at_once: usize) {
        let sets = 1 + usize::from(self.micro.beside);
        let together = groups_per_finish(self.micro.panels, sets);
        let widest = groups.chunks(together).map(|some| some.iter().map(|group| group.1).sum::<usize>()).max();
        // Not a multiple of 256 bytes, at which rows would share sets of the first-level cache.
        let ldc = widest.unwrap_or(0) * PANEL + if together > 1 { PANEL } else { 0 };
        let len = 2 * TILE * ldc;
        let mut sums = Sums {
            sets: [PooledBuf::dirty(len), PooledBuf::dirty(if sets == 2 { len } else { 0 })],
            ldc,
            behind: Behind { runs: Vec::with_capacity(8), finish: self.finish, to: &self.product.finish },
        };
        for (c, chunk) in groups.chunks(at_once).enumerate() {
            // Where one group is read at a time, the next is fetched from far away meanwhile, each pair its share.
            let next = groups.get(c + 1).filter(|_| at_once == 1);
            for (p, pair) in self.tiles.chunks(2).enumerate() {
                let ahead = match next {
                    _ if at_once > 1 => Ahead::NONE,
                    _ if c == 0 && p == 0 => Ahead::own(self.product.b, chunk[0].0),
                    Some(&(panel, _)) => Ahead::share(self.product.b, panel, p, self.tiles.len().div_ceil(2)),
                    None => Ahead::NONE,
                };
                for some in chunk.chunks(together) {
                    // SAFETY: the caller's promise; the sums hold 32 rows of these groups.
                    unsafe { self.pair(pair, some, &mut sums, ahead) };
                }
            }
        }
        // SAFETY: the caller's promise about the output.
        unsafe { sums.behind.some(usize::MAX) };
    }

    /// Takes note of the sums of tiles in the first set, 16 rows for each, after those before are finished; they are finished at once
    /// if no products run beside.
    ///
    /// # Safety
    /// As [`Task::run`]; the set must hold the rows of so many columns, `ldc` apart.
    unsafe fn made(&self, tiles: &[Tile], sums: &mut Sums<'_, O>, ldc: usize, column: usize, columns: usize) {
        let product = self.product;
        // SAFETY: the caller's promise about the output; each task has its own rows and columns.
        unsafe { sums.behind.some(usize::MAX) };
        let (set, runs) = (&sums.sets[0], &mut sums.behind.runs);
        for (i, tile) in tiles.iter().enumerate() {
            product.tiles.each_run(tile, |row, rows, out_row| {
                let sums = set[(i * TILE + row) * ldc..].as_ptr();
                runs.push(Run { sums, ldc, rows, out_row, step: product.tiles.step, column, columns });
            });
        }
        if self.micro.beside {
            sums.sets.swap(0, 1);
        } else {
            // SAFETY: as above.
            unsafe { sums.behind.some(usize::MAX) };
        }
    }

    /// Up to two tiles times a few groups.
    ///
    /// # Safety
    /// As [`Task::run`]; `sums` must hold 32 rows of the groups.
    unsafe fn pair(&self, pair: &[Tile], groups: &[(usize, usize)], sums: &mut Sums<'_, O>, ahead: Ahead) {
        let ldc = sums.ldc;
        let product = self.product;
        let second = pair.get(1);
        let (first, last) = (groups[0], groups[groups.len() - 1]);
        let column = first.0 * PANEL;
        let columns = ((last.0 + last.1) * PANEL).min(product.b.n()) - column;
        if self.forgotten {
            for tile in pair {
                product.tiles.each_run(tile, |_, rows, out_row| {
                    product.finish.prefetch(rows, out_row, product.tiles.step, column, columns);
                });
            }
        }
        let mut args = Args {
            a: [product.a.wrapping_add(pair[0].a), product.a.wrapping_add(second.unwrap_or(&pair[0]).a)],
            rows: [pair[0].rows, second.map_or(0, |tile| tile.rows)],
            a_stride: product.a_stride,
            taps: product.taps,
            pack_taps: product.b.taps(),
            k: product.b.k(),
            b: product.b.panel(first.0),
            panel_stride: product.b.panel_bytes(),
            panels: 0,
            sums: sums.sets[0].as_mut_ptr(),
            ldc,
            accumulate: false,
            ahead,
            meanwhile: Meanwhile::NONE,
        };
        for (i, &(panel, panels)) in groups.iter().enumerate() {
            args.b = product.b.panel(panel);
            args.panels = panels;
            args.sums = sums.sets[0][panel * PANEL - column..].as_mut_ptr();
            if self.micro.beside {
                args.meanwhile = sums.behind.meanwhile(groups.len() - i);
            }
            // SAFETY: the caller's promise about A; panels are inside the pack; the sums hold 32 rows of all groups.
            unsafe { (self.micro.run)(&args) };
        }
        // SAFETY: the caller's promise; the sums are those of the pair.
        unsafe { self.made(pair, sums, ldc, column, columns) };
    }
}

/// Sums between the product and its end.
struct Sums<'a, O> {
    /// The set that is written next, and the one whose rows wait to be finished.
    sets: [PooledBuf<f32>; 2],
    /// Floats from row to row of a pair's sums.
    ldc: usize,
    behind: Behind<'a, O>,
}

/// Rows that are summed and not finished: they are finished while the next are summed.
struct Behind<'a, O> {
    runs: Vec<Run>,
    finish: FinishRun<O>,
    to: &'a Finish<'a, O>,
}

impl<O: Element> Behind<'_, O> {
    /// Finishes up to `rows` rows.
    ///
    /// # Safety
    /// The runs must be as [`FinishRun`] asks.
    unsafe fn some(&mut self, mut rows: usize) {
        while rows > 0
            && let Some(last) = self.runs.last_mut()
        {
            let count = rows.min(last.rows);
            // From the end: what is left of the run stays as it is.
            let skipped = last.rows - count;
            let run = Run {
                sums: last.sums.wrapping_add(skipped * last.ldc),
                rows: count,
                out_row: last.out_row + skipped * last.step,
                ..*last
            };
            last.rows = skipped;
            if skipped == 0 {
                self.runs.pop();
            }
            rows -= count;
            // SAFETY: the caller's promise.
            unsafe { (self.finish)(self.to, &run) };
        }
    }

    /// [`Behind::some`] for a micro-kernel that is one of `calls` before the rows must be finished.
    fn meanwhile(&mut self, calls: usize) -> Meanwhile {
        unsafe fn some<O: Element>(task: *mut (), rows: usize) {
            // SAFETY: the pointer comes from `meanwhile`, whose caller lets nothing else touch the rows while it is in use.
            unsafe { (*task.cast::<Behind<'_, O>>()).some(rows) }
        }
        let rows: usize = self.runs.iter().map(|run| run.rows).sum();
        Meanwhile { task: std::ptr::from_mut(self).cast(), some: some::<O>, rows: rows.div_ceil(calls) }
    }
}

/// How many elements of A a row must be readable for.
pub(crate) fn padded_k(b: &PackedB) -> usize {
    match b.precision() {
        super::Precision::F32 => b.k(),
        super::Precision::Bf16 => b.k().next_multiple_of(BLOCK),
    }
}
