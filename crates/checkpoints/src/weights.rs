//! [`Weights`]: tensors by name, whatever file they came from.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use half::bf16;

use crate::blob::Blob;
use crate::error::{MEND_DOWNLOAD, MEND_NAN, MEND_RESAVE};
use crate::{StorageType, WeightsError, decode};

/// Stored type and shape of one tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Stored element type.
    pub dtype: StorageType,
    /// Dimensions, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
}

impl TensorInfo {
    /// Number of elements. Readers refuse shapes whose product does not fit, so this cannot overflow.
    pub fn numel(&self) -> usize {
        self.shape.iter().product()
    }

    /// Number of bytes when stored contiguously.
    pub fn byte_len(&self) -> usize {
        self.numel() * self.dtype.size()
    }
}

/// One tensor: what it is and where its bytes are.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) info: TensorInfo,
    pub(crate) blob: Arc<Blob>,
    /// First byte of the first element in the blob.
    pub(crate) start: usize,
    /// Steps in elements per dimension; `None` when contiguous.
    pub(crate) strides: Option<Vec<usize>>,
}

/// A dictionary inside a file that tensors lie in.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// Dotted name.
    pub(crate) path: String,
    /// Number of dictionaries it lies in.
    pub(crate) depth: usize,
}

/// Tensors by name. Cloning is cheap next to the data: the bytes stay mapped once.
///
/// Opening maps the file and checks its directory; the numbers are read when asked for.
#[derive(Clone, Debug)]
pub struct Weights {
    source: String,
    entries: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
    refused: BTreeMap<String, String>,
    groups: Vec<Group>,
    unknown_globals: Vec<String>,
}

