//! Every function on every instruction set against [`super::scalar`].

use super::*;
use crate::element::Element;
use crate::samples::{assert_near, on_every_isa, rounding, values, widen};
use half::bf16;

const UNARY: [(Unary, f32); 21] = [
    (Unary::Relu, 1e-7),
    (Unary::LeakyRelu(0.1), 1e-7),
    (Unary::Silu, 5e-7),
    (Unary::Gelu, 5e-7),
    (Unary::GeluTanh, 5e-7),
    (Unary::QuickGelu, 5e-7),
    (Unary::Sigmoid, 3e-7),
    (Unary::Tanh, 3e-7),
    (Unary::Exp, 3e-7),
    (Unary::Ln, 3e-7),
    (Unary::Sqrt, 1e-7),
    (Unary::Square, 1e-7),
    (Unary::Reciprocal, 1e-7),
    (Unary::Abs, 1e-7),
    (Unary::Neg, 1e-7),
    (Unary::Erf, 3e-7),
    (Unary::Sin, 1e-6),
    (Unary::Cos, 1e-6),
    (Unary::Power(1.5), 1e-6),
    (Unary::Clamp(-0.51, 0.77), 1e-7),
    (Unary::Affine { scale: 3.0, offset: -0.25 }, 3e-7),
];

fn positive(op: Unary) -> bool {
    matches!(op, Unary::Ln | Unary::Sqrt | Unary::Power(_) | Unary::Reciprocal)
}

fn check_unary<E: Element>() {
    for (op, bound) in UNARY {
        for len in [1, 7, 16, 33, 70, 40_001] {
            let mut x: Vec<f32> = values(len as u64, len);
            x.iter_mut().for_each(|x| *x = if positive(op) { x.abs() + 0.05 } else { *x * 4.0 });
            let x: Vec<E> = x.into_iter().map(E::from_f32).collect();
            let dy: Vec<E> = values(99, len);
            let want: Vec<f32> = x.iter().map(|x| scalar::unary(op, f64::from(x.to_f32())) as f32).collect();
            let slope: Vec<f32> =
                x.iter().zip(&dy).map(|(x, d)| scalar::slope(op, f64::from(x.to_f32())) as f32 * d.to_f32()).collect();
            let run = || {
                let (mut y, mut dx) = (vec![E::ZERO; len], vec![E::ZERO; len]);
                unary(op, &x, &mut y);
                unary_grad(op, &x, &dy, &mut dx);
                y.extend(dx);
                y
            };
            on_every_isa(run, |isa, got| {
                let bound = bound.max(rounding::<E>());
                assert_near(&format!("{op:?} {isa:?} {len}"), &got[..len], &want, bound);
                assert_near(&format!("{op:?} slope {isa:?} {len}"), &got[len..], &slope, bound.max(2e-6));
            });
        }
    }
}

#[test]
fn functions_of_one_number_f32() {
    check_unary::<f32>();
}

#[test]
fn functions_of_one_number_bf16() {
    check_unary::<bf16>();
}

/// Distance in representable numbers.
fn ulps(a: f32, b: f32) -> u32 {
    let order =
        |x: f32| if x.to_bits() >> 31 == 0 { x.to_bits() as i64 } else { -((x.to_bits() & 0x7fff_ffff) as i64) };
    (order(a) - order(b)).unsigned_abs() as u32
}

#[test]
fn stated_errors_hold() {
    let grid =
        |low: f32, high: f32| (0..50_000).map(move |i| low + (high - low) * i as f32 / 50_000.0).collect::<Vec<f32>>();
    let mut cases = vec![
        (Unary::Exp, grid(-87.0, 88.5), 2),
        (Unary::Tanh, grid(-12.0, 12.0), 3),
        (Unary::Sigmoid, grid(-80.0, 80.0), 4),
        (Unary::Ln, grid(1.5, 1000.0), 2),
    ];
    cases.push((Unary::Ln, grid(-87.0, 88.0).into_iter().map(f32::exp).filter(|x| (x - 1.0).abs() > 0.5).collect(), 2));
    for (op, x, bound) in cases {
        let run = || {
            let mut y = vec![0.0f32; x.len()];
            unary(op, &x, &mut y);
            y
        };
        on_every_isa(run, |isa, got| {
            for (&x, &got) in x.iter().zip(got) {
                let want = scalar::unary(op, f64::from(x)) as f32;
                assert!(ulps(got, want) <= bound, "{op:?}({x}) on {isa:?} is {got}, should be {want}");
            }
        });
    }
}

