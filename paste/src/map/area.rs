//! Area: the buffers of a mapping, each lent to at most one lease of this process.
//!
//! This is what makes "a buffer is in exactly one place" a checked fact: whoever wants to read
//! a buffer needs its [`Lease`], and the second one for the same buffer does not exist. A ring
//! that names a held buffer is found out, whoever wrote the index. Leases that end as spares wait
//! here for the next who wants any buffer, and are held meanwhile.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{Mapping, bits::Bits, spares::Spares};

/// Equal buffers, side by side.
#[derive(Debug)]
pub(crate) struct Area {
    mapping: Arc<Mapping>,
    start: usize,
    size: usize,
    count: u32,
    leased: Bits,
    spares: Spares,
    /// Bytes that were copied from one buffer into another one.
    copied: AtomicU64,
}

impl Area {
    /// Called by `Words::divide`, which keeps the range free of words.
    pub(super) fn new(mapping: Arc<Mapping>, start: usize, size: usize, count: u32) -> Arc<Self> {
        let (leased, spares) = (Bits::new(count), Spares::new(count));
        Arc::new(Self { mapping, start, size, count, leased, spares, copied: AtomicU64::new(0) })
    }

    /// Bytes of one buffer.
    #[inline]
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Number of buffers.
    #[inline]
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// Where byte 0 of buffer `index` lies in the mapping, i.e. in the pool's file.
    #[inline]
    pub(crate) fn offset(&self, index: u32) -> usize {
        self.start + index as usize * self.size
    }

    /// The address of the first buffer, as the kernel wants it.
    pub(crate) fn address(&self) -> u64 {
        self.mapping.address(self.start).addr() as u64
    }

    /// Bit `i` set: somebody in this process holds buffer `i`, or it is a spare.
    pub(crate) fn leased(&self) -> Vec<u64> {
        self.leased.words()
    }

    /// The buffer `index`, unless somebody holds it or it does not exist.
    #[inline]
    pub(crate) fn lease(self: &Arc<Self>, index: u32) -> Option<Lease> {
        if index >= self.count || !self.leased.set(index) {
            return None;
        }
        Some(self.taken(index))
    }

    /// Any spare, rather a worn one.
    #[inline]
    pub(crate) fn spare(self: &Arc<Self>) -> Option<Lease> {
        self.spares.take().map(|index| self.taken(index))
    }

    /// A spare that is not worn.
    pub(crate) fn clean_spare(self: &Arc<Self>) -> Option<Lease> {
        self.spares.take_clean().map(|index| self.taken(index))
    }

    /// Number of spares.
    pub(crate) fn spares(&self) -> usize {
        self.spares.len()
    }

    /// Somebody copied bytes from one buffer into another one.
    pub(crate) fn count_copied(&self, bytes: usize) {
        self.copied.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// How many, so far.
    pub(crate) fn copied(&self) -> u64 {
        self.copied.load(Ordering::Relaxed)
    }

    /// Anybody may lease the spares again.
    pub(crate) fn forget_spares(&self) {
        self.spares.drain().into_iter().for_each(|index| self.leased.clear(index));
    }

    /// Somebody outside may read buffer `index`, until it is renewed.
    pub(crate) fn wear(&self, index: u32) {
        self.spares.worn().set(index);
    }

    /// Nobody does any more.
    #[inline]
    pub(crate) fn renew(&self, index: u32) {
        if self.spares.worn().has(index) {
            self.spares.worn().clear(index);
        }
    }

    /// The lease of a buffer whose bit the caller has set, or whose place among the spares he has
    /// taken: there is no other.
    #[inline]
    fn taken(self: &Arc<Self>, index: u32) -> Lease {
        Lease { area: Arc::clone(self), index, end: End::Free }
    }

    /// A copy of bytes of a buffer that somebody else may hold, e.g. what a log keeps while it is
    /// sent; `None` if they do not exist. Read atomically: whoever holds it may read, too.
    pub(crate) fn copy(&self, index: u32, range: Range<usize>) -> Option<Vec<u8>> {
        if index >= self.count || range.start > range.end || range.end > self.size {
            return None;
        }
        let start = self.offset(index);
        let bytes = start + range.start..start + range.end;
        Some(bytes.map(|at| self.mapping.byte(at).load(Ordering::Acquire)).collect())
    }
}

/// What becomes of a buffer when its lease is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)] // a lease has no padding then, and moves in one piece
enum End {
    /// Anybody may lease it.
    Free,
    /// It is a spare.
    Spare,
    /// It stays taken as long as the area lives.
    Taken,
}

/// The right to read and fill one buffer. Dropped: anybody may lease it again, unless it was to
/// end otherwise.
#[derive(Debug)]
pub(crate) struct Lease {
    area: Arc<Area>,
    index: u32,
    end: End,
}

impl Lease {
    /// Which buffer.
    #[inline]
    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    /// The area it belongs to.
    #[inline]
    pub(crate) fn area(&self) -> &Arc<Area> {
        &self.area
    }

