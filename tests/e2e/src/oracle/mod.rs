//! Oracle: pure judges of what a case saw. They know no guest, no file and no clock.
//!
//! Every judge returns the first contradiction in words that name the connection and the place.

pub(crate) mod copies;
pub(crate) mod cost;
pub(crate) mod protocols;
pub(crate) mod records;
pub(crate) mod replies;
pub(crate) mod steps;
pub(crate) mod torn;

/// What a judge says: nothing, or what contradicts the claim.
pub(crate) type Verdict = Result<(), String>;

/// A half-open range of bytes, in whatever the context counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    /// First byte.
    pub(crate) start: u64,
    /// Length in bytes.
    pub(crate) len: u64,
}

impl Span {
    /// One byte past the last.
    pub(crate) fn end(self) -> u64 {
        self.start + self.len
    }

    /// Whether all of `other` lies inside.
    pub(crate) fn holds(self, other: Self) -> bool {
        self.start <= other.start && other.end() <= self.end()
    }

    /// Whether the two share a byte.
    pub(crate) fn meets(self, other: Self) -> bool {
        self.start < other.end() && other.start < self.end()
    }
}
