//! Weights in the order in which the kernels read them.
//!
//! Columns lie in panels of 16. Inside a panel `k` is cut into blocks of 32; a block holds, for each tap in turn, its
//! rows of 16 values (f32), or its pairs of rows with the two values of a column side by side (bf16: the order of
//! `vdpbf16ps` and of AMX tiles). f32: `[panel][block][tap][k in block][16]`; bf16, with `k` padded to a multiple of 32:
//! `[panel][block][tap][16 pairs][16][2]`, so that each (block, tap) is one 1 KiB tile.

use crate::alloc::{AlignedVec, Plain};
use crate::element::Element;
use crate::pool::PooledBuf;
use crate::threads::{Shared, parallel_for};
use half::bf16;
use std::sync::Arc;

/// Columns of a panel.
pub(crate) const PANEL: usize = 16;
/// Rows of a block.
pub(crate) const BLOCK: usize = 32;

/// The arithmetic that a pack is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// f32 products and sums.
    F32,
    /// bf16 products, f32 sums.
    Bf16,
}

impl Precision {
    /// The precision that activations of type `E` ask for.
    pub fn of<E: Element>() -> Precision {
        match E::KIND {
            crate::ElementKind::F32 => Precision::F32,
            crate::ElementKind::Bf16 => Precision::Bf16,
        }
    }

    /// Bytes of a packed value.
    pub fn bytes(self) -> usize {
        match self {
            Precision::F32 => 4,
            Precision::Bf16 => 2,
        }
    }
}

/// Where a pack's bytes are: exact memory for weights, pooled memory for what is packed in each call.
enum Storage {
    Kept(AlignedVec<u8>),
    Pooled(PooledBuf<u8>),
}

impl Storage {
    fn bytes(&self) -> &[u8] {
        match self {
            Storage::Kept(bytes) => bytes,
            Storage::Pooled(bytes) => bytes,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Storage::Kept(bytes) => bytes,
            Storage::Pooled(bytes) => bytes,
        }
    }
}

struct Pack {
    taps: usize,
    k: usize,
    n: usize,
    precision: Precision,
    data: Storage,
}

/// A matrix `[taps, k, n]` packed for kernels. Cheap to clone.
#[derive(Clone)]
pub struct PackedB(Arc<Pack>);

impl PackedB {
    /// Packs `src`, whose element `(tap, k, n)` lies at `tap·strides[0] + k·strides[1] + n·strides[2]`.
    ///
    /// # Panics
    /// If `src` is too short for the last element.
    pub fn pack<S: Element>(
        src: &[S],
        taps: usize,
        k: usize,
        n: usize,
        strides: [usize; 3],
        precision: Precision,
    ) -> PackedB {
        let starts: Vec<usize> = (0..taps).map(|tap| tap * strides[0]).collect();
        Self::pack_taps(src, &starts, k, n, [strides[1], strides[2]], precision)
    }

    /// [`PackedB::pack`] with taps that begin at `starts`.
    pub(crate) fn pack_taps<S: Element>(
        src: &[S],
        starts: &[usize],
        k: usize,
        n: usize,
        strides: [usize; 2],
        precision: Precision,
    ) -> PackedB {
        let bytes = panel_len(starts.len(), k, precision) * precision.bytes() * n.div_ceil(PANEL);
        Self::fill(Storage::Kept(AlignedVec::zeroed(bytes)), src, starts, k, n, strides, precision)
    }

    /// [`PackedB::pack`] of one tap into pooled memory, for a matrix that is used once.
    pub(crate) fn pack_once<S: Element>(
        src: &[S],
        k: usize,
        n: usize,
        strides: [usize; 2],
        precision: Precision,
    ) -> PackedB {
        let bytes = panel_len(1, k, precision) * precision.bytes() * n.div_ceil(PANEL);
        Self::fill(Storage::Pooled(PooledBuf::dirty(bytes)), src, &[0], k, n, strides, precision)
    }

    /// Packs runs of `k` rows that begin at `starts` as taps, into pooled memory; rows of `n` lie `stride` apart.
    pub(crate) fn pack_rows<S: Element>(
        src: &[S],
        starts: &[usize],
        k: usize,
        n: usize,
        stride: usize,
        precision: Precision,
    ) -> PackedB {
        let bytes = panel_len(starts.len(), k, precision) * precision.bytes() * n.div_ceil(PANEL);
        Self::fill(Storage::Pooled(PooledBuf::dirty(bytes)), src, starts, k, n, [stride, 1], precision)
    }

