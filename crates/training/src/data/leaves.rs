//! Dead leaves: pictures of discs and polygons that hide one another, with edges, gradients and textures at every size, as
//! natural pictures have them. They teach enlarging without any photograph.
//!
//! Source: Lee, Mumford & Huang, "Occlusion models for natural images", 2001 (radii with density r⁻³ make a picture alike at every
//! scale); Achddou, Gousseau & Ladjal, 2021, and Achddou et al., arXiv:2504.10201 (training restoration on them, with textures).

use std::f32::consts::PI;

use super::dice::Dice;

/// Samples a pixel side: edges are rendered finer than pixels, then averaged.
const FINER: usize = 2;
/// Share of leaves that show a piece of a photograph, where there are any.
const SHOWN: f32 = 0.5;

/// Share of leaves that show something built.
const BUILT: f32 = 0.25;
/// Share of leaves that are bars: poles, wires, frames of windows.
const BARS: f32 = 0.15;

/// A photograph that leaves show pieces of.
#[derive(Debug, Clone, Copy)]
pub struct Texture<'a> {
    /// Pixels across.
    pub width: usize,
    /// Pixels down.
    pub height: usize,
    /// RGB, `[height, width, 3]`.
    pub values: &'a [u8],
}

/// How a leaf shows a photograph: turned, made smaller, its colours changed.
#[derive(Debug, Clone, Copy)]
struct Piece<'a> {
    texture: Texture<'a>,
    /// The photograph's point at the leaf's centre.
    centre: [f32; 2],
    /// Pixels of the photograph for a sample, along the leaf's own axes.
    turn: [f32; 2],
    tone: Tone,
}

impl<'a> Piece<'a> {
    fn new(texture: Texture<'a>, dice: &mut Dice) -> Self {
        let centre = [texture.width, texture.height].map(|side| dice.unit() * side as f32);
        let (angle, step) = (dice.between(0.0, 2.0 * PI), dice.between(1.2, 2.2) / FINER as f32);
        Self { texture, centre, turn: [angle.cos() * step, angle.sin() * step], tone: Tone::new(dice) }
    }

    /// The colour at a sample, between the four pixels around; beyond its edges the photograph is mirrored.
    fn at(&self, dx: f32, dy: f32) -> [f32; 3] {
        let Texture { width, height, values } = self.texture;
        let [c, s] = self.turn;
        let place = |v: f32, side: usize| {
            let last = (side - 1) as f32;
            let v = v.rem_euclid(2.0 * last.max(1.0));
            let v = (if v > last { 2.0 * last - v } else { v }).max(0.0);
            let low = v as usize;
            (low, (low + 1).min(side - 1), v - low as f32)
        };
        let (x0, x1, right) = place(self.centre[0] + dx * c - dy * s, width);
        let (y0, y1, down) = place(self.centre[1] + dx * s + dy * c, height);
        let mixed = std::array::from_fn(|channel| {
            let at = |x: usize, y: usize| f32::from(values[(y * width + x) * 3 + channel]);
            let row = |y: usize| at(x0, y) + (at(x1, y) - at(x0, y)) * right;
            (row(y0) + (row(y1) - row(y0)) * down) / 255.0
        });
        self.tone.of(mixed)
    }
}

/// Another light on the same forms: channels in another order, each weaker or stronger.
#[derive(Debug, Clone, Copy)]
pub struct Tone {
    order: [usize; 3],
    gain: [f32; 3],
    lift: f32,
}

impl Tone {
    /// Colours as they are.
    pub const PLAIN: Tone = Tone { order: [0, 1, 2], gain: [1.0; 3], lift: 0.0 };

    /// A tone by lot.
    pub fn new(dice: &mut Dice) -> Tone {
        let first = dice.below(3);
        let (second, third) = if dice.chance(0.5) { (1, 2) } else { (2, 1) };
        // Nothing leaves 0..1: a cut-off light would not be the same in a picture and in its reduced form.
        let gain = dice.between(0.5, 1.0);
        Tone {
            order: [first, (first + second) % 3, (first + third) % 3],
            gain: [0; 3].map(|_| gain * dice.between(0.8, 1.0)),
            lift: dice.between(0.0, 1.0 - gain),
        }
    }

    /// The colour in this tone.
    pub fn of(&self, colour: [f32; 3]) -> [f32; 3] {
        std::array::from_fn(|c| colour[self.order[c]] * self.gain[c] + self.lift)
    }
}

/// What people build: slats, fences, tiles, bricks and rows of windows, in two colours with sharp edges, which repeat and grow
/// narrower with distance.
#[derive(Debug, Clone, Copy)]
struct Pattern {
    /// Along the repetition, a unit vector of samples.
    along: [f32; 2],
    /// Samples to the next one, along it and across; across nothing repeats where the second is infinite.
    period: [f32; 2],
    /// Share of a period that has the first colour.
    share: [f32; 2],
    /// How much of a period each row of tiles is shifted against the one before: a half for bricks.
    shift: f32,
    /// How the distance between them grows, per sample.
    perspective: f32,
}