impl Weights {
    /// Opens a weight file, an index of several, or a folder that holds one of these.
    ///
    /// The format is recognised by the first bytes, see [`crate::FORMATS`]. In a folder the first of these is taken:
    /// `*.safetensors.index.json`, `diffusion_pytorch_model.safetensors`, `model.safetensors`, the same with `.fp16` before the
    /// suffix, then the `.bin` forms.
    ///
    /// # Errors
    /// When the file cannot be read, is of a format that is not read, or is not sound in every point of its format.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, WeightsError> {
        crate::formats::open(path.as_ref())
    }

    /// As [`Weights::open`] of a folder, taking only the files of a variant such as `fp16`.
    ///
    /// # Errors
    /// When the folder has no file of that variant, and as [`Weights::open`].
    pub fn open_variant(folder: impl AsRef<Path>, variant: &str) -> Result<Self, WeightsError> {
        crate::formats::open(&crate::folder::find(folder.as_ref(), Some(variant))?)
    }

    /// Opens a weight file that is part of the program itself (`include_bytes!`); nothing is copied.
    ///
    /// # Errors
    /// As [`Weights::open`]; `name` stands for the file name in detection and messages.
    pub fn from_static(name: &str, bytes: &'static [u8]) -> Result<Self, WeightsError> {
        crate::formats::parse(&Arc::new(Blob::from_static(name, bytes)))
    }

    /// Opens a weight file held in memory.
    ///
    /// # Errors
    /// As [`Weights::open`]; `name` stands for the file name in detection and messages.
    pub fn from_bytes(name: &str, bytes: Vec<u8>) -> Result<Self, WeightsError> {
        crate::formats::parse(&Arc::new(Blob::from_vec(name, bytes)))
    }

    /// Weights from tensors made in memory, for tests and conversions: `(name, shape, values)`, stored as F32.
    ///
    /// # Errors
    /// When a shape does not match its values or a name appears twice.
    pub fn from_parts(source: &str, parts: Vec<(String, Vec<usize>, Vec<f32>)>) -> Result<Self, WeightsError> {
        let mut weights = Self::empty(source);
        for (name, shape, values) in parts {
            let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
            if count != Some(values.len()) {
                let problem = format!("shape {shape:?} does not hold {} values", values.len());
                return Err(WeightsError::tensor(source, &name, problem, "Give one value per element"));
            }
            let bytes = values.iter().flat_map(|v| v.to_le_bytes()).collect();
            let blob = Arc::new(Blob::from_vec(source, bytes));
            let info = TensorInfo { dtype: StorageType::F32, shape };
            weights.insert(name, Entry { info, blob, start: 0, strides: None })?;
        }
        Ok(weights)
    }

    pub(crate) fn empty(source: &str) -> Self {
        Self {
            source: source.to_owned(),
            entries: BTreeMap::new(),
            metadata: BTreeMap::new(),
            refused: BTreeMap::new(),
            groups: Vec::new(),
            unknown_globals: Vec::new(),
        }
    }

    pub(crate) fn insert(&mut self, name: String, entry: Entry) -> Result<(), WeightsError> {
        self.check_new(&name)?;
        self.entries.insert(name, entry);
        Ok(())
    }

    /// Notes a tensor that is there but cannot be read.
    pub(crate) fn refuse(&mut self, name: String, reason: String) -> Result<(), WeightsError> {
        self.check_new(&name)?;
        self.refused.insert(name, reason);
        Ok(())
    }

    fn check_new(&self, name: &str) -> Result<(), WeightsError> {
        if self.entries.contains_key(name) || self.refused.contains_key(name) {
            return Err(WeightsError::tensor(&self.source, name, "the name appears twice", MEND_RESAVE));
        }
        Ok(())
    }

    pub(crate) fn set_groups(&mut self, groups: Vec<Group>) {
        self.groups = groups;
    }

    pub(crate) fn set_unknown_globals(&mut self, unknown: Vec<String>) {
        self.unknown_globals = unknown;
    }

    pub(crate) fn into_entries(self) -> BTreeMap<String, Entry> {
        self.entries
    }

    pub(crate) fn set_metadata(&mut self, metadata: BTreeMap<String, String>) {
        self.metadata = metadata;
    }

    /// File name or other origin, for messages.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// All tensor names in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// True when a tensor of this name is there.
    pub fn contains(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Stored type and shape of `name`, or `None` when it is not there.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.entries.get(name).map(|e| &e.info)
    }

    /// The file's own notes: `__metadata__` of a safetensors file.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Classes and functions that a torch file names and danqing gives no meaning to. They were not called.
    pub fn unknown_globals(&self) -> &[String] {
        &self.unknown_globals
    }

    /// Tensors that are in the file but cannot be read, with the reason.
    pub fn refused(&self) -> impl Iterator<Item = (&str, &str)> {
        self.refused.iter().map(|(name, reason)| (name.as_str(), reason.as_str()))
    }

    /// The tensors whose name begins with `prefix`, named by the rest: `under("first_stage_model.")`.
    #[must_use]
    pub fn under(&self, prefix: &str) -> Self {
        fn strip<T: Clone>(from: &BTreeMap<String, T>, prefix: &str) -> BTreeMap<String, T> {
            let range = from.range(prefix.to_owned()..).take_while(|(name, _)| name.starts_with(prefix));
            range.map(|(name, value)| (name[prefix.len()..].to_owned(), value.clone())).collect()
        }
        Self {
            source: self.source.clone(),
            entries: strip(&self.entries, prefix),
            metadata: self.metadata.clone(),
            refused: strip(&self.refused, prefix),
            groups: Vec::new(),
            unknown_globals: self.unknown_globals.clone(),
        }
    }

    /// The tensors under the names that `rename` gives them; those it gives none are left out.
    ///
    /// # Errors
    /// When two tensors would get the same name.
    pub fn renamed(&self, mut rename: impl FnMut(&str) -> Option<String>) -> Result<Self, WeightsError> {
        let mut out = Self { entries: BTreeMap::new(), refused: BTreeMap::new(), groups: Vec::new(), ..self.clone() };
        for (name, entry) in &self.entries {
            if let Some(new) = rename(name) {
                out.insert(new, entry.clone())?;
            }
        }
        for (name, reason) in &self.refused {
            if let Some(new) = rename(name) {
                out.refuse(new, reason.clone())?;
            }
        }
        Ok(out)
    }

    /// The state dictionary inside a torch file: unpacks trainers' wrappers (`state_dict`, `params_ema`, `model` …) and the
    /// `module.` prefix of data-parallel training. Other files are returned as they are.
    #[must_use]
    pub fn unwrapped(&self) -> Self {
        let Some(path) = crate::unwrap::state_dictionary(&self.groups, self.entries.keys()) else {
            return self.clone();
        };
        let inner = self.under(&path);
        if !inner.is_empty() && inner.names().all(|name| name.starts_with("module.")) {
            return inner.under("module.");
        }
        inner
    }

    /// The numbers of `name` as `f32` in row-major order.
    ///
    /// # Errors
    /// When the tensor is not there or its file was cut short since it was opened.
    pub fn read_f32(&self, name: &str) -> Result<Vec<f32>, WeightsError> {
        let mut out = vec![0f32; self.entry(name)?.info.numel()];
        self.read_f32_into(name, &mut out)?;
        Ok(out)
    }

    /// As [`Weights::read_f32`] into a buffer of exactly the tensor's element count.
    ///
    /// # Errors
    /// As [`Weights::read_f32`], and when `out` has another length.
    pub fn read_f32_into(&self, name: &str, out: &mut [f32]) -> Result<(), WeightsError> {
        let entry = self.entry(name)?;
        self.check_count(name, entry, out.len())?;
        read_blocks(entry, out, decode::to_f32)
    }

    /// The numbers of `name` as bfloat16, rounded to nearest even, in row-major order.
    ///
    /// # Errors
    /// As [`Weights::read_f32`].
    pub fn read_bf16(&self, name: &str) -> Result<Vec<bf16>, WeightsError> {
        let mut out = vec![bf16::ZERO; self.entry(name)?.info.numel()];
        self.read_bf16_into(name, &mut out)?;
        Ok(out)
    }

    /// As [`Weights::read_bf16`] into a buffer of exactly the tensor's element count.
    ///
    /// # Errors
    /// As [`Weights::read_f32`], and when `out` has another length.
    pub fn read_bf16_into(&self, name: &str, out: &mut [bf16]) -> Result<(), WeightsError> {
        let entry = self.entry(name)?;
        self.check_count(name, entry, out.len())?;
        read_blocks(entry, out, decode::to_bf16)
    }

    /// Refuses a tensor with a NaN or an infinity in it: one such number turns every picture black.
    ///
    /// # Errors
    /// When there is such a number, naming it, and as [`Weights::read_f32`].
    pub fn check_finite(&self, name: &str) -> Result<(), WeightsError> {
        let entry = self.entry(name)?;
        let dtype = entry.info.dtype;
        if !dtype.is_float() {
            return Ok(());
        }
        let (mut found, mut seen) = (None, 0);
        let mut look = |bytes: &[u8]| {
            found = found.or_else(|| decode::first_non_finite(dtype, bytes).map(|(at, value)| (seen + at, value)));
            seen += bytes.len() / dtype.size();
        };
        match &entry.strides {
            None => entry.blob.stream(entry.start..entry.start + entry.info.byte_len(), look)?,
            Some(strides) => look(&gather(entry, strides)?),
        }
        match found {
            None => Ok(()),
            Some((index, value)) => {
                let problem = format!("element {index} of {} is {value}", entry.info.numel());
                Err(WeightsError::tensor(&self.source, name, problem, MEND_NAN))
            }
        }
    }

    /// The stored bytes of `name`, little-endian, row-major; copied only when the tensor is stored with gaps or transposed.
    ///
    /// # Errors
    /// As [`Weights::read_f32`].
    pub fn bytes(&self, name: &str) -> Result<Cow<'_, [u8]>, WeightsError> {
        let entry = self.entry(name)?;
        match &entry.strides {
            None => Ok(Cow::Borrowed(entry.blob.range(entry.start..entry.start + entry.info.byte_len())?)),
            Some(strides) => Ok(Cow::Owned(gather(entry, strides)?)),
        }
    }

    fn entry(&self, name: &str) -> Result<&Entry, WeightsError> {
        if let Some(reason) = self.refused.get(name) {
            return Err(WeightsError::tensor(&self.source, name, reason.clone(), MEND_RESAVE));
        }
        self.entries.get(name).ok_or_else(|| WeightsError::Missing {
            file: self.source.clone(),
            tensor: name.to_owned(),
            nearest: self.nearest(name),
        })
    }

    fn check_count(&self, name: &str, entry: &Entry, len: usize) -> Result<(), WeightsError> {
        if entry.info.numel() == len {
            return Ok(());
        }
        let problem = format!("shape {:?} does not fit a buffer of {len} numbers", entry.info.shape);
        Err(WeightsError::tensor(&self.source, name, problem, "Size the buffer by the tensor's shape"))
    }

    /// The name that shares the longest tail and head with `wanted`.
    fn nearest(&self, wanted: &str) -> Option<String> {
        let score = |name: &str| {
            let head = name.bytes().zip(wanted.bytes()).take_while(|(a, b)| a == b).count();
            let tail = name.bytes().rev().zip(wanted.bytes().rev()).take_while(|(a, b)| a == b).count();
            (head + tail).min(name.len())
        };
        let best = self.names().max_by_key(|name| score(name))?;
        (score(best) * 2 > wanted.len()).then(|| best.to_owned())
    }
}

