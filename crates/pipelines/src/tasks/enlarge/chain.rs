//! The chain: networks one after the other, a last resampling and sharpening, and alpha beside them.

use std::collections::VecDeque;

use super::band::{Band, Progress, Sink};
use super::{EnlargeOptions, Link};
use crate::control::Control;
use crate::error::TaskError;
use danqing_imaging::resample::{Kernel, RowResampler};
use danqing_imaging::sharpen::RowSharpener;

/// A picture on its way through the chain: rows in, rows of the result out.
pub struct Enlargement<'a> {
    bands: Vec<Band<'a>>,
    resize: Option<RowResampler>,
    sharpener: Option<RowSharpener>,
    alpha: Option<Alpha>,
    channels: usize,
    done: usize,
    total: usize,
}

/// Alpha, enlarged by the cubic filter.
struct Alpha {
    resampler: RowResampler,
    ready: VecDeque<Vec<f32>>,
    /// Rows of colour that wait for theirs of alpha.
    waiting: VecDeque<Vec<f32>>,
}

impl<'a> Enlargement<'a> {
    /// A chain for a picture of `from` (width, height) that makes one of `to`; rows have 3 or 4 channels in 0..1, and the result's
    /// rows have as many. Of the options tile and sharpening count.
    ///
    /// # Errors
    /// Sides of zero, other channels, a result of more than 2³² pixels a side, or sharpening that makes no sense.
    pub fn new(
        links: &[Link<'a>],
        from: (u32, u32),
        to: (u32, u32),
        channels: usize,
        options: &EnlargeOptions,
    ) -> Result<Self, TaskError> {
        if from.0 == 0 || from.1 == 0 || to.0 == 0 || to.1 == 0 || !(3..=4).contains(&channels) {
            return Err(TaskError::Request(format!(
                "a picture of {}x{} with {channels} channels cannot become one of {}x{}: sides must not be zero, channels 3 or 4",
                from.0, from.1, to.0, to.1
            )));
        }
        let size = |(w, h): (u32, u32)| (w as usize, h as usize);
        let (from, to) = (size(from), size(to));
        let (mut width, mut height) = from;
        let mut bands = Vec::with_capacity(links.len());
        for &link in links {
            bands.push(Band::new(link, width, height, options.tile));
            let grown =
                |side: usize| side.checked_mul(link.network.info().scale).filter(|side| *side <= u32::MAX as usize);
            let (Some(w), Some(h)) = (grown(width), grown(height)) else {
                return Err(TaskError::Request("the networks would make a side of more than 4294967295 pixels".into()));
            };
            (width, height) = (w, h);
        }
        let resize = ((width, height) != to).then(|| RowResampler::new((width, height), to, 3, Kernel::Bicubic));
        let alpha = (channels == 4).then(|| Alpha {
            resampler: RowResampler::new(from, to, 1, Kernel::Bicubic),
            ready: VecDeque::new(),
            waiting: VecDeque::new(),
        });
        let sharpener = options.sharpen.map(|s| RowSharpener::new(to, channels, &s)).transpose()?;
        let total = bands.iter().map(Band::tiles).sum();
        Ok(Self { bands, resize, sharpener, alpha, channels, done: 0, total })
    }

    /// Tiles of all networks.
    pub fn tiles(&self) -> usize {
        self.total
    }

    /// Takes the next row and hands every row of the result that is complete to `sink`; after the last row all have been given.
    ///
    /// # Errors
    /// A network that fails or makes no numbers, `control` that stops, or what `sink` returns.
    pub fn push(&mut self, row: &[f32], control: &dyn Control, sink: Sink<'_>) -> Result<(), TaskError> {
        let Some(mut sharpener) = self.sharpener.take() else { return self.enlarge(row, control, sink) };
        let pushed = self.enlarge(row, control, &mut |line| sharpener.push(line, &mut *sink));
        self.sharpener = Some(sharpener);
        pushed
    }

    fn enlarge(&mut self, row: &[f32], control: &dyn Control, sink: Sink<'_>) -> Result<(), TaskError> {
        let Self { bands, resize, alpha, channels, done, total, .. } = self;
        let mut progress = Progress { control, done, total: *total };
        let Some(alpha) = alpha else {
            return through(bands, resize, row, &mut progress, sink);
        };
        let opacity: Vec<f32> = row.iter().skip(3).step_by(*channels).copied().collect();
        let colours: Vec<f32> = row.chunks_exact(*channels).flat_map(|p| [p[0], p[1], p[2]]).collect();
        let ready = &mut alpha.ready;
        alpha.resampler.push(&opacity, |line| {
            ready.push_back(line.to_vec());
            Ok::<(), TaskError>(())
        })?;
        let waiting = &mut alpha.waiting;
        through(bands, resize, &colours, &mut progress, &mut |line| {
            waiting.push_back(line.to_vec());
            Ok(())
        })?;
        while let (Some(colours), Some(opacity)) = (alpha.waiting.front(), alpha.ready.front()) {
            let pixel = |(p, a): (&[f32], &f32)| [p[0], p[1], p[2], *a];
            let line: Vec<f32> = colours.chunks_exact(3).zip(opacity).flat_map(pixel).collect();
            alpha.waiting.pop_front();
            alpha.ready.pop_front();
            sink(&line)?;
        }
        Ok(())
    }
}

/// A row through the rest of the chain.
fn through(
    bands: &mut [Band<'_>],
    resize: &mut Option<RowResampler>,
    row: &[f32],
    progress: &mut Progress<'_>,
    sink: Sink<'_>,
) -> Result<(), TaskError> {
    let Some((band, rest)) = bands.split_first_mut() else {
        return match resize {
            Some(resampler) => resampler.push(row, sink),
            None => sink(row),
        };
    };
    if rest.is_empty() {
        return band.push(row, progress, &mut |line| match resize {
            Some(resampler) => resampler.push(line, &mut *sink),
            None => sink(line),
        });
    }
    // The links behind need the progress too, while this one is at work: rows wait for it.
    let mut made = Vec::new();
    band.push(row, progress, &mut |line| {
        made.push(line.to_vec());
        Ok(())
    })?;
    made.iter().try_for_each(|line| through(rest, resize, line, progress, sink))
}