#[test]
fn extremes_come_out_as_in_ieee() {
    let infinity = f32::INFINITY;
    let x = [0.0, -0.0, infinity, -infinity, f32::NAN, 1e-40, 1e30, -1e30, 89.0, -104.5, 88.7, -90.0];
    for op in [Unary::Exp, Unary::Tanh, Unary::Sigmoid, Unary::Erf, Unary::Relu, Unary::Ln, Unary::Clamp(-1.0, 1.0)] {
        let run = || {
            let mut y = vec![0.0f32; x.len()];
            unary(op, &x, &mut y);
            y.iter().map(|y| y.to_bits()).collect()
        };
        on_every_isa(run, |isa, got| {
            for (x, got) in x.iter().zip(got) {
                let (got, want) = (f32::from_bits(*got), scalar::unary(op, f64::from(*x)) as f32);
                // Sigmoid divides by an infinity where its result would be below the normal range.
                let absolute = if op == Unary::Sigmoid { f32::MIN_POSITIVE } else { 3e-45 };
                let near = (got - want).abs() <= want.abs() * 1e-6 + absolute;
                assert!(
                    got == want || near || (got.is_nan() && want.is_nan()),
                    "{op:?}({x}) on {isa:?}: {got}, not {want}"
                );
            }
        });
    }
}

#[test]
fn strided_operands_broadcast() {
    let ops = [
        Binary::Add,
        Binary::Sub,
        Binary::Mul,
        Binary::Div,
        Binary::Maximum,
        Binary::Minimum,
        Binary::Greater,
        Binary::Less,
        Binary::Equal,
    ];
    // Shape, strides of a, strides of b.
    let cases: [(&[usize], &[usize], &[usize]); 10] = [
        (&[5, 7], &[7, 1], &[7, 1]),
        (&[5, 7], &[7, 1], &[0, 1]),
        (&[5, 7], &[0, 1], &[7, 1]),
        (&[5, 7], &[7, 1], &[1, 0]),
        (&[5, 7], &[0, 0], &[7, 1]),
        (&[5, 7], &[1, 5], &[7, 1]),
        (&[2, 3, 4, 5, 2, 3], &[360, 120, 30, 6, 3, 1], &[0, 6, 0, 0, 3, 1]),
        (&[3, 1, 17], &[17, 17, 1], &[0, 0, 1]),
        (&[2, 20_000], &[20_000, 1], &[0, 1]),
        (&[1, 1], &[0, 0], &[9, 9]),
    ];
    for (shape, a_strides, b_strides) in cases {
        let len: usize = shape.iter().product();
        let (a, b): (Vec<f32>, Vec<f32>) = (values(1, len), values(2, len));
        for op in ops {
            let at = |i, strides| scalar::position(i, shape, strides);
            let want: Vec<f32> =
                (0..len).map(|i| scalar::binary(op, a[at(i, a_strides)], b[at(i, b_strides)])).collect();
            let run = || {
                let mut out = vec![0.0; len];
                binary_strided(op, &a, a_strides, &b, b_strides, shape, &mut out);
                out
            };
            on_every_isa(run, |isa, got| assert_near(&format!("{op:?} {shape:?} {isa:?}"), got, &want, 1e-7));
        }
    }
}

fn check_reduce<E: Element>() {
    let cases: [(&[usize], &[bool]); 9] = [
        (&[7], &[true]),
        (&[20_001], &[true]),
        (&[5, 33], &[false, true]),
        (&[5, 33], &[true, false]),
        (&[600, 40], &[true, false]),
        (&[3, 4, 5, 6], &[false, true, false, true]),
        (&[3, 4, 5, 6], &[true, false, true, false]),
        (&[3, 4, 5, 6], &[false, true, true, false]),
        (&[4, 5], &[false, false]),
    ];
    for (shape, flags) in cases {
        let x: Vec<E> = values(3, shape.iter().product());
        for kind in [Reduction::Sum, Reduction::Mean, Reduction::Max] {
            let want = scalar::reduce(kind, &widen(&x), shape, flags);
            let run = || {
                let mut out = vec![0.0f32; want.len()];
                reduce(kind, &x, shape, flags, &mut out);
                out
            };
            on_every_isa(run, |isa, got| assert_near(&format!("{kind:?} {shape:?} {isa:?}"), got, &want, 1e-5));
        }
    }
}

