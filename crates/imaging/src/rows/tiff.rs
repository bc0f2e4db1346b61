//! TIFF in strips: decoded strip by strip; long strips that are not compressed are read row by row where they stand.

use std::io::{self, Read, Seek, SeekFrom};

use tiff::ColorType;
use tiff::decoder::{ChunkType, Decoder, DecodingResult, Limits};
use tiff::tags::{ByteOrder, Tag};

use super::{Input, RowSource, Stream, append, row_values};
use crate::decode::divide_by_alpha;
use crate::exif::{EXIF_DIRECTORY, GPS_DIRECTORY, size_of_kind};
use crate::{Channels, DecodeLimits, Depth, ImagingError, Samples};

/// The longest strip that is decoded at once.
const LONGEST_STRIP: u64 = 8 << 20;
/// What the decoder may take beside a strip.
const SLACK: usize = 64 << 20;
const UNCOMPRESSED: u16 = 1;
const CONTIGUOUS: u16 = 1;
const UNSIGNED: u16 = 1;
const BLACK_IS_ZERO: u16 = 1;
const RGB: u16 = 2;
/// Entries of a directory that are looked at, as the reader of metadata does.
const MOST_ENTRIES: usize = 512;
/// Tags that say where the pixels stand.
const PLACES: [u16; 4] = [273, 279, 324, 325];
const NOWHERE: [u8; 4] = [0xff; 4];

/// The file without its pixels: the first directory and the two that metadata is read from, with their values. BigTIFF gives
/// its mark alone, since its metadata is not read.
pub(super) fn outline(input: &mut dyn Input, limits: &DecodeLimits) -> io::Result<Vec<u8>> {
    input.rewind()?;
    let mut out = Vec::new();
    append(input, 8, &mut out)?;
    let big_endian = match out.get(..4) {
        Some(b"MM\0\x2a") => true,
        Some(b"II\x2a\0") => false,
        _ => return Ok(out),
    };
    let mut copy = Copying { input, big_endian, most: limits.max_metadata_bytes, left: 0 };
    copy.left = copy.most.saturating_mul(4);
    let Some(first) = out.get(4..8).map(|at| copy.long(at)) else { return Ok(out) };
    out[4..8].copy_from_slice(&copy.bytes(8));
    let links = copy.directory(first, &mut out)?;
    for (place, at) in links {
        let here = out.len() as u32;
        out[place..place + 4].copy_from_slice(&copy.bytes(here));
        copy.directory(at, &mut out)?;
    }
    Ok(out)
}

struct Copying<'a> {
    input: &'a mut dyn Input,
    big_endian: bool,
    /// Bytes of one value and of all.
    most: usize,
    left: usize,
}

