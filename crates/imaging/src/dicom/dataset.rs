//! The structure of a DICOM file: elements with tag, value representation and value (PS3.5 §7, PS3.10 §7).
//!
//! A view into the bytes of the file: nothing is allocated for what a length promises. The library that one would reach
//! for (`dicom-object` 0.10) fills memory of the announced length before it looks whether the file has it, so that a file
//! of two hundred bytes takes four gigabytes.

use std::ops::Range;

use crate::ImagingError;

/// Where the letters `DICM` stand.
pub(super) const PREAMBLE: usize = 128;
const UNDEFINED: u32 = u32::MAX;
const ITEM: u32 = 0xfffe_e000;
const ITEM_END: u32 = 0xfffe_e00d;
const SEQUENCE_END: u32 = 0xfffe_e0dd;
/// Sequences within sequences are followed to here.
const DEEPEST: u32 = 16;
/// More elements in one data set are refused.
const MOST_ELEMENTS: usize = 100_000;
/// Value representations whose explicit length has four bytes, after two that are reserved.
const LONG: [&[u8; 2]; 12] = [b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT"];

/// How elements are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Encoding {
    pub(super) explicit: bool,
    pub(super) big_endian: bool,
}

impl Encoding {
    pub(super) const META: Self = Self { explicit: true, big_endian: false };

    pub(super) fn short(self, bytes: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    fn long(self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    pub(super) fn short_bytes(self, value: u16) -> [u8; 2] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn long_bytes(self, value: u32) -> [u8; 4] {
        if self.big_endian { value.to_be_bytes() } else { value.to_le_bytes() }
    }
}

/// One element. `group << 16 | element` is its tag.
#[derive(Clone, Debug)]
pub(super) struct Element {
    pub(super) tag: u32,
    /// Everything, header and delimiters included.
    pub(super) whole: Range<usize>,
    /// The value; of a sequence its items.
    pub(super) value: Range<usize>,
    /// The length was not said: the value ends with a delimiter.
    pub(super) delimited: bool,
}

/// A parsed file.
pub(super) struct DataSet<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) encoding: Encoding,
    /// The group 2 before the data set.
    pub(super) meta: Vec<Element>,
    pub(super) elements: Vec<Element>,
}

struct Walker<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl<'a> DataSet<'a> {
    /// Follows the structure to the end of the file.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, ImagingError> {
        let mut walker = Walker { bytes, left: MOST_ELEMENTS };
        let mut at = PREAMBLE + 4;
        let mut meta = Vec::new();
        while bytes.get(at..at + 2) == Some(&[2, 0]) {
            let element = walker.element(at, Encoding::META, 0)?;
            at = element.whole.end;
            meta.push(element);
        }
        let mut set = Self { bytes, encoding: Encoding::META, meta, elements: Vec::new() };
        set.encoding = match set.transfer_syntax().as_str() {
            "1.2.840.10008.1.2" => Encoding { explicit: false, big_endian: false },
            "1.2.840.10008.1.2.2" => Encoding { explicit: true, big_endian: true },
            "1.2.840.10008.1.2.1.99" => return Err(unsupported("a deflated data set")),
            _ => Encoding::META,
        };
        // Some writers say explicit and write implicit.
        if set.encoding.explicit && !bytes.get(at + 4..at + 6).is_some_and(|vr| vr.iter().all(u8::is_ascii_uppercase)) {
            set.encoding.explicit = false;
        }
        while at < bytes.len() {
            // What does not look like an element behind the pixels is padding.
            if bytes.len() - at < 8 && !set.elements.is_empty() {
                break;
            }
            let element = walker.element(at, set.encoding, 0)?;
            at = element.whole.end;
            set.elements.push(element);
        }
        Ok(set)
    }

    pub(super) fn transfer_syntax(&self) -> String {
        let found = self.meta.iter().find(|e| e.tag == 0x0002_0010).map(|e| &self.bytes[e.value.clone()]);
        found.map(text).unwrap_or_default()
    }

    /// The element of the data set with this tag.
    pub(super) fn element(&self, tag: u32) -> Option<&Element> {
        self.elements.iter().find(|e| e.tag == tag)
    }

    pub(super) fn value(&self, tag: u32) -> Option<&'a [u8]> {
        self.element(tag).map(|e| &self.bytes[e.value.clone()])
    }

    /// A text without its padding; `None` when absent or empty.
    pub(super) fn text(&self, tag: u32) -> Option<String> {
        self.value(tag).map(text).filter(|text| !text.is_empty())
    }

    /// Numbers written as text, separated by backslashes.
    pub(super) fn decimals(&self, tag: u32) -> Vec<f64> {
        let text = self.text(tag).unwrap_or_default();
        text.split('\\').map_while(|number| number.trim().parse().ok()).filter(|n: &f64| n.is_finite()).collect()
    }

    /// Unsigned 16-bit numbers.
    pub(super) fn shorts(&self, tag: u32) -> Vec<u16> {
        let pairs = self.value(tag).unwrap_or_default().chunks_exact(2);
        pairs.map(|pair| self.encoding.short([pair[0], pair[1]])).collect()
    }

    pub(super) fn short(&self, tag: u32) -> Option<u16> {
        self.shorts(tag).first().copied()
    }

    /// The fragments of encapsulated pixel data, without the offset table.
    pub(super) fn fragments(&self, pixels: &Element) -> Vec<&'a [u8]> {
        let (mut at, mut found) = (pixels.value.start, Vec::new());
        while let Some(header) = self.bytes.get(at..at + 8).filter(|_| at < pixels.value.end) {
            let length = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
            let Some(fragment) = self.bytes.get(at + 8..at + 8 + length) else { break };
            found.push(fragment);
            at += 8 + length;
        }
        if !found.is_empty() {
            found.remove(0);
        }
        found
    }
}

