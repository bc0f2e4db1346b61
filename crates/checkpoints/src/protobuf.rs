//! The wire format of protocol buffers: fields of a number and a value, without knowing which message they make.

/// What a field holds. Numbers of eight bytes are skipped: nothing that is read here has them.
#[derive(Clone, Copy)]
pub(crate) enum Value<'a> {
    Number(u64),
    Word(u32),
    Bytes(&'a [u8]),
}

/// A number of as many bytes as it needs, taken from the front.
pub(crate) fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for i in 0..10 {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f).checked_shl(7 * i)?;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// Hands the fields of a message to `take` one after the other, without holding them; `None` where the message is broken or `take`
/// says so.
pub(crate) fn visit<'a>(mut bytes: &'a [u8], mut take: impl FnMut(u64, Value<'a>) -> Option<()>) -> Option<()> {
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = match key & 7 {
            0 => Value::Number(varint(&mut bytes)?),
            1 => {
                bytes = bytes.get(8..)?;
                continue;
            }
            2 => {
                let len = usize::try_from(varint(&mut bytes)?).ok()?;
                let (value, rest) = bytes.split_at_checked(len)?;
                bytes = rest;
                Value::Bytes(value)
            }
            5 => {
                let (value, rest) = bytes.split_at_checked(4)?;
                bytes = rest;
                Value::Word(u32::from_le_bytes(value.try_into().ok()?))
            }
            _ => return None,
        };
        take(key >> 3, value)?;
    }
    Some(())
}

/// The fields of a message, at most `most` of them.
pub(crate) fn fields(bytes: &[u8], most: usize) -> Option<Vec<(u64, Value<'_>)>> {
    let mut out = Vec::new();
    visit(bytes, |number, value| {
        out.push((number, value));
        (out.len() <= most).then_some(())
    })?;
    Some(out)
}

/// Text, if it is some.
pub(crate) fn text(bytes: &[u8]) -> Option<String> {
    Some(std::str::from_utf8(bytes).ok()?.to_owned())
}

/// Whole numbers that may stand one by one or packed; at most `most` in all.
pub(crate) fn whole(out: &mut Vec<i64>, value: Value<'_>, most: usize) -> Option<()> {
    match value {
        Value::Number(value) => out.push(value as i64),
        Value::Bytes(mut packed) => {
            while !packed.is_empty() {
                if out.len() >= most {
                    return None;
                }
                out.push(varint(&mut packed)? as i64);
            }
        }
        Value::Word(_) => return None,
    }
    (out.len() <= most).then_some(())
}
