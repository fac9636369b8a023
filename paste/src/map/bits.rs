//! Bits: one for each buffer, set and cleared from any thread.

use std::sync::atomic::{AtomicU64, Ordering};

/// As many bits as there are buffers, clear at first.
#[derive(Debug)]
pub(super) struct Bits(Box<[AtomicU64]>);

impl Bits {
    pub(super) fn new(count: u32) -> Self {
        Self((0..count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect())
    }

    #[inline]
    pub(super) fn has(&self, index: u32) -> bool {
        let (word, bit) = self.at(index);
        word.load(Ordering::Acquire) & bit != 0
    }

    /// Sets a bit; whether it was clear.
    #[inline]
    pub(super) fn set(&self, index: u32) -> bool {
        let (word, bit) = self.at(index);
        word.fetch_or(bit, Ordering::AcqRel) & bit == 0
    }

    #[inline]
    pub(super) fn clear(&self, index: u32) {
        let (word, bit) = self.at(index);
        word.fetch_and(!bit, Ordering::AcqRel);
    }

    /// In words of 64, the first bit lowest.
    pub(super) fn words(&self) -> Vec<u64> {
        self.0.iter().map(|word| word.load(Ordering::Acquire)).collect()
    }

    #[inline]
    fn at(&self, index: u32) -> (&AtomicU64, u64) {
        (&self.0[(index / 64) as usize], 1 << (index % 64))
    }
}
