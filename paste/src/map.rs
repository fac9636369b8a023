//! Map: memory shared with the kernel, a device or a file, seen through safe accessors.
//!
//! A [`Mapping`] is divided once into two kinds of memory that never overlap:
//!
//! ```text
//!   0                     boundary                                   len
//!   +---------------------+------------------------------------------+
//!   | Words: atomics only | Area: buffers, each lent to one Lease    |
//!   +---------------------+------------------------------------------+
//! ```
//!
//! Whatever the other side stores, an accessor answers `None` or some bytes; it never reads
//! outside the mapping. Nothing here knows what the bytes mean.

mod area;
mod bits;
mod pairs;
mod spares;

pub(crate) use area::{Area, Lease};
pub(crate) use pairs::Pairs;

use std::{
    alloc::{self, Layout},
    fs::File,
    io,
    num::NonZeroUsize,
    ops::Range,
    os::fd::AsFd,
    ptr::NonNull,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
};

use nix::sys::mman::{self, MapFlags, MsFlags, ProtFlags};

/// Pages of the CPU, and what a mapping's length is rounded to.
pub(crate) const PAGE: usize = 4096;

#[derive(Debug)]
enum Backing {
    Mapped,
    Heap(Layout),
}

/// Bytes at a fixed address until dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    len: usize,
    backing: Backing,
}

// SAFETY: a mapping is plain memory that belongs to no thread; all access to it goes through
// atomics or through leases, which are unique.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the first `len` bytes of `file`, shared. `synchronous` asks for `MAP_SYNC`: stores
    /// then need cache-line flushes only, never the file system (DAX).
    pub(crate) fn file(file: &File, len: usize, synchronous: bool) -> io::Result<Self> {
        let flags = if synchronous {
            MapFlags::MAP_SHARED_VALIDATE | MapFlags::MAP_SYNC
        } else {
            MapFlags::MAP_SHARED
        };
        Self::map(file, len, flags)
    }

    /// Maps `len` bytes of a character device from its start.
    pub(crate) fn device(device: impl AsFd, len: usize) -> io::Result<Self> {
        Self::map(device, len, MapFlags::MAP_SHARED)
    }

    fn map(file: impl AsFd, len: usize, flags: MapFlags) -> io::Result<Self> {
        let size = NonZeroUsize::new(len).ok_or(io::ErrorKind::InvalidInput)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: no address is asked for, so no existing mapping is replaced.
        let base = unsafe { mman::mmap(None, size, access, flags, file, 0) }?;
        Ok(Self { base: base.cast(), len, backing: Backing::Mapped })
    }

    /// Zeroed private memory, aligned to a page.
    pub(crate) fn heap(len: usize) -> io::Result<Self> {
        let layout = Layout::from_size_align(len, PAGE).map_err(|_| io::ErrorKind::InvalidInput)?;
        if len == 0 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // SAFETY: the layout's size is not zero.
        let base = unsafe { alloc::alloc_zeroed(layout) };
        let base = NonNull::new(base).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { base, len, backing: Backing::Heap(layout) })
    }

    /// Private memory that holds a copy of `image`.
    pub(crate) fn copy_of(image: &[u8]) -> io::Result<Self> {
        let mapping = Self::heap(image.len())?;
        // SAFETY: both have `image.len()` bytes, and the mapping is new: they do not overlap
        // and nobody else can reach it yet.
        unsafe { mapping.base.copy_from_nonoverlapping(NonNull::from(image).cast(), image.len()) };
        Ok(mapping)
    }

    /// Bytes mapped.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The address of byte `offset`, for the kernel or a flush instruction.
    #[inline]
    pub(crate) fn address(&self, offset: usize) -> *const u8 {
        assert!(offset <= self.len, "an address inside the mapping");
        self.base.as_ptr().wrapping_add(offset).cast_const()
    }

    /// Writes the pages of `range` back to their file and waits.
    pub(crate) fn write_back(&self, range: Range<usize>) -> io::Result<()> {
        let start = range.start / PAGE * PAGE;
        let end = range.end.min(self.len);
        if start >= end {
            return Ok(());
        }
        let address = NonNull::new(self.address(start).cast_mut()).expect("a mapping is not null");
        // SAFETY: [start, end) lies inside this mapping, which lives as long as `self`.
        unsafe { mman::msync(address.cast(), end - start, MsFlags::MS_SYNC) }?;
        Ok(())
    }

    /// A copy of all bytes, read atomically eight at a time.
    pub(crate) fn snapshot(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.len / 8 * 8];
        for (word, chunk) in bytes.chunks_exact_mut(8).enumerate() {
            let word = self.word64(word * 8, self.len).expect("an aligned word of the mapping");
            chunk.copy_from_slice(&word.load(Ordering::Acquire).to_ne_bytes());
        }
        bytes
    }

    /// The cache line at `offset`.
    #[cfg(test)]
    pub(crate) fn line(&self, offset: usize) -> [u8; 64] {
        let mut line = [0; 64];
        for (at, word) in line.chunks_exact_mut(8).enumerate() {
            let value = self.word64(offset + at * 8, self.len).expect("a line of the mapping");
            word.copy_from_slice(&value.load(Ordering::Acquire).to_ne_bytes());
        }
        line
    }

    fn word64(&self, offset: usize, end: usize) -> Option<&AtomicU64> {
        if !offset.is_multiple_of(8) || offset.checked_add(8)? > end.min(self.len) {
            return None;
        }
        // SAFETY: the word is aligned (the base is page-aligned), inside the mapping, and alive
        // as long as `self`; memory outside leases is only reached through atomics.
        Some(unsafe { AtomicU64::from_ptr(self.address(offset).cast_mut().cast()) })
    }

    fn word32(&self, offset: usize, end: usize) -> Option<&AtomicU32> {
        if !offset.is_multiple_of(4) || offset.checked_add(4)? > end.min(self.len) {
            return None;
        }
        // SAFETY: as for word64.
        Some(unsafe { AtomicU32::from_ptr(self.address(offset).cast_mut().cast()) })
    }

    fn byte(&self, offset: usize) -> &AtomicU8 {
        assert!(offset < self.len, "a byte of the mapping");
        // SAFETY: as for word64.
        unsafe { AtomicU8::from_ptr(self.address(offset).cast_mut()) }
    }

    /// The bytes of `range`.
    ///
    /// # Safety
    /// Nobody writes to the range while the slice lives.
    #[inline]
    unsafe fn bytes(&self, range: Range<usize>) -> &[u8] {
        assert!(range.start <= range.end && range.end <= self.len, "a range of the mapping");
        // SAFETY: inside the mapping, alive as long as `self`; not written: the caller's promise.
        unsafe { std::slice::from_raw_parts(self.address(range.start), range.len()) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        match self.backing {
            // SAFETY: mapped by `map` with this base and length; nothing borrows it any more.
            Backing::Mapped => drop(unsafe { mman::munmap(self.base.cast(), self.len) }),
            // SAFETY: allocated by `heap` with this layout.
            Backing::Heap(layout) => unsafe { alloc::dealloc(self.base.as_ptr(), layout) },
        }
    }
}

