//! The few EXIF tags that matter here: orientation, UserComment and the descriptive texts.
//!
//! EXIF 2.32 (CIPA DC-008) over TIFF 6.0. The reader is bounded: it looks into the first directory and the one that
//! tag 0x8769 points to, at most 512 entries each, and follows nothing else, so no loop is possible.

const ORIENTATION: u16 = 0x0112;
pub(crate) const EXIF_DIRECTORY: u16 = 0x8769;
pub(crate) const GPS_DIRECTORY: u16 = 0x8825;
pub(crate) const USER_COMMENT: u16 = 0x9286;
const EXTRA_SAMPLES: u16 = 338;
const MOST_ENTRIES: usize = 512;

const ASCII: u16 = 2;
const SHORT: u16 = 3;
const LONG: u16 = 4;
const UNDEFINED: u16 = 7;

/// A view into an EXIF block.
#[derive(Clone, Copy, Debug)]
pub struct ExifView<'a> {
    block: &'a [u8],
    big_endian: bool,
    first: usize,
}

struct Entry {
    kind: u16,
    count: usize,
    /// Where the four value bytes stand.
    at: usize,
}

impl<'a> ExifView<'a> {
    /// Looks at a block that begins with `II` or `MM` (a leading `Exif\0\0` is skipped); `None` when it is no TIFF.
    pub fn parse(block: &'a [u8]) -> Option<Self> {
        let block = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
        let big_endian = match block.get(..4)? {
            b"MM\0\x2a" => true,
            b"II\x2a\0" => false,
            _ => return None,
        };
        let mut view = Self { block, big_endian, first: 0 };
        view.first = view.long(4)? as usize;
        Some(view)
    }

    /// The orientation, 1…8; `None` when absent or out of range.
    pub fn orientation(&self) -> Option<u16> {
        let entry = self.entry(self.first, ORIENTATION)?;
        let value = match entry.kind {
            SHORT => self.short(entry.at)?,
            LONG => u16::try_from(self.long(entry.at)?).ok()?,
            _ => return None,
        };
        (1..=8).contains(&value).then_some(value)
    }

    /// UserComment as text: UTF-16 or ASCII by its eight-byte mark, UTF-8 without one.
    pub fn user_comment(&self) -> Option<String> {
        let pointer = self.entry(self.first, EXIF_DIRECTORY)?;
        let directory = self.long(pointer.at)? as usize;
        let value = self.value(&self.entry(directory, USER_COMMENT)?)?;
        let text = match value.get(..8) {
            Some(b"UNICODE\0") => decode_utf16(&value[8..], self.big_endian),
            Some(b"ASCII\0\0\0" | b"JIS\0\0\0\0\0" | b"\0\0\0\0\0\0\0\0") => decode_bytes(&value[8..]),
            _ => decode_bytes(value),
        };
        (!text.is_empty()).then_some(text)
    }

    /// The ASCII tags of the first directory (ImageDescription, Make, Model, Software, …), in tag order.
    pub fn texts(&self) -> Vec<(u16, String)> {
        self.entries(self.first)
            .filter(|(_, entry)| entry.kind == ASCII)
            .filter_map(|(tag, entry)| Some((tag, decode_bytes(self.value(&entry)?))))
            .collect()
    }

    /// True when numbers stand with their highest byte first.
    pub(crate) fn is_big_endian(&self) -> bool {
        self.big_endian
    }

    /// Where the first directory stands.
    pub(crate) fn first_directory(&self) -> usize {
        self.first
    }

    /// Where the directory stands that a tag of the first one points to.
    pub(crate) fn directory(&self, tag: u16) -> Option<usize> {
        self.entry(self.first, tag).and_then(|e| self.long(e.at)).map(|at| at as usize)
    }

