//! Books: which buffer is where, as the kernel of a loopback sees it.

use std::{
    collections::VecDeque,
    mem::offset_of,
    sync::{Arc, atomic::Ordering},
};

use nix::errno::Errno;

use super::refused;
use crate::{
    abi::{self, NetmapIf, NetmapRing, NetmapSlot},
    device::{Granted, Wanted},
    error::{Error, Result},
    map::{Area, Lease, Mapping, PAGE, Words},
};

/// Where the ring lies behind the `netmap_if`, bytes.
const RING: usize = 128;

/// Payload on its way into a slot.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) fd: i32,
    pub(super) offset: u8,
    pub(super) headers: u16,
    pub(super) payload: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Never,
    Slot,
    Nic,
    User,
}

/// The kring: what the kernel remembers, whatever the user writes.
#[derive(Debug)]
pub(super) struct Books {
    area: Arc<Area>,
    rings: Words,
    places: Vec<Place>,
    nic: VecDeque<u32>,
    slots: Vec<u32>,
    head: u32,
    tail: u32,
}

impl Books {
    pub(super) fn open(wanted: &Wanted<'_>, slots: u32) -> Result<(Self, Granted)> {
        let fail = |errno| refused("register", wanted.name, errno);
        if !wanted.name.starts_with("pst:") || wanted.reserve.first().is_some_and(|w| w & 3 != 0) {
            return Err(fail(Errno::EINVAL));
        }
        let count = if wanted.slots == 0 { slots } else { wanted.slots };
        let bytes = (RING + size_of::<NetmapRing>() + count as usize * size_of::<NetmapSlot>())
            .next_multiple_of(PAGE);
        let rings = Mapping::heap(bytes).map_err(Error::io("allocate", "the rings"))?;
        let mut books = Self {
            area: Arc::clone(wanted.area),
            rings: Words::new(rings),
            places: places(wanted),
            nic: VecDeque::new(),
            slots: Vec::new(),
            head: 0,
            tail: 0,
        };
        let mut free: VecDeque<u32> = books.in_place(Place::Nic).collect();
        // The NIC needs as many buffers as the ring, or nothing could ever be swapped in.
        if free.len() < 2 * count as usize {
            return Err(fail(Errno::ENOMEM));
        }
        books.slots = free.drain(..count as usize).collect();
        let extra = (wanted.extra as usize).min(free.len() - count as usize);
        let extra: Vec<u32> = free.drain(..extra).collect();
        books.nic = free;
        books.write_netmap_if(&extra)?;
        books.write_ring();
        let granted = u32::try_from(extra.len()).expect("at most what was wanted");
        let rings = books.rings.clone();
        Ok((books, Granted { rings, netmap_if: 0, extra: granted }))
    }

