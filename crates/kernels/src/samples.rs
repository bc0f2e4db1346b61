//! Numbers for tests, the same everywhere, and ways to run a test on all instruction sets.

use crate::element::Element;
use crate::isa::{Isa, available, with_isa};
use crate::threads::set_threads;

/// `len` values in (-2, 2), most of them small, drawn from `seed`.
pub(crate) fn values<E: Element>(seed: u64, len: usize) -> Vec<E> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32
    };
    (0..len).map(|_| E::from_f32((draw() + draw() + draw() + draw() - 2.0) * 1.2)).collect()
}

pub(crate) fn widen<E: Element>(x: &[E]) -> Vec<f32> {
    x.iter().map(|x| x.to_f32()).collect()
}

/// The rounding of one stored value.
pub(crate) fn rounding<E: Element>() -> f32 {
    if size_of::<E>() == 2 { 1.0 / 256.0 } else { 1.0 / 16_777_216.0 }
}

/// Runs `test` with each instruction set of this machine, and asserts that one thread gives the bits that three give.
pub(crate) fn on_every_isa<T: PartialEq + std::fmt::Debug>(test: impl Fn() -> Vec<T>, check: impl Fn(Isa, &[T])) {
    for &isa in available() {
        with_isa(isa, || {
            set_threads(1);
            let alone = test();
            set_threads(3);
            let shared = test();
            assert!(alone == shared, "{isa:?}: results depend on the number of threads");
            check(isa, &alone);
        });
    }
}

/// |got - want| <= bound · (1 + |want|) everywhere.
#[track_caller]
pub(crate) fn assert_near<E: Element>(what: &str, got: &[E], want: &[f32], bound: f32) {
    assert_eq!(got.len(), want.len(), "{what}: lengths");
    for (i, (got, &want)) in got.iter().zip(want).enumerate() {
        let got = got.to_f32();
        let fine = (got - want).abs() <= bound * (1.0 + want.abs()) || (got.is_nan() && want.is_nan()) || got == want;
        assert!(fine, "{what}: [{i}] is {got}, should be {want} (bound {bound})");
    }
}
