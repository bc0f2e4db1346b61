//! Reused working memory: buffers go back to size classes when dropped, so that a steady state allocates nothing and
//! takes no page faults.
//!
//! Four classes per power of two: at most a quarter of a buffer is unused. What is kept is capped ([`set_cap`]); beyond
//! it a dropped buffer goes back to the system.

use crate::alloc::{self, Block, Plain, bytes_for};
use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

const SMALLEST: usize = 4096;

struct Shelf {
    blocks: BTreeMap<usize, Vec<Block>>,
    kept: usize,
    cap: usize,
}

static SHELF: Mutex<Shelf> = Mutex::new(Shelf { blocks: BTreeMap::new(), kept: 0, cap: usize::MAX });

fn shelf() -> MutexGuard<'static, Shelf> {
    SHELF.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A buffer of `len` elements borrowed from the pool: 64-byte aligned, [`alloc::SLACK`] readable bytes behind its end.
pub struct PooledBuf<T: Plain> {
    block: ManuallyDrop<Block>,
    len: usize,
    of: std::marker::PhantomData<T>,
}

impl<T: Plain> PooledBuf<T> {
    /// `len` elements with arbitrary (initialised) contents: for callers who overwrite everything.
    pub fn dirty(len: usize) -> Self {
        let block = ManuallyDrop::new(take(bytes_for::<T>(len)));
        PooledBuf { block, len, of: std::marker::PhantomData }
    }

    /// `len` zeros.
    pub fn zeroed(len: usize) -> Self {
        let mut buf = Self::dirty(len);
        // SAFETY: the block owns that many bytes, and zero bytes are values of every Plain type.
        unsafe { std::ptr::write_bytes(buf.block.pointer(), 0, bytes_for::<T>(len)) };
        debug_assert_eq!(buf.deref_mut().len(), len);
        buf
    }

    /// A copy of `values`.
    pub fn from_slice(values: &[T]) -> Self {
        let mut buf = Self::dirty(values.len());
        buf.copy_from_slice(values);
        buf
    }
}

impl<T: Plain> Clone for PooledBuf<T> {
    fn clone(&self) -> Self {
        Self::from_slice(self)
    }
}

impl<T: Plain> Drop for PooledBuf<T> {
    fn drop(&mut self) {
        // SAFETY: the block is taken once, here, and never touched again.
        give_back(unsafe { ManuallyDrop::take(&mut self.block) });
    }
}

impl<T: Plain> Deref for PooledBuf<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: the block holds at least len elements; blocks start zeroed and only values are written to them.
        unsafe { std::slice::from_raw_parts(self.block.pointer().cast(), self.len) }
    }
}

impl<T: Plain> DerefMut for PooledBuf<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in deref, and &mut self makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.block.pointer().cast(), self.len) }
    }
}

impl<T: Plain + std::fmt::Debug> std::fmt::Debug for PooledBuf<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The size class of a request: the next of 4, 5, 6, 7 × 2^i.
fn class(bytes: usize) -> usize {
    let bytes = bytes.max(SMALLEST);
    let step = 1usize << (bytes.ilog2().saturating_sub(2));
    bytes.checked_next_multiple_of(step).unwrap_or(usize::MAX)
}

fn take(bytes: usize) -> Block {
    let bytes = class(bytes);
    let kept = {
        let mut shelf = shelf();
        let block = shelf.blocks.get_mut(&bytes).and_then(Vec::pop);
        if block.is_some() {
            shelf.kept -= bytes;
        }
        block
    };
    alloc::count_in(bytes);
    kept.unwrap_or_else(|| Block::zeroed(bytes))
}

fn give_back(block: Block) {
    let bytes = block.bytes();
    alloc::count_out(bytes);
    let mut shelf = shelf();
    if bytes <= shelf.cap.saturating_sub(shelf.kept) {
        shelf.kept += bytes;
        shelf.blocks.entry(bytes).or_default().push(block);
    } else {
        drop(shelf);
        drop(block);
    }
}

/// Gives everything that is kept back to the system.
pub fn trim() {
    let blocks = {
        let mut shelf = shelf();
        shelf.kept = 0;
        std::mem::take(&mut shelf.blocks)
    };
    drop(blocks);
}

/// The most bytes to keep for reuse (no limit at the start); trims if more is kept now.
pub fn set_cap(bytes: usize) {
    let over = {
        let mut shelf = shelf();
        shelf.cap = bytes;
        shelf.kept > bytes
    };
    if over {
        trim();
    }
}

/// Bytes in use now by pool buffers and aligned vectors.
pub fn current_bytes() -> usize {
    alloc::current()
}

/// The most bytes that were in use at once since the start or [`reset_peak`].
pub fn peak_bytes() -> usize {
    alloc::peak()
}

/// Starts a new measurement of [`peak_bytes`].
pub fn reset_peak() {
    alloc::reset_peak();
}

/// Bytes kept for reuse now.
pub fn kept_bytes() -> usize {
    shelf().kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_waste_at_most_a_quarter() {
        for bytes in (1..200_000).step_by(37) {
            let class = class(bytes);
            assert!(class >= bytes && (class <= SMALLEST || class * 4 <= bytes * 5), "{bytes} -> {class}");
        }
    }

    #[test]
    fn buffers_come_back() {
        // A length that no other test uses, so that the class is ours alone.
        let len = 1_234_567;
        let first = PooledBuf::<f32>::zeroed(len);
        assert!(first.iter().all(|&v| v == 0.0));
        let place = first.as_ptr();
        assert_eq!(place as usize % 64, 0);
        drop(first);
        let second = PooledBuf::<f32>::dirty(len);
        assert_eq!(second.as_ptr(), place);
        assert!(current_bytes() >= 4 * len && peak_bytes() >= 4 * len);
    }
}
