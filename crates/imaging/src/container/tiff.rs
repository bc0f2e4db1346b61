//! TIFF tags for XMP and ICC (TIFF 6.0; XMP specification part 3; ICC.1 Annex B.3).

use super::{bounded, text_of};
use crate::exif::ExifView;
use crate::{DecodeLimits, Metadata};

const XMP: u16 = 700;
const ICC: u16 = 34_675;

pub(super) fn read(bytes: &[u8], limits: &DecodeLimits, metadata: &mut Metadata) -> Option<()> {
    let view = ExifView::parse(bytes)?;
    metadata.xmp = view.bytes(XMP).and_then(|b| bounded(b, limits)).map(|b| text_of(&b));
    metadata.icc = view.bytes(ICC).and_then(|b| bounded(b, limits));
    Some(())
}
