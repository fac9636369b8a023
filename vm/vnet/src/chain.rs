//! Descriptor chain: one guest buffer list, walked and checked.
//!
//! Everything in a descriptor is an allegation of the guest. A walk visits each table entry at most
//! once, resolves every address before it is used, and accepts one direction only, because a net
//! virtqueue moves data one way: readable buffers for transmission, writable ones for reception.

use vm_memory::{Bytes, VolatileSlice};

use crate::memory::{MemTable, Piece};

/// Size of a descriptor, virtio 1.2 section 2.7.5.
pub(crate) const DESCRIPTOR_SIZE: usize = 16;
/// Longest chain taken: more than any driver makes, little enough to bound a hostile one.
const CHAIN_MAX: usize = 1024;
/// Most bytes in one chain: a header and the largest frame of 64 KiB with room to spare.
const BYTES_MAX: u64 = 1 << 20;

const FLAG_NEXT: u16 = 1;
const FLAG_WRITE: u16 = 2;
const FLAG_INDIRECT: u16 = 4;

/// Which way the buffers of a virtqueue go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// The backend reads them: the guest transmits.
    Read,
    /// The backend writes them: the guest receives.
    Write,
}

/// Why a chain was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadChain {
    /// Longer than its table (a loop) or than [`CHAIN_MAX`], or too many bytes.
    TooLong,
    /// An index or address outside table or memory.
    OutOfRange,
    /// A buffer of no bytes.
    ZeroLength,
    /// A writable buffer where the backend reads, or the reverse.
    WrongDirection,
    /// An indirect table that is nested, odd-sized, or not negotiated.
    Indirect,
}

struct Descriptor {
    guest: u64,
    len: u32,
    flags: u16,
    next: u16,
}

impl Descriptor {
    fn parse(raw: [u8; DESCRIPTOR_SIZE]) -> Self {
        let [a0, a1, a2, a3, a4, a5, a6, a7, l0, l1, l2, l3, f0, f1, n0, n1] = raw;
        Self {
            guest: u64::from_le_bytes([a0, a1, a2, a3, a4, a5, a6, a7]),
            len: u32::from_le_bytes([l0, l1, l2, l3]),
            flags: u16::from_le_bytes([f0, f1]),
            next: u16::from_le_bytes([n0, n1]),
        }
    }
}

/// Where descriptors come from: the ring's own table or an indirect one in guest memory.
enum Table<'a> {
    Ring(VolatileSlice<'a, ()>),
    Indirect { guest: u64, count: u32 },
}

impl Table<'_> {
    fn count(&self) -> usize {
        match self {
            Table::Ring(slice) => slice.len() / DESCRIPTOR_SIZE,
            Table::Indirect { count, .. } => *count as usize,
        }
    }

    fn read(&self, mem: &MemTable, index: u16) -> Result<Descriptor, BadChain> {
        let index = usize::from(index);
        if index >= self.count() {
            return Err(BadChain::OutOfRange);
        }
        let mut raw = [0; DESCRIPTOR_SIZE];
        let at = index * DESCRIPTOR_SIZE;
        let whole = match self {
            Table::Ring(slice) => slice.read_slice(&mut raw, at).is_ok(),
            Table::Indirect { guest, .. } => {
                guest.checked_add(at as u64).is_some_and(|guest| mem.read(guest, &mut raw))
            }
        };
        if whole { Ok(Descriptor::parse(raw)) } else { Err(BadChain::OutOfRange) }
    }
}

/// What a walk may find.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) access: Access,
    /// Whether the driver negotiated indirect descriptors.
    pub(crate) indirect: bool,
}

/// Walks the chain that starts at `head` of the ring's descriptor `table`; appends its pieces.
/// After an error `pieces` is as it was.
pub(crate) fn walk(
    mem: &MemTable,
    table: VolatileSlice<'_, ()>,
    head: u16,
    rules: Rules,
    pieces: &mut Vec<Piece>,
) -> Result<(), BadChain> {
    let mark = pieces.len();
    let walked = walk_table(mem, &Table::Ring(table), head, rules, pieces);
    if walked.is_err() {
        pieces.truncate(mark);
    }
    walked
}

fn walk_table(
    mem: &MemTable,
    table: &Table<'_>,
    head: u16,
    rules: Rules,
    pieces: &mut Vec<Piece>,
) -> Result<(), BadChain> {
    let (mut index, mut bytes) = (head, 0);
    for _ in 0..table.count().min(CHAIN_MAX) {
        let descriptor = table.read(mem, index)?;
        if descriptor.flags & FLAG_INDIRECT != 0 {
            // An indirect table replaces the rest of the chain; Linux never mixes the two, and
            // a chain that goes on behind it is refused below.
            return walk_indirect(mem, table, &descriptor, rules, pieces);
        }
        let writable = descriptor.flags & FLAG_WRITE != 0;
        if writable != (rules.access == Access::Write) {
            return Err(BadChain::WrongDirection);
        }
        if descriptor.len == 0 {
            return Err(BadChain::ZeroLength);
        }
        bytes += u64::from(descriptor.len);
        if bytes > BYTES_MAX {
            return Err(BadChain::TooLong);
        }
        if !mem.resolve(descriptor.guest, descriptor.len, pieces) {
            return Err(BadChain::OutOfRange);
        }
        if descriptor.flags & FLAG_NEXT == 0 {
            return Ok(());
        }
        index = descriptor.next;
    }
    Err(BadChain::TooLong)
}

fn walk_indirect(
    mem: &MemTable,
    from: &Table<'_>,
    descriptor: &Descriptor,
    rules: Rules,
    pieces: &mut Vec<Piece>,
) -> Result<(), BadChain> {
    let nested = matches!(from, Table::Indirect { .. });
    let odd = descriptor.len == 0 || !(descriptor.len as usize).is_multiple_of(DESCRIPTOR_SIZE);
    if !rules.indirect || nested || odd || descriptor.flags & FLAG_NEXT != 0 {
        return Err(BadChain::Indirect);
    }
    let count = descriptor.len / u32::try_from(DESCRIPTOR_SIZE).expect("16 fits");
    walk_table(mem, &Table::Indirect { guest: descriptor.guest, count }, 0, rules, pieces)
}
