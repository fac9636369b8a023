//! Spares: buffers that wait, still taken, for whoever asks next.
//!
//! One that somebody outside may still read is *worn*, and waits apart.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::bits::Bits;

/// The spares of an area, by index.
#[derive(Debug)]
pub(super) struct Spares {
    lists: Mutex<Lists>,
    worn: Bits,
}

#[derive(Debug, Default)]
struct Lists {
    clean: Vec<u32>,
    worn: Vec<u32>,
}

impl Spares {
    /// None, of `count` buffers.
    pub(super) fn new(count: u32) -> Self {
        Self { lists: Mutex::default(), worn: Bits::new(count) }
    }

    /// Which buffers are worn.
    #[inline]
    pub(super) fn worn(&self) -> &Bits {
        &self.worn
    }

    #[inline(never)] // so that leases that end otherwise end on the spot
    pub(super) fn put(&self, index: u32) {
        let worn = self.worn.has(index);
        let mut lists = self.lists();
        if worn { lists.worn.push(index) } else { lists.clean.push(index) }
    }

    /// One of them, rather a worn one.
    #[inline]
    pub(super) fn take(&self) -> Option<u32> {
        let mut lists = self.lists();
        lists.worn.pop().or_else(|| lists.clean.pop())
    }

    /// One that is not worn.
    pub(super) fn take_clean(&self) -> Option<u32> {
        self.lists().clean.pop()
    }

    pub(super) fn len(&self) -> usize {
        let lists = self.lists();
        lists.clean.len() + lists.worn.len()
    }

    /// All of them.
    pub(super) fn drain(&self) -> Vec<u32> {
        let Lists { mut clean, worn } = std::mem::take(&mut *self.lists());
        clean.extend(worn);
        clean
    }

    #[inline]
    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