    /// Tag, kind and bytes of every value of a directory that lies inside the block.
    pub(crate) fn raw_entries(&self, directory: usize) -> impl Iterator<Item = (u16, u16, &'a [u8])> {
        self.entries(directory).filter_map(|(tag, entry)| {
            let length = entry.count.checked_mul(size_of_kind(entry.kind)).filter(|length| *length > 0)?;
            let start = if length <= 4 { entry.at } else { self.long(entry.at)? as usize };
            Some((tag, entry.kind, self.block.get(start..start.checked_add(length)?)?))
        })
    }

    /// The bytes of a tag of the first directory.
    pub(crate) fn bytes(&self, tag: u16) -> Option<&'a [u8]> {
        self.value(&self.entry(self.first, tag)?)
    }

    /// True when the first extra sample is alpha that the colours have been multiplied with (TIFF ExtraSamples 1).
    pub(crate) fn has_associated_alpha(&self) -> bool {
        let entry = self.entry(self.first, EXTRA_SAMPLES).filter(|e| e.kind == SHORT && e.count == 1);
        entry.and_then(|e| self.short(e.at)) == Some(1)
    }

    /// True when another directory follows the first: a page of a TIFF, the thumbnail of an EXIF block.
    pub(crate) fn has_another(&self) -> bool {
        let count = self.short(self.first).map_or(0, usize::from);
        self.first.checked_add(2 + 12 * count).and_then(|at| self.long(at)).is_some_and(|next| next != 0)
    }

    fn entry(&self, directory: usize, tag: u16) -> Option<Entry> {
        self.entries(directory).find(|(found, _)| *found == tag).map(|(_, entry)| entry)
    }

    fn entries(&self, directory: usize) -> impl Iterator<Item = (u16, Entry)> {
        let count = self.short(directory).map_or(0, usize::from).min(MOST_ENTRIES);
        (0..count).map_while(move |i| {
            let at = directory.checked_add(2 + 12 * i)?;
            let tag = self.short(at)?;
            let entry = Entry { kind: self.short(at + 2)?, count: self.long(at + 4)? as usize, at: at + 8 };
            (entry.at + 4 <= self.block.len()).then_some((tag, entry))
        })
    }

    /// The bytes of an ASCII or UNDEFINED value: inline when four or fewer.
    fn value(&self, entry: &Entry) -> Option<&'a [u8]> {
        if !matches!(entry.kind, 1 | ASCII | UNDEFINED) {
            return None;
        }
        let start = if entry.count <= 4 { entry.at } else { self.long(entry.at)? as usize };
        self.block.get(start..start.checked_add(entry.count)?)
    }

    fn short(&self, at: usize) -> Option<u16> {
        let bytes: [u8; 2] = self.block.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    }

    fn long(&self, at: usize) -> Option<u32> {
        let bytes: [u8; 4] = self.block.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    }
}

/// Sets the orientation of a block to 1 where it states one: for pixels that have been turned upright.
pub fn set_upright(block: &mut [u8]) {
    let skipped = if block.starts_with(b"Exif\0\0") { 6 } else { 0 };
    let Some(view) = ExifView::parse(block) else { return };
    let Some(entry) = view.entry(view.first, ORIENTATION) else { return };
    let mut value = [0u8; 4];
    match (entry.kind, view.big_endian) {
        (SHORT, true) => value[1] = 1,
        (LONG, true) => value[3] = 1,
        _ => value[0] = 1,
    }
    let at = skipped + entry.at;
    block[at..at + 4].copy_from_slice(&value);
}

/// Bytes of one value of a TIFF field type; 0 for types that are not known.
pub(crate) fn size_of_kind(kind: u16) -> usize {
    match kind {
        1 | ASCII | 6 | UNDEFINED => 1,
        SHORT | 8 => 2,
        LONG | 9 | 11 | 13 => 4,
        5 | 10 | 12 => 8,
        _ => 0,
    }
}

