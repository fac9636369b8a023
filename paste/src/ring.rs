//! Ring: the user-owned window of a port's slots.
//!
//! `[head, tail)` is ours. We write `head` and `cur`, the other side writes `tail`; indices move
//! forward, modulo the number of slots. Every number read from shared memory is checked before
//! it is used, and read once.

use std::{mem::offset_of, sync::atomic::Ordering};

use crate::{
    abi::{self, NetmapIf, NetmapRing, NetmapSlot},
    error::{Error, Result},
    map::{Pairs, Words},
};

/// Values of `netmap_ring.dir`.
const TX: u32 = 0;
const RX: u32 = 1;

/// netmap's bounds; more would be a sign of a broken kernel.
const MOST_RINGS: u32 = 256;
const MOST_SLOTS: u32 = 1 << 16;

/// What a port's `netmap_if` names.
#[derive(Debug)]
pub(crate) struct PortRings {
    pub(crate) rx: Vec<Ring>,
    pub(crate) tx: Vec<Ring>,
    /// The first extra buffer, 0: none.
    pub(crate) extra_head: u32,
}

impl PortRings {
    /// Reads the `netmap_if` at `at`; the rings' buffers must have `buf_size` bytes.
    pub(crate) fn read(words: &Words, at: usize, buf_size: usize) -> Result<Self> {
        let field = |offset| load(words, at.checked_add(offset), "netmap_if");
        let version = field(offset_of!(NetmapIf, ni_version))?;
        let (least, most) = (u32::from(abi::NETMAP_MIN_API), u32::from(abi::NETMAP_MAX_API));
        if !(least..=most).contains(&version) {
            let library = u32::from(abi::NETMAP_API);
            return Err(Error::Version { library, kernel: version });
        }
        let tx = field(offset_of!(NetmapIf, ni_tx_rings))?;
        let host_tx = field(offset_of!(NetmapIf, ni_host_tx_rings))?;
        let rx = field(offset_of!(NetmapIf, ni_rx_rings))?;
        if [tx, host_tx, rx].iter().any(|count| *count > MOST_RINGS) || rx == 0 {
            return Err(broken(format!("{tx} TX, {host_tx} host TX and {rx} RX rings")));
        }
        let ring = |number: u32, dir| {
            let offsets = at + offset_of!(NetmapIf, ring_ofs);
            let entry = offsets + number as usize * size_of::<i64>();
            let word = words.word64(entry).ok_or_else(|| broken("netmap_if is cut off".into()))?;
            let offset = word.load(Ordering::Acquire).cast_signed();
            let start = isize::try_from(offset).ok().and_then(|by| at.checked_add_signed(by));
            Ring::read(words, start, dir, buf_size)
        };
        let first = tx + host_tx;
        let rx = (first..first + rx).map(|number| ring(number, RX)).collect::<Result<_>>()?;
        let tx = (0..tx).map(|number| ring(number, TX)).collect::<Result<_>>()?;
        Ok(Self { rx, tx, extra_head: field(offset_of!(NetmapIf, ni_bufs_head))? })
    }
}

/// A ring of either direction.
#[derive(Debug)]
pub(crate) struct Ring {
    words: Words,
    at: usize,
    slots: Pairs,
    /// The next slot to look at; published as `head`.
    next: u32,
    /// `tail` as last read.
    tail: u32,
}

impl Ring {
    fn read(words: &Words, start: Option<usize>, wanted: u32, buf_size: usize) -> Result<Self> {
        let at = start.filter(|at| at.is_multiple_of(8));
        let at = at.ok_or_else(|| broken("a ring outside its memory".into()))?;
        let field = |offset| load(words, at.checked_add(offset), "a ring");
        let slots = field(offset_of!(NetmapRing, num_slots))?;
        let size = field(offset_of!(NetmapRing, nr_buf_size))?;
        let dir = field(offset_of!(NetmapRing, ringid))? >> 16;
        let wrong =
            || broken(format!("a ring of {slots} slots, direction {dir}, buffers of {size}"));
        if !(2..=MOST_SLOTS).contains(&slots) || dir != wanted || size as usize != buf_size {
            return Err(wrong());
        }
        let first = at.checked_add(offset_of!(NetmapRing, slot)).ok_or_else(wrong)?;
        let slots = Pairs::of(words, first, slots).ok_or_else(wrong)?;
        let mut ring = Self { words: words.clone(), at, slots, next: 0, tail: 0 };
        ring.refresh()?;
        Ok(ring)
    }

