//! The borders of a JPEG's blocks, wherever its grid of eight pixels begins.
//!
//! At every place between two pixels it is counted how often the step there is larger than those before and after it. Without
//! blocks that is as often at one place of eight as at any other; counting, unlike summing, lets no strong edge outvote the rest.

use super::Window;

/// Steps this large beside a border, or on it, are edges of the picture.
const CALM: f32 = 8.0;
const LARGEST: f32 = 24.0;
/// Steps this small are nothing.
const LEAST: f32 = 0.5;
/// How much more often borders stand out than other places, where there are blocks at all.
const FOUND: f32 = 0.03;
/// The least distance to the next best place, and the same in standard deviations of chance.
const CLEAR: f32 = 0.015;
const CHANCE: f32 = 3.0;

/// Blocks of eight pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Blocking {
    /// Column and row of the first border, 0…7: 0, 0 for a JPEG that was not cropped.
    pub offset: (u8, u8),
    /// How much more often a border stands out than another place, 0…1: about 0.1 at quality 90, 0.3 at 75, 0.45 at 50.
    pub contrast: f32,
    /// By how many levels of 255 borders stand out: from about 0.6 on they are seen.
    pub step: f32,
}

#[derive(Clone, Copy, Default)]
struct Place {
    /// Calm places where anything happens, and those of them that stand out.
    live: u64,
    outstanding: u64,
    /// Calm places, and the sum of their steps beyond their neighbours'.
    calm: u64,
    excess: f64,
}

#[derive(Default)]
pub(super) struct Gathered {
    across: [Place; 8],
    down: [Place; 8],
}

impl Gathered {
    pub(super) fn look(&mut self, window: &Window) {
        count(&mut self.across, &window.luma, window.width, window.left);
        // A band begins where a block of an uncropped picture does.
        count(&mut self.down, &window.turned(), window.height, 0);
    }

    pub(super) fn found(&self) -> Option<Blocking> {
        let (across, down) = (best(&self.across)?, best(&self.down)?);
        Some(Blocking {
            offset: (across.0, down.0),
            contrast: across.1.min(down.1),
            step: ((across.2 + down.2) / 2.0).max(0.0),
        })
    }
}

fn count(places: &mut [Place; 8], luma: &[f32], width: usize, left: usize) {
    for row in luma.chunks_exact(width.max(1)) {
        for (x, four) in row.windows(4).enumerate() {
            let [before, step, after] = [0, 1, 2].map(|i: usize| (four[i + 1] - four[i]).abs());
            if before >= CALM || after >= CALM || step >= LARGEST {
                continue;
            }
            // The step lies before the third of the four.
            let place = &mut places[(left + x + 2) % 8];
            place.calm += 1;
            place.excess += f64::from(step - (before + after) / 2.0);
            if before > LEAST || step > LEAST || after > LEAST {
                place.live += 1;
                place.outstanding += u64::from(step > before && step > after);
            }
        }
    }
}

/// The place where borders are, their contrast and step.
fn best(places: &[Place; 8]) -> Option<(u8, f32, f32)> {
    let share = |p: &Place| if p.live == 0 { 0.0 } else { p.outstanding as f32 / p.live as f32 };
    let mut shares: Vec<(f32, usize)> = places.iter().map(share).zip(0..).collect();
    shares.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (top, at) = shares[0];
    let middle = |values: &[f32]| (values[3] + values[4]) / 2.0;
    let ordinary = middle(&shares.iter().map(|s| s.0).collect::<Vec<_>>());
    let chance = CHANCE * (0.25 / places[at].live.max(1) as f32).sqrt();
    if top - ordinary < FOUND || top - shares[1].0 < CLEAR.max(chance) {
        return None;
    }
    let mut excess: Vec<f32> = places.iter().map(|p| (p.excess / p.calm.max(1) as f64) as f32).collect();
    let step = excess[at];
    excess.sort_by(f32::total_cmp);
    Some((at as u8, top - ordinary, step - middle(&excess)))
}