#[test]
fn reductions() {
    check_reduce::<f32>();
    check_reduce::<bf16>();
    let x: Vec<f32> = values(4, 10_007);
    let want: f64 = x.iter().map(|x| f64::from(*x).powi(2)).sum();
    on_every_isa(|| vec![sum_of_squares(&x)], |_, got| assert!((got[0] / want - 1.0).abs() < 1e-6));
    let mut sums = vec![1.0f32; 7];
    column_sums(&x[..7 * 9], &mut sums, true);
    for (c, sum) in sums.iter().enumerate() {
        assert!((sum - 1.0 - (0..9).map(|r| x[r * 7 + c]).sum::<f32>()).abs() < 1e-5);
    }
    let mut most = [0.0f32];
    reduce(Reduction::Max, &[1.0f32, f32::NAN, 2.0], &[3], &[true], &mut most);
    assert!(most[0].is_nan());
}

fn check_rows<E: Element>() {
    for columns in [1, 5, 16, 17, 40, 77, 300] {
        let (x, dy): (Vec<E>, Vec<E>) = (values(5, 6 * columns), values(6, 6 * columns));
        let (mut soft, mut log, mut grad, mut log_grad) = (vec![], vec![], vec![], vec![]);
        for (x, dy) in x.chunks(columns).zip(dy.chunks(columns)) {
            let exps: Vec<f64> = x.iter().map(|x| f64::from(x.to_f32()).exp()).collect();
            let sum: f64 = exps.iter().sum();
            let p: Vec<f32> = exps.iter().map(|e| E::from_f32((e / sum) as f32).to_f32()).collect();
            let l: Vec<f32> = exps.iter().map(|e| E::from_f32((e / sum).ln() as f32).to_f32()).collect();
            let dot: f32 = p.iter().zip(dy).map(|(p, d)| p * d.to_f32()).sum();
            let total: f32 = dy.iter().map(|d| d.to_f32()).sum();
            grad.extend(p.iter().zip(dy).map(|(p, d)| p * (d.to_f32() - dot)));
            log_grad.extend(l.iter().zip(dy).map(|(l, d)| d.to_f32() - l.exp() * total));
            soft.extend(p);
            log.extend(l);
        }
        let narrow = |x: &[f32]| x.iter().map(|&x| E::from_f32(x)).collect::<Vec<E>>();
        let (y, ly) = (narrow(&soft), narrow(&log));
        let n = x.len();
        let run = || {
            let mut out = vec![E::ZERO; 4 * n];
            let (a, rest) = out.split_at_mut(n);
            let (b, rest) = rest.split_at_mut(n);
            let (c, d) = rest.split_at_mut(n);
            softmax(&x, columns, a);
            log_softmax(&x, columns, b);
            softmax_grad(&y, &dy, columns, c);
            log_softmax_grad(&ly, &dy, columns, d);
            out
        };
        let want: Vec<f32> = [soft, log, grad, log_grad].concat();
        on_every_isa(run, |isa, got| {
            assert_near(&format!("rows {columns} {isa:?}"), got, &want, rounding::<E>().max(2e-6))
        });
    }
}

#[test]
fn softmax_rows() {
    check_rows::<f32>();
    check_rows::<bf16>();
}

fn check_geglu<E: Element>() {
    for columns in [1, 8, 16, 21, 70] {
        let (x, dy): (Vec<E>, Vec<E>) = (values(7, 3 * 2 * columns), values(8, 3 * columns));
        let (mut y, mut dx) = (vec![], vec![]);
        for (x, dy) in x.chunks(2 * columns).zip(dy.chunks(columns)) {
            let (x, gate) = x.split_at(columns);
            let gelu = |g: &E| scalar::unary(Unary::Gelu, f64::from(g.to_f32())) as f32;
            let slope = |g: &E| scalar::slope(Unary::Gelu, f64::from(g.to_f32())) as f32;
            y.extend(x.iter().zip(gate).map(|(x, g)| x.to_f32() * gelu(g)));
            dx.extend(dy.iter().zip(gate).map(|(d, g)| d.to_f32() * gelu(g)));
            dx.extend(dy.iter().zip(x).zip(gate).map(|((d, x), g)| d.to_f32() * x.to_f32() * slope(g)));
        }
        let run = || {
            let mut out = vec![E::ZERO; 9 * columns];
            let (y, dx) = out.split_at_mut(3 * columns);
            geglu(&x, columns, y);
            geglu_grad(&x, &dy, columns, dx);
            out
        };
        let want = [y, dx].concat();
        on_every_isa(run, |isa, got| {
            assert_near(&format!("geglu {columns} {isa:?}"), got, &want, rounding::<E>().max(2e-6))
        });
    }
}

#[test]
fn geglu_and_its_gradient() {
    check_geglu::<f32>();
    check_geglu::<bf16>();
}