    fn fill<S: Element>(
        mut data: Storage,
        src: &[S],
        starts: &[usize],
        k: usize,
        n: usize,
        strides: [usize; 2],
        precision: Precision,
    ) -> PackedB {
        let taps = starts.len();
        if let Some(start) = starts.iter().max().filter(|_| k > 0 && n > 0) {
            let last = start + (k - 1) * strides[0] + (n - 1) * strides[1];
            assert!(last < src.len(), "pack: {} elements, {} needed", src.len(), last + 1);
        }
        let panel_bytes = panel_len(taps, k, precision) * precision.bytes();
        let source = Source { src, starts, k, n, strides };
        let out = Shared::new(data.bytes_mut());
        // Panels per task: enough to make a task worth its start.
        let batch = 65_536usize.div_ceil(panel_bytes.max(1)).max(1);
        let panels = n.div_ceil(PANEL);
        parallel_for(panels.div_ceil(batch), &|task| {
            for panel in task * batch..panels.min((task + 1) * batch) {
                // SAFETY: each panel is written by one task.
                let bytes = unsafe { out.range(panel * panel_bytes, panel_bytes) };
                match precision {
                    // SAFETY: the storage is 64-byte aligned and a panel a multiple of 64 bytes.
                    Precision::F32 => source.fill_f32(panel, unsafe { cast(bytes) }),
                    // SAFETY: as above.
                    Precision::Bf16 => source.fill_bf16(panel, unsafe { cast(bytes) }),
                }
            }
        });
        PackedB(Arc::new(Pack { taps, k, n, precision, data }))
    }

    /// Rows of each tap's matrix.
    pub fn k(&self) -> usize {
        self.0.k
    }

    /// Columns.
    pub fn n(&self) -> usize {
        self.0.n
    }

    /// Matrices whose products are added.
    pub fn taps(&self) -> usize {
        self.0.taps
    }

    /// The arithmetic it was packed for.
    pub fn precision(&self) -> Precision {
        self.0.precision
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        match &self.0.data {
            Storage::Kept(data) => data.bytes(),
            Storage::Pooled(data) => data.len(),
        }
    }

    /// The matrix as it was, `[taps, k, n]` (rounded to bf16 if packed so).
    pub fn unpack(&self) -> Vec<f32> {
        let (taps, k, n) = (self.0.taps, self.0.k, self.0.n);
        let precision = self.precision();
        let data = self.0.data.bytes();
        let mut out = Vec::with_capacity(taps * k * n);
        for tap in 0..taps {
            for row in 0..k {
                out.extend((0..n).map(|column| {
                    let place = place(taps, k, precision, tap, row, column);
                    match precision {
                        Precision::F32 => f32::from_ne_bytes(std::array::from_fn(|i| data[place * 4 + i])),
                        Precision::Bf16 => {
                            Element::to_f32(bf16::from_ne_bytes(std::array::from_fn(|i| data[place * 2 + i])))
                        }
                    }
                }));
            }
        }
        out
    }

    /// Panel `index` and those after it.
    pub(crate) fn panel(&self, index: usize) -> *const u8 {
        self.0.data.bytes()[index * self.panel_bytes()..].as_ptr()
    }

    /// Bytes from panel to panel.
    pub(crate) fn panel_bytes(&self) -> usize {
        panel_len(self.0.taps, self.0.k, self.0.precision) * self.0.precision.bytes()
    }
}

/// # Safety
/// `bytes` must be aligned for T.
unsafe fn cast<T: Plain>(bytes: &mut [u8]) -> &mut [T] {
    // SAFETY: aligned by the caller's promise; T is plain, and the length rounds down.
    unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len() / size_of::<T>()) }
}

struct Source<'a, S> {
    src: &'a [S],
    /// Where each tap begins.
    starts: &'a [usize],
    k: usize,
    n: usize,
    /// From row to row, and from column to column.
    strides: [usize; 2],
}

