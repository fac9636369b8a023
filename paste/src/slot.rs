//! Slot: one received packet in an RX ring, borrowed from its view.

use std::{
    io::Write,
    ops::Range,
    os::fd::{AsFd, AsRawFd, RawFd},
    sync::Arc,
};

use crate::{
    abi,
    blank::Blank,
    buf::{Buf, BufIndex, Packet, RegionOffset},
    map::Lease,
    ring::Ring,
};

/// The descriptor number of a connection's socket, as slots carry it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnFd(pub(crate) RawFd);

impl ConnFd {
    /// The number of `socket`.
    pub fn of(socket: impl AsFd) -> Self {
        Self(socket.as_fd().as_raw_fd())
    }

    /// The number.
    #[inline]
    pub fn raw(self) -> RawFd {
        self.0
    }
}

/// The meaning of a slot's two words, checked against the buffers that exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) index: u32,
    pub(crate) fd: ConnFd,
    /// The payload's bytes in the buffer.
    pub(crate) payload: Range<u16>,
    /// What a slot without payload says.
    pub(crate) event: Option<Event>,
}

/// What happened to a connection, told by a slot without payload.
///
/// A port that was not opened with events is told of the end only, once, a reset included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The peer ended its stream; one may still send.
    End,
    /// The connection is dead, with this errno (`ECONNRESET`, `ETIMEDOUT` ...).
    Reset(i32),
    /// What was in TX slots and not yet sent never will be, with this errno (`ENOTCONN`: no
    /// registered socket has the number).
    SendFailed(i32),
}

impl Event {
    /// Decodes flags and `ptr` of a slot without payload; the code 0 is the published PASTE's.
    #[inline]
    fn decode([word, ptr]: [u64; 2]) -> Option<Self> {
        let code = (word >> 48 >> abi::PST_EVENT_SHIFT) & u64::from(abi::PST_EVENT_MASK);
        let errno = low32(ptr >> abi::PST_ERRNO_SHIFT & abi::PST_ERRNO_MASK).cast_signed();
        match u16::try_from(code).expect("masked") {
            0 | abi::PST_EVENT_END => Some(Self::End),
            abi::PST_EVENT_RESET => Some(Self::Reset(errno)),
            abi::PST_EVENT_SEND_FAILED => Some(Self::SendFailed(errno)),
            _ => None,
        }
    }
}

impl Content {
    /// Decodes what the other side wrote (the `PST_*` encoding of `paste_abi.h`), for `count`
    /// buffers of `size` bytes.
    #[inline]
    pub(crate) fn decode(
        [word, ptr]: [u64; 2],
        count: u32,
        size: usize,
    ) -> std::result::Result<Self, String> {
        let index = low32(word);
        if index < BufIndex::FIRST || index >= count {
            return Err(no_such_buffer(index, count));
        }
        let field = |shift: u32, mask: u64| low32(ptr >> shift & mask);
        let offset = field(0, abi::PST_OFFSET_MASK) as usize;
        let headers = field(abi::PST_DOFF_SHIFT, abi::PST_DOFF_MASK) as usize;
        let len = (low32(word >> 32) & 0xffff) as usize;
        if len < headers || offset + len > size {
            return Err(outside(index, [offset, headers, len, size]));
        }
        let fd = ConnFd(field(abi::PST_FD_SHIFT, abi::PST_FD_MASK).cast_signed());
        let event = if len == headers { Event::decode([word, ptr]) } else { None };
        if len == headers && event.is_none() {
            return Err(no_event(index, word));
        }
        let at = |offset| u16::try_from(offset).expect("a buffer has at most 4096 bytes");
        Ok(Self { index, fd, payload: at(offset + headers)..at(offset + len), event })
    }
}

// Nobody sees these of a kernel that is sound: they stay out of the way of the rest.

#[cold]
fn no_such_buffer(index: u32, count: u32) -> String {
    format!("buffer {index} of {count}")
}

#[cold]
fn outside(index: u32, [offset, headers, len, size]: [usize; 4]) -> String {
    format!("buffer {index}: offset {offset}, payload from {headers} to {len}, size {size}")
}

#[cold]
fn no_event(index: u32, word: u64) -> String {
    format!("buffer {index}: an event with flags {:#x}", word >> 48)
}

/// A range of a buffer's bytes as slices want it.
#[inline]
pub(crate) fn wide(range: &Range<u16>) -> Range<usize> {
    usize::from(range.start)..usize::from(range.end)
}

#[inline]
fn low32(word: u64) -> u32 {
    u32::try_from(word & 0xffff_ffff).expect("masked")
}

/// A packet in the ring. Dropped: its buffer goes back to the kernel with the view's head.
///
/// Payload cannot be used any more when the slot's buffer has gone its way, nor the slot when
/// its view has:
///
/// ```compile_fail,E0505
/// fn after_swap(slot: paste_net::Slot<'_>, spare: paste_net::Buf) -> usize {
///     let payload = slot.payload();
///     let _kept = slot.swap(spare);
///     payload.len()
/// }
/// ```
///
/// ```compile_fail,E0505
/// fn after_view(mut view: paste_net::RxView<'_>) -> paste_net::Result<usize> {
///     let slot = view.next()?.expect("a slot");
///     drop(view);
///     Ok(slot.payload().len())
/// }
/// ```
///
/// ```compile_fail,E0499
/// fn during_a_sync(port: &mut paste_net::Port) -> paste_net::Result<usize> {
///     let view = port.rx()?;
///     port.rxsync()?;
///     Ok(view.len())
/// }
/// ```
#[derive(Debug)]
pub struct Slot<'a> {
    pub(crate) ring: &'a Ring,
    pub(crate) position: u32,
    pub(crate) fd: ConnFd,
    pub(crate) lease: Lease,
    pub(crate) payload: Range<u16>,
    pub(crate) event: Option<Event>,
}

