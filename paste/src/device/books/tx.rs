//! Books of TX: what the user's TX slots hold becomes bytes for sockets.

use std::{collections::HashSet, mem::offset_of};

use super::{Books, Place, broken};
use crate::{
    abi::{self, NetmapRing, NetmapSlot},
    error::Result,
    slot::{Content, wide},
};

/// What a socket does with a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::device) enum Take {
    /// It takes the payload.
    Now,
    /// It is full: the slot waits, and later ones of this socket, too.
    Wait,
    /// There is no such socket: the slot comes back.
    Never,
}

/// Payload that left its slot.
#[derive(Debug)]
pub(in crate::device) struct Outgoing {
    pub(in crate::device) fd: i32,
    pub(in crate::device) index: u32,
    pub(in crate::device) start: usize,
    pub(in crate::device) bytes: Vec<u8>,
    /// The user owns the buffer as before.
    pub(in crate::device) kept: bool,
    /// No socket took it.
    pub(in crate::device) refused: bool,
}

impl Books {
    /// Takes the payload of the user's TX slots as `ask` says, and gives done slots back.
    pub(in crate::device) fn accept(
        &mut self,
        mut ask: impl FnMut(i32, usize) -> Take,
    ) -> Result<Vec<Outgoing>> {
        let head = self.head(&self.tx)?;
        let (mut taken, mut waits) = (Vec::new(), HashSet::new());
        let mut slot = self.tx.head;
        while slot != head {
            if !self.done[slot as usize] {
                let content = self.sound(slot)?;
                let fd = content.fd.raw();
                let take =
                    if waits.contains(&fd) { Take::Wait } else { ask(fd, content.payload.len()) };
                match take {
                    Take::Wait => drop(waits.insert(fd)),
                    Take::Now | Take::Never => {
                        taken.push(self.take(slot, &content, take == Take::Never));
                    }
                }
            }
            slot = self.tx.next(slot);
        }
        while self.tx.head != head && self.done[self.tx.head as usize] {
            self.done[self.tx.head as usize] = false;
            self.tx.head = self.tx.next(self.tx.head);
        }
        self.tx.tail = (self.tx.head + self.tx.count - 1) % self.tx.count;
        self.store(self.tx.at + offset_of!(NetmapRing, tail), self.tx.tail);
        Ok(taken)
    }

    /// Whether the user can fill a slot.
    pub(in crate::device) fn has_tx_slots(&self) -> bool {
        self.load(self.tx.at + offset_of!(NetmapRing, cur)) != self.tx.tail
    }

    /// A filled slot that names payload in a buffer of the user's.
    fn sound(&self, slot: u32) -> Result<Content> {
        let at = self.tx.slot_at(slot);
        let words = [self.load64(at), self.load64(at + offset_of!(NetmapSlot, ptr))];
        let content = Content::decode(words, self.area.count(), self.area.size());
        let content = content.map_err(|reason| broken(format!("TX slot {slot}: {reason}")))?;
        let place = self.place(content.index);
        if content.payload.is_empty() || place != Place::User {
            let Content { index, payload, .. } = content;
            let reason = format!("TX slot {slot}: {payload:?} of buffer {index}: {place:?}");
            return Err(broken(reason));
        }
        Ok(content)
    }

    fn take(&mut self, slot: u32, content: &Content, refused: bool) -> Outgoing {
        let (at, index) = (self.tx.slot_at(slot), content.index);
        let kept = self.load64(at) >> 48 & u64::from(abi::NS_PST_KEEP) != 0;
        let bytes = self.area.copy(index, wide(&content.payload)).expect("decode checked it");
        let mut now = index;
        if !kept && !refused {
            self.places[index as usize] = Place::Nic;
            self.nic.push_back(index);
            now = self.nic.pop_front().expect("one was just put in");
            self.places[now as usize] = Place::User;
        }
        self.store64(at, u64::from(now));
        self.done[slot as usize] = true;
        let (fd, start) = (content.fd.raw(), content.payload.start.into());
        Outgoing { fd, index, start, bytes, kept, refused }
    }
}
