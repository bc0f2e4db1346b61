//! Noise on luma: the mean answer of a mask that straight edges and slopes do not touch, in the calmest parts of the picture.
//!
//! Source of the mask: J. Immerkær, "Fast noise variance estimation", 1996. He takes the mean over the whole picture, which
//! takes texture for noise; here blocks are chosen by their coarse structure, means of 4 × 4 pixels, on which fine noise has
//! next to no influence, so that choosing calm blocks does not choose blocks of little noise.

use super::Window;

const BLOCK: usize = 16;
const CELL: usize = 4;
/// Pixels as dark or bright as this may be cut off, and so may their noise.
const CLIPPED: (f32, f32) = (2.0, 253.0);
/// Share of such pixels that a block may have.
const FEW_CLIPPED: usize = BLOCK * BLOCK / 50;
/// An answer below this is no noise of a camera: a flat area, drawn or flattened by a JPEG.
const FLAT: f32 = 0.05;
/// Blocks that are chosen: one of so many, and the least number of all that can be told anything from.
const CHOSEN: usize = 7;
const FEWEST: usize = 16;

#[derive(Default)]
pub(super) struct Gathered {
    /// Structure and answer of every block that is not clipped.
    blocks: Vec<(f32, f32)>,
}

impl Gathered {
    pub(super) fn look(&mut self, window: &Window) {
        for top in (0..(window.height / BLOCK) * BLOCK).step_by(BLOCK) {
            for left in (0..(window.width / BLOCK) * BLOCK).step_by(BLOCK) {
                let block = |y: usize| &window.luma[(top + y) * window.width + left..][..BLOCK];
                let rows: [&[f32]; BLOCK] = std::array::from_fn(block);
                let clipped = rows.iter().flat_map(|row| row.iter()).filter(|v| **v <= CLIPPED.0 || **v >= CLIPPED.1);
                if clipped.count() < FEW_CLIPPED {
                    self.blocks.push((structure(&rows), answer(&rows)));
                }
            }
        }
    }

    pub(super) fn sigma(&self) -> f32 {
        let flat = self.blocks.iter().filter(|(_, answer)| *answer < FLAT).count();
        // Noise is everywhere: where most of the picture has none, there is none. A bar along a noisy picture is less.
        if self.blocks.len() < FEWEST || 2 * flat > self.blocks.len() {
            return 0.0;
        }
        let mut calm: Vec<(f32, f32)> = self.blocks.iter().copied().filter(|(_, answer)| *answer >= FLAT).collect();
        calm.sort_by(|a, b| a.0.total_cmp(&b.0));
        calm.truncate((calm.len() / CHOSEN).max(4));
        calm.sort_by(|a, b| a.1.total_cmp(&b.1));
        calm[calm.len() / 2].1
    }
}

/// Mean difference of neighbouring cells, across and down.
fn structure(rows: &[&[f32]; BLOCK]) -> f32 {
    const CELLS: usize = BLOCK / CELL;
    let mut means = [[0.0; CELLS]; CELLS];
    for (y, row) in rows.iter().enumerate() {
        for (x, value) in row.iter().enumerate() {
            means[y / CELL][x / CELL] += value / (CELL * CELL) as f32;
        }
    }
    let across = means.iter().flat_map(|row| row.windows(2)).map(|pair| (pair[1] - pair[0]).abs());
    let down = means.windows(2).flat_map(|rows| rows[0].iter().zip(&rows[1])).map(|(a, b)| (b - a).abs());
    across.chain(down).sum::<f32>() / (CELLS * (CELLS - 1)) as f32
}

/// The standard deviation that noise would have to give the mask's mean answer: the mask widens it six times, and the mean
/// size of a normal value is √(2/π) of its deviation.
fn answer(rows: &[&[f32]; BLOCK]) -> f32 {
    let mut sum = 0.0;
    for y in 1..BLOCK - 1 {
        let [above, here, below] = [rows[y - 1], rows[y], rows[y + 1]];
        for x in 1..BLOCK - 1 {
            let corners = above[x - 1] + above[x + 1] + below[x - 1] + below[x + 1];
            let sides = above[x] + below[x] + here[x - 1] + here[x + 1];
            sum += (corners - 2.0 * sides + 4.0 * here[x]).abs();
        }
    }
    let count = ((BLOCK - 2) * (BLOCK - 2)) as f32;
    sum / count / 6.0 * (std::f32::consts::PI / 2.0).sqrt()
}
