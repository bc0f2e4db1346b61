//! Both norms on every instruction set against [`super::scalar`]; gradients against finite differences of it.

use super::*;
use crate::element::Element;
use crate::gemm::Activation;
use crate::samples::{assert_near, on_every_isa, rounding, values, widen};
use half::bf16;

const EPSILON: f64 = 1e-5;

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| f64::from(x)).collect()
}

fn activate(activation: Activation, z: f64) -> f64 {
    match activation {
        Activation::Silu => z / (1.0 + (-z).exp()),
        Activation::Tanh => z.tanh(),
        _ => z,
    }
}

/// Value of Σ dy · activation(x̂ · gamma + beta).
fn loss(x: &[f64], dy: &[f64], gamma: &[f64], beta: &[f64], sets: &[Vec<usize>], activation: Activation) -> f64 {
    let c = gamma.len();
    let normal = scalar::normalise(x, sets, EPSILON);
    normal
        .iter()
        .zip(dy)
        .enumerate()
        .map(|(i, (n, dy))| dy * activate(activation, n * gamma[i % c] + beta[i % c]))
        .sum()
}

/// Central differences of `f` at every element of `at`.
fn differences(at: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f32> {
    let mut x = at.to_vec();
    let slope = |i: usize| {
        let middle = x[i];
        let mut value = |d: f64| {
            x[i] = middle + d;
            f(&x)
        };
        let slope = (value(1e-5) - value(-1e-5)) / 2e-5;
        x[i] = middle;
        slope as f32
    };
    (0..at.len()).map(slope).collect()
}

fn check_group<E: Element>(
    batch: usize,
    pixels: usize,
    channels: usize,
    groups: usize,
    activation: Activation,
    slopes: bool,
) {
    let n = batch * pixels * channels;
    let (x, dy): (Vec<E>, Vec<E>) = (values(1, n), values(2, n));
    let (gamma, beta): (Vec<f32>, Vec<f32>) = (values(3, channels), values(4, channels));
    let norm =
        GroupNorm { batch, pixels, channels, groups, gamma: &gamma, beta: &beta, epsilon: EPSILON as f32, activation };
    let sets = scalar::groups(batch, pixels, channels, groups);
    let (x64, dy64, gamma64, beta64) = (wide(&widen(&x)), wide(&widen(&dy)), wide(&gamma), wide(&beta));
    let normal = scalar::normalise(&x64, &sets, EPSILON);
    let value = |(i, n): (usize, &f64)| activate(activation, n * gamma64[i % channels] + beta64[i % channels]) as f32;
    let want: Vec<f32> = normal.iter().enumerate().map(value).collect();
    let what = format!("group norm {batch}x{pixels}x{channels}/{groups} {activation:?}");
    let run = || {
        let mut y = vec![E::ZERO; n];
        group_norm(&x, &norm, &mut y, None);
        y
    };
    let bound = rounding::<E>().max(1e-5);
    on_every_isa(run, |isa, got| assert_near(&format!("{what} {isa:?}"), got, &want, bound));
    if !slopes {
        return;
    }
    let dx_want = differences(&x64, |x| loss(x, &dy64, &gamma64, &beta64, &sets, activation));
    let dgamma_want = differences(&gamma64, |gamma| loss(&x64, &dy64, gamma, &beta64, &sets, activation));
    let dbeta_want = differences(&beta64, |beta| loss(&x64, &dy64, &gamma64, beta, &sets, activation));
    let run = || {
        let (mut y, mut dx, mut stats) = (vec![E::ZERO; n], vec![E::ZERO; n], vec![0.0; batch * groups * 2]);
        let (mut dgamma, mut dbeta) = (vec![0.0; channels], vec![0.0; channels]);
        group_norm(&x, &norm, &mut y, Some(&mut stats));
        group_norm_grad(&x, &dy, &norm, &stats, &mut dx, &mut dgamma, &mut dbeta);
        [widen(&dx), dgamma, dbeta].concat()
    };
    let want = [dx_want, dgamma_want, dbeta_want].concat();
    on_every_isa(run, |isa, got| assert_near(&format!("{what} gradient {isa:?}"), got, &want, bound.max(1e-4)));
}

#[test]
fn group_norm_matches_the_formula() {
    for (pixels, channels, groups) in [(1, 4, 2), (5, 6, 3), (9, 40, 8), (7, 32, 32), (3, 70, 7)] {
        for activation in [Activation::None, Activation::Silu, Activation::Tanh] {
            check_group::<f32>(2, pixels, channels, groups, activation, pixels > 1);
            check_group::<bf16>(2, pixels, channels, groups, activation, pixels > 1);
        }
    }
    check_group::<f32>(2, 700, 160, 32, Activation::Silu, false);
}

#[test]
fn a_large_mean_does_not_drown_the_variance() {
    let x: Vec<f32> = values::<f32>(5, 4096 * 8).iter().map(|x| 1000.0 + 0.25 * x).collect();
    let (gamma, beta) = ([1.0; 8], [0.0; 8]);
    let norm = GroupNorm {
        batch: 1,
        pixels: 4096,
        channels: 8,
        groups: 2,
        gamma: &gamma,
        beta: &beta,
        epsilon: 1e-5,
        activation: Activation::None,
    };
    let want = scalar::normalise(&wide(&x), &scalar::groups(1, 4096, 8, 2), 1e-5);
    let mut y = vec![0.0f32; x.len()];
    group_norm(&x, &norm, &mut y, None);
    assert_near("large mean", &y, &want.iter().map(|&v| v as f32).collect::<Vec<_>>(), 2e-3);
}

fn check_layer<E: Element>(rows: usize, columns: usize) {
    let (x, dy): (Vec<E>, Vec<E>) = (values(6, rows * columns), values(7, rows * columns));
    let (gamma, beta): (Vec<f32>, Vec<f32>) = (values(8, columns), values(9, columns));
    let sets: Vec<Vec<usize>> = (0..rows).map(|r| (r * columns..(r + 1) * columns).collect()).collect();
    let (x64, dy64, gamma64, beta64) = (wide(&widen(&x)), wide(&widen(&dy)), wide(&gamma), wide(&beta));
    let none = Activation::None;
    let normal = scalar::normalise(&x64, &sets, EPSILON);
    let y: Vec<f32> =
        normal.iter().enumerate().map(|(i, n)| (n * gamma64[i % columns] + beta64[i % columns]) as f32).collect();
    let dx = differences(&x64, |x| loss(x, &dy64, &gamma64, &beta64, &sets, none));
    let dgamma = differences(&gamma64, |gamma| loss(&x64, &dy64, gamma, &beta64, &sets, none));
    let dbeta = differences(&beta64, |beta| loss(&x64, &dy64, &gamma64, beta, &sets, none));
    let want = [y, dx, dgamma, dbeta].concat();
    let run = || {
        let (mut y, mut dx, mut stats) = (vec![E::ZERO; x.len()], vec![E::ZERO; x.len()], vec![0.0; rows * 2]);
        let (mut dgamma, mut dbeta) = (vec![0.0; columns], vec![0.0; columns]);
        layer_norm(&x, &gamma, &beta, EPSILON as f32, &mut y, Some(&mut stats));
        layer_norm_grad(&x, &dy, &gamma, &stats, &mut dx, &mut dgamma, &mut dbeta);
        [widen(&y), widen(&dx), dgamma, dbeta].concat()
    };
    let bound = rounding::<E>().max(1e-4);
    on_every_isa(run, |isa, got| assert_near(&format!("layer norm {rows}x{columns} {isa:?}"), got, &want, bound));
}

#[test]
fn layer_norm_matches_the_formula() {
    for columns in [2, 7, 16, 33, 70] {
        check_layer::<f32>(5, columns);
        check_layer::<bf16>(5, columns);
    }
}
