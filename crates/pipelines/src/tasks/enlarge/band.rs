//! One network over a stream of rows: bands of tiles.
//!
//! Where a network sees farther than tiles overlap, neighbours differ a little: their results are faded into each other, so that no step
//! shows where they meet.

use std::collections::VecDeque;

use danqing_imaging::resample::{Kernel, RowResampler};
use danqing_models::upscalers::Upscaler;
use danqing_tensor::{DType, Tensor, no_grad};

use super::{Link, tile_done};
use crate::control::Control;
use crate::error::TaskError;

/// Takes RGB rows of a picture and gives those that a network makes of it, as soon as it can.
pub(super) struct Band<'a> {
    network: &'a dyn Upscaler,
    /// How much of a restoring network's change is taken.
    strength: f32,
    width: usize,
    height: usize,
    tile: usize,
    /// See [`BEYOND`]; none where tiles must begin at multiples of more.
    beyond: usize,
    /// Rows held, the number of the first of them, and of the next to come.
    rows: VecDeque<Vec<f32>>,
    first: usize,
    next: usize,
    /// First row that is not enlarged yet.
    done: usize,
    /// Pixels on either side of the line between two tiles over which one fades into the other; none where tiles join exactly.
    fade: usize,
    /// Rows of the result that the band below fades into.
    pending: Vec<f32>,
    /// Memory for the rows of a band.
    lines: Vec<f32>,
    /// Of a network that knows luma alone: the two colour differences on their way.
    chroma: Option<Chroma>,
}

/// Progress of all tiles of a chain.
pub(super) struct Progress<'a> {
    pub control: &'a dyn Control,
    pub done: &'a mut usize,
    pub total: usize,
}

/// What takes enlarged rows.
pub(super) type Sink<'a> = &'a mut dyn FnMut(&[f32]) -> Result<(), TaskError>;

/// Pixels beyond the picture's borders that a network is shown, mirrored. Padding with zeros is dark to it: flat colours would bend
/// within some pixels of the border.
const BEYOND: usize = 8;

/// Where a tile is taken from along one axis: what is read, and what is kept of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    /// Pixels inside the picture.
    read: (usize, usize),
    /// Mirrored pixels before them.
    before: usize,
    /// Pixels in all, with those that are mirrored on either side.
    length: usize,
    keep: (usize, usize),
}

impl Span {
    /// The part from `start` with `around` on both sides, of them at most `beyond` outside `0..end`.
    fn new(start: usize, length: usize, around: usize, beyond: usize, end: usize) -> Span {
        let keep = (start, (start + length).min(end));
        let read = (start.saturating_sub(around), (keep.1 + around).min(end));
        let before = around.saturating_sub(start).min(beyond);
        let after = (keep.1 + around).saturating_sub(end).min(beyond);
        Span { read, before, length: before + read.1 - read.0 + after, keep }
    }

    /// Where a pixel of the picture lies in the tile.
    fn place(&self, at: usize) -> usize {
        self.before + at - self.read.0
    }

    /// The pixel of the picture that is shown at a place of the tile.
    fn shown(&self, place: usize) -> usize {
        let n = (self.read.1 - self.read.0) as isize;
        let at = (place as isize - self.before as isize).rem_euclid(2 * n);
        self.read.0 + at.min(2 * n - 1 - at) as usize
    }
}

impl<'a> Band<'a> {
    pub fn new(link: Link<'a>, width: usize, height: usize, tile: usize) -> Self {
        let Link { network, strength } = link;
        let info = network.info();
        let to = (width * info.scale, height * info.scale);
        let chroma = (info.channels == 1).then(|| Chroma::new((width, height), to));
        let tile = tile.max(info.least).max(1).next_multiple_of(info.multiple);
        let strength = if info.scale == 1 { strength } else { 1.0 };
        // What lies near a tile's edge is less like the whole. Not more than two tiles meet along an axis.
        let fade = if info.exact { 0 } else { (info.overlap / 2).min(tile / 2) };
        let (rows, pending) = (VecDeque::new(), Vec::new());
        Self {
            network,
            strength,
            width,
            height,
            tile,
            beyond: if BEYOND.is_multiple_of(info.multiple) { BEYOND.min(info.overlap) } else { 0 },
            rows,
            first: 0,
            next: 0,
            done: 0,
            fade,
            pending,
            lines: Vec::new(),
            chroma,
        }
    }

    /// Tiles of the whole picture.
    pub fn tiles(&self) -> usize {
        self.width.div_ceil(self.tile) * self.height.div_ceil(self.tile)
    }

