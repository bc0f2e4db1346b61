//! Convolutions against the naive ones, and the gradients against the definition of an adjoint.

use super::*;
use crate::gemm::tests::{distance, tolerance, values};
use crate::gemm::{Activation, Precision};
use crate::isa::{available, with_isa};
use crate::threads::set_threads;
use half::bf16;

fn shapes() -> Vec<Conv2dShape> {
    let base = Conv2dShape::same;
    vec![
        base(1, 1, 1, 1, 1, 1),
        base(2, 5, 7, 3, 5, 3),
        base(1, 8, 8, 4, 20, 3),
        base(2, 9, 16, 32, 33, 3),
        base(1, 17, 5, 40, 16, 3),
        base(1, 16, 16, 64, 48, 3),
        base(2, 6, 6, 33, 3, 3),
        base(1, 9, 9, 3, 8, 7),
        base(2, 4, 6, 32, 64, 1),
        Conv2dShape { stride: [2, 2], ..base(2, 8, 8, 16, 24, 3) },
        Conv2dShape { stride: [2, 2], padding: [0, 1, 0, 1], ..base(1, 9, 8, 32, 32, 3) },
        Conv2dShape { stride: [2, 2], padding: [0; 4], ..base(1, 9, 7, 32, 8, 1) },
        Conv2dShape { stride: [2, 1], padding: [1, 2, 0, 3], ..base(1, 7, 9, 5, 6, 4) },
        Conv2dShape { stride: [3, 2], ..base(2, 10, 11, 8, 9, 5) },
        Conv2dShape { dilation: [2, 3], padding: [2, 2, 3, 3], ..base(1, 9, 11, 6, 7, 3) },
        Conv2dShape { padding: [0; 4], ..base(1, 8, 9, 32, 40, 3) },
        Conv2dShape { padding: [4; 4], ..base(1, 3, 2, 4, 4, 3) },
        Conv2dShape { groups: 2, ..base(1, 6, 7, 8, 12, 3) },
        Conv2dShape { groups: 6, ..base(2, 5, 5, 6, 6, 3) },
        Conv2dShape { kernel: [16, 16], stride: [16, 16], padding: [0; 4], ..base(1, 32, 48, 3, 24, 1) },
        Conv2dShape { kernel: [4, 4], stride: [2, 2], padding: [1; 4], ..base(1, 8, 10, 12, 10, 1) },
    ]
}

fn check<E: Element>(shape: &Conv2dShape) {
    let (x, w) = (values::<E>(shape.input_len(), 1), values::<E>(shape.weight_len(), 2));
    let dy = values::<E>(shape.output_len(), 3);
    let exact: Vec<f32> = w.iter().map(|w| w.to_f32()).collect();
    let bias = values::<f32>(shape.c_out, 4);
    let image = shape.out_height() * shape.out_width();
    let row_bias = values::<f32>(shape.batch * shape.c_out, 5);
    let epilogue = Epilogue {
        bias: Some(&bias),
        row_bias: Some((&row_bias, image)),
        residual: Some(&dy),
        activation: Activation::Silu,
    };
    let packed = PackedConv::pack(&w, shape, Precision::of::<E>());
    let turned = PackedConv::pack_grad_input(&w, shape, Precision::of::<E>());
    assert!(packed.unpack() == exact && turned.unpack() == exact, "{shape:?}");

    let mut out = vec![E::ZERO; shape.output_len()];
    scalar::conv2d(&x, shape, &exact, &mut out, &epilogue);
    let mut dx = vec![E::ZERO; shape.input_len()];
    scalar::conv_transpose2d(&dy, shape, &exact, &mut dx, &Epilogue::default());
    let start = values::<f32>(shape.weight_len(), 6);
    let mut dw = start.clone();
    scalar::conv2d_grad_weight(&x, &dy, shape, &mut dw, true);

    for &isa in available() {
        with_isa(isa, || {
            let mut got = vec![E::ZERO; out.len()];
            conv2d(&x, shape, &packed, &mut got, &epilogue);
            let error = distance(&got, &out);
            assert!(error < tolerance::<E>(), "forward {isa:?} {shape:?} {:?}: {error}", E::KIND);
            let mut got = vec![E::ZERO; dx.len()];
            conv2d_grad_input(&dy, shape, &turned, &mut got);
            let error = distance(&got, &dx);
            assert!(error < tolerance::<E>(), "grad_input {isa:?} {shape:?} {:?}: {error}", E::KIND);
            let mut got = start.clone();
            conv2d_grad_weight(&x, &dy, shape, &mut got, true);
            let error: f64 = distance(&got, &dw);
            assert!(error < 1e-5, "grad_weight {isa:?} {shape:?} {:?}: {error}", E::KIND);
        });
    }
}

