//! Products against the naive ones.

use super::*;
use crate::isa::{available, with_isa};
use crate::threads::set_threads;
use half::bf16;

/// Numbers in -1..1 from a small generator.
pub(crate) fn values<E: Element>(len: usize, seed: u32) -> Vec<E> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(12_345);
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            E::from_f32((state >> 8) as f32 / (1 << 23) as f32 - 1.0)
        })
        .collect()
}

/// The largest difference relative to the expected values' root mean square.
pub(crate) fn distance<A: Element, B: Element>(got: &[A], want: &[B]) -> f64 {
    assert_eq!(got.len(), want.len());
    let square = |v: f32| f64::from(v) * f64::from(v);
    let rms = (want.iter().map(|v| square(v.to_f32())).sum::<f64>() / want.len().max(1) as f64).sqrt();
    let difference = |(g, w): (&A, &B)| -> f64 { f64::from((g.to_f32() - w.to_f32()).abs()) };
    let worst =
        got.iter().zip(want).map(difference).fold(0.0, |a, d| if d.is_nan() { f64::INFINITY } else { a.max(d) });
    worst / rms.max(1e-30)
}

/// What one rounding to the element and the order of sums may cost.
pub(crate) fn tolerance<E: Element>() -> f64 {
    match E::KIND {
        crate::ElementKind::F32 => 1e-5,
        crate::ElementKind::Bf16 => 2e-2,
    }
}

fn check_gemm<E: Element>(m: usize, k: usize, n: usize, activation: Activation) {
    let (lda, ldo) = (k + m % 3, n + k % 2);
    let a = values::<E>(m * lda, 1);
    let weights = values::<E>(k * n, 2);
    let bias = values::<f32>(n, 3);
    let rows = m.div_ceil(2);
    let row_bias = values::<f32>(2 * n, 4);
    let residual = values::<E>(m * n, 5);
    let epilogue =
        Epilogue { bias: Some(&bias), row_bias: Some((&row_bias, rows)), residual: Some(&residual), activation };
    // The weight as a linear layer stores it, [n, k], so that packing transposes.
    let stored: Vec<E> = (0..n * k).map(|i| weights[i % k * n + i / k]).collect();
    let packed = PackedB::pack(&stored, 1, k, n, [0, 1, k], Precision::of::<E>());
    let exact: Vec<f32> = weights.iter().map(|w| w.to_f32()).collect();
    assert_eq!(packed.unpack(), exact);
    let mut want = vec![E::ZERO; m * ldo];
    for row in 0..m {
        let mut sums = vec![0.0; n];
        scalar::row_times_matrix(&a[row * lda..row * lda + k], &exact, &mut sums);
        epilogue.finish_row(row, &sums, &mut want[row * ldo..row * ldo + n]);
    }
    for &isa in available() {
        let mut got = vec![E::ZERO; m * ldo];
        with_isa(isa, || gemm(&a, lda, m, &packed, &mut got, ldo, &epilogue));
        let error = distance(&got, &want);
        assert!(error < tolerance::<E>(), "{isa:?} {:?} {m}x{k}x{n} {activation:?}: {error}", E::KIND);
    }
}

#[test]
fn gemm_equals_the_naive_product() {
    let activations = [
        Activation::None,
        Activation::Relu,
        Activation::LeakyRelu(0.2),
        Activation::Silu,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::QuickGelu,
        Activation::Sigmoid,
        Activation::Tanh,
    ];
    let sizes = [1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 40, 64, 77];
    let mut next = 0;
    for &m in &sizes {
        for &k in &[1, 3, 4, 16, 31, 32, 33, 64, 70] {
            let n = sizes[(next * 7 + m) % sizes.len()];
            check_gemm::<f32>(m, k, n, activations[next % 9]);
            check_gemm::<bf16>(m, k, n, activations[next % 9]);
            next += 1;
        }
    }
}