impl Copying<'_> {
    fn long(&self, bytes: &[u8]) -> u32 {
        let bytes = bytes.try_into().unwrap_or([0; 4]);
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    fn short(&self, bytes: &[u8]) -> u16 {
        let bytes = bytes.try_into().unwrap_or([0; 2]);
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    fn bytes(&self, number: u32) -> [u8; 4] {
        if self.big_endian { number.to_be_bytes() } else { number.to_le_bytes() }
    }

    /// As many bytes as there are, at most `most`, from `at`.
    fn read(&mut self, at: u32, most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.input.seek(SeekFrom::Start(u64::from(at)))?;
        append(self.input, most as u64, &mut bytes)?;
        Ok(bytes)
    }

    /// Appends a directory and its values; returns where the links to other directories stand and what they point to.
    fn directory(&mut self, at: u32, out: &mut Vec<u8>) -> io::Result<Vec<(usize, u32)>> {
        let start = out.len();
        let count = self.read(at, 2)?;
        if count.len() < 2 {
            return Ok(Vec::new());
        }
        let count = usize::from(self.short(&count));
        // The entries, and the place of the next directory.
        let directory = self.read(at, 2 + 12 * count + 4)?;
        out.extend(&directory);
        let mut links = Vec::new();
        for (index, entry) in directory[2..].chunks_exact(12).take(count.min(MOST_ENTRIES)).enumerate() {
            let place = start + 2 + 12 * index + 8;
            let (tag, kind) = (self.short(&entry[..2]), self.short(&entry[2..4]));
            let (number, value) = (self.long(&entry[4..8]), self.long(&entry[8..]));
            let size = size_of_kind(kind);
            let length = (number as usize).saturating_mul(size);
            if matches!(tag, EXIF_DIRECTORY | GPS_DIRECTORY) {
                links.push((place, value));
            }
            if length <= 4 {
                continue;
            }
            // A block beyond the limit keeps one byte too many, which is enough to be refused by name.
            let kept = if size == 1 { length.min(self.most.saturating_add(1)) } else { length };
            let allowed = !PLACES.contains(&tag) && kept <= self.left && kept <= self.most.saturating_add(1);
            let bytes = if allowed { self.read(value, kept)? } else { Vec::new() };
            if bytes.len() < kept || kept == 0 {
                out[place..place + 4].copy_from_slice(&NOWHERE);
                continue;
            }
            self.left -= kept;
            let here = out.len() as u32;
            out[place - 4..place].copy_from_slice(&self.bytes((kept / size) as u32));
            out[place..place + 4].copy_from_slice(&self.bytes(here));
            out.extend(bytes);
        }
        Ok(links)
    }
}

/// `None` when the file must be decoded whole.
pub(super) fn stream(
    input: Box<dyn Input>,
    associated: bool,
    length: u64,
    limits: &DecodeLimits,
) -> Result<Option<Stream>, ImagingError> {
    let Ok(mut decoder) = Decoder::new(input) else { return Ok(None) };
    // Whatever is odd about the tags, the decoder of the whole says it.
    let Some((width, height, channels, depth)) = layout(&mut decoder) else { return Ok(None) };
    limits.check_size(width, height)?;
    let Some(row) = row_values(width, channels) else { return Ok(None) };
    let strip = decoder.chunk_dimensions().1.min(height).max(1);
    let strip_bytes = (row as u64).saturating_mul(depth.bytes() as u64).saturating_mul(u64::from(strip));
    let alpha = associated.then_some(channels);
    if strip_bytes <= LONGEST_STRIP {
        let mut bounds = Limits::default();
        bounds.decoding_buffer_size = strip_bytes as usize;
        bounds.intermediate_buffer_size = strip_bytes as usize + SLACK;
        let decoder = decoder.with_limits(bounds);
        let held = empty(depth);
        let rows = Box::new(Strips { decoder, row, depth, strip: 0, held, taken: 0, alpha });
        return Ok(Some(Stream { width, height, channels, depth, rows }));
    }
    let Some(places) = plain_strips(&mut decoder, channels, height, strip, row * depth.bytes(), length) else {
        return Ok(None);
    };
    let swapped = matches!(decoder.byte_order(), ByteOrder::BigEndian);
    let rows = Box::new(PlainRows { decoder, places, strip, row, depth, big_endian: swapped, next: 0, alpha });
    Ok(Some(Stream { width, height, channels, depth, rows }))
}

type TiffDecoder = Decoder<Box<dyn Input>>;

fn empty(depth: Depth) -> Samples {
    if depth == Depth::Eight { Samples::U8(Vec::new()) } else { Samples::U16(Vec::new()) }
}

fn tag(decoder: &mut TiffDecoder, tag: Tag) -> Option<u16> {
    decoder.find_tag_unsigned::<u16>(tag).ok().flatten()
}

/// Width, height, channels and depth of a picture in strips that needs no more than its strips.
fn layout(decoder: &mut TiffDecoder) -> Option<(u32, u32, Channels, Depth)> {
    let (width, height) = decoder.dimensions().ok()?;
    let black = tag(decoder, Tag::PhotometricInterpretation) == Some(BLACK_IS_ZERO);
    let (channels, bits) = match decoder.colortype().ok()? {
        ColorType::Gray(bits) => (Channels::Grey, bits),
        ColorType::GrayA(bits) => (Channels::GreyAlpha, bits),
        ColorType::Multiband { bit_depth, num_samples: 2 } if black => (Channels::GreyAlpha, bit_depth),
        ColorType::RGB(bits) => (Channels::Rgb, bits),
        ColorType::RGBA(bits) => (Channels::Rgba, bits),
        _ => return None,
    };
    let depth = match bits {
        8 => Depth::Eight,
        16 => Depth::Sixteen,
        _ => return None,
    };
    let formats = decoder.find_tag_unsigned_vec::<u16>(Tag::SampleFormat).ok()?.unwrap_or_default();
    let contiguous = tag(decoder, Tag::PlanarConfiguration).unwrap_or(CONTIGUOUS) == CONTIGUOUS;
    let sound = contiguous && decoder.get_chunk_type() == ChunkType::Strip && formats.iter().all(|f| *f == UNSIGNED);
    (sound && width > 0 && height > 0).then_some((width, height, channels, depth))
}

/// Where strips stand whose bytes are the values.
fn plain_strips(
    decoder: &mut TiffDecoder,
    channels: Channels,
    height: u32,
    strip: u32,
    row_bytes: usize,
    length: u64,
) -> Option<Vec<u64>> {
    let colours = tag(decoder, Tag::PhotometricInterpretation)?;
    let plain = tag(decoder, Tag::Compression).unwrap_or(UNCOMPRESSED) == UNCOMPRESSED
        && tag(decoder, Tag::Predictor).unwrap_or(1) == 1
        && tag(decoder, Tag::FillOrder).unwrap_or(1) == 1
        && colours == if channels.colours() == 1 { BLACK_IS_ZERO } else { RGB }
        && tag(decoder, Tag::SamplesPerPixel).unwrap_or(1) == channels.count() as u16;
    let places = decoder.get_tag_u64_vec(Tag::StripOffsets).ok()?;
    let counts = decoder.get_tag_u64_vec(Tag::StripByteCounts).ok()?;
    let expected = height.div_ceil(strip) as usize;
    if !plain || places.len() != expected || counts.len() != expected {
        return None;
    }
    let whole = |(index, (place, count)): (usize, (&u64, &u64))| {
        let rows = u64::from(strip.min(height - index as u32 * strip));
        let bytes = rows.saturating_mul(row_bytes as u64);
        *count >= bytes && place.saturating_add(bytes) <= length
    };
    places.iter().zip(&counts).enumerate().all(whole).then_some(places)
}

struct Strips {
    decoder: TiffDecoder,
    row: usize,
    depth: Depth,
    /// The next strip to decode.
    strip: u32,
    held: Samples,
    /// Values of `held` that were handed out.
    taken: usize,
    alpha: Option<Channels>,
}

impl RowSource for Strips {
    fn next_rows(&mut self, rows: u32) -> Result<Samples, ImagingError> {
        let wanted = self.row.saturating_mul(rows as usize);
        let mut out = empty(self.depth);
        while out.view().len() < wanted {
            let left = self.held.view().len() - self.taken;
            if left == 0 {
                self.advance()?;
                continue;
            }
            let part = left.min(wanted - out.view().len());
            let range = self.taken..self.taken + part;
            match (&mut out, &self.held) {
                (Samples::U8(out), Samples::U8(held)) => out.extend_from_slice(&held[range]),
                (Samples::U16(out), Samples::U16(held)) => out.extend_from_slice(&held[range]),
                _ => return Err(ImagingError::damaged("TIFF", "a strip has another depth")),
            }
            self.taken += part;
        }
        Ok(straight(out, self.alpha))
    }
}

impl Strips {
    fn advance(&mut self) -> Result<(), ImagingError> {
        let failed = |e: tiff::TiffError| match e {
            tiff::TiffError::IoError(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                ImagingError::damaged("TIFF", "the file is cut off")
            }
            other => ImagingError::damaged("TIFF", other.to_string()),
        };
        self.held = match self.decoder.read_chunk(self.strip).map_err(failed)? {
            DecodingResult::U8(values) => Samples::U8(values),
            DecodingResult::U16(values) => Samples::U16(values),
            _ => return Err(ImagingError::damaged("TIFF", "a strip holds other values than the picture")),
        };
        (self.strip, self.taken) = (self.strip + 1, 0);
        let length = self.held.view().len();
        if length == 0 || !length.is_multiple_of(self.row) {
            return Err(ImagingError::damaged("TIFF", "a strip holds no whole rows"));
        }
        Ok(())
    }
}

struct PlainRows {
    decoder: TiffDecoder,
    places: Vec<u64>,
    /// Rows of one strip.
    strip: u32,
    row: usize,
    depth: Depth,
    big_endian: bool,
    next: u32,
    alpha: Option<Channels>,
}

impl RowSource for PlainRows {
    fn next_rows(&mut self, rows: u32) -> Result<Samples, ImagingError> {
        let row_bytes = self.row * self.depth.bytes();
        let mut bytes = vec![0; row_bytes.saturating_mul(rows as usize)];
        for row in bytes.chunks_exact_mut(row_bytes) {
            let place = self.places.get((self.next / self.strip) as usize).copied().unwrap_or(u64::MAX);
            let at = place.saturating_add(u64::from(self.next % self.strip) * row_bytes as u64);
            let input = self.decoder.inner();
            let read = input.seek(SeekFrom::Start(at)).and_then(|_| input.read_exact(row));
            read.map_err(|e| ImagingError::damaged("TIFF", e.to_string()))?;
            self.next += 1;
        }
        let number = if self.big_endian { u16::from_be_bytes } else { u16::from_le_bytes };
        let samples = match self.depth {
            Depth::Eight => Samples::U8(bytes),
            Depth::Sixteen => Samples::U16(bytes.chunks_exact(2).map(|p| number([p[0], p[1]])).collect()),
        };
        Ok(straight(samples, self.alpha))
    }
}

/// Colours that were multiplied with alpha, as they were before.
fn straight(mut samples: Samples, alpha: Option<Channels>) -> Samples {
    if let Some(channels) = alpha {
        divide_by_alpha(&mut samples, channels);
    }
    samples
}
