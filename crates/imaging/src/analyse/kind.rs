//! Photograph, drawing or text.
//!
//! A drawing has few colours, and its edges are strong or none: a photograph has all slopes between. Neither sign is enough by
//! itself (a night sky has few colours, a façade has sharp edges), and both survive noise and JPEG, unlike areas that are exactly
//! flat. Their weights were fitted to 36 photographs and 80 drawings and icons, each as it was, as a JPEG of quality 75 and with
//! noise of 5 levels.

use super::{COLOURED, Window};

/// Bins of one channel, and how many of all the bins may hold a drawing.
const BINS: usize = 16;
const FEW: usize = 16;
/// Nearly black pixels are left out: all of a night has their colour.
const DARK: f32 = 24.0;
/// Slopes that are counted, and those of sharp drawn edges.
const SLOPE: f32 = 12.0;
const SHARP: f32 = 48.0;
/// Weights of the two signs, and what their sum must pass.
const FEW_COLOURS: f32 = 15.0;
const SHARP_EDGES: f32 = 13.0;
const DRAWN: f32 = 14.0;
/// A pixel whose channels are further apart than this is more than tinted, as paper may be.
const VIVID: f32 = 48.0;
/// Paper of a text: levels to both sides of its most common one, and the distance from there at which ink begins.
const PAPER: usize = 14;
const INK: usize = 96;

/// What a picture is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A photograph, or a picture as rich as one.
    Photograph,
    /// A drawing, an icon, pixel art, a diagram.
    Drawing,
    /// Writing on paper or screen.
    Text,
}

/// What the kind is told from; shares of all pixels unless something else is said.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Features {
    /// Share of pixels, the nearly black left out, with one of the sixteen most common of 4096 colours.
    pub few_colours: f32,
    /// Share of sharp slopes among all that are worth naming.
    pub sharp_edges: f32,
    /// Pixels like the most common grey of their surroundings.
    pub paper: f32,
    /// Pixels that are far from it.
    pub ink: f32,
    /// Pixels that lie side by side in one stroke of ink, on average.
    pub stroke: f32,
    /// Pixels of a vivid colour, more than tinted paper has.
    pub vivid: f32,
}

impl Features {
    pub(super) fn kind(&self) -> Kind {
        // Print covers between a hundredth and a third of its paper with strokes a few pixels wide, and has little between.
        let printed = self.paper > 0.55 && self.ink > 0.01 && self.ink < 0.35 && self.paper + self.ink > 0.75;
        if printed && self.stroke < 16.0 && self.vivid < 0.05 && self.sharp_edges > 0.2 {
            return Kind::Text;
        }
        let drawn = FEW_COLOURS * self.few_colours + SHARP_EDGES * self.sharp_edges;
        if drawn > DRAWN { Kind::Drawing } else { Kind::Photograph }
    }
}

pub(super) struct Gathered {
    colours: Vec<u64>,
    pixels: u64,
    dark: u64,
    coloured: u64,
    vivid: u64,
    slopes: u64,
    sharp: u64,
    paper: u64,
    ink: u64,
    strokes: u64,
}

impl Default for Gathered {
    fn default() -> Self {
        let colours = vec![0; BINS * BINS * BINS];
        Self { colours, pixels: 0, dark: 0, coloured: 0, vivid: 0, slopes: 0, sharp: 0, paper: 0, ink: 0, strokes: 0 }
    }
}

impl Gathered {
    pub(super) fn look(&mut self, window: &Window) {
        for pixel in window.colour.chunks_exact(3) {
            let high = pixel.iter().copied().fold(0.0, f32::max);
            let low = pixel.iter().copied().fold(255.0, f32::min);
            self.pixels += 1;
            self.coloured += u64::from(high - low > COLOURED);
            self.vivid += u64::from(high - low > VIVID);
            if high > DARK {
                let bin = |v: f32| (v as usize * BINS / 256).min(BINS - 1);
                self.colours[(bin(pixel[0]) * BINS + bin(pixel[1])) * BINS + bin(pixel[2])] += 1;
            } else {
                self.dark += 1;
            }
        }
        self.slopes_of(window);
        self.print_of(window);
    }

    fn slopes_of(&mut self, window: &Window) {
        let rows: Vec<&[f32]> = window.luma.chunks_exact(window.width.max(1)).collect();
        for pair in rows.windows(2) {
            for x in 1..window.width {
                let here = pair[0][x - 1];
                let slope = (pair[0][x] - here).abs().max((pair[1][x - 1] - here).abs());
                self.slopes += u64::from(slope >= SLOPE);
                self.sharp += u64::from(slope >= SHARP);
            }
        }
    }

    /// Paper and ink, each band by itself: the light of a scan changes along the page.
    fn print_of(&mut self, window: &Window) {
        let mut levels = [0u64; 256];
        window.luma.iter().for_each(|v| levels[*v as usize] += 1);
        let around = |at: usize| at.saturating_sub(PAPER)..(at + PAPER + 1).min(256);
        let paper = (0..256).max_by_key(|at| levels[around(*at)].iter().sum::<u64>()).unwrap_or(255);
        self.paper += levels[around(paper)].iter().sum::<u64>();
        for row in window.luma.chunks_exact(window.width.max(1)) {
            let mut inside = false;
            for value in row {
                let ink = (*value as usize).abs_diff(paper) >= INK;
                self.ink += u64::from(ink);
                self.strokes += u64::from(ink && !inside);
                inside = ink;
            }
        }
    }

    pub(super) fn coloured(&self) -> f64 {
        self.coloured as f64 / self.pixels.max(1) as f64
    }

    pub(super) fn features(&self) -> Features {
        let share = |part: u64, all: u64| part as f32 / all.max(1) as f32;
        let mut colours = self.colours.clone();
        colours.sort_unstable_by(|a, b| b.cmp(a));
        // A handful of slopes, of one lamp in a dark sky, says nothing.
        let sharp = if self.slopes * 1000 < self.pixels { 0 } else { self.sharp };
        Features {
            few_colours: share(colours[..FEW].iter().sum(), self.pixels - self.dark),
            sharp_edges: share(sharp, self.slopes),
            paper: share(self.paper, self.pixels),
            ink: share(self.ink, self.pixels),
            stroke: share(self.ink, self.strokes),
            vivid: share(self.vivid, self.pixels),
        }
    }
}
