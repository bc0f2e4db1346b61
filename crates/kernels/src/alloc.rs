//! Memory for kernels: 64-byte aligned, zeroed, with slack behind the last element, on huge pages where it is large.
//!
//! Vector loops may *read* up to [`SLACK`] bytes behind the end of a buffer. Bytes of live buffers are counted, so that a
//! memory plan can be held against what really happened ([`crate::pool::peak_bytes`]).

use half::bf16;
use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Readable bytes behind the last element of every buffer.
pub const SLACK: usize = 64;
const HUGE_PAGE: usize = 2 << 20;

static CURRENT: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// Types for which every bit pattern, zero included, is a value.
///
/// # Safety
/// Implementers must be plain numbers without padding, invalid values or drop code.
pub unsafe trait Plain: Copy + Default + Send + Sync + 'static {}
// SAFETY: a plain number.
unsafe impl Plain for f32 {}
// SAFETY: a plain number (transparent over u16).
unsafe impl Plain for bf16 {}
// SAFETY: a plain number.
unsafe impl Plain for u8 {}
// SAFETY: a plain number.
unsafe impl Plain for i8 {}
// SAFETY: a plain number.
unsafe impl Plain for u16 {}
// SAFETY: a plain number.
unsafe impl Plain for u32 {}
// SAFETY: a plain number.
unsafe impl Plain for i32 {}
// SAFETY: a plain number.
unsafe impl Plain for f64 {}
// SAFETY: a plain number.
unsafe impl Plain for u64 {}

/// An owned block of bytes: aligned, initialised, of fixed size.
pub(crate) struct Block {
    pointer: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a Block owns its memory and gives access only through &self / &mut self of its owners.
unsafe impl Send for Block {}
// SAFETY: as above.
unsafe impl Sync for Block {}

impl Block {
    fn layout(bytes: usize) -> Layout {
        let align = if bytes >= HUGE_PAGE { HUGE_PAGE } else { 64 };
        // A size beyond isize::MAX cannot be served by any allocator: report it as what it is, out of memory.
        Layout::from_size_align(bytes, align).unwrap_or_else(|_| handle_alloc_error(Layout::new::<u8>()))
    }

    /// A zeroed block of at least one byte.
    pub(crate) fn zeroed(bytes: usize) -> Block {
        let layout = Block::layout(bytes.max(SLACK));
        if layout.align() < HUGE_PAGE {
            // SAFETY: the layout's size is at least SLACK, not zero.
            let pointer = unsafe { alloc_zeroed(layout) };
            let Some(pointer) = NonNull::new(pointer) else { handle_alloc_error(layout) };
            return Block { pointer, bytes: layout.size() };
        }
        // SAFETY: as above.
        let pointer = unsafe { alloc(layout) };
        let Some(pointer) = NonNull::new(pointer) else { handle_alloc_error(layout) };
        // The advice must come before the first touch: pages that exist are not made huge.
        #[cfg(target_os = "linux")]
        // SAFETY: the range is ours; MADV_HUGEPAGE changes no contents. A refusal costs speed only.
        unsafe {
            libc::madvise(pointer.as_ptr().cast(), layout.size(), libc::MADV_HUGEPAGE)
        };
        // SAFETY: the range is ours.
        unsafe { std::ptr::write_bytes(pointer.as_ptr(), 0, layout.size()) };
        Block { pointer, bytes: layout.size() }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn pointer(&self) -> *mut u8 {
        self.pointer.as_ptr()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with this very layout.
        unsafe { dealloc(self.pointer.as_ptr(), Block::layout(self.bytes)) }
    }
}

/// Counts `bytes` as in use from now on.
pub(crate) fn count_in(bytes: usize) {
    let now = CURRENT.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(now, Ordering::Relaxed);
}

/// Counts `bytes` as given back.
pub(crate) fn count_out(bytes: usize) {
    CURRENT.fetch_sub(bytes, Ordering::Relaxed);
}

pub(crate) fn current() -> usize {
    CURRENT.load(Ordering::Relaxed)
}

pub(crate) fn peak() -> usize {
    PEAK.load(Ordering::Relaxed)
}

pub(crate) fn reset_peak() {
    PEAK.store(current(), Ordering::Relaxed);
}

/// Bytes for `len` elements of `T` and the slack; saturates, so that an absurd length fails as out of memory.
pub(crate) fn bytes_for<T>(len: usize) -> usize {
    len.saturating_mul(size_of::<T>()).saturating_add(SLACK)
}

/// A fixed-length, 64-byte aligned vector that starts zeroed and has [`SLACK`] zero bytes behind its end.
pub struct AlignedVec<T: Plain> {
    block: Block,
    len: usize,
    of: std::marker::PhantomData<T>,
}

impl<T: Plain> AlignedVec<T> {
    /// `len` zeros.
    pub fn zeroed(len: usize) -> Self {
        let block = Block::zeroed(bytes_for::<T>(len));
        count_in(block.bytes());
        AlignedVec { block, len, of: std::marker::PhantomData }
    }

    /// A copy of `values`.
    pub fn from_slice(values: &[T]) -> Self {
        let mut vec = Self::zeroed(values.len());
        vec.copy_from_slice(values);
        vec
    }

    /// Bytes held, slack included.
    pub fn bytes(&self) -> usize {
        self.block.bytes()
    }
}

impl<T: Plain> Drop for AlignedVec<T> {
    fn drop(&mut self) {
        count_out(self.block.bytes());
    }
}

impl<T: Plain> Clone for AlignedVec<T> {
    fn clone(&self) -> Self {
        Self::from_slice(self)
    }
}

impl<T: Plain> Deref for AlignedVec<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: the block holds len initialised elements of a Plain type, aligned to 64.
        unsafe { std::slice::from_raw_parts(self.block.pointer().cast(), self.len) }
    }
}

impl<T: Plain> DerefMut for AlignedVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in deref, and &mut self makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.block.pointer().cast(), self.len) }
    }
}

impl<T: Plain + std::fmt::Debug> std::fmt::Debug for AlignedVec<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aligned_zeroed_and_copied() {
        for len in [0, 1, 15, 16, 17, 3_000_000] {
            let mut vec = AlignedVec::<f32>::zeroed(len);
            assert_eq!(vec.as_ptr() as usize % 64, 0);
            assert_eq!(vec.len(), len);
            assert!(vec.iter().all(|&v| v == 0.0));
            vec.fill(2.0);
            assert_eq!(vec.clone().iter().sum::<f32>(), 2.0 * len as f32);
        }
    }
}