impl Pattern {
    fn new(dice: &mut Dice, radius: f32) -> Self {
        // Most walls stand upright.
        let tilt = if dice.chance(0.6) { dice.between(-0.1, 0.1) } else { dice.between(0.0, PI) };
        let angle = if dice.chance(0.5) { tilt } else { tilt + PI / 2.0 };
        let period = |dice: &mut Dice| FINER as f32 * 1.5 * dice.between(0.0, 2.3).exp();
        let first = period(dice);
        let tiles = dice.chance(0.4);
        Self {
            along: [angle.cos(), angle.sin()],
            period: [first, if tiles { first * dice.between(0.4, 2.5) } else { f32::INFINITY }],
            share: [(); 2].map(|()| dice.between(0.15, 0.85)),
            shift: if dice.chance(0.4) { 0.5 } else { 0.0 },
            perspective: dice.between(-0.35, 0.35) / radius,
        }
    }

    /// Whether a sample has the first colour.
    fn at(&self, dx: f32, dy: f32) -> bool {
        let [c, s] = self.along;
        let (u, v) = (dx * c + dy * s, dy * c - dx * s);
        // Perspective along the leaf: nowhere within it does the divisor come near 0.
        let away = (1.0 + self.perspective * u).max(0.2);
        let row = v / away / self.period[1];
        let column =
            u / away / self.period[0] + if self.period[1].is_finite() { self.shift * row.floor() } else { 0.0 };
        let inside = |at: f32, share: f32| at - at.floor() < share;
        inside(column, self.share[0]) && (self.period[1].is_infinite() || inside(row, self.share[1]))
    }
}

/// How a leaf is filled.
#[derive(Debug, Clone, Copy)]
struct Fill<'a> {
    colour: [f32; 3],
    /// A second colour, reached along a direction.
    other: [f32; 3],
    direction: [f32; 2],
    /// Stripes or grain: strength, and waves a pixel across and down.
    strength: f32,
    waves: [f32; 2],
    grain: bool,
    piece: Option<Piece<'a>>,
    pattern: Option<Pattern>,
}

impl<'a> Fill<'a> {
    fn new(textures: &[Texture<'a>], dice: &mut Dice, radius: f32) -> Self {
        // One lightness and a weak tint: natural colours are mostly grey.
        let lightness = dice.unit();
        let vivid = if dice.chance(0.25) { 0.6 } else { 0.15 };
        let tint =
            |base: f32, dice: &mut Dice| [0; 3].map(|_| (base + vivid * dice.between(-0.5, 0.5)).clamp(0.0, 1.0));
        let colour = tint(lightness, dice);
        let other = if dice.chance(0.5) { tint(lightness + dice.between(-0.3, 0.3), dice) } else { colour };
        let (angle, wave) = (dice.between(0.0, 2.0 * PI), dice.between(0.0, PI));
        let frequency = dice.between(0.02, 0.45);
        let pattern = dice.chance(BUILT).then(|| Pattern::new(dice, radius));
        let other = if pattern.is_some() { tint(dice.unit(), dice) } else { other };
        Fill {
            colour,
            other,
            direction: [angle.cos(), angle.sin()].map(|v| v / (2.0 * radius)),
            strength: if dice.chance(0.4) { dice.between(0.02, 0.25) } else { 0.0 },
            waves: [wave.cos() * frequency, wave.sin() * frequency],
            grain: dice.chance(0.4),
            pattern,
            piece: if pattern.is_none() && dice.chance(SHOWN) {
                dice.pick(textures).map(|t| Piece::new(*t, dice))
            } else {
                None
            },
        }
    }

    fn at(&self, dx: f32, dy: f32, noise: f32) -> [f32; 3] {
        if let Some(piece) = &self.piece {
            return piece.at(dx, dy);
        }
        if let Some(pattern) = &self.pattern {
            return if pattern.at(dx, dy) { self.colour } else { self.other };
        }
        let along = (0.5 + dx * self.direction[0] + dy * self.direction[1]).clamp(0.0, 1.0);
        let wave = if self.grain { noise } else { (2.0 * PI * (dx * self.waves[0] + dy * self.waves[1])).sin() };
        std::array::from_fn(|c| self.colour[c] + (self.other[c] - self.colour[c]) * along + self.strength * wave)
    }
}

/// Outline of a leaf around its centre.
#[derive(Debug, Clone)]
enum Outline {
    /// An ellipse by its squared half axes, turned.
    Ellipse { turn: [f32; 2], axes: [f32; 2] },
    /// A convex polygon by the distances and directions of its sides.
    Polygon(Vec<[f32; 3]>),
}

impl Outline {
    fn new(dice: &mut Dice, radius: f32) -> Outline {
        let angle = dice.between(0.0, PI);
        if dice.chance(0.5) {
            let turn = [angle.cos(), angle.sin()];
            return Outline::Ellipse { turn, axes: [radius, radius * dice.between(0.3, 1.0)].map(|a| a * a) };
        }
        if dice.chance(BARS / 0.5) {
            let angle = if dice.chance(0.6) { dice.between(-0.1, 0.1) } else { angle };
            let width = (FINER as f32 * dice.between(0.4, 4.0)).min(radius);
            let side = |turn: usize, distance: f32| {
                let direction = angle + turn as f32 * PI / 2.0;
                [direction.cos(), direction.sin(), distance]
            };
            return Outline::Polygon(vec![side(0, radius), side(1, width), side(2, radius), side(3, width)]);
        }
        let sides = 3 + dice.below(4);
        let side = |i: usize| {
            let direction = angle + 2.0 * PI * i as f32 / sides as f32;
            [direction.cos(), direction.sin(), radius]
        };
        let mut polygon: Vec<[f32; 3]> = (0..sides).map(side).collect();
        polygon.iter_mut().for_each(|side| side[2] *= dice.between(0.4, 0.9));
        Outline::Polygon(polygon)
    }

