//! Pixel work of the scene painter: area shrinking, a chain of smaller copies per sprite, and blending a turned sprite onto a picture.

/// Shrinks a square straight-RGBA picture by area averaging (weights by alpha, so no dark fringes).
/// Equal sizes give a copy; `to` must not exceed `from`.
pub fn shrink(rgba: &[u8], from: usize, to: usize) -> Vec<u8> {
    if from == to {
        return rgba.to_vec();
    }
    let taps = taps(from, to);
    // Premultiplied, rows first, then columns.
    let mut rows = vec![[0.0_f32; 4]; from * to];
    for y in 0..from {
        for (x, (start, weights)) in taps.iter().enumerate() {
            let mut sum = [0.0; 4];
            for (k, weight) in weights.iter().enumerate() {
                let pixel = &rgba[(y * from + start + k) * 4..][..4];
                let alpha = f32::from(pixel[3]) * weight;
                for c in 0..3 {
                    sum[c] += f32::from(pixel[c]) * alpha;
                }
                sum[3] += alpha;
            }
            rows[y * to + x] = sum;
        }
    }
    let mut out = Vec::with_capacity(to * to * 4);
    for (start, weights) in &taps {
        for x in 0..to {
            let mut sum = [0.0; 4];
            for (k, weight) in weights.iter().enumerate() {
                let pixel = rows[(start + k) * to + x];
                for c in 0..4 {
                    sum[c] += pixel[c] * weight;
                }
            }
            let alpha = sum[3].max(1e-6);
            out.extend([0, 1, 2].map(|c| (sum[c] / alpha + 0.5) as u8));
            out.push((sum[3] + 0.5) as u8);
        }
    }
    out
}

/// For each output position: the first input and the weights (sum 1) of the inputs that it covers.
fn taps(from: usize, to: usize) -> Vec<(usize, Vec<f32>)> {
    let step = from as f32 / to as f32;
    (0..to)
        .map(|i| {
            let (low, high) = (i as f32 * step, ((i + 1) as f32 * step).min(from as f32));
            let start = low as usize;
            let end = (high.ceil() as usize).clamp(start + 1, from);
            let weights =
                (start..end).map(|k| (high.min((k + 1) as f32) - low.max(k as f32)).max(0.0) / step).collect();
            (start, weights)
        })
        .collect()
}

/// A sprite at one size: premultiplied RGBA with a transparent border of one pixel.
#[derive(Debug)]
struct Level {
    side: usize,
    pixels: Vec<[u8; 4]>,
}

impl Level {
    fn new(rgba: &[u8], side: usize) -> Self {
        let stride = side + 2;
        let mut pixels = vec![[0; 4]; stride * stride];
        for (i, pixel) in rgba.chunks_exact(4).enumerate() {
            let scaled = |v: u8| ((u32::from(v) * u32::from(pixel[3]) + 127) / 255) as u8;
            pixels[(i / side + 1) * stride + i % side + 1] =
                [scaled(pixel[0]), scaled(pixel[1]), scaled(pixel[2]), pixel[3]];
        }
        Self { side, pixels }
    }
}

/// A sprite at falling sizes, so that painting never shrinks by more than a third.
#[derive(Debug)]
pub struct Chain {
    levels: Vec<Level>,
}

impl Chain {
    /// From a straight-RGBA square of `side` pixels.
    pub fn new(rgba: &[u8], side: usize) -> Self {
        let mut levels = vec![Level::new(rgba, side)];
        let mut half = side;
        while half >= 16 {
            for size in [half * 3 / 4, half / 2] {
                levels.push(Level::new(&shrink(rgba, side, size), size));
            }
            half /= 2;
        }
        Self { levels }
    }

    fn level(&self, size: f32) -> &Level {
        let fitting = self.levels.iter().rposition(|level| level.side as f32 >= size);
        &self.levels[fitting.unwrap_or(0)]
    }
}

/// Where a sprite goes, in pixels of the picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placement {
    /// Centre, x and y.
    pub centre: [f32; 2],
    /// Side of the sprite's square.
    pub size: f32,
    /// Clockwise turn in radians.
    pub turn: f32,
    /// Mirrored left to right.
    pub mirrored: bool,
}

