//! The closed list of callables that make tensors, each read as a description and checked against its storage.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use super::container::Storages;
use super::numpy;
use crate::StorageType::{self, *};
use crate::blob::Blob;
use crate::pickle::{Id, MAX_BYTES, Object, Pickle, Value};
use crate::safetensors::MAX_RANK;
use crate::weights::{Entry, TensorInfo};

/// `torch.<name>Storage` and `torch.<name>`; `None` for types that are known but not read.
const TYPES: &[(&str, &str, Option<StorageType>, usize)] = &[
    ("DoubleStorage", "float64", Some(F64), 8),
    ("FloatStorage", "float32", Some(F32), 4),
    ("HalfStorage", "float16", Some(F16), 2),
    ("BFloat16Storage", "bfloat16", Some(BF16), 2),
    ("LongStorage", "int64", Some(I64), 8),
    ("IntStorage", "int32", Some(I32), 4),
    ("ShortStorage", "int16", Some(I16), 2),
    ("CharStorage", "int8", Some(I8), 1),
    ("ByteStorage", "uint8", Some(U8), 1),
    ("BoolStorage", "bool", Some(Bool), 1),
    ("UntypedStorage", "", None, 1),
    ("", "uint16", Some(U16), 2),
    ("", "uint32", Some(U32), 4),
    ("", "uint64", Some(U64), 8),
    ("", "float8_e4m3fn", Some(F8E4M3), 1),
    ("", "float8_e5m2", Some(F8E5M2), 1),
    ("ComplexFloatStorage", "complex64", None, 8),
    ("ComplexDoubleStorage", "complex128", None, 16),
    ("QInt8Storage", "qint8", None, 1),
    ("QUInt8Storage", "quint8", None, 1),
    ("QInt32Storage", "qint32", None, 4),
];

/// Callables and classes with a meaning here, beside storages and dtypes.
const KNOWN: &[(&str, &str)] = &[
    ("torch._utils", "_rebuild_tensor"),
    ("torch._utils", "_rebuild_tensor_v2"),
    ("torch._utils", "_rebuild_tensor_v3"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch._utils", "_rebuild_parameter_with_state"),
    ("torch._tensor", "_rebuild_from_type_v2"),
    ("torch.nn.parameter", "Parameter"),
    ("torch", "Tensor"),
    ("torch", "Size"),
    ("torch", "device"),
    ("collections", "OrderedDict"),
    ("collections", "defaultdict"),
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("_codecs", "encode"),
];

/// Tensors whose elements overlap (expanded or sliding views) may be this much larger than their storage.
const MAX_EXPANDED: usize = 64 << 20;
/// Deepest wrapping of one tensor in parameters and subclasses.
const MAX_WRAPS: usize = 8;

/// True when the name is one this reader understands.
pub(super) fn is_known(module: &str, name: &str) -> bool {
    KNOWN.contains(&(module, name)) || numpy::is_known(module, name) || type_of(module, name).is_some()
}

/// `(type, element size)` of a storage class or dtype.
fn type_of(module: &str, name: &str) -> Option<(Option<StorageType>, usize)> {
    let torch = matches!(module, "torch" | "torch.cuda" | "torch.storage");
    let row = TYPES.iter().find(|row| torch && !name.is_empty() && (row.0 == name || row.1 == name))?;
    Some((row.2, row.3))
}

/// A persistent id: `('storage', class, key, device, count[, view])`.
pub(super) struct StorageId {
    pub(super) key: String,
    dtype: Option<StorageType>,
    type_name: String,
    /// Elements of the whole storage.
    pub(super) count: usize,
    pub(super) element_size: usize,
    /// `(first, count)` in elements when only a part is meant.
    view: Option<(usize, usize)>,
}

pub(super) fn storage_id(pickle: &Pickle, id: Id) -> Result<StorageId, String> {
    let broken = || "the description of its storage is broken".to_owned();
    let parts = pickle.sequence(id).filter(|p| p.len() >= 5).ok_or_else(broken)?;
    if pickle.text(parts[0]) != Some("storage") {
        return Err(broken());
    }
    let (module, name) = pickle.global(parts[1]).ok_or_else(broken)?;
    let (dtype, element_size) =
        type_of(module, name).ok_or_else(|| format!("its storage class {module}.{name} is not known"))?;
    let key = match pickle.get(parts[2]) {
        Value::Text(text) => text.to_string(),
        Value::Int(number) => number.to_string(),
        _ => return Err(broken()),
    };
    let count = pickle.size(parts[4]).ok_or_else(broken)?;
    let view = match parts.get(5).and_then(|&view| pickle.sequence(view)) {
        Some(&[_, first, count]) => {
            Some((pickle.size(first).ok_or_else(broken)?, pickle.size(count).ok_or_else(broken)?))
        }
        _ => None,
    };
    Ok(StorageId { key, dtype, type_name: format!("{module}.{name}"), count, element_size, view })
}

/// Makes [`Entry`]s of pickle nodes.
pub(super) struct Rebuilder<'a> {
    pickle: &'a Pickle,
    storages: &'a Storages,
    file: &'a str,
    /// Arrays' bytes, by node, so that a node named twice is held once.
    arrays: RefCell<HashMap<Id, Arc<Blob>>>,
    array_bytes: Cell<usize>,
}

