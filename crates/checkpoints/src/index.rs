//! `*.index.json`: a checkpoint in several files, `{"metadata": {...}, "weight_map": {tensor: file}}`.
//!
//! A file named there must lie beside the index: anything that looks like a path is refused.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, Visitor};

use crate::blob::Blob;
use crate::error::{MEND_DOWNLOAD, MEND_RESAVE};
use crate::safetensors::{MAX_HEADER, MAX_TENSORS};
use crate::{Weights, WeightsError, formats};

/// Most files of one checkpoint.
const MAX_FILES: usize = 1_024;
const FORMAT: &str = "index";

/// Reads the index and opens every file it names.
pub(crate) fn parse(blob: &Arc<Blob>) -> Result<Weights, WeightsError> {
    let file = blob.name();
    if blob.len() > MAX_HEADER {
        let problem = format!("it has {} bytes, more than the {MAX_HEADER} accepted", blob.len());
        return Err(WeightsError::malformed(file, FORMAT, problem));
    }
    let map =
        weight_map(&blob.copy(0..blob.len())?).map_err(|problem| WeightsError::malformed(file, FORMAT, problem))?;
    let folder = blob.path().and_then(Path::parent).ok_or_else(|| WeightsError::NotReadable {
        file: file.to_owned(),
        problem: "an index in memory has no files beside it".to_owned(),
        mend: "Open the index from its folder",
    })?;
    let mut shards: HashMap<&str, BTreeMap<String, _>> = HashMap::new();
    let mut weights = Weights::empty(file);
    for (tensor, shard) in &map {
        if !shards.contains_key(shard.as_str()) {
            let opened = open_shard(&folder.join(shard))?;
            shards.insert(shard, opened.into_entries());
        }
        let entry = shards.get_mut(shard.as_str()).and_then(|entries| entries.remove(tensor));
        let entry = entry.ok_or_else(|| {
            WeightsError::tensor(
                file,
                tensor,
                format!("the index says it is in {shard:?}, but it is not"),
                MEND_DOWNLOAD,
            )
        })?;
        weights.insert(tensor.clone(), entry)?;
    }
    Ok(weights)
}

fn open_shard(path: &Path) -> Result<Weights, WeightsError> {
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json")) {
        return Err(WeightsError::NotReadable {
            file: path.display().to_string(),
            problem: "an index names another index".to_owned(),
            mend: MEND_RESAVE,
        });
    }
    Ok(formats::parse(&Arc::new(Blob::open(path)?))?.unwrapped())
}

/// Tensor and file names of an index, or a sentence.
pub(crate) fn weight_map(text: &[u8]) -> Result<BTreeMap<String, String>, String> {
    let index: Index = serde_json::from_slice(text).map_err(|e| e.to_string())?;
    let mut files: Vec<&String> = index.0.values().collect();
    files.sort_unstable();
    files.dedup();
    if files.len() > MAX_FILES {
        return Err(format!("it names {} files, more than {MAX_FILES}", files.len()));
    }
    match files.into_iter().find(|name| !is_plain_name(name)) {
        Some(name) => Err(format!("it names the file {name:?}, which is not beside it")),
        None => Ok(index.0),
    }
}

fn is_plain_name(name: &str) -> bool {
    let path_like = name.contains(['/', '\\', ':', '\0']) || name.starts_with('.');
    !name.is_empty() && name.len() <= 255 && !path_like && !name.chars().any(char::is_control)
}

struct Index(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Index {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Outer {
            #[serde(default, rename = "metadata")]
            _metadata: IgnoredAny,
            weight_map: Names,
        }
        Outer::deserialize(deserializer).map(|outer| Self(outer.weight_map.0))
    }
}

struct Names(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NamesVisitor).map(Self)
    }
}

struct NamesVisitor;

impl<'de> Visitor<'de> for NamesVisitor {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of file names by tensor name")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut names = BTreeMap::new();
        while let Some((tensor, file)) = map.next_entry::<String, String>()? {
            if names.len() >= MAX_TENSORS {
                return Err(A::Error::custom(format_args!("more than {MAX_TENSORS} tensors")));
            }
            if names.contains_key(&tensor) {
                return Err(A::Error::custom(format_args!("the name {tensor:?} appears twice")));
            }
            names.insert(tensor, file);
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_beside_the_index_are_named() {
        let index = |file: &str| format!(r#"{{"metadata":{{"total_size":1}},"weight_map":{{"a":{file:?}}}}}"#);
        assert_eq!(weight_map(index("model-00001-of-00002.safetensors").as_bytes()).unwrap().len(), 1);
        for bad in ["../x.safetensors", "/etc/passwd", "a/b.safetensors", "..", ".hidden", "", "C:x", "a\\b", "a\u{0}b"]
        {
            assert!(weight_map(index(bad).as_bytes()).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_given_twice_are_refused() {
        assert!(weight_map(br#"{"weight_map":{"a":"x","a":"y"}}"#).is_err());
        assert!(weight_map(br#"{"weight_map":{},"weight_map":{}}"#).is_err());
        assert!(weight_map(b"{}").is_err() && weight_map(b"[]").is_err() && weight_map(b"").is_err());
    }
}
