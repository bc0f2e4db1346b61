//! The driver of all products with packed weights: cuts the work into tasks and blocks, runs micro-kernels, finishes.
//!
//! Rows of A are given as [`Tiles`]: up to 16 rows that lie at one stride, wherever they begin. A dense matrix, a linear
//! copy of a padded feature map (where a 3x3 convolution is nine products at nine offsets) and a strided walk over one
//! all have that form.
//!
//! Each output is one uninterrupted sum over blocks and taps, so it does not depend on how the work is cut.

#[cfg(target_arch = "x86_64")]
use super::beside;
use super::finish::{Finish, FinishRun, Run, finish_for};
use super::micro::{Ahead, Args, Micro, TILE, Tap};
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
            taps: product.taps.len(),
            fast: micro.beside,
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
        let task = Task { product, micro, tiles, at_once: plan.at_once, fetch: plan.fetch, far: plan.far, forgotten };
        (micro.begin)();
        // SAFETY: the caller's promise; tasks have disjoint rows or columns.
        unsafe {
            match micro.beside {
                #[cfg(target_arch = "x86_64")]
                true => beside::task_for::<O>(product)(&task, groups),
                _ => task.plainly(finish, groups),
            }
        }
        (micro.end)();
    });
}

/// Some rows of a product.
pub(super) struct Task<'a, O> {
    pub product: &'a Product<'a, O>,
    pub micro: Micro,
    pub tiles: &'a [Tile],
    /// Groups that are multiplied with a pair of tiles before the next pair.
    pub at_once: usize,
    /// Whether the group after them should be fetched meanwhile.
    pub fetch: bool,
    /// Whether B comes from beyond the first-level cache for each pair.
    pub far: bool,
    /// Whether outputs should be fetched ahead.
    pub forgotten: bool,
}

/// Rows of sums that go to the output together.
#[derive(Clone, Copy, Default)]
pub(super) struct Segment {
    /// The first, of those of the pair.
    pub row: usize,
    pub rows: usize,
    pub out_row: usize,
}

/// Who multiplies pairs of tiles and finishes their sums.
pub(super) trait Hands {
    /// Where the sums of a pair are made, and floats from row to row.
    fn sums(&mut self) -> (*mut f32, usize);

    /// Runs the micro-kernel for one of so many groups that are left of a pair.
    ///
    /// # Safety
    /// As [`Micro::run`].
    unsafe fn multiply(&mut self, args: &Args<'_>, groups_left: usize);

    /// Takes note that the sums of some columns are made; `segments` lists their rows and says how many there are.
    ///
    /// # Safety
    /// The segments must lie inside the sums and the output, and no one else may touch the latter until the end of the task.
    unsafe fn made(&mut self, segments: impl FnOnce(&mut [Segment; 2 * TILE]) -> usize, column: usize, columns: usize);
}

/// First the products, then their end.
struct InTurn<'a, O> {
    run: unsafe fn(&Args<'_>),
    end: FinishRun<O>,
    finish: &'a Finish<'a, O>,
    step: usize,
    sums: PooledBuf<f32>,
    ldc: usize,
}

impl<O: Element> Hands for InTurn<'_, O> {
    fn sums(&mut self) -> (*mut f32, usize) {
        (self.sums.as_mut_ptr(), self.ldc)
    }

    unsafe fn multiply(&mut self, args: &Args<'_>, _: usize) {
        // SAFETY: the caller's promise.
        unsafe { (self.run)(args) }
    }

    unsafe fn made(&mut self, segments: impl FnOnce(&mut [Segment; 2 * TILE]) -> usize, column: usize, columns: usize) {
        let mut list = [Segment::default(); 2 * TILE];
        let count = segments(&mut list);
        for &Segment { row, rows, out_row } in &list[..count] {
            let sums = self.sums[row * self.ldc..].as_ptr();
            let run = Run { sums, ldc: self.ldc, rows, out_row, step: self.step, column, columns };
            // SAFETY: the caller's promise.
            unsafe { (self.end)(self.finish, &run) };
        }
    }
}

