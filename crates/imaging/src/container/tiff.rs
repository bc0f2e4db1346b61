//! TIFF tags for XMP and ICC, and the EXIF directories of the file (TIFF 6.0; XMP specification part 3; ICC.1 Annex B.3).

use super::{ExifEntry, ExifParts, Reading, text_of};
use crate::DecodeLimits;
use crate::exif::ExifView;

const XMP: u16 = 700;
const ICC: u16 = 34_675;

pub(super) fn read(bytes: &[u8], limits: &DecodeLimits, reading: &mut Reading) -> Option<()> {
    let view = ExifView::parse(bytes)?;
    if let Some(packet) = view.bytes(XMP) {
        reading.metadata.xmp = reading.bounded(packet, limits, "XMP packet").map(|packet| text_of(&packet));
    }
    if let Some(profile) = view.bytes(ICC) {
        reading.metadata.icc = reading.bounded(profile, limits, "ICC profile");
    }
    let mut parts = ExifParts::read(bytes);
    parts.first.retain(ExifEntry::is_descriptive);
    if !parts.is_empty() {
        reading.metadata.exif = reading.bounded(&parts.block(), limits, "EXIF block");
    }
    Some(())
}