/// The value of a UserComment: UTF-16 after the mark `UNICODE\0`.
pub(crate) fn user_comment(text: &str, big_endian: bool) -> Vec<u8> {
    let order = if big_endian { u16::to_be_bytes } else { u16::to_le_bytes };
    b"UNICODE\0".iter().copied().chain(text.encode_utf16().flat_map(order)).collect()
}

/// A new block with nothing but a UserComment: big-endian TIFF, UTF-16 after the mark `UNICODE\0`.
pub fn user_comment_block(text: &str) -> Vec<u8> {
    let comment = user_comment(text, true);
    let mut block = b"MM\0\x2a\0\0\0\x08".to_vec();
    let mut directory = |tag: u16, kind: u16, count: u32, value: u32| {
        block.extend(1u16.to_be_bytes());
        block.extend(tag.to_be_bytes());
        block.extend(kind.to_be_bytes());
        block.extend(count.to_be_bytes());
        block.extend(value.to_be_bytes());
        block.extend([0; 4]);
    };
    // A directory of one entry takes 2 + 12 + 4 bytes: the second stands at 8 + 18, its value at 8 + 36.
    directory(EXIF_DIRECTORY, LONG, 1, 26);
    directory(USER_COMMENT, UNDEFINED, comment.len() as u32, 44);
    block.extend(comment);
    block
}

/// UTF-16 in either byte order: by its mark, else by which order gives more ASCII, else the block's own. (Writers
/// disagree on whether the TIFF header's order holds here.)
fn decode_utf16(bytes: &[u8], big_endian: bool) -> String {
    let pairs = || bytes.chunks_exact(2).map(|p| [p[0], p[1]]);
    let ascii_big = pairs().filter(|p| p[0] == 0 && p[1] != 0).count();
    let ascii_little = pairs().filter(|p| p[1] == 0 && p[0] != 0).count();
    let big = match bytes.get(..2) {
        Some([0xfe, 0xff]) => true,
        Some([0xff, 0xfe]) => false,
        _ if ascii_big != ascii_little => ascii_big > ascii_little,
        _ => big_endian,
    };
    let units: Vec<u16> = pairs().map(if big { u16::from_be_bytes } else { u16::from_le_bytes }).collect();
    let text = String::from_utf16_lossy(&units);
    text.trim_start_matches('\u{feff}').trim_end_matches('\0').to_owned()
}

/// UTF-8 where it is valid, else Latin-1.
fn decode_bytes(bytes: &[u8]) -> String {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&b| char::from(b)).collect(),
    };
    text.trim_end_matches('\0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_comment_goes_round() {
        for text in ["a cat\nSteps: 20, Seed: 1, Size: 8x8", "丹青 🐈", "é"] {
            let block = user_comment_block(text);
            assert_eq!(ExifView::parse(&block).and_then(|v| v.user_comment()).as_deref(), Some(text));
        }
    }

    #[test]
    fn little_endian_text_in_a_big_endian_block_is_read() {
        let mut block = user_comment_block("cat");
        let text = block.len() - 6;
        for pair in block[text..].chunks_exact_mut(2) {
            pair.swap(0, 1);
        }
        assert_eq!(ExifView::parse(&block).and_then(|v| v.user_comment()).as_deref(), Some("cat"));
    }

    #[test]
    fn orientation_is_read_and_reset() {
        let mut block = b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec();
        assert_eq!(ExifView::parse(&block).and_then(|v| v.orientation()), Some(6));
        set_upright(&mut block);
        assert_eq!(ExifView::parse(&block).and_then(|v| v.orientation()), Some(1));
    }

    #[test]
    fn every_truncation_is_harmless() {
        let block = user_comment_block("some text");
        for end in 0..block.len() {
            let mut cut = block[..end].to_vec();
            if let Some(view) = ExifView::parse(&cut) {
                assert_eq!(view.user_comment(), None);
                assert!(view.texts().is_empty());
            }
            set_upright(&mut cut);
        }
    }
}