impl<O: Element> Task<'_, O> {
    /// # Safety
    /// As [`Task::run`].
    unsafe fn plainly(&self, end: FinishRun<O>, groups: &[(usize, usize)]) {
        let ldc = self.sums_pitch(groups);
        let (finish, step) = (&self.product.finish, self.product.tiles.step);
        let sums = PooledBuf::dirty(2 * TILE * ldc);
        // SAFETY: the caller's promise.
        unsafe { self.run(groups, &mut InTurn { run: self.micro.run, end, finish, step, sums, ldc }) };
    }

    /// Groups whose sums are finished together.
    fn together(&self) -> usize {
        groups_per_finish(self.micro.panels, 1 + usize::from(self.micro.beside)).min(self.at_once)
    }

    /// Floats from row to row of the sums of a pair.
    pub fn sums_pitch(&self, groups: &[(usize, usize)]) -> usize {
        let together = self.together();
        let widest = groups.chunks(together).map(|some| some.iter().map(|group| group.1).sum::<usize>()).max();
        // Not a multiple of 256 bytes, at which rows would share sets of the first-level cache.
        widest.unwrap_or(0) * PANEL + if together > 1 { PANEL } else { 0 }
    }

    /// # Safety
    /// As [`run`]; no one else may touch the outputs of these rows and groups.
    #[inline(always)]
    pub unsafe fn run<H: Hands>(&self, groups: &[(usize, usize)], hands: &mut H) {
        let together = self.together();
        for (c, chunk) in groups.chunks(self.at_once).enumerate() {
            // Where one group is read at a time, the next is fetched from far away meanwhile, each pair its share.
            let next = groups.get(c + 1).filter(|_| self.fetch);
            for (p, pair) in self.tiles.chunks(2).enumerate() {
                let ahead = match next {
                    _ if !self.fetch => Ahead::NONE,
                    _ if c == 0 && p == 0 => Ahead::own(self.product.b, chunk[0].0),
                    Some(&(panel, _)) => Ahead::share(self.product.b, panel, p, self.tiles.len().div_ceil(2)),
                    None => Ahead::NONE,
                };
                for some in chunk.chunks(together) {
                    // SAFETY: the caller's promise; the sums hold 32 rows of these groups.
                    unsafe { self.pair(pair, some, hands, ahead) };
                }
            }
        }
    }

    /// Up to two tiles times a few groups.
    ///
    /// # Safety
    /// As [`Task::run`]; the sums must hold 32 rows of the groups.
    #[inline(always)]
    unsafe fn pair<H: Hands>(&self, pair: &[Tile], groups: &[(usize, usize)], hands: &mut H, ahead: Ahead) {
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
        let (sums, ldc) = hands.sums();
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
            sums,
            ldc,
            accumulate: false,
            far: self.far,
            ahead,
        };
        for (i, &(panel, panels)) in groups.iter().enumerate() {
            args.b = product.b.panel(panel);
            args.panels = panels;
            args.sums = sums.wrapping_add(panel * PANEL - column);
            // SAFETY: the caller's promise about A; panels are inside the pack; the sums hold 32 rows of all groups.
            unsafe { hands.multiply(&args, groups.len() - i) };
        }
        let segments = |list: &mut [Segment; 2 * TILE]| {
            let mut count = 0;
            for (i, tile) in pair.iter().enumerate() {
                product.tiles.each_run(tile, |row, rows, out_row| {
                    list[count] = Segment { row: i * TILE + row, rows, out_row };
                    count += 1;
                });
            }
            count
        };
        // SAFETY: the caller's promise about the output; each task has its own rows and columns.
        unsafe { hands.made(segments, column, columns) };
    }
}

/// How many elements of A a row must be readable for.
pub(crate) fn padded_k(b: &PackedB) -> usize {
    match b.precision() {
        super::Precision::F32 => b.k(),
        super::Precision::Bf16 => b.k().next_multiple_of(BLOCK),
    }
}