#[test]
fn convolutions_equal_the_naive_ones() {
    for shape in shapes() {
        assert_eq!(shape.check(), Ok(()), "{shape:?}");
        check::<f32>(&shape);
        check::<bf16>(&shape);
    }
}

/// `<conv(x), dy> = <x, grad_input(dy)> = <w, grad_weight(x, dy)>`: holds for the naive ones too, so it checks them.
#[test]
fn gradients_are_adjoint() {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    for shape in shapes() {
        let (x, w) = (values::<f32>(shape.input_len(), 7), values::<f32>(shape.weight_len(), 8));
        let dy = values::<f32>(shape.output_len(), 9);
        let mut y = vec![0.0; shape.output_len()];
        conv2d(&x, &shape, &PackedConv::pack(&w, &shape, Precision::F32), &mut y, &Epilogue::default());
        let mut dx = vec![0.0; shape.input_len()];
        conv2d_grad_input(&dy, &shape, &PackedConv::pack_grad_input(&w, &shape, Precision::F32), &mut dx);
        let mut dw = vec![0.0; shape.weight_len()];
        conv2d_grad_weight(&x, &dy, &shape, &mut dw, false);
        let (a, b, c) = (dot(&y, &dy), dot(&x, &dx), dot(&w, &dw));
        let scale = dot(&y, &y).sqrt() * dot(&dy, &dy).sqrt();
        assert!((a - b).abs() < 1e-5 * scale && (a - c).abs() < 1e-5 * scale, "{shape:?}: {a} {b} {c}");
    }
}

fn run_all<E: Element>(shape: &Conv2dShape) -> (Vec<E>, Vec<E>, Vec<f32>) {
    let (x, w) = (values::<E>(shape.input_len(), 1), values::<E>(shape.weight_len(), 2));
    let dy = values::<E>(shape.output_len(), 3);
    let (mut out, mut dx) = (vec![E::ZERO; shape.output_len()], vec![E::ZERO; shape.input_len()]);
    let mut dw = vec![0.0; shape.weight_len()];
    conv2d(&x, shape, &PackedConv::pack(&w, shape, Precision::of::<E>()), &mut out, &Epilogue::default());
    conv2d_grad_input(&dy, shape, &PackedConv::pack_grad_input(&w, shape, Precision::of::<E>()), &mut dx);
    conv2d_grad_weight(&x, &dy, shape, &mut dw, false);
    (out, dx, dw)
}

#[test]
fn equal_for_every_thread_count() {
    for &isa in available() {
        with_isa(isa, || {
            for shape in [Conv2dShape::same(3, 16, 16, 40, 24, 3), Conv2dShape::same(1, 12, 12, 3, 35, 3)] {
                let run = |threads| {
                    set_threads(threads);
                    (run_all::<f32>(&shape), run_all::<bf16>(&shape))
                };
                let one = run(1);
                assert!([2, 3, 5].into_iter().all(|threads| run(threads) == one), "{isa:?} {shape:?}");
            }
        });
    }
}

#[test]
fn bad_shapes_are_refused() {
    let good = Conv2dShape::same(1, 8, 8, 4, 6, 3);
    assert_eq!(Conv2dShape { stride: [0, 1], ..good }.check(), Err(ConvShapeError::Zero));
    assert!(matches!(Conv2dShape { groups: 4, ..good }.check(), Err(ConvShapeError::Groups { .. })));
    assert!(matches!(Conv2dShape { dilation: [9, 9], ..good }.check(), Err(ConvShapeError::TooSmall { .. })));
    assert_eq!(Conv2dShape { height: usize::MAX / 2, ..good }.check(), Err(ConvShapeError::TooLarge));
    assert_eq!(Conv2dShape { batch: 1 << 60, ..good }.check(), Err(ConvShapeError::TooLarge));
}

