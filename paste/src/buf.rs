//! Buf: the right to one buffer, a value that moves.
//!
//! ```text
//!   kernel: NIC, rings, stack --slot.swap(spare)--> Buf --packet(range)--> Packet --> log
//!              ^                                     |                                 |
//!              +------------- slot.swap(spare) <-- spares <------ reset ---------------+
//! ```
//!
//! A buffer is in exactly one place. There is no "take" without giving a spare, and a dropped
//! [`Buf`] is a spare again, so none is ever lost.

use std::{
    fmt,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    error::{Error, Result},
    map::{Area, Lease},
};

/// Number of a buffer in its pool; 0 and 1 are never lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufIndex(pub(crate) u32);

impl BufIndex {
    /// The first buffer that may be lent.
    pub(crate) const FIRST: u32 = 2;

    /// The number, as rings carry it.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for BufIndex {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Bytes from the start of the pool's file or device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionOffset(pub u64);

impl fmt::Display for RegionOffset {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:#x}", self.0)
    }
}

/// Size of every buffer of a pool. Pages are multiples of it, so no buffer crosses a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BufSize {
    /// 2048 bytes.
    B2048,
    /// 4096 bytes.
    B4096,
}

impl BufSize {
    /// The size in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::B2048 => 2048,
            Self::B4096 => 4096,
        }
    }

    /// The size with that many bytes, if it is one.
    pub fn from_bytes(bytes: u64) -> Option<Self> {
        match bytes {
            2048 => Some(Self::B2048),
            4096 => Some(Self::B4096),
            _ => None,
        }
    }
}

/// A set of buffers, as the option `RESERVE` carries it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BufSet {
    words: Vec<u64>,
}

impl BufSet {
    /// No buffer.
    pub fn empty() -> Self {
        Self::default()
    }

    pub(crate) fn from_words(words: Vec<u64>) -> Self {
        Self { words }
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    /// Whether buffer `index` is in the set.
    pub fn contains(&self, index: BufIndex) -> bool {
        let word = (index.0 / 64) as usize;
        self.words.get(word).is_some_and(|word| word >> (index.0 % 64) & 1 == 1)
    }

    /// How many buffers.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }
}

/// All buffers of a pool. Clones are the same buffers.
#[derive(Debug, Clone)]
pub struct Buffers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    area: Arc<Area>,
    spares: Mutex<Vec<Lease>>,
    port: AtomicBool,
}

impl Buffers {
    pub(crate) fn new(area: Arc<Area>) -> Self {
        let shared = Shared { area, spares: Mutex::default(), port: AtomicBool::new(false) };
        Self { shared: Arc::new(shared) }
    }

    /// A buffer to swap into a slot. `None`: all are in slots, packets or the log.
    pub fn spare(&self) -> Option<Buf> {
        let lease = self.spare_list().pop()?;
        Some(self.adopt(lease))
    }

    /// How many spares there are now.
    pub fn spares(&self) -> usize {
        self.spare_list().len()
    }

    /// Every buffer that is on this side: in the log, in packets, among the spares.
    pub fn held(&self) -> BufSet {
        BufSet::from_words(self.shared.area.leased())
    }

    /// Number of buffers of the pool, the two that are never lent included.
    pub fn count(&self) -> u32 {
        self.shared.area.count()
    }

    /// Where byte `offset` of buffer `index` lies in the pool's file or device.
    pub fn location(&self, index: BufIndex, offset: usize) -> RegionOffset {
        RegionOffset((self.shared.area.offset(index.0) + offset) as u64)
    }

    pub(crate) fn area(&self) -> &Arc<Area> {
        &self.shared.area
    }

    /// A leased buffer of this pool as a value for programs.
    pub(crate) fn adopt(&self, lease: Lease) -> Buf {
        assert!(Arc::ptr_eq(lease.area(), self.area()), "a buffer of this pool");
        Buf { lease: Some(lease), home: self.clone() }
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }

    /// One port at a time lends a pool's buffers.
    pub(crate) fn bind_port(&self) -> Result<Bound> {
        if self.shared.port.swap(true, Ordering::AcqRel) {
            return Err(Error::Busy { what: "the pool (by another port)".into() });
        }
        Ok(Bound { buffers: self.clone() })
    }

    fn spare_list(&self) -> MutexGuard<'_, Vec<Lease>> {
        self.shared.spares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A port's hold on the buffers. Dropped (after the device): the kernel has forgotten them.
#[derive(Debug)]
pub(crate) struct Bound {
    buffers: Buffers,
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.buffers.spare_list().clear();
        self.buffers.shared.port.store(false, Ordering::Release);
    }
}

