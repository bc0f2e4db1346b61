//! The convolutions again, naively and with sums in double precision: what the fast ones are held against.

use super::Conv2dShape;
use crate::element::Element;
use crate::gemm::Epilogue;

/// Calls `visit(output pixel, input pixel, tap)` for every tap of every output pixel that lies inside the input.
fn each_tap(shape: &Conv2dShape, mut visit: impl FnMut(usize, usize, usize)) {
    let (out_height, out_width) = (shape.out_height(), shape.out_width());
    for b in 0..shape.batch {
        for y in 0..out_height {
            for x in 0..out_width {
                for tap in 0..shape.taps() {
                    let (ky, kx) = (tap / shape.kernel[1], tap % shape.kernel[1]);
                    let iy = (y * shape.stride[0] + ky * shape.dilation[0]).checked_sub(shape.padding[0]);
                    let ix = (x * shape.stride[1] + kx * shape.dilation[1]).checked_sub(shape.padding[2]);
                    if let (Some(iy), Some(ix)) = (iy, ix)
                        && iy < shape.height
                        && ix < shape.width
                    {
                        visit((b * out_height + y) * out_width + x, (b * shape.height + iy) * shape.width + ix, tap);
                    }
                }
            }
        }
    }
}

/// `w[o][i][tap]` of every pair of channels of one group: calls `visit(o, i, index of w without the tap)`.
fn each_pair(shape: &Conv2dShape, mut visit: impl FnMut(usize, usize, usize)) {
    let (c_in, c_out) = (shape.c_in / shape.groups, shape.c_out / shape.groups);
    for o in 0..shape.c_out {
        for i in 0..c_in {
            visit(o, o / c_out * c_in + i, (o * c_in + i) * shape.taps());
        }
    }
}

pub(crate) fn conv2d<E: Element>(x: &[E], shape: &Conv2dShape, w: &[f32], out: &mut [E], epilogue: &Epilogue<'_, E>) {
    let mut sums = vec![0f64; shape.output_len()];
    each_tap(shape, |to, from, tap| {
        let (x, sums) = (&x[from * shape.c_in..], &mut sums[to * shape.c_out..]);
        each_pair(shape, |o, i, at| sums[o] += f64::from(x[i].to_f32()) * f64::from(w[at + tap]));
    });
    finish(&sums, shape.c_out, out, epilogue);
}

pub(crate) fn conv_transpose2d<E: Element>(
    x: &[E],
    shape: &Conv2dShape,
    w: &[f32],
    out: &mut [E],
    epilogue: &Epilogue<'_, E>,
) {
    let mut sums = vec![0f64; shape.input_len()];
    each_tap(shape, |from, to, tap| {
        let (x, sums) = (&x[from * shape.c_out..], &mut sums[to * shape.c_in..]);
        each_pair(shape, |o, i, at| sums[i] += f64::from(x[o].to_f32()) * f64::from(w[at + tap]));
    });
    finish(&sums, shape.c_in, out, epilogue);
}

pub(crate) fn conv2d_grad_weight<E: Element>(x: &[E], dy: &[E], shape: &Conv2dShape, dw: &mut [f32], accumulate: bool) {
    let mut sums = vec![0f64; dw.len()];
    each_tap(shape, |to, from, tap| {
        let (x, dy) = (&x[from * shape.c_in..], &dy[to * shape.c_out..]);
        each_pair(shape, |o, i, at| sums[at + tap] += f64::from(x[i].to_f32()) * f64::from(dy[o].to_f32()));
    });
    for (target, sum) in dw.iter_mut().zip(sums) {
        *target = if accumulate { *target + sum as f32 } else { sum as f32 };
    }
}

fn finish<E: Element>(sums: &[f64], n: usize, out: &mut [E], epilogue: &Epilogue<'_, E>) {
    for (row, (sums, out)) in sums.chunks_exact(n.max(1)).zip(out.chunks_exact_mut(n.max(1))).enumerate() {
        epilogue.finish_row(row, sums, out);
    }
}
