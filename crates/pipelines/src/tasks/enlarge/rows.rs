//! The values of a file's rows into the chain and out of it: grey and colour, 8 and 16 bits.

use danqing_imaging::{Channels, Depth, Samples, SamplesRef};

use super::{EnlargeOptions, Enlargement, Link};
use crate::control::Control;
use crate::error::TaskError;

/// An [`Enlargement`] between rows of a file's own values: grey stays grey, alpha stays, 16 bits stay if the result's file has them.
pub struct SampleEnlargement<'a> {
    chain: Enlargement<'a>,
    channels: Channels,
    width: usize,
    depth: Depth,
}

impl<'a> SampleEnlargement<'a> {
    /// A chain for rows of `channels`; the result's rows have the same, with values of `depth`. The rest is as for
    /// [`Enlargement::new`].
    ///
    /// # Errors
    /// As [`Enlargement::new`].
    pub fn new(
        links: &[Link<'a>],
        from: (u32, u32),
        to: (u32, u32),
        channels: Channels,
        depth: Depth,
        options: &EnlargeOptions,
    ) -> Result<Self, TaskError> {
        let chain = Enlargement::new(links, from, to, 3 + usize::from(channels.has_alpha()), options)?;
        Ok(Self { chain, channels, width: from.0 as usize, depth })
    }

    /// Tiles of all networks.
    pub fn tiles(&self) -> usize {
        self.chain.tiles()
    }

    /// Takes whole rows and hands each row of the result that is complete to `sink`.
    ///
    /// # Errors
    /// [`TaskError::Request`] for parts of rows; otherwise as [`Enlargement::push`].
    pub fn push(
        &mut self,
        rows: SamplesRef<'_>,
        control: &dyn Control,
        sink: &mut dyn FnMut(SamplesRef<'_>) -> Result<(), TaskError>,
    ) -> Result<(), TaskError> {
        let Self { chain, channels, width, depth } = self;
        let pitch = *width * channels.count();
        if rows.is_empty() || !rows.len().is_multiple_of(pitch) {
            let found = rows.len();
            return Err(TaskError::Request(format!("{found} values are no rows of {pitch}")));
        }
        let mut floats = Vec::with_capacity(*width * 4);
        let mut out = match depth {
            Depth::Eight => Samples::U8(Vec::new()),
            Depth::Sixteen => Samples::U16(Vec::new()),
        };
        for start in (0..rows.len()).step_by(pitch) {
            let Some(row) = rows.get(start..start + pitch) else { break };
            floats.clear();
            spread(row, *channels, &mut floats);
            chain.push(&floats, control, &mut |line| {
                gathered(line, *channels, &mut out);
                sink(out.view())
            })?;
        }
        Ok(())
    }
}

/// Values in 0..1 with three colours a pixel, and alpha where there is one.
fn spread(row: SamplesRef<'_>, channels: Channels, out: &mut Vec<f32>) {
    match row {
        SamplesRef::U8(values) => spread_values(values.iter().map(|v| f32::from(*v) / 255.0), channels, out),
        SamplesRef::U16(values) => spread_values(values.iter().map(|v| f32::from(*v) / 65_535.0), channels, out),
    }
}

fn spread_values(mut values: impl Iterator<Item = f32>, channels: Channels, out: &mut Vec<f32>) {
    if channels.colours() == 3 {
        out.extend(values);
        return;
    }
    while let Some(grey) = values.next() {
        out.extend([grey; 3]);
        if channels.has_alpha() {
            out.extend(values.next());
        }
    }
}

/// The way back, rounded to the nearest; a network's colours become grey by the luma of ITU-R BT.601, which leaves equal ones alone.
fn gathered(line: &[f32], channels: Channels, out: &mut Samples) {
    // `as` saturates; adding one half rounds to the nearest.
    match out {
        Samples::U8(values) => gather(line, channels, values, |v| (v * 255.0 + 0.5) as u8),
        Samples::U16(values) => gather(line, channels, values, |v| (v * 65_535.0 + 0.5) as u16),
    }
}

fn gather<T>(line: &[f32], channels: Channels, out: &mut Vec<T>, rounded: impl Fn(f32) -> T) {
    out.clear();
    if channels.colours() == 3 {
        out.extend(line.iter().map(|v| rounded(*v)));
        return;
    }
    for pixel in line.chunks_exact(3 + usize::from(channels.has_alpha())) {
        out.push(rounded(0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2]));
        out.extend(pixel.get(3).map(|alpha| rounded(*alpha)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::Quiet;

    #[test]
    fn every_layout_and_depth_goes_through_unchanged_where_nothing_is_done() {
        for channels in [Channels::Grey, Channels::GreyAlpha, Channels::Rgb, Channels::Rgba] {
            let values: Vec<u16> = (0..5 * 3 * channels.count()).map(|i| (i * 9_973 % 65_536) as u16).collect();
            let eight: Vec<u8> = values.iter().map(|v| (v >> 8) as u8).collect();
            for samples in [Samples::U16(values), Samples::U8(eight)] {
                let depth = samples.view().depth();
                let mut rows =
                    SampleEnlargement::new(&[], (5, 3), (5, 3), channels, depth, &EnlargeOptions::default()).unwrap();
                let mut back = Vec::new();
                rows.push(samples.view(), &Quiet, &mut |row| {
                    back.push(row.to_owned());
                    Ok(())
                })
                .unwrap();
                let pitch = 5 * channels.count();
                assert_eq!(back.len(), 3);
                for (y, row) in back.iter().enumerate() {
                    assert_eq!(
                        Some(row.view()),
                        samples.view().get(y * pitch..(y + 1) * pitch),
                        "{channels:?} {depth:?}"
                    );
                }
                assert!(rows.push(SamplesRef::U8(&[1]), &Quiet, &mut |_| Ok(())).is_err());
            }
        }
    }
}
