//! NumPy arrays inside a pickle: `_reconstruct` followed by the state `(version, shape, dtype, fortran, bytes)`, or, from
//! protocol 5 on, `_frombuffer(bytes, dtype, shape, order)`.

use std::borrow::Cow;

use super::rebuild::Rebuilder;
use crate::StorageType::{self, *};
use crate::pickle::{Id, Object, Pickle, Value};
use crate::safetensors::MAX_RANK;
use crate::weights::{Entry, TensorInfo};

const CODES: &[(&str, StorageType)] = &[
    ("f8", F64),
    ("f4", F32),
    ("f2", F16),
    ("i8", I64),
    ("i4", I32),
    ("i2", I16),
    ("i1", I8),
    ("u8", U64),
    ("u4", U32),
    ("u2", U16),
    ("u1", U8),
    ("b1", Bool),
];

const FORTRAN: &str = "it is an array in Fortran order";

fn is_multiarray(module: &str) -> bool {
    matches!(module, "numpy.core.multiarray" | "numpy._core.multiarray")
}

fn is_numeric(module: &str) -> bool {
    matches!(module, "numpy.core.numeric" | "numpy._core.numeric")
}

pub(super) fn is_known(module: &str, name: &str) -> bool {
    is_multiarray(module) && matches!(name, "_reconstruct" | "scalar") || is_numeric(module) && name == "_frombuffer"
}

/// The array that a call node stands for, or `None` when it is not one.
pub(super) fn array(
    pickle: &Pickle,
    rebuilder: &Rebuilder<'_>,
    module: &str,
    name: &str,
    object: &Object,
) -> Option<Result<Entry, String>> {
    if is_numeric(module) && name == "_frombuffer" {
        let &[data, dtype, shape, order] = pickle.sequence(object.arguments)? else {
            return Some(Err("an array has unknown arguments".to_owned()));
        };
        if pickle.text(order) != Some("C") {
            return Some(Err(FORTRAN.to_owned()));
        }
        return Some(read(pickle, rebuilder, shape, dtype, data));
    }
    if !is_multiarray(module) || name != "_reconstruct" {
        return None;
    }
    let state = object.state.and_then(|id| pickle.sequence(id))?;
    let &[_version, shape, dtype, fortran, data] = state else {
        return Some(Err("an array has an unknown state".to_owned()));
    };
    if *pickle.get(fortran) != Value::Bool(false) {
        return Some(Err(FORTRAN.to_owned()));
    }
    Some(read(pickle, rebuilder, shape, dtype, data))
}

fn read(pickle: &Pickle, rebuilder: &Rebuilder<'_>, shape: Id, dtype: Id, data: Id) -> Result<Entry, String> {
    let dtype = dtype_of(pickle, dtype)?;
    let shape = pickle
        .sequence(shape)
        .filter(|s| s.len() <= MAX_RANK)
        .and_then(|s| s.iter().map(|&id| pickle.size(id)).collect());
    let shape: Vec<usize> = shape.ok_or("the shape of an array is broken")?;
    let blob = rebuilder.array_blob(data, || bytes_of(pickle, data))?;
    if crate::safetensors::checked_bytes(&shape, dtype) != Some(blob.len()) {
        return Err(format!("an array of shape {shape:?} and type {dtype} has {} bytes", blob.len()));
    }
    Ok(Entry { info: TensorInfo { dtype, shape }, blob, start: 0, strides: None })
}

/// `dtype('f4', ...)` with the state `(3, '<', ...)`.
fn dtype_of(pickle: &Pickle, id: Id) -> Result<StorageType, String> {
    let unknown = || "the type of an array is not known".to_owned();
    let Value::Object(object) = pickle.get(id) else { return Err(unknown()) };
    if pickle.global(object.callable) != Some(("numpy", "dtype")) {
        return Err(unknown());
    }
    let code = pickle
        .sequence(object.arguments)
        .and_then(|a| a.first())
        .and_then(|&id| pickle.text(id))
        .ok_or_else(unknown)?;
    let order = object.state.and_then(|id| pickle.sequence(id)).and_then(|s| s.get(1)).and_then(|&id| pickle.text(id));
    if order == Some(">") {
        return Err("it is a big-endian array".to_owned());
    }
    let found = CODES.iter().find(|(c, _)| *c == code);
    found.map(|(_, dtype)| *dtype).ok_or_else(|| format!("arrays of type {code:?} are not read"))
}

/// Bytes as such, or as protocol 2 spells them: `_codecs.encode(text, 'latin1')`.
fn bytes_of(pickle: &Pickle, id: Id) -> Option<Cow<'_, [u8]>> {
    match pickle.get(id) {
        Value::Bytes(bytes) => Some(Cow::Borrowed(bytes)),
        Value::Text(text) => Some(Cow::Borrowed(text.as_bytes())),
        Value::Object(object) if pickle.global(object.callable) == Some(("_codecs", "encode")) => {
            let text = pickle.sequence(object.arguments)?.first().and_then(|&id| pickle.text(id))?;
            text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<Vec<u8>>>().map(Cow::Owned)
        }
        _ => None,
    }
}
