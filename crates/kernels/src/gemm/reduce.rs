//! Weight gradients: products summed over activations' rows (pixels), `dw[tap] = Σ x[p + tap]ᵀ · dy[p]`.
//!
//! The pixels are taken in chunks that fit the second-level cache. For each, the activations are laid out transposed, so
//! that they are an A with rows of pixels, and `dy` is packed as a B; then the same micro-kernels as for forward
//! products add the chunk to f32 blocks. A chunk consists of segments of equal length, which the micro-kernels walk like
//! taps. Chunks and their order follow from the shape alone, and so do the parts that are summed separately.

use super::engine::groups;
use super::micro::{Ahead, Args, MAX_PANELS, Micro, TILE, Tap};
use super::packed::{BLOCK, PANEL, PackedB, Precision};
use crate::element::Element;
use crate::isa::isa;
use crate::pool::PooledBuf;
use crate::threads::{Shared, parallel_for};

/// Columns of one micro-kernel's block of sums, and its floats.
const LDC: usize = MAX_PANELS * PANEL;
const SUMS: usize = 2 * TILE * LDC;
/// Bytes of transposed activations and packed gradients that stay cached together.
const CACHED: usize = 1 << 20;
/// Bytes of sums beyond which they are not kept more than once.
const PARTS: usize = 8 << 20;

/// What is summed: knows how to lay out one chunk.
pub(crate) trait Pixels<E: Element>: Sync {
    /// Rows of the transposed activations.
    fn rows(&self) -> usize;
    /// Columns of `dy`.
    fn columns(&self) -> usize;
    /// Shifts, each with sums of its own.
    fn taps(&self) -> usize;
    /// How many chunks there are.
    fn chunks(&self) -> usize;
    /// The shape of one.
    fn chunk(&self, index: usize) -> Chunk;
    /// Fills rows `first..first + count` of the transposed activations: `to` begins with row `first`, rows lie `stride`
    /// elements apart, and every one of them is to be written wholly, up to `stride`.
    fn transpose(&self, index: usize, first: usize, count: usize, to: &mut [E], stride: usize);
    /// `dy` and the elements from its row to row.
    fn gradient(&self) -> (&[E], usize);
}

/// The shape of a chunk.
pub(crate) struct Chunk {
    /// Where each segment's rows of `dy` begin, in elements.
    pub starts: Vec<usize>,
    /// Pixels of a segment.
    pub len: usize,
    /// Elements of a transposed row that a segment takes.
    pub region: usize,
    /// Where each tap begins in a region, in elements.
    pub taps: Vec<usize>,
}

impl Chunk {
    /// Elements of a transposed row: the regions, a block that may be read behind them, and not a multiple of 128 bytes, at
    /// which a tile's rows would share sets of the first-level cache.
    fn stride(&self, size: usize) -> usize {
        let line = 64 / size;
        let len = (self.starts.len() * self.region + BLOCK).next_multiple_of(line);
        if (len / line).is_multiple_of(2) { len + line } else { len }
    }
}

/// How many pixels a chunk should have for activations of `rows` transposed rows and `columns` gradients.
pub(crate) fn pixels_per_chunk<E: Element>(rows: usize, columns: usize) -> usize {
    (CACHED / ((rows + columns).max(1) * size_of::<E>())).clamp(256, 8192) / BLOCK * BLOCK
}

/// The finished sums.
pub(crate) struct Sums {
    blocks: PooledBuf<f32>,
    /// Blocks of a tap, of a group.
    per_tap: usize,
    per_group: usize,
    /// For each panel of columns: its group and its place in it.
    panels: Vec<(usize, usize)>,
}

impl Sums {
    /// The sums of `tap` and transposed row `row` in panel `panel` of the columns (beyond the last column: anything).
    #[inline(always)]
    pub fn lanes(&self, tap: usize, row: usize, panel: usize) -> &[f32] {
        let (group, place) = self.panels[panel];
        let block = tap * self.per_tap + group * self.per_group + row / (2 * TILE);
        let start = block * SUMS + row % (2 * TILE) * LDC + place * PANEL;
        &self.blocks[start..start + PANEL]
    }
}