/// The part of a mapping that is only reached through atomics: bytes `0..len`.
#[derive(Debug, Clone)]
pub(crate) struct Words {
    mapping: Arc<Mapping>,
    len: usize,
}

impl Words {
    /// All of `mapping`.
    pub(crate) fn new(mapping: Mapping) -> Self {
        Self { len: mapping.len(), mapping: Arc::new(mapping) }
    }

    /// Gives the memory from `boundary` on to buffers of `size` bytes. `None` if they do not fit.
    pub(crate) fn divide(
        self,
        boundary: usize,
        size: usize,
        count: u32,
    ) -> Option<(Self, Arc<Area>)> {
        let len = size.checked_mul(count as usize)?;
        if boundary > self.len || len > self.len - boundary || size == 0 {
            return None;
        }
        // Clones of the undivided words could still reach the buffers.
        Arc::strong_count(&self.mapping).eq(&1).then_some(())?;
        let area = Area::new(Arc::clone(&self.mapping), boundary, size, count);
        Some((Self { len: boundary, mapping: self.mapping }, area))
    }

    /// The mapping, for flushes.
    pub(crate) fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }

    /// Bytes that words can be taken from.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// The 32-bit word at `offset`, if it is aligned and inside.
    pub(crate) fn word32(&self, offset: usize) -> Option<&AtomicU32> {
        self.mapping.word32(offset, self.len)
    }

    /// The 64-bit word at `offset`, if it is aligned and inside.
    pub(crate) fn word64(&self, offset: usize) -> Option<&AtomicU64> {
        self.mapping.word64(offset, self.len)
    }

    /// `N` bytes from the aligned `offset`, read in words of eight.
    pub(crate) fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        const { assert!(N.is_multiple_of(8)) };
        let mut bytes = [0; N];
        for (word, chunk) in bytes.chunks_exact_mut(8).enumerate() {
            let value = self.word64(offset.checked_add(word * 8)?)?.load(Ordering::Acquire);
            chunk.copy_from_slice(&value.to_ne_bytes());
        }
        Some(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_outside_or_misaligned_do_not_exist() {
        let words = Words::new(Mapping::heap(PAGE).unwrap());
        assert!(words.word64(PAGE - 8).is_some());
        for offset in [PAGE - 4, PAGE, 1, 4, usize::MAX, usize::MAX - 7] {
            assert!(words.word64(offset).is_none(), "{offset}");
        }
        assert!(words.word32(PAGE - 4).is_some());
        assert!(words.word32(2).is_none());
        assert!(words.load::<32>(PAGE - 24).is_none());
    }

    #[test]
    fn words_end_where_the_buffers_begin() {
        let words = Words::new(Mapping::heap(4 * PAGE).unwrap());
        let (words, area) = words.divide(PAGE, PAGE, 3).unwrap();
        assert!(words.word64(PAGE).is_none());
        assert!(area.lease(2).is_some());
        assert!(area.lease(3).is_none());
    }

    #[test]
    fn buffers_that_do_not_fit_are_refused() {
        let words = || Words::new(Mapping::heap(4 * PAGE).unwrap());
        assert!(words().divide(PAGE, PAGE, 4).is_none());
        assert!(words().divide(5 * PAGE, PAGE, 0).is_none());
        assert!(words().divide(0, usize::MAX, 2).is_none());
        let shared = words();
        assert!(shared.clone().divide(PAGE, PAGE, 3).is_none(), "a clone could reach them");
    }
}