impl Slot<'_> {
    /// The connection that the payload belongs to.
    #[inline]
    pub fn fd(&self) -> ConnFd {
        self.fd
    }

    /// The payload, in place. Within one connection slots are in stream order.
    #[inline]
    pub fn payload(&self) -> &[u8] {
        &self.lease.bytes()[self.range()]
    }

    /// What a slot without payload says; `None` if there is payload.
    #[inline]
    pub fn event(&self) -> Option<Event> {
        self.event
    }

    /// The peer's stream is over, in order or not: no payload follows on this connection.
    pub fn is_end_of_stream(&self) -> bool {
        matches!(self.event, Some(Event::End | Event::Reset(_)))
    }

    /// Where the payload starts in the pool's file or device.
    pub fn location(&self) -> RegionOffset {
        let start = self.lease.area().offset(self.lease.index()) + self.range().start;
        RegionOffset(start as u64)
    }

    /// The buffer in the slot now.
    pub fn index(&self) -> BufIndex {
        BufIndex(self.lease.index())
    }

    /// Takes the slot's buffer and leaves `spare` in its place.
    ///
    /// # Panics
    /// If `spare` belongs to another pool.
    #[inline]
    pub fn swap(self, spare: Buf) -> Buf {
        let ours = Arc::ptr_eq(self.lease.area(), spare.area());
        assert!(ours, "the spare is of the port's own pool");
        let lease = spare.into_lease();
        self.ring.put(self.position, lease.index());
        // From here on the slot names the spare, which the kernel owns once head has passed.
        drop(lease);
        Buf::new(self.lease)
    }

    /// The part `range` of the payload, copied into a buffer of its own: a buffer is in one record,
    /// so if a packet holds several, one keeps it and the others are copies. They are counted
    /// ([`Copies::shared`](crate::Copies::shared)). `None`: there is no blank buffer.
    ///
    /// # Panics
    /// If `range` does not lie in the payload.
    pub fn copy(&self, range: Range<usize>) -> Option<Packet> {
        let area = self.lease.area();
        let mut blank = Blank::new(Buf::new(area.clean_spare()?));
        blank.write_all(&self.payload()[range]).expect("a payload is no longer than a buffer");
        area.count_copied(blank.len());
        Some(blank.packet())
    }

    /// `swap`, with the payload's range: what a log takes.
    ///
    /// # Panics
    /// If `spare` belongs to another pool.
    #[inline]
    pub fn keep(self, spare: Buf) -> Packet {
        let range = self.range();
        Packet::new(self.swap(spare), range) // `decode` checked the range
    }

    #[inline]
    fn range(&self) -> Range<usize> {
        wide(&self.payload)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(index: u64, len: u64, offset: u64, fd: u64, headers: u64) -> [u64; 2] {
        [index | len << 32 | 0x80ff << 48, offset | fd << 8 | headers << 40]
    }

    fn event(code: u64, errno: u64) -> std::result::Result<Option<Event>, String> {
        let [word, ptr] = words(2, 66, 0, 4, 66);
        let content = Content::decode([word | code << 56, ptr | errno << 50], 8, 2048);
        content.map(|content| content.event)
    }

    #[test]
    fn the_fields_are_where_the_header_says() {
        let content = Content::decode(words(7, 166, 56, 12, 66), 8, 2048).unwrap();
        let payload = 122..222;
        assert_eq!(content, Content { index: 7, fd: ConnFd(12), payload, event: None });
        let end = Content::decode(words(2, 66, 0, 0x7fff_ffff, 66), 8, 2048).unwrap();
        assert!(end.payload.is_empty());
        assert_eq!(end.fd.raw(), i32::MAX);
    }

    #[test]
    fn slots_without_payload_tell_events() {
        assert_eq!(event(0, 0), Ok(Some(Event::End)));
        assert_eq!(event(1, 0), Ok(Some(Event::End)));
        assert_eq!(event(2, 104), Ok(Some(Event::Reset(104))));
        assert_eq!(event(3, 0x3fff), Ok(Some(Event::SendFailed(0x3fff))));
        assert!(event(4, 0).is_err() && event(0x7f, 0).is_err());
        let [word, ptr] = words(2, 67, 0, 4, 66);
        let content = Content::decode([word | 0x7f << 56, ptr], 8, 2048).unwrap();
        assert_eq!(content.event, None, "payload says more than flags");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let size = 2048;
        for (slot, why) in [
            (words(0, 66, 0, 4, 66), "buffer 0 is never lent"),
            (words(1, 66, 0, 4, 66), "nor is buffer 1"),
            (words(8, 66, 0, 4, 66), "eight buffers end at 7"),
            (words(0xffff_ffff, 66, 0, 4, 66), "far outside"),
            (words(2, 65, 0, 4, 66), "payload ends before it starts"),
            (words(2, 2048, 1, 4, 66), "one byte too far"),
            (words(2, 0xffff, 255, 4, 1023), "far too long"),
        ] {
            assert!(Content::decode(slot, 8, size).is_err(), "{why}");
        }
        assert!(Content::decode(words(2, 2047, 1, 4, 66), 8, size).is_ok());
    }
}
