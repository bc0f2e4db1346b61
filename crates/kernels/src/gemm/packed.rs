//! Weights in the order in which the kernels read them.
//!
//! Columns lie in panels of 16. Inside a panel `k` is cut into blocks of 32; a block holds, for each tap in turn, its
//! rows of 16 values (f32), or its pairs of rows with the two values of a column side by side (bf16: the order of
//! `vdpbf16ps` and of AMX tiles). f32: `[panel][block][tap][k in block][16]`; bf16, with `k` padded to a multiple of 32:
//! `[panel][block][tap][16 pairs][16][2]`, so that each (block, tap) is one 1 KiB tile.

use crate::alloc::AlignedVec;
use crate::element::Element;
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
}

pub(crate) enum Data {
    F32(AlignedVec<f32>),
    Bf16(AlignedVec<bf16>),
}

struct Pack {
    taps: usize,
    k: usize,
    n: usize,
    data: Data,
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
        if taps > 0 && k > 0 && n > 0 {
            let last = (taps - 1) * strides[0] + (k - 1) * strides[1] + (n - 1) * strides[2];
            assert!(last < src.len(), "pack: {} elements, {} needed", src.len(), last + 1);
        }
        let panel = panel_len(taps, k, precision);
        let len = panel * n.div_ceil(PANEL);
        let at = |tap: usize, row: usize, column: usize| {
            src[tap * strides[0] + row * strides[1] + column * strides[2]].to_f32()
        };
        let data = match precision {
            Precision::F32 => {
                let mut data = AlignedVec::zeroed(len);
                each(taps, k, n, |tap, row, column| {
                    data[place(taps, k, precision, tap, row, column)] = at(tap, row, column);
                });
                Data::F32(data)
            }
            Precision::Bf16 => {
                let mut data = AlignedVec::zeroed(len);
                each(taps, k, n, |tap, row, column| {
                    data[place(taps, k, precision, tap, row, column)] = Element::from_f32(at(tap, row, column));
                });
                Data::Bf16(data)
            }
        };
        PackedB(Arc::new(Pack { taps, k, n, data }))
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
        match self.0.data {
            Data::F32(_) => Precision::F32,
            Data::Bf16(_) => Precision::Bf16,
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        match &self.0.data {
            Data::F32(data) => data.bytes(),
            Data::Bf16(data) => data.bytes(),
        }
    }

    /// The matrix as it was, `[taps, k, n]` (rounded to bf16 if packed so).
    pub fn unpack(&self) -> Vec<f32> {
        let (taps, k, n) = (self.0.taps, self.0.k, self.0.n);
        let mut out = vec![0f32; taps * k * n];
        let precision = self.precision();
        each(taps, k, n, |tap, row, column| {
            let place = place(taps, k, precision, tap, row, column);
            out[(tap * k + row) * n + column] = match &self.0.data {
                Data::F32(data) => data[place],
                Data::Bf16(data) => Element::to_f32(data[place]),
            };
        });
        out
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

fn each(taps: usize, k: usize, n: usize, mut visit: impl FnMut(usize, usize, usize)) {
    for tap in 0..taps {
        for row in 0..k {
            for column in 0..n {
                visit(tap, row, column);
            }
        }
    }
}
