//! Units: how buffers are numbered, measured and placed.

use std::fmt;

/// Number of a buffer in its pool; 0 and 1 are never lent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BufIndex(pub(crate) u32);

impl BufIndex {
    /// The first buffer that may be lent.
    pub(crate) const FIRST: u32 = 2;

    /// The number, as rings carry it.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for BufIndex {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// Bytes from the start of the pool's file or device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionOffset(pub u64);

impl fmt::Display for RegionOffset {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:#x}", self.0)
    }
}

/// Size of every buffer of a pool. Pages are multiples of it, so no buffer crosses a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BufSize {
    /// 2048 bytes.
    B2048,
    /// 4096 bytes.
    B4096,
}

impl BufSize {
    /// The size in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Self::B2048 => 2048,
            Self::B4096 => 4096,
        }
    }

    /// The size with that many bytes, if it is one.
    pub fn from_bytes(bytes: u64) -> Option<Self> {
        match bytes {
            2048 => Some(Self::B2048),
            4096 => Some(Self::B4096),
            _ => None,
        }
    }
}

/// A set of buffers, as the option `RESERVE` carries it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BufSet {
    words: Vec<u64>,
}

impl BufSet {
    /// No buffer.
    pub fn empty() -> Self {
        Self::default()
    }

    pub(crate) fn from_words(words: Vec<u64>) -> Self {
        Self { words }
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    /// Whether buffer `index` is in the set.
    pub fn contains(&self, index: BufIndex) -> bool {
        let word = (index.0 / 64) as usize;
        self.words.get(word).is_some_and(|word| word >> (index.0 % 64) & 1 == 1)
    }

    /// How many buffers.
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }
}
