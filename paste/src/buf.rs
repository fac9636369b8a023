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
//!
//! The network stack may still send what a log stored: such a buffer is *worn* until the kernel
//! has lent it anew. It can be swapped and sent like any other; only [`Blank`] leaves it out.

mod units;

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

pub use units::{BufIndex, BufSet, BufSize, RegionOffset};

use crate::{
    blank::Blank,
    error::{Error, Result},
    map::{Area, Lease},
};

/// All buffers of a pool. Clones are the same buffers.
#[derive(Debug, Clone)]
pub struct Buffers {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    area: Arc<Area>,
    port: AtomicBool,
}

impl Buffers {
    pub(crate) fn new(area: Arc<Area>) -> Self {
        Self { shared: Arc::new(Shared { area, port: AtomicBool::new(false) }) }
    }

    /// A buffer to swap into a slot. `None`: all are in slots, packets or the log.
    #[inline]
    pub fn spare(&self) -> Option<Buf> {
        self.area().spare().map(Buf::new)
    }

    /// A buffer to write into. `None`: there is no spare that the network stack has let go.
    pub fn blank(&self) -> Option<Blank> {
        self.area().clean_spare().map(Buf::new).map(Blank::new)
    }

    /// How many spares there are now.
    pub fn spares(&self) -> usize {
        self.area().spares()
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

    #[inline]
    pub(crate) fn area(&self) -> &Arc<Area> {
        &self.shared.area
    }

    /// A leased buffer of this pool as a value for programs.
    #[inline]
    pub(crate) fn adopt(&self, lease: Lease) -> Buf {
        assert!(self.are_home_of(lease.area()), "a buffer of this pool");
        Buf::new(lease)
    }

    /// Whether buffers of `area` are these.
    #[inline]
    pub(crate) fn are_home_of(&self, area: &Arc<Area>) -> bool {
        Arc::ptr_eq(&self.shared.area, area)
    }

    /// One port at a time lends a pool's buffers.
    pub(crate) fn bind_port(&self) -> Result<Bound> {
        if self.shared.port.swap(true, Ordering::AcqRel) {
            return Err(Error::Busy { what: "the pool (by another port)".into() });
        }
        Ok(Bound { buffers: self.clone() })
    }

    /// The network stack may send buffer `index` until the kernel lends it anew.
    pub(crate) fn wear(&self, index: u32) {
        self.area().wear(index);
    }

    /// The kernel has lent buffer `index`: nobody sends from it any more.
    #[inline]
    pub(crate) fn renew(&self, index: u32) {
        self.area().renew(index);
    }
}

/// A port's hold on the buffers. Dropped (after the device): the kernel has forgotten them.
#[derive(Debug)]
pub(crate) struct Bound {
    buffers: Buffers,
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.buffers.area().forget_spares();
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
    /// Ends as a spare.
    lease: Lease,
}

impl Buf {
    /// What a lease is to programs.
    #[inline]
    pub(crate) fn new(lease: Lease) -> Self {
        Self { lease: lease.ends_as_spare() }
    }

    /// Which buffer.
    #[inline]
    pub fn index(&self) -> BufIndex {
        BufIndex(self.lease.index())
    }

    /// All its bytes.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        self.lease.bytes()
    }

    /// The bytes `range` of the buffer as something that a log can store.
    ///
    /// # Errors
    /// `Range` if it does not lie in the buffer; the buffer is then a spare again.
    #[inline]
    pub fn packet(self, range: Range<usize>) -> Result<Packet> {
        let size = self.area().size();
        if range.start > range.end || range.end > size {
            return Err(Error::Range { start: range.start, end: range.end, size });
        }
        Ok(Packet::new(self, range))
    }

    /// The buffers that it is one of.
    #[inline]
    pub(crate) fn area(&self) -> &Arc<Area> {
        self.lease.area()
    }

    #[inline]
    pub(crate) fn into_lease(self) -> Lease {
        self.lease.ends_free()
    }

    /// For `Blank`, whose buffer nobody else reads.
    pub(crate) fn fill(&mut self, at: usize, bytes: &[u8]) {
        self.lease.fill(at, bytes);
    }
}

/// Payload in a buffer of its own: what one keeps of a slot, and what a log stores.
#[derive(Debug)]
pub struct Packet {
    buf: Buf,
    range: Range<usize>,
}

impl Packet {
    /// A range that lies in the buffer.
    #[inline]
    pub(crate) fn new(buf: Buf, range: Range<usize>) -> Self {
        Self { buf, range }
    }

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
        RegionOffset((self.area().offset(self.buf.lease.index()) + self.range.start) as u64)
    }

    /// The part `range` of the payload.
    ///
    /// # Errors
    /// `Range` if the payload is shorter; the buffer is then a spare again.
    pub fn part(self, range: Range<usize>) -> Result<Self> {
        let (start, size) = (self.range.start, self.range.len());
        if range.start > range.end || range.end > size {
            return Err(Error::Range { start: range.start, end: range.end, size });
        }
        Ok(Self { range: start + range.start..start + range.end, ..self })
    }

    /// The buffer without the range.
    #[inline]
    pub fn into_buf(self) -> Buf {
        self.buf
    }

    #[inline]
    pub(crate) fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// The buffers that its own is one of.
    #[inline]
    pub(crate) fn area(&self) -> &Arc<Area> {
        self.buf.area()
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
        let packet = packet.part(1..3).unwrap();
        assert_eq!(packet.location(), RegionOffset((4 * PAGE + 67) as u64));
        assert!(packet.part(1..3).is_err(), "it has two bytes");
        assert!(matches!(buf(4).packet(66..PAGE + 1), Err(Error::Range { .. })));
        #[expect(clippy::reversed_empty_ranges, reason = "what a careless caller may compute")]
        let reversed = buf(5).packet(9..8);
        assert!(reversed.is_err());
        assert_eq!(buffers.spares(), 3, "refused buffers are spares again");
    }

    #[test]
    fn what_the_stack_may_send_is_no_blank() {
        let buffers = buffers();
        let buf = |index| buffers.adopt(buffers.area().lease(index).unwrap());
        buffers.wear(3);
        drop((buf(3), buf(4)));
        assert_eq!(buffers.spares(), 2);
        let blank = buffers.blank().unwrap();
        assert!(buffers.blank().is_none());
        assert_eq!(blank.packet().index(), BufIndex(4));
        assert_eq!(buffers.spare().unwrap().index(), BufIndex(3), "swapped before clean ones");
        buffers.renew(3);
        drop(buffers.spare());
        assert!(buffers.blank().is_some());
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
