//! The boxes of an AVIF file: where its pictures stand, how they are turned, and what is said beside them (ISO 14496-12;
//! ISO 23008-12; AV1 Image File Format 1.1).

use super::{Reading, text_of};
use crate::{DecodeLimits, ImagingError};

const ALPHA: &[u8] = b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha";
const ALPHA_OF_HEIF: &[u8] = b"urn:mpeg:hevc:2015:auxid:1";
const XMP: &[u8] = b"application/rdf+xml";
/// More items, properties or links than this are not read.
const MOST: usize = 4096;

/// What a number stands for in colours (ITU-T H.273).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CodePoints {
    pub(crate) primaries: u16,
    pub(crate) transfer: u16,
    pub(crate) matrix: u16,
    pub(crate) full_range: bool,
}

/// The still picture of a file.
#[derive(Debug)]
pub(crate) struct AvifFile<'a> {
    bytes: &'a [u8],
    /// The inside of `idat`.
    inline: &'a [u8],
    items: Vec<Item<'a>>,
    links: Vec<Link>,
    primary: u32,
    /// The file holds a sequence too.
    pub(crate) moving: bool,
}

#[derive(Debug, Default)]
struct Item<'a> {
    id: u32,
    kind: [u8; 4],
    /// Of a `mime` item.
    content: &'a [u8],
    inline: bool,
    /// Start and length of its parts.
    extents: Vec<(u64, u64)>,
    properties: Vec<Property<'a>>,
}

#[derive(Clone, Copy, Debug)]
struct Property<'a> {
    kind: [u8; 4],
    data: &'a [u8],
    essential: bool,
}

#[derive(Debug)]
struct Link {
    kind: [u8; 4],
    from: u32,
    to: u32,
}

/// Bytes that are read from the front.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(head)
    }

    /// A big-endian number of 0…8 bytes.
    fn number(&mut self, bytes: usize) -> Option<u64> {
        Some(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn small(&mut self, bytes: usize) -> Option<u32> {
        u32::try_from(self.number(bytes)?).ok()
    }

    /// Version and flags of a full box.
    fn version(&mut self) -> Option<(u8, u32)> {
        Some((self.small(1)? as u8, self.small(3)?))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|b| *b == 0)?;
        let text = self.take(end)?;
        self.take(1)?;
        Some(text)
    }
}

/// The boxes in `bytes`: kind and inside; damage ends them.
fn boxes(bytes: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let mut reader = Reader(bytes);
    std::iter::from_fn(move || {
        let whole = reader.0;
        let short = reader.number(4)?;
        let kind = reader.take(4)?.try_into().ok()?;
        let length = match short {
            0 => whole.len() as u64,
            1 => reader.number(8)?,
            length => length,
        };
        let head = whole.len() - reader.0.len();
        let inside = usize::try_from(length).ok()?.checked_sub(head)?;
        Some((kind, reader.take(inside)?))
    })
}

/// True when the file says that it can be read as AVIF.
pub(crate) fn is_avif(bytes: &[u8]) -> bool {
    let Some((b"ftyp", brands)) = boxes(bytes).next().as_ref().map(|(kind, data)| (kind, *data)) else { return false };
    let brands = brands.get(..4).into_iter().chain(brands.get(8..).unwrap_or_default().chunks_exact(4));
    brands.take(64).any(|brand| matches!(brand, b"avif" | b"avis"))
}

