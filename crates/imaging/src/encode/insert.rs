//! A sink that puts one block of bytes after a given number of others: metadata right after the header that an encoder
//! writes by itself.

use std::io::{self, Write};

pub(super) struct Inserting<'a, W: Write + ?Sized> {
    sink: &'a mut W,
    /// Bytes until the block; `None` when it is written.
    left: Option<usize>,
    block: Vec<u8>,
}

impl<'a, W: Write + ?Sized> Inserting<'a, W> {
    pub(super) fn new(sink: &'a mut W, after: usize, block: Vec<u8>) -> Self {
        Self { sink, left: Some(after), block }
    }
}

impl<W: Write + ?Sized> Write for Inserting<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = self.left else { return self.sink.write(bytes) };
        let now = left.min(bytes.len());
        self.sink.write_all(&bytes[..now])?;
        self.left = Some(left - now);
        if now == left {
            self.left = None;
            self.sink.write_all(&self.block)?;
        }
        Ok(now)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.sink.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_comes_at_its_place_however_the_rest_is_cut() {
        for step in 1..8 {
            let mut out = Vec::new();
            let mut sink = Inserting::new(&mut out, 3, b"<in>".to_vec());
            for part in b"abcdefg".chunks(step) {
                sink.write_all(part).unwrap();
            }
            assert_eq!(out, b"abc<in>defg", "{step}");
        }
    }
}