    /// Number of slots.
    #[inline]
    pub(crate) fn slots(&self) -> u32 {
        self.slots.count()
    }

    /// Looks at `head` and `tail` again: a window of slots begins.
    pub(crate) fn refresh(&mut self) -> Result<()> {
        let index = |offset, name: &str| {
            let index = load(&self.words, Some(self.at + offset), "a ring")?;
            let reason = || format!("{name} {index} of {} slots", self.slots());
            (index < self.slots()).then_some(index).ok_or_else(|| broken(reason()))
        };
        let head = index(offset_of!(NetmapRing, head), "head")?;
        let tail = index(offset_of!(NetmapRing, tail), "tail")?;
        (self.next, self.tail) = (head, tail);
        Ok(())
    }

    /// Slots left in the window.
    #[inline]
    pub(crate) fn left(&self) -> u32 {
        let wrapped = if self.tail < self.next { self.slots() } else { 0 };
        self.tail + wrapped - self.next
    }

    /// The position after the window's end. In a TX ring it holds what the kernel sends next: the
    /// slot at `tail` itself was sent.
    pub(crate) fn after_tail(&self) -> u32 {
        self.after(self.tail)
    }

    /// Where the next slot is.
    #[inline]
    pub(crate) fn position(&self) -> u32 {
        self.next
    }

    /// The next slot's two words; they mean something if a slot is left.
    #[inline]
    pub(crate) fn peek(&self) -> [u64; 2] {
        let [first, ptr] = self.slots.get(self.next);
        [first.load(Ordering::Acquire), ptr.load(Ordering::Acquire)]
    }

    /// Leaves the slot behind.
    #[inline]
    pub(crate) fn advance(&mut self) {
        self.next = self.after(self.next);
    }

    /// Puts buffer `index` into the slot at `position`.
    #[inline]
    pub(crate) fn put(&self, position: u32, index: u32) {
        let flags = u64::from(abi::NS_BUF_CHANGED) << 48;
        self.slots.get(position)[0].store(u64::from(index) | flags, Ordering::Release);
    }

    /// Writes both words of the slot at `position`.
    #[inline]
    pub(crate) fn fill(&self, position: u32, [first, ptr]: [u64; 2]) {
        let slot = self.slots.get(position);
        slot[1].store(ptr, Ordering::Release);
        slot[0].store(first, Ordering::Release);
    }

    /// Gives the slots before the next one back to the kernel, at its next sync.
    pub(crate) fn publish(&self) {
        for field in [offset_of!(NetmapRing, head), offset_of!(NetmapRing, cur)] {
            let word = self.words.word32(self.at + field).expect("checked by `read`");
            word.store(self.next, Ordering::Release);
        }
    }

    #[inline]
    fn after(&self, position: u32) -> u32 {
        if position + 1 == self.slots() { 0 } else { position + 1 }
    }
}

/// A slot's fields lie in two words, `ptr` in the second.
const _: () = assert!(size_of::<NetmapSlot>() == 16 && offset_of!(NetmapSlot, ptr) == 8);

fn load(words: &Words, offset: Option<usize>, what: &str) -> Result<u32> {
    let word = offset.and_then(|offset| words.word32(offset));
    let word = word.ok_or_else(|| broken(format!("{what} outside its memory")))?;
    Ok(word.load(Ordering::Acquire))
}

