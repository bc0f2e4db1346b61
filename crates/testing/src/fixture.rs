//! Reading committed safetensors fixtures. Trusts them: this is not the product's reader.

use std::collections::BTreeMap;

use serde_json::Value;

/// A safetensors file under `fixtures/`, made by other software.
#[derive(Debug)]
pub struct Fixture {
    path: String,
    header: BTreeMap<String, Value>,
    data: Vec<u8>,
}

impl Fixture {
    /// Reads `fixtures/<relative>`.
    ///
    /// # Panics
    /// When the file is absent or not a safetensors file.
    #[track_caller]
    pub fn open(relative: &str) -> Self {
        Self::read(&crate::fixture_path(relative))
    }

    /// Reads a fixture from any path.
    ///
    /// # Panics
    /// When the file is absent or not a safetensors file.
    #[track_caller]
    pub fn read(path: &std::path::Path) -> Self {
        let path_text = path.display().to_string();
        let mut data = std::fs::read(path).unwrap_or_else(|e| panic!("fixture {path_text}: {e}"));
        let length = u64::from_le_bytes(data[..8].try_into().unwrap()) as usize;
        let header =
            serde_json::from_slice(&data[8..8 + length]).unwrap_or_else(|e| panic!("fixture {path_text}: {e}"));
        data.drain(..8 + length);
        Self { path: path_text, header, data }
    }

    /// Names of all tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.header.keys().map(String::as_str).filter(|&k| k != "__metadata__")
    }

    /// True when the tensor is there.
    pub fn contains(&self, name: &str) -> bool {
        self.header.contains_key(name)
    }

    /// A note of the file, such as the versions of the software that made it or a configuration in JSON.
    ///
    /// # Panics
    /// When the note is not there.
    #[track_caller]
    pub fn note(&self, key: &str) -> &str {
        let note = self.header.get("__metadata__").and_then(|m| m.get(key)).and_then(Value::as_str);
        note.unwrap_or_else(|| panic!("fixture {}: no note {key:?}", self.path))
    }

    /// Dimensions of a tensor.
    ///
    /// # Panics
    /// When the tensor is not there.
    #[track_caller]
    pub fn shape(&self, name: &str) -> Vec<usize> {
        serde_json::from_value(self.entry(name)["shape"].clone()).unwrap()
    }

    /// Stored type of a tensor, as the header spells it (`F32`, `BF16` …).
    ///
    /// # Panics
    /// When the tensor is not there.
    #[track_caller]
    pub fn dtype(&self, name: &str) -> &str {
        self.entry(name)["dtype"].as_str().unwrap()
    }

    /// Numbers of a tensor of any type as `f64`.
    ///
    /// # Panics
    /// When the tensor is not there or of a type fixtures do not use.
    #[track_caller]
    pub fn f64(&self, name: &str) -> Vec<f64> {
        fn each<const N: usize>(bytes: &[u8], f: impl Fn([u8; N]) -> f64) -> Vec<f64> {
            bytes.chunks_exact(N).map(|b| f(b.try_into().unwrap())).collect()
        }
        let bytes = self.bytes(name);
        match self.dtype(name) {
            "F64" => each(bytes, f64::from_le_bytes),
            "F32" => each(bytes, |b| f32::from_le_bytes(b).into()),
            "BF16" => each(bytes, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16).into()),
            "I64" => each(bytes, |b| i64::from_le_bytes(b) as f64),
            "I32" => each(bytes, |b| i32::from_le_bytes(b).into()),
            "I16" => each(bytes, |b| i16::from_le_bytes(b).into()),
            "U8" | "BOOL" => each(bytes, |[b]| b.into()),
            other => panic!("fixture {}: {name:?} is stored as {other}, which fixtures do not use", self.path),
        }
    }

    /// Numbers of a tensor as `f32`.
    ///
    /// # Panics
    /// When the tensor is not there.
    #[track_caller]
    pub fn f32(&self, name: &str) -> Vec<f32> {
        self.f64(name).into_iter().map(|v| v as f32).collect()
    }

    /// Whole numbers of a tensor.
    ///
    /// # Panics
    /// When the tensor is not there.
    #[track_caller]
    pub fn i64(&self, name: &str) -> Vec<i64> {
        match self.dtype(name) {
            "I64" => self.bytes(name).chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect(),
            _ => self.f64(name).into_iter().map(|v| v as i64).collect(),
        }
    }

    /// Stored bytes of a tensor.
    ///
    /// # Panics
    /// When the tensor is not there.
    #[track_caller]
    pub fn bytes(&self, name: &str) -> &[u8] {
        let [from, to]: [usize; 2] = serde_json::from_value(self.entry(name)["data_offsets"].clone()).unwrap();
        &self.data[from..to]
    }

    #[track_caller]
    fn entry(&self, name: &str) -> &Value {
        self.header.get(name).unwrap_or_else(|| {
            let names: Vec<&str> = self.names().collect();
            panic!("fixture {}: no tensor {name:?}; it has {names:?}", self.path)
        })
    }
}
