//! Ring: the driver's side of a split virtqueue.

use std::sync::atomic::{AtomicU16, Ordering, fence};
use std::time::{Duration, Instant};

use std::os::fd::AsRawFd;

use vm_memory::{Bytes, VolatileMemory};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::{BUFFERS, EVENT_IDX, INDIRECT, MRG_RXBUF, Memory, RINGS, SOON, VERSION_1};

pub const NEXT: u16 = 1;
pub const WRITE: u16 = 2;
pub const TABLE: u16 = 4;

/// How a driver lays header and frame out in descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One descriptor for both.
    Joined,
    /// A descriptor for the header, one for the frame.
    Split,
    /// Six descriptors with odd lengths; the header spans two, and one mixes header and frame.
    Odd,
    /// As `Odd`, through an indirect table.
    Indirect,
    /// One descriptor of 256 bytes: a frame needs several chains.
    Small,
}

/// Room for a header and a frame in each slot.
const SLOT: usize = 2048;
/// Descriptors per slot.
const STRIDE: u16 = 8;
pub const SLOTS: u16 = 32;

/// One virtqueue.
pub struct Ring {
    pub index: usize,
    pub size: u16,
    pub descriptors: u64,
    pub available: u64,
    pub used: u64,
    pub kick: EventFd,
    pub call: EventFd,
    calls: Epoll,
    pub rings: Memory,
    pub buffers: Memory,
    layout: Layout,
    header: usize,
    mergeable: bool,
    event_idx: bool,
    next_avail: u16,
    next_used: u16,
    /// Slots that the backend does not hold.
    free: Vec<u16>,
    pub kicks: usize,
}

impl Ring {
    pub fn new(
        rings: &Memory,
        buffers: &Memory,
        index: usize,
        features: u64,
        layout: Layout,
    ) -> Self {
        let base = RINGS + 0x10000 * index as u64;
        assert!(layout != Layout::Indirect || features & INDIRECT != 0);
        let event = || EventFd::new(EFD_NONBLOCK).unwrap();
        let (kick, call) = (event(), event());
        let calls = Epoll::new().unwrap();
        let readable = EpollEvent::new(EventSet::IN, 0);
        calls.ctl(ControlOperation::Add, call.as_raw_fd(), readable).unwrap();
        let mut ring = Self {
            index,
            size: SLOTS * STRIDE,
            descriptors: base,
            available: base + 0x4000,
            used: base + 0x8000,
            kick,
            call,
            calls,
            rings: rings.clone(),
            buffers: buffers.clone(),
            layout,
            header: if features & (VERSION_1 | MRG_RXBUF) == 0 { 10 } else { 12 },
            mergeable: features & MRG_RXBUF != 0,
            event_idx: features & EVENT_IDX != 0,
            next_avail: 0,
            next_used: 0,
            free: (0..SLOTS).rev().collect(),
            kicks: 0,
        };
        rings.slice(base, 0x10000).copy_from(&vec![0_u8; 0x10000]);
        if index == 0 {
            ring.refill();
        }
        ring
    }

    fn word(&self, guest: u64) -> u16 {
        let slice = self.rings.slice(guest, 2);
        slice.get_atomic_ref::<AtomicU16>(0).unwrap().load(Ordering::Acquire)
    }

    fn set_word(&self, guest: u64, value: u16) {
        let slice = self.rings.slice(guest, 2);
        slice.get_atomic_ref::<AtomicU16>(0).unwrap().store(value, Ordering::Release);
    }

    pub fn describe(&self, table: u64, at: u16, (guest, len, flags, next): (u64, u32, u16, u16)) {
        let mut raw = [0; 16];
        raw[..8].copy_from_slice(&guest.to_le_bytes());
        raw[8..12].copy_from_slice(&len.to_le_bytes());
        raw[12..14].copy_from_slice(&flags.to_le_bytes());
        raw[14..].copy_from_slice(&next.to_le_bytes());
        let at = table + u64::from(at) * 16;
        let memory = if at >= BUFFERS { &self.buffers } else { &self.rings };
        memory.slice(at, 16).write_slice(&raw, 0).unwrap();
    }

    pub fn buffer(&self, slot: u16) -> u64 {
        BUFFERS + 0x10_0000 * self.index as u64 + u64::from(slot) * (SLOT as u64 * 2) + 0x10
    }

