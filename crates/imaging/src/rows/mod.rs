//! A picture read row by row: the maker of a large picture never holds the whole of what it is made from.
//!
//! PNG that is not interlaced, TIFF in strips and 24-bit BMP stream with memory for a few rows; everything else (JPEG, WebP,
//! GIF, interlaced and animated PNG, whatever EXIF turns, DICOM) is decoded whole and handed out in rows. Either way the rows
//! are those of [`crate::decode_deep`].

mod bmp;
mod png;
mod tiff;

use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::colour::{ToSrgb, check_profile};
use crate::decode::{beside, decode_deep, guarded, read_file};
use crate::{Channels, DecodeLimits, DeepPicture, Depth, Format, ImagingError, RowHeader, Samples, Warning};

/// Bytes that show what a file is: a DICOM file says so after 128 of anything.
const HEAD: u64 = 256;

/// Bytes of a file, in any order.
trait Input: BufRead + Seek + Send {}

impl<T: BufRead + Seek + Send> Input for T {}

/// What hands out the rows of one picture.
trait RowSource: Send {
    /// The next `rows` rows; the caller asks for one at least and for no more than there are left.
    fn next_rows(&mut self, rows: u32) -> Result<Samples, ImagingError>;
}

/// What a streaming reader learns before the first row.
struct Stream {
    width: u32,
    height: u32,
    channels: Channels,
    depth: Depth,
    rows: Box<dyn RowSource>,
}

enum Source {
    Whole(DeepPicture),
    Stream(Box<dyn RowSource>),
}

/// Where a file can be read again from its beginning.
enum Origin {
    File(PathBuf),
    Memory(Shared),
}

