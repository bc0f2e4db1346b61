//! The stack machine: opcodes in, arena out.

use std::collections::HashMap;

use super::text::{decimal, long, raw_unicode, unquote};
use super::{Id, MAX_BYTES, MAX_GLOBAL, MAX_MARKS, MAX_OPCODES, Object, Pickle, Value};

/// Runs the pickle at the start of `input` to its `STOP`.
///
/// # Errors
/// A sentence when the program is cut short, uses an unknown opcode, breaks the stack discipline, or exceeds a limit.
pub(crate) fn run(input: &[u8]) -> Result<Pickle, String> {
    let input = &input[..input.len().min(MAX_BYTES)];
    let mut machine =
        Machine { input, at: 0, values: Vec::new(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() };
    for _ in 0..MAX_OPCODES {
        let position = machine.at;
        let opcode = machine.byte()?;
        if opcode == b'.' {
            let root = machine.pop()?;
            return Ok(Pickle { values: machine.values, root, consumed: machine.at });
        }
        machine.step(opcode).map_err(|e| format!("{e} (pickle opcode 0x{opcode:02x} at byte {position})"))?;
    }
    Err(format!("it has more than {MAX_OPCODES} opcodes"))
}

struct Machine<'a> {
    input: &'a [u8],
    at: usize,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// Heights of the stack at open marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

type Done = Result<(), String>;

impl<'a> Machine<'a> {
    fn step(&mut self, opcode: u8) -> Done {
        match opcode {
            // Structure of the program.
            0x80 => match self.byte()? {
                0..=5 => Ok(()),
                version => Err(format!("pickle protocol {version} is not known")),
            },
            0x95 => self.take(8).map(drop), // FRAME: how much to read ahead, of no meaning here
            b'(' => self.mark(),
            b'0' => self.pop_or_mark(),
            b'1' => self.pop_to_mark().map(drop),
            b'2' => self.top().map(|id| self.stack.push(id)),
            // Memo.
            b'p' => self.line_index().and_then(|key| self.put(key)),
            b'q' => self.byte().and_then(|key| self.put(key.into())),
            b'r' => self.u32().and_then(|key| self.put(key)),
            0x94 => self.put(self.memo.len() as u32),
            b'g' => self.line_index().and_then(|key| self.fetch(key)),
            b'h' => self.byte().and_then(|key| self.fetch(key.into())),
            b'j' => self.u32().and_then(|key| self.fetch(key)),
            // Names and calls that do not happen.
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push_global(module, name)
            }
            0x93 => self.stack_global(),
            b'R' | 0x81 => self.call(),
            0x92 => self.call_with_keywords(),
            b'i' => self.instance_of_lines(),
            b'o' => self.instance_of_marked(),
            b'b' => self.build(),
            b'P' => {
                let line = self.line()?;
                let id = self.new_text(line)?;
                self.push(Value::Persistent(id))
            }
            b'Q' => self.pop().and_then(|id| self.push(Value::Persistent(id))),
            _ if self.scalar(opcode)? => Ok(()),
            _ => self.container(opcode),
        }
    }

    /// Numbers, text and bytes; `false` when the opcode is none of them.
    fn scalar(&mut self, opcode: u8) -> Result<bool, String> {
        let value = match opcode {
            b'N' => Value::None,
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'I' => match self.line()? {
                b"00" => Value::Bool(false),
                b"01" => Value::Bool(true),
                digits => whole(decimal(digits).ok_or("a number is not decimal")?),
            },
            b'L' => whole(decimal(self.line()?).ok_or("a number is not decimal")?),
            b'J' => Value::Int(self.u32()?.cast_signed().into()),
            b'K' => Value::Int(self.byte()?.into()),
            b'M' => Value::Int(u16::from_le_bytes(self.array()?).into()),
            0x8a => {
                let length = self.byte()?;
                whole(long(self.take(length.into())?))
            }
            0x8b => {
                let length = self.u32()?;
                whole(long(self.take(length as usize)?))
            }
            b'F' => {
                let line = String::from_utf8(self.line()?.to_vec()).ok().and_then(|l| l.parse().ok());
                Value::Float(line.ok_or("a number is not decimal")?)
            }
            b'G' => Value::Float(f64::from_be_bytes(self.array()?)),
            b'S' => bytes_as_text(&unquote(self.line()?).ok_or("a string is not quoted")?),
            b'V' => Value::Text(raw_unicode(self.line()?).ok_or("a string has a broken escape")?.into()),
            b'U' => {
                let length = self.byte()?;
                bytes_as_text(self.take(length.into())?)
            }
            b'T' => {
                let length = self.u32()?;
                bytes_as_text(self.take(length as usize)?)
            }
            0x8c => {
                let length = self.byte()?;
                utf8(self.take(length.into())?)?
            }
            b'X' => {
                let length = self.u32()?;
                utf8(self.take(length as usize)?)?
            }
            0x8d => {
                let length = self.u64()?;
                utf8(self.take(length)?)?
            }
            b'C' => {
                let length = self.byte()?;
                Value::Bytes(self.take(length.into())?.into())
            }
            b'B' => {
                let length = self.u32()?;
                Value::Bytes(self.take(length as usize)?.into())
            }
            0x8e | 0x96 => {
                let length = self.u64()?;
                Value::Bytes(self.take(length)?.into())
            }
            _ => return Ok(false),
        };
        self.push(value).map(|()| true)
    }

    fn container(&mut self, opcode: u8) -> Done {
        match opcode {
            b']' => self.push(Value::List(Vec::new())),
            b')' => self.push(Value::Tuple(Box::default())),
            b'}' => self.push(Value::Dict(Vec::new())),
            0x8f => self.push(Value::Set(Vec::new())),
            b'l' => self.pop_to_mark().and_then(|items| self.push(Value::List(items))),
            b't' => self.pop_to_mark().and_then(|items| self.push(Value::Tuple(items.into()))),
            0x91 => self.pop_to_mark().and_then(|items| self.push(Value::Set(items))),
            b'd' => self.pop_to_mark().and_then(pairs).and_then(|items| self.push(Value::Dict(items))),
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let items = self.pop_many(count)?;
                self.push(Value::Tuple(items.into()))
            }
            b'a' => self.pop_many(1).and_then(|items| self.extend(items)),
            b'e' | 0x90 => self.pop_to_mark().and_then(|items| self.extend(items)),
            b's' => self.pop_many(2).and_then(pairs).and_then(|items| self.set_items(items)),
            b'u' => self.pop_to_mark().and_then(pairs).and_then(|items| self.set_items(items)),
            0x82..=0x84 => Err("it names a class by a registry number, which only its maker knows".to_owned()),
            0x97 | 0x98 => Err("it refers to a buffer outside the file".to_owned()),
            _ => Err("it has an unknown opcode".to_owned()),
        }
    }

    // Calls.

    fn call(&mut self) -> Done {
        let arguments = self.pop()?;
        let callable = self.pop()?;
        self.push_object(callable, arguments)
    }

    fn call_with_keywords(&mut self) -> Done {
        self.pop()?; // keyword arguments: nothing that is understood here uses them
        self.call()
    }

    fn instance_of_lines(&mut self) -> Done {
        let (module, name) = (self.line()?, self.line()?);
        let items = self.pop_to_mark()?;
        let arguments = self.add(Value::Tuple(items.into()))?;
        self.push_global(module, name)?;
        let callable = self.pop()?;
        self.push_object(callable, arguments)
    }

    fn instance_of_marked(&mut self) -> Done {
        let mut items = self.pop_to_mark()?;
        if items.is_empty() {
            return Err("an instance has no class".to_owned());
        }
        let rest = items.split_off(1);
        let arguments = self.add(Value::Tuple(rest.into()))?;
        self.push_object(items[0], arguments)
    }

    fn push_object(&mut self, callable: Id, arguments: Id) -> Done {
        let object = Object { callable, arguments, state: None, items: Vec::new(), elements: Vec::new() };
        self.push(Value::Object(Box::new(object)))
    }

    fn build(&mut self) -> Done {
        let argument = self.pop()?;
        let target = self.top()?;
        // On anything but a call's result the state changes nothing that a tensor could need.
        if let Value::Object(object) = &mut self.values[target as usize] {
            object.state = Some(argument);
        }
        Ok(())
    }

    fn extend(&mut self, items: Vec<Id>) -> Done {
        let target = self.top()?;
        match &mut self.values[target as usize] {
            Value::List(list) | Value::Set(list) => list.extend(items),
            Value::Object(object) => object.elements.extend(items),
            _ => return Err("it appends to something that is not a list".to_owned()),
        }
        Ok(())
    }

    fn set_items(&mut self, items: Vec<(Id, Id)>) -> Done {
        let target = self.top()?;
        match &mut self.values[target as usize] {
            Value::Dict(dict) => dict.extend(items),
            Value::Object(object) => object.items.extend(items),
            _ => return Err("it sets items of something that is not a dictionary".to_owned()),
        }
        Ok(())
    }

    fn push_global(&mut self, module: &[u8], name: &[u8]) -> Done {
        let read = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).ok();
            let text = text.filter(|t| t.len() <= MAX_GLOBAL && !t.chars().any(char::is_control));
            text.map(String::into_boxed_str).ok_or("a class name is too long or not text")
        };
        let (module, name) = (read(module)?, read(name)?);
        self.push(Value::Global { module, name })
    }

    fn stack_global(&mut self) -> Done {
        let (name, module) = (self.pop()?, self.pop()?);
        match (&self.values[module as usize], &self.values[name as usize]) {
            (Value::Text(module), Value::Text(name)) => {
                let (module, name) = (module.clone(), name.clone());
                self.push_global(module.as_bytes(), name.as_bytes())
            }
            _ => Err("a class name is not text".to_owned()),
        }
    }

    // Stack and memo.

    fn add(&mut self, value: Value) -> Result<Id, String> {
        let id = Id::try_from(self.values.len()).map_err(|_| "it makes too many values".to_owned())?;
        self.values.push(value);
        Ok(id)
    }

    fn push(&mut self, value: Value) -> Done {
        let id = self.add(value)?;
        self.stack.push(id);
        Ok(())
    }

    fn new_text(&mut self, bytes: &[u8]) -> Result<Id, String> {
        let text = utf8(bytes)?;
        self.add(text)
    }

    /// The floor below which the innermost open mark lets nothing be taken.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn top(&self) -> Result<Id, String> {
        self.stack[self.floor()..].last().copied().ok_or_else(|| "its stack is empty".to_owned())
    }

    fn pop(&mut self) -> Result<Id, String> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, String> {
        if self.stack.len() < self.floor() + count {
            return Err("its stack is empty".to_owned());
        }
        Ok(self.stack.split_off(self.stack.len() - count))
    }

    fn mark(&mut self) -> Done {
        if self.marks.len() >= MAX_MARKS {
            return Err(format!("it is nested deeper than {MAX_MARKS}"));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, String> {
        let height = self.marks.pop().ok_or("it closes a bracket that was not opened")?;
        Ok(self.stack.split_off(height))
    }

    fn pop_or_mark(&mut self) -> Done {
        if self.stack.len() > self.floor() {
            self.stack.pop();
        } else {
            self.pop_to_mark()?;
        }
        Ok(())
    }

    fn put(&mut self, key: u32) -> Done {
        let id = self.top()?;
        self.memo.insert(key, id);
        Ok(())
    }

    fn fetch(&mut self, key: u32) -> Done {
        let id = *self.memo.get(&key).ok_or("it recalls a value that was never stored")?;
        self.stack.push(id);
        Ok(())
    }

    // Input.

    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let rest = &self.input[self.at..];
        let taken = rest.get(..count).ok_or_else(|| format!("it ends {} bytes early", count - rest.len()))?;
        self.at += count;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.array().map(|[b]| b)
    }

    fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<usize, String> {
        usize::try_from(u64::from_le_bytes(self.array()?)).map_err(|_| "a length is larger than any memory".to_owned())
    }

    /// Bytes up to a newline, which is taken but not returned.
    fn line(&mut self) -> Result<&'a [u8], String> {
        let rest = &self.input[self.at..];
        let length = rest.iter().position(|&b| b == b'\n').ok_or("a line does not end")?;
        self.at += length + 1;
        Ok(&rest[..length])
    }

    fn line_index(&mut self) -> Result<u32, String> {
        let line = decimal(self.line()?).flatten();
        line.and_then(|n| u32::try_from(n).ok()).ok_or_else(|| "a memo index is not a number".to_owned())
    }
}

fn whole(number: Option<i64>) -> Value {
    number.map_or(Value::BigInt, Value::Int)
}

/// Text is copied before it is checked, for the file below it may change.
fn utf8(bytes: &[u8]) -> Result<Value, String> {
    String::from_utf8(bytes.to_vec()).map(|t| Value::Text(t.into())).map_err(|_| "a string is not UTF-8".to_owned())
}

/// Python 2 strings are bytes; names in them are ASCII and become text.
fn bytes_as_text(bytes: &[u8]) -> Value {
    match String::from_utf8(bytes.to_vec()) {
        Ok(text) => Value::Text(text.into()),
        Err(raw) => Value::Bytes(raw.into_bytes().into()),
    }
}

fn pairs(items: Vec<Id>) -> Result<Vec<(Id, Id)>, String> {
    if !items.len().is_multiple_of(2) {
        return Err("a dictionary has a key without a value".to_owned());
    }
    Ok(items.as_chunks::<2>().0.iter().map(|&[key, value]| (key, value)).collect())
}