impl<'a> AvifFile<'a> {
    /// Reads everything but pixels.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, ImagingError> {
        Self::read(bytes).ok_or_else(|| ImagingError::damaged("AVIF", "its boxes cannot be followed"))
    }

    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut file = Self { bytes, inline: &[], items: Vec::new(), links: Vec::new(), primary: 0, moving: false };
        let mut meta = None;
        for (kind, data) in boxes(bytes) {
            match &kind {
                b"meta" => meta = meta.or(Some(data)),
                b"moov" => file.moving = true,
                _ => {}
            }
        }
        let mut meta = Reader(meta?);
        meta.version()?;
        let meta = meta.0;
        let of = |wanted: &[u8; 4]| boxes(meta).find(|(kind, _)| kind == wanted).map(|(_, data)| Reader(data));
        file.inline = of(b"idat").map_or(&[][..], |data| data.0);
        let mut primary = of(b"pitm")?;
        let (version, _) = primary.version()?;
        file.primary = primary.small(if version == 0 { 2 } else { 4 })?;
        file.read_items(of(b"iinf")?)?;
        file.read_places(of(b"iloc")?)?;
        if let Some(links) = of(b"iref") {
            file.read_links(links)?;
        }
        file.read_properties(of(b"iprp")?)?;
        Some(file)
    }

    fn read_items(&mut self, mut reader: Reader<'a>) -> Option<()> {
        let (version, _) = reader.version()?;
        reader.small(if version == 0 { 2 } else { 4 })?;
        for (kind, data) in boxes(reader.0).take(MOST) {
            let mut entry = Reader(data);
            let (version, _) = entry.version()?;
            // Older entries have no kind.
            if kind != *b"infe" || version < 2 {
                continue;
            }
            let id = entry.small(if version == 2 { 2 } else { 4 })?;
            entry.take(2)?;
            let kind = entry.take(4)?.try_into().ok()?;
            entry.text();
            let content = if kind == *b"mime" { entry.text().unwrap_or_default() } else { &[] };
            self.items.push(Item { id, kind, content, ..Item::default() });
        }
        Some(())
    }

    fn read_places(&mut self, mut reader: Reader<'a>) -> Option<()> {
        let (version, _) = reader.version()?;
        let sizes = reader.small(2)?;
        let size = |at: u32| (sizes >> (12 - 4 * at) & 15) as usize;
        let (offset, length, base) = (size(0), size(1), size(2));
        let index = if version == 0 { 0 } else { size(3) };
        if [offset, length, base, index].iter().any(|size| *size > 8) {
            return None;
        }
        let wide = if version < 2 { 2 } else { 4 };
        let mut left = MOST;
        for _ in 0..reader.small(wide)? {
            let id = reader.small(wide)?;
            let method = if version == 0 { 0 } else { reader.small(2)? & 15 };
            reader.small(2)?;
            let start = reader.number(base)?;
            let mut extents = Vec::new();
            for _ in 0..reader.small(2)? {
                left = left.checked_sub(1)?;
                reader.number(index)?;
                let at = start.checked_add(reader.number(offset)?)?;
                extents.push((at, reader.number(length)?));
            }
            // Method 2, parts of other items, is not used by AVIF: such an item has no data.
            let item = self.items.iter_mut().find(|item| item.id == id).filter(|_| method < 2);
            if let Some(item) = item {
                (item.inline, item.extents) = (method == 1, extents);
            }
        }
        Some(())
    }

    fn read_links(&mut self, mut reader: Reader<'a>) -> Option<()> {
        let (version, _) = reader.version()?;
        let wide = if version == 0 { 2 } else { 4 };
        for (kind, data) in boxes(reader.0).take(MOST) {
            let mut entry = Reader(data);
            let from = entry.small(wide)?;
            for _ in 0..entry.small(2)? {
                if self.links.len() >= MOST {
                    return None;
                }
                self.links.push(Link { kind, from, to: entry.small(wide)? });
            }
        }
        Some(())
    }

    fn read_properties(&mut self, reader: Reader<'a>) -> Option<()> {
        let all: Vec<([u8; 4], &[u8])> =
            boxes(boxes(reader.0).find(|(kind, _)| kind == b"ipco")?.1).take(MOST).collect();
        for (_, data) in boxes(reader.0).filter(|(kind, _)| kind == b"ipma") {
            let mut entries = Reader(data);
            let (version, flags) = entries.version()?;
            for _ in 0..entries.small(4)? {
                let id = entries.small(if version == 0 { 2 } else { 4 })?;
                for _ in 0..entries.small(1)? {
                    let wide = flags & 1 == 1;
                    let value = entries.small(if wide { 2 } else { 1 })?;
                    let (essential, index) =
                        if wide { (value >> 15 == 1, value & 0x7fff) } else { (value >> 7 == 1, value & 0x7f) };
                    let item = self.items.iter_mut().find(|item| item.id == id);
                    if let (Some(item), Some((kind, data))) = (item, all.get((index as usize).wrapping_sub(1)))
                        && item.properties.len() < MOST
                    {
                        item.properties.push(Property { kind: *kind, data, essential });
                    }
                }
            }
        }
        Some(())
    }

    fn primary(&self) -> Result<&Item<'a>, ImagingError> {
        let item = self.items.iter().find(|item| item.id == self.primary);
        item.ok_or_else(|| ImagingError::damaged("AVIF", "it names no picture"))
    }

    /// Width and height as stored.
    pub(crate) fn size(&self) -> Result<(u32, u32), ImagingError> {
        let size = || {
            let mut size = Reader(self.primary().ok()?.property(b"ispe")?);
            size.version()?;
            Some((size.small(4)?, size.small(4)?)).filter(|(width, height)| *width > 0 && *height > 0)
        };
        size().ok_or_else(|| ImagingError::damaged("AVIF", "it does not say how large it is"))
    }

    /// Refuses what would be shown wrongly.
    pub(crate) fn check(&self) -> Result<(), ImagingError> {
        let unsupported = |reason: &str| Err(ImagingError::Unsupported { format: "AVIF", reason: reason.to_owned() });
        let item = self.primary()?;
        match &item.kind {
            b"av01" => {}
            b"grid" => return unsupported("a picture put together from tiles"),
            _ => return unsupported("a picture that is not AV1"),
        }
        let known = [b"ispe", b"pixi", b"av1C", b"colr", b"irot", b"imir", b"auxC", b"clap"];
        let odd = item.properties.iter().find(|p| p.essential && !known.contains(&&p.kind));
        match odd {
            Some(property) => unsupported(&format!("the property {:?}", text_of(&property.kind))),
            None => Ok(()),
        }
    }

    /// The AV1 data of the picture.
    pub(crate) fn colour_data(&self) -> Result<Vec<u8>, ImagingError> {
        self.data(self.primary()?)
    }

    /// The AV1 data of its alpha, and whether the colours are multiplied with it.
    pub(crate) fn alpha_data(&self) -> Result<Option<(Vec<u8>, bool)>, ImagingError> {
        let is_alpha = |item: &&Item<'_>| {
            let linked = self.links.iter().any(|l| &l.kind == b"auxl" && l.from == item.id && l.to == self.primary);
            let kind = item.property(b"auxC").and_then(|data| data.get(4..)).unwrap_or_default();
            linked && (kind.starts_with(ALPHA) || kind.starts_with(ALPHA_OF_HEIF))
        };
        let Some(alpha) = self.items.iter().find(is_alpha) else { return Ok(None) };
        if alpha.kind != *b"av01" {
            let reason = "alpha that is not AV1".to_owned();
            return Err(ImagingError::Unsupported { format: "AVIF", reason });
        }
        let multiplied = self.links.iter().any(|l| &l.kind == b"prem" && l.from == self.primary && l.to == alpha.id);
        Ok(Some((self.data(alpha)?, multiplied)))
    }

    fn data(&self, item: &Item<'_>) -> Result<Vec<u8>, ImagingError> {
        let source = if item.inline { self.inline } else { self.bytes };
        let mut out = Vec::new();
        for (start, length) in &item.extents {
            let part = || {
                let start = usize::try_from(*start).ok()?;
                // A length of zero reaches to the end.
                let length =
                    if *length == 0 { source.len().checked_sub(start)? } else { usize::try_from(*length).ok()? };
                source.get(start..start.checked_add(length)?)
            };
            let part = part().filter(|part| out.len() + part.len() <= self.bytes.len());
            out.extend_from_slice(part.ok_or_else(|| ImagingError::damaged("AVIF", "the file is cut off"))?);
        }
        if out.is_empty() { Err(ImagingError::damaged("AVIF", "a picture has no data")) } else { Ok(out) }
    }

    /// The numbers that the container gives for colours; those of the AV1 data count where there are none.
    pub(crate) fn code_points(&self) -> Option<CodePoints> {
        let colours = self.primary().ok()?.properties.iter().filter(|p| &p.kind == b"colr");
        let mut numbers = Reader(colours.into_iter().find_map(|p| p.data.strip_prefix(b"nclx"))?);
        let mut number = || numbers.small(2).map(|n| n as u16);
        let (primaries, transfer, matrix) = (number()?, number()?, number()?);
        Some(CodePoints { primaries, transfer, matrix, full_range: numbers.small(1)? >> 7 == 1 })
    }

    /// The part of the stored picture that is to be shown before it is turned: left, top, width, height. `None` where all is.
    ///
    /// # Errors
    /// A part that is not made of whole pixels inside the picture.
    pub(crate) fn shown_part(&self) -> Result<Option<[u32; 4]>, ImagingError> {
        let Some(data) = self.primary()?.property(b"clap") else { return Ok(None) };
        let (width, height) = self.size()?;
        let part = || {
            let mut numbers = Reader(data);
            let mut number = || Some(i64::from(numbers.small(4)?));
            let (columns, rows) = ((number()?, number()?), (number()?, number()?));
            // Offsets of the middle, which may be negative.
            let mut signed = || Some((i64::from(number()? as i32), number()?));
            let (across, down) = (signed()?, signed()?);
            let (left, columns) = placed(i64::from(width), columns, across)?;
            let (top, rows) = placed(i64::from(height), rows, down)?;
            Some([left, top, columns, rows])
        };
        let broken = || ImagingError::damaged("AVIF", "the part of it that is to be shown is not inside it");
        part().ok_or_else(broken).map(Some)
    }

    /// The turn that the pixels need, as EXIF numbers it. EXIF's own has no say here.
    pub(crate) fn orientation(&self) -> u16 {
        let Ok(item) = self.primary() else { return 1 };
        let of = |kind| item.property(kind).and_then(|data| data.first().copied());
        // First turned against the clock by quarters, then mirrored: 0 from top to bottom, 1 from left to right.
        let mirror = of(b"imir").map(|mirror| mirror & 1);
        match (of(b"irot").unwrap_or(0) & 3, mirror) {
            (0, None) => 1,
            (1, None) => 8,
            (2, None) => 3,
            (3, None) => 6,
            (0, Some(1)) | (2, Some(0)) => 2,
            (0, _) | (2, _) => 4,
            (1, Some(0)) | (3, Some(1)) => 5,
            _ => 7,
        }
    }

    fn say(&self, limits: &DecodeLimits, reading: &mut Reading) {
        let Ok(primary) = self.primary() else { return };
        for property in primary.properties.iter().filter(|p| &p.kind == b"colr") {
            if let Some(profile) = property.data.strip_prefix(b"prof").or_else(|| property.data.strip_prefix(b"rICC")) {
                reading.metadata.icc = reading.bounded(profile, limits, "ICC profile");
            }
        }
        for item in &self.items {
            if !self.links.iter().any(|l| &l.kind == b"cdsc" && l.from == item.id && l.to == self.primary) {
                continue;
            }
            let Ok(data) = self.data(item) else { continue };
            if &item.kind == b"Exif" && reading.metadata.exif.is_none() {
                // Four bytes say how far the block is away.
                let skipped = data.first_chunk::<4>().map_or(0, |n| u32::from_be_bytes(*n) as usize);
                if let Some(block) = skipped.checked_add(4).and_then(|at| data.get(at..)) {
                    let block = block.strip_prefix(b"Exif\0\0").unwrap_or(block);
                    reading.metadata.exif = reading.bounded(block, limits, "EXIF block");
                }
            } else if item.content == XMP && reading.metadata.xmp.is_none() {
                reading.metadata.xmp = reading.bounded(&data, limits, "XMP packet").map(|packet| text_of(&packet));
            }
        }
    }
}

/// Start and length of a part `length` long whose middle lies `offset` from that of `whole`; both are fractions.
fn placed(whole: i64, length: (i64, i64), offset: (i64, i64)) -> Option<(u32, u32)> {
    if length.1 <= 0 || offset.1 <= 0 || length.0 % length.1 != 0 {
        return None;
    }
    let length = length.0 / length.1;
    // Twice the start, times the offset's denominator.
    let twice = (whole - length).checked_mul(offset.1)?.checked_add(2 * offset.0)?;
    if twice < 0 || twice % (2 * offset.1) != 0 {
        return None;
    }
    let start = twice / (2 * offset.1);
    (length > 0 && start + length <= whole).then_some((u32::try_from(start).ok()?, u32::try_from(length).ok()?))
}

impl<'a> Item<'a> {
    fn property(&self, kind: &[u8; 4]) -> Option<&'a [u8]> {
        self.properties.iter().find(|p| p.kind == *kind).map(|p| p.data)
    }
}

pub(super) fn read(bytes: &[u8], limits: &DecodeLimits, reading: &mut Reading) -> Option<()> {
    AvifFile::read(bytes)?.say(limits, reading);
    Some(())
}
