//! EXIF entries taken out of one block and laid into another: for text that joins a block, and for TIFF, whose file is
//! the block.
//!
//! Maker notes and thumbnails are left behind: both hold offsets that are wrong anywhere else.

use crate::exif::{EXIF_DIRECTORY, ExifView, GPS_DIRECTORY, USER_COMMENT, user_comment};
use crate::metadata::PARAMETERS;
use crate::{ImagingError, Metadata};

const MAKER_NOTE: u16 = 0x927c;
const INTEROPERABILITY: u16 = 0xa005;
const UNDEFINED: u16 = 7;
const ASCII: u16 = 2;
const LONG: u16 = 4;
/// Entries of one directory and bytes of one value that are carried over.
const MOST_BYTES: usize = 4 << 20;

/// One tag with its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExifEntry {
    pub(crate) tag: u16,
    pub(crate) kind: u16,
    /// In little-endian order.
    value: Vec<u8>,
}

impl ExifEntry {
    /// The value in this machine's byte order.
    pub(crate) fn native(&self) -> Vec<u8> {
        let mut value = self.value.clone();
        if cfg!(target_endian = "big") {
            swap(&mut value, unit(self.kind));
        }
        value
    }

    /// True for texts about the picture (ImageDescription, Make, Artist, Copyright, DateTime …), which mean the same in a
    /// TIFF file; the other tags of the first directory say how that file is built.
    pub(crate) fn is_descriptive(&self) -> bool {
        self.kind == ASCII
    }
}

/// The directories of an EXIF block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ExifParts {
    pub(crate) first: Vec<ExifEntry>,
    pub(crate) exif: Vec<ExifEntry>,
    pub(crate) gps: Vec<ExifEntry>,
}

