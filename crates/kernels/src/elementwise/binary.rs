//! Functions of two tensors with broadcasting, by strides.

use super::map::{GRAIN, Map, for_pieces, map, map_piece};
use crate::element::Element;
use crate::simd::{Kernel, Simd, dispatch};
use crate::threads::Shared;

/// A function of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binary {
    /// a + b.
    Add,
    /// a - b.
    Sub,
    /// a · b.
    Mul,
    /// a / b.
    Div,
    /// The larger; b if either is NaN.
    Maximum,
    /// The smaller; b if either is NaN.
    Minimum,
    /// 1 where a > b, else 0.
    Greater,
    /// 1 where a < b, else 0.
    Less,
    /// 1 where a = b, else 0.
    Equal,
}

macro_rules! functions {
    ($($name:ident = |$s:ident, $a:ident, $b:ident| $value:expr;)+) => {
        $(
            #[derive(Clone, Copy)]
            struct $name;
            impl Map<2> for $name {
                #[inline(always)]
                fn apply<S: Simd>(&self, $s: S, [$a, $b]: [S::F; 2]) -> S::F {
                    $value
                }
            }
        )+
        macro_rules! with_function {
            ($op:expr, $f:ident => $body:expr) => {
                match $op { $(Binary::$name => { let $f = $name; $body })+ }
            };
        }
    };
}

functions! {
    Add = |s, a, b| s.add(a, b);
    Sub = |s, a, b| s.sub(a, b);
    Mul = |s, a, b| s.mul(a, b);
    Div = |s, a, b| s.div(a, b);
    Maximum = |s, a, b| s.max(a, b);
    Minimum = |s, a, b| s.min(a, b);
    Greater = |s, a, b| s.select(s.less(b, a), s.splat(1.0), s.splat(0.0));
    Less = |s, a, b| s.select(s.less(a, b), s.splat(1.0), s.splat(0.0));
    Equal = |s, a, b| s.select(s.equal(a, b), s.splat(1.0), s.splat(0.0));
}

/// `out[i] = op(a[i], b[i])` for contiguous operands of one length.
///
/// # Panics
/// If the lengths differ.
pub fn binary<E: Element>(op: Binary, a: &[E], b: &[E], out: &mut [E]) {
    with_function!(op, f => map([a, b], out, f));
}

/// The most dimensions that strided operations take.
pub const MAX_RANK: usize = 8;

/// `out = op(a, b)` with `out` contiguous of `shape` and operands by strides in elements (0 = broadcast).
///
/// # Panics
/// If ranks differ or exceed [`MAX_RANK`], `out` is not as long as the shape says, or a stride leads outside an operand.
pub fn binary_strided<E: Element>(
    op: Binary,
    a: &[E],
    a_strides: &[usize],
    b: &[E],
    b_strides: &[usize],
    shape: &[usize],
    out: &mut [E],
) {
    assert!(shape.len() == a_strides.len() && shape.len() == b_strides.len(), "one stride per dimension");
    assert_eq!(out.len(), shape.iter().product::<usize>(), "result length must be that of the shape");
    if out.is_empty() {
        return;
    }
    assert!(last_index(shape, a_strides) < a.len() && last_index(shape, b_strides) < b.len(), "strides lead outside");
    let walk = Walk::new(shape, [a_strides, b_strides]);
    if walk.rank == 1 && walk.strides[0][0] == 1 && walk.strides[1][0] == 1 {
        return binary(op, &a[..out.len()], &b[..out.len()], out);
    }
    let (inner, outer) = (walk.inner(), walk.outer());
    let [a_step, b_step] = walk.inner_strides();
    // Whole rows per task, or pieces of rows where these are long.
    let (rows, pieces) = if inner >= GRAIN { (1, inner.div_ceil(GRAIN)) } else { ((GRAIN / inner).max(1), 1) };
    let out = Shared::new(out);
    for_pieces(outer.div_ceil(rows) * pieces, 1, &|task, _| {
        let (block, piece) = (task / pieces, task % pieces);
        let (start, len) = if pieces == 1 { (0, inner) } else { (piece * GRAIN, GRAIN.min(inner - piece * GRAIN)) };
        for row in block * rows..outer.min((block + 1) * rows) {
            let [a_at, b_at] = walk.offsets(row);
            // SAFETY: every (row, piece) is visited by one task.
            let out = unsafe { out.range(row * inner + start, len) };
            let (a, b) = (&a[a_at + start * a_step..], &b[b_at + start * b_step..]);
            with_function!(op, f => match (a_step, b_step) {
                (1, 1) => map_piece([&a[..len], &b[..len]], out, f),
                (1, 0) => dispatch(WithScalar { x: &a[..len], scalar: b[0].to_f32(), out, map: f, swapped: false }),
                (0, 1) => dispatch(WithScalar { x: &b[..len], scalar: a[0].to_f32(), out, map: f, swapped: true }),
                _ => dispatch(Gathered { a, a_step, b, b_step, out, map: f }),
            });
        }
    });
}

