//! Python's pickle, read by a machine that can call nothing.
//!
//! Format: the opcode table of Python's `pickletools` (protocols 0 to 5). A pickle is a program; here `GLOBAL` only pushes
//! a name and `REDUCE` only makes a node that remembers what would have been called with what. Values live in an arena
//! and refer to each other by index, so neither reading nor dropping recurses, memo entries share instead of copying, and
//! every opcode adds a bounded number of nodes. What the nodes mean for tensors is decided in [`crate::torch`].

mod machine;
mod text;

pub(crate) use machine::run;

/// Most opcodes one pickle may execute; a checkpoint with 10,000 tensors and its optimizer's state uses some 500,000.
pub(crate) const MAX_OPCODES: usize = 4_000_000;
/// Most bytes of one pickle program.
pub(crate) const MAX_BYTES: usize = 256 << 20;
/// Deepest nesting of open marks.
pub(crate) const MAX_MARKS: usize = 1_000;
/// Longest name of a module or class.
pub(crate) const MAX_GLOBAL: usize = 256;

/// Index of a value in the arena.
pub(crate) type Id = u32;

/// One value. Containers hold indices.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// A whole number beyond 64 bits; no tensor file needs its value.
    BigInt,
    Float(f64),
    Text(Box<str>),
    Bytes(Box<[u8]>),
    List(Vec<Id>),
    Tuple(Box<[Id]>),
    Dict(Vec<(Id, Id)>),
    Set(Vec<Id>),
    /// A class or function by name: never more than the name.
    Global {
        module: Box<str>,
        name: Box<str>,
    },
    /// What a call would have made: callable, arguments, and what was done to the result afterwards.
    Object(Box<Object>),
    /// A value that lies outside the pickle, by its description.
    Persistent(Id),
}

/// An inert stand-in for the result of a call.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Object {
    pub(crate) callable: Id,
    pub(crate) arguments: Id,
    /// Argument of `BUILD` (`__setstate__` or `__dict__`).
    pub(crate) state: Option<Id>,
    /// Items set on it, as on a dictionary.
    pub(crate) items: Vec<(Id, Id)>,
    /// Items appended to it, as to a list.
    pub(crate) elements: Vec<Id>,
}

/// A whole pickle: its values and which of them is the result.
#[derive(Debug)]
pub(crate) struct Pickle {
    values: Vec<Value>,
    pub(crate) root: Id,
    /// Bytes of input the program took.
    pub(crate) consumed: usize,
}

impl Pickle {
    /// The value at `id`; ids come from this pickle's own values.
    pub(crate) fn get(&self, id: Id) -> &Value {
        self.values.get(id as usize).unwrap_or(&Value::None)
    }

    /// `(module, name)` when the value is a global.
    pub(crate) fn global(&self, id: Id) -> Option<(&str, &str)> {
        match self.get(id) {
            Value::Global { module, name } => Some((module, name)),
            _ => None,
        }
    }

    /// The text, when the value is text.
    pub(crate) fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The number, when the value is a whole number from zero up.
    pub(crate) fn size(&self, id: Id) -> Option<usize> {
        match self.get(id) {
            Value::Int(n) => usize::try_from(*n).ok(),
            _ => None,
        }
    }

    /// The elements of a tuple or list.
    pub(crate) fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(ids) => Some(ids),
            Value::List(ids) => Some(ids),
            _ => None,
        }
    }

    /// Number of values; every id is below it.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// All values, for surveys.
    pub(crate) fn values(&self) -> impl Iterator<Item = &Value> {
        self.values.iter()
    }
}
