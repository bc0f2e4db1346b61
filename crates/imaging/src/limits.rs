//! Bounds that a stranger's picture must keep before a pixel of it is decoded.

use crate::ImagingError;

/// Limits checked before decoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Longest side in pixels.
    pub max_side: u32,
    /// Most pixels, width × height.
    pub max_pixels: u64,
    /// Largest file in bytes.
    pub max_file_bytes: u64,
    /// Most bytes of one text, EXIF, XMP or ICC block after decompression.
    pub max_metadata_bytes: usize,
}

impl Default for DecodeLimits {
    /// The command's limits: sides of 65 535, 10⁹ pixels, files of 2 GiB, 16 MiB for one metadata block.
    fn default() -> Self {
        Self { max_side: 65_535, max_pixels: 1_000_000_000, max_file_bytes: 2 << 30, max_metadata_bytes: 16 << 20 }
    }
}

impl DecodeLimits {
    /// The tighter limits of a server that decodes strangers' uploads: sides of 16 384, 64 Mpx, 100 MiB, 4 MiB.
    pub fn server() -> Self {
        Self { max_side: 16_384, max_pixels: 64_000_000, max_file_bytes: 100 << 20, max_metadata_bytes: 4 << 20 }
    }

    pub(crate) fn check_size(&self, width: u32, height: u32) -> Result<(), ImagingError> {
        for (what, found, limit) in [
            ("width", u64::from(width), u64::from(self.max_side)),
            ("height", u64::from(height), u64::from(self.max_side)),
            ("pixels", u64::from(width) * u64::from(height), self.max_pixels),
        ] {
            if found > limit {
                return Err(ImagingError::TooLarge { what, found, limit });
            }
        }
        Ok(())
    }

    pub(crate) fn check_file(&self, bytes: u64) -> Result<(), ImagingError> {
        if bytes > self.max_file_bytes {
            return Err(ImagingError::TooLarge { what: "bytes", found: bytes, limit: self.max_file_bytes });
        }
        Ok(())
    }
}
