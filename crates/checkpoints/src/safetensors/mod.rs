//! safetensors: 8 bytes little-endian header length, a JSON header, the tensors' bytes back to back.
//!
//! Format: <https://github.com/huggingface/safetensors#format>. This reader is stricter than the reference one: duplicate
//! names, overlaps, holes, bytes after the last tensor, a header that does not start with `{`, more than
//! [`MAX_HEADER`] header bytes or [`MAX_TENSORS`] tensors are refused, so that no two programs can see different tensors
//! in the same file.

mod header;
mod write;

use std::sync::Arc;

pub use write::{TensorToWrite, to_bytes, write};

use crate::blob::Blob;
use crate::error::MEND_DOWNLOAD;
use crate::weights::{Entry, TensorInfo};
use crate::{StorageType, Weights, WeightsError};

/// Largest accepted header, in bytes.
pub const MAX_HEADER: usize = 16 << 20;
/// Largest accepted number of tensors.
pub const MAX_TENSORS: usize = 100_000;
/// Largest accepted number of dimensions.
pub const MAX_RANK: usize = 64;

const FORMAT: &str = "safetensors";

/// Types of the format that are not read, with their bits.
const UNREAD: [(&str, usize); 5] = [("C64", 64), ("F8_E8M0", 8), ("F6_E2M3", 6), ("F6_E3M2", 6), ("F4", 4)];

/// Reads the directory of a safetensors file; tensor data stay where they are.
pub(crate) fn parse(blob: &Arc<Blob>) -> Result<Weights, WeightsError> {
    let file = blob.name();
    let malformed = |problem: String| WeightsError::malformed(file, FORMAT, problem);
    let Some(data_and_header) = blob.len().checked_sub(8) else {
        return Err(malformed(format!("it has {} bytes, fewer than the 8 of the header's length", blob.len())));
    };
    let mut length = [0; 8];
    length.copy_from_slice(&blob.copy(0..8)?);
    let length = u64::from_le_bytes(length);
    if length > MAX_HEADER as u64 {
        return Err(malformed(format!("its header claims {length} bytes, more than the {MAX_HEADER} accepted")));
    }
    let length = length as usize;
    let Some(data_len) = data_and_header.checked_sub(length) else {
        return Err(malformed(format!("its header claims {length} bytes but {data_and_header} follow")));
    };
    let text = blob.copy(8..8 + length)?;
    if text.first() != Some(&b'{') {
        return Err(malformed("its header does not start with '{'".to_owned()));
    }
    let header = header::parse(&text).map_err(|e| malformed(format!("header: {e}")))?;

    let mut order: Vec<usize> = (0..header.tensors.len()).collect();
    order.sort_by_key(|&i| (header.tensors[i].1.data_offsets, i));
    let mut end = 0usize;
    for &i in &order {
        let (name, declared) = &header.tensors[i];
        let [from, to] = declared.data_offsets;
        if from != end || to < from {
            let problem = format!("its data_offsets are [{from}, {to}] where the tensor before it ends at {end}");
            return Err(WeightsError::tensor(file, name, problem, MEND_DOWNLOAD));
        }
        end = to;
    }
    if end != data_len {
        let problem = format!("its tensors end at byte {end} of the data, which has {data_len} bytes");
        return Err(malformed(problem));
    }

    let mut weights = Weights::empty(file);
    for (name, declared) in header.tensors {
        let [from, to] = declared.data_offsets;
        let Some(dtype) = StorageType::from_name(&declared.dtype) else {
            let reason = unread(&declared.dtype, &declared.shape, to - from)
                .map_err(|problem| WeightsError::tensor(file, &name, problem, "Save it again as F32, F16 or BF16"))?;
            weights.refuse(name, reason)?;
            continue;
        };
        let info = TensorInfo { dtype, shape: declared.shape };
        check_size(&info, to - from).map_err(|problem| WeightsError::tensor(file, &name, problem, MEND_DOWNLOAD))?;
        weights.insert(name, Entry { info, blob: blob.clone(), start: 8 + length + from, strides: None })?;
    }
    weights.set_metadata(header.metadata);
    Ok(weights)
}

fn check_size(info: &TensorInfo, bytes: usize) -> Result<(), String> {
    match checked_bytes(&info.shape, info.dtype) {
        Some(expected) if expected == bytes => Ok(()),
        None => Err(format!("shape {:?} is larger than any memory", info.shape)),
        Some(n) => Err(format!("shape {:?} of {} takes {n} bytes but it has {bytes}", info.shape, info.dtype)),
    }
}

/// The reason why a tensor of a type that the format has and danqing does not read is refused; an error when it is not sound.
fn unread(dtype: &str, shape: &[usize], bytes: usize) -> Result<String, String> {
    let (name, bits) = UNREAD
        .iter()
        .find(|(name, _)| *name == dtype)
        .ok_or_else(|| format!("its type {:?} is not known", dtype.chars().take(40).collect::<String>()))?;
    let expected = shape.iter().try_fold(*bits, |n, &d| n.checked_mul(d));
    if expected != bytes.checked_mul(8) {
        return Err(format!("shape {shape:?} of {name} does not take {bytes} bytes"));
    }
    Ok(format!("its type {name} is not read"))
}

/// Bytes of a contiguous tensor, or `None` when any partial product overflows (a zero dimension hides nothing).
pub(crate) fn checked_bytes(shape: &[usize], dtype: StorageType) -> Option<usize> {
    let nonzero = shape.iter().filter(|&&d| d != 0).try_fold(dtype.size(), |n, &d| n.checked_mul(d))?;
    Some(if shape.contains(&0) { 0 } else { nonzero })
}
