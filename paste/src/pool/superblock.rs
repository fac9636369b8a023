//! Superblock: the first 128 bytes of a pool, which say what it is and where its parts lie.
//!
//! Little-endian; docs/log-format.md has the table. Its magic is written last, as one word, so a
//! pool whose creation was cut off does not exist.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use crate::{
    buf::{BufIndex, BufSize},
    log::entry::ENTRY,
    map::PAGE,
};

/// Bytes of the superblock; the rest of its page is zero.
pub(crate) const SUPERBLOCK: usize = 128;
/// The format that this library reads and writes.
pub(crate) const FORMAT: u32 = 1;
/// Where the log area starts: behind the superblock's page.
const LOG: u64 = PAGE as u64;
/// What tells that there is a pool: one word, so that it is there or not.
pub(crate) const MAGIC: [u8; 8] = *b"PASTEPL\0";
/// More cannot be numbered by a slot.
const MOST_BUFFERS: u64 = 1 << 31;
/// Huge pages: where buffers start in pools that can afford it.
const HUGE: u64 = 2 << 20;

/// A number that tells pools apart. Entries of another pool are never taken for this one's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PoolId(pub u64);

/// What lies where in a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// The pool's number.
    pub id: PoolId,
    /// Bytes of the pool.
    pub size: u64,
    /// Size of each buffer.
    pub buf_size: BufSize,
    /// Number of buffers, the two that are never lent included.
    pub buffers: u32,
    /// Where the log area starts, bytes.
    pub log_offset: u64,
    /// Entries that the log has room for.
    pub log_entries: u32,
    /// Where buffer 0 starts, bytes.
    pub buffers_offset: u64,
}

/// Why page 0 is not a superblock.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    Empty,
    Foreign,
    Version(u32),
    Corrupt(String),
}

impl Geometry {
    /// Lays out a pool of `size` bytes: log first, then as many buffers as fit.
    pub(crate) fn plan(
        id: PoolId,
        size: u64,
        buf_size: BufSize,
        log_entries: u32,
    ) -> Result<Self, String> {
        let log = log_bytes(log_entries);
        // Huge pages for the buffers, if that costs less than an eighth of the pool.
        let align = if size / 8 >= HUGE { HUGE } else { PAGE as u64 };
        let buffers_offset = (LOG + log).next_multiple_of(align);
        let room = size.saturating_sub(buffers_offset);
        let buffers = room / buf_size.bytes() as u64;
        // Whole pages of them: the kernel pins pages.
        let per_page = PAGE as u64 / buf_size.bytes() as u64;
        let buffers = buffers.min(MOST_BUFFERS) / per_page * per_page;
        let buffers = u32::try_from(buffers).expect("at most MOST_BUFFERS");
        if log_entries == 0 || buffers <= BufIndex::FIRST {
            return Err(format!(
                "{size} bytes, of which {log_entries} log entries leave room for {buffers} buffers"
            ));
        }
        let log_offset = LOG;
        Ok(Self { id, size, buf_size, buffers, log_offset, log_entries, buffers_offset })
    }

