//! The two outer forms of a `torch.save` file: where its pickle is and where its storages' bytes are.

use std::collections::HashMap;
use std::sync::Arc;

use super::rebuild::{StorageId, storage_id};
use super::zip;
use crate::WeightsError;
use crate::blob::Blob;
use crate::pickle::{self, MAX_BYTES, Pickle, Value};

/// How the stream form begins: protocol 2, then the number 0x1950a86a20f9469cfc6c.
pub(crate) const LEGACY_MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// Why a container is not taken.
pub(super) enum Refusal {
    /// Its bytes are not sound.
    Damaged(String),
    /// It is sound, but holds something this reader does not take.
    Foreign(String),
    /// The file itself could not be read.
    File(WeightsError),
}

impl From<String> for Refusal {
    fn from(problem: String) -> Self {
        Self::Damaged(problem)
    }
}

impl From<WeightsError> for Refusal {
    fn from(error: WeightsError) -> Self {
        Self::File(error)
    }
}

/// The program and the bytes of a container.
pub(super) type Opened = Result<(Pickle, Storages), Refusal>;

/// Storages by key: where their bytes lie in the blob.
pub(super) struct Storages {
    blob: Arc<Blob>,
    ranges: HashMap<String, (usize, usize)>,
}

impl Storages {
    #[cfg(test)]
    pub(super) fn in_memory(file: &str, storages: &[(&str, &[u8])]) -> Self {
        let (mut bytes, mut ranges) = (Vec::new(), HashMap::new());
        for (key, data) in storages {
            ranges.insert((*key).to_owned(), (bytes.len(), data.len()));
            bytes.extend_from_slice(data);
        }
        Self { blob: Arc::new(Blob::from_vec(file, bytes)), ranges }
    }

    /// The blob, first byte and byte count of storage `key`.
    pub(super) fn find(&self, key: &str) -> Option<(&Arc<Blob>, usize, usize)> {
        self.ranges.get(key).map(|&(start, len)| (&self.blob, start, len))
    }
}

pub(super) fn open_zip(blob: &Arc<Blob>) -> Opened {
    let bytes = blob.all()?;
    let entries = zip::directory(bytes)?;
    let is_root = |root: &&str| root.is_empty() || root.ends_with('/') && root.matches('/').count() == 1;
    let mut roots = entries.keys().filter_map(|name| name.strip_suffix("data.pkl")).filter(is_root);
    let Some(root) = roots.next() else {
        return Err(Refusal::Foreign("this archive has no data.pkl, so torch.save did not make it".to_owned()));
    };
    if let Some(other) = roots.next() {
        return Err(Refusal::Foreign(format!("this archive has two pickles, under {root:?} and {other:?}")));
    }
    let needed = |name: &str| {
        name.strip_prefix(root)
            .is_some_and(|rest| matches!(rest, "data.pkl" | "byteorder") || rest.starts_with("data/"))
    };
    if let Some((name, _)) = entries.iter().find(|(name, entry)| entry.compressed && needed(name)) {
        return Err(Refusal::Foreign(format!("its entry {name:?} is compressed, which torch.save never does")));
    }
    if let Some(order) = entries.get(&format!("{root}byteorder"))
        && &bytes[order.range.clone()] != b"little"
    {
        return Err(Refusal::Foreign("its numbers are stored in big-endian order".to_owned()));
    }
    let program = &entries[&format!("{root}data.pkl")];
    if program.range.len() > MAX_BYTES {
        return Err(Refusal::Foreign(format!("its pickle is larger than {MAX_BYTES} bytes")));
    }
    let text = &bytes[program.range.clone()];
    if zip::crc32(text) != program.crc32 {
        return Err(Refusal::Damaged("the checksum of its pickle is wrong".to_owned()));
    }
    let pickle = pickle::run(text)?;
    let prefix = format!("{root}data/");
    let ranges = entries.iter().filter_map(|(name, entry)| {
        let key = name.strip_prefix(&prefix)?;
        Some((key.to_owned(), (entry.range.start, entry.range.len())))
    });
    Ok((pickle, Storages { blob: blob.clone(), ranges: ranges.collect() }))
}

pub(super) fn open_legacy(blob: &Arc<Blob>) -> Opened {
    let bytes = blob.all()?;
    let mut at = LEGACY_MAGIC.len();
    let mut next = |what: &str| {
        let pickle = pickle::run(bytes.get(at..).unwrap_or_default()).map_err(|e| format!("{what}: {e}"))?;
        at += pickle.consumed;
        Ok::<_, Refusal>(pickle)
    };
    let version = next("version")?;
    if *version.get(version.root) != Value::Int(1001) {
        return Err(Refusal::Foreign("it is of an unknown version of the torch stream".to_owned()));
    }
    let system = next("system")?;
    if is_big_endian(&system) {
        return Err(Refusal::Foreign("its numbers are stored in big-endian order".to_owned()));
    }
    let objects = next("objects")?;
    let keys = next("list of storages")?;
    let ranges = legacy_ranges(bytes, at, &objects, &keys)?;
    Ok((objects, Storages { blob: blob.clone(), ranges }))
}

fn is_big_endian(system: &Pickle) -> bool {
    let Value::Dict(items) = system.get(system.root) else { return false };
    let flag = items.iter().find(|(key, _)| system.text(*key) == Some("little_endian"));
    flag.is_some_and(|(_, value)| *system.get(*value) == Value::Bool(false))
}

/// Storages follow the pickles in the order of `keys`, each after its element count.
fn legacy_ranges(
    bytes: &[u8],
    mut at: usize,
    objects: &Pickle,
    keys: &Pickle,
) -> Result<HashMap<String, (usize, usize)>, String> {
    let mut described: HashMap<String, StorageId> = HashMap::new();
    for value in objects.values() {
        if let Value::Persistent(id) = value
            && let Ok(storage) = storage_id(objects, *id)
        {
            described.insert(storage.key.clone(), storage);
        }
    }
    let keys_in_order = keys.sequence(keys.root).ok_or("its list of storages is not a list")?;
    let mut ranges = HashMap::new();
    for &key in keys_in_order {
        let key = keys.text(key).ok_or("the name of a storage is not text")?;
        let storage = described.get(key).ok_or_else(|| format!("storage {key:?} is described nowhere"))?;
        let count = bytes.get(at..at.saturating_add(8)).and_then(|b| b.try_into().ok()).map(i64::from_le_bytes);
        let count = count.ok_or_else(|| format!("it ends before storage {key:?}"))?;
        let len = usize::try_from(count)
            .ok()
            .filter(|&n| n == storage.count)
            .and_then(|n| n.checked_mul(storage.element_size));
        let len =
            len.ok_or_else(|| format!("storage {key:?} states {count} elements where {} are expected", storage.count))?;
        let start = at + 8;
        at = start
            .checked_add(len)
            .filter(|&end| end <= bytes.len())
            .ok_or_else(|| format!("it ends within storage {key:?}"))?;
        if ranges.insert(key.to_owned(), (start, len)).is_some() {
            return Err(format!("storage {key:?} appears twice"));
        }
    }
    Ok(ranges)
}
