//! Vring: a split virtqueue seen from the backend.
//!
//! The driver owns descriptor table and available ring, the backend the used ring. Chains are taken
//! in order and given back in order, so the used index alone says where to go on after a reconnect.
//! Used elements are written as chains are finished, but published by one store per batch: a frame
//! that is spread over several mergeable buffers becomes visible whole.
//!
//! A chain that breaks the rules is given back unused. An available index or head that cannot be
//! marks the whole ring as broken until the driver sets it up anew.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering, fence};

use vm_memory::{VolatileMemory, VolatileSlice};

use crate::chain::{self, BadChain, DESCRIPTOR_SIZE, Rules};
use crate::memory::{MemRegion, MemTable, Piece};

/// Largest split virtqueue, virtio 1.2 section 2.7.
const SIZE_MAX: u32 = 32768;
const AVAIL_NO_INTERRUPT: u16 = 1;
const USED_NO_NOTIFY: u16 = 1;

/// Where the frontend says the three areas are (its own addresses).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) descriptor: u64,
    pub(crate) available: u64,
    pub(crate) used: u64,
}

/// One area of a ring in guest memory.
#[derive(Debug)]
struct Area {
    region: Arc<MemRegion>,
    at: usize,
    len: usize,
}

impl Area {
    fn resolve(mem: &MemTable, user: u64, len: usize, align: u64) -> Option<Self> {
        let aligned = user.is_multiple_of(align);
        let (region, at) = mem.by_user(user, len).filter(|_| aligned)?;
        Some(Self { region, at, len })
    }

    fn slice(&self) -> VolatileSlice<'_, ()> {
        self.region.slice(self.at, self.len).expect("an area was resolved with its length")
    }

    fn load(&self, at: usize, order: Ordering) -> u16 {
        let slice = self.slice();
        let word = slice.get_atomic_ref::<AtomicU16>(at);
        u16::from_le(word.expect("offset is even and within the area").load(order))
    }

    fn store(&self, at: usize, value: u16, order: Ordering) {
        debug_assert!(at + 2 <= self.len, "a word lies within its area");
        self.region.store(self.at + at, value, order);
    }

    fn write(&self, at: usize, bytes: &[u8]) {
        debug_assert!(at + bytes.len() <= self.len, "bytes lie within their area");
        self.region.write(self.at + at, &[bytes]);
    }
}

#[derive(Debug)]
struct Areas {
    descriptors: Area,
    available: Area,
    used: Area,
}

/// What `Vring::pop` found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Popped {
    /// A chain; its pieces were appended. The head names it in `push`.
    Chain(u16),
    /// A chain that was dropped and given back.
    Bad(BadChain),
    /// Nothing available, or not running.
    Empty,
    /// The ring has just become unusable, until it is set up anew.
    Broken,
}

/// A virtqueue with its two event descriptors.
#[expect(clippy::struct_excessive_bools, reason = "four independent facts, no state machine")]
#[derive(Debug, Default)]
pub(crate) struct Vring {
    size: u16,
    addresses: Option<Addresses>,
    areas: Option<Areas>,
    pub(crate) enabled: bool,
    kick: Option<File>,
    call: Option<File>,
    event_idx: bool,
    broken: bool,
    /// Next entry of the available ring to take.
    next_avail: u16,
    /// Where the available ring ended when a chain was last missed.
    dry_at: u16,
    /// Next element of the used ring to write.
    next_used: u16,
    /// Used index the driver knows.
    published: u16,
    /// The driver has to be signalled whatever the suppression says: it may have missed a call
    /// while no call descriptor was set.
    owes_call: bool,
}

impl Vring {
    /// Sets the number of entries; false when it is not a power of two in range.
    pub(crate) fn set_size(&mut self, size: u32) -> bool {
        let valid = size.is_power_of_two() && size <= SIZE_MAX;
        if valid {
            self.size = u16::try_from(size).expect("at most 32768");
        }
        valid
    }

    /// Sets the addresses; false when an area is not wholly inside one region, or unaligned.
    pub(crate) fn set_addresses(&mut self, addresses: Addresses, mem: &MemTable) -> bool {
        self.addresses = Some(addresses);
        self.resolve(mem)
    }

    /// Resolves the areas again after the memory table changed.
    pub(crate) fn resolve(&mut self, mem: &MemTable) -> bool {
        let size = usize::from(self.size);
        self.areas = self.addresses.filter(|_| size > 0).and_then(|addresses| {
            Some(Areas {
                descriptors: Area::resolve(mem, addresses.descriptor, size * DESCRIPTOR_SIZE, 16)?,
                available: Area::resolve(mem, addresses.available, 6 + size * 2, 2)?,
                used: Area::resolve(mem, addresses.used, 6 + size * 8, 4)?,
            })
        });
        self.areas.is_some()
    }

    /// Sets where to go on in the available ring.
    pub(crate) fn set_base(&mut self, base: u16) {
        self.next_avail = base;
    }

    /// Sets whether the driver negotiated `EVENT_IDX`.
    pub(crate) fn set_event_idx(&mut self, event_idx: bool) {
        self.event_idx = event_idx;
    }