impl<'a> Rebuilder<'a> {
    pub(super) fn new(pickle: &'a Pickle, storages: &'a Storages, file: &'a str) -> Self {
        Self { pickle, storages, file, arrays: RefCell::default(), array_bytes: Cell::new(0) }
    }

    /// The bytes of an array, kept once per node and bounded in all.
    pub(super) fn array_blob<'b>(
        &self,
        id: Id,
        bytes: impl FnOnce() -> Option<Cow<'b, [u8]>>,
    ) -> Result<Arc<Blob>, String> {
        if let Some(blob) = self.arrays.borrow().get(&id) {
            return Ok(blob.clone());
        }
        let bytes = bytes().ok_or("the bytes of an array are missing")?;
        self.array_bytes.set(self.array_bytes.get() + bytes.len());
        if self.array_bytes.get() > MAX_BYTES {
            return Err(format!("the arrays of the file have more than {MAX_BYTES} bytes"));
        }
        let blob = Arc::new(Blob::from_vec(self.file, bytes.into_owned()));
        self.arrays.borrow_mut().insert(id, blob.clone());
        Ok(blob)
    }

    /// The tensor that a call node stands for; `None` when it is not a tensor, an error when it is one that cannot be read.
    pub(super) fn tensor(&self, object: &Object) -> Option<Result<Entry, String>> {
        let (module, name) = self.pickle.global(object.callable)?;
        if let Some(array) = numpy::array(self.pickle, self, module, name, object) {
            return Some(array);
        }
        self.call(module, name, object.arguments, MAX_WRAPS)
    }

    fn call(&self, module: &str, name: &str, arguments: Id, wraps: usize) -> Option<Result<Entry, String>> {
        let arguments = self.pickle.sequence(arguments)?;
        let wraps = match wraps.checked_sub(1) {
            Some(left) => left,
            None => return Some(Err("it is wrapped too many times".to_owned())),
        };
        match (module, name) {
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Some(self.rebuild(arguments, None)),
            ("torch._utils", "_rebuild_tensor_v3") => Some(self.rebuild(arguments, arguments.get(6).copied())),
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                let inner = arguments.first().map(|&id| self.pickle.get(id));
                let Some(Value::Object(inner)) = inner else {
                    return Some(Err("a parameter has no tensor".to_owned()));
                };
                let Some((module, name)) = self.pickle.global(inner.callable) else {
                    return Some(Err("a parameter has no tensor".to_owned()));
                };
                self.call(module, name, inner.arguments, wraps)
            }
            ("torch._tensor", "_rebuild_from_type_v2") => {
                let [function, _class, inner, ..] = arguments else {
                    return Some(Err("a tensor subclass is broken".to_owned()));
                };
                let (module, name) = self.pickle.global(*function)?;
                self.call(module, name, *inner, wraps)
            }
            _ if self.mentions_storage(arguments) => {
                Some(Err(format!("it is made by {module}.{name}, which danqing does not know and never calls")))
            }
            _ => None,
        }
    }

    /// `(storage, offset, size, stride, requires_grad, hooks, ...)`; `dtype` is given where the storage is untyped.
    fn rebuild(&self, arguments: &[Id], dtype: Option<Id>) -> Result<Entry, String> {
        let broken = || "its description is broken".to_owned();
        let [storage, offset, size, stride, extra @ ..] = arguments else { return Err(broken()) };
        let Value::Persistent(storage) = self.pickle.get(*storage) else { return Err(broken()) };
        let storage = storage_id(self.pickle, *storage)?;
        let dtype = match dtype {
            None => storage.dtype.ok_or_else(|| format!("its storage type {} is not read", storage.type_name))?,
            Some(id) => {
                let (module, name) = self.pickle.global(id).ok_or_else(broken)?;
                let known = type_of(module, name).and_then(|(dtype, _)| dtype);
                known.ok_or_else(|| format!("its type {module}.{name} is not read"))?
            }
        };
        if extra
            .get(if storage.type_name.ends_with("UntypedStorage") { 3 } else { 2 })
            .is_some_and(|&m| self.is_filled(m))
        {
            return Err("it is stored conjugated or negated".to_owned());
        }
        let shape = self.sizes(*size)?;
        let strides = self.sizes(*stride)?;
        let offset = self.pickle.size(*offset).ok_or("its offset is negative")?;
        self.place(&storage, dtype, offset, shape, strides)
    }

    fn is_filled(&self, id: Id) -> bool {
        matches!(self.pickle.get(id), Value::Dict(items) if !items.is_empty())
    }

    fn sizes(&self, id: Id) -> Result<Vec<usize>, String> {
        let broken = || "its shape is broken or negative".to_owned();
        let ids = match self.pickle.get(id) {
            // torch.Size((2, 3)) as a call.
            Value::Object(object) => {
                let arguments = self.pickle.sequence(object.arguments).ok_or_else(broken)?;
                arguments.first().and_then(|&id| self.pickle.sequence(id)).ok_or_else(broken)?
            }
            _ => self.pickle.sequence(id).ok_or_else(broken)?,
        };
        if ids.len() > MAX_RANK {
            return Err(format!("it has more than {MAX_RANK} dimensions"));
        }
        ids.iter().map(|&id| self.pickle.size(id).ok_or_else(broken)).collect()
    }

    /// Checks a view of a storage and says where it lies.
    fn place(
        &self,
        storage: &StorageId,
        dtype: StorageType,
        offset: usize,
        shape: Vec<usize>,
        strides: Vec<usize>,
    ) -> Result<Entry, String> {
        let outside = || format!("its shape {shape:?} reaches outside its storage {:?}", storage.key);
        let (blob, start, len) = self
            .storages
            .find(&storage.key)
            .ok_or_else(|| format!("its storage {:?} is not in the file", storage.key))?;
        let stated =
            storage.count.checked_mul(storage.element_size).filter(|&bytes| bytes <= len).ok_or_else(|| {
                format!("its storage {:?} has {len} bytes, too few for {} elements", storage.key, storage.count)
            })?;
        let (first, bytes) = match storage.view {
            None => (0, stated),
            Some((first, count)) => {
                let scaled = |n: usize| n.checked_mul(storage.element_size);
                let (first, count) = (scaled(first).ok_or_else(outside)?, scaled(count).ok_or_else(outside)?);
                first.checked_add(count).filter(|&end| end <= stated).ok_or_else(outside)?;
                (first, count)
            }
        };
        if shape.len() != strides.len() {
            return Err("its shape and strides differ in length".to_owned());
        }
        let total = crate::safetensors::checked_bytes(&shape, dtype).ok_or_else(outside)?;
        let skipped = offset.checked_mul(dtype.size()).filter(|&skip| skip <= bytes).ok_or_else(outside)?;
        if total > 0 {
            let reach = shape
                .iter()
                .zip(&strides)
                .try_fold(1usize, |reach, (&d, &s)| reach.checked_add((d - 1).checked_mul(s)?));
            let reach = reach.and_then(|n| n.checked_mul(dtype.size())).and_then(|n| n.checked_add(skipped));
            reach.filter(|&end| end <= bytes).ok_or_else(outside)?;
        }
        if total > bytes && total > MAX_EXPANDED {
            return Err(format!("it is {total} bytes seen through {bytes} stored ones"));
        }
        let strides = (!is_contiguous(&shape, &strides)).then_some(strides);
        Ok(Entry { info: TensorInfo { dtype, shape }, blob: blob.clone(), start: start + first + skipped, strides })
    }

    /// True when an argument, or an element of one, is a storage or a tensor.
    fn mentions_storage(&self, arguments: &[Id]) -> bool {
        let direct = |id: Id| match self.pickle.get(id) {
            Value::Persistent(_) => true,
            Value::Object(object) => self
                .pickle
                .global(object.callable)
                .is_some_and(|(module, name)| module.starts_with("torch._") && name.starts_with("_rebuild")),
            _ => false,
        };
        arguments.iter().take(64).any(|&id| {
            direct(id) || self.pickle.sequence(id).is_some_and(|inner| inner.iter().take(16).any(|&id| direct(id)))
        })
    }
}

/// True when the strides are those of row-major order; dimensions of size one may have any.
fn is_contiguous(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1usize;
    for (&d, &s) in shape.iter().zip(strides).rev() {
        if d == 0 {
            return true;
        }
        if d != 1 && s != expected {
            return shape.contains(&0);
        }
        expected = expected.saturating_mul(d);
    }
    true
}
