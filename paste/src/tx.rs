//! TX: the view of a port's free TX slots, and what moves through them.
//!
//! ```text
//!   Packet --send-->  slot  --the slot's buffer--> a spare        (the packet's buffer has moved)
//!   Stored --send_stored--> slot, marked NS_PST_KEEP              (the log owns it as before)
//! ```
//!
//! A slot always has a buffer. What the slot had is ours when we put another one in; a slot that
//! comes back with a buffer that the log kept has none to give.

use std::{fmt, io::Write, ops::Range, sync::Arc};

use crate::{
    abi,
    buf::{Buf, BufIndex, Buffers, Packet},
    error::{Error, Result},
    log::Stored,
    map::{Area, Lease},
    ring::Ring,
    slot::ConnFd,
};

/// Payload that starts at or before this byte of its buffer can be named by a slot.
pub const FURTHEST_START: usize = 255 + 1023;
const _: () = assert!(FURTHEST_START as u64 == abi::PST_OFFSET_MASK + abi::PST_DOFF_MASK);

/// A TX ring and what we put into its slots last.
#[derive(Debug)]
pub(crate) struct TxRing {
    ring: Ring,
    /// By slot.
    filled: Vec<Filled>,
}

/// What a slot was filled with last, and for which connection.
#[derive(Debug, Clone, Copy)]
struct Filled {
    last: Last,
    conn: ConnFd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    Nothing,
    /// A buffer that moved in.
    Moved(u32),
    /// A buffer that somebody here still owns.
    Kept(u32),
}

impl TxRing {
    pub(crate) fn new(ring: Ring) -> Self {
        let nothing = Filled { last: Last::Nothing, conn: ConnFd(-1) };
        Self { filled: vec![nothing; ring.slots() as usize], ring }
    }

    pub(crate) fn ring(&mut self) -> &mut Ring {
        &mut self.ring
    }

    /// Slots that were filled for `conn` and did not come back yet.
    fn waiting(&self, conn: ConnFd) -> usize {
        let slots = self.ring.slots();
        let first = self.ring.after_tail();
        let filled = (0..slots - 1 - self.ring.left()).map(|slot| (first + slot) % slots);
        filled.filter(|slot| self.filled[*slot as usize].conn == conn).count()
    }

    /// The buffer that the next slot has to give; `None` if it names one of ours.
    #[inline]
    fn reclaim(&self, area: &Arc<Area>) -> Result<Option<Lease>> {
        let position = self.ring.position();
        let [word, _] = self.ring.peek();
        let index = u32::try_from(word & 0xffff_ffff).expect("masked");
        let last = self.filled[position as usize].last;
        if last == Last::Kept(index) {
            return Ok(None);
        }
        if index < BufIndex::FIRST || index >= area.count() {
            return Err(wrong(position, index, "does not exist"));
        }
        let Some(lease) = area.lease(index) else {
            return Err(wrong(position, index, "is held by this program"));
        };
        if last != Last::Moved(index) {
            // Another one than we put in: the kernel took it from its free ones.
            area.renew(index);
        }
        Ok(Some(lease))
    }

    #[inline]
    fn fill(&mut self, conn: ConnFd, words: [u64; 2], last: Last) {
        let position = self.ring.position();
        self.ring.fill(position, words);
        self.filled[position as usize] = Filled { last, conn };
        self.ring.advance();
    }
}

#[cold]
fn wrong(position: u32, index: u32, what: &str) -> Error {
    Error::Ring { reason: format!("TX slot {position}: buffer {index} {what}") }
}

/// A packet that did not enter a slot.
#[derive(Debug)]
pub struct Unsent {
    /// Why.
    pub error: Error,
    /// The packet, as it was.
    pub packet: Packet,
}

impl fmt::Display for Unsent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "send {} bytes of buffer {}", self.packet.bytes().len(), self.packet.index())
    }
}

impl From<Unsent> for Error {
    /// The packet's buffer is a spare again.
    fn from(unsent: Unsent) -> Self {
        unsent.error
    }
}

impl std::error::Error for Unsent {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// The TX slots that can be filled now. Dropped: the kernel may take the filled ones, at its next
/// sync.
#[derive(Debug)]
pub struct TxView<'a> {
    pub(crate) rings: &'a mut [TxRing],
    pub(crate) buffers: &'a Buffers,
    pub(crate) copied: &'a mut u64,
}

