//! Pairs: words of a mapping two by two, side by side, whose place was checked once.

use std::{
    ptr::NonNull,
    sync::{Arc, atomic::AtomicU64},
};

use super::{Mapping, Words};

/// `count` pairs of 64-bit words.
#[derive(Debug)]
pub(crate) struct Pairs {
    first: NonNull<[AtomicU64; 2]>,
    count: u32,
    _mapping: Arc<Mapping>,
}

// SAFETY: the words are reached through atomics only, and belong to no thread.
unsafe impl Send for Pairs {}
// SAFETY: as above.
unsafe impl Sync for Pairs {}

impl Pairs {
    /// `count` pairs from byte `at` on; `None` if they are misaligned or not all inside.
    pub(crate) fn of(words: &Words, at: usize, count: u32) -> Option<Self> {
        let len = size_of::<[AtomicU64; 2]>().checked_mul(count as usize)?;
        if !at.is_multiple_of(8) || at.checked_add(len)? > words.len() {
            return None;
        }
        let address = words.mapping.address(at).cast_mut().cast();
        let first = NonNull::new(address).expect("a mapping is not null");
        Some(Self { first, count, _mapping: Arc::clone(&words.mapping) })
    }

    /// How many.
    #[inline]
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    /// The pair `number`.
    ///
    /// # Panics
    /// If there are fewer.
    #[inline]
    pub(crate) fn get(&self, number: u32) -> &[AtomicU64; 2] {
        assert!(number < self.count, "one of the pairs");
        // SAFETY: `of` has found all pairs inside the mapping.
        let pair = unsafe { self.first.add(number as usize) };
        // SAFETY: it is aligned, alive as long as `self`, and reached through atomics only.
        unsafe { pair.as_ref() }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::super::PAGE;
    use super::*;

    #[test]
    fn pairs_are_words_two_by_two() {
        let words = Words::new(Mapping::heap(PAGE).unwrap());
        let pairs = Pairs::of(&words, 8, 3).unwrap();
        pairs.get(2)[1].store(7, Ordering::Release);
        assert_eq!(words.word64(8 + 2 * 16 + 8).unwrap().load(Ordering::Acquire), 7);
        assert_eq!(pairs.count(), 3);
        assert!(std::panic::catch_unwind(|| pairs.get(3)[0].load(Ordering::Acquire)).is_err());
    }

    #[test]
    fn pairs_outside_or_misaligned_do_not_exist() {
        let words = Words::new(Mapping::heap(PAGE).unwrap());
        assert!(Pairs::of(&words, PAGE - 32, 2).is_some());
        for (at, count) in [(PAGE - 24, 2), (4, 1), (usize::MAX - 7, 1), (0, u32::MAX)] {
            assert!(Pairs::of(&words, at, count).is_none(), "{at} {count}");
        }
    }
}
