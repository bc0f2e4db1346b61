//! Bounds that a stranger's picture must keep before a pixel of it is decoded.

use std::time::{Duration, Instant};

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
    /// Most frames of an animation.
    pub max_frames: u32,
    /// Longest time. In a child process it is kept exactly; within this one it is looked at between frames only.
    pub max_time: Duration,
}

impl Default for DecodeLimits {
    /// The command's limits: sides of 65 535, 10⁹ pixels, files of 2 GiB, 16 MiB for one metadata block, 100 000 frames,
    /// ten minutes.
    fn default() -> Self {
        Self {
            max_side: 65_535,
            max_pixels: 1_000_000_000,
            max_file_bytes: 2 << 30,
            max_metadata_bytes: 16 << 20,
            max_frames: 100_000,
            max_time: Duration::from_secs(600),
        }
    }
}

impl DecodeLimits {
    /// The tighter limits of a server that decodes strangers' uploads: sides of 16 384, 64 Mpx, 100 MiB, 4 MiB, 1 000
    /// frames, twenty seconds.
    pub fn server() -> Self {
        Self {
            max_side: 16_384,
            max_pixels: 64_000_000,
            max_file_bytes: 100 << 20,
            max_metadata_bytes: 4 << 20,
            max_frames: 1_000,
            max_time: Duration::from_secs(20),
        }
    }

    /// Whether a picture of this size keeps the limits.
    ///
    /// # Errors
    /// [`ImagingError::TooLarge`] for a side or a number of pixels beyond them.
    pub fn check_size(&self, width: u32, height: u32) -> Result<(), ImagingError> {
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

    pub(crate) fn check_time(&self, began: Instant) -> Result<(), ImagingError> {
        let taken = began.elapsed();
        if taken > self.max_time {
            let (found, limit) = (taken.as_secs(), self.max_time.as_secs());
            return Err(ImagingError::TooLarge { what: "seconds of decoding", found, limit });
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