fn plane_of<E: Element>(values: &[E], [batch, height, width, channels]: [usize; 4]) -> Plane<E> {
    let mut plane = Plane::zeroed(batch, height, width, channels);
    let row = width * channels;
    plane.fill_rows(0..height, &|image, y, out| out.copy_from_slice(&values[(image * height + y) * row..][..row]));
    plane
}

fn values_of<E: Element>(plane: &Plane<E>, from: usize, count: usize) -> Vec<E> {
    let [batch, height, _, channels] = plane.shape();
    let rows = (0..batch * height).map(|i| plane.row(i / height, i % height));
    rows.flat_map(|row| row.chunks_exact(channels).flat_map(move |pixel| pixel[from..from + count].iter().copied()))
        .collect()
}

fn every_end<'a, E: Element>(bias: &'a [f32], slopes: &'a [f32], added: &'a Plane<E>, gate: bool) -> PlaneEnds<'a, E> {
    let residual = Some(PlaneResidual::Of(added, 0));
    PlaneEnds { bias: Some(bias), slopes: Some(slopes), gain: 0.5, residual, gate, ..PlaneEnds::default() }
}

/// In two strips, the lower first, into channels of a wider map, with slopes, a gain and a residual.
fn check_planes<E: Element>(shape: &Conv2dShape) {
    let &Conv2dShape { batch, height, width, c_in, c_out, .. } = shape;
    let (x, w) = (values::<E>(shape.input_len(), 1), values::<E>(shape.weight_len(), 2));
    let (bias, slopes) = (values::<f32>(c_out, 4), values::<f32>(c_out, 5));
    let residual = values::<E>(shape.output_len(), 6);
    let exact: Vec<f32> = w.iter().map(|w| w.to_f32()).collect();
    let mut sums = vec![0f32; shape.output_len()];
    let wide: Vec<f32> = x.iter().map(|x| x.to_f32()).collect();
    scalar::conv2d(&wide, shape, &exact, &mut sums, &Epilogue { bias: Some(&bias), ..Epilogue::default() });
    let finished = |gate: bool| -> Vec<E> {
        let each = sums.iter().zip(&residual).enumerate().map(|(i, (&v, r))| {
            let v = 0.5 * if v > 0.0 { v } else { v * slopes[i % c_out] };
            let sum = v + r.to_f32();
            E::from_f32(if gate { sum * (1.0 / (1.0 + (-v).exp()) - 0.5) } else { sum })
        });
        each.collect()
    };
    let packed = PackedConv::pack(&w, shape, Precision::of::<E>());
    let (map, added) = (plane_of(&x, [batch, height, width, c_in]), plane_of(&residual, [batch, height, width, c_out]));
    for &isa in available() {
        with_isa(isa, || {
            for gate in [false, true] {
                let ends = every_end(&bias, &slopes, &added, gate);
                let mut out = Plane::<E>::zeroed(batch, height, width, c_out + 3);
                let middle = height / 2;
                for rows in [middle..height, 0..middle] {
                    conv2d_plane(&[&map], &packed, &mut out, 2, rows, &ends);
                }
                let error = distance(&values_of(&out, 2, c_out), &finished(gate));
                assert!(error < tolerance::<E>(), "{isa:?} {shape:?} {:?} {gate}: {error}", E::KIND);
                let beside = [values_of(&out, 0, 2), values_of(&out, c_out + 2, 1)].concat();
                assert!(beside.iter().all(|v| v.to_f32() == 0.0), "{isa:?} {shape:?}: other channels were written");
            }
        });
    }
}

#[test]
fn convolutions_between_planes_equal_the_naive_ones() {
    let base = Conv2dShape::same;
    let sizes = [
        base(1, 1, 1, 1, 1, 1),
        base(2, 5, 7, 3, 5, 3),
        base(1, 8, 8, 12, 20, 3),
        base(2, 9, 16, 32, 33, 3),
        base(1, 7, 33, 48, 48, 3),
        base(1, 6, 40, 64, 12, 1),
    ];
    for shape in sizes {
        check_planes::<f32>(&shape);
        check_planes::<bf16>(&shape);
    }
}

