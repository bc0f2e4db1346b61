//! The JSON header of a safetensors file, read so that a name given twice is seen and refused.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::{MAX_RANK, MAX_TENSORS};

/// What a header declares, in file order.
#[derive(Default)]
pub(super) struct Header {
    pub(super) tensors: Vec<(String, Declared)>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// One tensor's declaration; serde refuses fields given twice.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Declared {
    pub(super) dtype: String,
    #[serde(deserialize_with = "shape")]
    pub(super) shape: Vec<usize>,
    /// First byte and byte after the last one, counted from the end of the header.
    pub(super) data_offsets: [usize; 2],
}

pub(super) fn parse(text: &[u8]) -> Result<Header, serde_json::Error> {
    serde_json::from_slice(text)
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensor descriptions")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
        let mut header = Header::default();
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !seen.insert(name.clone()) {
                return Err(A::Error::custom(format_args!("the name {name:?} appears twice")));
            }
            if seen.len() > MAX_TENSORS + 1 {
                return Err(A::Error::custom(format_args!("more than {MAX_TENSORS} tensors")));
            }
            if name == "__metadata__" {
                header.metadata = map.next_value::<Metadata>()?.0;
            } else {
                let declared = map.next_value().map_err(|e| A::Error::custom(format_args!("tensor {name:?}: {e}")))?;
                header.tensors.push((name, declared));
            }
        }
        if header.tensors.len() > MAX_TENSORS {
            return Err(A::Error::custom(format_args!("more than {MAX_TENSORS} tensors")));
        }
        Ok(header)
    }
}

/// A list of at most [`MAX_RANK`] sizes, so that a header cannot become larger in memory than it is in the file.
fn shape<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<usize>, D::Error> {
    struct ShapeVisitor;
    impl<'de> Visitor<'de> for ShapeVisitor {
        type Value = Vec<usize>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of sizes")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<usize>, A::Error> {
            let mut sizes = Vec::new();
            while let Some(size) = list.next_element()? {
                if sizes.len() == MAX_RANK {
                    return Err(A::Error::custom(format_args!("more than {MAX_RANK} dimensions")));
                }
                sizes.push(size);
            }
            Ok(sizes)
        }
    }
    deserializer.deserialize_seq(ShapeVisitor)
}

struct Metadata(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MetadataVisitor).map(Metadata)
    }
}

struct MetadataVisitor;

impl<'de> Visitor<'de> for MetadataVisitor {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut notes = BTreeMap::new();
        while let Some((key, value)) = map.next_entry::<String, String>()? {
            if notes.contains_key(&key) {
                return Err(A::Error::custom(format_args!("the note {key:?} appears twice")));
            }
            notes.insert(key, value);
        }
        Ok(notes)
    }
}
