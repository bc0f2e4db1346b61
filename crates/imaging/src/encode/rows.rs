//! A file that grows row by row: the maker of the rows never holds more of the result than it has just made.

use std::path::Path;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::feed::RowFeed;
use super::{EncodeOptions, RowHeader, Sink, check, write};
use crate::save::AtomicFile;
use crate::{Depth, Format, ImagingError, Samples, SamplesRef};

/// Blocks that may wait for the encoder before the maker of the rows waits for it.
const WAITING: usize = 2;

/// Takes the rows of one picture from the top and encodes them beside the caller, in a thread of its own. PNG, JPEG, TIFF
/// and BMP hold a few rows at a time; WebP and GIF need all of them before they can begin.
///
/// Dropped before [`RowWriter::finish`], it drops its sink with whatever was written there.
pub struct RowWriter<W> {
    sender: Option<SyncSender<Samples>>,
    encoder: Option<JoinHandle<Result<W, ImagingError>>>,
    depth: Depth,
    row: usize,
    left: u32,
}

impl<W: Sink + 'static> RowWriter<W> {
    /// Begins a file of this format.
    ///
    /// # Errors
    /// As [`crate::encode`], for what is known before the first row.
    pub fn begin(
        format: Format,
        header: RowHeader,
        options: &EncodeOptions,
        mut sink: W,
    ) -> Result<Self, ImagingError> {
        check(&header, format, options)?;
        let (depth, row, left, options) = (header.depth, header.row_values(), header.height, *options);
        let (sender, receiver) = sync_channel(WAITING);
        let work = move || {
            let mut feed = RowFeed::of_blocks(&header, receiver);
            write(format, &header, &options, &mut feed, &mut sink)?;
            Ok(sink)
        };
        let encoder = std::thread::Builder::new()
            .name("picture encoder".to_owned())
            .spawn(work)
            .map_err(|e| ImagingError::Encode { format: format.name(), reason: format!("no thread for it: {e}") })?;
        Ok(Self { sender: Some(sender), encoder: Some(encoder), depth, row, left })
    }

    /// The next rows, whole ones: `[rows, width, channels]` in the depth of the header.
    ///
    /// # Errors
    /// [`ImagingError::Argument`] for parts of rows, more rows than the picture is high, or the other depth; whatever kept
    /// the encoder from going on.
    pub fn write_rows(&mut self, rows: SamplesRef<'_>) -> Result<(), ImagingError> {
        if rows.depth() != self.depth {
            return Err(ImagingError::argument("rows", format!("have another depth than {:?}", self.depth)));
        }
        let count = rows.len() / self.row.max(1);
        if rows.is_empty() || rows.len() != count * self.row || count > self.left as usize {
            let reason = format!("{} values are no rows of {} ({} rows are left)", rows.len(), self.row, self.left);
            return Err(ImagingError::argument("rows", reason));
        }
        self.left -= count as u32;
        let taken = self.sender.as_ref().is_some_and(|sender| sender.send(rows.to_owned()).is_ok());
        // An encoder that takes no more has stopped at an error, which is what the caller wants to hear.
        if taken { Ok(()) } else { self.outcome().and(Err(stopped())) }
    }

    /// Waits until everything is encoded and returns the sink, which is not flushed.
    ///
    /// # Errors
    /// [`ImagingError::Argument`] when rows are missing, otherwise as [`crate::encode`].
    pub fn finish(mut self) -> Result<W, ImagingError> {
        self.outcome()
    }

    fn outcome(&mut self) -> Result<W, ImagingError> {
        // The end of the channel is the end of the rows.
        self.sender = None;
        let encoder = self.encoder.take().ok_or_else(stopped)?;
        encoder.join().unwrap_or_else(|_| Err(stopped()))
    }
}

impl<W> Drop for RowWriter<W> {
    /// Waits for the encoder, which stops at the missing rows: when this returns, nobody writes into the sink any more.
    fn drop(&mut self) {
        self.sender = None;
        if let Some(encoder) = self.encoder.take() {
            // Whoever drops a writer does not want its outcome.
            let _ = encoder.join();
        }
    }
}

fn stopped() -> ImagingError {
    ImagingError::Encode { format: "picture", reason: "its encoder stopped".to_owned() }
}

/// A [`RowWriter`] into a file that appears under its name when it is finished, whole or not at all.
pub struct RowFile {
    writer: RowWriter<AtomicFile>,
}

impl RowFile {
    /// Begins the file that the ending of `path` asks for.
    ///
    /// # Errors
    /// [`ImagingError::UnknownExtension`], [`ImagingError::Write`], and those of [`RowWriter::begin`].
    pub fn create(path: &Path, header: RowHeader, options: &EncodeOptions) -> Result<Self, ImagingError> {
        let format = Format::for_writing(path)?;
        check(&header, format, options)?;
        Ok(Self { writer: RowWriter::begin(format, header, options, AtomicFile::create(path)?)? })
    }

    /// The next rows.
    ///
    /// # Errors
    /// As [`RowWriter::write_rows`].
    pub fn write_rows(&mut self, rows: SamplesRef<'_>) -> Result<(), ImagingError> {
        self.writer.write_rows(rows)
    }

    /// Waits until everything is encoded and puts the file under its name.
    ///
    /// # Errors
    /// As [`RowWriter::finish`], and [`ImagingError::Write`].
    pub fn finish(self) -> Result<(), ImagingError> {
        self.writer.finish()?.commit()
    }
}