/// Decodes a tensor into `out`, which has its element count.
fn read_blocks<T>(
    entry: &Entry,
    mut out: &mut [T],
    decode: fn(StorageType, &[u8], &mut [T]),
) -> Result<(), WeightsError> {
    let dtype = entry.info.dtype;
    if let Some(strides) = &entry.strides {
        decode(dtype, &gather(entry, strides)?, out);
        return Ok(());
    }
    entry.blob.stream(entry.start..entry.start + entry.info.byte_len(), |bytes| {
        let (block, rest) = std::mem::take(&mut out).split_at_mut(bytes.len() / dtype.size());
        decode(dtype, bytes, block);
        out = rest;
    })
}

/// Collects a strided tensor row-major.
fn gather(entry: &Entry, strides: &[usize]) -> Result<Vec<u8>, WeightsError> {
    let TensorInfo { dtype, shape } = &entry.info;
    let size = dtype.size();
    let mut out = Vec::with_capacity(entry.info.byte_len());
    if entry.info.numel() == 0 {
        return Ok(out);
    }
    let span: usize = shape.iter().zip(strides).map(|(&d, &s)| (d - 1) * s).sum::<usize>() + 1;
    let bytes = entry.blob.range(entry.start..entry.start + span * size)?;
    let mut index = vec![0usize; shape.len()];
    let mut at = 0usize;
    loop {
        let element = bytes.get(at * size..(at + 1) * size).ok_or_else(|| {
            WeightsError::tensor(entry.blob.name(), "", "strides point outside its storage", MEND_DOWNLOAD)
        })?;
        out.extend_from_slice(element);
        let mut axis = shape.len();
        loop {
            if axis == 0 {
                return Ok(out);
            }
            axis -= 1;
            index[axis] += 1;
            at += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            index[axis] = 0;
        }
    }
}
