//! One loop over long slices for every elementwise operation: cut into tasks by length, then into vectors.

use crate::element::Element;
use crate::simd::{Kernel, Simd, dispatch};
use crate::threads::{Shared, parallel_for};

/// Elements per task: enough to outweigh starting it, few enough to balance.
pub(crate) const GRAIN: usize = 16 * 1024;

/// Runs `task(start, len)` over `0..len` in pieces whose bounds depend on `len` alone.
pub(crate) fn for_pieces(len: usize, grain: usize, task: &(dyn Fn(usize, usize) + Sync)) {
    parallel_for(len.div_ceil(grain), &|i| task(i * grain, grain.min(len - i * grain)));
}

/// A function of `N` vectors.
pub(crate) trait Map<const N: usize>: Sync + Copy {
    fn apply<S: Simd>(&self, s: S, x: [S::F; N]) -> S::F;
}

/// The identity.
#[derive(Clone, Copy)]
pub(crate) struct Same;

impl Map<1> for Same {
    #[inline(always)]
    fn apply<S: Simd>(&self, _: S, [x]: [S::F; 1]) -> S::F {
        x
    }
}

struct MapKernel<'a, A, O, M, const N: usize> {
    x: [&'a [A]; N],
    out: &'a mut [O],
    map: M,
}

impl<A: Element, O: Element, M: Map<N>, const N: usize> Kernel for MapKernel<'_, A, O, M, N> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let lanes = S::LANES;
        let whole = self.out.len() / lanes * lanes;
        let mut i = 0;
        while i < whole {
            // A loop: a closure might not be inlined through `map`, which lacks the instruction set.
            let mut x = [s.splat(0.0); N];
            for (x, from) in x.iter_mut().zip(self.x) {
                *x = s.load_of(&from[i..i + lanes]);
            }
            s.store_of(self.map.apply(s, x), &mut self.out[i..i + lanes]);
            i += lanes;
        }
        if whole < self.out.len() {
            let mut x = [s.splat(0.0); N];
            for (x, from) in x.iter_mut().zip(self.x) {
                *x = s.load_part(&from[whole..self.out.len()], 0.0);
            }
            s.store_part(self.map.apply(s, x), &mut self.out[whole..]);
        }
    }
}

/// `out[i] = map(x[0][i], …)` on this thread.
#[inline]
pub(crate) fn map_piece<A: Element, O: Element, M: Map<N>, const N: usize>(x: [&[A]; N], out: &mut [O], map: M) {
    dispatch(MapKernel { x, out, map });
}

/// `out[i] = map(x[0][i], …)` for slices of equal length.
pub(crate) fn map<A: Element, O: Element, M: Map<N>, const N: usize>(x: [&[A]; N], out: &mut [O], map: M) {
    for x in x {
        assert_eq!(x.len(), out.len(), "operands and result must have one length");
    }
    let len = out.len();
    let out = Shared::new(out);
    for_pieces(len, GRAIN, &|start, len| {
        // SAFETY: pieces are disjoint.
        let out = unsafe { out.range(start, len) };
        map_piece(x.map(|x| &x[start..start + len]), out, map);
    });
}

struct UpdateKernel<'a, A, M> {
    x: &'a [A],
    out: &'a mut [A],
    map: M,
}

impl<A: Element, M: Map<2>> Kernel for UpdateKernel<'_, A, M> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let lanes = S::LANES;
        let mut out = self.out.chunks_exact_mut(lanes);
        let mut x = self.x.chunks_exact(lanes);
        for (out, x) in out.by_ref().zip(x.by_ref()) {
            let v = self.map.apply(s, [s.load_of(out), s.load_of(x)]);
            s.store_of(v, out);
        }
        let (out, x) = (out.into_remainder(), x.remainder());
        if !out.is_empty() {
            let v = self.map.apply(s, [s.load_part(out, 0.0), s.load_part(x, 0.0)]);
            s.store_part(v, out);
        }
    }
}

/// `out[i] = map(out[i], x[i])`.
pub(crate) fn update<A: Element, M: Map<2>>(out: &mut [A], x: &[A], map: M) {
    assert_eq!(x.len(), out.len(), "operands must have one length");
    let len = out.len();
    let out = Shared::new(out);
    for_pieces(len, GRAIN, &|start, len| {
        // SAFETY: pieces are disjoint.
        let out = unsafe { out.range(start, len) };
        dispatch(UpdateKernel { x: &x[start..start + len], out, map });
    });
}