    /// Takes the next row, and gives a band of enlarged ones when there are enough.
    pub fn push(&mut self, row: &[f32], progress: &mut Progress<'_>, sink: Sink<'_>) -> Result<(), TaskError> {
        if let Some(chroma) = &mut self.chroma {
            chroma.push(row);
        }
        self.rows.push_back(row.to_vec());
        self.next += 1;
        let around = self.network.info().overlap;
        while self.done < self.height {
            let span = Span::new(self.done, self.tile, around, self.beyond, self.height);
            if span.read.1.max((span.keep.1 + Chroma::REACH).min(self.height)) > self.next {
                break;
            }
            self.band(span, progress, sink)?;
            self.done = span.keep.1;
            let needed = self.done.saturating_sub(around);
            while self.first < needed.min(self.next) {
                self.rows.pop_front();
                self.first += 1;
            }
        }
        Ok(())
    }

    fn band(&mut self, down: Span, progress: &mut Progress<'_>, sink: Sink<'_>) -> Result<(), TaskError> {
        let info = self.network.info();
        let (scale, channels) = (info.scale, info.channels);
        let made = self.faded(down.keep, self.height);
        let pitch = self.width * scale * channels;
        // Every value is written: what the last band left need not be cleared.
        let mut lines = std::mem::take(&mut self.lines);
        lines.resize((made.1 - made.0) * scale * pitch, 0.0);
        for start in (0..self.width).step_by(self.tile) {
            let across = Span::new(start, self.tile, info.overlap, self.beyond, self.width);
            let tile = self.tile_of(across, down)?;
            let out = no_grad(|| self.network.forward(&tile))?;
            let (tile_width, out) = (out.dim(2), out.cast(DType::F32)?.contiguous()?);
            let values = out.as_slice_f32()?;
            let columns = self.faded(across.keep, self.width);
            let skip = [down.place(made.0) * scale, across.place(columns.0) * scale];
            let kept = (columns.1 - columns.0) * scale * channels;
            // The tile on the left has written here too.
            let shared = if start == 0 { 0 } else { (self.fade + start - columns.0) * scale * channels };
            for (y, line) in lines.chunks_exact_mut(pitch).enumerate() {
                let from = ((skip[0] + y) * tile_width + skip[1]) * channels;
                let (line, values) = (&mut line[columns.0 * scale * channels..][..kept], &values[from..][..kept]);
                let shared = shared.min(kept);
                for (x, (line, value)) in line.iter_mut().zip(values).enumerate().take(shared) {
                    *line = lerp(*line, *value, share(x / channels, 2 * self.fade * scale));
                }
                line[shared..].copy_from_slice(&values[shared..]);
            }
            *progress.done += 1;
            tile_done(progress.control, *progress.done, progress.total)?;
        }
        if lines.iter().any(|v| !v.is_finite()) {
            return Err(TaskError::NotANumber("while enlarging"));
        }
        for (y, (line, above)) in lines.chunks_exact_mut(pitch).zip(self.pending.chunks_exact(pitch)).enumerate() {
            let share = share(y, 2 * self.fade * scale);
            line.iter_mut().zip(above).for_each(|(line, above)| *line = lerp(*above, *line, share));
        }
        let ready = if down.keep.1 == self.height { made.1 } else { down.keep.1 - self.fade };
        self.pending = lines.split_off((ready - made.0) * scale * pitch);
        if self.strength != 1.0 {
            self.weaken(&mut lines, made.0, pitch);
        }
        for line in lines.chunks_exact(pitch) {
            match &mut self.chroma {
                Some(chroma) => sink(&chroma.joined(line))?,
                None => sink(line)?,
            }
        }
        self.lines = lines;
        Ok(())
    }

    /// What is made of a tile along one axis: what is kept of it, and as much beside it as is shared with its neighbours.
    fn faded(&self, keep: (usize, usize), end: usize) -> (usize, usize) {
        (keep.0.saturating_sub(self.fade), (keep.1 + self.fade).min(end))
    }

    /// Lays the rows from `top`, of the same size as the input's, over what they were made of.
    fn weaken(&self, lines: &mut [f32], top: usize, pitch: usize) {
        let colours = self.network.info().channels;
        for (line, row) in lines.chunks_exact_mut(pitch).zip(self.rows.range(top - self.first..)) {
            let pixels = line.chunks_exact_mut(colours).zip(row.chunks_exact(3));
            for (made, given) in pixels {
                match made {
                    [y] => *y = lerp(luma(given), *y, self.strength),
                    _ => made.iter_mut().zip(given).for_each(|(m, g)| *m = lerp(*g, *m, self.strength)),
                }
            }
        }
    }