impl ExifParts {
    pub(crate) fn read(block: &[u8]) -> Self {
        let Some(view) = ExifView::parse(block) else { return Self::default() };
        let directory = |at: Option<usize>| at.map(|at| entries(&view, at)).unwrap_or_default();
        Self {
            first: directory(Some(view.first_directory())),
            exif: directory(view.directory(EXIF_DIRECTORY)),
            gps: directory(view.directory(GPS_DIRECTORY)),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.is_empty() && self.exif.is_empty() && self.gps.is_empty()
    }

    pub(super) fn set_user_comment(&mut self, text: &str) {
        self.exif.retain(|e| e.tag != USER_COMMENT);
        self.exif.push(ExifEntry { tag: USER_COMMENT, kind: UNDEFINED, value: user_comment(text, false) });
    }

    /// One little-endian block: the first directory at 8, then the others, each followed by its long values.
    pub(super) fn block(&self) -> Vec<u8> {
        let mut out = b"II\x2a\0\x08\0\0\0".to_vec();
        let pointers =
            [(EXIF_DIRECTORY, &self.exif), (GPS_DIRECTORY, &self.gps)].into_iter().filter(|(_, e)| !e.is_empty());
        let pointers: Vec<(u16, &Vec<ExifEntry>)> = pointers.collect();
        let mut first = self.first.clone();
        first.extend(pointers.iter().map(|(tag, _)| ExifEntry { tag: *tag, kind: LONG, value: vec![0; 4] }));
        let mut at = 8 + directory_length(&first);
        for (tag, entries) in &pointers {
            if let Some(entry) = first.iter_mut().find(|e| e.tag == *tag) {
                entry.value = (at as u32).to_le_bytes().to_vec();
            }
            at += directory_length(entries);
        }
        write_directory(&mut out, &first);
        for (_, entries) in pointers {
            write_directory(&mut out, entries);
        }
        out
    }
}

/// What is written where there are no text chunks: the block the picture came with, and the generation parameters as
/// its UserComment.
pub(crate) fn exif_for(metadata: &Metadata) -> ExifParts {
    let mut parts = metadata.exif.as_deref().map(ExifParts::read).unwrap_or_default();
    if let Some(text) = metadata.text(PARAMETERS) {
        parts.set_user_comment(text);
    }
    parts
}

/// The EXIF block to write where there are no text chunks. A block that nothing joins is copied as it is.
pub(super) fn exif_with_infotext(metadata: &Metadata) -> Result<Option<Vec<u8>>, ImagingError> {
    if metadata.text(PARAMETERS).is_none() {
        return Ok(metadata.exif.clone());
    }
    let parts = exif_for(metadata);
    Ok((!parts.is_empty()).then(|| parts.block()))
}

fn entries(view: &ExifView<'_>, directory: usize) -> Vec<ExifEntry> {
    let mut left = MOST_BYTES;
    let mut found: Vec<ExifEntry> = Vec::new();
    for (tag, kind, value) in view.raw_entries(directory) {
        let links = matches!(tag, MAKER_NOTE | INTEROPERABILITY | EXIF_DIRECTORY | GPS_DIRECTORY);
        if links || value.len() > left || found.iter().any(|e| e.tag == tag) {
            continue;
        }
        left -= value.len();
        let mut value = value.to_vec();
        if tag == USER_COMMENT
            && let Some(text) = view.user_comment()
        {
            // Its letters have a byte order of their own.
            value = user_comment(&text, false);
        } else if view.is_big_endian() {
            swap(&mut value, unit(kind));
        }
        found.push(ExifEntry { tag, kind, value });
    }
    found
}

/// Bytes that are swapped together: a rational is two numbers of four.
fn unit(kind: u16) -> usize {
    match kind {
        3 | 8 => 2,
        4 | 5 | 9 | 10 | 11 | 13 => 4,
        12 => 8,
        _ => 1,
    }
}

fn swap(value: &mut [u8], unit: usize) {
    value.chunks_exact_mut(unit).for_each(<[u8]>::reverse);
}

fn padded(length: usize) -> usize {
    if length <= 4 { 0 } else { length.next_multiple_of(2) }
}

fn directory_length(entries: &[ExifEntry]) -> usize {
    2 + 12 * entries.len() + 4 + entries.iter().map(|e| padded(e.value.len())).sum::<usize>()
}

fn write_directory(out: &mut Vec<u8>, entries: &[ExifEntry]) {
    let mut sorted: Vec<&ExifEntry> = entries.iter().collect();
    sorted.sort_by_key(|e| e.tag);
    let mut at = out.len() + 2 + 12 * sorted.len() + 4;
    out.extend((sorted.len() as u16).to_le_bytes());
    for entry in &sorted {
        let size = crate::exif::size_of_kind(entry.kind).max(1);
        out.extend(entry.tag.to_le_bytes());
        out.extend(entry.kind.to_le_bytes());
        out.extend(((entry.value.len() / size) as u32).to_le_bytes());
        if entry.value.len() <= 4 {
            let mut inline = entry.value.clone();
            inline.resize(4, 0);
            out.extend(inline);
        } else {
            out.extend((at as u32).to_le_bytes());
            at += padded(entry.value.len());
        }
    }
    out.extend([0; 4]);
    for entry in sorted.into_iter().filter(|e| e.value.len() > 4) {
        out.extend(&entry.value);
        out.resize(out.len() + entry.value.len() % 2, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exif::user_comment_block;

    /// Big-endian: Orientation 6, XResolution 72/1, GPS version 2.3.0.0, maker note, UserComment.
    fn block() -> Vec<u8> {
        let mut out = b"MM\0\x2a\0\0\0\x08\0\x04".to_vec();
        out.extend(b"\x01\x0f\0\x02\0\0\0\x06\0\0\0\x3e\x01\x12\0\x03\0\0\0\x01\0\x06\0\0");
        out.extend(b"\x87\x69\0\x04\0\0\0\x01\0\0\0\x44\x88\x25\0\x04\0\0\0\x01\0\0\0\x6e\0\0\0\0");
        out.extend(b"Canon\0");
        out.extend(
            b"\0\x02\x92\x7c\0\x07\0\0\0\x04abcd\x82\x9a\0\x05\0\0\0\x01\0\0\0\x62\0\0\0\0\0\0\0\x01\0\0\0\x7d\0\0\0\0",
        );
        out.extend(b"\0\x01\0\0\0\x01\0\0\0\x04\x02\x03\0\0\0\0\0\0");
        out
    }

    #[test]
    fn text_joins_a_block_and_the_rest_stays() {
        let mut metadata = Metadata { exif: Some(block()), ..Metadata::default() };
        assert_eq!(exif_with_infotext(&metadata).unwrap(), metadata.exif);
        metadata.set_infotext("a cat");
        let joined = exif_with_infotext(&metadata).unwrap().unwrap();
        let view = ExifView::parse(&joined).unwrap();
        assert_eq!((view.orientation(), view.user_comment().as_deref()), (Some(6), Some("a cat")));
        let parts = ExifParts::read(&joined);
        assert_eq!(parts.gps, ExifParts::read(&block()).gps);
        let exposure = parts.exif.iter().find(|e| e.tag == 0x829a).unwrap();
        assert_eq!(exposure.value, [1, 0, 0, 0, 125, 0, 0, 0]);
        assert!(parts.exif.iter().all(|e| e.tag != MAKER_NOTE));
        assert_eq!(view.texts(), [(0x010f, "Canon".to_owned())]);
        // Once more changes nothing.
        assert_eq!(ExifParts::read(&parts.block()), parts);
    }

    #[test]
    fn blocks_of_one_text_are_read_alike() {
        let parts = ExifParts::read(&user_comment_block("丹青"));
        assert_eq!(ExifView::parse(&parts.block()).and_then(|v| v.user_comment()).as_deref(), Some("丹青"));
    }
}
