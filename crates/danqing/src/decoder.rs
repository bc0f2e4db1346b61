//! Pictures of strangers are decoded in a process of their own: this program, called with one hidden word.
//! Only what is too large to be handed over is read here, row by row.

use std::io::{stdin, stdout};
use std::process::ExitCode;

use danqing_imaging::child::{self, ChildLimits};
use danqing_imaging::dicom::is_dicom;
use danqing_imaging::{DecodeLimits, DeepPicture, ImagingError, RowReader, probe, rows_of};

/// The word that makes this program a decoder.
pub(crate) const ARGUMENT: &str = "decode-for-parent";

/// What a decoder takes beside the picture: the program, its libraries, tables.
const BASE_MEMORY: u64 = 1 << 30;
/// Bytes of a pixel at its largest (four values of 16 bits), as decoded, converted and turned upright.
const PIXEL_MEMORY: u64 = 3 * 8;

/// Pictures of more pixels are read row by row in this process where their format allows that, instead of whole in another.
const LARGE: u64 = 64_000_000;

/// Decodes the one picture that stands on standard input.
pub(crate) fn serve() -> ExitCode {
    match child::serve(&mut stdin().lock(), &mut stdout().lock()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// Decodes a picture in a child process, within the command's limits.
///
/// # Errors
/// As [`child::decode`].
pub(crate) fn decode_apart(bytes: &[u8]) -> Result<DeepPicture, ImagingError> {
    let decode = DecodeLimits::default();
    let pixels = if is_dicom(bytes) {
        // Every value takes at least a bit.
        8 * bytes.len() as u64
    } else {
        let (_, width, height) = probe(bytes, &decode)?;
        u64::from(width) * u64::from(height)
    };
    let memory = BASE_MEMORY + 4 * bytes.len() as u64 + PIXEL_MEMORY * pixels.min(decode.max_pixels);
    let program = std::env::current_exe().map_err(|e| ImagingError::Child { reason: e.to_string() })?;
    child::decode(&program, &[ARGUMENT], bytes, &ChildLimits { decode, memory })
}

/// The rows of a picture.
///
/// # Errors
/// As [`decode_apart`] and [`rows_of`].
pub(crate) fn rows(bytes: Vec<u8>) -> Result<RowReader, ImagingError> {
    let limits = DecodeLimits::default();
    if !is_dicom(&bytes) {
        let (_, width, height) = probe(&bytes, &limits)?;
        if u64::from(width) * u64::from(height) > LARGE {
            return rows_of(bytes, &limits);
        }
    }
    decode_apart(&bytes).map(RowReader::from)
}
