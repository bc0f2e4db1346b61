//! GIF comment extensions (GIF89a specification, section 24).

use super::{MOST_ENTRIES, Reading, text_of};
use crate::{DecodeLimits, TextEntry};

pub(super) fn read(bytes: &[u8], limits: &DecodeLimits, reading: &mut Reading) -> Option<()> {
    let mut left = limits.max_metadata_bytes;
    let mut at = 13 + colour_table(*bytes.get(10)?);
    while reading.metadata.text.len() < MOST_ENTRIES {
        match *bytes.get(at)? {
            0x21 => {
                let kind = *bytes.get(at + 1)?;
                let (data, next) = sub_blocks(bytes, at + 2, if kind == 0xfe { left } else { 0 })?;
                if kind == 0xfe {
                    left -= data.len();
                    reading.metadata.text.push(TextEntry { keyword: "Comment".to_owned(), text: text_of(&data) });
                }
                at = next;
            }
            0x2c => {
                let start = at + 10 + colour_table(*bytes.get(at + 9)?) + 1;
                at = sub_blocks(bytes, start, 0)?.1;
            }
            _ => break,
        }
    }
    Some(())
}

/// Bytes of the colour table that packed flags announce.
fn colour_table(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

/// The first `keep` bytes of a chain of sub-blocks, and where the next block begins.
fn sub_blocks(bytes: &[u8], mut at: usize, keep: usize) -> Option<(Vec<u8>, usize)> {
    let mut data = Vec::new();
    loop {
        let length = usize::from(*bytes.get(at)?);
        if length == 0 {
            return Some((data, at + 1));
        }
        let block = bytes.get(at + 1..at + 1 + length)?;
        data.extend_from_slice(&block[..length.min(keep - data.len())]);
        at += 1 + length;
    }
}
