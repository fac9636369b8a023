//! Header: which entries count. Two copies on two cache lines, written in turn.
//!
//! ```text
//!   copy 0 at 0, copy 1 at 64:
//!   0            8      16      20      24
//!   | generation | base | start | epoch | sum |     generation is even in copy 0
//! ```
//!
//! The valid copy with the higher generation holds. A cut while one is written leaves the other.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::entry::{Epoch, Sequence};
use crate::{map::PAGE, pmem::line::LINE, pool::superblock::PoolId};

/// Bytes of one copy.
pub(crate) const COPY: usize = 32;

/// The log's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// How often it was written.
    pub(crate) generation: u64,
    /// The sequence number of the entry at position 0.
    pub(crate) base: Sequence,
    /// Entries of earlier epochs do not count.
    pub(crate) start: Epoch,
    /// The present epoch; there is no entry of a later one.
    pub(crate) epoch: Epoch,
}

impl Header {
    /// The header of a new log.
    pub(crate) fn first() -> Self {
        Self { generation: 0, base: Sequence(0), start: Epoch(1), epoch: Epoch(1) }
    }

    /// The header after one more opening.
    pub(crate) fn next_epoch(self) -> Self {
        let epoch = Epoch(self.epoch.0 + 1);
        Self { generation: self.generation + 1, epoch, ..self }
    }

    /// The header after a reset: nothing counts that was written so far.
    pub(crate) fn emptied(self, next: Sequence) -> Self {
        let header = self.next_epoch();
        Self { base: next, start: header.epoch, ..header }
    }

    /// Where this copy belongs, bytes from the start of the header's page.
    pub(crate) fn copy_offset(&self) -> usize {
        if self.generation.is_multiple_of(2) { 0 } else { LINE }
    }

    pub(crate) fn encode(&self, id: PoolId) -> [u8; COPY] {
        let mut bytes = [0; COPY];
        bytes[0..8].copy_from_slice(&self.generation.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.base.0.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.start.0.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.epoch.0.to_le_bytes());
        let sum = xxh3_64_with_seed(&bytes[..24], id.0);
        bytes[24..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The page of a new log.
    pub(crate) fn encode_page(&self, id: PoolId) -> [u8; PAGE] {
        let mut page = [0; PAGE];
        page[self.copy_offset()..][..COPY].copy_from_slice(&self.encode(id));
        page
    }

    /// The header that holds, of the two copies. `None`: neither is valid.
    pub(crate) fn choose(copies: [[u8; COPY]; 2], id: PoolId) -> Option<Self> {
        let [even, odd] = copies.map(|copy| Self::decode(&copy, id));
        let even = even.filter(|header| header.copy_offset() == 0);
        let odd = odd.filter(|header| header.copy_offset() != 0);
        even.into_iter().chain(odd).max_by_key(|header| header.generation)
    }

    fn decode(bytes: &[u8; COPY], id: PoolId) -> Option<Self> {
        let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight"));
        let short = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
        let header = Self {
            generation: long(0),
            base: Sequence(long(8)),
            start: Epoch(short(16)),
            epoch: Epoch(short(20)),
        };
        let whole = long(24) == xxh3_64_with_seed(&bytes[..24], id.0);
        // No pool lives long enough to use these numbers up, so they are no header's.
        let used_up = header.epoch.0 == u32::MAX || header.generation | header.base.0 >= 1 << 63;
        (whole && !used_up && header.start <= header.epoch).then_some(header)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: PoolId = PoolId(5);
    const NONE: [u8; COPY] = [0; COPY];

    #[test]
    fn the_later_of_two_valid_copies_holds() {
        let first = Header::first();
        let second = first.next_epoch();
        let third = second.emptied(Sequence(40));
        let copy = |header: &Header| header.encode(ID);
        assert_eq!(Header::choose([copy(&first), NONE], ID), Some(first));
        assert_eq!(Header::choose([copy(&first), copy(&second)], ID), Some(second));
        assert_eq!(Header::choose([copy(&third), copy(&second)], ID), Some(third));
        assert_eq!((third.base, third.start, third.epoch), (Sequence(40), Epoch(3), Epoch(3)));
    }

    #[test]
    fn a_torn_copy_leaves_the_other() {
        let first = Header::first();
        let second = first.next_epoch().encode(ID);
        for words in 0..4 {
            let mut torn = NONE;
            torn[..words * 8].copy_from_slice(&second[..words * 8]);
            assert_eq!(Header::choose([first.encode(ID), torn], ID), Some(first));
        }
    }

    #[test]
    fn no_valid_copy_is_no_header() {
        assert_eq!(Header::choose([NONE, NONE], ID), None);
        let first = Header::first().encode(ID);
        assert_eq!(Header::choose([first, NONE], PoolId(6)), None, "another pool's");
        assert_eq!(Header::choose([NONE, first], ID), None, "in the wrong place");
        let last = Header { epoch: Epoch(u32::MAX), ..Header::first() };
        assert_eq!(Header::choose([last.encode(ID), NONE], ID), None);
    }
}
