//! The directory of a ZIP archive as `torch.save` writes it; nothing is extracted.
//!
//! Format: PKWARE APPNOTE 6.3.10, sections 4.3 to 4.5 (with ZIP64). The central directory and the local headers must
//! agree on name, method and sizes, and entries may not overlap, so that every program sees the same contents.

use std::collections::BTreeMap;
use std::ops::Range;

/// Most entries of an archive: one per tensor storage.
const MAX_ENTRIES: usize = 200_000;
const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END64: u32 = 0x0606_4b50;
const LOCATOR64: u32 = 0x0706_4b50;
const DESCRIPTOR: u16 = 1 << 3;
const ENCRYPTED: u16 = 1 | 1 << 6 | 1 << 13;

/// One entry.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// Where its bytes lie in the archive, as they are there.
    pub(super) range: Range<usize>,
    pub(super) crc32: u32,
    /// True for TorchScript's source code, which is of no use here; never true for what `torch.save` writes.
    pub(super) compressed: bool,
}

/// Entries by name.
pub(super) fn directory(bytes: &[u8]) -> Result<BTreeMap<String, Stored>, String> {
    let end = find_end(bytes)?;
    let (count, size, offset) = central_directory(bytes, end)?;
    if count > MAX_ENTRIES {
        return Err(format!("the archive lists {count} entries, more than {MAX_ENTRIES}"));
    }
    let stop = offset.checked_add(size).filter(|&e| e <= end).ok_or("the archive's directory lies outside the file")?;
    let mut reader = Reader { bytes: &bytes[..stop], at: offset };
    let mut entries = BTreeMap::new();
    for _ in 0..count {
        let entry = central_entry(&mut reader)?;
        let range = local_range(bytes, offset, &entry)?;
        if entry.name.ends_with('/') && range.is_empty() {
            continue;
        }
        let stored = Stored { range, crc32: entry.crc32, compressed: entry.method != 0 };
        if let Some(name) = entries.insert(entry.name.clone(), stored).map(|_| entry.name) {
            return Err(format!("the archive's entry {name:?} appears twice"));
        }
    }
    if reader.at != stop {
        return Err("the archive's directory has bytes left over".to_owned());
    }
    check_overlap(&entries)?;
    Ok(entries)
}

/// CRC-32 (IEEE 802.3, reflected), as the archive's directory states it.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0u32; 256];
        let mut i = 0;
        while i < 256 {
            let mut c = i as u32;
            let mut bit = 0;
            while bit < 8 {
                c = if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 };
                bit += 1;
            }
            table[i] = c;
            i += 1;
        }
        table
    };
    !bytes.iter().fold(!0, |crc, &b| TABLE[usize::from(b ^ crc as u8)] ^ (crc >> 8))
}

struct Central {
    name: String,
    method: u16,
    flags: u16,
    crc32: u32,
    /// Bytes in the archive, and unpacked.
    compressed: usize,
    size: usize,
    header: usize,
}

fn find_end(bytes: &[u8]) -> Result<usize, String> {
    let last = bytes.len().checked_sub(22).ok_or("the archive is cut short")?;
    let first = last.saturating_sub(0xffff);
    let is_end = |at: &usize| {
        let mut reader = Reader { bytes, at: *at };
        reader.u32() == Ok(END)
            && u16_at(bytes, at + 20).is_some_and(|comment| at + 22 + usize::from(comment) == bytes.len())
    };
    (first..=last).rev().find(is_end).ok_or_else(|| "the directory at its end is missing: it is cut short".to_owned())
}

/// `(entries, bytes, offset)` of the central directory.
fn central_directory(bytes: &[u8], end: usize) -> Result<(usize, usize, usize), String> {
    let mut reader = Reader { bytes, at: end + 4 };
    let (disk, start_disk) = (reader.u16()?, reader.u16()?);
    let (here, count) = (reader.u16()?, reader.u16()?);
    let (size, offset) = (reader.u32()?, reader.u32()?);
    if here != count || disk != start_disk || !matches!(disk, 0 | 0xffff) {
        return Err("the archive is one part of several".to_owned());
    }
    if count != 0xffff && size != u32::MAX && offset != u32::MAX {
        return Ok((count.into(), size as usize, offset as usize));
    }
    let locator = end.checked_sub(20).ok_or("the archive's ZIP64 directory is missing")?;
    let mut reader = Reader { bytes, at: locator };
    if reader.u32()? != LOCATOR64 {
        return Err("the archive's ZIP64 directory is missing".to_owned());
    }
    reader.u32()?;
    let mut reader = Reader { bytes: &bytes[..locator], at: reader.u64()? };
    if reader.u32()? != END64 {
        return Err("the archive's ZIP64 directory is missing".to_owned());
    }
    reader.take(8 + 2 + 2 + 4 + 4)?;
    let (here, count) = (reader.u64()?, reader.u64()?);
    if here != count {
        return Err("the archive is one part of several".to_owned());
    }
    Ok((count, reader.u64()?, reader.u64()?))
}