impl TxView<'_> {
    /// Slots that can still be filled.
    #[inline]
    pub fn room(&self) -> usize {
        self.rings.iter().map(|tx| tx.ring.left() as usize).sum()
    }

    /// The connection that the oldest slot waits for; `None` if none waits. A peer that reads
    /// nothing can hold every slot: close its connection.
    pub fn oldest(&self) -> Option<ConnFd> {
        let waits = self.rings.iter().find(|tx| tx.ring.left() < tx.ring.slots() - 1)?;
        Some(waits.filled[waits.ring.after_tail() as usize].conn)
    }

    /// Slots that hold something for `conn` which was not taken from them yet. Slots come back in
    /// their order, so those behind one that waits for another connection count, too. With 0,
    /// after a sync, the connection can be closed: see [`Port::close`](crate::Port::close).
    pub fn unsent(&self, conn: ConnFd) -> usize {
        self.rings.iter().map(|tx| tx.waiting(conn)).sum()
    }

    /// Sends the packet on the registered connection `conn`, after all that was sent on it
    /// before. Its buffer moves into a slot and is the kernel's; the slot's is a spare.
    ///
    /// Payload that starts after [`FURTHEST_START`] is copied.
    ///
    /// # Errors
    /// The packet comes back with `TxFull`, `NoSpare`, `OtherPool`, or `Ring` if the slot does
    /// not name a buffer that can be taken out of it.
    #[inline]
    pub fn send(&mut self, conn: ConnFd, packet: Packet) -> std::result::Result<(), Unsent> {
        let range = packet.range();
        if range.is_empty() {
            return Ok(());
        }
        if range.start > FURTHEST_START {
            let copied = self.send_copy(conn, packet.bytes());
            return copied.map_err(|error| Unsent { error, packet });
        }
        match self.take_slot(packet.area()) {
            Err(error) => Err(Unsent { error, packet }),
            Ok(ring) => {
                let lease = packet.into_buf().into_lease();
                let index = lease.index();
                // From here on the slot names it, and the kernel owns it once head has passed.
                drop(lease);
                ring.fill(conn, encode(index, conn, &range, 0), Last::Moved(index));
                Ok(())
            }
        }
    }

    /// Sends a stored packet on the registered connection `conn` from where it lies. The log goes
    /// on owning it.
    ///
    /// Payload that starts after [`FURTHEST_START`] is copied.
    ///
    /// # Errors
    /// `TxFull`, `NoSpare`, `OtherPool`, `Ring`, as for `send`.
    pub fn send_stored(&mut self, conn: ConnFd, part: Stored<'_>) -> Result<()> {
        let (range, index) = (part.range(), part.index());
        if range.is_empty() {
            return Ok(());
        }
        if range.start > FURTHEST_START {
            return self.send_copy(conn, part.bytes());
        }
        let buffers = self.buffers;
        let ring = self.take_slot(part.home().area())?;
        buffers.wear(index);
        ring.fill(conn, encode(index, conn, &range, abi::NS_PST_KEEP), Last::Kept(index));
        Ok(())
    }

    /// A ring with a free slot whose own buffer has become a spare.
    #[inline]
    fn take_slot(&mut self, area: &Arc<Area>) -> Result<&mut TxRing> {
        if !self.buffers.are_home_of(area) {
            return Err(Error::OtherPool);
        }
        let Some(ring) = self.rings.iter_mut().find(|tx| tx.ring.left() != 0) else {
            return Err(Error::TxFull);
        };
        if let Some(lease) = ring.reclaim(area)? {
            drop(Buf::new(lease));
        }
        Ok(ring)
    }

    fn send_copy(&mut self, conn: ConnFd, bytes: &[u8]) -> Result<()> {
        let mut blank = self.buffers.blank().ok_or(Error::NoSpare)?;
        blank.write_all(bytes).expect("a payload is no longer than a buffer");
        self.send(conn, blank.packet())?;
        *self.copied += bytes.len() as u64;
        Ok(())
    }
}

impl Drop for TxView<'_> {
    fn drop(&mut self) {
        self.rings.iter().for_each(|tx| tx.ring.publish());
    }
}

/// The two words of a slot (the `PST_*` encoding of `paste_abi.h`).
#[inline]
fn encode(index: u32, conn: ConnFd, range: &Range<usize>, flags: u16) -> [u64; 2] {
    // As much as fits says where the payload starts, the rest is netmap's offset.
    let headers = (range.start as u64).min(abi::PST_DOFF_MASK);
    let offset = range.start as u64 - headers;
    let len = headers + range.len() as u64;
    let fd = u64::from(conn.raw().cast_unsigned());
    let ptr = offset | fd << abi::PST_FD_SHIFT | headers << abi::PST_DOFF_SHIFT;
    [u64::from(index) | len << 32 | u64::from(flags) << 48, ptr]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slot::{Content, wide};

    #[test]
    fn what_is_encoded_can_be_decoded() {
        for range in [0..1, 66..1514, 1023..2048, 1024..1025, FURTHEST_START..2048] {
            let words = encode(7, ConnFd(i32::MAX), &range, abi::NS_PST_KEEP);
            let content = Content::decode(words, 8, 2048).unwrap();
            assert_eq!((content.index, content.fd), (7, ConnFd(i32::MAX)));
            assert_eq!(wide(&content.payload), range);
            assert_eq!(words[0] >> 48, u64::from(abi::NS_PST_KEEP));
        }
    }
}
