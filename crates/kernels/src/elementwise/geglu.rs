//! GEGLU (Shazeer, arXiv:2002.05202): a row of 2c values becomes c values `x · gelu(gate)`, x being the first half.

use super::map::for_pieces;
use crate::element::Element;
use crate::simd::{Kernel, Simd, dispatch, math};
use crate::threads::Shared;

/// Values per task.
const GRAIN: usize = 8 * 1024;

/// `out[r, i] = x[r, i] · gelu(x[r, c + i])`; `x` is `[rows, 2c]`, `out` `[rows, c]`.
///
/// # Panics
/// If lengths do not fit.
pub fn geglu<E: Element>(x: &[E], columns: usize, out: &mut [E]) {
    check(x.len(), out.len(), columns);
    let rows = out.len() / columns;
    let out = Shared::new(out);
    for_pieces(rows, GRAIN.div_ceil(columns), &|start, len| {
        for row in start..start + len {
            let (x, gate) = x[2 * row * columns..][..2 * columns].split_at(columns);
            // SAFETY: every row is visited by one task.
            super::map::map_piece([x, gate], unsafe { out.range(row * columns, columns) }, Gated);
        }
    });
}

/// Gradient of [`geglu`]: `x` `[rows, 2c]`, `dy` `[rows, c]` → `dx` `[rows, 2c]`.
///
/// # Panics
/// If lengths do not fit.
pub fn geglu_grad<E: Element>(x: &[E], dy: &[E], columns: usize, dx: &mut [E]) {
    check(x.len(), dy.len(), columns);
    assert_eq!(x.len(), dx.len(), "gradient and operand must have one length");
    let rows = dy.len() / columns;
    let dx = Shared::new(dx);
    for_pieces(rows, GRAIN.div_ceil(columns), &|start, len| {
        for row in start..start + len {
            let (x, gate) = x[2 * row * columns..][..2 * columns].split_at(columns);
            // SAFETY: every row is visited by one task.
            let (dx, dgate) = unsafe { dx.range(2 * row * columns, 2 * columns) }.split_at_mut(columns);
            dispatch(GradRow { x, gate, dy: &dy[row * columns..][..columns], dx, dgate });
        }
    });
}

fn check(wide: usize, narrow: usize, columns: usize) {
    assert!(
        columns > 0 && narrow.is_multiple_of(columns) && wide == 2 * narrow,
        "geglu halves rows: {wide} to {narrow} by {columns}"
    );
}

#[derive(Clone, Copy)]
struct Gated;

impl super::map::Map<2> for Gated {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [x, gate]: [S::F; 2]) -> S::F {
        s.mul(x, math::gelu(s, gate))
    }
}

struct GradRow<'a, E> {
    x: &'a [E],
    gate: &'a [E],
    dy: &'a [E],
    dx: &'a mut [E],
    dgate: &'a mut [E],
}

/// The gradients to `x` and to the gate. A function, since a closure would not be compiled for the instruction set.
#[inline(always)]
fn slopes<S: Simd>(s: S, x: S::F, gate: S::F, dy: S::F) -> (S::F, S::F) {
    let factor = math::normal(s, gate);
    let slope = s.fma(gate, math::density(s, gate), factor);
    (s.mul(dy, s.mul(gate, factor)), s.mul(s.mul(dy, x), slope))
}

impl<E: Element> Kernel for GradRow<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let lanes = S::LANES;
        let whole = self.x.len() / lanes * lanes;
        let mut i = 0;
        while i < whole {
            let at = i..i + lanes;
            let (x, gate) = (s.load_of(&self.x[at.clone()]), s.load_of(&self.gate[at.clone()]));
            let (dx, dgate) = slopes(s, x, gate, s.load_of(&self.dy[at.clone()]));
            s.store_of(dx, &mut self.dx[at.clone()]);
            s.store_of(dgate, &mut self.dgate[at]);
            i += lanes;
        }
        if whole < self.x.len() {
            let (x, gate) = (s.load_part(&self.x[whole..], 0.0), s.load_part(&self.gate[whole..], 0.0));
            let (dx, dgate) = slopes(s, x, gate, s.load_part(&self.dy[whole..], 0.0));
            s.store_part(dx, &mut self.dx[whole..]);
            s.store_part(dgate, &mut self.dgate[whole..]);
        }
    }
}