fn central_entry(reader: &mut Reader<'_>) -> Result<Central, String> {
    if reader.u32()? != CENTRAL {
        return Err("the archive's directory is damaged".to_owned());
    }
    reader.take(4)?;
    let (flags, method) = (reader.u16()?, reader.u16()?);
    reader.take(4)?;
    let crc32 = reader.u32()?;
    let (compressed, size) = (reader.u32()?, reader.u32()?);
    let (name, extra, comment) = (reader.u16()?, reader.u16()?, reader.u16()?);
    reader.take(2 + 2 + 4)?;
    let header = reader.u32()?;
    let name = name_of(reader.take(name.into())?)?;
    let mut wide = zip64_extra(reader.take(extra.into())?);
    reader.take(comment.into())?;
    let mut widen = |narrow: u32| match narrow {
        u32::MAX => wide.as_mut().ok_or("a ZIP64 size is missing".to_owned()).and_then(Reader::u64),
        narrow => Ok(narrow as usize),
    };
    // The order of the wide fields is fixed: size, compressed size, offset.
    let (size, compressed, header) = (widen(size)?, widen(compressed)?, widen(header)?);
    if flags & ENCRYPTED != 0 {
        return Err(format!("the archive's entry {name:?} is encrypted"));
    }
    if method == 0 && size != compressed {
        return Err(format!("the archive's entry {name:?} states two sizes"));
    }
    Ok(Central { name, method, flags, crc32, compressed, size, header })
}

/// Where the entry's bytes lie, after its local header was compared with the directory.
fn local_range(bytes: &[u8], limit: usize, entry: &Central) -> Result<Range<usize>, String> {
    let mut reader = Reader { bytes: bytes.get(..limit).unwrap_or(bytes), at: entry.header };
    let differ = || format!("the archive's entry {:?} differs from its directory", entry.name);
    if reader.u32()? != LOCAL {
        return Err(differ());
    }
    reader.take(2)?;
    let (flags, method) = (reader.u16()?, reader.u16()?);
    reader.take(4 + 4)?;
    let (compressed, size) = (reader.u32()?, reader.u32()?);
    let (name, extra) = (reader.u16()?, reader.u16()?);
    let name = reader.take(name.into())?;
    let mut wide = zip64_extra(reader.take(extra.into())?);
    if name != entry.name.as_bytes() || method != entry.method || flags != entry.flags {
        return Err(differ());
    }
    for (stated, expected) in [(size, entry.size), (compressed, entry.compressed)] {
        let later = stated == 0 && flags & DESCRIPTOR != 0;
        let stated = match (stated, wide.as_mut()) {
            (u32::MAX, Some(wide)) => wide.u64()?,
            (narrow, _) => narrow as usize,
        };
        if !later && stated != expected {
            return Err(differ());
        }
    }
    let start = reader.at;
    reader.take(entry.compressed)?;
    Ok(start..start + entry.compressed)
}

fn check_overlap(entries: &BTreeMap<String, Stored>) -> Result<(), String> {
    let mut ranges: Vec<_> = entries.iter().map(|(name, e)| (e.range.start, e.range.end, name)).collect();
    ranges.sort_unstable();
    match ranges.windows(2).find(|pair| pair[1].0 < pair[0].1) {
        Some(pair) => Err(format!("the archive's entries {:?} and {:?} overlap", pair[0].2, pair[1].2)),
        None => Ok(()),
    }
}

/// The name is copied before it is checked, for the file may change.
fn name_of(bytes: &[u8]) -> Result<String, String> {
    let name = String::from_utf8(bytes.to_vec()).ok().filter(|n| !n.is_empty() && !n.contains('\0'));
    name.ok_or_else(|| "an entry's name is not text".to_owned())
}

/// The body of the ZIP64 extra field.
fn zip64_extra(extra: &[u8]) -> Option<Reader<'_>> {
    let mut reader = Reader { bytes: extra, at: 0 };
    loop {
        let (id, size) = (reader.u16().ok()?, reader.u16().ok()?);
        let body = reader.take(size.into()).ok()?;
        if id == 1 {
            return Some(Reader { bytes: body, at: 0 });
        }
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(count);
        let taken = end
            .and_then(|end| self.bytes.get(self.at..end))
            .ok_or("the archive's directory points outside the file")?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn u16(&mut self) -> Result<u16, String> {
        self.array().map(u16::from_le_bytes)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<usize, String> {
        usize::try_from(u64::from_le_bytes(self.array()?))
            .map_err(|_| "an archive's size is larger than any memory".to_owned())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn crc32_has_the_check_value_of_its_definition() {
        assert_eq!(super::crc32(b"123456789"), 0xcbf4_3926);
    }
}