#[test]
fn a_pack_of_the_other_precision_works() {
    let (m, k, n) = (5, 37, 19);
    let a = values::<f32>(m * k, 1);
    let weights = values::<bf16>(k * n, 2);
    let mut out = [vec![0f32; m * n], vec![0f32; m * n]];
    for (precision, out) in [Precision::F32, Precision::Bf16].into_iter().zip(&mut out) {
        let packed = PackedB::pack(&weights, 1, k, n, [0, n, 1], precision);
        gemm(&a, k, m, &packed, out, n, &Epilogue::default());
    }
    assert!(distance(&out[0], &out[1]) < 1e-5);
    let a: Vec<bf16> = a.iter().map(|&v| Element::from_f32(v)).collect();
    let packed = PackedB::pack(&weights, 1, k, n, [0, n, 1], Precision::F32);
    let mut narrow = vec![bf16::ZERO; m * n];
    gemm(&a, k, m, &packed, &mut narrow, n, &Epilogue::default());
    assert!(distance(&narrow, &out[0]) < 2e-2);
}

fn check_at_b<E: Element>(m: usize, k: usize, n: usize) {
    let (a, dy) = (values::<E>(m * k, 6), values::<E>(m * n, 7));
    let start = values::<f32>(k * n, 8);
    for accumulate in [false, true] {
        let mut want = start.clone();
        scalar::gemm_at_b(&a, &dy, m, k, n, &mut want, accumulate);
        for &isa in available() {
            let mut got = start.clone();
            with_isa(isa, || gemm_at_b(&a, &dy, m, k, n, &mut got, accumulate));
            // bf16 products are exact in f32: only the order of sums differs, whatever the element.
            let error = distance(&got, &want);
            assert!(error < 1e-5, "{isa:?} {:?} {m}x{k}x{n}: {error}", E::KIND);
        }
    }
}

#[test]
fn weight_gradient_equals_the_naive_one() {
    for (m, k, n) in [(1, 1, 1), (2, 3, 5), (77, 33, 17), (64, 64, 64), (130, 40, 70), (1000, 20, 36), (3000, 5, 9)] {
        check_at_b::<f32>(m, k, n);
        check_at_b::<bf16>(m, k, n);
    }
}

fn check_matmul<E: Element>(batch: usize, m: usize, k: usize, n: usize) {
    let (a, b) = (values::<E>(batch * m * k, 9), values::<E>(batch * k * n, 10));
    for (a_trans, b_trans) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut want = vec![E::ZERO; batch * m * n];
        scalar::matmul(&a, a_trans, &b, b_trans, batch, m, k, n, &mut want);
        for &isa in available() {
            let mut got = vec![E::ZERO; batch * m * n];
            with_isa(isa, || matmul(&a, a_trans, &b, b_trans, batch, m, k, n, &mut got));
            let error = distance(&got, &want);
            assert!(error < tolerance::<E>(), "{isa:?} {batch}x{m}x{k}x{n} {a_trans} {b_trans}: {error}");
        }
    }
}

#[test]
fn matmul_equals_the_naive_product() {
    for (batch, m, k, n) in [(1, 1, 1, 1), (3, 5, 7, 9), (2, 33, 40, 17), (1, 64, 64, 96), (4, 16, 31, 48)] {
        check_matmul::<f32>(batch, m, k, n);
        check_matmul::<bf16>(batch, m, k, n);
    }
}

fn check_threads<E: Element>() {
    let (m, k, n) = (300, 70, 90);
    let (a, dy, weights) = (values::<E>(m * k, 1), values::<E>(m * n, 2), values::<E>(k * n, 3));
    let packed = PackedB::pack(&weights, 1, k, n, [0, n, 1], Precision::of::<E>());
    let results: Vec<_> = [1, 2, 3, 5]
        .into_iter()
        .map(|threads| {
            set_threads(threads);
            let mut out = vec![E::ZERO; m * n];
            gemm(&a, k, m, &packed, &mut out, n, &Epilogue::default());
            let mut grad = vec![0f32; k * n];
            gemm_at_b(&a, &dy, m, k, n, &mut grad, false);
            (out, grad)
        })
        .collect();
    assert!(results.iter().all(|r| *r == results[0]), "{:?}", E::KIND);
}

#[test]
fn equal_for_every_thread_count() {
    for &isa in available() {
        with_isa(isa, || {
            check_threads::<f32>();
            check_threads::<bf16>();
        });
    }
}