    /// Ends the lease, but not for others: the buffer stays taken as long as the area lives.
    pub(crate) fn keep(mut self) {
        self.end = End::Taken;
    }

    /// Dropped, it will be a spare.
    #[inline]
    pub(crate) fn ends_as_spare(self) -> Self {
        self.ends(End::Spare)
    }

    /// Dropped, anybody may lease it again.
    #[inline]
    pub(crate) fn ends_free(self) -> Self {
        self.ends(End::Free)
    }

    #[inline]
    fn ends(mut self, end: End) -> Self {
        self.end = end;
        self
    }

    /// All bytes of the buffer.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        let range = self.range();
        // SAFETY: the bit in `leased` makes this lease the only one for the buffer, so `fill`
        // (which needs it mutably) cannot run while the slice lives; words never reach here
        // (`divide`). The kernel and the NIC write only to buffers that they own: the ring
        // protocol of paste_abi.h, kept by the kernel extension; other processes are kept out
        // by the pool's lock.
        unsafe { self.area.mapping.bytes(range) }
    }

    /// Overwrites bytes `at..`, whole words where there are some; what does not fit is left away.
    pub(crate) fn fill(&mut self, at: usize, bytes: &[u8]) {
        let range = self.range();
        let start = range.start + at;
        let bytes = &bytes[..bytes.len().min(range.end.saturating_sub(start))];
        let head = (start.next_multiple_of(8) - start).min(bytes.len());
        let (head, rest) = bytes.split_at(head);
        self.fill_bytes(start, head);
        let (words, tail) = rest.as_chunks::<8>();
        let start = start + head.len();
        for (offset, value) in (start..).step_by(8).zip(words) {
            let word = self.area.mapping.word64(offset, range.end);
            let word = word.expect("an aligned word of the buffer");
            word.store(u64::from_ne_bytes(*value), Ordering::Release);
        }
        self.fill_bytes(start + words.len() * 8, tail);
    }

    fn fill_bytes(&self, start: usize, bytes: &[u8]) {
        for (offset, byte) in (start..).zip(bytes) {
            self.area.mapping.byte(offset).store(*byte, Ordering::Release);
        }
    }

    /// The first four bytes, where the kernel links extra buffers.
    pub(crate) fn link(&self) -> u32 {
        let bytes = self.bytes()[..4].try_into().expect("a buffer holds more than four bytes");
        u32::from_ne_bytes(bytes)
    }

    #[inline]
    fn range(&self) -> Range<usize> {
        let start = self.area.offset(self.index);
        start..start + self.area.size
    }
}

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        match self.end {
            End::Free => self.area.leased.clear(self.index),
            End::Spare => self.area.spares.put(self.index),
            End::Taken => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{PAGE, Words};
    use super::*;

    fn area() -> Arc<Area> {
        let words = Words::new(Mapping::heap(80 * PAGE).unwrap());
        words.divide(PAGE, PAGE, 79).unwrap().1
    }

    #[test]
    fn a_buffer_is_lent_once() {
        let area = area();
        let lease = area.lease(70).unwrap();
        assert!(area.lease(70).is_none());
        assert_eq!(area.leased(), [0, 1 << 6]);
        drop(lease);
        area.lease(70).unwrap().keep();
        assert!(area.lease(70).is_none());
        assert!(area.lease(79).is_none());
        assert!(area.lease(u32::MAX).is_none());
    }

    #[test]
    fn a_fill_stays_inside_its_buffer() {
        let area = area();
        let mut lease = area.lease(3).unwrap();
        lease.fill(PAGE - 2, b"abc");
        assert_eq!(&lease.bytes()[PAGE - 2..], b"ab");
        let text: Vec<u8> = (1..=40).collect();
        for (at, len) in (0..10).flat_map(|at| (0..=30).map(move |len| (at, len))) {
            lease.fill(0, &[0; 64]);
            lease.fill(at, &text[..len]);
            assert_eq!(lease.bytes()[at..at + len], text[..len], "{len} bytes at {at}");
            let rest = lease.bytes()[..at].iter().chain(&lease.bytes()[at + len..PAGE - 2]);
            assert!(rest.copied().all(|byte| byte == 0), "{len} bytes at {at}");
        }
        assert_eq!(area.lease(4).unwrap().bytes()[0], 0);
        assert_eq!(area.copy(3, PAGE - 2..PAGE).unwrap(), b"ab");
        assert!(area.copy(3, PAGE - 2..PAGE + 1).is_none() && area.copy(79, 0..1).is_none());
        lease.fill(0, &7u32.to_ne_bytes());
        assert_eq!(lease.link(), 7);
    }
}
