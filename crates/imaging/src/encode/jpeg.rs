//! Baseline JPEG through `image`'s encoder, which asks for pixels in bands of eight rows from the top: so it needs no more
//! than one band of them.

use std::cell::RefCell;
use std::marker::PhantomData;

use image::codecs::jpeg::JpegEncoder;
use image::{GenericImageView, Luma, Pixel, PixelWithColorType, Rgb};

use super::feed::RowFeed;
use super::insert::Inserting;
use super::{EncodeOptions, RowHeader, Sink, refused};
use crate::container::jpeg_blocks;
use crate::{Channels, Format, ImagingError};

/// SOI and the JFIF segment that the encoder begins with.
const HEADER: usize = 2 + 18;
const BAND: u32 = 8;

pub(super) fn write(
    header: &RowHeader,
    options: &EncodeOptions,
    feed: &mut RowFeed<'_>,
    sink: &mut dyn Sink,
) -> Result<(), ImagingError> {
    let sink = Inserting::new(sink, HEADER, jpeg_blocks(&header.metadata)?);
    let encoder = JpegEncoder::new_with_quality(sink, options.jpeg_quality);
    let state = State { feed, band: Vec::new(), next: 0, failed: None };
    let (width, height, state) = (header.width, header.height, RefCell::new(state));
    if header.channels.colours() == 1 {
        let channels = Channels::Grey;
        encode(encoder, &Bands::<Luma<u8>> { width, height, channels, options, state, pixel: PhantomData })
    } else {
        let channels = Channels::Rgb;
        encode(encoder, &Bands::<Rgb<u8>> { width, height, channels, options, state, pixel: PhantomData })
    }
}

fn encode<P: Pixel<Subpixel = u8> + PixelWithColorType>(
    mut encoder: JpegEncoder<Inserting<'_, dyn Sink + '_>>,
    bands: &Bands<'_, '_, P>,
) -> Result<(), ImagingError> {
    let done = encoder.encode_image(bands);
    if let Some(error) = bands.state.borrow_mut().failed.take() {
        return Err(error);
    }
    done.map_err(|e| refused(Format::Jpeg, e))
}

/// The picture as the encoder sees it.
struct Bands<'a, 'f, P> {
    width: u32,
    height: u32,
    channels: Channels,
    options: &'a EncodeOptions,
    state: RefCell<State<'a, 'f>>,
    pixel: PhantomData<P>,
}

struct State<'a, 'f> {
    feed: &'a mut RowFeed<'f>,
    /// The last rows read, eight at most.
    band: Vec<u8>,
    /// The first row not yet read.
    next: u32,
    failed: Option<ImagingError>,
}

impl State<'_, '_> {
    /// Reads the band that holds row `y`. A pixel cannot fail, so the error waits until the encoder is done.
    fn advance(&mut self, y: u32, height: u32, channels: Channels, background: [u8; 3]) {
        while self.next <= y && self.failed.is_none() {
            self.band.clear();
            for _ in 0..BAND.min(height - self.next) {
                match self.feed.next_eight(channels, background) {
                    Ok(row) => self.band.extend_from_slice(row),
                    Err(error) => {
                        self.failed = Some(error);
                        return;
                    }
                }
                self.next += 1;
            }
        }
    }
}

impl<P: Pixel<Subpixel = u8>> GenericImageView for Bands<'_, '_, P> {
    type Pixel = P;

    fn dimensions(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    fn get_pixel(&self, x: u32, y: u32) -> P {
        let mut state = self.state.borrow_mut();
        if y >= state.next {
            state.advance(y, self.height, self.channels, self.options.background);
        }
        let count = self.channels.count();
        let start = ((y % BAND) as usize * self.width as usize + x as usize) * count;
        *P::from_slice(state.band.get(start..start + count).unwrap_or(&[0; 3][..count]))
    }
}