    /// The tile's pixels; beyond the picture, and to fill up sides that the network cannot take, they are mirrored.
    fn tile_of(&self, across: Span, down: Span) -> Result<Tensor, TaskError> {
        let info = self.network.info();
        let side = |span: Span| span.length.max(info.least).next_multiple_of(info.multiple);
        let (width, height) = (side(across), side(down));
        let mut values = Vec::with_capacity(width * height * info.channels);
        let columns: Vec<usize> = (0..width).map(|x| across.shown(x) * 3).collect();
        let whole = across.before..across.before + across.read.1 - across.read.0;
        for y in 0..height {
            let row = &self.rows[down.shown(y) - self.first];
            if info.channels == 1 {
                values.extend(columns.iter().map(|at| luma(&row[*at..at + 3])));
                continue;
            }
            columns[..whole.start].iter().for_each(|at| values.extend_from_slice(&row[*at..at + 3]));
            values.extend_from_slice(&row[across.read.0 * 3..across.read.1 * 3]);
            columns[whole.end..].iter().for_each(|at| values.extend_from_slice(&row[*at..at + 3]));
        }
        Ok(Tensor::from_vec(values, &[1, height, width, info.channels])?)
    }
}

/// How much of the second of two tiles is taken at a pixel of the `length` that they share.
fn share(at: usize, length: usize) -> f32 {
    ((at as f32 + 0.5) / length as f32).min(1.0)
}

fn lerp(from: f32, to: f32, share: f32) -> f32 {
    from + share * (to - from)
}

/// Luma of an RGB pixel (BT.601, full range, as JPEG has it).
fn luma(rgb: &[f32]) -> f32 {
    0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]
}

/// Colour differences, enlarged by the cubic filter while a network enlarges luma.
struct Chroma {
    resampler: RowResampler,
    ready: VecDeque<Vec<f32>>,
}

impl Chroma {
    /// Rows below a row that its colours need.
    const REACH: usize = 3;

    fn new(from: (usize, usize), to: (usize, usize)) -> Self {
        Self { resampler: RowResampler::new(from, to, 2, Kernel::Bicubic), ready: VecDeque::new() }
    }

    fn push(&mut self, row: &[f32]) {
        let differences: Vec<f32> = row
            .chunks_exact(3)
            .flat_map(|p| {
                let y = luma(p);
                [(p[2] - y) / 1.772, (p[0] - y) / 1.402]
            })
            .collect();
        let ready = &mut self.ready;
        let pushed: Result<(), std::convert::Infallible> = self.resampler.push(&differences, |line| {
            ready.push_back(line.to_vec());
            Ok(())
        });
        match pushed {
            Ok(()) => {}
            Err(never) => match never {},
        }
    }

    /// A row of luma with its colours, which are there: a band waits for [`Chroma::REACH`] rows.
    fn joined(&mut self, lumas: &[f32]) -> Vec<f32> {
        let differences = self.ready.pop_front().unwrap_or_else(|| vec![0.0; 2 * lumas.len()]);
        let colour = |(y, d): (&f32, &[f32])| {
            let (blue, red) = (y + 1.772 * d[0], y + 1.402 * d[1]);
            [red, (y - 0.299 * red - 0.114 * blue) / 0.587, blue]
        };
        lumas.iter().zip(differences.chunks_exact(2)).flat_map(colour).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_show_the_picture_mirrored_beyond_its_borders() {
        // Ten pixels in tiles of four, with three around and at most two beyond the border.
        let spans: Vec<Span> = [0, 4, 8].map(|start| Span::new(start, 4, 3, 2, 10)).into();
        let shown = |span: &Span| (0..span.length).map(|place| span.shown(place)).collect::<Vec<_>>();
        assert_eq!(shown(&spans[0]), [1, 0, 0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(shown(&spans[1]), [1, 2, 3, 4, 5, 6, 7, 8, 9, 9]);
        assert_eq!(shown(&spans[2]), [5, 6, 7, 8, 9, 9, 8]);
        for span in &spans {
            assert!((span.keep.0..span.keep.1).all(|at| span.shown(span.place(at)) == at));
        }
        // A single pixel is all that there is to show.
        let single = Span::new(0, 4, 3, 2, 1);
        assert_eq!((single.place(0), (0..9).map(|place| single.shown(place)).sum::<usize>()), (2, 0));
    }
}