/// The largest index that the strides reach.
pub(crate) fn last_index(shape: &[usize], strides: &[usize]) -> usize {
    shape.iter().zip(strides).map(|(&n, &s)| (n - 1) * s).sum()
}

/// Visits `shape` row by row (a row = the innermost dimension) for `N` strided operands, neighbouring dimensions merged
/// where all operands allow it.
pub(crate) struct Walk<const N: usize> {
    pub(crate) rank: usize,
    pub(crate) shape: [usize; MAX_RANK],
    pub(crate) strides: [[usize; MAX_RANK]; N],
}

impl<const N: usize> Walk<N> {
    pub(crate) fn new(shape: &[usize], strides: [&[usize]; N]) -> Self {
        assert!(shape.len() <= MAX_RANK, "at most {MAX_RANK} dimensions");
        let mut walk = Walk { rank: 0, shape: [1; MAX_RANK], strides: [[0; MAX_RANK]; N] };
        for (dim, &size) in shape.iter().enumerate() {
            if size == 1 {
                continue;
            }
            let last = walk.rank.wrapping_sub(1);
            let merges = walk.rank > 0 && (0..N).all(|i| walk.strides[i][last] == strides[i][dim] * size);
            let to = if merges { last } else { walk.rank };
            walk.shape[to] = if merges { walk.shape[to] * size } else { size };
            for (own, given) in walk.strides.iter_mut().zip(strides) {
                own[to] = given[dim];
            }
            walk.rank = to + 1;
        }
        if walk.rank == 0 {
            walk.rank = 1;
            // A single value: any stride will do, 1 takes the fast path.
            walk.strides.iter_mut().for_each(|s| s[0] = 1);
        }
        walk
    }

    pub(crate) fn inner(&self) -> usize {
        self.shape[self.rank - 1]
    }

    pub(crate) fn inner_strides(&self) -> [usize; N] {
        std::array::from_fn(|i| self.strides[i][self.rank - 1])
    }

    pub(crate) fn outer(&self) -> usize {
        self.shape[..self.rank - 1].iter().product()
    }

    /// Where row number `row` starts in each operand.
    pub(crate) fn offsets(&self, mut row: usize) -> [usize; N] {
        let mut at = [0; N];
        for dim in (0..self.rank - 1).rev() {
            let index = row % self.shape[dim];
            row /= self.shape[dim];
            for (at, strides) in at.iter_mut().zip(&self.strides) {
                *at += index * strides[dim];
            }
        }
        at
    }
}

struct WithScalar<'a, E, M> {
    x: &'a [E],
    scalar: f32,
    out: &'a mut [E],
    map: M,
    swapped: bool,
}

impl<E: Element, M: Map<2>> Kernel for WithScalar<'_, E, M> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let scalar = s.splat(self.scalar);
        let swapped = self.swapped;
        let mut x = self.x.chunks_exact(S::LANES);
        let mut out = self.out.chunks_exact_mut(S::LANES);
        for (out, x) in out.by_ref().zip(x.by_ref()) {
            let x = s.load_of(x);
            s.store_of(self.map.apply(s, if swapped { [scalar, x] } else { [x, scalar] }), out);
        }
        let (x, out) = (x.remainder(), out.into_remainder());
        if !out.is_empty() {
            let x = s.load_part(x, 0.0);
            s.store_part(self.map.apply(s, if swapped { [scalar, x] } else { [x, scalar] }), out);
        }
    }
}

struct Gathered<'a, E, M> {
    a: &'a [E],
    a_step: usize,
    b: &'a [E],
    b_step: usize,
    out: &'a mut [E],
    map: M,
}

impl<E: Element, M: Map<2>> Kernel for Gathered<'_, E, M> {
    type Output = ();
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let mut a = [E::ZERO; crate::simd::MAX_LANES];
        let mut b = a;
        for (block, out) in self.out.chunks_mut(S::LANES).enumerate() {
            let first = block * S::LANES;
            for i in 0..out.len() {
                a[i] = self.a[(first + i) * self.a_step];
                b[i] = self.b[(first + i) * self.b_step];
            }
            let v = self.map.apply(s, [s.load_of(&a[..S::LANES]), s.load_of(&b[..S::LANES])]);
            if out.len() == S::LANES {
                s.store_of(v, out);
            } else {
                s.store_part(v, out);
            }
        }
    }
}
