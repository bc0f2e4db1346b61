//! Writing safetensors files, always whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::{MAX_HEADER, MAX_TENSORS, checked_bytes};
use crate::{StorageType, WeightsError, atomic};

/// Name, stored type, shape and little-endian row-major bytes of a tensor to be written.
pub type TensorToWrite<'a> = (&'a str, StorageType, &'a [usize], &'a [u8]);

/// Writes a safetensors file under a temporary name, flushes it to the disk and renames it to `path`.
///
/// Tensors are laid out by falling element size, then by name, so that every tensor is aligned and equal input gives an
/// equal file.
///
/// # Errors
/// When a shape does not match its bytes, a name appears twice or is `__metadata__`, or the file cannot be written; the
/// old file under `path`, if any, then stays as it was.
pub fn write(
    path: impl AsRef<Path>,
    tensors: &[TensorToWrite<'_>],
    metadata: &BTreeMap<String, String>,
) -> Result<(), WeightsError> {
    let path = path.as_ref();
    let (head, order) =
        layout(tensors, metadata).map_err(|problem| WeightsError::Unwritable { path: path.to_owned(), problem })?;
    atomic::write(path, |writer| {
        writer.write_all(&head)?;
        order.iter().try_for_each(|&i| writer.write_all(tensors[i].3))
    })
}

/// As [`write`](fn@write) into memory.
///
/// # Errors
/// When a shape does not match its bytes, or a name appears twice or is `__metadata__`.
pub fn to_bytes(tensors: &[TensorToWrite<'_>], metadata: &BTreeMap<String, String>) -> Result<Vec<u8>, WeightsError> {
    let (mut bytes, order) =
        layout(tensors, metadata).map_err(|problem| WeightsError::Unwritable { path: "memory".into(), problem })?;
    order.iter().for_each(|&i| bytes.extend_from_slice(tensors[i].3));
    Ok(bytes)
}

/// The length and header bytes, and the order of the tensors behind them.
fn layout(tensors: &[TensorToWrite<'_>], metadata: &BTreeMap<String, String>) -> Result<(Vec<u8>, Vec<usize>), String> {
    if tensors.len() > MAX_TENSORS {
        return Err(format!("{} tensors are more than the {MAX_TENSORS} a file may hold", tensors.len()));
    }
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by(|&a, &b| tensors[b].1.size().cmp(&tensors[a].1.size()).then(tensors[a].0.cmp(tensors[b].0)));
    let mut header = serde_json::Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".to_owned(), serde_json::json!(metadata));
    }
    let mut names = BTreeSet::new();
    let mut at = 0usize;
    for &i in &order {
        let (name, dtype, shape, bytes) = tensors[i];
        if name == "__metadata__" || !names.insert(name) {
            return Err(format!("the tensor name {name:?} is given twice or reserved"));
        }
        if checked_bytes(shape, dtype) != Some(bytes.len()) {
            return Err(format!("tensor {name:?}: shape {shape:?} of {dtype} does not take {} bytes", bytes.len()));
        }
        let entry = serde_json::json!({"dtype": dtype.name(), "shape": shape, "data_offsets": [at, at + bytes.len()]});
        header.insert(name.to_owned(), entry);
        at += bytes.len();
    }
    let mut text = serde_json::to_vec(&header).map_err(|e| e.to_string())?;
    text.resize(text.len().next_multiple_of(8), b' ');
    if text.len() > MAX_HEADER {
        return Err(format!("its header would take {} bytes, more than {MAX_HEADER}", text.len()));
    }
    let mut head = (text.len() as u64).to_le_bytes().to_vec();
    head.append(&mut text);
    Ok((head, order))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Weights;

    #[test]
    fn what_is_written_is_read_back() {
        let metadata = BTreeMap::from([("title".to_owned(), "两只猫 \"x\"".to_owned())]);
        let floats: Vec<u8> = [1.5f32, -2.0, 0.25, 3.0, 4.0, 5.0].iter().flat_map(|v| v.to_le_bytes()).collect();
        let tensors: [TensorToWrite<'_>; 4] = [
            ("small", StorageType::U8, &[3], &[1, 2, 3]),
            ("b.weight", StorageType::F32, &[2, 3], &floats),
            ("scalar", StorageType::I64, &[], &7i64.to_le_bytes()),
            ("empty", StorageType::F16, &[0, 4], &[]),
        ];
        let weights = Weights::from_bytes("memory", to_bytes(&tensors, &metadata).unwrap()).unwrap();
        assert_eq!(weights.names().collect::<Vec<_>>(), ["b.weight", "empty", "scalar", "small"]);
        assert_eq!(weights.read_f32("b.weight").unwrap(), [1.5, -2.0, 0.25, 3.0, 4.0, 5.0]);
        assert_eq!(weights.read_f32("scalar").unwrap(), [7.0]);
        assert_eq!(weights.info("empty").unwrap().shape, [0, 4]);
        assert_eq!(weights.metadata(), &metadata);
    }

    #[test]
    fn contradictions_are_refused_before_anything_is_written() {
        let none = BTreeMap::new();
        let twice: [TensorToWrite<'_>; 2] = [("a", StorageType::U8, &[1], &[1]), ("a", StorageType::U8, &[1], &[1])];
        assert!(to_bytes(&twice, &none).is_err());
        assert!(to_bytes(&[("a", StorageType::F32, &[2], &[0; 4])], &none).is_err());
        assert!(to_bytes(&[("__metadata__", StorageType::U8, &[0], &[])], &none).is_err());
    }
}
