//! Rows on their way into an encoder: out of memory or out of another thread, in the channels and depth that the format
//! wants.

use std::sync::mpsc::Receiver;

use super::RowHeader;
use crate::deep::to_eight;
use crate::{Channels, ImagingError, Samples, SamplesRef};

enum Source<'a> {
    Whole(SamplesRef<'a>),
    /// Blocks of whole rows.
    Blocks {
        receiver: Receiver<Samples>,
        block: Samples,
    },
}

/// Hands out the rows of one picture, one after another.
pub(super) struct RowFeed<'a> {
    source: Source<'a>,
    /// Values of the whole or of the block that were handed out.
    taken: usize,
    row: usize,
    channels: Channels,
    eight: Vec<u8>,
    sixteen: Vec<u16>,
}

impl<'a> RowFeed<'a> {
    pub(super) fn of_samples(header: &RowHeader, samples: SamplesRef<'a>) -> Self {
        Self::new(header, Source::Whole(samples))
    }

    pub(super) fn of_blocks(header: &RowHeader, receiver: Receiver<Samples>) -> RowFeed<'static> {
        RowFeed::new(header, Source::Blocks { receiver, block: Samples::U8(Vec::new()) })
    }

    fn new(header: &RowHeader, source: Source<'a>) -> Self {
        let (row, channels) = (header.row_values(), header.channels);
        Self { source, taken: 0, row, channels, eight: Vec::new(), sixteen: Vec::new() }
    }

    /// The next row in 8 bits and the channels asked for; alpha that they lack is laid over `background`.
    pub(super) fn next_eight(&mut self, channels: Channels, background: [u8; 3]) -> Result<&[u8], ImagingError> {
        let Self { source, taken, row, channels: own, eight, .. } = self;
        let samples = next(source, taken, *row)?;
        eight.clear();
        match samples {
            SamplesRef::U8(values) if channels == *own => eight.extend_from_slice(values),
            SamplesRef::U8(values) => convert(values.iter().copied(), *own, channels, background, eight),
            SamplesRef::U16(values) if channels == *own => eight.extend(values.iter().map(|v| to_eight(*v))),
            SamplesRef::U16(values) => {
                convert(values.iter().map(|v| to_eight(*v)), *own, channels, background, eight);
            }
        }
        Ok(eight)
    }

    /// The next row in 16 bits and its own channels.
    pub(super) fn next_sixteen(&mut self) -> Result<&[u16], ImagingError> {
        let Self { source, taken, row, sixteen, .. } = self;
        sixteen.clear();
        match next(source, taken, *row)? {
            SamplesRef::U8(values) => sixteen.extend(values.iter().map(|v| u16::from(*v) * 257)),
            SamplesRef::U16(values) => sixteen.extend_from_slice(values),
        }
        Ok(sixteen)
    }
}

fn next<'s>(source: &'s mut Source<'_>, taken: &mut usize, row: usize) -> Result<SamplesRef<'s>, ImagingError> {
    let missing = || ImagingError::argument("rows", "there are fewer than the picture is high");
    if let Source::Blocks { receiver, block } = source
        && *taken >= block.view().len()
    {
        *block = receiver.recv().map_err(|_| missing())?;
        *taken = 0;
    }
    let samples = match source {
        Source::Whole(samples) => *samples,
        Source::Blocks { block, .. } => block.view(),
    };
    let range = *taken..taken.saturating_add(row);
    *taken = range.end;
    samples.get(range).ok_or_else(missing)
}

fn convert(values: impl Iterator<Item = u8>, from: Channels, to: Channels, background: [u8; 3], out: &mut Vec<u8>) {
    let mut values = values;
    let over = |value: u8, alpha: u8, behind: u8| {
        ((u32::from(value) * u32::from(alpha) + u32::from(behind) * (255 - u32::from(alpha)) + 127) / 255) as u8
    };
    while let Some(first) = values.next() {
        let mut value = || values.next().unwrap_or(0);
        let colour = if from.colours() == 1 { [first; 3] } else { [first, value(), value()] };
        let alpha = if from.has_alpha() { value() } else { 255 };
        let colour = if to.has_alpha() || alpha == 255 {
            colour
        } else {
            [0, 1, 2].map(|i| over(colour[i], alpha, background[i]))
        };
        if to.colours() == 1 {
            // The weights of ITU-R BT.601, as every program makes grey; equal values stay what they are.
            let [r, g, b] = colour.map(u32::from);
            out.push(((r * 299 + g * 587 + b * 114 + 500) / 1000) as u8);
        } else {
            out.extend(colour);
        }
        if to.has_alpha() {
            out.push(alpha);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[u8], from: Channels, to: Channels) -> Vec<u8> {
        let mut out = Vec::new();
        convert(values.iter().copied(), from, to, [255, 255, 0], &mut out);
        out
    }

    #[test]
    fn rows_change_their_channels() {
        use Channels::{Grey, GreyAlpha, Rgb, Rgba};
        assert_eq!(row(&[7, 9], Grey, Rgb), [7, 7, 7, 9, 9, 9]);
        assert_eq!(row(&[7, 9], Grey, Rgba), [7, 7, 7, 255, 9, 9, 9, 255]);
        assert_eq!(row(&[7, 0], GreyAlpha, Rgb), [255, 255, 0]);
        assert_eq!(row(&[7, 9], GreyAlpha, Rgba), [7, 7, 7, 9]);
        assert_eq!(row(&[1, 2, 3, 255], Rgba, Rgb), [1, 2, 3]);
        assert_eq!(row(&[40, 40, 40], Rgb, Grey), [40]);
    }
}
