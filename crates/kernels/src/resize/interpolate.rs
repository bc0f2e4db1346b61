//! Nearest and bilinear interpolation with half-pixel centres (PyTorch's `align_corners=False`).

use crate::element::Element;
use crate::elementwise::map::for_pieces;
use crate::threads::Shared;

/// Sizes of one map before and after: `[batch, height, width, channels]` and the new height and width.
fn check(from: [usize; 4], to: [usize; 2], inner: usize, outer: usize) {
    let [batch, height, width, channels] = from;
    assert!(height > 0 && width > 0 && to[0] > 0 && to[1] > 0 && channels > 0, "an empty map cannot be resized");
    assert_eq!(inner, batch * height * width * channels, "length of the map");
    assert_eq!(outer, batch * to[0] * to[1] * channels, "length of the resized map");
}

/// floor(i · from / to), in integers: exact where f32 would round.
fn nearest_sources(from: usize, to: usize) -> Vec<usize> {
    (0..to).map(|i| (i * from / to).min(from - 1)).collect()
}

/// Every new pixel shows the pixel `floor(i · old / new)`.
///
/// # Panics
/// If lengths do not fit or a size is zero.
pub fn nearest<E: Element>(x: &[E], from: [usize; 4], to: [usize; 2], out: &mut [E]) {
    check(from, to, x.len(), out.len());
    let [batch, height, width, channels] = from;
    let (rows, columns) = (nearest_sources(height, to[0]), nearest_sources(width, to[1]));
    let shared = Shared::new(out);
    for_pieces(batch * to[0], 4, &|start, len| {
        for row in start..start + len {
            let x = &x[(row / to[0] * height + rows[row % to[0]]) * width * channels..][..width * channels];
            // SAFETY: every row is visited by one task.
            let out = unsafe { shared.range(row * to[1] * channels, to[1] * channels) };
            for (out, &column) in out.chunks_exact_mut(channels).zip(&columns) {
                out.copy_from_slice(&x[column * channels..(column + 1) * channels]);
            }
        }
    });
}

/// Gradient of [`nearest`]: `dy` of the new size → `dx` of `from`.
///
/// # Panics
/// As [`nearest`].
pub fn nearest_grad<E: Element>(dy: &[E], from: [usize; 4], to: [usize; 2], dx: &mut [E]) {
    check(from, to, dx.len(), dy.len());
    let [_, height, width, _] = from;
    let whole = |sources: Vec<usize>| sources.into_iter().map(|at| [(at, 1.0), (at, 0.0)]).collect::<Vec<_>>();
    scatter(dy, from, to, &whole(nearest_sources(height, to[0])), &whole(nearest_sources(width, to[1])), dx);
}

/// The two pixels that a new pixel mixes, with their weights.
fn bilinear_sources(from: usize, to: usize) -> Vec<[(usize, f32); 2]> {
    let ratio = from as f32 / to as f32;
    let source = |i: usize| {
        let at = (ratio * (i as f32 + 0.5) - 0.5).max(0.0);
        let first = (at as usize).min(from - 1);
        let weight = at - first as f32;
        [(first, 1.0 - weight), ((first + 1).min(from - 1), weight)]
    };
    (0..to).map(source).collect()
}

/// Bilinear interpolation, half-pixel centres, the border repeated, no antialiasing.
///
/// # Panics
/// If lengths do not fit or a size is zero.
pub fn bilinear<E: Element>(x: &[E], from: [usize; 4], to: [usize; 2], out: &mut [E]) {
    check(from, to, x.len(), out.len());
    let [batch, height, width, channels] = from;
    let (rows, columns) = (bilinear_sources(height, to[0]), bilinear_sources(width, to[1]));
    let shared = Shared::new(out);
    for_pieces(batch * to[0], 4, &|start, len| {
        for row in start..start + len {
            let [(top, top_weight), (bottom, bottom_weight)] = rows[row % to[0]];
            let line = |y: usize| &x[(row / to[0] * height + y) * width * channels..][..width * channels];
            let (top, bottom) = (line(top), line(bottom));
            // SAFETY: every row is visited by one task.
            let out = unsafe { shared.range(row * to[1] * channels, to[1] * channels) };
            for (out, &[(left, left_weight), (right, right_weight)]) in out.chunks_exact_mut(channels).zip(&columns) {
                let pixel = |line: &'_ [E], x: usize| -> *const E { line[x * channels..(x + 1) * channels].as_ptr() };
                let (a, b, c, d) = (pixel(top, left), pixel(top, right), pixel(bottom, left), pixel(bottom, right));
                for (i, out) in out.iter_mut().enumerate() {
                    // SAFETY: each pointer is the start of `channels` values, checked by the slicing above.
                    let [a, b, c, d] = [a, b, c, d].map(|p| unsafe { *p.add(i) }.to_f32());
                    let upper = left_weight * a + right_weight * b;
                    let lower = left_weight * c + right_weight * d;
                    *out = E::from_f32(top_weight * upper + bottom_weight * lower);
                }
            }
        }
    });
}

/// Gradient of [`bilinear`]: `dy` of the new size → `dx` of `from`.
///
/// # Panics
/// As [`bilinear`].
pub fn bilinear_grad<E: Element>(dy: &[E], from: [usize; 4], to: [usize; 2], dx: &mut [E]) {
    check(from, to, dx.len(), dy.len());
    scatter(dy, from, to, &bilinear_sources(from[1], to[0]), &bilinear_sources(from[2], to[1]), dx);
}

/// Gives every `dy` to the pixels that it was made of.
fn scatter<E: Element>(
    dy: &[E],
    from: [usize; 4],
    to: [usize; 2],
    rows: &[[(usize, f32); 2]],
    columns: &[[(usize, f32); 2]],
    dx: &mut [E],
) {
    let [batch, height, width, channels] = from;
    let shared = Shared::new(dx);
    for_pieces(batch * height, 2, &|start, len| {
        let mut sums = vec![0.0f32; width * channels];
        for row in start..start + len {
            sums.fill(0.0);
            for (new_row, sources) in rows.iter().enumerate() {
                let weight: f32 = sources.iter().filter(|s| s.0 == row % height).map(|s| s.1).sum();
                if weight == 0.0 {
                    continue;
                }
                let dy = &dy[(row / height * to[0] + new_row) * to[1] * channels..][..to[1] * channels];
                for (dy, &[left, right]) in dy.chunks_exact(channels).zip(columns) {
                    for (column, share) in [left, right] {
                        let factor = weight * share;
                        if factor != 0.0 {
                            let sums = &mut sums[column * channels..(column + 1) * channels];
                            sums.iter_mut().zip(dy).for_each(|(sum, dy)| *sum += factor * dy.to_f32());
                        }
                    }
                }
            }
            // SAFETY: every row is visited by one task.
            let dx = unsafe { shared.range(row * width * channels, width * channels) };
            dx.iter_mut().zip(&sums).for_each(|(dx, &sum)| *dx = E::from_f32(sum));
        }
    });
}