/// One buffer that this program owns. Dropped: a spare again.
///
/// It can be neither copied nor used after it has moved on:
///
/// ```compile_fail,E0382
/// fn twice(buffers: &paste_net::Buffers, slot: paste_net::Slot<'_>) {
///     let spare = buffers.spare().unwrap();
///     let _kept = slot.swap(spare);
///     let _again = spare.index();
/// }
/// ```
///
/// ```compile_fail,E0308
/// fn copy(buf: &paste_net::Buf) -> paste_net::Buf {
///     buf.clone()
/// }
/// ```
#[derive(Debug)]
pub struct Buf {
    /// Taken only by `into_lease` and `drop`.
    lease: Option<Lease>,
    home: Buffers,
}

impl Buf {
    /// Which buffer.
    pub fn index(&self) -> BufIndex {
        BufIndex(self.lease().index())
    }

    /// All its bytes.
    pub fn bytes(&self) -> &[u8] {
        self.lease().bytes()
    }

    /// The bytes `range` of the buffer as something that a log can store.
    ///
    /// # Errors
    /// `Range` if it does not lie in the buffer; the buffer is then a spare again.
    pub fn packet(self, range: Range<usize>) -> Result<Packet> {
        let size = self.bytes().len();
        if range.start > range.end || range.end > size {
            return Err(Error::Range { start: range.start, end: range.end, size });
        }
        Ok(Packet { buf: self, range })
    }

    pub(crate) fn home(&self) -> &Buffers {
        &self.home
    }

    pub(crate) fn into_lease(mut self) -> Lease {
        self.lease.take().expect("a live Buf has its lease")
    }

    fn lease(&self) -> &Lease {
        self.lease.as_ref().expect("a live Buf has its lease")
    }
}

impl Drop for Buf {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.home.spare_list().push(lease);
        }
    }
}

/// Payload in a buffer of its own: what one keeps of a slot, and what a log stores.
#[derive(Debug)]
pub struct Packet {
    buf: Buf,
    range: Range<usize>,
}

impl Packet {
    /// The payload.
    pub fn bytes(&self) -> &[u8] {
        &self.buf.bytes()[self.range.clone()]
    }

    /// Which buffer.
    pub fn index(&self) -> BufIndex {
        self.buf.index()
    }

    /// Where the payload starts in the pool's file or device.
    pub fn location(&self) -> RegionOffset {
        self.buf.home.location(self.index(), self.range.start)
    }

    /// The buffer without the range.
    pub fn into_buf(self) -> Buf {
        self.buf
    }

    pub(crate) fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    pub(crate) fn home(&self) -> &Buffers {
        &self.buf.home
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::{Mapping, PAGE, Words};

    fn buffers() -> Buffers {
        let words = Words::new(Mapping::heap(9 * PAGE).unwrap());
        Buffers::new(words.divide(PAGE, PAGE, 8).unwrap().1)
    }

    #[test]
    fn a_dropped_buf_is_a_spare_again() {
        let buffers = buffers();
        let buf = buffers.adopt(buffers.area().lease(3).unwrap());
        assert!(buffers.spare().is_none());
        drop(buf);
        assert!(buffers.held().contains(BufIndex(3)));
        assert_eq!(buffers.spare().unwrap().index(), BufIndex(3));
        assert_eq!(buffers.held().len(), 1);
    }

    #[test]
    fn a_packet_lies_in_its_buffer() {
        let buffers = buffers();
        let buf = |index| buffers.adopt(buffers.area().lease(index).unwrap());
        let packet = buf(3).packet(66..PAGE).unwrap();
        assert_eq!(packet.bytes().len(), PAGE - 66);
        assert_eq!(packet.location(), RegionOffset((4 * PAGE + 66) as u64));
        assert!(matches!(buf(4).packet(66..PAGE + 1), Err(Error::Range { .. })));
        #[expect(clippy::reversed_empty_ranges, reason = "what a careless caller may compute")]
        let reversed = buf(5).packet(9..8);
        assert!(reversed.is_err());
        assert_eq!(buffers.spares(), 2, "refused buffers are spares again");
    }

    #[test]
    fn one_port_binds_the_buffers() {
        let buffers = buffers();
        let bound = buffers.bind_port().unwrap();
        assert!(matches!(buffers.bind_port(), Err(Error::Busy { .. })));
        drop(buffers.adopt(buffers.area().lease(2).unwrap()));
        drop(bound);
        assert_eq!(buffers.spares(), 0, "the kernel may lend them to the next port");
        assert!(buffers.bind_port().is_ok());
    }
}