    /// Starts the ring: from here on kicks count. The used index is read from the ring itself,
    /// because an earlier backend may have written it.
    pub(crate) fn start(&mut self, kick: Option<File>) {
        self.kick = kick;
        self.broken = false;
        self.owes_call = true;
        if let Some(areas) = &self.areas {
            self.next_used = areas.used.load(2, Ordering::Acquire);
            self.published = self.next_used;
        }
    }

    /// Stops the ring and tells where it got to.
    pub(crate) fn stop(&mut self) -> u16 {
        self.kick = None;
        self.call = None;
        self.next_avail
    }

    /// Sets the descriptor that signals the driver.
    pub(crate) fn set_call(&mut self, call: Option<File>) {
        self.call = call;
        self.owes_call = true;
    }

    /// The descriptor the driver kicks, while the ring is started.
    pub(crate) fn kick(&self) -> Option<&File> {
        self.kick.as_ref()
    }

    /// Whether chains may be taken.
    pub(crate) fn is_running(&self) -> bool {
        self.enabled && self.kick.is_some() && self.areas.is_some() && !self.broken
    }

    /// Takes the next chain and appends its pieces.
    pub(crate) fn pop(&mut self, mem: &MemTable, rules: Rules, pieces: &mut Vec<Piece>) -> Popped {
        let Some(areas) = self.areas.as_ref().filter(|_| self.is_running()) else {
            return Popped::Empty;
        };
        let available = areas.available.load(2, Ordering::Acquire).wrapping_sub(self.next_avail);
        if available == 0 {
            self.dry_at = self.next_avail;
            return Popped::Empty;
        }
        let slot = usize::from(self.next_avail % self.size);
        let head = areas.available.load(4 + slot * 2, Ordering::Relaxed);
        if available > self.size || head >= self.size {
            self.broken = true;
            return Popped::Broken;
        }
        let walked = chain::walk(mem, areas.descriptors.slice(), head, rules, pieces);
        self.next_avail = self.next_avail.wrapping_add(1);
        match walked {
            Ok(()) => Popped::Chain(head),
            Err(why) => {
                self.push(head, 0);
                Popped::Bad(why)
            }
        }
    }

    /// Puts the last `count` chains back, as if they had not been taken.
    pub(crate) fn unpop(&mut self, count: u16) {
        self.next_avail = self.next_avail.wrapping_sub(count);
    }

    /// Writes a used element: the chain `head` with `written` bytes in it. Not yet published.
    pub(crate) fn push(&mut self, head: u16, written: u32) {
        let Some(areas) = &self.areas else { return };
        let slot = usize::from(self.next_used % self.size);
        let mut element = [0; 8];
        element[..4].copy_from_slice(&u32::from(head).to_le_bytes());
        element[4..].copy_from_slice(&written.to_le_bytes());
        areas.used.write(4 + slot * 8, &element);
        self.next_used = self.next_used.wrapping_add(1);
    }

    /// Publishes all used elements by one store and signals the driver if it wants to know.
    pub(crate) fn publish(&mut self) {
        let Some(areas) = &self.areas else { return };
        let (old, new) = (self.published, self.next_used);
        if old == new && !self.owes_call {
            return;
        }
        if old != new {
            areas.used.store(2, new, Ordering::Release);
            self.published = new;
        }
        // The store above must be visible before the driver's wish is read, or both sides sleep.
        fence(Ordering::SeqCst);
        let wanted = if self.event_idx {
            let event = areas.available.load(4 + usize::from(self.size) * 2, Ordering::Relaxed);
            new.wrapping_sub(event).wrapping_sub(1) < new.wrapping_sub(old)
        } else {
            areas.available.load(0, Ordering::Relaxed) & AVAIL_NO_INTERRUPT == 0
        };
        if let Some(mut call) = self.call.as_ref().filter(|_| wanted || self.owes_call) {
            self.owes_call = false;
            // A full counter means that the driver has been signalled already.
            let _ = call.write(&1_u64.to_le_bytes());
        }
    }

    /// Asks the driver for no kicks. With `EVENT_IDX` nothing has to be written: it kicks only when
    /// its index passes the one that `want_kicks` left behind.
    pub(crate) fn refuse_kicks(&mut self) {
        if let Some(areas) = self.areas.as_ref().filter(|_| !self.event_idx) {
            areas.used.store(0, USED_NO_NOTIFY, Ordering::Relaxed);
        }
    }

    /// Asks the driver to kick at its next chain; true when chains came in since `pop` found the
    /// ring empty. Chains put back since then do not count: they were not enough.
    pub(crate) fn want_kicks(&mut self) -> bool {
        let Some(areas) = self.areas.as_ref().filter(|_| self.is_running()) else { return false };
        if self.event_idx {
            let at = 4 + usize::from(self.size) * 8;
            areas.used.store(at, self.dry_at, Ordering::Relaxed);
        } else {
            areas.used.store(0, 0, Ordering::Relaxed);
        }
        // The wish must be visible before the index is read again, or a kick is lost.
        fence(Ordering::SeqCst);
        areas.available.load(2, Ordering::Acquire) != self.dry_at
    }
}
