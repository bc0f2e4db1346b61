//! SPAN's parameter-free attention (Wan et al., arXiv:2311.12770): a map and its residual, weighted by the map's own sigmoid.

use super::map::{GRAIN, Map, for_pieces, map};
use crate::element::Element;
use crate::simd::{Kernel, Simd, dispatch, math};
use crate::threads::Shared;

/// `out = (h + x) · (sigmoid(h) - ½)`.
///
/// # Panics
/// If lengths differ.
pub fn sigmoid_gate<E: Element>(h: &[E], x: &[E], out: &mut [E]) {
    map([h, x], out, Gate);
}

/// Gradient of [`sigmoid_gate`] for its operands.
///
/// # Panics
/// If lengths differ.
pub fn sigmoid_gate_grad<E: Element>(h: &[E], x: &[E], dy: &[E], dh: &mut [E], dx: &mut [E]) {
    let len = h.len();
    assert!([x.len(), dy.len(), dh.len(), dx.len()] == [len; 4], "operands and gradients must have one length");
    let (dh, dx) = (Shared::new(dh), Shared::new(dx));
    for_pieces(len, GRAIN, &|start, len| {
        let at = start..start + len;
        // SAFETY: pieces are disjoint.
        let (dh, dx) = unsafe { (dh.range(start, len), dx.range(start, len)) };
        dispatch(Slopes { h: &h[at.clone()], x: &x[at.clone()], dy: &dy[at], dh, dx });
    });
}

#[derive(Clone, Copy)]
struct Gate;

impl Map<2> for Gate {
    #[inline(always)]
    fn apply<S: Simd>(&self, s: S, [h, x]: [S::F; 2]) -> S::F {
        s.mul(s.add(h, x), s.sub(math::sigmoid(s, h), s.splat(0.5)))
    }
}

struct Slopes<'a, E> {
    h: &'a [E],
    x: &'a [E],
    dy: &'a [E],
    dh: &'a mut [E],
    dx: &'a mut [E],
}

/// The gradients to `h` and to `x`. A function, since a closure would not be compiled for the instruction set.
#[inline(always)]
fn slopes<S: Simd>(s: S, h: S::F, x: S::F, dy: S::F) -> (S::F, S::F) {
    let sigmoid = math::sigmoid(s, h);
    let factor = s.sub(sigmoid, s.splat(0.5));
    let steepness = s.mul(sigmoid, s.sub(s.splat(1.0), sigmoid));
    (s.mul(dy, s.fma(s.add(h, x), steepness, factor)), s.mul(dy, factor))
}

impl<E: Element> Kernel for Slopes<'_, E> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let lanes = S::LANES;
        let whole = self.h.len() / lanes * lanes;
        let mut i = 0;
        while i < whole {
            let at = i..i + lanes;
            let (h, x) = (s.load_of(&self.h[at.clone()]), s.load_of(&self.x[at.clone()]));
            let (dh, dx) = slopes(s, h, x, s.load_of(&self.dy[at.clone()]));
            s.store_of(dh, &mut self.dh[at.clone()]);
            s.store_of(dx, &mut self.dx[at]);
            i += lanes;
        }
        if whole < self.h.len() {
            let (h, x) = (s.load_part(&self.h[whole..], 0.0), s.load_part(&self.x[whole..], 0.0));
            let (dh, dx) = slopes(s, h, x, s.load_part(&self.dy[whole..], 0.0));
            s.store_part(dh, &mut self.dh[whole..]);
            s.store_part(dx, &mut self.dx[whole..]);
        }
    }
}