    fn in_place(&self, place: Place) -> impl Iterator<Item = u32> + '_ {
        (0..).zip(&self.places).filter(move |(_, at)| **at == place).map(|(index, _)| index)
    }

    pub(super) fn ring_bytes(&self) -> usize {
        self.rings.len()
    }

    pub(super) fn user_buffers(&self) -> usize {
        self.in_place(Place::User).count()
    }

    pub(super) fn has_slots(&self) -> bool {
        self.load(RING + offset_of!(NetmapRing, cur)) != self.tail
    }

    pub(super) fn scribble(&self, offset: usize, value: u32) {
        self.store(offset, value);
    }

    fn write_netmap_if(&mut self, extra: &[u32]) -> Result<()> {
        let next = extra.iter().skip(1).copied().chain([0]);
        for (index, next) in extra.iter().zip(next) {
            self.places[(*index) as usize] = Place::User;
            self.lease(*index)?.fill(0, &next.to_ne_bytes());
        }
        self.store(offset_of!(NetmapIf, ni_version), u32::from(abi::NETMAP_API));
        self.store(offset_of!(NetmapIf, ni_rx_rings), 1);
        self.store(offset_of!(NetmapIf, ni_bufs_head), extra.first().copied().unwrap_or(0));
        self.store64(offset_of!(NetmapIf, ring_ofs), RING as u64);
        Ok(())
    }

    fn write_ring(&mut self) {
        for (slot, index) in (0..).zip(self.slots.clone()) {
            self.places[index as usize] = Place::Slot;
            self.store64(slot_at(slot), u64::from(index));
        }
        let size = u32::try_from(self.area.size()).expect("2048 or 4096");
        self.store(RING + offset_of!(NetmapRing, num_slots), self.count());
        self.store(RING + offset_of!(NetmapRing, nr_buf_size), size);
        self.store(RING + offset_of!(NetmapRing, dir) / 4 * 4, 1 << 16);
        self.store64(RING + offset_of!(NetmapRing, offset_mask), abi::PST_OFFSET_MASK);
    }

    /// The user gave the slots before `head` back: every one must bring a buffer of its own.
    pub(super) fn take_back(&mut self) -> Result<()> {
        let head = self.load(RING + offset_of!(NetmapRing, head));
        if head >= self.count()
            || self.distance(self.head, head) > self.distance(self.head, self.tail)
        {
            return Err(broken(format!("head {head} is outside {}..={}", self.head, self.tail)));
        }
        while self.head != head {
            let word = self.load64(slot_at(self.head));
            self.take_back_slot(word)?;
            self.store64(slot_at(self.head), u64::from(self.slots[self.head as usize]));
            self.head = (self.head + 1) % self.count();
        }
        Ok(())
    }

    fn take_back_slot(&mut self, word: u64) -> Result<()> {
        let before = self.slots[self.head as usize];
        let now = u32::try_from(word & 0xffff_ffff).expect("masked");
        if now == before {
            return Ok(());
        }
        let at = self.places.get(now as usize).copied().unwrap_or(Place::Never);
        if at != Place::User || (word >> 48) & u64::from(abi::NS_BUF_CHANGED) == 0 {
            return Err(broken(format!("slot {} brings buffer {now}: {at:?}", self.head)));
        }
        self.places[before as usize] = Place::User;
        self.places[now as usize] = Place::Slot;
        self.slots[self.head as usize] = now;
        Ok(())
    }

    /// Swaps received buffers into the slots from `tail`; one slot stays empty.
    pub(super) fn deliver(&mut self, waiting: &mut VecDeque<Segment>) -> Result<()> {
        while (self.tail + 1) % self.count() != self.head {
            let Some(segment) = waiting.pop_front() else { break };
            let index = self.nic.pop_front().expect("the NIC has as many buffers as the ring");
            let start = usize::from(segment.offset) + usize::from(segment.headers);
            self.lease(index)?.fill(start, &segment.payload);
            let slot = self.tail as usize;
            self.nic.push_back(self.slots[slot]);
            self.places[self.slots[slot] as usize] = Place::Nic;
            self.places[index as usize] = Place::Slot;
            self.slots[slot] = index;
            let (word, ptr) = encode(index, &segment);
            self.store64(slot_at(self.tail), word);
            self.store64(slot_at(self.tail) + offset_of!(NetmapSlot, ptr), ptr);
            self.tail = (self.tail + 1) % self.count();
        }
        self.store(RING + offset_of!(NetmapRing, tail), self.tail);
        Ok(())
    }

    /// A buffer that the books call the kernel's must not be held by the user.
    fn lease(&self, index: u32) -> Result<Lease> {
        let held = || broken(format!("the user holds buffer {index}, which the kernel owns"));
        self.area.lease(index).ok_or_else(held)
    }

    fn count(&self) -> u32 {
        u32::try_from(self.slots.len()).expect("a ring's slots")
    }

    fn distance(&self, from: u32, to: u32) -> u32 {
        (to + self.count() - from) % self.count()
    }

    fn load(&self, offset: usize) -> u32 {
        self.rings.word32(offset).expect("a word of the rings").load(Ordering::Acquire)
    }

    fn load64(&self, offset: usize) -> u64 {
        self.rings.word64(offset).expect("a word of the rings").load(Ordering::Acquire)
    }

    fn store(&self, offset: usize, value: u32) {
        self.rings.word32(offset).expect("a word of the rings").store(value, Ordering::Release);
    }

    fn store64(&self, offset: usize, value: u64) {
        self.rings.word64(offset).expect("a word of the rings").store(value, Ordering::Release);
    }
}

/// Everything that is neither lent never nor reserved starts with the NIC.
fn places(wanted: &Wanted<'_>) -> Vec<Place> {
    let place = |index: u32| {
        let word = wanted.reserve.get((index / 64) as usize).copied().unwrap_or(0);
        match (index, word >> (index % 64) & 1) {
            (0 | 1, _) => Place::Never,
            (_, 1) => Place::User,
            _ => Place::Nic,
        }
    };
    (0..wanted.area.count()).map(place).collect()
}

/// The two words of a slot; `len` counts from the netmap offset.
fn encode(index: u32, segment: &Segment) -> (u64, u64) {
    let len = usize::from(segment.headers) + segment.payload.len();
    let fd = u64::from(segment.fd.cast_unsigned());
    let headers = u64::from(segment.headers) & abi::PST_DOFF_MASK;
    let ptr = u64::from(segment.offset) | fd << abi::PST_FD_SHIFT | headers << abi::PST_DOFF_SHIFT;
    (u64::from(index) | (len as u64 & 0xffff) << 32, ptr)
}

/// Where slot `slot` lies in ring memory, bytes.
fn slot_at(slot: u32) -> usize {
    RING + offset_of!(NetmapRing, slot) + slot as usize * size_of::<NetmapSlot>()
}

fn broken(reason: String) -> Error {
    Error::Ring { reason }
}