fn broken(reason: String) -> Error {
    Error::Ring { reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::map::{Mapping, PAGE};

    const RING: usize = 128;

    /// One page with a `netmap_if` and, at 128, an RX ring of 8 slots.
    fn memory() -> Words {
        let words = Words::new(Mapping::heap(PAGE).unwrap());
        for (offset, value) in [
            (offset_of!(NetmapIf, ni_version), 14),
            (offset_of!(NetmapIf, ni_rx_rings), 1),
            (offset_of!(NetmapIf, ni_bufs_head), 5),
            (offset_of!(NetmapIf, ring_ofs), 128),
            (RING + offset_of!(NetmapRing, num_slots), 8),
            (RING + offset_of!(NetmapRing, nr_buf_size), 2048),
            (RING + offset_of!(NetmapRing, ringid), 1 << 16),
            (RING + offset_of!(NetmapRing, head), 6),
            (RING + offset_of!(NetmapRing, tail), 1),
        ] {
            set(&words, offset, value);
        }
        words
    }

    fn set(words: &Words, offset: usize, value: u32) {
        words.word32(offset).unwrap().store(value, Ordering::Release);
    }

    #[test]
    fn the_window_wraps_and_is_published() {
        let words = memory();
        let mut rings = PortRings::read(&words, 0, 2048).unwrap();
        assert_eq!(rings.extra_head, 5);
        let ring = &mut rings.rx[0];
        assert_eq!((ring.slots(), ring.left()), (8, 3));
        let positions: Vec<_> = (0..3).map(|_| (ring.position(), ring.advance()).0).collect();
        assert_eq!(positions, [6, 7, 0]);
        assert_eq!(ring.left(), 0);
        ring.publish();
        for field in [offset_of!(NetmapRing, head), offset_of!(NetmapRing, cur)] {
            let word = words.word32(RING + field).unwrap();
            assert_eq!(word.load(Ordering::Acquire), 1);
        }
    }

    #[test]
    fn a_swapped_slot_says_so() {
        let words = memory();
        let rings = PortRings::read(&words, 0, 2048).unwrap();
        rings.rx[0].put(6, 0x4d);
        let [word, _] = rings.rx[0].peek();
        assert_eq!(word, 0x4d | u64::from(abi::NS_BUF_CHANGED) << 48);
    }

    #[test]
    fn memory_that_cannot_be_is_refused() {
        let ring_ofs = offset_of!(NetmapIf, ring_ofs);
        for (offset, value, why) in [
            (offset_of!(NetmapIf, ni_rx_rings), 0, "no RX ring"),
            (offset_of!(NetmapIf, ni_tx_rings), u32::MAX, "too many TX rings"),
            (offset_of!(NetmapIf, ni_tx_rings), 200, "the RX ring's offset is past them"),
            (offset_of!(NetmapIf, ni_host_tx_rings), 1, "its offset is 0"),
            (ring_ofs, 4096, "a ring behind the memory"),
            (ring_ofs, 129, "misaligned"),
            (ring_ofs + 4, 0x8000_0000, "before the memory"),
            (ring_ofs + 4, 0x7fff_ffff, "far away"),
            (RING + offset_of!(NetmapRing, num_slots), 1, "one slot is always empty"),
            (RING + offset_of!(NetmapRing, num_slots), 233, "more slots than memory"),
            (RING + offset_of!(NetmapRing, num_slots), u32::MAX, "far more"),
            (RING + offset_of!(NetmapRing, nr_buf_size), 4096, "other buffers"),
            (RING + offset_of!(NetmapRing, ringid), 0, "a TX ring"),
            (RING + offset_of!(NetmapRing, head), 8, "head is no slot"),
            (RING + offset_of!(NetmapRing, tail), u32::MAX, "tail is no slot"),
        ] {
            let words = memory();
            set(&words, offset, value);
            let answer = PortRings::read(&words, 0, 2048);
            assert!(matches!(answer, Err(Error::Ring { .. })), "{why}: {answer:?}");
        }
        for at in [PAGE - 8, PAGE, usize::MAX, usize::MAX - 63] {
            assert!(PortRings::read(&memory(), at, 2048).is_err(), "{at}");
        }
    }

    #[test]
    fn another_version_is_named() {
        let words = memory();
        set(&words, offset_of!(NetmapIf, ni_version), 11);
        let answer = PortRings::read(&words, 0, 2048);
        assert!(matches!(answer, Err(Error::Version { library: 14, kernel: 11 })));
    }
}
