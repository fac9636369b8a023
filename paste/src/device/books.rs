//! Books: which buffer is where, as a kernel played in this process sees it.
//!
//! It refuses, with a sentence, what the kernel would answer with `EINVAL` or worse.

mod tx;

use std::{
    collections::VecDeque,
    io,
    mem::offset_of,
    sync::{Arc, atomic::Ordering},
};

use nix::errno::Errno;

pub(super) use tx::Take;

use crate::{
    abi::{self, NetmapIf, NetmapRing, NetmapSlot},
    device::{Granted, Wanted},
    error::{Error, Result},
    map::{Area, Lease, Mapping, PAGE, Words},
    slot::Event,
};

/// Where the RX ring lies behind the `netmap_if`, bytes; the TX ring is behind it.
const RX: usize = 128;

/// Payload, or an event, on its way into a slot.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) fd: i32,
    pub(super) offset: u8,
    pub(super) headers: u16,
    pub(super) payload: Vec<u8>,
    pub(super) event: Option<Event>,
}

impl Segment {
    /// Payload without headers.
    pub(super) fn payload(fd: i32, payload: Vec<u8>) -> Self {
        Self { fd, offset: 0, headers: 0, payload, event: None }
    }

    pub(super) fn event(fd: i32, event: Event) -> Self {
        Self { fd, offset: 0, headers: 66, payload: Vec::new(), event: Some(event) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Never,
    /// In an RX slot that is the kernel's.
    Slot,
    Nic,
    /// In the user's hands or in a slot that is the user's.
    User,
}

/// What the kernel remembers of a ring, whatever the user writes.
#[derive(Debug)]
struct Kring {
    /// Where the ring lies, bytes.
    at: usize,
    count: u32,
    head: u32,
    tail: u32,
}

impl Kring {
    fn next(&self, slot: u32) -> u32 {
        (slot + 1) % self.count
    }

    fn distance(&self, from: u32, to: u32) -> u32 {
        (to + self.count - from) % self.count
    }

    /// Slots that are the user's.
    fn window(&self) -> u32 {
        self.distance(self.head, self.tail)
    }

    /// Where slot `slot` lies in ring memory, bytes.
    fn slot_at(&self, slot: u32) -> usize {
        self.at + offset_of!(NetmapRing, slot) + slot as usize * size_of::<NetmapSlot>()
    }

    fn bytes(slots: u32) -> usize {
        let bytes = size_of::<NetmapRing>() + slots as usize * size_of::<NetmapSlot>();
        bytes.next_multiple_of(128)
    }
}

/// All buffers and both rings of a port.
#[derive(Debug)]
pub(super) struct Books {
    area: Arc<Area>,
    rings: Words,
    places: Vec<Place>,
    nic: VecDeque<u32>,
    rx: Kring,
    tx: Kring,
    /// The buffers of RX slots that are the kernel's.
    slots: Vec<u32>,
    /// TX slots behind one that waits which are done with.
    done: Vec<bool>,
    events: bool,
}

impl Books {
    pub(super) fn open(wanted: &Wanted<'_>, slots: u32) -> Result<(Self, Granted)> {
        let fail = |errno| refused("register", wanted.name, errno);
        if !wanted.name.starts_with("pst:") || wanted.reserve.first().is_some_and(|w| w & 3 != 0) {
            return Err(fail(Errno::EINVAL));
        }
        let count = |wanted| if wanted == 0 { slots } else { wanted };
        let (rx, tx) = (count(wanted.slots), count(wanted.tx_slots));
        let tx_at = RX + Kring::bytes(rx);
        let bytes = (tx_at + Kring::bytes(tx)).next_multiple_of(PAGE);
        let rings = Mapping::heap(bytes).map_err(Error::io("allocate", "the rings"))?;
        let kring = |at, count, tail| Kring { at, count, head: 0, tail };
        let mut books = Self {
            area: Arc::clone(wanted.area),
            rings: Words::new(rings),
            places: places(wanted),
            nic: VecDeque::new(),
            rx: kring(RX, rx, 0),
            tx: kring(tx_at, tx, tx - 1),
            slots: Vec::new(),
            done: vec![false; tx as usize],
            events: wanted.events,
        };
        let mut free: VecDeque<u32> = books.in_place(Place::Nic).collect();
        // The NIC needs as many buffers as the ring, or nothing could ever be swapped in.
        let [rx, tx] = [rx as usize, tx as usize];
        let least = 2 * rx + tx;
        if free.len() < least {
            return Err(fail(Errno::ENOMEM));
        }
        books.slots = free.drain(..rx).collect();
        let sending: Vec<u32> = free.drain(..tx).collect();
        let extra = (wanted.extra as usize).min(free.len() - rx);
        let extra: Vec<u32> = free.drain(..extra).collect();
        books.nic = free;
        books.write_netmap_if(&extra)?;
        books.write_rings(&sending);
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
        // Which of them a TX slot names does not matter to anybody.
        let in_slots = self.rx.window() + self.tx.count;
        self.in_place(Place::User).count() - in_slots as usize
    }

    pub(super) fn has_slots(&self) -> bool {
        self.load(self.rx.at + offset_of!(NetmapRing, cur)) != self.rx.tail
    }

    /// How many segments the next delivery can take.
    pub(super) fn room(&self) -> usize {
        (self.rx.count - 1 - self.rx.window()) as usize
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
        self.store(offset_of!(NetmapIf, ni_tx_rings), 1);
        self.store(offset_of!(NetmapIf, ni_rx_rings), 1);
        self.store(offset_of!(NetmapIf, ni_bufs_head), extra.first().copied().unwrap_or(0));
        let offsets = offset_of!(NetmapIf, ring_ofs);
        self.store64(offsets, self.tx.at as u64);
        self.store64(offsets + size_of::<u64>(), self.rx.at as u64);
        Ok(())
    }

    fn write_rings(&mut self, sending: &[u32]) {
        for (slot, index) in (0..).zip(&self.slots) {
            self.places[*index as usize] = Place::Slot;
            self.store64(self.rx.slot_at(slot), u64::from(*index));
        }
        for (slot, index) in (0..).zip(sending) {
            self.places[*index as usize] = Place::User;
            self.store64(self.tx.slot_at(slot), u64::from(*index));
        }
        let size = u32::try_from(self.area.size()).expect("2048 or 4096");
        for (dir, kring) in [(0, &self.tx), (1, &self.rx)] {
            self.store(kring.at + offset_of!(NetmapRing, num_slots), kring.count);
            self.store(kring.at + offset_of!(NetmapRing, nr_buf_size), size);
            self.store(kring.at + offset_of!(NetmapRing, dir) / 4 * 4, dir << 16);
            self.store(kring.at + offset_of!(NetmapRing, tail), kring.tail);
            self.store64(kring.at + offset_of!(NetmapRing, offset_mask), abi::PST_OFFSET_MASK);
        }
    }

    /// The user's `head` of a ring, if it may stand there.
    fn head(&self, kring: &Kring) -> Result<u32> {
        let head = self.load(kring.at + offset_of!(NetmapRing, head));
        let (first, last) = (kring.head, kring.tail);
        if head >= kring.count || kring.distance(first, head) > kring.window() {
            return Err(broken(format!("head {head} is outside {first}..={last}")));
        }
        Ok(head)
    }

    /// The user gave the slots before `head` back: every one must bring a buffer of the user's.
    pub(super) fn take_back(&mut self) -> Result<()> {
        let head = self.head(&self.rx)?;
        while self.rx.head != head {
            let slot = self.rx.head;
            let word = self.load64(self.rx.slot_at(slot));
            let index = u32::try_from(word & 0xffff_ffff).expect("masked");
            let place = self.place(index);
            if place != Place::User {
                return Err(broken(format!("slot {slot} brings buffer {index}: {place:?}")));
            }
            self.places[index as usize] = Place::Slot;
            self.slots[slot as usize] = index;
            self.rx.head = self.rx.next(slot);
        }
        Ok(())
    }

    fn place(&self, index: u32) -> Place {
        self.places.get(index as usize).copied().unwrap_or(Place::Never)
    }

    /// Swaps received buffers into the slots from `tail`; one slot stays empty.
    pub(super) fn deliver(&mut self, waiting: &mut VecDeque<Segment>) -> Result<()> {
        while self.room() != 0 {
            let Some(segment) = waiting.pop_front() else { break };
            if !self.events && matches!(segment.event, Some(Event::SendFailed(_))) {
                continue;
            }
            let index = self.nic.pop_front().expect("the NIC has as many buffers as the ring");
            let start = usize::from(segment.offset) + usize::from(segment.headers);
            self.lease(index)?.fill(start, &segment.payload);
            let (tail, slot) = (self.rx.tail, self.rx.tail as usize);
            self.nic.push_back(self.slots[slot]);
            self.places[self.slots[slot] as usize] = Place::Nic;
            self.places[index as usize] = Place::User;
            let (word, ptr) = encode(index, &segment, self.events);
            self.store64(self.rx.slot_at(tail), word);
            self.store64(self.rx.slot_at(tail) + offset_of!(NetmapSlot, ptr), ptr);
            self.rx.tail = self.rx.next(tail);
        }
        self.store(self.rx.at + offset_of!(NetmapRing, tail), self.rx.tail);
        Ok(())
    }

    /// A buffer that the books call the kernel's must not be held by the user.
    fn lease(&self, index: u32) -> Result<Lease> {
        let held = || broken(format!("the user holds buffer {index}, which the kernel owns"));
        self.area.lease(index).ok_or_else(held)
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
fn encode(index: u32, segment: &Segment, events: bool) -> (u64, u64) {
    let len = usize::from(segment.headers) + segment.payload.len();
    let fd = u64::from(segment.fd.cast_unsigned());
    let headers = u64::from(segment.headers) & abi::PST_DOFF_MASK;
    let ptr = u64::from(segment.offset) | fd << abi::PST_FD_SHIFT | headers << abi::PST_DOFF_SHIFT;
    let word = u64::from(index) | (len as u64 & 0xffff) << 32;
    let (code, errno) = match segment.event.filter(|_| events) {
        None => (0, 0),
        Some(Event::End) => (abi::PST_EVENT_END, 0),
        Some(Event::Reset(errno)) => (abi::PST_EVENT_RESET, errno),
        Some(Event::SendFailed(errno)) => (abi::PST_EVENT_SEND_FAILED, errno),
    };
    let errno = u64::from(errno.cast_unsigned()) & abi::PST_ERRNO_MASK;
    let flags = u64::from(code) << abi::PST_EVENT_SHIFT;
    (word | flags << 48, ptr | errno << abi::PST_ERRNO_SHIFT)
}

fn broken(reason: String) -> Error {
    Error::Ring { reason }
}

/// What the kernel would answer.
pub(super) fn refused(request: &'static str, what: &str, errno: Errno) -> Error {
    Error::Refused { request, what: what.into(), option: None, source: io::Error::from(errno) }
}
