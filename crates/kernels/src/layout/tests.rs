//! Every mover against an index calculation.

use super::*;
use crate::samples::{on_every_isa, values};
use half::bf16;

#[test]
fn transposes() {
    for (batch, rows, columns) in [(1, 1, 1), (2, 3, 70), (1, 65, 33), (3, 130, 7), (1, 600, 40)] {
        let x: Vec<bf16> = values(1, batch * rows * columns);
        let run = || {
            let mut out = vec![bf16::ZERO; x.len()];
            nchw_to_nhwc(&x, batch, rows, columns, &mut out);
            let mut back = vec![bf16::ZERO; x.len()];
            nhwc_to_nchw(&out, batch, rows, columns, &mut back);
            assert!(back == x);
            out
        };
        on_every_isa(run, |_, out| {
            for (i, &x) in x.iter().enumerate() {
                let (b, r, c) = (i / (rows * columns), i / columns % rows, i % columns);
                assert_eq!(out[(b * columns + c) * rows + r], x);
            }
        });
    }
    let mut out = [0.0f32; 6];
    transpose2d(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], 2, 3, &mut out);
    assert_eq!(out, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
}

#[test]
fn strided_views() {
    let x: Vec<f32> = values(2, 5000);
    let cases: [(&[usize], &[usize]); 7] = [
        (&[4, 5], &[5, 1]),
        (&[40, 50], &[1, 40]),
        (&[2, 30, 20], &[600, 1, 30]),
        (&[3, 4, 5, 2], &[1, 0, 12, 3]),
        (&[7, 3], &[10, 2]),
        (&[6, 9], &[9, 0]),
        (&[1, 1, 1], &[0, 0, 0]),
    ];
    for (shape, strides) in cases {
        let len: usize = shape.iter().product();
        let position = |mut i: usize| {
            let mut at = 0;
            for (&n, &stride) in shape.iter().zip(strides).rev() {
                at += i % n * stride;
                i /= n;
            }
            at
        };
        let run = || {
            let mut out = vec![0.0; len];
            strided_copy(&x, shape, strides, &mut out);
            out
        };
        on_every_isa(run, |_, out| assert!((0..len).all(|i| out[i] == x[position(i)]), "{shape:?} {strides:?}"));
        let (mut sums, mut want) = (vec![0.0f32; 5000], vec![0.0f32; 5000]);
        strided_scatter_add(&x[..len], shape, strides, &mut sums);
        (0..len).for_each(|i| want[position(i)] += x[i]);
        assert_eq!(sums, want);
    }
}

#[test]
fn padding_and_its_gradient() {
    let x = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0];
    let padding = Padding { top: 1, bottom: 0, left: 2, right: 1 };
    let run = |mode| {
        let mut y = vec![0.0f32; 18];
        pad2d(&x, [1, 2, 3, 1], padding, mode, &mut y);
        y
    };
    let constant = [9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 9.0, 1.0, 2.0, 3.0, 9.0, 9.0, 9.0, 4.0, 5.0, 6.0, 9.0];
    assert_eq!(run(PadMode::Constant(9.0)), constant);
    let mirrored = [6.0, 5.0, 4.0, 5.0, 6.0, 5.0, 3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 6.0, 5.0, 4.0, 5.0, 6.0, 5.0];
    assert_eq!(run(PadMode::Reflect), mirrored);
    let repeated = [1.0, 1.0, 1.0, 2.0, 3.0, 3.0, 1.0, 1.0, 1.0, 2.0, 3.0, 3.0, 4.0, 4.0, 4.0, 5.0, 6.0, 6.0];
    assert_eq!(run(PadMode::Replicate), repeated);
    let (x, shape): (Vec<f32>, _) = (values(3, 2 * 3 * 4 * 5), [2, 3, 4, 5]);
    let dy: Vec<f32> = values(4, 2 * 4 * 7 * 5);
    for mode in [PadMode::Constant(0.0), PadMode::Reflect, PadMode::Replicate] {
        let (mut y, mut dx) = (vec![0.0f32; dy.len()], vec![0.0f32; x.len()]);
        pad2d(&x, shape, padding, mode, &mut y);
        pad2d_grad(&dy, shape, padding, mode, &mut dx);
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        assert!((dot(&y, &dy) - dot(&x, &dx)).abs() < 1e-3, "{mode:?}");
    }
}
