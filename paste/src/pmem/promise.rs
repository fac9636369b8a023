//! Promise: what a caller may rely on once a function has returned.

/// What was promised about bytes that are durable now. Its number is the id of the marker that
/// says so (docs/crash-model.md).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Promise {
    /// `Pool::create`: there is a pool. Its superblock and the log's first header.
    PoolMade = 1,
    /// `Pool::open`: there is a pool, whoever made it. Its superblock.
    PoolOpened = 2,
    /// `Log::open`: the log was recovered and a new epoch has begun. The entries that count, their
    /// payload, and the header.
    LogOpened = 3,
    /// `Log::append`: the records are stored. Their payload, and the entries that name it.
    Appended = 4,
    /// `Log::reset`: no record is left. The header.
    LogEmptied = 5,
}