    /// Where the row `dy` below the centre lies inside, from the centre.
    fn row(&self, dy: f32) -> Option<[f32; 2]> {
        match self {
            Outline::Ellipse { turn: [c, s], axes: [along, across] } => {
                // (dx c + dy s)²/along + (dy c - dx s)²/across = 1, solved for dx.
                let square = c * c / along + s * s / across;
                let half = dy * c * s * (1.0 / along - 1.0 / across);
                let rest = dy * dy * (s * s / along + c * c / across) - 1.0;
                let root = (half * half - square * rest).max(0.0).sqrt();
                (root > 0.0).then(|| [-half - root, -half + root].map(|v| v / square))
            }
            Outline::Polygon(sides) => {
                let mut row = [f32::NEG_INFINITY, f32::INFINITY];
                for [c, s, d] in sides {
                    // dx c <= d - dy s
                    let bound = d - dy * s;
                    if c.abs() > 1e-6 {
                        let at = bound / c;
                        row = if *c > 0.0 { [row[0], row[1].min(at)] } else { [row[0].max(at), row[1]] };
                    } else if bound < 0.0 {
                        return None;
                    }
                }
                (row[0] <= row[1]).then_some(row)
            }
        }
    }
}

/// A picture of leaves, RGB in 0..1, `[side, side, 3]`; a part of them show pieces of `textures`.
pub fn dead_leaves(side: usize, textures: &[Texture<'_>], dice: &mut Dice) -> Vec<f32> {
    let fine = side * FINER;
    let mut picture = vec![f32::NAN; fine * fine * 3];
    let mut left = fine * fine;
    let (least, most) = (1.5 * FINER as f32, fine as f32 * 0.6);
    // From the front to the back: what is hidden is never painted.
    for _ in 0..(fine * fine / 40).max(4_000) {
        if left * 200 < fine * fine {
            break;
        }
        // The inverse of the distribution of r⁻³ between the bounds.
        let u = dice.unit();
        let radius = 1.0 / (u / (most * most) + (1.0 - u) / (least * least)).sqrt();
        let centre = [dice.between(-radius, fine as f32 + radius), dice.between(-radius, fine as f32 + radius)];
        let (outline, fill) = (Outline::new(dice, radius), Fill::new(textures, dice, radius));
        let reach = radius * 1.9;
        let whole = |from: f32, to: f32| (from.ceil().max(0.0) as usize, ((to + 1.0).max(0.0) as usize).min(fine));
        let (y0, y1) = whole(centre[1] - reach, centre[1] + reach);
        for y in y0..y1 {
            let dy = y as f32 - centre[1];
            let Some(row) = outline.row(dy) else { continue };
            let (x0, x1) = whole(centre[0] + row[0].max(-reach), centre[0] + row[1].min(reach));
            for x in x0..x1 {
                let at = (y * fine + x) * 3;
                if picture[at].is_nan() {
                    let noise = if fill.grain && fill.strength > 0.0 { dice.between(-1.0, 1.0) } else { 0.0 };
                    picture[at..at + 3].copy_from_slice(&fill.at(x as f32 - centre[0], dy, noise));
                    left -= 1;
                }
            }
        }
    }
    let ground = Fill::new(&[], dice, fine as f32).colour;
    let mut out = vec![0.0; side * side * 3];
    for (i, value) in out.iter_mut().enumerate() {
        let (pixel, channel) = (i / 3, i % 3);
        let (x, y) = (pixel % side * FINER, pixel / side * FINER);
        let sum: f32 = (0..FINER * FINER)
            .map(|k| {
                let v = picture[((y + k / FINER) * fine + x + k % FINER) * 3 + channel];
                if v.is_nan() { ground[channel] } else { v }
            })
            .sum();
        *value = (sum / (FINER * FINER) as f32).clamp(0.0, 1.0);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_are_full_of_edges_and_repeat_by_seed() {
        let picture = dead_leaves(64, &[], &mut Dice::new(1, 2));
        assert_eq!(picture.len(), 64 * 64 * 3);
        assert!(picture.iter().all(|v| (0.0..=1.0).contains(v)));
        let steps = picture.chunks_exact(64 * 3).flat_map(|row| row.windows(4).map(|w| (w[3] - w[0]).abs()));
        assert!(steps.filter(|d| *d > 0.1).count() > 500);
        assert_eq!(picture, dead_leaves(64, &[], &mut Dice::new(1, 2)));
        assert_ne!(picture, dead_leaves(64, &[], &mut Dice::new(1, 3)));
    }

    #[test]
    fn rows_of_outlines_end_on_their_edges() {
        let mut dice = Dice::new(5, 0);
        for _ in 0..200 {
            let outline = Outline::new(&mut dice, 20.0);
            let dy = dice.between(-25.0, 25.0);
            // How far outside a point lies, by the outline's own equation: 0 on its edge.
            let outside = |dx: f32| match &outline {
                Outline::Ellipse { turn: [c, s], axes } => {
                    let (along, across) = (dx * c + dy * s, dy * c - dx * s);
                    along * along / axes[0] + across * across / axes[1] - 1.0
                }
                Outline::Polygon(sides) => {
                    sides.iter().map(|[c, s, d]| (dx * c + dy * s - d) / 20.0).fold(f32::NEG_INFINITY, f32::max)
                }
            };
            match outline.row(dy) {
                Some([from, to]) => {
                    assert!(outside(from).abs() < 1e-2 && outside(to).abs() < 1e-2, "{outline:?} {dy}");
                    assert!(outside((from + to) / 2.0) <= 1e-3);
                }
                None => assert!((-60..60).all(|dx| outside(dx as f32) > -1e-3), "{outline:?} {dy}"),
            }
        }
    }

    #[test]
    fn built_patterns_repeat_by_their_periods() {
        let bricks = Pattern { along: [1.0, 0.0], period: [8.0, 6.0], share: [0.5; 2], shift: 0.5, perspective: 0.0 };
        for (dx, dy, first) in [(1.0, 1.0, true), (5.0, 1.0, false), (9.0, 1.0, true), (1.0, 4.0, false)] {
            assert_eq!(bricks.at(dx, dy), first, "{dx} {dy}");
        }
        // The next row is shifted by a half.
        assert!(!bricks.at(1.0, 7.0) && bricks.at(5.0, 7.0));
        // Slats go on across.
        let slats = Pattern { period: [8.0, f32::INFINITY], ..bricks };
        assert!((0..50).all(|dy| slats.at(1.0, dy as f32) && !slats.at(5.0, dy as f32)));
        // Along the perspective they grow narrower, one way.
        let changes = |pattern: &Pattern, from: i32| {
            (from..from + 100).filter(|dx| pattern.at(*dx as f32, 0.0) != pattern.at((dx + 1) as f32, 0.0)).count()
        };
        let far = Pattern { perspective: -0.35 / 100.0, ..slats };
        assert!(changes(&far, 0) > changes(&far, -100), "{} {}", changes(&far, 0), changes(&far, -100));
    }

    #[test]
    fn leaves_show_photographs_in_other_tones() {
        // Red alone: whatever its order and gain, a leaf that shows it has one channel above two equal dark ones.
        let values: Vec<u8> = [200, 0, 0].repeat(40 * 30);
        let red = Texture { width: 40, height: 30, values: &values };
        let picture = dead_leaves(96, &[red], &mut Dice::new(7, 1));
        let shows = |pixel: &&[f32]| {
            let mut sorted = [pixel[0], pixel[1], pixel[2]];
            sorted.sort_by(f32::total_cmp);
            sorted[1] == sorted[0] && sorted[2] > sorted[1] + 0.3
        };
        let share = picture.chunks_exact(3).filter(shows).count() as f32 / (96.0 * 96.0);
        assert!((0.2..0.8).contains(&share), "{share}");
        assert_eq!(Tone::PLAIN.of([0.1, 0.2, 0.3]), [0.1, 0.2, 0.3]);
    }
}