    /// Describes the first `len` bytes of a slot; returns the chain's head.
    fn lay_out(&self, slot: u16, len: usize) -> u16 {
        let header = self.header;
        let cuts: Vec<usize> = match self.layout {
            Layout::Joined => vec![len],
            Layout::Small => vec![len.min(256)],
            Layout::Split => vec![header, len],
            Layout::Odd | Layout::Indirect => {
                vec![5, header + 3, header + 14, header + 25, 60, len]
            }
        };
        let head = slot * STRIDE;
        let write = if self.index == 0 { WRITE } else { 0 };
        let (table, first) = match self.layout {
            Layout::Indirect => (self.buffer(slot) + SLOT as u64, 0),
            _ => (self.descriptors, head),
        };
        let (mut from, mut at) = (0, first);
        let cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= len).collect();
        for cut in &cuts {
            let flags = write | if *cut == len || cuts.last() == Some(cut) { 0 } else { NEXT };
            let piece = u32::try_from(cut - from).unwrap();
            self.describe(table, at, (self.buffer(slot) + from as u64, piece, flags, at + 1));
            (from, at) = (*cut, at + 1);
        }
        if self.layout == Layout::Indirect {
            let len = u32::from(at) * 16;
            self.describe(self.descriptors, head, (table, len, TABLE, 0));
        }
        head
    }

    /// Makes a chain available without telling the backend.
    pub fn offer(&mut self, head: u16) {
        let slot = u64::from(self.next_avail % self.size);
        self.set_word(self.available + 4 + slot * 2, head);
        self.next_avail = self.next_avail.wrapping_add(1);
        self.set_word(self.available + 2, self.next_avail);
    }

    /// Kicks if the backend wants to know of chains since `old`.
    pub fn notify(&mut self, old: u16) {
        fence(Ordering::SeqCst);
        let new = self.next_avail;
        let wanted = if self.event_idx {
            let event = self.word(self.used + 4 + u64::from(self.size) * 8);
            new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
        } else {
            self.word(self.used) & 1 == 0
        };
        if wanted {
            self.kicks += 1;
            self.kick.write(1).unwrap();
        }
    }

    pub fn next_avail(&self) -> u16 {
        self.next_avail
    }

    /// Claims that the available index is something else.
    pub fn forge_index(&mut self, index: u16) {
        self.next_avail = index;
        self.set_word(self.available + 2, index);
        self.kick.write(1).unwrap();
    }

    /// Gives all free receive slots to the backend.
    pub fn refill(&mut self) {
        let old = self.next_avail;
        while let Some(slot) = self.free.pop() {
            let head = self.lay_out(slot, SLOT);
            self.offer(head);
        }
        if self.next_avail != old {
            self.notify(old);
        }
    }

    /// Offers a frame, with an empty header, and kicks if wanted.
    pub fn send(&mut self, frame: &[u8]) {
        self.send_with(&[0; 12], frame);
    }

    pub fn send_with(&mut self, header: &[u8; 12], frame: &[u8]) {
        let slot = self.free.pop().expect("a free transmit slot");
        let old = self.next_avail;
        let whole = [&header[..self.header], frame].concat();
        self.buffers.slice(self.buffer(slot), whole.len()).copy_from(&whole);
        let head = self.lay_out(slot, whole.len());
        self.offer(head);
        self.notify(old);
    }

    pub fn can_send(&mut self) -> bool {
        while self.used().is_some() {}
        !self.free.is_empty()
    }

    /// The next used element, if there is one.
    pub fn used(&mut self) -> Option<(u16, u32)> {
        if self.word(self.used + 2) == self.next_used {
            return None;
        }
        let slot = u64::from(self.next_used % self.size);
        let mut raw = [0; 8];
        self.rings.slice(self.used + 4 + slot * 8, 8).copy_to(&mut raw[..]);
        self.next_used = self.next_used.wrapping_add(1);
        let head = u16::from_le_bytes([raw[0], raw[1]]);
        self.free.push(head / STRIDE);
        Some((head, u32::from_le_bytes([raw[4], raw[5], raw[6], raw[7]])))
    }

    /// Waits for the next used element; None when the backend did not signal in time.
    pub fn wait_used_within(&mut self, within: Duration) -> Option<(u16, u32)> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(used) = self.used() {
                return Some(used);
            }
            if self.event_idx {
                let event = self.available + 4 + u64::from(self.size) * 2;
                self.set_word(event, self.next_used);
                fence(Ordering::SeqCst);
                if self.word(self.used + 2) != self.next_used {
                    continue;
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.wait_call(left);
        }
    }

    pub fn wait_call(&self, within: Duration) {
        let millis = i32::try_from(within.as_millis()).unwrap().max(1);
        self.calls.wait(millis, &mut [EpollEvent::default()]).unwrap();
        let _ = self.call.read();
    }

    pub fn wait_used(&mut self) -> (u16, u32) {
        self.wait_used_within(SOON).expect("the backend uses a chain and signals it")
    }

    /// The next frame, put together from as many chains as it takes; refills.
    pub fn receive(&mut self, within: Duration) -> Option<Vec<u8>> {
        let (head, len) = self.wait_used_within(within)?;
        let mut whole = self.written(head, len);
        if whole.len() < self.header {
            self.refill();
            return Some(Vec::new());
        }
        let chains = if self.mergeable { u16::from_le_bytes([whole[10], whole[11]]) } else { 1 };
        for _ in 1..chains {
            // Published together, or a mergeable frame would be seen half done.
            let (head, len) = self.used().expect("all chains of a frame come at once");
            whole.extend(self.written(head, len));
        }
        if self.header == 12 && !self.mergeable {
            assert_eq!(&whole[10..12], &[1, 0], "num_buffers without MRG_RXBUF");
        }
        self.refill();
        Some(whole.split_off(self.header))
    }

    fn written(&self, head: u16, len: u32) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(len).unwrap()];
        let guest = self.buffer(head / STRIDE);
        self.buffers.slice(guest, bytes.len()).copy_to(&mut bytes[..]);
        bytes
    }
}