    pub(crate) fn encode(&self) -> [u8; SUPERBLOCK] {
        let mut bytes = [0; SUPERBLOCK];
        let buf_size = u32::try_from(self.buf_size.bytes()).expect("2048 or 4096");
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.id.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.size.to_le_bytes());
        bytes[32..36].copy_from_slice(&buf_size.to_le_bytes());
        bytes[36..40].copy_from_slice(&self.buffers.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.log_offset.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.log_entries.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.buffers_offset.to_le_bytes());
        let sum = xxh3_64(&bytes[..SUPERBLOCK - 8]);
        bytes[SUPERBLOCK - 8..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads page 0 of a file or device of `size` bytes.
    pub(crate) fn decode(page: &[u8; PAGE], size: u64) -> Result<Self, Flaw> {
        let long = |at: usize| u64::from_le_bytes(page[at..at + 8].try_into().expect("eight"));
        let short = |at: usize| u32::from_le_bytes(page[at..at + 4].try_into().expect("four"));
        if is_nothing(page) {
            return Err(Flaw::Empty);
        }
        if page[..8] != MAGIC {
            return Err(Flaw::Foreign);
        }
        if short(8) != FORMAT {
            return Err(Flaw::Version(short(8)));
        }
        if long(SUPERBLOCK - 8) != xxh3_64(&page[..SUPERBLOCK - 8]) {
            return Err(Flaw::Corrupt("the superblock's checksum does not fit".into()));
        }
        let Some(buf_size) = BufSize::from_bytes(u64::from(short(32))) else {
            return Err(Flaw::Corrupt(format!("buffers of {} bytes", short(32))));
        };
        let geometry = Self {
            id: PoolId(long(16)),
            size: long(24),
            buf_size,
            buffers: short(36),
            log_offset: long(40),
            log_entries: short(48),
            buffers_offset: long(56),
        };
        geometry.fits(size).map_err(Flaw::Corrupt).map(|()| geometry)
    }

    /// The parts lie one behind the other inside the pool, and the pool inside `size` bytes.
    fn fits(&self, size: u64) -> Result<(), String> {
        if self.size > size {
            return Err(format!("a pool of {} bytes in {size} bytes", self.size));
        }
        let log_end = self.log_offset.checked_add(log_bytes(self.log_entries));
        let bytes = u64::from(self.buffers) * self.buf_size.bytes() as u64;
        let end = self.buffers_offset.checked_add(bytes);
        let ordered = self.log_offset == LOG
            && log_end.is_some_and(|end| end <= self.buffers_offset)
            && self.buffers_offset.is_multiple_of(PAGE as u64)
            && end.is_some_and(|end| end <= self.size);
        if ordered && self.log_entries > 0 && self.buffers > BufIndex::FIRST {
            return Ok(());
        }
        Err(format!("parts that overlap or do not fit: {self:?}"))
    }

    /// Where log entry `position` lies, bytes.
    pub(crate) fn entry_offset(&self, position: usize) -> usize {
        self.header_offset() + PAGE + position * ENTRY
    }

    /// Where buffer `index` starts, bytes.
    pub(crate) fn buffer_offset(&self, index: u32) -> usize {
        let start = usize::try_from(self.buffers_offset).expect("a mapped pool");
        start + index as usize * self.buf_size.bytes()
    }

    /// Where the log's header lies, bytes.
    pub(crate) fn header_offset(&self) -> usize {
        usize::try_from(self.log_offset).expect("a mapped pool")
    }
}

/// Zeros, or a superblock that is not finished: without its magic, and nothing where a superblock
/// has nothing.
fn is_nothing(page: &[u8; PAGE]) -> bool {
    let zero = |range: Range<usize>| page[range].iter().all(|byte| *byte == 0);
    let format = u32::from_le_bytes([page[8], page[9], page[10], page[11]]);
    let gaps = [0..MAGIC.len(), 12..16, 52..56, 64..SUPERBLOCK - 8, SUPERBLOCK..PAGE];
    format <= FORMAT && gaps.into_iter().all(zero)
}

/// A header page and whole pages of entries.
fn log_bytes(entries: u32) -> u64 {
    let page = PAGE as u64;
    page + (u64::from(entries) * ENTRY as u64).next_multiple_of(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(geometry: &Geometry) -> [u8; PAGE] {
        let mut page = [0; PAGE];
        page[..SUPERBLOCK].copy_from_slice(&geometry.encode());
        page
    }

    fn plan(size: u64) -> Geometry {
        Geometry::plan(PoolId(7), size, BufSize::B2048, 1024).unwrap()
    }

    #[test]
    fn a_superblock_reads_back() {
        for size in [1 << 20, 64 << 20, 6 << 30] {
            let geometry = plan(size);
            assert_eq!(Geometry::decode(&page(&geometry), size), Ok(geometry));
        }
        assert_eq!(plan(64 << 20).buffers_offset, HUGE);
        assert_eq!(plan(1 << 20).buffers_offset, 4096 + 4096 + 32768);
    }

    #[test]
    fn what_is_no_superblock_is_told_apart() {
        let geometry = plan(1 << 20);
        let good = page(&geometry);
        let decode = |page| Geometry::decode(&page, 1 << 20).unwrap_err();
        assert_eq!(decode([0; PAGE]), Flaw::Empty);
        assert_eq!(decode([b'x'; PAGE]), Flaw::Foreign);
        let mut unfinished = good;
        unfinished[..MAGIC.len()].fill(0);
        assert_eq!(decode(unfinished), Flaw::Empty);
        unfinished[16..40].fill(0);
        assert_eq!(decode(unfinished), Flaw::Empty);
        for at in [0, 11, 12, 100, SUPERBLOCK, PAGE - 1] {
            let mut foreign = unfinished;
            foreign[at] = 1;
            assert_eq!(decode(foreign), Flaw::Foreign, "byte {at}");
        }
        let mut newer = good;
        newer[8] = 2;
        assert_eq!(decode(newer), Flaw::Version(2));
        let short = Geometry::decode(&good, (1 << 20) - 1);
        assert!(matches!(short, Err(Flaw::Corrupt(_))));
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let good = page(&plan(1 << 20));
        for bit in 0..SUPERBLOCK * 8 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Geometry::decode(&bad, 1 << 20).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_checksum_over_nonsense_is_not_enough() {
        let nonsense = Geometry { buffers_offset: 4096, ..plan(1 << 20) };
        assert!(Geometry::decode(&page(&nonsense), 1 << 20).is_err(), "buffers over the log");
        let nonsense = Geometry { buffers: u32::MAX, ..plan(1 << 20) };
        assert!(Geometry::decode(&page(&nonsense), 1 << 20).is_err(), "buffers past the end");
        let nonsense = Geometry { buffers_offset: u64::MAX - 4095, ..plan(1 << 20) };
        assert!(Geometry::decode(&page(&nonsense), 1 << 20).is_err(), "overflow");
    }

    #[test]
    fn a_pool_needs_room() {
        assert!(Geometry::plan(PoolId(1), 8192, BufSize::B2048, 16).is_err());
        assert!(Geometry::plan(PoolId(1), 1 << 20, BufSize::B2048, 0).is_err());
        assert!(Geometry::plan(PoolId(1), 12288 + 5 * 2048, BufSize::B2048, 16).is_ok());
    }
}