/// Blends a sprite onto a square RGB picture of `side` pixels; parts outside are cut.
pub fn paint(picture: &mut [u8], side: usize, sprite: &Chain, at: &Placement) {
    let level = sprite.level(at.size);
    let stride = level.side + 2;
    let (sin, cos) = at.turn.sin_cos();
    let reach = at.size / 2.0 * (sin.abs() + cos.abs()) + 1.0;
    let clip = |v: f32| v.clamp(0.0, side as f32) as usize;
    let [left, right] = [at.centre[0] - reach, at.centre[0] + reach + 1.0].map(clip);
    let [top, bottom] = [at.centre[1] - reach, at.centre[1] + reach + 1.0].map(clip);
    // 16.16 fixed point: padded level coordinates of picture coordinates.
    let scale = level.side as f32 / at.size.max(1.0) * 65536.0;
    let flip = if at.mirrored { -1.0 } else { 1.0 };
    let (ux, uy) = ((scale * cos * flip) as i64, (scale * sin * flip) as i64);
    let (vx, vy) = ((-scale * sin) as i64, (scale * cos) as i64);
    let middle = ((level.side as i64 + 2) << 15) - 32768;
    let limit = (level.side as i64 + 1) << 16;
    for y in top..bottom {
        let dy = ((y as f32 + 0.5 - at.centre[1]) * 256.0) as i64;
        let dx = ((left as f32 + 0.5 - at.centre[0]) * 256.0) as i64;
        let mut u = middle + ((ux * dx + uy * dy) >> 8);
        let mut v = middle + ((vx * dx + vy * dy) >> 8);
        for pixel in picture[(y * side + left) * 3..(y * side + right) * 3].chunks_exact_mut(3) {
            if (0..limit).contains(&u) && (0..limit).contains(&v) {
                let (fu, fv) = ((u as u32 >> 8) & 255, (v as u32 >> 8) & 255);
                let base = (v >> 16) as usize * stride + (u >> 16) as usize;
                let [p, q] = [level.pixels[base], level.pixels[base + 1]];
                let [r, s] = [level.pixels[base + stride], level.pixels[base + stride + 1]];
                let weights = [(256 - fu) * (256 - fv), fu * (256 - fv), (256 - fu) * fv, fu * fv];
                let mixed = |c: usize| {
                    u32::from(p[c]) * weights[0]
                        + u32::from(q[c]) * weights[1]
                        + u32::from(r[c]) * weights[2]
                        + u32::from(s[c]) * weights[3]
                };
                let alpha = mixed(3) >> 8;
                if alpha > 0 {
                    let rest = 255 * 256 - alpha;
                    for (c, value) in pixel.iter_mut().enumerate() {
                        let below = (u32::from(*value) * rest + 127 * 256) / 255;
                        *value = (((mixed(c) >> 8) + below + 128) >> 8).min(255) as u8;
                    }
                }
            }
            u += ux;
            v += vx;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinking_keeps_flat_colour_and_coverage() {
        let mut rgba = Vec::new();
        for i in 0..128 * 128 {
            let opaque = i % 128 < 64;
            rgba.extend([200, 100, 50, if opaque { 255 } else { 0 }]);
        }
        for to in [96, 64, 48, 7] {
            let small = shrink(&rgba, 128, to);
            assert_eq!(small.len(), to * to * 4);
            let coverage: u32 = small.chunks(4).map(|p| u32::from(p[3])).sum();
            let share = coverage as f32 / (255 * to * to) as f32;
            assert!((share - 0.5).abs() < 0.01, "{to}: {share}");
            assert!(small.chunks(4).all(|p| p[3] == 0 || p[..3] == [200, 100, 50]));
        }
    }

    #[test]
    fn an_upright_sprite_lands_exactly() {
        let rgba = [10, 20, 30, 255].repeat(64 * 64);
        let chain = Chain::new(&rgba, 64);
        let mut picture = vec![250; 64 * 64 * 3];
        let mut at = Placement { centre: [20.0, 40.0], size: 16.0, turn: 0.0, mirrored: false };
        paint(&mut picture, 64, &chain, &at);
        let dark = |picture: &[u8]| {
            (0..64 * 64).filter(|i| picture[i * 3] < 100).map(|i| (i % 64, i / 64)).collect::<Vec<_>>()
        };
        let found = dark(&picture);
        assert_eq!(found.len(), 256);
        assert_eq!((found[0], found[255]), ((12, 32), (27, 47)));
        assert_eq!(picture[(40 * 64 + 20) * 3..][..3], [10, 20, 30]);
        // Turned by a quarter it covers the same square; out of the picture it is cut without a panic.
        at.turn = std::f32::consts::FRAC_PI_2;
        let mut turned = vec![250; 64 * 64 * 3];
        paint(&mut turned, 64, &chain, &at);
        assert!(dark(&turned).len().abs_diff(256) <= 32);
        for centre in [[-50.0, 3.0], [64.0, 64.0], [1e9, -1e9]] {
            paint(&mut turned, 64, &chain, &Placement { centre, ..at });
        }
    }

    #[test]
    fn mirroring_swaps_sides() {
        let mut rgba = Vec::new();
        for i in 0..64 * 64 {
            rgba.extend(if i % 64 < 32 { [255, 0, 0, 255] } else { [0, 0, 255, 255] });
        }
        let chain = Chain::new(&rgba, 64);
        let draw = |mirrored| {
            let mut picture = vec![0; 64 * 64 * 3];
            let at = Placement { centre: [32.0, 32.0], size: 50.0, turn: 0.0, mirrored };
            paint(&mut picture, 64, &chain, &at);
            picture[(32 * 64 + 16) * 3]
        };
        assert_eq!((draw(false), draw(true)), (255, 0));
    }
}
