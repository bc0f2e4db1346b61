//! What a picture file says beside its pixels.

use crate::{exif::ExifView, xmp};

/// One named text of a picture file: a PNG text chunk, a JPEG or GIF comment (named `Comment`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextEntry {
    /// The name; in PNG 1 to 79 characters.
    pub keyword: String,
    /// The text.
    pub text: String,
}

/// Text, EXIF, XMP and ICC blocks of a picture, each bounded by [`crate::DecodeLimits::max_metadata_bytes`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// Named texts in file order.
    pub text: Vec<TextEntry>,
    /// The EXIF block: a TIFF structure without the `Exif\0\0` before it.
    pub exif: Option<Vec<u8>>,
    /// The XMP packet.
    pub xmp: Option<String>,
    /// The ICC profile.
    pub icc: Option<Vec<u8>>,
}

/// The PNG keyword under which generation parameters stand.
pub const PARAMETERS: &str = "parameters";

impl Metadata {
    /// The first text with this name.
    pub fn text(&self, keyword: &str) -> Option<&str> {
        self.text.iter().find(|e| e.keyword == keyword).map(|e| e.text.as_str())
    }

    /// Sets the text of this name, in place of any it had.
    pub fn set_text(&mut self, keyword: &str, text: impl Into<String>) {
        self.text.retain(|e| e.keyword != keyword);
        self.text.push(TextEntry { keyword: keyword.to_owned(), text: text.into() });
    }

    /// The generation parameters: the PNG text `parameters`, or the EXIF UserComment of a JPEG or WebP.
    pub fn infotext(&self) -> Option<String> {
        self.text(PARAMETERS).map(str::to_owned).or_else(|| self.user_comment())
    }

    /// Sets the generation parameters. PNG keeps them as text, JPEG and WebP as EXIF UserComment.
    pub fn set_infotext(&mut self, infotext: impl Into<String>) {
        self.set_text(PARAMETERS, infotext);
    }

    /// The EXIF UserComment, decoded.
    pub fn user_comment(&self) -> Option<String> {
        ExifView::parse(self.exif.as_deref()?)?.user_comment()
    }

    /// The IPTC `DigitalSourceType` of the XMP packet, as the URI that stands there.
    pub fn digital_source_type(&self) -> Option<String> {
        xmp::digital_source_type(self.xmp.as_deref()?)
    }

    /// States in the XMP packet how the picture came to be; the rest of the packet is kept.
    pub fn set_digital_source_type(&mut self, source: xmp::DigitalSourceType) {
        self.xmp = Some(xmp::with_digital_source_type(self.xmp.as_deref(), source));
    }

    /// Width and height before `danqing shrink` made the picture small.
    pub fn original_size(&self) -> Option<(u32, u32)> {
        xmp::original_size(self.xmp.as_deref()?)
    }

    /// States width and height from before the picture was made small; the rest of the packet is kept.
    pub fn set_original_size(&mut self, size: (u32, u32)) {
        self.xmp = Some(xmp::with_original_size(self.xmp.as_deref(), size));
    }

    /// True when nothing is stated.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty() && self.exif.is_none() && self.xmp.is_none() && self.icc.is_none()
    }
}