fn check_sigmoid_gate<E: Element>() {
    for n in [1, 16, 37, 20_000] {
        let [h, x, dy]: [Vec<E>; 3] = [10, 11, 12].map(|seed| values(seed, n));
        let sigmoid = |h: &E| scalar::unary(Unary::Sigmoid, f64::from(h.to_f32()));
        let slope = |h: &E| scalar::slope(Unary::Sigmoid, f64::from(h.to_f32()));
        let sum = |h: &E, x: &E| f64::from(h.to_f32()) + f64::from(x.to_f32());
        let mut want: Vec<f32> = h.iter().zip(&x).map(|(h, x)| (sum(h, x) * (sigmoid(h) - 0.5)) as f32).collect();
        want.extend(
            h.iter()
                .zip(&x)
                .zip(&dy)
                .map(|((h, x), dy)| (f64::from(dy.to_f32()) * (sigmoid(h) - 0.5 + sum(h, x) * slope(h))) as f32),
        );
        want.extend(h.iter().zip(&dy).map(|(h, dy)| (f64::from(dy.to_f32()) * (sigmoid(h) - 0.5)) as f32));
        let run = || {
            let mut out = vec![E::ZERO; 3 * n];
            let (y, rest) = out.split_at_mut(n);
            let (dh, dx) = rest.split_at_mut(n);
            sigmoid_gate(&h, &x, y);
            sigmoid_gate_grad(&h, &x, &dy, dh, dx);
            out
        };
        on_every_isa(run, |isa, got| {
            assert_near(&format!("sigmoid gate {n} {isa:?}"), got, &want, rounding::<E>().max(2e-6))
        });
    }
}

#[test]
fn sigmoid_gate_and_its_gradient() {
    check_sigmoid_gate::<f32>();
    check_sigmoid_gate::<bf16>();
}

#[test]
fn casts_round_to_even() {
    let mut x: Vec<f32> = values(9, 1000);
    x.extend([f32::NAN, f32::INFINITY, -0.0, 1.003_906_3, 1.011_718_8, f32::MAX]);
    let want: Vec<u16> = x.iter().map(|&x| bf16::from_f32(x).to_bits()).collect();
    let run = || {
        let mut out = vec![bf16::ZERO; x.len()];
        cast(&x, &mut out);
        out.iter().map(|x| x.to_bits()).collect::<Vec<u16>>()
    };
    on_every_isa(run, |isa, got| {
        for (i, (got, want)) in got.iter().zip(&want).enumerate() {
            assert!(got == want || x[i].is_nan() && bf16::from_bits(*got).is_nan(), "{isa:?} [{i}] {}", x[i]);
        }
    });
}

#[test]
fn weight_updates_follow_the_formulas() {
    let n = 1003;
    let (g, w): (Vec<f32>, Vec<f32>) = (values(10, n), values(11, n));
    let settings = AdamW {
        learning_rate: 1e-2,
        beta1: 0.9,
        beta2: 0.99,
        epsilon: 1e-8,
        weight_decay: 0.1,
        step: 3,
        gradient_scale: 0.5,
    };
    let (m, v): (Vec<f32>, Vec<f32>) = (values(12, n), values::<f32>(13, n).iter().map(|v| v * v).collect());
    let mut want = vec![];
    for i in 0..n {
        let g = f64::from(g[i]) * 0.5;
        let mean = 0.9 * f64::from(m[i]) + 0.1 * g;
        let square = 0.99 * f64::from(v[i]) + 0.01 * g * g;
        let root = (square / (1.0 - 0.99f64.powi(3))).sqrt() + 1e-8;
        want.push((f64::from(w[i]) * (1.0 - 1e-3) - 1e-2 * mean / (1.0 - 0.9f64.powi(3)) / root) as f32);
    }
    let run = || {
        let (mut w, mut m, mut v) = (w.clone(), m.clone(), v.clone());
        adamw(&settings, &g, &mut w, &mut m, &mut v);
        w
    };
    on_every_isa(run, |isa, got| assert_near(&format!("adamw {isa:?}"), got, &want, 1e-6));
    let mean = || {
        let (mut a, mut b, mut c) = (w.clone(), w.clone(), w.clone());
        ema(0.75, &g, &mut a);
        axpy(-2.0, &g, &mut b);
        add_assign(&g, &mut c);
        [a, b, c].concat()
    };
    let lines = [|w: f32, g: f32| 0.75 * w + 0.25 * g, |w: f32, g: f32| w - 2.0 * g, |w: f32, g: f32| w + g];
    let want: Vec<f32> =
        lines.iter().flat_map(|f| w.iter().zip(&g).map(|(&w, &g)| f(w, g)).collect::<Vec<_>>()).collect();
    on_every_isa(mean, |isa, got| assert_near(&format!("averages {isa:?}"), got, &want, 1e-6));
}
