//! Dead leaves: pictures of discs and polygons that hide one another, with edges, gradients and textures at every size, as
//! natural pictures have them. They teach enlarging without any photograph.
//!
//! Source: Lee, Mumford & Huang, "Occlusion models for natural images", 2001 (radii with density r⁻³ make a picture alike at every
//! scale); Achddou, Gousseau & Ladjal, 2021, and Achddou et al., arXiv:2504.10201 (training restoration on them, with textures).

use std::f32::consts::PI;

use super::dice::Dice;

/// Samples a pixel side: edges are rendered finer than pixels, then averaged.
const FINER: usize = 2;

/// How a leaf is filled.
#[derive(Debug, Clone, Copy)]
struct Fill {
    colour: [f32; 3],
    /// A second colour, reached along a direction.
    other: [f32; 3],
    direction: [f32; 2],
    /// Stripes or grain: strength, and waves a pixel across and down.
    strength: f32,
    waves: [f32; 2],
    grain: bool,
}

impl Fill {
    fn new(dice: &mut Dice, radius: f32) -> Fill {
        // One lightness and a weak tint: natural colours are mostly grey.
        let lightness = dice.unit();
        let vivid = if dice.chance(0.25) { 0.6 } else { 0.15 };
        let tint =
            |base: f32, dice: &mut Dice| [0; 3].map(|_| (base + vivid * dice.between(-0.5, 0.5)).clamp(0.0, 1.0));
        let colour = tint(lightness, dice);
        let other = if dice.chance(0.5) { tint(lightness + dice.between(-0.3, 0.3), dice) } else { colour };
        let (angle, wave) = (dice.between(0.0, 2.0 * PI), dice.between(0.0, PI));
        let frequency = dice.between(0.02, 0.45);
        Fill {
            colour,
            other,
            direction: [angle.cos(), angle.sin()].map(|v| v / (2.0 * radius)),
            strength: if dice.chance(0.4) { dice.between(0.02, 0.25) } else { 0.0 },
            waves: [wave.cos() * frequency, wave.sin() * frequency],
            grain: dice.chance(0.4),
        }
    }

    fn at(&self, dx: f32, dy: f32, noise: f32) -> [f32; 3] {
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
        let sides = 3 + dice.below(4);
        let side = |i: usize| {
            let direction = angle + 2.0 * PI * i as f32 / sides as f32;
            [direction.cos(), direction.sin(), radius]
        };
        let mut polygon: Vec<[f32; 3]> = (0..sides).map(side).collect();
        polygon.iter_mut().for_each(|side| side[2] *= dice.between(0.4, 0.9));
        Outline::Polygon(polygon)
    }

    fn holds(&self, dx: f32, dy: f32) -> bool {
        match self {
            Outline::Ellipse { turn: [c, s], axes } => {
                let (along, across) = (dx * c + dy * s, dy * c - dx * s);
                along * along / axes[0] + across * across / axes[1] <= 1.0
            }
            Outline::Polygon(sides) => sides.iter().all(|[c, s, d]| dx * c + dy * s <= *d),
        }
    }
}

/// A picture of leaves, RGB in 0..1, `[side, side, 3]`.
pub fn dead_leaves(side: usize, dice: &mut Dice) -> Vec<f32> {
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
        let (outline, fill) = (Outline::new(dice, radius), Fill::new(dice, radius));
        let reach = radius * 1.9;
        let range = |c: f32| ((c - reach).max(0.0) as usize, ((c + reach).max(0.0) as usize + 1).min(fine));
        let ((x0, x1), (y0, y1)) = (range(centre[0]), range(centre[1]));
        for y in y0..y1 {
            for x in x0..x1 {
                let at = (y * fine + x) * 3;
                let (dx, dy) = (x as f32 - centre[0], y as f32 - centre[1]);
                if picture[at].is_nan() && outline.holds(dx, dy) {
                    let noise = if fill.grain && fill.strength > 0.0 { dice.between(-1.0, 1.0) } else { 0.0 };
                    picture[at..at + 3].copy_from_slice(&fill.at(dx, dy, noise));
                    left -= 1;
                }
            }
        }
    }
    let ground = Fill::new(dice, fine as f32).colour;
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
        let picture = dead_leaves(64, &mut Dice::new(1, 2));
        assert_eq!(picture.len(), 64 * 64 * 3);
        assert!(picture.iter().all(|v| (0.0..=1.0).contains(v)));
        let steps = picture.chunks_exact(64 * 3).flat_map(|row| row.windows(4).map(|w| (w[3] - w[0]).abs()));
        assert!(steps.filter(|d| *d > 0.1).count() > 500);
        assert_eq!(picture, dead_leaves(64, &mut Dice::new(1, 2)));
        assert_ne!(picture, dead_leaves(64, &mut Dice::new(1, 3)));
    }
}