/// In f64 what `scalar::conv2d` is in f32.
fn exactly(x: &[f32], w: &[f32], shape: &Conv2dShape) -> Vec<f64> {
    let &Conv2dShape { batch, height, width, c_in, c_out, .. } = shape;
    let mut out = vec![0f64; shape.output_len()];
    for (at, out) in out.iter_mut().enumerate() {
        let (o, x0, y0, image) =
            (at % c_out, at / c_out % width, at / c_out / width % height, at / c_out / width / height);
        assert!(image < batch);
        for (y, x1, t) in (0..9).map(|t| (y0 + t / 3, x0 + t % 3, t)) {
            if (1..=height).contains(&y) && (1..=width).contains(&x1) {
                let pixel = ((image * height + y - 1) * width + x1 - 1) * c_in;
                *out += (0..c_in).map(|i| f64::from(x[pixel + i]) * f64::from(w[(o * c_in + i) * 9 + t])).sum::<f64>();
            }
        }
    }
    out
}

#[test]
fn filtered_convolutions_are_near_the_exact_sums() {
    for (batch, height, width, c_in, c_out) in
        [(1, 1, 1, 16, 16), (2, 9, 7, 20, 17), (1, 4, 133, 64, 48), (1, 23, 40, 48, 64), (1, 6, 5, 33, 50)]
    {
        let shape = Conv2dShape::same(batch, height, width, c_in, c_out, 3);
        let (x, w) = (values::<f32>(shape.input_len(), 1), values::<f32>(shape.weight_len(), 2));
        let want = exactly(&x, &w, &shape);
        let largest = want.iter().fold(0f64, |m, v| m.max(v.abs()));
        let map = plane_of(&x, [batch, height, width, c_in]);
        let pack = PackedConv::pack_filtered(&w, c_in, c_out);
        // In two strips, the lower of which begins at row `cut`.
        let made = |cut: usize| {
            let mut out = Plane::<f32>::zeroed(batch, height, width, c_out + 3);
            for rows in [0..cut, cut..height] {
                conv2d_plane(&[&map], &pack, &mut out, 3, rows, &PlaneEnds::default());
            }
            values_of(&out, 3, c_out)
        };
        let mut whole = Vec::new();
        for &isa in available() {
            with_isa(isa, || {
                whole = made(height);
                let middle = (height / 2).next_multiple_of(ROWS_ALIGNMENT).min(height);
                assert_eq!(whole, made(middle), "{shape:?} in two strips");
                // Rows that begin or end off the grid differ by rounding only.
                for values in [&whole, &made(height / 3)] {
                    for (i, (&v, &want)) in values.iter().zip(&want).enumerate() {
                        // Sums at the points are up to some ten times as large as the result, each rounded to 2^-24.
                        let off = (f64::from(v) - want).abs();
                        assert!(off < 4e-6 * largest, "{isa:?} {shape:?} at {i}: {v} for {want}, {:e}", off / largest);
                    }
                }
            });
        }
    }
}

#[test]
fn filtered_convolutions_end_as_others_do() {
    let shape = Conv2dShape::same(1, 10, 18, 32, 32, 3);
    let (x, w) = (values::<f32>(shape.input_len(), 1), values::<f32>(shape.weight_len(), 2));
    let (bias, slopes) = (values::<f32>(32, 4), values::<f32>(32, 5));
    let map = plane_of(&x, [1, 10, 18, 32]);
    let added = plane_of(&values::<f32>(shape.output_len(), 6), [1, 10, 18, 32]);
    for gate in [false, true] {
        let ends = every_end(&bias, &slopes, &added, gate);
        let made = |pack: &PackedConv| {
            let mut out = Plane::<f32>::stale(1, 10, 18, 32);
            conv2d_plane(&[&map], pack, &mut out, 0, 0..10, &ends);
            values_of(&out, 0, 32)
        };
        let plain = made(&PackedConv::pack(&w, &shape, Precision::F32));
        let filtered = made(&PackedConv::pack_filtered(&w, 32, 32));
        assert!(plain.iter().zip(&filtered).all(|(a, b)| (a - b).abs() < 2e-4 * (1.0 + a.abs())), "gate {gate}");
    }
}
