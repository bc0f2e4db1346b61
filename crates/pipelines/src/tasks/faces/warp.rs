//! Turning a face out of a picture and laying it back.

use danqing_imaging::resample::{Kernel, resample};

use super::geometry::Similarity;

/// Pixels of three interleaved channels.
pub(super) struct Pixels {
    pub values: Vec<f32>,
    pub width: usize,
    pub height: usize,
}

/// How much of a square's side its border takes to fade into the picture.
const FEATHER: f64 = 0.1;
/// Pixels beyond what is shown that the filters look at.
const REACH: f64 = 4.0;

/// A square of `side` pixels that shows what `to_square` brings into it; beyond the picture its edge is repeated.
pub(super) fn cut(picture: &Pixels, to_square: &Similarity, side: usize) -> Pixels {
    let from_square = to_square.inverse();
    let shrink = from_square.scale();
    let shown = Part::around(&from_square, side, shrink.max(1.0) * REACH, [picture.width, picture.height]);
    let region = shown.of(picture);
    // What becomes smaller is made so by a filter that averages; the turn then happens at about the right size.
    let reduced = reduced(region, shrink);
    let zoom = [reduced.width as f64 / shown.width as f64, reduced.height as f64 / shown.height as f64];
    let mut values = Vec::with_capacity(side * side * 3);
    for v in 0..side {
        for u in 0..side {
            let [x, y] = from_square.at([u as f64, v as f64]);
            let place = |at: f64, start: usize, zoom: f64| (at - start as f64 + 0.5) * zoom - 0.5;
            values.extend(cubic(&reduced, place(x, shown.left, zoom[0]), place(y, shown.top, zoom[1])));
        }
    }
    Pixels { values, width: side, height: side }
}

/// Lays a square over the picture it was turned out of, as far as `strength` says, its border fading away.
pub(super) fn paste(picture: &mut Pixels, square: Pixels, to_square: &Similarity, strength: f32) {
    let side = square.width;
    let touched = Part::around(&to_square.inverse(), side, 1.0, [picture.width, picture.height]);
    let reduced = reduced(square, to_square.scale());
    let zoom = reduced.width as f64 / side as f64;
    for y in touched.top..touched.top + touched.height {
        for x in touched.left..touched.left + touched.width {
            let [u, v] = to_square.at([x as f64, y as f64]);
            let share = strength * cover(u, side) * cover(v, side);
            if share > 0.0 {
                let made = cubic(&reduced, (u + 0.5) * zoom - 0.5, (v + 0.5) * zoom - 0.5);
                let pixel = &mut picture.values[(y * picture.width + x) * 3..][..3];
                pixel.iter_mut().zip(made).for_each(|(old, new)| *old += share * (new - *old));
            }
        }
    }
}

/// How much of a square is seen at a place along one side: all but at its ends.
fn cover(at: f64, side: usize) -> f32 {
    let inside = (at + 0.5).min(side as f64 - 0.5 - at);
    let t = (inside / (FEATHER * side as f64)).clamp(0.0, 1.0);
    (t * t * (3.0 - 2.0 * t)) as f32
}

/// Pixels reduced by `shrink` where that is more than one.
fn reduced(pixels: Pixels, shrink: f64) -> Pixels {
    let side = |side: usize| ((side as f64 / shrink).round() as usize).max(1);
    if shrink <= 1.0 {
        return pixels;
    }
    let (width, height) = (side(pixels.width), side(pixels.height));
    let values = resample(&pixels.values, (pixels.width, pixels.height), (width, height), 3, Kernel::Bicubic);
    Pixels { values, width, height }
}

/// A part of a picture, not empty.
struct Part {
    left: usize,
    top: usize,
    width: usize,
    height: usize,
}

impl Part {
    /// What a square of `side` pixels covers, and some pixels more, inside a picture. A square beside the picture gives its nearest
    /// pixels.
    fn around(from_square: &Similarity, side: usize, margin: f64, [width, height]: [usize; 2]) -> Self {
        let end = side as f64 - 1.0;
        let corners = [[0.0, 0.0], [end, 0.0], [0.0, end], [end, end]].map(|corner| from_square.at(corner));
        let span = |axis: usize, side: usize| {
            let all = corners.iter().map(|corner| corner[axis]);
            let (low, high) = all.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
            // `as` saturates, so that places far outside become the picture's ends.
            let first = ((low - margin).floor() as usize).min(side - 1);
            let last = ((high + margin).ceil() as usize).clamp(first, side - 1);
            (first, last - first + 1)
        };
        let ((left, width), (top, height)) = (span(0, width), span(1, height));
        Self { left, top, width, height }
    }

    fn of(&self, picture: &Pixels) -> Pixels {
        let row = |y: usize| &picture.values[((self.top + y) * picture.width + self.left) * 3..][..self.width * 3];
        let values = (0..self.height).flat_map(|y| row(y).iter().copied()).collect();
        Pixels { values, width: self.width, height: self.height }
    }
}

/// The colour at a place between pixels (Catmull and Rom's cubic; the edge is repeated).
fn cubic(pixels: &Pixels, x: f64, y: f64) -> [f32; 3] {
    let axis = |at: f64, side: usize| {
        let first = at.floor();
        let t = (at - first) as f32;
        let weights = [
            ((-0.5 * t + 1.0) * t - 0.5) * t,
            (1.5 * t - 2.5) * t * t + 1.0,
            ((-1.5 * t + 2.0) * t + 0.5) * t,
            (0.5 * t - 0.5) * t * t,
        ];
        let place = |i: usize| (first as i64 - 1 + i as i64).clamp(0, side as i64 - 1) as usize;
        std::array::from_fn::<_, 4, _>(|i| (place(i), weights[i]))
    };
    let (columns, rows) = (axis(x, pixels.width), axis(y, pixels.height));
    let mut out = [0.0; 3];
    for (row, vertical) in rows {
        for (column, horizontal) in columns {
            let pixel = &pixels.values[(row * pixels.width + column) * 3..][..3];
            out.iter_mut().zip(pixel).for_each(|(sum, v)| *sum += vertical * horizontal * v);
        }
    }
    out
}
