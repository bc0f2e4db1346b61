//! The ICC profile of a bitmap with a version 5 header.

use super::Reading;
use crate::DecodeLimits;

const FILE_HEADER: usize = 14;
const V5_HEADER: u32 = 124;
/// "MBED": the profile stands in the file.
const EMBEDDED: u32 = 0x4d42_4544;

pub(super) fn read(bytes: &[u8], limits: &DecodeLimits, reading: &mut Reading) -> Option<()> {
    let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
    if word(FILE_HEADER)? < V5_HEADER || word(FILE_HEADER + 56)? != EMBEDDED {
        return None;
    }
    let start = FILE_HEADER.checked_add(word(FILE_HEADER + 112)? as usize)?;
    let length = word(FILE_HEADER + 116)? as usize;
    match bytes.get(start..start.checked_add(length)?) {
        Some(profile) => reading.metadata.icc = reading.bounded(profile, limits, "ICC profile"),
        None => reading.leave_out("ICC profile", "it lies outside the file"),
    }
    Some(())
}