#[derive(Clone)]
struct Shared(Arc<Vec<u8>>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Hands out the rows of a picture from the top.
pub struct RowReader {
    header: RowHeader,
    warnings: Vec<Warning>,
    format: Option<Format>,
    source: Source,
    /// The first row not yet handed out.
    next: u32,
    /// Why no more rows come.
    failed: Option<String>,
    converter: Option<ToSrgb>,
}

/// Begins to read a picture file row by row.
///
/// # Errors
/// [`ImagingError::Read`] when the file cannot be read, otherwise as [`crate::decode_deep`]; damage that lies in the rows of a
/// file that streams is met when they are read.
pub fn open_rows(path: &Path, limits: &DecodeLimits) -> Result<RowReader, ImagingError> {
    let failed = |source| ImagingError::Read { path: path.to_owned(), source };
    let about = std::fs::metadata(path).map_err(failed)?;
    // What is no file, such as a pipe, can be read once only.
    if !about.is_file() {
        return rows_of(read_file(path, limits)?, limits);
    }
    limits.check_file(about.len())?;
    Origin::File(path.to_owned()).begin(limits)
}

/// As [`open_rows`], from the bytes of a file.
///
/// # Errors
/// As [`open_rows`].
pub fn rows_of(bytes: Vec<u8>, limits: &DecodeLimits) -> Result<RowReader, ImagingError> {
    limits.check_file(bytes.len() as u64)?;
    Origin::Memory(Shared(Arc::new(bytes))).begin(limits)
}

impl Origin {
    fn open(&self) -> Result<Box<dyn Input>, ImagingError> {
        Ok(match self {
            Self::File(path) => Box::new(BufReader::new(File::open(path).map_err(|e| self.failed(e))?)),
            Self::Memory(bytes) => Box::new(Cursor::new(bytes.clone())),
        })
    }

    fn failed(&self, source: io::Error) -> ImagingError {
        match self {
            Self::File(path) => ImagingError::Read { path: path.clone(), source },
            Self::Memory(_) => ImagingError::damaged("unknown", source.to_string()),
        }
    }

    fn begin(self, limits: &DecodeLimits) -> Result<RowReader, ImagingError> {
        let mut input = self.open()?;
        let length = input.seek(SeekFrom::End(0)).map_err(|e| self.failed(e))?;
        let mut head = Vec::new();
        let mut start = || -> io::Result<()> {
            input.rewind()?;
            append(&mut *input, HEAD, &mut head)
        };
        start().map_err(|e| self.failed(e))?;
        let format = Format::sniff(&head);
        if let Some(format @ (Format::Png | Format::Tiff | Format::Bmp)) = format
            && let Some(reader) = guarded(format, || self.streaming(format, input, length, limits))?
        {
            return Ok(reader);
        }
        let picture = match &self {
            Self::File(path) => decode_deep(&read_file(path, limits)?, limits)?,
            Self::Memory(bytes) => decode_deep(bytes.as_ref(), limits)?,
        };
        Ok(RowReader { format, ..RowReader::from(picture) })
    }

    /// A reader that streams; `None` when the file must be decoded whole.
    fn streaming(
        &self,
        format: Format,
        mut input: Box<dyn Input>,
        length: u64,
        limits: &DecodeLimits,
    ) -> Result<Option<RowReader>, ImagingError> {
        let outline = match format {
            Format::Png => png::outline(&mut *input, length, limits),
            Format::Tiff => tiff::outline(&mut *input, limits),
            _ => bmp::outline(&mut *input, length, limits),
        };
        let outline = outline.map_err(|e| self.failed(e))?;
        let about = beside(format, &outline, limits);
        if about.orientation != 1 {
            return Ok(None);
        }
        input.rewind().map_err(|e| self.failed(e))?;
        let stream = match format {
            Format::Png => png::stream(input, &outline, length, limits)?,
            Format::Tiff => tiff::stream(input, about.associated_alpha, length, limits)?,
            _ => bmp::stream(input, &outline, length, limits)?,
        };
        let Some(Stream { width, height, channels, depth, rows }) = stream else { return Ok(None) };
        let (mut metadata, mut warnings) = (about.metadata, about.warnings);
        check_profile(&mut metadata, channels, &mut warnings);
        Ok(Some(RowReader {
            header: RowHeader { width, height, channels, depth, metadata },
            warnings,
            format: Some(format),
            source: Source::Stream(rows),
            next: 0,
            failed: None,
            converter: None,
        }))
    }
}

impl RowReader {
    /// Size, channels and depth of the rows, upright as they are handed out, and what the file says beside its pixels; a
    /// [`crate::RowWriter`] takes the same.
    pub fn header(&self) -> &RowHeader {
        &self.header
    }

    /// What was odd about the file although its pixels are right.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The kind of file; `None` for DICOM and for pictures that came out of memory.
    pub fn format(&self) -> Option<Format> {
        self.format
    }

    /// True when only a few rows are held, false when the whole picture is.
    pub fn streams(&self) -> bool {
        matches!(self.source, Source::Stream(_))
    }

    /// Rows that are still to come.
    pub fn rows_left(&self) -> u32 {
        self.header.height - self.next
    }

    /// The next rows, at most `most` (one at least), as a picture of their own without metadata; `None` after the last.
    ///
    /// # Errors
    /// [`ImagingError::Damaged`] where a file that streams is damaged: the rows before it were right, and no more will come.
    pub fn read_rows(&mut self, most: u32) -> Result<Option<DeepPicture>, ImagingError> {
        let format = self.format.map_or("picture", Format::name);
        if let Some(reason) = &self.failed {
            return Err(ImagingError::damaged(format, reason.clone()));
        }
        let rows = most.max(1).min(self.rows_left());
        if rows == 0 {
            return Ok(None);
        }
        self.take(rows).map(Some).inspect_err(|error| self.failed = Some(format!("no more rows after: {error}")))
    }

    fn take(&mut self, rows: u32) -> Result<DeepPicture, ImagingError> {
        let RowHeader { width, channels, .. } = self.header;
        let samples = match &mut self.source {
            Source::Whole(picture) => picture.rows(self.next, rows).map(|rows| rows.to_owned()),
            Source::Stream(source) => {
                let format = self.format.unwrap_or(Format::Png);
                Some(guarded(format, || source.next_rows(rows))?)
            }
        };
        let samples = samples.ok_or_else(|| ImagingError::argument("rows", "reach outside the picture"))?;
        let samples = match &self.converter {
            None => samples,
            Some(converter) => converter
                .apply(samples.view())
                .ok_or_else(|| ImagingError::argument("ICC profile", "it cannot be used for these rows"))?,
        };
        self.next += rows;
        DeepPicture::new(width, rows, channels, samples)
    }

    /// The same rows as sRGB values, without a profile, as [`crate::colour::to_srgb`] makes them of a whole picture.
    #[must_use]
    pub fn into_srgb(mut self) -> Self {
        let Some(profile) = self.header.metadata.icc.take() else { return self };
        self.converter = ToSrgb::new(&profile, self.header.channels, self.header.depth);
        if self.converter.is_none() {
            self.warnings.push(ToSrgb::unusable());
        }
        self
    }
}

impl From<DeepPicture> for RowReader {
    /// Rows of a picture that is decoded already, by a child process for example.
    fn from(mut picture: DeepPicture) -> Self {
        let (width, height) = (picture.width(), picture.height());
        let (channels, depth) = (picture.channels(), picture.depth());
        let metadata = std::mem::take(&mut picture.metadata);
        let warnings = std::mem::take(&mut picture.warnings);
        Self {
            header: RowHeader { width, height, channels, depth, metadata },
            warnings,
            format: None,
            source: Source::Whole(picture),
            next: 0,
            failed: None,
            converter: None,
        }
    }
}

/// As many bytes as there are, at most `most`, to the end of `out`.
fn append(input: &mut dyn Input, most: u64, out: &mut Vec<u8>) -> io::Result<()> {
    input.take(most).read_to_end(out).map(|_| ())
}

/// Skips bytes without losing what is buffered where there are few.
fn skip(input: &mut dyn Input, bytes: u64) -> io::Result<()> {
    if bytes < 4096 {
        io::copy(&mut input.take(bytes), &mut io::sink()).map(|_| ())
    } else {
        input.seek(SeekFrom::Current(i64::try_from(bytes).unwrap_or(i64::MAX))).map(|_| ())
    }
}

/// Values of a row; `None` when no memory could hold them.
fn row_values(width: u32, channels: Channels) -> Option<usize> {
    (width as usize).checked_mul(channels.count())
}