impl Walker<'_> {
    fn element(&mut self, at: usize, encoding: Encoding, depth: u32) -> Result<Element, ImagingError> {
        self.left = self.left.checked_sub(1).ok_or_else(|| damaged("it has too many elements"))?;
        let (tag, vr, length, start) = self.header(at, encoding)?;
        if length != UNDEFINED {
            let end = start.checked_add(length as usize).filter(|end| *end <= self.bytes.len()).ok_or_else(cut_off)?;
            return Ok(Element { tag, whole: at..end, value: start..end, delimited: false });
        }
        // Inside an unknown value the items are implicit, whatever is around them.
        let inner = if vr == *b"UN" { Encoding { explicit: false, big_endian: false } } else { encoding };
        let end = self.items(start, inner, depth)?;
        Ok(Element { tag, whole: at..end, value: start..end - 8, delimited: true })
    }

    /// Tag, value representation (zeros where implicit), length and where the value begins.
    fn header(&self, at: usize, encoding: Encoding) -> Result<(u32, [u8; 2], u32, usize), ImagingError> {
        let take = |at: usize, n: usize| self.bytes.get(at..at + n).ok_or_else(cut_off);
        let short = |at: usize| take(at, 2).map(|b| encoding.short([b[0], b[1]]));
        let long = |at: usize| take(at, 4).map(|b| encoding.long([b[0], b[1], b[2], b[3]]));
        let tag = u32::from(short(at)?) << 16 | u32::from(short(at + 2)?);
        if !encoding.explicit || tag >> 16 == 0xfffe {
            return Ok((tag, [0; 2], long(at + 4)?, at + 8));
        }
        let vr = take(at + 4, 2)?;
        let vr = [vr[0], vr[1]];
        if LONG.contains(&&vr) || vr == *b"UV" {
            return Ok((tag, vr, long(at + 8)?, at + 12));
        }
        Ok((tag, vr, u32::from(short(at + 6)?), at + 8))
    }

    /// Follows items up to the delimiter of their sequence and returns where that ends.
    fn items(&mut self, mut at: usize, encoding: Encoding, depth: u32) -> Result<usize, ImagingError> {
        if depth >= DEEPEST {
            return Err(damaged("its sequences are nested too deeply"));
        }
        loop {
            self.left = self.left.checked_sub(1).ok_or_else(|| damaged("it has too many items"))?;
            let (tag, _, length, start) = self.header(at, encoding)?;
            at = match (tag, length) {
                (SEQUENCE_END, _) => return Ok(start),
                (ITEM, UNDEFINED) => self.item(start, encoding, depth + 1)?,
                (ITEM, length) => {
                    start.checked_add(length as usize).filter(|end| *end <= self.bytes.len()).ok_or_else(cut_off)?
                }
                _ => return Err(damaged("a sequence holds something that is no item")),
            };
        }
    }

    fn item(&mut self, mut at: usize, encoding: Encoding, depth: u32) -> Result<usize, ImagingError> {
        loop {
            let (tag, _, _, start) = self.header(at, encoding)?;
            if tag == ITEM_END {
                return Ok(start);
            }
            at = self.element(at, encoding, depth)?.whole.end;
        }
    }
}

/// One element with its header, padded to even length: texts with a space, identifiers and bytes with zero.
pub(super) fn encode(encoding: Encoding, tag: u32, vr: &[u8; 2], value: &[u8]) -> Result<Vec<u8>, ImagingError> {
    let pad = if matches!(vr, b"UI" | b"OB" | b"OW" | b"UN") { 0 } else { b' ' };
    let even = value.len().next_multiple_of(2);
    let length = u32::try_from(even)
        .ok()
        .filter(|length| *length < UNDEFINED)
        .ok_or_else(|| refused(format!("a value of {even} bytes is too long")))?;
    let mut out = Vec::with_capacity(12 + even);
    out.extend(encoding.short_bytes((tag >> 16) as u16));
    out.extend(encoding.short_bytes(tag as u16));
    if !encoding.explicit {
        out.extend(encoding.long_bytes(length));
    } else if LONG.contains(&vr) {
        out.extend(vr);
        out.extend([0; 2]);
        out.extend(encoding.long_bytes(length));
    } else {
        let length = u16::try_from(length).map_err(|_| refused(format!("a value of {even} bytes is too long")))?;
        out.extend(vr);
        out.extend(encoding.short_bytes(length));
    }
    out.extend(value);
    out.resize(out.len() + even - value.len(), pad);
    Ok(out)
}

/// A sequence of one item.
pub(super) fn encode_item(encoding: Encoding, tag: u32, elements: &[Vec<u8>]) -> Result<Vec<u8>, ImagingError> {
    let content = elements.concat();
    let mut item = Vec::new();
    item.extend(encoding.short_bytes(0xfffe));
    item.extend(encoding.short_bytes(0xe000));
    item.extend(encoding.long_bytes(content.len() as u32));
    item.extend(content);
    encode(encoding, tag, b"SQ", &item)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_matches([' ', '\0']).to_owned()
}

fn cut_off() -> ImagingError {
    damaged("the file is cut off, or a length in it is wrong")
}

pub(super) fn damaged(reason: impl Into<String>) -> ImagingError {
    ImagingError::damaged("DICOM", reason)
}

pub(super) fn unsupported(reason: impl Into<String>) -> ImagingError {
    ImagingError::Unsupported { format: "DICOM", reason: reason.into() }
}

pub(super) fn refused(reason: impl Into<String>) -> ImagingError {
    ImagingError::Encode { format: "DICOM", reason: reason.into() }
}
