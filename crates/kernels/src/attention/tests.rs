//! Attention and its gradient on every instruction set against [`super::scalar`].

use super::*;
use crate::samples::{assert_near, on_every_isa, rounding, values, widen};
use half::bf16;

struct Case {
    shape: AttentionShape,
    bias: bool,
}

fn cases() -> Vec<Case> {
    let mut cases = vec![];
    let sizes = [
        (1, 1, 1, 1, 1),
        (2, 3, 7, 5, 9),
        (1, 2, 33, 17, 40),
        (2, 1, 70, 70, 16),
        (1, 2, 3, 130, 64),
        (1, 1, 50, 97, 70),
    ];
    for (b, h, q, n, d) in sizes {
        cases.push(Case { shape: AttentionShape::new(b, h, q, n, d), bias: false });
        cases.push(Case { shape: AttentionShape::new(b, h, q, n, d), bias: true });
    }
    cases.push(Case { shape: AttentionShape { causal: true, ..AttentionShape::new(2, 2, 45, 45, 24) }, bias: false });
    cases.push(Case { shape: AttentionShape { causal: true, ..AttentionShape::new(1, 2, 40, 103, 32) }, bias: true });
    cases.push(Case { shape: AttentionShape::new(1, 1, 140, 260, 200), bias: false });
    let fused = AttentionShape::new(2, 2, 19, 23, 12);
    cases.push(Case { shape: AttentionShape { q_stride: 72, kv_stride: 50, scale: 0.7, ..fused }, bias: false });
    cases
}

fn inputs<E: Element>(case: &Case) -> (Vec<E>, Vec<E>, Vec<E>, Option<Vec<f32>>) {
    let s = &case.shape;
    let spread = |seed, len: usize| values::<f32>(seed, len).iter().map(|x| E::from_f32(x * 1.5)).collect::<Vec<E>>();
    let keys = s.span(s.kv_len, s.kv_stride);
    let bias = case.bias.then(|| {
        let mut bias: Vec<f32> = values(4, s.batch * s.kv_len);
        bias.iter_mut().step_by(3).skip(1).for_each(|b| *b = f32::NEG_INFINITY);
        bias
    });
    (spread(1, s.span(s.q_len, s.q_stride)), spread(2, keys), spread(3, keys), bias)
}

fn check<E: Element>(bound: f32) {
    for case in cases() {
        let shape = case.shape;
        let (q, k, v, bias) = inputs::<E>(&case);
        let input = AttentionInput { q: &q, k: &k, v: &v, key_bias: bias.as_deref() };
        let (width, queries) = (shape.heads * shape.head_dim, shape.batch * shape.q_len);
        let (mut want, mut sums) = (vec![0.0f32; queries * width], vec![0.0f32; queries * shape.heads]);
        for row in 0..queries * shape.heads {
            let (b, h, i) = (row / shape.heads / shape.q_len, row % shape.heads, row / shape.heads % shape.q_len);
            let mut out = vec![E::ZERO; shape.head_dim];
            let lse = scalar::forward(&input, &shape, [b, h, i], &mut out);
            want[row * shape.head_dim..(row + 1) * shape.head_dim].copy_from_slice(&widen(&out));
            sums[(b * shape.heads + h) * shape.q_len + i] = lse;
        }
        let run = || {
            let (mut out, mut lse) = (vec![E::ZERO; queries * width], vec![0.0; queries * shape.heads]);
            attention(&input, &shape, &mut out, Some(&mut lse));
            [widen(&out), lse].concat()
        };
        on_every_isa(run, |isa, got| {
            assert_near(&format!("{shape:?} {isa:?}"), &got[..want.len()], &want, bound);
            assert_near(&format!("lse {shape:?} {isa:?}"), &got[want.len()..], &sums, bound);
        });
        let dout: Vec<E> = values(5, want.len());
        let out: Vec<E> = want.iter().map(|&x| E::from_f32(x)).collect();
        let sizes = [queries * width, shape.batch * shape.kv_len * width];
        let both = |grad: &dyn Fn(AttentionGrad<'_, E>)| {
            let (mut dq, mut dk, mut dv) = (vec![E::ZERO; sizes[0]], vec![E::ZERO; sizes[1]], vec![E::ZERO; sizes[1]]);
            grad(AttentionGrad { dq: &mut dq, dk: &mut dk, dv: &mut dv });
            [widen(&dq), widen(&dk), widen(&dv)].concat()
        };
        let want = both(&|grad| scalar::backward(&input, &shape, &out, &dout, grad));
        let run = || both(&|grad| attention_grad(&input, &shape, &out, &dout, &sums, grad));
        let bound = if size_of::<E>() == 2 { 2.0 * bound } else { bound };
        on_every_isa(run, |isa, got| assert_near(&format!("gradient {shape:?} {isa:?}"), got, &want, bound));
    }
}

#[test]
fn f32_matches_the_formulas() {
    check::<f32>(2e-5);
}

#[test]
fn bf16_matches_the_formulas() {
    // Probabilities and scores' gradients are rounded to bf16 before their products.
    check::<bf16>(4.0 * rounding::<bf16>());
}

/// The scalar gradient itself against central differences of the scalar forward.
#[test]
fn scalar_gradient_is_the_slope() {
    let shape = AttentionShape::new(1, 2, 3, 4, 3);
    let case = Case { shape, bias: true };
    let (q, k, v, bias) = inputs::<f32>(&case);
    let dout: Vec<f32> = values(5, 18);
    let forward = |x: [&[f32]; 3]| {
        let input = AttentionInput { q: x[0], k: x[1], v: x[2], key_bias: bias.as_deref() };
        let mut out = vec![0.0f32; 18];
        for (row, out) in out.chunks_exact_mut(3).enumerate() {
            scalar::forward(&input, &shape, [0, row % 2, row / 2], out);
        }
        out
    };
    let loss = |x: [&[f32]; 3]| forward(x).iter().zip(&dout).map(|(o, d)| f64::from(*o) * f64::from(*d)).sum::<f64>();
    let mut want = vec![];
    for which in 0..3 {
        for i in 0..[&q, &k, &v][which].len() {
            let value = |step: f32| {
                let mut moved = [q.clone(), k.clone(), v.clone()];
                moved[which][i] += step;
                loss([&moved[0], &moved[1], &moved[2]])
            };
            want.push(((value(1e-2) - value(-1e-2)) / 2e-2) as f32);
        }
    }
    let input = AttentionInput { q: &q, k: &k, v: &v, key_bias: bias.as_deref() };
    let (mut dq, mut dk, mut dv) = (vec![0.0; 18], vec![0.0; 24], vec![0.0; 24]);
    let grad = AttentionGrad { dq: &mut dq, dk: &mut dk, dv: &mut dv };
    scalar::backward(&input, &shape, &forward([&q, &k, &v]), &dout, grad);
    assert_near("slopes", &[dq, dk, dv].concat(), &want, 1e-3);
}
