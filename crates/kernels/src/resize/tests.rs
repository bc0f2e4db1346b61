//! Values worked out one at a time from the definitions, and gradients as adjoints: <f(x), dy> = <x, f*(dy)>.

use super::*;
use crate::samples::{assert_near, on_every_isa, values};

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn check_linear(
    what: &str,
    x: &[f32],
    out: usize,
    forward: impl Fn(&[f32], &mut [f32]),
    back: impl Fn(&[f32], &mut [f32]),
) {
    let dy: Vec<f32> = values(8, out);
    let run = || {
        let (mut y, mut dx) = (vec![0.0; out], vec![9.0; x.len()]);
        forward(x, &mut y);
        back(&dy, &mut dx);
        y.push(dot(x, &dx));
        y
    };
    on_every_isa(run, |_, y| assert_near(what, &[y[out]], &[dot(&y[..out], &dy)], 1e-5));
}

#[test]
fn interpolation_gradients_are_adjoint() {
    for (h, w, c, to) in [(3, 5, 2, [6, 10]), (4, 4, 3, [7, 3]), (1, 6, 17, [2, 2]), (5, 3, 1, [5, 3])] {
        let x: Vec<f32> = values(1, 2 * h * w * c);
        let (from, out) = ([2, h, w, c], 2 * to[0] * to[1] * c);
        check_linear("nearest", &x, out, |x, y| nearest(x, from, to, y), |dy, dx| nearest_grad(dy, from, to, dx));
        check_linear("bilinear", &x, out, |x, y| bilinear(x, from, to, y), |dy, dx| bilinear_grad(dy, from, to, dx));
    }
}

#[test]
fn interpolation_values() {
    let mut y = [0.0f32; 8];
    nearest(&[1.0f32, 2.0], [1, 1, 2, 1], [2, 4], &mut y);
    assert_eq!(y, [1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 2.0, 2.0]);
    let mut y = [0.0f32; 4];
    bilinear(&[1.0f32, 2.0], [1, 1, 2, 1], [1, 4], &mut y);
    assert_eq!(y, [1.0, 1.25, 1.75, 2.0]);
    let mut y = [0.0f32; 3];
    bilinear(&[0.0f32, 10.0, 20.0, 30.0], [1, 4, 1, 1], [3, 1], &mut y);
    assert_near("down", &y, &[1.666_666_6, 15.0, 28.333_334], 1e-6);
}

#[test]
fn shuffles_are_each_others_inverse() {
    let x: Vec<f32> = (0..2 * 3 * 2 * 8).map(|i| i as f32).collect();
    let (mut y, mut back) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    pixel_shuffle(&x, [2, 3, 2, 8], 2, &mut y);
    pixel_unshuffle(&y, [2, 6, 4, 2], 2, &mut back);
    assert_eq!(x, back);
    // Pixel (1, 0) of channel 1 comes from input channel 1·4 + 1·2 + 0 of pixel (0, 0).
    assert_eq!(y[4 * 2 + 1], 6.0);
}

#[test]
fn pooling_gradients_are_adjoint() {
    for (h, w, c, kernel, stride, padding) in
        [(4, 6, 3, [2, 2], [2, 2], [0, 0]), (5, 7, 2, [3, 3], [2, 1], [1, 1]), (6, 5, 17, [1, 3], [1, 2], [0, 0])]
    {
        let shape = PoolShape { batch: 2, height: h, width: w, channels: c, kernel, stride, padding };
        let x: Vec<f32> = values(2, 2 * h * w * c);
        let out = 2 * shape.out_height() * shape.out_width() * c;
        check_linear("mean", &x, out, |x, y| avg_pool2d(x, &shape, y), |dy, dx| avg_pool2d_grad(dy, &shape, dx));
        // A maximum is linear where the order of the values does not change: f'(x) · x = f(x).
        check_linear("max", &x, out, |x, y| max_pool2d(x, &shape, y), |dy, dx| max_pool2d_grad(&x, dy, &shape, dx));
    }
}

#[test]
fn pooling_values() {
    let shape =
        PoolShape { batch: 1, height: 2, width: 3, channels: 1, kernel: [2, 2], stride: [1, 1], padding: [1, 0] };
    let x = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0];
    let mut y = [0.0; 6];
    avg_pool2d(&x, &shape, &mut y);
    assert_eq!(y, [0.75, 1.25, 3.0, 4.0, 2.25, 2.75]);
    max_pool2d(&x, &shape, &mut y);
    assert_eq!(y, [2.0, 3.0, 5.0, 6.0, 5.0, 6.0]);
}
