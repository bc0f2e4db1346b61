//! Where things go: positions and sizes as shares of the picture's side, without overlap. Places and sizes vary little: a small
//! network that need not learn every place learns the things' forms sooner.

use super::dice::Dice;
use super::labels::{Relation, SizeWord};

/// One place: centre x, centre y and size of the sprite's square, as shares of the side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spot {
    /// Centre, x.
    pub x: f32,
    /// Centre, y.
    pub y: f32,
    /// Side of the square.
    pub size: f32,
}

/// A single thing; a size word narrows the range.
pub fn single(size: Option<SizeWord>, dice: &mut Dice) -> Spot {
    let size = match size {
        Some(SizeWord::Big) => dice.between(0.9, 0.97),
        Some(SizeWord::Small) => dice.between(0.34, 0.44),
        None => dice.between(0.76, 0.86),
    };
    let free = (1.0 - size) / 2.0;
    Spot { x: 0.5 + free * dice.between(-0.25, 0.25), y: 0.5 + free * dice.between(-0.25, 0.25), size }
}

/// Two to four equal things.
pub fn several(count: usize, dice: &mut Dice) -> Vec<Spot> {
    // Cell centres, and the side of a cell.
    let third = 1.0 / 3.0;
    let (cells, cell): (&[[f32; 2]], f32) = match count {
        0 | 1 => return vec![single(None, dice)],
        2 => match dice.weighted(&[0.85, 0.09, 0.03, 0.03]) {
            0 => (&[[0.25, 0.5], [0.75, 0.5]], 0.5),
            1 => (&[[0.5, 0.25], [0.5, 0.75]], 0.5),
            2 => (&[[0.25, 0.25], [0.75, 0.75]], 0.5),
            _ => (&[[0.75, 0.25], [0.25, 0.75]], 0.5),
        },
        3 => match dice.weighted(&[0.05, 0.8, 0.1, 0.05]) {
            0 => (&[[third / 2.0, 0.5], [0.5, 0.5], [1.0 - third / 2.0, 0.5]], third),
            1 => (&[[0.5, 0.25], [0.25, 0.75], [0.75, 0.75]], 0.5),
            2 => (&[[0.25, 0.25], [0.75, 0.25], [0.5, 0.75]], 0.5),
            _ => (&[[0.25, 0.25], [0.75, 0.25], [0.25, 0.75]], 0.5),
        },
        _ => (&[[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]], 0.5),
    };
    let size = cell * dice.between(0.88, 0.96);
    let level = cells.iter().all(|c| c[1] == 0.5);
    let upright = cells.iter().all(|c| c[0] == 0.5);
    let drift = dice.between(-0.02, 0.02);
    cells
        .iter()
        .take(count)
        .map(|&[x, y]| {
            let slack = (cell - size) / 2.0;
            Spot {
                x: x + slack * dice.between(-0.9, 0.9) + if upright { drift } else { 0.0 },
                y: y + slack * dice.between(-0.9, 0.9) + if level { drift } else { 0.0 },
                size,
            }
        })
        .collect()
}

/// Two things, the first in the given relation to the second.
pub fn pair(relation: Relation, dice: &mut Dice) -> [Spot; 2] {
    let mut spot = |along: f32| {
        let size = 0.5 * dice.between(0.9, 0.98);
        let slack = (0.5 - size) / 2.0;
        let along = along + slack * dice.between(-0.9, 0.9);
        let across = 0.5 + dice.between(-0.02, 0.02);
        let (x, y) = match relation {
            Relation::LeftOf | Relation::RightOf => (along, across),
            Relation::Above | Relation::Below => (across, along),
        };
        Spot { x, y, size }
    };
    let (low, high) = (spot(0.25), spot(0.75));
    match relation {
        Relation::LeftOf | Relation::Above => [low, high],
        Relation::RightOf | Relation::Below => [high, low],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(spot: &Spot) -> bool {
        let half = spot.size / 2.0 - 1e-4;
        [spot.x, spot.y].iter().all(|v| v - half >= 0.0 && v + half <= 1.0)
    }

    fn apart(a: &Spot, b: &Spot) -> bool {
        let reach = (a.size + b.size) / 2.0 - 1e-4;
        (a.x - b.x).abs() >= reach || (a.y - b.y).abs() >= reach
    }

    #[test]
    fn things_stay_inside_and_apart() {
        for index in 0..2_000 {
            let mut dice = Dice::new(11, index);
            for count in 2..=4 {
                let spots = several(count, &mut dice);
                assert_eq!(spots.len(), count);
                assert!(spots.iter().all(inside), "{spots:?}");
                for (i, a) in spots.iter().enumerate() {
                    assert!(spots[..i].iter().all(|b| apart(a, b)), "{spots:?}");
                }
            }
            for relation in Relation::ALL {
                let [a, b] = pair(relation, &mut dice);
                assert!(inside(&a) && inside(&b) && apart(&a, &b));
                assert!(match relation {
                    Relation::LeftOf => a.x < b.x,
                    Relation::RightOf => a.x > b.x,
                    Relation::Above => a.y < b.y,
                    Relation::Below => a.y > b.y,
                });
            }
            for size in [None, Some(SizeWord::Big), Some(SizeWord::Small)] {
                assert!(inside(&single(size, &mut dice)));
            }
        }
    }
}