/// The sums of all chunks.
pub(crate) fn reduce<E: Element>(pixels: &impl Pixels<E>) -> Sums {
    let micro = Micro::of(isa(), Precision::of::<E>());
    let (rows, columns) = (pixels.rows(), pixels.columns());
    let groups = groups(columns.div_ceil(PANEL), micro.panels);
    let pairs = rows.div_ceil(2 * TILE);
    let blocks = pixels.taps() * groups.len() * pairs;
    let (chunks, len) = (pixels.chunks(), blocks * SUMS);
    let parts = (PARTS / (len * 4).max(1)).clamp(1, 8).min(chunks.max(1));
    let mut sums = PooledBuf::<f32>::dirty(parts * len);
    let shared = Shared::new(&mut sums);
    parallel_for(parts, &|part| {
        // SAFETY: each part has its own sums.
        let sums = unsafe { shared.range(part * len, len) };
        let range = part * chunks / parts..(part + 1) * chunks / parts;
        if range.is_empty() {
            sums.fill(0.0);
        }
        for chunk in range.clone() {
            add_chunk(pixels, &micro, &groups, chunk, chunk > range.start, sums);
        }
    });
    let (first, others) = sums.split_at_mut(len);
    if parts > 1 {
        let first = Shared::new(first);
        parallel_for(blocks, &|block| {
            // SAFETY: each task has its own block.
            let first = unsafe { first.range(block * SUMS, SUMS) };
            for other in others.chunks_exact(len.max(1)) {
                for (sum, other) in first.iter_mut().zip(&other[block * SUMS..]) {
                    *sum += other;
                }
            }
        });
    }
    let places =
        groups.iter().enumerate().flat_map(|(group, &(_, panels))| (0..panels).map(move |place| (group, place)));
    Sums { panels: places.collect(), per_tap: groups.len() * pairs, per_group: pairs, blocks: sums }
}

/// Adds one chunk to the blocks of sums `[tap][group][pair]`.
fn add_chunk<E: Element>(
    pixels: &impl Pixels<E>,
    micro: &Micro,
    groups: &[(usize, usize)],
    index: usize,
    accumulate: bool,
    sums: &mut [f32],
) {
    let chunk = pixels.chunk(index);
    let rows = pixels.rows();
    let stride = chunk.stride(size_of::<E>());
    let mut turned = PooledBuf::<E>::dirty(rows * stride);
    let turned_rows = Shared::new(&mut turned);
    parallel_for(rows.div_ceil(2 * TILE), &|task| {
        let (first, count) = (task * 2 * TILE, (2 * TILE).min(rows - task * 2 * TILE));
        // SAFETY: each task has its own rows.
        let to = unsafe { turned_rows.range(first * stride, count * stride) };
        pixels.transpose(index, first, count, to, stride);
    });
    let (dy, dy_stride) = pixels.gradient();
    let b = PackedB::pack_rows(dy, &chunk.starts, chunk.len, pixels.columns(), dy_stride, Precision::of::<E>());
    let pairs = rows.div_ceil(2 * TILE);
    let sums = Shared::new(sums);
    let size = size_of::<E>();
    parallel_for(pixels.taps() * groups.len(), &|task| {
        let (tap, (panel, panels)) = (task / groups.len(), groups[task % groups.len()]);
        let at = |segment: usize| ((segment * chunk.region + chunk.taps[tap]) * size) as isize;
        let segments: Vec<Tap> = (0..chunk.starts.len()).map(|s| Tap { a: at(s), b: s }).collect();
        (micro.begin)();
        for pair in 0..pairs {
            let left = rows - pair * 2 * TILE;
            // SAFETY: each task has its own blocks.
            let block = unsafe { sums.range((task * pairs + pair) * SUMS, SUMS) };
            let a = turned[pair * 2 * TILE * stride..].as_ptr().cast::<u8>();
            let args = Args {
                a: [a, a.wrapping_add(TILE * stride * size)],
                rows: [left.min(TILE), left.saturating_sub(TILE).min(TILE)],
                a_stride: stride * size,
                taps: &segments,
                pack_taps: segments.len(),
                k: chunk.len,
                b: b.panel(panel),
                panel_stride: b.panel_bytes(),
                panels,
                sums: block.as_mut_ptr(),
                ldc: LDC,
                accumulate,
                far: false,
                ahead: Ahead::NONE,
            };
            // SAFETY: rows of A hold all regions and a block more, all written by `transpose`; B is a pack of that shape.
            unsafe { (micro.run)(&args) };
        }
        (micro.end)();
    });
}

/// The rows of two matrices: the weight gradient of a linear layer.
pub(crate) struct Rows<'a, E> {
    pub a: &'a [E],
    pub dy: &'a [E],
    pub m: usize,
    pub k: usize,
    pub n: usize,
    pub per_chunk: usize,
}

impl<E: Element> Pixels<E> for Rows<'_, E> {
    fn rows(&self) -> usize {
        self.k
    }
    fn columns(&self) -> usize {
        self.n
    }
    fn taps(&self) -> usize {
        1
    }
    fn chunks(&self) -> usize {
        self.m.div_ceil(self.per_chunk)
    }
    fn chunk(&self, index: usize) -> Chunk {
        let first = index * self.per_chunk;
        let len = self.per_chunk.min(self.m - first);
        Chunk { starts: vec![first * self.n], len, region: len, taps: vec![0] }
    }
    fn transpose(&self, index: usize, first: usize, count: usize, to: &mut [E], stride: usize) {
        let start = index * self.per_chunk;
        let len = self.per_chunk.min(self.m - start);
        super::transpose::transpose(&self.a[start * self.k + first..], self.k, len, count, to, stride);
        for row in to.chunks_exact_mut(stride) {
            row[len..].fill(E::ZERO);
        }
    }
    fn gradient(&self) -> (&[E], usize) {
        (self.dy, self.n)
    }
}
