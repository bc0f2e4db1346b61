//! Shapes of our own making, rasterised from inside-outside functions: concepts in their own right, and the tiny library that tests use.

use super::sprites::SPRITE_SIDE;

/// How a shape is filled. Shapes are grey here: scenes always give them a colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// One flat tone.
    Flat,
    /// Lighter towards the top.
    Shaded,
}

fn polygon(x: f32, y: f32, corners: &[[f32; 2]]) -> bool {
    let mut inside = false;
    let mut previous = corners.len() - 1;
    for (i, &[xi, yi]) in corners.iter().enumerate() {
        let [xj, yj] = corners[previous];
        if (yi > y) != (yj > y) && x < (xj - xi) * (y - yi) / (yj - yi) + xi {
            inside = !inside;
        }
        previous = i;
    }
    inside
}

fn regular(points: usize, inner: Option<f32>) -> Vec<[f32; 2]> {
    let count = if inner.is_some() { points * 2 } else { points };
    (0..count)
        .map(|i| {
            let angle = std::f32::consts::TAU * i as f32 / count as f32;
            let radius = match inner {
                Some(inner) if i % 2 == 1 => inner,
                _ => 1.0,
            };
            [radius * angle.sin(), -radius * angle.cos()]
        })
        .collect()
}

/// Whether the point (x right, y down, the picture is −1 to 1) lies in the shape of this concept id; `None` for an id that is no shape.
fn shape(id: &str) -> Option<Box<dyn Fn(f32, f32) -> bool>> {
    let star = regular(5, Some(0.45));
    let hexagon = regular(6, None);
    Some(match id {
        "circle" => Box::new(|x, y| x * x + y * y < 0.94),
        "square" => Box::new(|x, y| x.abs() < 0.84 && y.abs() < 0.84),
        "triangle" => Box::new(|x, y| polygon(x, y, &[[0.0, -0.9], [0.97, 0.8], [-0.97, 0.8]])),
        "diamond" => Box::new(|x, y| x.abs() / 0.74 + y.abs() / 0.97 < 1.0),
        "hexagon" => Box::new(move |x, y| polygon(x, y, &hexagon)),
        "oval" => Box::new(|x, y| x * x / 0.94 + y * y / 0.36 < 1.0),
        "cross" => Box::new(|x, y| (x.abs() < 0.32 && y.abs() < 0.94) || (y.abs() < 0.32 && x.abs() < 0.94)),
        "ring-shape" => Box::new(|x, y| (0.36..0.94).contains(&(x * x + y * y))),
        "star" => Box::new(move |x, y| polygon(x, y - 0.05, &star)),
        "heart" => Box::new(|x, y| {
            let (x, y) = (x * 1.18, -y * 1.22 + 0.16);
            let ring = x * x + y * y - 1.0;
            ring * ring * ring - x * x * y * y * y < 0.0
        }),
        _ => return None,
    })
}

/// Draws a shape as straight RGBA, [`SPRITE_SIDE`] square, or `None` where the id names no shape.
pub fn draw_shape(id: &str, fill: Fill) -> Option<Vec<u8>> {
    const GRID: usize = 4;
    let inside = shape(id)?;
    let side = SPRITE_SIDE;
    let mut rgba = Vec::with_capacity(side * side * 4);
    let place = |pixel: usize, part: usize| ((pixel * GRID + part) as f32 + 0.5) / (side * GRID) as f32 * 2.0 - 1.0;
    for row in 0..side {
        for column in 0..side {
            let hits =
                (0..GRID * GRID).filter(|part| inside(place(column, part % GRID), place(row, part / GRID))).count();
            let tone = match fill {
                Fill::Flat => 160,
                Fill::Shaded => 190 - (row * 60 / side) as u8,
            };
            rgba.extend([tone, tone, tone, (hits * 255 / (GRID * GRID)) as u8]);
        }
    }
    Some(rgba)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::concept::concepts;

    #[test]
    fn every_shape_of_the_list_is_drawn_inside_its_square() {
        for concept in concepts().expect("list").iter().filter(|c| c.shape) {
            let rgba = draw_shape(&concept.id, Fill::Flat).expect("drawn");
            let covered: usize = rgba.chunks(4).filter(|p| p[3] > 128).count();
            let share = covered as f32 / (SPRITE_SIDE * SPRITE_SIDE) as f32;
            assert!((0.25..0.9).contains(&share), "{} {share}", concept.id);
            assert!(rgba[..SPRITE_SIDE * 4].chunks(4).all(|p| p[3] < 255));
        }
        assert!(draw_shape("cat", Fill::Flat).is_none());
    }

    #[test]
    fn the_circle_has_the_area_of_a_circle() {
        let rgba = draw_shape("circle", Fill::Flat).expect("circle");
        let area: f64 = rgba.chunks(4).map(|p| f64::from(p[3]) / 255.0).sum();
        let expected = std::f64::consts::PI * 0.94 * (SPRITE_SIDE as f64 / 2.0).powi(2);
        assert!((area / expected - 1.0).abs() < 0.005, "{area} {expected}");
    }
}
