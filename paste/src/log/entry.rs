//! Entry: 32 bytes of the log that name one packet.
//!
//! ```text
//!   0        4       6      8           16      20      22         24            28
//!   | buffer | start | len  | sequence  | epoch | flags | distance | payload sum | sum |
//! ```
//!
//! Little-endian. `sum` covers bytes 0 to 27 and the pool's number, and is in the word that is
//! stored last, so a torn entry is no entry.

use std::{fmt, ops::Range};

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::pool::superblock::PoolId;

/// Bytes of an entry: two in a cache line.
pub(crate) const ENTRY: usize = 32;

const MORE: u16 = 1;

/// Number of an entry since the pool was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

impl fmt::Display for Sequence {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Number of an opening of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

/// What an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The buffer that the entry owns.
    pub(crate) buffer: u32,
    /// First payload byte in the buffer.
    pub(crate) start: u16,
    /// Bytes of payload.
    pub(crate) len: u16,
    pub(crate) sequence: Sequence,
    pub(crate) epoch: Epoch,
    /// The record goes on with the next entry.
    pub(crate) more: bool,
    /// Entries since the first one of the batch.
    pub(crate) distance: u16,
    /// `payload_sum` of the payload.
    pub(crate) payload_sum: u32,
}

impl Entry {
    /// The payload's bytes in the buffer.
    pub(crate) fn range(&self) -> Range<usize> {
        let start = usize::from(self.start);
        start..start + usize::from(self.len)
    }

    pub(crate) fn encode(&self, id: PoolId) -> [u8; ENTRY] {
        let mut bytes = [0; ENTRY];
        let flags = if self.more { MORE } else { 0 };
        bytes[0..4].copy_from_slice(&self.buffer.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.start.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.len.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.sequence.0.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.epoch.0.to_le_bytes());
        bytes[20..22].copy_from_slice(&flags.to_le_bytes());
        bytes[22..24].copy_from_slice(&self.distance.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.payload_sum.to_le_bytes());
        let sum = sum(&bytes, id);
        bytes[28..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// `None` unless all of it was written, for this pool, by a library that knows this format.
    pub(crate) fn decode(bytes: &[u8; ENTRY], id: PoolId) -> Option<Self> {
        let tiny = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let short = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four"));
        let sequence = u64::from_le_bytes(bytes[8..16].try_into().expect("eight"));
        if short(28) != sum(bytes, id) || tiny(20) & !MORE != 0 {
            return None;
        }
        Some(Self {
            buffer: short(0),
            start: tiny(4),
            len: tiny(6),
            sequence: Sequence(sequence),
            epoch: Epoch(short(16)),
            more: tiny(20) & MORE != 0,
            distance: tiny(22),
            payload_sum: short(24),
        })
    }
}

/// The checksum of payload that an entry carries.
pub(crate) fn payload_sum(payload: &[u8]) -> u32 {
    low(xxh3_64(payload))
}

fn sum(bytes: &[u8; ENTRY], id: PoolId) -> u32 {
    low(xxh3_64_with_seed(&bytes[..ENTRY - 4], id.0))
}

fn low(hash: u64) -> u32 {
    u32::try_from(hash & 0xffff_ffff).expect("masked")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: PoolId = PoolId(0x1234_5678);

    fn entry() -> Entry {
        Entry {
            buffer: 0x0102_0304,
            start: 66,
            len: 1024,
            sequence: Sequence(1 << 40),
            epoch: Epoch(9),
            more: true,
            distance: 3,
            payload_sum: payload_sum(b"payload"),
        }
    }

    #[test]
    fn an_entry_reads_back_in_its_own_pool_only() {
        let bytes = entry().encode(ID);
        assert_eq!(Entry::decode(&bytes, ID), Some(entry()));
        assert_eq!(Entry::decode(&bytes, PoolId(1)), None);
        assert_eq!(Entry::decode(&[0; ENTRY], ID), None, "zeroed media hold no entry");
    }

    #[test]
    fn a_changed_or_torn_entry_is_none() {
        let bytes = entry().encode(ID);
        for bit in 0..ENTRY * 8 {
            let mut bad = bytes;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Entry::decode(&bad, ID), None, "bit {bit}");
        }
        let next = Entry { buffer: 9, sequence: Sequence(1), ..entry() }.encode(ID);
        for word in 1..4 {
            let mut torn = next;
            torn[..word * 8].copy_from_slice(&bytes[..word * 8]);
            assert_eq!(Entry::decode(&torn, ID), None, "{word} words of the new entry");
        }
    }

    #[test]
    fn flags_of_a_later_format_are_not_guessed_at() {
        let mut bytes = entry().encode(ID);
        bytes[20] |= 2;
        let sum = sum(&bytes, ID);
        bytes[28..].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(Entry::decode(&bytes, ID), None);
    }
}
