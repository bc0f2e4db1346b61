//! Kinds of picture files: recognised by their first bytes when read, by the ending when written.

use std::path::Path;

use crate::ImagingError;
use crate::container::is_avif;

/// A kind of picture file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// Portable Network Graphics.
    Png,
    /// JPEG (JFIF, Exif).
    Jpeg,
    /// WebP; written lossless, or lossy when asked to.
    WebP,
    /// GIF.
    Gif,
    /// Windows bitmap.
    Bmp,
    /// TIFF; of several pages the first is read.
    Tiff,
    /// AVIF; read only.
    Avif,
}

pub(crate) const READABLE: &str = "PNG, JPEG, WebP, GIF, BMP, TIFF, AVIF, DICOM";
pub(crate) const WRITABLE: &str = ".png, .jpg, .jpeg, .webp, .tif, .tiff, .gif, .bmp";

impl Format {
    /// The formats that [`crate::encode`] can write.
    pub const WRITABLE: [Self; 6] = [Self::Png, Self::Jpeg, Self::WebP, Self::Tiff, Self::Gif, Self::Bmp];

    /// True when texts, XMP and EXIF of a picture can be written into such a file; a BMP holds an ICC profile at most, so
    /// a picture that must say where it comes from cannot be one.
    pub fn keeps_metadata(self) -> bool {
        self != Self::Bmp
    }

    /// The usual name, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::WebP => "WebP",
            Self::Gif => "GIF",
            Self::Bmp => "BMP",
            Self::Tiff => "TIFF",
            Self::Avif => "AVIF",
        }
    }

    /// The usual file ending, without a dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::WebP => "webp",
            Self::Gif => "gif",
            Self::Bmp => "bmp",
            Self::Tiff => "tiff",
            Self::Avif => "avif",
        }
    }

    /// The media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::WebP => "image/webp",
            Self::Gif => "image/gif",
            Self::Bmp => "image/bmp",
            Self::Tiff => "image/tiff",
            Self::Avif => "image/avif",
        }
    }

    /// Recognises a picture by its first bytes; the name of the file is not asked.
    pub fn sniff(bytes: &[u8]) -> Option<Self> {
        // A DICOM file may begin like a TIFF, for viewers that know only that.
        if bytes.get(128..132) == Some(b"DICM") {
            return None;
        }
        match bytes {
            [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => Some(Self::Png),
            [0xff, 0xd8, 0xff, ..] => Some(Self::Jpeg),
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some(Self::WebP),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Self::Gif),
            [b'B', b'M', ..] => Some(Self::Bmp),
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Some(Self::Tiff),
            [_, _, _, _, b'f', b't', b'y', b'p', ..] => is_avif(bytes).then_some(Self::Avif),
            _ => None,
        }
    }

    /// The format that a file to be written asks for by its ending.
    ///
    /// # Errors
    /// [`ImagingError::UnknownExtension`] with the list of known endings.
    pub fn for_writing(path: &Path) -> Result<Self, ImagingError> {
        let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
        match extension.as_str() {
            "png" => Ok(Self::Png),
            "jpg" | "jpeg" | "jpe" | "jfif" => Ok(Self::Jpeg),
            "webp" => Ok(Self::WebP),
            "tif" | "tiff" => Ok(Self::Tiff),
            "gif" => Ok(Self::Gif),
            "bmp" | "dib" => Ok(Self::Bmp),
            _ => Err(ImagingError::UnknownExtension { path: path.to_owned(), extension, known: WRITABLE }),
        }
    }

    /// Whether a file's ending is that of a format that is read.
    pub fn is_known_ending(path: &Path) -> bool {
        Self::for_writing(path).is_ok() || path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("avif"))
    }

    /// As [`Format::for_writing`], for a picture that must say where it comes from.
    ///
    /// # Errors
    /// Those of [`Format::for_writing`], and [`ImagingError::Encode`] for formats that hold no such words.
    pub fn for_labelled(path: &Path) -> Result<Self, ImagingError> {
        let format = Self::for_writing(path)?;
        if format.keeps_metadata() {
            return Ok(format);
        }
        let reason =
            "it cannot hold the label that generated pictures carry; write a PNG, TIFF, WebP or JPEG".to_owned();
        Err(ImagingError::Encode { format: format.name(), reason })
    }

    pub(crate) fn codec(self) -> image::ImageFormat {
        match self {
            Self::Png => image::ImageFormat::Png,
            Self::Jpeg => image::ImageFormat::Jpeg,
            Self::WebP => image::ImageFormat::WebP,
            Self::Gif => image::ImageFormat::Gif,
            Self::Bmp => image::ImageFormat::Bmp,
            Self::Tiff => image::ImageFormat::Tiff,
            Self::Avif => image::ImageFormat::Avif,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_choose_the_format_and_unknown_ones_list_the_known() {
        assert_eq!(Format::for_writing(Path::new("a/b.PNG")).ok(), Some(Format::Png));
        assert_eq!(Format::for_writing(Path::new("b.jpeg")).ok(), Some(Format::Jpeg));
        assert_eq!(Format::for_writing(Path::new("b.webp")).ok(), Some(Format::WebP));
        let message = Format::for_writing(Path::new("b.tga")).map_err(|e| e.to_string()).unwrap_err();
        assert!(message.contains("\"tga\"") && message.contains(".webp"), "{message}");
        assert!(Format::for_writing(Path::new("noending")).is_err());
        let known = ["b.avif", "b.AVIF", "b.gif", "b.tga", "b"].map(|name| Format::is_known_ending(Path::new(name)));
        assert_eq!(known, [true, true, true, false, false]);
    }

    #[test]
    fn first_bytes_decide() {
        assert_eq!(Format::sniff(b"\x89PNG\r\n\x1a\nrest"), Some(Format::Png));
        assert_eq!(Format::sniff(b"RIFF\0\0\0\0WEBPVP8 "), Some(Format::WebP));
        assert_eq!(Format::sniff(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), None);
        assert_eq!(Format::sniff(b""), None);
    }
}
