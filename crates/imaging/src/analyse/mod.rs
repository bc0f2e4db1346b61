//! Looks at a picture and says in numbers what may be done about it: how noisy it is, whether it shows the blocks of a JPEG,
//! how wide its edges are, and whether it is a photograph, a drawing or text.
//!
//! Twelve bands of 128 rows are looked at, spread over the picture, so that a large one takes no longer than a middling one
//! and none must be held whole. All values are those of an 8-bit picture, 0…255; what is transparent lies on white.

mod blocks;
mod edges;
mod kind;
mod noise;
mod tables;

pub use blocks::Blocking;
pub use kind::{Features, Kind};
pub use tables::{JpegQuality, jpeg_quality};

use crate::{Channels, DeepPicture, ImagingError, RowReader, SamplesRef};

/// Rows of a band; a multiple of the eight rows of a JPEG's block.
const BAND: u32 = 128;
const MOST_BANDS: u64 = 12;
/// A wider picture is looked at in four pieces of this width.
const PIECE: usize = 1024;
const PIECES: usize = 4;
/// A pixel whose channels are further apart than this is coloured: a JPEG moves grey by less.
const COLOURED: f32 = 10.0;
/// Share of coloured pixels from which a picture is no longer grey.
const FEW_COLOURED: f64 = 0.005;

/// What a picture looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Analysis {
    /// Photograph, drawing or text.
    pub kind: Kind,
    /// What the kind was told from.
    pub features: Features,
    /// Standard deviation of the noise on luma, in levels of 255; 0 where too little of the picture is calm enough to tell.
    /// Noise whose grains are wider than a pixel (of an enlarged photograph) is told too low.
    pub noise: f32,
    /// The blocks of a JPEG; `None` when there is no sign of them.
    pub blocking: Option<Blocking>,
    /// True when there is no colour worth naming.
    pub grey: bool,
    /// Width in pixels of the sharpest quarter of all strong edges: below 1.7 as sharp as pixels can show, above 3 blurred.
    /// `None` when there are hardly any strong edges.
    pub edge_width: Option<f32>,
}

/// Analyses a picture.
pub fn analyse(picture: &DeepPicture) -> Analysis {
    let mut analyser = Analyser::new(picture.width(), picture.height(), picture.channels());
    for top in (0..picture.height()).step_by(BAND as usize) {
        if let Some(rows) = picture.rows(top, BAND.min(picture.height() - top)) {
            analyser.push(rows);
        }
    }
    analyser.finish()
}

/// Analyses what is left of a picture that is read row by row.
///
/// # Errors
/// Those of [`RowReader::read_rows`].
pub fn analyse_rows(reader: &mut RowReader) -> Result<Analysis, ImagingError> {
    let mut analyser = Analyser::new(reader.header().width, reader.rows_left(), reader.header().channels);
    while let Some(rows) = reader.read_rows(BAND)? {
        analyser.push(rows.samples());
    }
    Ok(analyser.finish())
}

/// Gathers what is seen while the rows of a picture go by.
pub struct Analyser {
    width: usize,
    height: u32,
    channels: Channels,
    /// Rows gone by, and the values of the band that is being gathered.
    rows: u32,
    band: Vec<f32>,
    noise: noise::Gathered,
    blocks: blocks::Gathered,
    edges: edges::Gathered,
    kinds: kind::Gathered,
}

/// A piece of the picture on its way into the measures.
struct Window {
    width: usize,
    height: usize,
    /// The place of its first pixel within a JPEG's blocks.
    left: usize,
    luma: Vec<f32>,
    /// `[height, width, 3]`.
    colour: Vec<f32>,
}

impl Analyser {
    /// For a picture of this size.
    pub fn new(width: u32, height: u32, channels: Channels) -> Self {
        Self {
            width: width as usize,
            height,
            channels,
            rows: 0,
            band: Vec::new(),
            noise: noise::Gathered::default(),
            blocks: blocks::Gathered::default(),
            edges: edges::Gathered::default(),
            kinds: kind::Gathered::default(),
        }
    }

    /// Takes the next rows, whole ones; those beyond the last are ignored.
    pub fn push(&mut self, rows: SamplesRef<'_>) {
        let row = self.width * self.channels.count();
        for y in 0..rows.len().checked_div(row).unwrap_or(0) {
            if self.rows >= self.height {
                return;
            }
            if self.is_seen(self.rows / BAND) {
                match rows.get(y * row..(y + 1) * row) {
                    Some(SamplesRef::U8(values)) => self.take(values.iter().map(|v| f32::from(*v))),
                    Some(SamplesRef::U16(values)) => self.take(values.iter().map(|v| f32::from(*v) / 257.0)),
                    None => {}
                }
            }
            self.rows += 1;
            if self.rows.is_multiple_of(BAND) || self.rows == self.height {
                self.look();
            }
        }
    }

    /// What was seen.
    pub fn finish(mut self) -> Analysis {
        self.look();
        let noise = self.noise.sigma();
        let features = self.kinds.features();
        Analysis {
            kind: features.kind(),
            features,
            noise,
            blocking: self.blocks.found(),
            grey: self.channels.colours() == 1 || self.kinds.coloured() < FEW_COLOURED,
            edge_width: self.edges.sharpest_quarter(),
        }
    }

    /// Whether a band is one of those that are looked at.
    fn is_seen(&self, band: u32) -> bool {
        let bands = u64::from(self.height.div_ceil(BAND)).max(1);
        let part = |band: u64| band * MOST_BANDS / bands;
        bands <= MOST_BANDS || part(u64::from(band) + 1) > part(u64::from(band))
    }

    /// Appends a row of colours on white.
    fn take(&mut self, mut values: impl Iterator<Item = f32>) {
        while let Some(first) = values.next() {
            let mut next = || values.next().unwrap_or(255.0);
            let colour = if self.channels.colours() == 1 { [first; 3] } else { [first, next(), next()] };
            let alpha = if self.channels.has_alpha() { next() / 255.0 } else { 1.0 };
            self.band.extend(colour.map(|v| v * alpha + 255.0 * (1.0 - alpha)));
        }
    }

    fn look(&mut self) {
        let height = (self.band.len() / 3).checked_div(self.width).unwrap_or(0);
        let pieces: Vec<(usize, usize)> = if self.width > PIECES * PIECE {
            (0..PIECES).map(|i| ((self.width - PIECE) * i / (PIECES - 1) / 8 * 8, PIECE)).collect()
        } else {
            vec![(0, self.width)]
        };
        for (left, width) in pieces.into_iter().filter(|_| height > 0) {
            let rows = self.band.chunks_exact(self.width * 3);
            let colour: Vec<f32> = rows.flat_map(|row| row[left * 3..(left + width) * 3].iter().copied()).collect();
            let luma = colour.chunks_exact(3).map(|p| 0.299 * p[0] + 0.587 * p[1] + 0.114 * p[2]).collect();
            let window = Window { width, height, left: left % 8, luma, colour };
            self.noise.look(&window);
            self.blocks.look(&window);
            self.edges.look(&window);
            self.kinds.look(&window);
        }
        self.band.clear();
    }
}

impl Window {
    /// Luma with rows and columns changed places.
    fn turned(&self) -> Vec<f32> {
        (0..self.width).flat_map(|x| (0..self.height).map(move |y| self.luma[y * self.width + x])).collect()
    }
}