impl<S: Element> Source<'_, S> {
    /// One row of one panel, zero beyond the matrix.
    #[inline(always)]
    fn lanes(&self, tap: usize, row: usize, panel: usize) -> [S; PANEL] {
        let mut lanes = [S::ZERO; PANEL];
        if row < self.k {
            let columns = PANEL.min(self.n - panel * PANEL);
            let [k, n] = self.strides;
            let start = self.starts[tap] + row * k + panel * PANEL * n;
            if n == 1 && columns == PANEL {
                lanes.copy_from_slice(&self.src[start..start + PANEL]);
            } else {
                for (lane, value) in lanes.iter_mut().enumerate().take(columns) {
                    *value = self.src[start + lane * n];
                }
            }
        }
        lanes
    }

    fn fill_f32(&self, panel: usize, out: &mut [f32]) {
        let mut rows = out.as_chunks_mut::<PANEL>().0.iter_mut();
        for block in 0..self.k.div_ceil(BLOCK) {
            for tap in 0..self.starts.len() {
                for row in block * BLOCK..self.k.min((block + 1) * BLOCK) {
                    if let Some(out) = rows.next() {
                        *out = self.lanes(tap, row, panel).map(S::to_f32);
                    }
                }
            }
        }
    }

    fn fill_bf16(&self, panel: usize, out: &mut [u32]) {
        if let Some(src) = S::as_bf16(self.src)
            && self.strides[1] == 1
            && (panel + 1) * PANEL <= self.n
        {
            return self.interleave(src, panel, out);
        }
        let bits = |value: S| u32::from(bf16::to_bits(Element::from_f32(value.to_f32())));
        let mut pairs = out.as_chunks_mut::<PANEL>().0.iter_mut();
        for block in 0..self.k.div_ceil(BLOCK) {
            for tap in 0..self.starts.len() {
                for pair in 0..BLOCK / 2 {
                    let row = block * BLOCK + pair * 2;
                    let (even, odd) = (self.lanes(tap, row, panel), self.lanes(tap, row + 1, panel));
                    if let Some(out) = pairs.next() {
                        *out = std::array::from_fn(|lane| bits(even[lane]) | (bits(odd[lane]) << 16));
                    }
                }
            }
        }
    }
}

impl<S: Element> Source<'_, S> {
    /// [`Source::fill_bf16`] for a whole panel of bf16 values that lie side by side.
    fn interleave(&self, src: &[bf16], panel: usize, out: &mut [u32]) {
        let mut pairs = out.as_chunks_mut::<PANEL>().0.iter_mut();
        for block in 0..self.k.div_ceil(BLOCK) {
            for start in self.starts {
                for pair in 0..BLOCK / 2 {
                    let row = block * BLOCK + pair * 2;
                    let at = start + row * self.strides[0] + panel * PANEL;
                    let Some(out) = pairs.next() else { return };
                    if row + 1 < self.k {
                        let (even, odd) = (&src[at..at + PANEL], &src[at + self.strides[0]..][..PANEL]);
                        for ((out, even), odd) in out.iter_mut().zip(even).zip(odd) {
                            *out = u32::from(even.to_bits()) | u32::from(odd.to_bits()) << 16;
                        }
                    } else if row < self.k {
                        for (out, even) in out.iter_mut().zip(&src[at..at + PANEL]) {
                            *out = u32::from(even.to_bits());
                        }
                    } else {
                        out.fill(0);
                    }
                }
            }
        }
    }
}

impl std::fmt::Debug for PackedB {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PackedB([{}, {}, {}], {:?})", self.taps(), self.k(), self.n(), self.precision())
    }
}

/// Elements of one panel.
pub(crate) fn panel_len(taps: usize, k: usize, precision: Precision) -> usize {
    let k = if precision == Precision::Bf16 { k.next_multiple_of(BLOCK) } else { k };
    taps * k * PANEL
}

/// Where element `(tap, row, column)` lies in the pack.
fn place(taps: usize, k: usize, precision: Precision, tap: usize, row: usize, column: usize) -> usize {
    let (panel, lane) = (column / PANEL, column % PANEL);
    let (block, inner) = (row / BLOCK, row % BLOCK);
    let start = panel * panel_len(taps, k, precision) + block * BLOCK * taps * PANEL;
    match precision {
        Precision::F32 => start + (tap * BLOCK.min(k - block * BLOCK) + inner) * PANEL + lane,
        Precision::Bf16 => start + tap * BLOCK * PANEL + (inner / 2 * PANEL + lane) * 2 + inner % 2,
    }
}
